"""Which way a measure is better: the one table behind verdicts and the words of reports.

Refuses to know how much better is good enough: that is what an experiment expects.
"""

from __future__ import annotations

from typing import Literal

Extreme = Literal["largest", "smallest"]

SMALLER_IS_BETTER = frozenset(
    (
        "connect_time_ns",
        "first_byte_ns",
        "completion_time_ns",
        "longest_stall_ns",
        "retransmits",
        "bytes_retransmitted",
        "operations_failed",
        "sample_lateness_max_ns",
        *(
            f"{timed}_{statistic}_ns"
            for timed in ("latency", "block_delay", "flow_completion")
            for statistic in ("p50", "p95", "p99", "max")
        ),
    )
)
"""Waiting, and work done twice. Of every other number (goodput, bytes, operations, subflows) more is better."""

LARGER_IN_LEDGER = frozenset(("segments", "sack_wanted", "sack_sent", "sack_blocks_max"))
"""Of the ledger: what was sent. All else tells of waiting, of what was left out, and of octets that are no payload."""


def best_is(metric: str) -> Extreme:
    """Whether the best of several values of a measure is the largest or the smallest.

    Counters, watches, observations, series and fates are neither good nor bad: of them it is the largest.
    """
    if metric.startswith("ledger:"):
        name = metric.removeprefix("ledger:").partition("@")[0]
        return "largest" if name in LARGER_IN_LEDGER else "smallest"
    return "smallest" if metric in SMALLER_IS_BETTER else "largest"
