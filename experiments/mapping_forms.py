"""Forms of mappings: on pure ACKs, two for one segment, two segments joined on the way, mappings that overlap.

What Alan Ford and V Anil Kumar discussed on 6 February 2020, to the octet: a segment of 1000 octets of which one
mapping covers 500, the two segments of 500 that would do instead, and what a box makes that puts two into one and keeps
the options of the first. And mappings that say the same twice, in parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.scripted import (
    BEGINNING,
    DATA_ACKED,
    JOINED,
    KERNEL,
    OURS,
    PAUSE,
    REASON,
    RECEIVED,
    RESETS,
    Case,
    Evidence,
    Found,
    answer,
    exactly,
    experiment,
)
from testbed.orchestrator.spec import Experiment

ONE, TWO = ("one", BEGINNING), ("two", JOINED)
JOINS_SEGMENTS = "coalesce 1400 options first for 20ms on forward"
FALLBACK, CORRUPT_FALLBACK, CORRUPT_RESET, NOT_MATCHING = (
    f"counter:MPTcpExt{name}@server"
    for name in ("DssFallback", "DSSCorruptionFallback", "DSSCorruptionReset", "DSSNotMatching")
)
ON_ACK = "mptcp_incoming_options() attaches a mapping to its segment's data, and a pure ACK has none"
PARTLY = "__mptcp_move_skb(): a segment longer than what is left of its mapping is corruption (mptcp_dss_corruption())"
STORES = "it stores mappings wherever they come (ReceiverRules.mapping_on_pure_ack)"


def mapping_forms() -> Experiment:
    """Each on one subflow, and on one of two."""
    return experiment(
        "mapping_forms",
        "Which forms of mappings do receivers understand, and what do they make of the others?",
        ("S19", "S20", "S21", "S22", "N3", "N4", "L5", "L6"),
        (*_pure_ack(), *_two_for_one(), *_joined(), *_overlapping()),
    )


def _refused(name: str, one: str, two: str, reason: int, why: str, claims: Evidence, what: str) -> Iterator[Found]:
    """What Linux does: a fallback on the only subflow, a reset on one of two."""
    if name == "one":
        yield exactly(one, 1, f"{{who}} falls back at {what}", why, claims=claims, at=KERNEL)
    else:
        says = f"{{who}} resets one of two subflows at {what}, with MP_TCPRST reason {{value}}"
        yield exactly(REASON, reason, says, why, claims=claims, at=KERNEL)
        if two:
            yield exactly(two, 1, "its counter moved by {value}", why, at=KERNEL)


def _pure_ack() -> Iterator[Case]:
    for name, beginning in (ONE, TWO):
        yield Case(
            name=f"pure-ack/{name}",
            summary="The mapping on a pure ACK, its octets behind it without one.",
            lines=(*beginning, "ack sf1 map 101-200 at 101", PAUSE, "send sf1 101-200 no map", *answer(200)),
            found=(
                *_refused(
                    name,
                    FALLBACK,
                    "",
                    6,
                    ON_ACK,
                    (("S19", "against"), ("L6" if name == "one" else "L5", "for")),
                    "octets whose mapping came on a pure ACK",
                ),
                exactly(
                    DATA_ACKED,
                    200,
                    "{who} uses a mapping from a pure ACK ({value} DATA_ACKed)",
                    STORES,
                    claims=(("S19", "for"),),
                    at=OURS,
                ),
            ),
        )


def _two_for_one() -> Iterator[Case]:
    for name, beginning in (ONE, TWO):
        yield Case(
            name=f"two-mappings/{name}",
            summary="1000 octets with the mapping of their first 500, that of the others on a pure ACK behind them.",
            lines=(*beginning, "send sf1 101-1100 map 101-600", "ack sf1 map 601-1100", *answer(1100)),
            found=(
                *_refused(
                    name,
                    CORRUPT_FALLBACK,
                    CORRUPT_RESET,
                    0,
                    PARTLY,
                    (("S20", "against"),),
                    "a segment that is mapped in part",
                ),
                exactly(
                    RECEIVED,
                    1100,
                    "{value} arrived at {who}: the unmapped half as well, right behind the other",
                    "the whole segment is moved before its length is found wrong",
                    at=KERNEL,
                ),
                exactly(
                    DATA_ACKED,
                    1100,
                    "{who} holds the unmapped half until the pure ACK maps it ({value} DATA_ACKed)",
                    STORES,
                    claims=(("S20", "for"),),
                    at=OURS,
                ),
            ),
        )
        yield Case(
            name=f"both-in-one/{name}",
            summary="1000 octets with both mappings on the segment itself: 36 octets of options, without DATA_ACK.",
            lines=(*beginning, "send sf1 101-1100 map 101-600 map 601-1100 no data_ack", *answer(1100)),
            found=(
                *_refused(
                    name,
                    FALLBACK,
                    "counter:MPTcpExtDSSNoMatchTCP@server",
                    1,
                    "mptcp_parse_option() keeps one DSS, the last: it does not map the first octets",
                    (("S20", "for"), ("L6" if name == "one" else "L5", "for")),
                    "two mappings on one segment, of which it reads the last",
                ),
                exactly(
                    DATA_ACKED,
                    600,
                    "two mappings fit on one segment without timestamps and DATA_ACK, but {who} reads the first alone "
                    "({value} DATA_ACKed)",
                    "RFC 8684 section 3.3 speaks of one DSS; nothing says what a second one means",
                    claims=(("S20", "for"),),
                    at=OURS,
                ),
            ),
        )
        split = ("send sf1 101-600 map 101-600", "send sf1 1101-1600 map 1101-1600", "send sf1 601-1100 map 601-1100")
        yield Case(
            name=f"split/{name}",
            summary="Segments of 500 octets with PSH, whose mappings do not adjoin.",
            lines=(*beginning, *split, *answer(1600)),
            found=(
                exactly(
                    DATA_ACKED,
                    1600,
                    "two segments of 500 octets, not adjoining, {who} delivers ({value} DATA_ACKed)",
                    "each has a mapping of its own; the second waits for the stream's hole",
                    claims=(("S21", "for"),),
                ),
                exactly(RESETS, 0, "{value} resets", "nothing is wrong with it"),
            ),
        )


def _joined() -> Iterator[Case]:
    adjoining = ("send sf1 101-600 map 101-600", "send sf1 601-1100 map 601-1100")
    apart = ("send sf1 101-600 map 101-600", "send sf1 1101-1600 map 1101-1600", "wait 100ms")
    for name, beginning in (ONE, TWO):
        refused = tuple(
            _refused(
                name,
                CORRUPT_FALLBACK,
                CORRUPT_RESET,
                0,
                PARTLY,
                (("N4", "for"), ("S22", "against")),
                "two mapped segments that a box joined under the first one's options",
            )
        )
        yield Case(
            name=f"joined/{name}",
            summary=f"Two segments of 500 octets that adjoin, through {JOINS_SEGMENTS}.",
            lines=(*beginning, *adjoining, *answer(1100)),
            boxes=JOINS_SEGMENTS,
            found=(
                *refused,
                exactly(
                    DATA_ACKED,
                    600,
                    "{who} delivers the mapped half and waits for a mapping of the other ({value} DATA_ACKed)",
                    "RFC 8684 section 3.3.1: some or all of the segment may be mapped, the rest is unmapped",
                    claims=(("N4", "for"), ("S22", "against")),
                    at=OURS,
                ),
            ),
        )
        on = "sf1" if name == "one" else "sf2"
        rest = (f"send {on} 601-1100 map 601-1100", "wait 50ms")
        yield Case(
            name=f"joined-apart/{name}",
            summary=f"The same with a gap of 500 octets between them, which then come on {on}.",
            lines=(
                *beginning,
                *apart,
                *rest,
                *(("send sf2 1101-1600 map 1101-1600",) if name == "two" else ()),
                *answer(1600),
            ),
            boxes=JOINS_SEGMENTS,
            found=(
                *refused,
                exactly(
                    "first_wrong_upload",
                    600,
                    "{who} delivers the unmapped half where the gap is: the stream is wrong after {value}, in silence",
                    "the whole segment counts as mapped before its length is found wrong; what then comes for the gap "
                    "is DuplicateData",
                    claims=(("N4", "for"),),
                    at=KERNEL,
                ),
                *_after_the_gap(name),
            ),
        )


def _after_the_gap(name: str) -> Iterator[Found]:
    if name == "two":
        yield exactly(
            DATA_ACKED,
            1600,
            "{who} DATA_ACKs {value}, wrong octets included",
            "the connection goes on over MPTCP, and its sender hears that all is well",
            at=KERNEL,
        )
        yield exactly(
            DATA_ACKED, 1600, "{who} DATA_ACKs {value}, each octet in its place", "mapped on subflow 2", at=OURS
        )
        yield exactly(RECEIVED, 1600, "{value} arrived", "nothing is lost or doubled", at=OURS)
    else:
        yield exactly(DATA_ACKED, 1100, "{who} DATA_ACKs {value}", "the rest stays unmapped", at=OURS)


def _overlapping() -> Iterator[Case]:
    first, second = "send sf1 101-200 map", "send sf1 201-300 map"
    reinforcing = (
        (
            "part",
            "the second repeats a part of the first",
            (f"{first} 101-300", PAUSE, f"{second} 201-300"),
            (
                FALLBACK,
                NOT_MATCHING,
                1,
                "get_mapping_status(): a second mapping while one is in use has to be identical",
            ),
        ),
        (
            "beyond",
            "the second begins within the first and ends beyond it",
            (f"{first} 101-250", PAUSE, f"{second} 201-300"),
            (CORRUPT_FALLBACK, CORRUPT_RESET, 0, PARTLY),
        ),
    )
    for name, beginning in (ONE, TWO):
        for word, what, lines, (one, two, reason, why) in reinforcing:
            yield Case(
                name=f"reinforcing-{word}/{name}",
                summary=f"Two mappings that agree: {what}.",
                lines=(*beginning, *lines, *answer(300)),
                found=(
                    *_refused(name, one, two, reason, why, (("N3", "for"),), f"mappings that agree where {what}"),
                    exactly(
                        DATA_ACKED,
                        300,
                        f"{{who}} accepts mappings that agree where {what} ({{value}} DATA_ACKed)",
                        "RFC 8684 section 6: mappings that reinforce each other",
                        claims=(("N3", "for"),),
                        at=OURS,
                    ),
                ),
            )
    yield Case(
        name="same-twice",
        summary="The same mapping on both of its segments, as segmentation offload copies it.",
        lines=(*BEGINNING, f"{first} 101-300", PAUSE, f"{second} 101-300", *answer(300)),
        found=(
            exactly(DATA_ACKED, 300, "{who} accepts an identical mapping ({value} DATA_ACKed)", "the control"),
            exactly(RESETS, 0, "{value} resets", "the control"),
        ),
    )
    yield Case(
        name="grown",
        summary="A mapping of 101-200, done with; then one of 101-300 on the segment of 201-300.",
        lines=(*BEGINNING, f"{first} 101-200", PAUSE, f"{second} 101-300 at 101", *answer(300)),
        found=(
            exactly(
                DATA_ACKED,
                300,
                "a mapping that repeats one whose octets are delivered and goes on {who} accepts ({value} DATA_ACKed)",
                "the earlier one is forgotten: nothing is there to compare with",
                claims=(("N3", "against"),),
                at=KERNEL,
                under="the earlier mapping is used up",
            ),
            exactly(DATA_ACKED, 300, "{who} DATA_ACKs {value}", "they agree", at=("linux-rules", *OURS)),
        ),
    )
