"""Octets without a mapping: what receivers do at once, what they hold, and what a retransmission can still mend.

Segment 1 of the thread's schedule, alone: its mapping comes on a retransmission, in a later segment, or never; in
order, or behind a hole; on the only subflow, or on one of two.
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
    Found,
    answer,
    exactly,
    experiment,
)
from testbed.orchestrator.spec import Endpoint, Experiment

ONE, TWO = ("one", BEGINNING), ("two", JOINED)
DISCARDING = Endpoint(
    implementation="userspace",
    receiver="holding",
    policies=("rules.hold_unmapped=0", "rules.on_missing_mapping=discard"),
)
SMALL_WINDOW = Endpoint(implementation="userspace", receiver="rfc8684", receive_buffer_bytes=8192)

NO_HOLD = "subflow_check_data_avail(): octets in order without a mapping are judged as they come, none is held"
HOLDS = "RFC 8684 section 3.3.1: an implementation MAY hold unmapped data for a short while"
FALLBACK = "counter:MPTcpExtDssFallback@server"


def unmapped_data() -> Experiment:
    """Eight scripts, most of them on one subflow and on two."""
    return experiment(
        "unmapped_data",
        "What becomes of octets without a mapping, and can it still come?",
        ("S12", "S13", "S14", "S15", "S16", "S17", "S18", "S29", "N13", "L5", "L6"),
        (*_in_order(), *_behind_a_hole(), *_later_segment(), *_never(), *_window(), *_stuck()),
    )


def _in_order() -> Iterator[Case]:
    for name, beginning in (ONE, TWO):
        again = "again sf1 101-200 map 101-200"
        yield Case(
            name=f"in-order/{name}",
            summary=f"Octets 101-200 without mapping, then once more with it; {name} subflow{'s' * (name == 'two')}.",
            lines=(*beginning, "send sf1 101-200 no map", PAUSE, again, *answer(200)),
            found=(
                *_judged_at_once(name),
                exactly(
                    DATA_ACKED,
                    100,
                    "in order, the mapping of a retransmission comes too late for {who} ({value} DATA_ACKed)",
                    NO_HOLD,
                    claims=(("S14", "against"), ("N13", "for")),
                    at=KERNEL,
                    under="in order, Linux",
                ),
                exactly(
                    DATA_ACKED,
                    200,
                    "{who} held the octets, took the mapping of the retransmission and DATA_ACKed {value}",
                    HOLDS,
                    claims=(("S14", "for"), ("S18", "against"), ("S13", "for")),
                    at=OURS,
                    under="a receiver that holds",
                ),
            ),
        )


def _judged_at_once(name: str) -> tuple[Found, ...]:
    """What Linux does with octets without a mapping."""
    if name == "one":
        return (
            exactly(
                FALLBACK,
                1,
                "{who} fell back at octets without a mapping",
                NO_HOLD,
                (("L6", "for"), ("S12", "for")),
                at=KERNEL,
            ),
            exactly(FALLBACK, 1, "{who} fell back", NO_HOLD, at=("linux-rules",)),
            exactly(RESETS, 0, "{value} resets", "one subflow: TCP instead", claims=(("L6", "for"),), at=KERNEL),
        )
    return (
        exactly(
            REASON,
            6,
            "{who} reset the subflow at octets without a mapping, with MP_TCPRST reason {value}",
            "MPTCP_RST_EMIDDLEBOX: a missing mapping counts as a middlebox's work",
            claims=(("L5", "for"), ("S12", "for")),
            at=KERNEL,
        ),
        exactly(REASON, 6, "{who} reset with reason {value}", "as Linux", at=("linux-rules",)),
        exactly(TRANSIENT, 0, "the reset has T = {value}", "never set by Linux", claims=(("L5", "for"),), at=KERNEL),
    )


def _behind_a_hole() -> Iterator[Case]:
    same, whole = "again sf1 201-300 map 201-300", "send sf1 101-300 at 101 map 101-300"
    hole = "send sf1 101-200 at 101 map 101-200"
    dropped = "tcp_data_queue_ofo() drops a segment whose octets all wait there already, and its options"
    for name, beginning in (ONE, TWO):
        yield Case(
            name=f"behind-hole/{name}",
            summary="Octets 201-300 without mapping behind a hole; the same segment with it; then the hole.",
            lines=(*beginning, "send sf1 201-300 at 201 no map", PAUSE, same, PAUSE, hole, *answer(300)),
            found=(
                exactly(
                    FALLBACK if name == "one" else REASON,
                    1 if name == "one" else 6,
                    "behind a hole, {who} ignored the mapping on an exact repetition and "
                    + ("fell back" if name == "one" else "reset the subflow (reason {value})"),
                    dropped,
                    claims=(("N13", "against"), ("S14", "against")),
                    at=KERNEL,
                    under="an exact repetition, Linux",
                ),
                exactly(
                    DATA_ACKED,
                    300,
                    "behind a hole, {who} took the mapping of an exact repetition ({value} DATA_ACKed)",
                    HOLDS,
                    claims=(("S14", "for"),),
                    at=OURS,
                    under="a receiver that holds",
                ),
            ),
        )
        yield Case(
            name=f"hole-and-all/{name}",
            summary="The same, but one segment with one mapping repeats the hole and the octets behind it.",
            lines=(*beginning, "send sf1 201-300 at 201 no map", PAUSE, whole, *answer(300)),
            found=(
                exactly(
                    DATA_ACKED,
                    300,
                    "a retransmission from the hole on, mapped as a whole, {who} took ({value} DATA_ACKed)",
                    "the longer segment is in order, with its mapping, and what waited is old (tcp_ofo_queue())",
                    claims=(("N13", "for"), ("S14", "for")),
                    at=KERNEL,
                    under="from the hole on, Linux",
                ),
                exactly(DATA_ACKED, 300, "{who} DATA_ACKed {value}", "mapped as a whole", at=("linux-rules", *OURS)),
                exactly(RESETS, 0, "{value} resets", "every octet that is delivered has a mapping"),
            ),
        )


def _later_segment() -> Iterator[Case]:
    later = ("send sf1 201-300 map 101-200", PAUSE, "send sf1 301-400 map 201-400 at 201")
    yield Case(
        name="later-segment/two",
        summary="Octets 101-200 without mapping; it comes on the next segment, of other octets.",
        lines=(*JOINED, "send sf1 101-200 no map", PAUSE, *later, *answer(400)),
        found=(
            *_judged_at_once("two"),
            exactly(
                REASON,
                1,
                "{who} held the octets, and reset (reason {value}) when a segment of other octets mapped them",
                "RFC 8684 section 3.3.1: the MUST of change 2",
                claims=(("S18", "for"),),
                at=("rfc8684",),
            ),
            exactly(
                DATA_ACKED,
                400,
                "{who} took it ({value} DATA_ACKed): without the MUST the schedule works",
                "it stores mappings wherever they come",
                claims=(("S13", "for"),),
                at=("holding",),
                under="a receiver that holds",
            ),
        ),
    )


def _never() -> Iterator[Case]:
    yield Case(
        name="never/two",
        summary="Octets 101-200 never get their mapping on subflow 1; 201-300 follow mapped; both again on subflow 2.",
        lines=(
            *JOINED,
            "send sf1 101-200 no map",
            PAUSE,
            "send sf1 201-300 map 201-300",
            PAUSE,
            "send sf2 101-200 map 101-200",
            PAUSE,
            "send sf2 201-300 map 201-300",
            "wait until data_acked 300 for 600ms",
        ),
        receivers={**RECEIVERS, "discarding": DISCARDING},
        found=(
            exactly(
                REASON,
                6,
                "{who} reset subflow 1 at its unmapped segment (reason {value})",
                NO_HOLD,
                claims=(("S29", "for"), ("L5", "for")),
                at=KERNEL,
                under="a receiver that does not hold",
            ),
            exactly(
                RESETS,
                0,
                "{who} answered a segment that stays unmapped with {value} resets",
                "held or discarded: no receive window of it has come (RFC 8684 section 3.3.1)",
                claims=(("S29", "against"), ("S13", "for")),
                at=(*OURS, "discarding"),
                under="a receiver that holds or discards",
            ),
            exactly(
                DATA_ACKED,
                300,
                "{who} got every octet once they came on subflow 2 ({value} DATA_ACKed)",
                "the data sequence numbers say where they belong",
                claims=(("S13", "for"),),
                at=(*OURS, "discarding"),
                under="a receiver that holds or discards",
            ),
            exactly(DATA_ACKED, 300, "{who} DATA_ACKed {value} once they came on subflow 2", "as above", at=LINUX),
        ),
    )
    yield Case(
        name="never/one",
        summary="One subflow; octets 101-200 without mapping, then at new subflow numbers with it, as after a timeout.",
        lines=(
            *BEGINNING,
            "send sf1 101-200 no map",
            PAUSE,
            "send sf1 101-200 at 201 map 101-200 at 201",
            *answer(200),
        ),
        receivers={**RECEIVERS, "discarding": DISCARDING},
        found=(
            exactly(
                RECEIVED,
                300,
                "{who}, fallen back, took the repetition of 100 octets for new ones: {value} arrived of 200",
                "as TCP the subflow's numbers count, and those are new; a sender that has not noticed repeats so",
                claims=(("L6", "against"),),
                at=KERNEL,
            ),
            exactly("first_wrong_upload", 200, "the stream is wrong after {value}", "the repetition", at=LINUX),
            exactly(
                DATA_ACKED,
                200,
                "{who} DATA_ACKed {value} after the repetition, each octet delivered once",
                "held or discarded, the first copy counts for nothing until it is mapped",
                claims=(("S13", "for"),),
                at=(*OURS, "discarding"),
                under="a receiver that holds or discards",
            ),
        ),
    )


def _window() -> Iterator[Case]:
    segments = tuple(f"send sf1 {first}-{first + 999} no map" for first in range(101, 12_001, 1000))
    yield Case(
        name="fill/two",
        summary="12 segments of 1000 octets without mapping on one of two subflows.",
        lines=(*JOINED, *segments, "wait 500ms"),
        receivers={**RECEIVERS, "small-window": SMALL_WINDOW},
        found=(
            exactly(
                REASON,
                6,
                "{who} reset at the first unmapped segment (reason {value}), whatever its window",
                NO_HOLD,
                claims=(("S15", "for"), ("S17", "against")),
                at=KERNEL,
                under="a receiver that does not hold",
            ),
            exactly("observed:acked.sf1", 1100, "its subflow acknowledged {value}", "the first segment", at=KERNEL),
            exactly(
                REASON,
                6,
                "{who} reset the subflow (reason {value}) once a window of it had come",
                "RFC 8684 section 3.3.1: no mapping within a receive window of data",
                claims=(("S15", "for"), ("S17", "for")),
                at=("small-window",),
                under="a receiver that holds",
            ),
            exactly(
                "counter:TestbedUnmappedPeak@server",
                9000,
                "it held {value} octets at once: the ninth segment fills the 8 KiB",
                "ReceiverRules.hold_unmapped is a window",
                at=("small-window",),
            ),
            exactly(
                RESETS,
                0,
                "{who} and a window of 4 MiB answered 12 kB without mapping with {value} resets",
                "12 kB are less than a window",
                claims=(("S17", "for"),),
                at=OURS,
                under="a receiver that holds",
            ),
            exactly("counter:TestbedUnmappedPeak@server", 12_000, "it held {value} octets", "all of them", at=OURS),
        ),
    )


def _stuck() -> Iterator[Case]:
    yield Case(
        name="stuck",
        summary="The receiver of 1000 octets acknowledges them on the subflow and never at the data level.",
        lines=(
            "set answers none",
            "open sf1",
            "ack sf1 data_ack 0",
            "wait until octets.sf1 1000 for 1s",
            "ack sf1 data_ack 0",
            "wait until octets.sf1 2000 for 3s",
            "observe octets_then = octets.sf1",
            "observe repeated_then = repeated.sf1",
            "ack sf1 data_ack 0",
        ),
        other_sends_bytes=1000,
        found=(
            exactly(
                "observed:octets_then",
                2000,
                "{who} as the sender sent {value} octets where there were 1000: it repeated what was not DATA_ACKed",
                "RFC 8684 section 3.3.6: the connection-level timer (mptcp_worker())",
                claims=(("S16", "against"),),
            ),
            exactly(
                "observed:repeated_then",
                0,
                "{value} segments came again at their subflow numbers: it is no retransmission of the subflow",
                "TCP has its acknowledgment; the repetition has new subflow numbers and the old data sequence numbers",
                claims=(("S16", "for"),),
            ),
            Found(
                metric="counter:MPTcpExtMPTCPRetrans@server",
                low=1,
                says="MPTCPRetrans moved by {value}",
                because="the kernel's counter of such repetitions",
            ),
        ),
    )
