"""Eight segments of 100 octets over two subflows, to the octet as the thread wrote them down on 13 January 2020.

Subflow 1 carries octets 1-100 (segment 1, no mapping), 201-300 (segment 3, with the mapping of 1-100), 301-400 (segment
4, with the mapping of 201-400) and 601-700; subflow 2 the others. What does a receiver make of segment 1, whose mapping
comes two segments later? The controls send the same octets with legal mappings, and with one mapping over segments 1
and 3, between which octets 101-200 travel on the other subflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND, symmetric_paths
from testbed.orchestrator.claim import Speaks
from testbed.orchestrator.spec import Endpoint, Expectation, Experiment, Flow, PathManager, Script, Variant

SCRIPT = Endpoint(implementation="script")
RECEIVERS: Mapping[str, Endpoint] = {
    "linux": Endpoint(implementation="linux"),
    "linux-rules": Endpoint(implementation="userspace", receiver="linux"),
    "rfc8684": Endpoint(implementation="userspace", receiver="rfc8684"),
    "holding": Endpoint(implementation="userspace", receiver="holding"),
}
"""Who is asked: this kernel, and our stack by the rules of three."""

BETWEEN = "wait 5ms"
"""Between segments, so that they arrive in the order of their numbers also on real packets; no round trip, so that the
sender knows nothing of what became of the first."""
SF2 = {2: "send sf2 101-200 map 101-200", 5: "send sf2 401-500 map 401-600", 6: "send sf2 501-600 no map"}
SCHEDULES: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "late": (
        "as in the thread: segment 1 has no mapping, segment 3 brings it",
        {
            1: "send sf1 1-100 no map",
            3: "send sf1 201-300 map 1-100",
            4: "send sf1 301-400 map 201-400",
        },
    ),
    "legal": (
        "the same octets, each mapping on the first segment that it covers",
        {
            1: "send sf1 1-100 map 1-100",
            3: "send sf1 201-300 map 201-400",
            4: "send sf1 301-400 no map",
        },
    ),
    "merged": (
        "one mapping over segments 1 and 3, on segment 1",
        {
            1: "send sf1 1-100 map 1-200 at 1",
            3: "send sf1 201-300 no map",
            4: "send sf1 301-400 map 301-400",
        },
    ),
    "overtaken": (
        "one mapping over segments 1 and 3, on segment 1, and segment 2 comes after segment 3",
        {
            1: "send sf1 1-100 map 1-200 at 1",
            2: "send sf1 201-300 no map",
            3: SF2[2],
            4: "send sf1 301-400 map 301-400",
        },
    ),
}
"""Name -> what it is, and the lines of segments 1, 3 and 4; the others are the same in all but the last."""


def lines(schedule: str) -> tuple[str, ...]:
    """The whole script."""
    segments = {**SF2, **SCHEDULES[schedule][1], 7: "send sf1 601-700 map 601-700", 8: "send sf2 701-800 map 701-800"}
    said = [line for number in sorted(segments) for line in (segments[number], BETWEEN)]
    return (
        "open sf1",
        "ack sf1",  # the first DATA_ACK: the connection is fully established before anything joins
        "join sf2 on path2",
        *said,
        "wait until data_acked 800 for 1500ms",
        "wait 200ms",
    )


REFUSING = {"linux": "by Linux", "linux-rules": "", "rfc8684": "by the letter of RFC 8684"}
"""Receivers that end subflow 1, as conditions of the evidence. What our stack does by Linux's rules is checked, and no
evidence: the kernel gives it."""
HOLDING = "by a receiver that holds unmapped data and takes any mapping"


def eight_segments() -> Experiment:
    """Every schedule against every receiver."""
    variants = tuple(_variant(schedule, receiver) for schedule in SCHEDULES for receiver in RECEIVERS)
    return Experiment(
        name="eight_segments",
        question="What becomes of a segment whose mapping comes two segments later?",
        variants=variants,
        duration_ns=10 * SECOND,
        any_outcome=True,
        capture=True,
        claims=tuple(CLAIMS[each] for each in ("S5", "S6", "S29")),
        expectations=(*_of_the_schedule(), *_of_the_controls(), *_of_merging()),
    )


def _variant(schedule: str, receiver: str) -> Variant:
    flow = Flow(application=Script(lines=lines(schedule)), client=SCRIPT, server=RECEIVERS[receiver])
    real = receiver == "linux" or (schedule, receiver) == ("late", "rfc8684")
    return Variant(
        name=f"{schedule}/{receiver}",
        summary=f"{SCHEDULES[schedule][0]}; to {receiver}.",
        topology=symmetric_paths(),
        flows=(flow,),
        path_manager=PathManager(mode="subflow"),
        only_on=None if real else "sim",  # one of our stack shows that it does the same on real packets
        factors=(("schedule", schedule), ("receiver", receiver)),
    )


def _of_the_schedule() -> Iterator[Expectation]:
    for receiver, under in REFUSING.items():
        late, reason = f"late/{receiver}", 1 if receiver == "rfc8684" else 6
        yield _always(
            late,
            "observed:reset_reason.sf1",
            reason,
            claim="S5",
            under=under,
            says="The schedule as given gets subflow 1 reset with MP_TCPRST reason {value}.",
            because="1: the mapping of segment 3 is of other data than its own; 6: segment 1 has no mapping at all",
        )
        yield _always(late, "observed:reset_transient.sf1", 0, because="nobody says that a new subflow might do better")
        yield _always(
            late,
            "counter:MPTcpExtMPRstTx@server",
            1,
            claim="S29",
            under=under,
            says="The receiver sends {value} MP_TCPRST: the subflow with the unmapped segment ends.",
            because="the reset of the receiver, not of a middlebox or a close",
        )
        yield _always(
            late, "observed:acked.sf2", 400, because="subflow 2 lives: its four segments are acknowledged by TCP"
        )
        yield _always(
            late,
            "bytes_received_upload",
            0,
            claim="S5",
            under=under,
            says="{value} of its 800 B reach the application: the first 100 were on subflow 1.",
            because="a hole at the beginning, which nobody sends again",
        )
    for receiver in ("linux", "linux-rules"):
        yield _always(f"late/{receiver}", "observed:acked.sf1", 100, because="it is judged at segment 1, at once")
    yield _always(
        "late/rfc8684",
        "counter:MPTcpExtDSSNoMatchTCP@server",
        1,
        because="it holds segment 1 and judges segment 3, whose mapping does not apply to it (section 3.3.1)",
    )
    yield _always(
        "late/holding",
        "bytes_received_upload",
        800,
        claim="S5",
        speaks="against",
        under=HOLDING,
        says="All {value} of the schedule as given are delivered.",
        because="it keeps segment 1 until segment 3 brings the mapping",
    )
    yield _always(
        "late/holding",
        "observed:reset.sf1",
        0,
        claim="S29",
        speaks="against",
        under=HOLDING,
        says="{value} resets of subflow 1: the mapping that comes later is taken.",
        because="the mapping came within the hold time",
    )


def _of_the_controls() -> Iterator[Expectation]:
    for receiver in RECEIVERS:
        yield _always(
            f"legal/{receiver}",
            "bytes_received_upload",
            800,
            claim="S5" if receiver in REFUSING else None,
            under=REFUSING.get(receiver, ""),
            says="With each mapping on the first segment that it covers, {value} are delivered.",
            because="control: the same octets in the same segments over the same subflows",
        )
        yield _always(f"legal/{receiver}", "observed:resets", 0, because="control")


def _of_merging() -> Iterator[Expectation]:
    for receiver in RECEIVERS:
        merged = f"merged/{receiver}"
        yield _always(
            merged,
            "bytes_received_upload",
            200,
            claim="S6",
            says="One mapping over segments 1 and 3: {value} of 800 B are delivered, the stream ends there.",
            because="segment 3 is taken for octets 101-200, and 201-300 never come",
        )
        yield _always(
            merged, "counter:MPTcpExtDuplicateData@server", 1, because="the conflict: subflow 2 brought those octets"
        )
        yield _always(merged, "observed:acked.sf1", 400, because="TCP has them all: nobody sends them again")
        yield _always(
            f"overtaken/{receiver}",
            "first_wrong_upload",
            100,
            claim="S6",
            says="If segment 3 comes before segment 2, the application reads wrong octets from offset {value} on.",
            because="what the mapping says is octet 101 is octet 201",
        )


def _always(
    variant: str,
    metric: str,
    value: int,
    *,
    claim: str | None = None,
    speaks: Speaks = "for",
    under: str = "",
    says: str = "",
    because: str,
) -> Expectation:
    """Exactly that, in the median; what a script and a receiver do has no chance in it."""
    if variant.endswith("/linux-rules"):
        claim = None
    return Expectation(
        variant=variant,
        metric=metric,
        at_least=value,
        at_most=value,
        claim=claim,
        speaks=speaks,
        under=under,
        says=says,
        because=because,
    )
