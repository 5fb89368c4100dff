"""The packets of one side's subflows in one batch, and what is remembered of the subflows between batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Batch, Layout
from analysis.contention.grouped import LOWEST, Groups, groups_of, unwrapped
from analysis.contention.repacking import AREA_OCTETS, packing_of
from analysis.contention.replay import Range, Replay
from analysis.contention.segments import NOT_KNOWN, Bools, Int64s, Subflows

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
M32 = 0xFFFF_FFFF
ALIGNED, DENSE = 1, 2
_MSS_OPTION = 2


class State:
    """What is remembered of each subflow between batches, of one side."""

    def __init__(self, subflows: Subflows, side: int) -> None:
        count = len(subflows.side)

        def numbers(value: int = 0) -> Int64s:
            return np.full(count, value, dtype=np.int64)

        def flags() -> Bools:
            return np.zeros(count, dtype=bool)

        self.own_base = subflows.isn[:, side].copy()
        self.far_base = subflows.isn[:, 1 - side].copy()
        """Wire number of offset 0: the SYN, or the first number seen."""
        self.own_known = self.own_base != NOT_KNOWN
        self.far_known = self.far_base != NOT_KNOWN
        self.own_last, self.far_last = numbers(), numbers()
        self.own_end = numbers(LOWEST)
        """End of what was sent."""
        self.edge = np.where(self.far_known, 1, LOWEST).astype(np.int64)
        """End of the last arrival in order."""
        self.acked = self.edge.copy()
        """The last acknowledgment that left."""
        self.mapped_end = numbers(LOWEST)
        self.data_ack = numbers(-1)
        self.data_ack_octets = np.zeros(count, dtype=np.int64)
        self.data_count = numbers()
        self.stamps_out, self.stamps_in = flags(), flags()
        self.no_sack = flags()
        """A SYN came by without SACK-permitted."""
        self.peer_is_wide = flags()
        self.packing = np.zeros(count, dtype=np.uint8)
        self.mss = numbers(int(NOT_KNOWN))
        self.replays: dict[int, Replay] = {}
        self.gaps: dict[int, list[Range]] = {}
        """Subflow -> subflow numbers that no mapping has covered, below ``mapped_end``."""


class LayoutTable:
    """What of a layout matters here, by its number."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self._layouts = layouts
        self.sent: list[tuple[tuple[str, int], ...]] = []
        self.packing = np.zeros(0, dtype=np.uint8)
        self.has_timestamps = np.zeros(0, dtype=bool)
        self.permits_sack = np.zeros(0, dtype=bool)
        self.is_whole = np.zeros(0, dtype=bool)
        """Every octet of it is accounted for: no option that cannot be, and not one of very many layouts."""
        self.opens = np.zeros(0, dtype=bool)
        """MP_CAPABLE or MP_JOIN is in it."""
        self.has_room = np.zeros(0, dtype=bool)
        """For a SACK block more, however it is packed."""
        self.signals = np.zeros(0, dtype=bool)
        """ADD_ADDR and others that may take a DSS's place."""

    def extend(self) -> None:
        """Take in layouts that have come since."""
        new = self._layouts[len(self.sent) :]
        if not new:
            return
        names = [{name for name, _ in layout.items} for layout in new]
        packing = [{True: ALIGNED, False: DENSE, None: 0}[packing_of(layout.items)] for layout in new]
        self.sent += [tuple(item for item in layout.items if item[0] not in ("nop", "eol")) for layout in new]
        whole = [sum(size for _, size in layout.items) == layout.octets for layout in new]
        self.is_whole = np.append(self.is_whole, whole)
        self.packing = np.append(self.packing, np.array(packing, dtype=np.uint8))
        self.has_timestamps = np.append(self.has_timestamps, ["timestamps" in each for each in names])
        self.permits_sack = np.append(self.permits_sack, ["sack_permitted" in each for each in names])
        self.opens = np.append(self.opens, [bool({"mp_capable", "mp_join"} & each) for each in names])
        room = [AREA_OCTETS - each.octets >= (8 if "sack" in has else 12) for each, has in zip(new, names, strict=True)]
        self.has_room = np.append(self.has_room, room)
        self.signals = np.append(self.signals, [bool({"add_addr", "remove_addr", "mp_prio"} & each) for each in names])

    def octets(self, number: int) -> int:
        """Of the option area."""
        return self._layouts[number].octets


class View:
    """The packets of one side's subflows in one batch, sorted by subflow, and the numbers of the far end's stream."""

    def __init__(
        self, batch: Batch, rows: Int64s, subflow: Int64s, leaves: Bools, layouts: LayoutTable, state: State
    ) -> None:
        self.batch, self.rows, self.subflow, self.leaves = batch, rows, subflow, leaves
        self.layouts, self.state = layouts, state
        self.flags = batch.flags[rows]
        self.layout = batch.layout[rows]
        self.far, self.far_rows, self.far_groups = self._far_numbers()

    def column(self, name: str) -> NDArray[Any]:
        """A column of the batch, for these packets."""
        values: NDArray[Any] = getattr(self.batch, name)[self.rows]
        return values

    def note_openings(self) -> None:
        """What SYNs and SYN/ACKs say: SACK, MSS; and which packets show how the endpoint pads."""
        syn = np.flatnonzero(self.flags & SYN)
        refuses = syn[~self.layouts.permits_sack[self.layout[syn]]]
        self.state.no_sack[self.subflow[refuses]] = True
        if len(syn):
            self._note_mss(syn)
        packing = self.layouts.packing[self.layout]
        telling = np.flatnonzero(self.leaves & (packing != 0))
        self.state.packing[self.subflow[telling]] = packing[telling]

    def _note_mss(self, syn: Int64s) -> None:
        """The smaller of the two that were offered: TCP sends no more, options included (RFC 6691)."""
        rare = self.batch.rare
        of_row = dict(zip(self.rows[syn].tolist(), self.subflow[syn].tolist(), strict=True))
        for index in np.flatnonzero(rare.kind == _MSS_OPTION):
            number = of_row.get(int(rare.row[index]))
            if number is not None:
                offered = int(rare.octets[index, 2]) << 8 | int(rare.octets[index, 3])
                known = int(self.state.mss[number])
                self.state.mss[number] = offered if known == NOT_KNOWN else min(known, offered)

    def _far_numbers(self) -> tuple[Int64s, Int64s, Groups]:
        """Of each packet: where the peer's stream stands. Arrivals: offset of the first octet; segments that leave: of
        the acknowledgment. Rows without (RST, and a SYN that acknowledges nothing) keep the offset before."""
        state, leaves, flags = self.state, self.leaves, self.flags
        has = (flags & RST == 0) & (~leaves | (flags & ACK != 0))
        chosen = np.flatnonzero(has)
        wire = np.where(leaves, self.column("ack"), self.column("seq") + ((flags & SYN) >> 1).astype(np.uint32))[chosen]
        groups = groups_of(self.subflow[chosen])
        fresh = state.far_base[groups.key] == NOT_KNOWN
        state.far_base[groups.key[fresh]] = wire[groups.first[fresh]]
        offsets = unwrapped(wire, groups, state.far_last[groups.key], state.far_base[groups.key])
        state.far_last[groups.key] = offsets[groups.last]
        far = np.full(len(self.rows), NOT_KNOWN, dtype=np.int64)
        far[chosen] = offsets
        return far, chosen, groups
