"""Several files as one capture: the interfaces of one host, or parts of a long capture, in the order of time.

Flows and layouts get numbers of their own; a packet keeps its number in its file, and its interface becomes one of the
whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import DENSE, Batch, Flow, Layout, RareOptions, SackBlocks, joined
from analysis.capture.reader import Capture, Counts


class MergedCapture:
    """Reads like one capture."""

    def __init__(self, captures: Sequence[Capture]) -> None:
        self._captures = list(captures)
        self.flows: list[Flow] = []
        self.layouts: list[Layout] = []
        self._flow_numbers: dict[Flow, int] = {}
        self._layout_numbers: dict[Layout, int] = {}
        self._flow_maps: list[NDArray[np.int32]] = [np.empty(0, np.int32) for _ in captures]
        self._layout_maps: list[NDArray[np.uint16]] = [np.empty(0, np.uint16) for _ in captures]

    @property
    def captures(self) -> tuple[Capture, ...]:
        """The files one by one."""
        return tuple(self._captures)

    @property
    def name(self) -> str:
        """Of all files."""
        return " + ".join(capture.name for capture in self._captures)

    @property
    def warnings(self) -> list[str]:
        """Of all files."""
        return [warning for capture in self._captures for warning in capture.warnings]

    @property
    def damaged(self) -> bool:
        """Whether one is."""
        return any(capture.damaged for capture in self._captures)

    @property
    def counts(self) -> Counts:
        """Of all files."""
        result = Counts()
        for counts in (capture.counts for capture in self._captures):
            for name in ("packets", "tcp", "truncated", "incomplete", "fragments"):
                setattr(result, name, getattr(result, name) + getattr(counts, name))
            for reason, number in counts.not_tcp.items():
                result.not_tcp[reason] = result.not_tcp.get(reason, 0) + number
            for name, choose in (("first_time_ns", min), ("last_time_ns", max)):
                both = [time for time in (getattr(result, name), getattr(counts, name)) if time is not None]
                setattr(result, name, choose(both) if both else None)
        return result

    def batches(self) -> Iterator[Batch]:
        """The packets of all files in the order of time; those of one file stay in its order."""
        sources: list[Iterator[Batch] | None] = [iter(capture.batches()) for capture in self._captures]
        waiting: list[Batch | None] = [None] * len(sources)
        while True:
            for number, source in enumerate(sources):
                if source is not None and waiting[number] is None:
                    batch = next(source, None)
                    if batch is None:
                        sources[number] = None
                    else:
                        waiting[number] = self._renumbered(batch, number)
            there = [batch for batch in waiting if batch is not None]
            if not there:
                return
            # What comes later in a file is later than this, unless the file is out of order, and then it stays so.
            limit = min(
                (int(batch.time_ns.max()) for batch, source in zip(waiting, sources, strict=True) if batch and source),
                default=max(int(batch.time_ns.max()) for batch in there),
            )
            ready = []
            for number, batch in enumerate(waiting):
                if batch is None:
                    continue
                reach = np.maximum.accumulate(batch.time_ns)
                count = int(np.searchsorted(reach, limit, "right"))
                ready.append(taken(batch, np.arange(count)))
                waiting[number] = taken(batch, np.arange(count, len(batch))) if count < len(batch) else None
            whole = joined(ready)
            yield taken(whole, np.argsort(whole.time_ns, kind="stable"))

    def close(self) -> None:
        """Give the files back."""
        for capture in self._captures:
            capture.close()

    def _renumbered(self, batch: Batch, number: int) -> Batch:
        capture = self._captures[number]
        flows, layouts = self._flow_maps[number], self._layout_maps[number]
        if len(flows) < len(capture.flows):
            more = [self._number(self._flow_numbers, self.flows, flow) for flow in capture.flows[len(flows) :]]
            flows = self._flow_maps[number] = np.concatenate((flows, np.array(more, np.int32)))
        if len(layouts) < len(capture.layouts):
            more = [self._number(self._layout_numbers, self.layouts, item) for item in capture.layouts[len(layouts) :]]
            layouts = self._layout_maps[number] = np.concatenate((layouts, np.array(more, np.uint16)))
        before = sum(max(len(other.interfaces), 1) for other in self._captures[:number])
        columns: dict[str, Any] = {name: getattr(batch, name) for name in DENSE}
        columns["flow"] = np.where(batch.flow >= 0, flows[batch.flow], -1).astype(np.int32)
        columns["layout"] = layouts[batch.layout]
        columns["interface"] = (batch.interface + before).astype(np.uint16)
        return Batch(**columns, sack=batch.sack, rare=batch.rare)

    @staticmethod
    def _number(numbers: dict[Any, int], items: list[Any], item: Any) -> int:
        if item not in numbers:
            numbers[item] = len(items)
            items.append(item)
        return numbers[item]


def taken(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    """Some packets of a batch, in the order of ``rows``, with their SACK blocks and rare options."""
    place = np.full(len(batch), -1, np.int64)
    place[rows] = np.arange(len(rows))
    sack, rare = batch.sack, batch.rare
    blocks, options = _ordered(place[sack.row]), _ordered(place[rare.row])
    return Batch(
        **batch.select(rows),
        sack=SackBlocks(place[sack.row[blocks]], sack.index[blocks], sack.left[blocks], sack.right[blocks]),
        rare=RareOptions(
            place[rare.row[options]],
            rare.kind[options],
            rare.subtype[options],
            rare.size[options],
            rare.octets[options],
        ),
    )


def _ordered(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The entries that stay, by their new row."""
    there = np.flatnonzero(place >= 0)
    return there[np.argsort(place[there], kind="stable")]
