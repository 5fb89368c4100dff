"""Where the capture stands: at which end of each subflow, so that what that end wanted to send can be inferred.

Four witnesses, in this order. The handshake: at the interface of the end that sent the SYN, the SYN/ACK comes a round
trip later and the third segment follows at once; at the other end it is the other way round. The addresses: what other
handshakes of the capture have shown to be near is near. The answers: the quickest acknowledgment (or echo of a
timestamp) by the near end comes at once, by the far end a round trip later. The hop count: packets leave an end with
64, 128 or 255, and every router takes one off. Where none is clear (a capture in the middle, or of a link without
delay) nothing is inferred; whoever knows better says so (``side``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Batch
from analysis.capture.resolution import Resolution, Subflow
from analysis.contention.segments import NOT_KNOWN, Subflows

Side = Literal["client", "server", "both"]
"""client: the host that opened the connection (opener), server: the other (listener)."""

SIDES: Mapping[str, int] = {"client": 0, "server": 1, "both": 2}
_CLEAR = 4
"""One wait of the handshake is so many times the other, or it says nothing."""
_LEAST_NS = 1_000_000
"""The longer one is at least this, or there is no round trip to speak of: handling may take as long."""
_MOST_ASKED = 1000
"""Subflows whose answers are looked at; the others have hop counts."""
_FIRST_HOP_LIMITS = (64, 128, 255)


def subflows_of(resolution: Resolution, first: Batch | None = None, side: Side | None = None) -> Subflows:
    """What the inference has to know of the subflows. ``first``: the beginning of the capture, for its hop counts;
    ``side``: where the capture stands, where that is known."""
    count = len(resolution.subflows)
    isn = np.full((count, 2), NOT_KNOWN, dtype=np.int64)
    for number, subflow in enumerate(resolution.subflows):
        for end in (0, 1):
            known = subflow.isn[end]
            if known is not None:
                isn[number, end] = known
    if side is not None:
        sides = np.full(count, SIDES[side], dtype=np.int8)
    else:
        sides = np.array(sides_of(resolution, first), dtype=np.int8)
    return Subflows(
        side=sides,
        isn=isn,
        connection=np.array([subflow.connection for subflow in resolution.subflows], dtype=np.int64),
        place=np.array([subflow.slot for subflow in resolution.subflows], dtype=np.int64),
    )


def sides_of(resolution: Resolution, first: Batch | None = None) -> list[int]:
    """Of each subflow: 0, the capture stands at the opener; 1, at the listener; -1, not known."""
    sides = [by_handshake(subflow) for subflow in resolution.subflows]
    near: Counter[bytes] = Counter()
    for subflow, side in zip(resolution.subflows, sides, strict=True):
        if side >= 0:
            near[_address(subflow, side)] += 1
            near[_address(subflow, 1 - side)] -= 1
    seen: dict[int, int] = {}
    if first is not None and -1 in sides:
        seen = by_hops(resolution, first) | by_answers(
            resolution, first, [n for n, side in enumerate(sides) if side < 0]
        )
    for number, subflow in enumerate(resolution.subflows):
        if sides[number] < 0:
            votes = near[_address(subflow, 0)] - near[_address(subflow, 1)]
            sides[number] = (0 if votes > 0 else 1) if votes else seen.get(number, -1)
    return sides


def beginning(batches: Iterable[Batch]) -> Batch | None:
    """The first batch of a pass, which ends here."""
    passing = iter(batches)
    first = next(passing, None)
    if isinstance(passing, Generator):
        passing.close()
    return first


def by_handshake(subflow: Subflow) -> int:
    """0, 1, or -1: its times do not tell."""
    answer, third = subflow.syn_rtt_ns, subflow.third_rtt_ns
    if answer is None or third is None or subflow.opened_by is None:
        return -1
    sender = 0 if subflow.opened_by == "opener" else 1
    waits = (third, answer) if sender == 0 else (answer, third)
    return _nearer(*waits)


def _nearer(opener_ns: int, listener_ns: int) -> int:
    """The end that answers sooner, if that is clear."""
    if max(opener_ns, listener_ns) < _LEAST_NS:
        return -1
    if listener_ns >= _CLEAR * max(opener_ns, 0):
        return 0
    return 1 if opener_ns >= _CLEAR * max(listener_ns, 0) else -1


def by_answers(resolution: Resolution, first: Batch, numbers: Sequence[int]) -> dict[int, int]:
    """Subflow -> side, for those of ``numbers`` whose one end answers much sooner than the other."""
    located, directions = resolution.both(first)
    order = np.argsort(located, kind="stable")
    found = {}
    for number in numbers[:_MOST_ASKED]:
        low, high = np.searchsorted(located[order], [number, number + 1])
        rows = order[low:high]
        waits = [
            _quickest_answer(first, rows[directions[rows] == side], rows[directions[rows] != side]) for side in (0, 1)
        ]
        if waits[0] is not None and waits[1] is not None:
            side = _nearer(waits[0], waits[1])
            if side >= 0:
                found[number] = side
    return found


def _quickest_answer(batch: Batch, answers: NDArray[np.int64], questions: NDArray[np.int64]) -> int | None:
    """From a question (its end of data, its timestamp) to the first answer that knows it, at the least."""
    ends = batch.seq + batch.payload
    quickest = None
    for asked, known, matters in ((ends, batch.ack, batch.payload > 0), (batch.tsval, batch.tsecr, batch.tsval != 0)):
        mine = questions[matters[questions]]
        values, where = np.unique(asked[mine], return_index=True)
        times = batch.time_ns[mine][where]
        told, at = np.unique(known[answers], return_index=True)
        _, one, other = np.intersect1d(values, told, assume_unique=True, return_indices=True)
        waits = batch.time_ns[answers][at][other] - times[one]
        waits = waits[waits >= 0]
        if len(waits) and (quickest is None or waits.min() < quickest):
            quickest = int(waits.min())
    return quickest


def by_hops(resolution: Resolution, first: Batch) -> dict[int, int]:
    """Subflow -> side, where the packets of one end alone have not passed any router."""
    numbers, directions = resolution.both(first)
    known = numbers >= 0
    flow = numbers[known].astype(np.int64) * 2 + directions[known]
    size = 2 * len(resolution.subflows)
    all_of = np.bincount(flow, minlength=size)
    whole_of = np.bincount(flow[np.isin(first.ttl[known], _FIRST_HOP_LIMITS)], minlength=size)
    starts_here = (all_of > 0) & (whole_of == all_of)
    comes_from_far = (all_of > 0) & (whole_of == 0)
    found = {}
    for direction in (0, 1):
        clear = starts_here[direction::2] & comes_from_far[1 - direction :: 2]
        found.update(dict.fromkeys(np.flatnonzero(clear).tolist(), direction))
    return found


def _address(subflow: Subflow, side: int) -> bytes:
    return (subflow.opener if side == 0 else subflow.listener)[0]
