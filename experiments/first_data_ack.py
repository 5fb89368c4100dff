"""Who sends first after the handshake has to confirm it: change 1 of 2 January 2020, against every client.

The script is a server that sends 200 octets before the client sends any; its first segment has a DSS with a DATA_ACK,
one without, or no option at all. And what a server of each stack sends first itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.scripted import DATA_ACKED, KERNEL, LINUX, OURS, RECEIVERS, Case, exactly, experiment
from testbed.orchestrator.spec import Endpoint, Experiment

FELL_BACK = "counter:MPTcpExtMPCapableDataFallback@client"
CLIENTS = {
    **RECEIVERS,
    "older-text": Endpoint(
        implementation="userspace", receiver="rfc8684", policies=("rules.first_data_needs_data_ack=false",)
    ),
}
EVERYBODY = (*LINUX, *OURS)
CHECKED = "check_fully_established(): a first DSS without DATA_ACK means that MP_CAPABLE did not arrive"


def first_data_ack() -> Experiment:
    """Four kinds of first data, and the other way round."""
    return experiment(
        "first_data_ack",
        "Does the first data of a server confirm MP_CAPABLE by its DSS, or only by a DATA_ACK in it?",
        ("S1", "N7"),
        _cases(),
    )


def _cases() -> Iterator[Case]:
    for name, width, words in (("data-ack-8", "8", "8 octets"), ("data-ack-4", "4", "4 octets")):
        yield Case(
            name=name,
            summary=f"The server's first data has a DSS with a DATA_ACK of {words}.",
            lines=_lines("send sf1 1-100 map 1-100", width),
            script_is="server",
            receivers=CLIENTS,
            found=(
                exactly(
                    DATA_ACKED,
                    200,
                    f"after a first DSS with a DATA_ACK of {words} {{who}} DATA_ACKs {{value}}",
                    "RFC 8684 section 3.1: MP_CAPABLE is acknowledged as the first octet of the data sequence space",
                    claims=(("S1", "for"),),
                    at=EVERYBODY,
                ),
                exactly(FELL_BACK, 0, "{who} fell back {value} times", "the handshake is confirmed", at=EVERYBODY),
            ),
        )
    yield Case(
        name="no-data-ack",
        summary="The server's first data has a DSS without DATA_ACK, its second one with.",
        lines=_lines("send sf1 1-100 map 1-100 no data_ack", "8"),
        script_is="server",
        receivers=CLIENTS,
        found=(
            exactly(
                FELL_BACK,
                1,
                "without a DATA_ACK in the first DSS {who} fell back (MPCapableDataFallback moved by {value}), though "
                "the second DSS had one",
                CHECKED,
                claims=(("S1", "for"), ("N7", "against")),
                at=EVERYBODY,
                under="the text of RFC 8684",
            ),
            exactly(DATA_ACKED, 0, "{who} DATA_ACKs {value}", "it is TCP", at=EVERYBODY),
            exactly("bytes_received_download", 200, "{value} arrived as TCP", "no octet is lost by it", at=EVERYBODY),
            exactly(
                DATA_ACKED,
                200,
                "{who} takes any DSS for the confirmation and DATA_ACKs {value}",
                "what draft-ietf-mptcp-rfc6824bis said before change 1: a DSS is enough",
                claims=(("N7", "for"),),
                at=("older-text",),
                under="the text before change 1",
            ),
        ),
    )
    yield Case(
        name="no-option",
        summary="The server's first data has no MPTCP option.",
        lines=_lines("send sf1 1-100 no dss", "8"),
        script_is="server",
        receivers=CLIENTS,
        found=(
            exactly(
                FELL_BACK,
                1,
                "without any option on the first data {who} fell back",
                CHECKED,
                at=(*EVERYBODY, "older-text"),
            ),
            exactly("observed:infinite_maps", 0, "{who} sent {value} infinite mappings", "it says nothing", at=KERNEL),
            exactly(
                "observed:infinite_maps",
                1,
                "{who} sent {value} infinite mapping",
                "RFC 8684 section 3.7: the other end is told",
                at=OURS,
            ),
        ),
    )
    yield Case(
        name="server-first",
        summary="A server of each stack sends first.",
        lines=(
            "open sf1",
            "wait until data_segments.sf1 1 for 1s",
            "observe first_data_acks = data_acks.sf1",
            "wait 50ms",
        ),
        other_sends_bytes=100,
        found=(
            exactly(
                "observed:first_data_acks",
                1,
                "as a server that sends first, {who} put a DATA_ACK on its first data",
                "RFC 8684 section 3.1",
                claims=(("S1", "for"),),
            ),
        ),
    )


def _lines(first: str, width: str) -> tuple[str, ...]:
    return (
        f"set data_ack {width}",
        "accept sf1",
        first,
        "wait 30ms",
        "send sf1 101-200 map 101-200",
        "wait until data_acked 200 for 300ms",
    )
