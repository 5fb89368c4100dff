"""The option ledger: for each segment what was wanted, what left, and why the rest did not.

Definitions. *Size* of an option: its octets on the wire without padding. *Wanted*: what the sender's state called for
when the segment was built; SACK as 2 + 8 * min(4, blocks held, a D-SACK included). *Displaced* blocks: wanted less
sent. Each displaced block (and each other option that waits) has a class, found by packing the same wanted set again:

``padding``  it would fit into 40 octets without NOPs;
``width``    ... with 32-bit DSN and DATA_ACK besides;
``policy``   ... if what is optional were left out besides (a mapping that was declared before, a DATA_ACK that has not
             advanced, a signal that can wait), or it fits as it is and the policy left it out;
``hard``     not even then.

*Blame*: the options on the segment any one of which, taken off, makes room for it.
"""

from __future__ import annotations

from typing import Final

from testbed.mptcp.draft import Draft
from testbed.mptcp.packing import AREA, MOST_SACK_BLOCKS, padded
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import (
    KIND_EOL,
    KIND_MPTCP,
    KIND_NAMES,
    KIND_NOP,
    KIND_SACK,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_NAMES,
    Dss,
    MptcpOption,
    Option,
    Sack,
)
from testbed.wire.segment import ACK, FIN, RST, SYN

# fmt: off
Row = tuple[
    int, int, str, bool, int, int, str, int, str, int, int, int, int, int, int, int, int, int, str, str, str,
    int | None, int | None, str | None, int | None, int | None,
]
# fmt: on

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("time_ns", "int64", "When the segment left."),
    ("subflow", "int64", "Number of the subflow at its end, from 0."),
    ("segment", "text", "syn, syn-ack, data, ack (without data), fin or rst."),
    ("retransmission", "bool", "Whether data, SYN or FIN left again."),
    ("ssn", "int64", "Relative subflow sequence number of the first octet (the SYN is 0)."),
    ("payload", "int64", "Octets of payload."),
    ("wanted", "text", "Options wanted, as name:size; SACK last."),
    ("wanted_octets", "int64", "Sum of the sizes wanted, without padding; pressure is this / 40."),
    ("sent", "text", "Options sent, as name:size, in the order on the wire."),
    ("option_octets", "int64", "Octets of the option area, padding included."),
    ("padding_octets", "int64", "Its NOP and EOL octets."),
    ("free_octets", "int64", "40 less option_octets."),
    ("sack_wanted", "int64", "SACK blocks wanted, at most 4."),
    ("sack_sent", "int64", "SACK blocks sent."),
    ("sack_padding", "int64", "Displaced blocks of class padding."),
    ("sack_width", "int64", "Displaced blocks of class width."),
    ("sack_policy", "int64", "Displaced blocks of class policy."),
    ("sack_hard", "int64", "Displaced blocks of class hard."),
    ("sack_blame", "text", "Options any one of which, taken off, would have let one block more in."),
    ("mapping", "text", "own, other (late mapping), repeated, declared (was sent before: not wanted), deferred, none."),
    ("omitted", "text", "Options other than SACK that wait or were left out, as name:class."),
    ("mss", "int64", "Octets of payload and options that one packet may take; null on SYNs: not known yet."),
    ("ack", "int64", "Relative sequence number of the peer that is acknowledged (its SYN is 0)."),
    ("sack_ranges", "text", "SACK ranges wanted, as first-end, relative as ack; the first sack_sent of them left."),
    ("mapping_ssn", "int64", "Relative subflow sequence number at which the mapping on the segment begins."),
    ("mapping_octets", "int64", "Octets of data that it maps; 0: the infinite mapping."),
)
"""Name, type and meaning of a row's values, in order: the columns of ``segments.parquet`` that an endpoint fills."""

_CLASSES: Final = ("padding", "width", "policy", "hard")


class Want:
    """One option wanted: name, size, size with 32-bit numbers, size when its optional part is left out."""

    __slots__ = ("name", "narrow", "needed", "size")

    def __init__(self, name: str, size: int, narrow: int | None = None, needed: int | None = None) -> None:
        self.name = name
        self.size = size
        self.narrow = size if narrow is None else narrow
        self.needed = self.narrow if needed is None else needed
        """What must be there at least, narrow: 0 for what can wait altogether."""


class Ledger:
    """The rows of one connection's end. Kept only when asked for: nobody calls a ledger that is not there."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def take_rows(self) -> list[Row]:
        """The rows since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def record(self, subflow: int, plan: SegmentPlan, draft: Draft) -> None:
        """Write the row of a segment that has left."""
        blocks = min(len(plan.sack_blocks), MOST_SACK_BLOCKS)
        sent = [option for option in plan.options if option.kind not in (KIND_NOP, KIND_EOL)]
        sack_sent = next((len(option.blocks) for option in sent if isinstance(option, Sack)), 0)
        others = wanted_besides_sack(plan, draft)
        sizes = [(want.name, want.size) for want in others]
        if blocks:
            sizes.append(("sack", 2 + 8 * blocks))
        used = sum(option.size for option in sent)
        counts = [0, 0, 0, 0]
        for block in range(sack_sent + 1, blocks + 1):
            counts[_CLASSES.index(class_of(others, 2 + 8 * block, plan.option_octets, sack_sent, draft))] += 1
        blame = ""
        if sack_sent < blocks:
            blame = blame_for(sent, 8 if sack_sent else 10, draft.area.aligned)
        mapping = draft.mapping if _carries_mapping(draft, plan) else None
        self.rows.append(
            (
                plan.now,
                subflow,
                segment_name(plan),
                plan.is_retransmission,
                plan.ssn,
                plan.length,
                _text(sizes),
                sum(size for _, size in sizes),
                _text([(name_of(option), option.size) for option in sent]),
                plan.option_octets,
                plan.option_octets - used,
                AREA - plan.option_octets,
                blocks,
                sack_sent,
                counts[0],
                counts[1],
                counts[2],
                counts[3],
                blame,
                mapping_state(draft, plan),
                _omissions(others, sent, draft, plan),
                None if plan.flags & SYN else plan.mss,
                plan.ack if plan.flags & ACK else None,
                _ranges(plan, blocks) if blocks else None,
                mapping.ssn if mapping is not None else None,
                mapping.length if mapping is not None else None,
            )
        )


def segment_name(plan: SegmentPlan) -> str:
    """What kind of segment it is."""
    if plan.flags & SYN:
        return "syn-ack" if plan.flags & ACK else "syn"
    if plan.flags & RST:
        return "rst"
    if plan.length:
        return "data"
    return "fin" if plan.flags & FIN else "ack"


def name_of(option: Option) -> str:
    """The ledger's word for an option; kind-N for one without."""
    if option.kind == KIND_MPTCP and isinstance(option, MptcpOption):
        return SUBTYPE_NAMES[option.subtype]
    return KIND_NAMES.get(option.kind, f"kind-{option.kind}")


def wanted_besides_sack(plan: SegmentPlan, draft: Draft) -> list[Want]:
    """The options that the state called for, without SACK."""
    wanted: list[Want] = []
    if plan.mss_option is not None and plan.flags & SYN:
        wanted.append(Want("mss", 4))
    if plan.sack_permitted and plan.flags & SYN:
        wanted.append(Want("sack_permitted", 2))
    if draft.wanted_timestamps and not plan.flags & RST:
        wanted.append(Want("timestamps", 10))
    if plan.window_scale is not None and plan.flags & SYN:
        wanted.append(Want("window_scale", 3))
    if draft.wanted_cookie >= 0:
        wanted.append(Want("fast_open", 2 + draft.wanted_cookie))
    if draft.wanted_handshake is not None:
        wanted.append(Want(name_of(draft.wanted_handshake), draft.wanted_handshake.size))
    if draft.dss is not None:
        wanted.append(_want_dss(draft.dss, draft))
    elif draft.own is not None and draft.own_fits_later:
        wanted.append(Want("dss", 18, 14))
    for option in draft.wanted_signals:
        needed = option.size if plan.flags & RST or option.subtype == SUBTYPE_MP_FASTCLOSE else 0
        wanted.append(Want(name_of(option), option.size, None, needed))
    return wanted


def _want_dss(dss: Dss, draft: Draft) -> Want:
    ack = 0 if dss.data_ack is None else 4
    rest = 0 if dss.dsn is None else 4 + (6 if dss.checksum is None else 8)
    needed_ack = 0 if draft.repeats_data_ack else ack
    needed_rest = 0 if draft.repeats_mapping else rest
    needed = 4 + needed_ack + needed_rest if needed_ack or needed_rest else 0
    return Want("dss", dss.size, 4 + ack + rest, needed)


def class_of(others: list[Want], size: int, option_octets: int, sack_sent: int, draft: Draft) -> str:
    """Why a SACK option of ``size`` did not leave beside the others."""
    more = size - (2 + 8 * sack_sent if sack_sent else 0)
    room = AREA - draft.area.used
    if (padded(more) if draft.area.aligned else more) <= room:
        return "policy"  # it would have fitted as it is
    return class_by_repacking(others, size)


def class_by_repacking(others: list[Want], size: int) -> str:
    """Why an option of ``size`` that does not fit beside the others is not there: the least that would make room."""
    if sum(want.size for want in others) + size <= AREA:
        return "padding"
    if sum(want.narrow for want in others) + size <= AREA:
        return "width"
    if sum(want.needed for want in others) + size <= AREA:
        return "policy"
    return "hard"


def blame_for(sent: list[Option], more: int, aligned: bool) -> str:
    """Names of the options on the segment any one of which, taken off, lets ``more`` octets in."""
    cost = sum(padded(option.size) if aligned else option.size for option in sent)
    need = padded(more) if aligned else more
    names = [
        name_of(option)
        for option in sent
        if option.kind != KIND_SACK and cost - (padded(option.size) if aligned else option.size) + need <= AREA
    ]
    return " ".join(names)


def mapping_state(draft: Draft, plan: SegmentPlan) -> str:
    """What became of the mapping of the segment's data."""
    if draft.own is None and draft.mapping is None:
        return "none"
    if draft.mapping is None:
        return "deferred" if draft.own is not None and draft.own.carried_at < 0 else "declared"
    if draft.sent_dss is None or draft.sent_dss.dsn is None:
        return "own" if draft.handshake is not None and plan.length else "deferred"
    if draft.mapping is not draft.own:
        return "other"
    return "repeated" if draft.repeats_mapping else "own"


def _omissions(others: list[Want], sent: list[Option], draft: Draft, plan: SegmentPlan) -> str:
    """What was wanted, other than SACK, and is not on the segment."""
    names = [name_of(option) for option in sent]
    lines: list[str] = []
    for want in others:
        if want.name in names:
            names.remove(want.name)
            if want.name == "dss" and draft.sent_dss is not None and draft.sent_dss is not draft.dss:
                part = "dss-mapping" if draft.sent_dss.dsn is None else "dss-data-ack"
                lines.append(f"{part}:{_class_of_other(others, want, sent, draft)}")
            continue
        lines.append(f"{want.name}:{_class_of_other(others, want, sent, draft)}")
    return " ".join(lines)


def _class_of_other(others: list[Want], want: Want, sent: list[Option], draft: Draft) -> str:
    cost = padded(want.size) if draft.area.aligned else want.size
    is_absent = want.name != "dss" or draft.sent_dss is None
    if is_absent and draft.area.used + cost <= AREA:
        return "policy"  # there was room
    rest = [each for each in others if each is not want]
    sack = next((option.size for option in sent if option.kind == KIND_SACK), 0)
    return class_by_repacking([*rest, Want("sack", sack, sack, sack)], want.size)


def _carries_mapping(draft: Draft, plan: SegmentPlan) -> bool:
    """Whether ``draft.mapping`` is on the segment: in its DSS, or as the MP_CAPABLE of the first data."""
    if draft.sent_dss is not None:
        return draft.sent_dss.dsn is not None
    return draft.handshake is not None and plan.length > 0


def _ranges(plan: SegmentPlan, blocks: int) -> str:
    """The blocks wanted as offsets: within 2^31 of what is acknowledged."""
    base = plan.irs + plan.ack - 0x8000_0000
    shift = plan.ack - 0x8000_0000
    return " ".join(
        f"{((left - base) & 0xFFFF_FFFF) + shift}-{((right - base) & 0xFFFF_FFFF) + shift}"
        for left, right in plan.sack_blocks[:blocks]
    )


def _text(sizes: list[tuple[str, int]]) -> str:
    return " ".join(f"{name}:{size}" for name, size in sizes)
