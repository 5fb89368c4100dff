"""Mappings of other octets than their segment's: ahead of their data, in a flood, of a whole window, beyond the window.

Change 2 of 2 January 2020 says that a mapping MUST apply to some or all of the segment that carries it. What receivers
do with one that does not, how many mappings they keep, and what becomes of mappings of data that the window of the
connection does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.scripted import (
    BEGINNING,
    DATA_ACKED,
    JOINED,
    KERNEL,
    LINUX,
    OURS,
    PAUSE,
    REASON,
    RECEIVED,
    RECEIVERS,
    RESETS,
    TRANSIENT,
    Case,
    answer,
    exactly,
    experiment,
)
from testbed.orchestrator.spec import Endpoint, Experiment

SEGMENTS = tuple((first, first + 99) for first in range(101, 6501, 100))
"""64 of 100 octets, as in the message of 13 January 2020."""
LAST = SEGMENTS[-1][1]
AHEAD = ("send sf1 101-200 map 201-300", PAUSE, "send sf1 201-300 no map")
BOUND = 16
FLOODED = {
    **RECEIVERS,
    "bounded": Endpoint(implementation="userspace", receiver="holding", policies=(f"rules.mappings_limit={BOUND}",)),
}
NO_MATCH = "validate_mapping(): the mapping lies beyond the octets that are looked at"
MUST = "RFC 8684 section 3.3.1: a mapping MUST apply to some or all of its segment"


def stray_mappings() -> Experiment:
    """Each on one subflow, the violation on two as well."""
    return experiment(
        "stray_mappings",
        "What do receivers do with mappings of octets that are not in the segment, and how many do they keep?",
        ("S2", "S3", "S4", "S12", "N9", "L5", "L6"),
        (*_ahead(), *_many(), *_beyond()),
    )


def _ahead() -> Iterator[Case]:
    yield Case(
        name="ahead/one",
        summary="One subflow; octets 101-200 carry the mapping of 201-300, which follow without one.",
        lines=(*BEGINNING, *AHEAD, *answer(300)),
        found=(
            exactly(
                "counter:MPTcpExtDSSNoMatchTCP@server",
                1,
                "{who} refuses a mapping of later octets (DSSNoMatchTCP moved by {value})",
                NO_MATCH,
                claims=(("S2", "for"),),
                at=(*LINUX, "rfc8684"),
            ),
            exactly(
                "counter:MPTcpExtDssFallback@server",
                1,
                "on one subflow {who} answers a mapping of later octets with a silent fallback",
                "mptcp_try_fallback(): one subflow, nothing out of order",
                claims=(("S12", "for"), ("L6", "for")),
                at=KERNEL,
            ),
            exactly("counter:MPTcpExtDssFallback@server", 1, "{who} falls back", "as Linux", at=("linux-rules",)),
            exactly(
                RECEIVED, 300, "all octets arrive as TCP ({value})", "after the fallback nothing is mapped", at=LINUX
            ),
            exactly(
                REASON,
                1,
                "{who} answers a mapping of later octets with a reset, reason {value}",
                MUST,
                claims=(("S12", "for"),),
                at=("rfc8684",),
            ),
            exactly(RESETS, 0, "{who} resets {value} times", "it discards nothing it can hold", at=("holding",)),
        ),
    )
    yield Case(
        name="ahead/two",
        summary="The same on one of two subflows.",
        lines=(*JOINED, *AHEAD, *answer(300)),
        found=(
            exactly(
                REASON,
                1,
                "on one of two subflows {who} answers a mapping of later octets with MP_TCPRST reason {value}",
                NO_MATCH,
                claims=(("S2", "for"), ("L5", "for"), ("S12", "for")),
                at=("linux",),
            ),
            exactly(
                REASON,
                1,
                "{who} answers a mapping of later octets with a reset, reason {value}",
                MUST,
                (("S2", "for"),),
                at=("linux-rules", "rfc8684"),
            ),
            exactly(TRANSIENT, 0, "its T flag is {value}", "a bad mapping does not go away", at=(*LINUX, "rfc8684")),
            exactly(RECEIVED, 100, "{value} arrived: nothing of the segment", MUST, at=(*LINUX, "rfc8684")),
        ),
    )
    yield Case(
        name="ahead-mended/two",
        summary="The same, and octets 101-200 are sent again with their own mapping.",
        lines=(*JOINED, *AHEAD, PAUSE, "again sf1 101-200 map 101-200", *answer(300)),
        receivers={"holding": RECEIVERS["holding"]},
        found=(
            exactly(
                DATA_ACKED,
                300,
                "{who} keeps the mapping for the later octets and delivers all ({value} DATA_ACKed)",
                "it stores mappings wherever they come",
                claims=(("S2", "against"),),
                at=("holding",),
                under="a receiver that does not follow change 2",
            ),
        ),
    )


def _many() -> Iterator[Case]:
    announced = tuple(f"ack sf1 map {first}-{last} at {first}" for first, last in SEGMENTS)
    bare = tuple(f"send sf1 {first}-{last} no map" for first, last in SEGMENTS)
    yield Case(
        name="flood",
        summary="64 mappings on pure ACKs, then their 64 segments without one.",
        lines=(*BEGINNING, *announced, PAUSE, *bare, *answer(LAST)),
        receivers=FLOODED,
        found=(
            exactly(
                DATA_ACKED,
                100,
                "of 64 mappings sent ahead {who} kept none ({value} DATA_ACKed, of the octets before)",
                "mptcp_incoming_options() attaches a mapping to its segment's data, and a pure ACK has none",
                claims=(("S3", "against"),),
                at=("linux",),
            ),
            exactly(RECEIVED, LAST, "{value} arrived as TCP", "a silent fallback at the first of them", at=LINUX),
            exactly(
                DATA_ACKED,
                LAST,
                "{who} stored all of 64 mappings sent ahead and delivered by them ({value} DATA_ACKed)",
                "it has room for one per 536 octets of its receive buffer, 7825 here (ReceiverRules.mappings_limit)",
                claims=(("S3", "for"),),
                at=OURS,
            ),
            exactly(
                DATA_ACKED,
                100 + BOUND * 100,
                f"{{who}} stored {BOUND} of the 64 and DATA_ACKed {{value}}: a bound is a matter of one line",
                "the newest are dropped beyond the bound",
                claims=(("S3", "against"),),
                at=("bounded",),
            ),
        ),
    )
    rest = tuple(f"send sf1 {first}-{last} at {first} map {first}-{last}" for first, last in SEGMENTS[1:])
    yield Case(
        name="window-of-64",
        summary="Of 64 mapped segments the first comes last.",
        lines=(
            *BEGINNING,
            *rest,
            PAUSE,
            "observe before = data_acked",
            "send sf1 101-200 at 101 map 101-200",
            *answer(LAST),
        ),
        found=(
            exactly("observed:before", 100, "{value} DATA_ACKed before the hole is closed", "DATA_ACK is cumulative"),
            exactly(
                DATA_ACKED,
                LAST,
                "{who} kept 63 mapped segments behind a hole and DATA_ACKed {value} once it closed",
                "the mappings wait with their segments in TCP's out-of-order queue",
                claims=(("S4", "for"),),
            ),
            exactly(RESETS, 0, "{value} resets", "nothing is wrong with it"),
        ),
    )


def _beyond() -> Iterator[Case]:
    why = "RFC 8684 section 3.8: data beyond the window is dropped, and not DATA_ACKed (mptcp_data_queue_ofo())"
    yield Case(
        name="beyond-window",
        summary="Octets mapped 50 MB ahead; two seconds later they come again, mapped right, at new subflow numbers.",
        lines=(
            *BEGINNING,
            "send sf1 101-200 map 50000101-50000200 at 101",
            "wait 2s",
            "observe acked_before = acked.sf1",
            "observe data_acked_before = data_acked",
            "send sf1 101-200 at 201 map 101-200 at 201",
            *answer(200),
        ),
        found=(
            exactly("counter:MPTcpExtNoDSSInWindow@server", 1, "NoDSSInWindow moved by {value}", why),
            exactly(
                "observed:acked_before",
                200,
                "the subflow of {who} acknowledged {value} octets, those mapped beyond the window included",
                "the subflow's numbers are in its window: TCP knows nothing of mappings",
                claims=(("N9", "for"),),
            ),
            exactly(
                "observed:data_acked_before",
                100,
                "two seconds later {who} had DATA_ACKed {value} octets of 200: nothing brought the others back",
                why,
                claims=(("N9", "for"), ("S4", "for")),
            ),
            exactly(
                DATA_ACKED,
                200,
                "sent again as a connection-level timer would, {who} took them ({value} DATA_ACKed)",
                "the new subflow numbers map them to where they belong",
                claims=(("N9", "for"),),
            ),
        ),
    )
