"""Packing the options of a segment again: what fits, why a SACK block stayed out, because of what.

The definitions are those of the ledger (docs/option-space.md); a test holds the two together on random sets of options.
Sizes are octets on the wire without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

AREA_OCTETS = 40
"""Room for options in a TCP header (RFC 9293 section 3.1)."""
MOST_BLOCKS = 4
"""RFC 2018 section 3: 2 + 8 * 4 = 34 octets."""
SACK_BASE = 2
SACK_BLOCK = 8
TIMESTAMPS_OCTETS = 10
CLASSES = ("padding", "width", "policy", "hard")
SEGMENT_KINDS = ("data", "ack", "syn", "syn-ack", "fin", "rst")

_OPENING = ("mss", "sack_permitted", "timestamps", "window_scale", "fast_open", "mp_capable", "mp_join", "dss")
_CAN_WAIT = ("add_addr", "remove_addr", "mp_prio", "mp_fail")
"""Signals: a later segment will do."""


class Want(NamedTuple):
    """One option wanted."""

    name: str
    size: int
    narrow: int
    """Its size with 32-bit DSN and DATA_ACK."""
    needed: int
    """What must be there at least, narrow: 0 for what can wait altogether."""


class DssForm(NamedTuple):
    """Which numbers a DSS has: octets of each, 0 for one that it does not have."""

    data_ack: int = 0
    dsn: int = 0
    has_checksum: bool = False
    has_data_fin: bool = False

    @property
    def size(self) -> int:
        """RFC 8684 section 3.3: 4 octets, DATA_ACK, DSN with subflow number and length, checksum."""
        if not self.data_ack and not self.dsn:
            return 0
        mapping = self.dsn + 6 + 2 * self.has_checksum if self.dsn else 0
        return 4 + self.data_ack + mapping


@dataclass(frozen=True, slots=True)
class Situation:
    """All that decides what a segment could carry; many segments share one."""

    segment: str
    sent: tuple[tuple[str, int], ...]
    """(name, octets) on the wire, in its order, without padding."""
    option_octets: int
    """Of the area, padding included."""
    dss: DssForm
    sack_wanted: int
    is_aligned: bool = True
    """Whether its sender pads every option to 4 octets; else only the end of the area."""
    repeats_data_ack: bool = False
    """The DATA_ACK was on an earlier segment of the subflow."""
    repeats_mapping: bool = False
    lacks_timestamps: bool = False
    """Timestamps are in use on the connection, and the segment has none."""
    lacks_dss: int = 0
    """Octets of the DSS that another option has displaced from the segment; 0: none has."""

    @property
    def sack_sent(self) -> int:
        """Blocks on the segment."""
        return next(((size - SACK_BASE) // SACK_BLOCK for name, size in self.sent if name == "sack"), 0)

    @property
    def others(self) -> list[Want]:
        """The options wanted, without SACK, in the ledger's order."""
        found = [(name, size) for name, size in self.sent if name != "sack"]
        if self.lacks_timestamps:
            found.append(("timestamps", TIMESTAMPS_OCTETS))
        if self.lacks_dss:
            found.append(("dss", self.lacks_dss))
        found.sort(key=lambda pair: _OPENING.index(pair[0]) if pair[0] in _OPENING else len(_OPENING))
        return [self._want(name, size) for name, size in found]

    def _want(self, name: str, size: int) -> Want:
        if name == "dss":
            return self._want_dss(size)
        is_optional = name in _CAN_WAIT and self.segment != "rst"
        return Want(name, size, size, 0 if is_optional else size)

    def _want_dss(self, size: int) -> Want:
        if self.lacks_dss:
            return Want("dss", size, 8, 8)
        if size != self.dss.size:
            return Want("dss", size, size, size)  # a second one, of which nothing else is known
        ack = 4 if self.dss.data_ack else 0
        rest = (10 + 2 * self.dss.has_checksum) if self.dss.dsn else 0
        needed = (0 if self.repeats_data_ack else ack) + (0 if self.repeats_mapping else rest)
        return Want("dss", size, 4 + ack + rest if ack + rest else size, 4 + needed if needed else 0)


@dataclass(frozen=True)
class Outcome:
    """What the ledger would say of such a segment."""

    situation: Situation

    @cached_property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        """(name, octets), SACK last."""
        wanted = [(want.name, want.size) for want in self.situation.others]
        if self.situation.sack_wanted:
            wanted.append(("sack", SACK_BASE + SACK_BLOCK * self.situation.sack_wanted))
        return tuple(wanted)

    @cached_property
    def wanted_octets(self) -> int:
        """Sum of the sizes wanted: pressure is this / 40."""
        return sum(size for _, size in self.wanted)

    @cached_property
    def padding_octets(self) -> int:
        """NOP and EOL octets."""
        return self.situation.option_octets - sum(size for _, size in self.situation.sent)

    @cached_property
    def classes(self) -> tuple[int, int, int, int]:
        """Displaced blocks of each of CLASSES."""
        it = self.situation
        return displaced_by_class(it.others, it.sack_wanted, it.sack_sent, self._used, it.is_aligned)

    @cached_property
    def blame(self) -> str:
        """Options any one of which, taken off, would have let one block more in."""
        it = self.situation
        if it.sack_sent >= it.sack_wanted:
            return ""
        return " ".join(blamed(it.sent, it.sack_sent, it.is_aligned))

    @cached_property
    def omitted(self) -> str:
        """Options other than SACK that were left out, as name:class."""
        it = self.situation
        names = ["timestamps"] * it.lacks_timestamps + ["dss"] * bool(it.lacks_dss)
        return " ".join(f"{name}:{self._class_of(name)}" for name in names)

    @property
    def _used(self) -> int:
        """Octets taken; in a dense area without the padding at its end."""
        it = self.situation
        is_opening = it.segment in ("syn", "syn-ack")
        return it.option_octets if it.is_aligned or is_opening else sum(size for _, size in it.sent)

    def _class_of(self, name: str) -> str:
        it = self.situation
        size = next(want.size for want in it.others if want.name == name)
        if self._used + (padded(size) if it.is_aligned else size) <= AREA_OCTETS:
            return "policy"
        sack = SACK_BASE + SACK_BLOCK * it.sack_sent if it.sack_sent else 0
        rest = [want for want in it.others if want.name != name]
        return class_of([*rest, Want("sack", sack, sack, sack)], size)


def padded(size: int) -> int:
    """The next multiple of 4."""
    return (size + 3) & ~3


def sack_blocks_that_fit(room: int, wanted: int, is_aligned: bool) -> int:
    """How many of the blocks wanted fit into that many octets: 4 + 8n aligned, 2 + 8n dense."""
    fitting = (room - (padded(SACK_BASE) if is_aligned else SACK_BASE)) // SACK_BLOCK
    return max(0, min(fitting, wanted, MOST_BLOCKS))


def class_of(others: Sequence[Want], size: int) -> str:
    """Why an option of that size, for which there was no room, did not leave beside the others wanted."""
    if sum(want.size for want in others) + size <= AREA_OCTETS:
        return "padding"
    if sum(want.narrow for want in others) + size <= AREA_OCTETS:
        return "width"
    if sum(want.needed for want in others) + size <= AREA_OCTETS:
        return "policy"
    return "hard"


def displaced_by_class(
    others: Sequence[Want], wanted: int, sent: int, used: int, is_aligned: bool
) -> tuple[int, int, int, int]:
    """Displaced SACK blocks of each of CLASSES. ``used``: octets taken by all that was sent."""
    counts = dict.fromkeys(CLASSES, 0)
    taken = SACK_BASE + SACK_BLOCK * sent if sent else 0
    for block in range(sent + 1, wanted + 1):
        size = SACK_BASE + SACK_BLOCK * block
        more = size - taken
        if (padded(more) if is_aligned else more) <= AREA_OCTETS - used:
            counts["policy"] += 1  # there was room
        else:
            counts[class_of(others, size)] += 1
    return counts["padding"], counts["width"], counts["policy"], counts["hard"]


def blamed(sent: Sequence[tuple[str, int]], sack_sent: int, is_aligned: bool) -> list[str]:
    """Options on the segment any one of which, taken off, makes room for one block more."""

    def cost(size: int) -> int:
        return padded(size) if is_aligned else size

    whole = sum(cost(size) for _, size in sent)
    need = cost(SACK_BLOCK if sack_sent else SACK_BASE + SACK_BLOCK)
    return [name for name, size in sent if name != "sack" and whole - cost(size) + need <= AREA_OCTETS]


def in_words(sizes: Sequence[tuple[str, int]]) -> str:
    """As the columns ``wanted`` and ``sent`` have it: ``timestamps:10 dss:26``."""
    return " ".join(f"{name}:{size}" for name, size in sizes)


def packing_of(items: Sequence[tuple[str, int]]) -> bool | None:
    """Whether a layout (with its ``nop`` and ``eol``) pads every option (True) or only the end (False); None: it would
    look the same either way."""
    last = max((place for place, (name, _) in enumerate(items) if name not in ("nop", "eol")), default=-1)
    if any(name == "nop" for name, _ in items[:last]):
        return True
    sizes = [size for name, size in items if name not in ("nop", "eol")]
    if any(name in ("mss", "sack_permitted") for name, _ in items):
        return None  # what opens a connection shares its padding in many ways
    return False if sum(padded(size) for size in sizes) != padded(sum(sizes)) else None
