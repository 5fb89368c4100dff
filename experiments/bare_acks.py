"""Acknowledgments that lose their options: who falls back, and who sends again what has arrived (N8).

A box takes kind 30 out of pure ACKs alone: data keep their mappings, and the sender sees its data acknowledged without
a DATA_ACK. RFC 8684 section 3.7: on the first subflow, before there are others, that is plain TCP from there on, and
the peer is told with an infinite mapping. One path, so that there is nowhere else to go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import PLAIN, RENO, SECOND
from experiments.mechanism import network
from testbed.orchestrator.claim import Speaks
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant

SIZE_BYTES = 400_000
"""Six times the window that a Linux receiver announces in its SYN: what can leave without a DATA_ACK."""
STRIP = "strip mptcp on ack"
WATCHES = ("watch data as data", "watch mptcp.dss.map and dss.length = 0 as infinite")

Way = Literal["upload", "download"]
SENDER: dict[Way, str] = {"upload": "client", "download": "server"}
UNDER: dict[Way, str] = {"upload": "the client sends", "download": "the server sends"}

ENDS = {
    "rfc8684": Endpoint(implementation="userspace", receiver="rfc8684", congestion_control=RENO),
    "userspace": Endpoint(implementation="userspace", congestion_control=RENO),
    "linux": Endpoint(implementation="linux", congestion_control=RENO),
    "userspace-tcp": Endpoint(implementation=PLAIN["userspace"], congestion_control=RENO),
    "linux-tcp": Endpoint(implementation=PLAIN["linux"], congestion_control=RENO),
}
"""Word in a variant's name -> an end; ``userspace`` keeps the rules of Linux as a receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Who sends to whom, through which box."""

    client: str
    server: str
    way: Way
    is_stripped: bool = True

    @property
    def name(self) -> str:
        """Of the variant."""
        return f"{'stripped' if self.is_stripped else 'clear'}/{self.way}/{self.client}/{self.server}"

    def variant(self) -> Variant:
        """It as a variant; what our stack does by itself needs no real time."""
        box = (STRIP,) if self.is_stripped else ()
        flow = Flow(
            application=Bulk(direction=self.way, size_bytes=SIZE_BYTES),
            client=ENDS[self.client],
            server=ENDS[self.server],
            path="path1",
        )
        return Variant(
            name=self.name,
            summary=f"{STRIP if box else 'No box'}: {self.way}, {self.client} to {self.server}.",
            topology=network((*box, *WATCHES)),
            flows=(flow,),
            path_manager=PathManager(mode="none"),
            only_on=None if "linux" in self.client + self.server else "sim",
            factors=(("ACKs", "stripped" if box else "as sent"), ("sender", SENDER[self.way])),
        )


CASES = (
    *(Case(client=end, server=end, way=way) for end in ("rfc8684", "userspace", "userspace-tcp") for way in SENDER),
    *(Case(client="rfc8684", server="rfc8684", way=way, is_stripped=False) for way in SENDER),
    *(Case(client=end, server=end, way="download") for end in ("linux", "linux-tcp")),
    Case(client="linux", server="linux", way="download", is_stripped=False),
    Case(client="linux", server="linux", way="upload"),
    Case(client="linux", server="rfc8684", way="download"),
    Case(client="linux", server="rfc8684", way="upload"),
)


def bare_acks() -> Experiment:
    """The kernel and our stack as senders and receivers, with the box, without it, and beside plain TCP."""
    return Experiment(
        name="bare_acks",
        question="What does a sender do whose data are acknowledged without a DATA_ACK?",
        variants=tuple(case.variant() for case in CASES),
        repetitions=3,
        duration_ns=3 * SECOND,
        any_outcome=True,
        claims=(CLAIMS["N8"],),
        expectations=(*_linux_repeats(), *_linux_as_client(), *_ours(), *_starved()),
    )


def _linux_repeats() -> Iterator[Expectation]:
    """A Linux server does not fall back, as seen before (E8d)."""
    stripped = "stripped/download/linux/linux"
    because = (
        "check_fully_established() looks at clients alone: snd_una stays, and mptcp_worker() sends the oldest "
        "data again on the same subflow each time that its timer expires"
    )
    for metric, says in (
        ("counter:MPTcpExtMPTCPRetrans@server", "the server sent {value} segments again within 3 s"),
        ("counter:MPTcpExtDuplicateData@client", "{value} segments arrived that had arrived before"),
    ):
        yield _seen(stripped, metric, says, because, low=100)
    yield _seen(
        stripped,
        "bytes_received_download",
        "{value} of 400 kB arrived within 3 s, which plain TCP delivers in a quarter of a second",
        "the window of the connection is learnt from DATA_ACKs alone: after the first one nothing new may leave",
        high=SIZE_BYTES - 1,
    )
    yield _seen(
        stripped,
        "watched:infinite@path1",
        "{value} infinite mappings",
        because,
        high=0,
    )
    yield _seen(
        "clear/download/linux/linux",
        "counter:MPTcpExtMPTCPRetrans@server",
        "without the box {value} segments were sent again",
        "control: with DATA_ACKs the same transfer repeats nothing at this level",
        high=0,
    )


def _linux_as_client() -> Iterator[Expectation]:
    """A Linux client falls back at once (C3)."""
    because = "a client that is not yet fully established takes an ACK without DSS for TCP (check_fully_established())"
    name = "stripped/upload/linux/linux"
    for metric, low, high, says in (
        ("counter:MPTcpExtMPCapableDataFallback@client", 1, 1, "a Linux client fell back ({value} of one connection)"),
        ("counter:MPTcpExtMPTCPRetrans@client", None, 0, "a Linux client that sends repeated {value} segments"),
    ):
        yield _seen(name, metric, says, because, low=low, high=high, speaks="against", way="upload")


def _ours() -> Iterator[Expectation]:
    """Ours falls back in both roles, and repeats nothing."""
    because = "RFC 8684 section 3.7: TCP and one infinite mapping, when the first data are acknowledged so"
    for way, sender in SENDER.items():
        name = f"stripped/{way}/rfc8684/rfc8684"
        yield _seen(
            name,
            f"counter:MPTcpExtMPTCPRetrans@{sender}",
            "our stack repeated {value} segments",
            because,
            high=0,
            way=None,
        )
        yield _seen(name, "watched:infinite@path1", "{value} infinite mappings", because, low=1, way=None)
        for receiver in ("rfc8684", "userspace"):
            yield Expectation(
                variant=f"stripped/{way}/{receiver}/{receiver}",
                metric="completion_time_ns",
                relative_to=(f"stripped/{way}/userspace-tcp/userspace-tcp",),
                at_most=1.1,
                because="it is TCP after one round trip, or as soon as the end shows it",
            )
    yield _seen(
        "stripped/download/linux/rfc8684",
        "counter:MPTcpExtMPCapableDataFallback@server",
        "our server before a Linux client fell back ({value} of one connection)",
        because,
        low=1,
        high=1,
        way=None,
    )
    yield Expectation(
        variant="stripped/download/linux/rfc8684",
        metric="completion_time_ns",
        statistic="max",
        at_most=SECOND,
        because="Linux takes the infinite mapping: each byte arrives, and the end is seen",
    )


def _starved() -> Iterator[Expectation]:
    """What a fallback that is not told does to a receiver that goes by the letter."""
    yield _seen(
        "stripped/upload/linux/rfc8684",
        "bytes_received_upload",
        "a Linux client fell back without an infinite mapping: {value} of 400 kB reached a receiver that holds data "
        "without a mapping for a window",
        "C3: Linux sends none; section 3.3.1 lets a receiver hold unmapped data until a window of them has come",
        high=SIZE_BYTES - 1,
        way=None,
    )


def _seen(
    variant: str,
    metric: str,
    says: str,
    because: str,
    *,
    low: float | None = None,
    high: float | None = None,
    speaks: Speaks = "for",
    way: Way | None = "download",
) -> Expectation:
    """In every repetition; evidence of the claim unless ``way`` is None."""
    return Expectation(
        variant=variant,
        metric=metric,
        at_least=low,
        at_most=high,
        statistic="median" if low is not None and high is not None else "max" if low is None else "min",
        claim=None if way is None else "N8",
        speaks=speaks,
        under="" if way is None else UNDER[way],
        says=says,
        because=because,
    )
