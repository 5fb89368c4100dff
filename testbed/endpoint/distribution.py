"""Individual times of an application (latency, delay, completion) and their quantiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from testbed.endpoint.protocol import Distribution

Metric = Literal["latency", "block_delay", "flow_completion"]


class Recorder:
    """Collects (when, value) pairs in ns."""

    def __init__(self, metric: Metric) -> None:
        self._metric: Metric = metric
        self._times: list[int] = []
        self._values: list[int] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, time_ns: int, value_ns: int) -> None:
        """One was complete at ``time_ns``."""
        self._times.append(time_ns)
        self._values.append(value_ns)

    def distribution(self, end_ns: int = 0, under_way_ns: Iterable[int] = ()) -> Distribution:
        """All of them, in order of completion; then what began at ``under_way_ns``, with the time until ``end_ns``."""
        unfinished = [end_ns - since_ns for since_ns in under_way_ns]
        values = [*self._values, *unfinished]
        ordered = sorted(values)
        return Distribution(
            metric=self._metric,
            time_ns=(*self._times, *(end_ns for _ in unfinished)),
            value_ns=tuple(values),
            p50_ns=quantile(ordered, 50),
            p95_ns=quantile(ordered, 95),
            p99_ns=quantile(ordered, 99),
            max_ns=ordered[-1] if ordered else None,
        )


def quantile(ordered: list[int], percent: int) -> int | None:
    """Nearest rank: the smallest value that at least ``percent`` % of the values do not exceed; None without values."""
    if not ordered:
        return None
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
