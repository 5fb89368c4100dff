"""The kernel's own selftest of aggregation, with its own bound: validation of this testbed.

``tools/testing/selftests/net/mptcp/simult_flows.sh`` sends 16 MiB one way and 80 KiB the other at the same time, over
two links with the given rates and delays, then the same with the directions exchanged, and bounds the time it takes.
Its congestion control is the kernel's default, which is CUBIC; it is named here because not every distributor keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping

from experiments.ingredients import SECOND, mptcp
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, PathManager
from topologies.simult_flows import CASES
from topologies.simult_flows import simult_flows as network

LARGE_BYTES = 16_777_216
SMALL_BYTES = 81_920

SETTLE_NS = 200_000_000
"""The selftest's programs wait that long on either side for the join, since a side that has ended takes none."""
JOIN_NS = 2 * SETTLE_NS
"""Its allowance for that. Its own time runs until both programs have ended and so contains some of these pauses; ours
ends with the last byte."""
SLACK_NS = 50_000_000
"""The selftest's slack on a kernel without debugging options."""

_MBIT, _MS = 1_000_000, 1_000_000


def _older(rate1: int, rate2: int, delay1: int, delay2: int) -> Mapping[str, int]:
    # the older rows left netem at its default limit of 1000 packets
    return {
        "rate1_bit_s": rate1 * _MBIT,
        "rate2_bit_s": rate2 * _MBIT,
        "delay1_ns": delay1 * _MS,
        "delay2_ns": delay2 * _MS,
        "queue1_packets": 1000,
        "queue2_packets": 1000,
    }


ROWS: Mapping[str, Mapping[str, int]] = {
    **CASES,
    "older-15-5": _older(15, 5, 0, 0),
    "older-30-10": _older(30, 10, 0, 0),
    "older-30-10-delay": _older(30, 10, 1, 50),
    "older-30-10-opposed": _older(30, 10, 50, 1),
}
"""The rows of the selftest today, and those that it had until 2024 with its formula of today."""

NOT_JUDGED = ("older-30-10-opposed",)
"""Measured, without a bound: 50 ms of delay on the first subflow alone cost more than the formula's constants allow.
The selftest gave this row up for lower rates and delays in 2024."""

CUBIC = "cubic"


def bound_ns(rate1_bit_s: int, rate2_bit_s: int) -> int:
    """The selftest's time limit: the large transfer at 90 % of the sum of the rates, the joins, the slack."""
    return LARGE_BYTES * 8 * 10 * SECOND // ((rate1_bit_s + rate2_bit_s) * 9) + JOIN_NS + SLACK_NS


def simult_flows() -> Experiment:
    """Every row in both directions; every trial has to keep the bound."""
    variants, expectations = [], []
    for row, parameters in ROWS.items():
        for direction, upload, download in (
            ("", LARGE_BYTES, SMALL_BYTES),
            ("-reverse", SMALL_BYTES, LARGE_BYTES),
        ):
            name = row.replace("_", "-") + direction
            variants.append(
                mptcp(
                    name,
                    f"simult_flows row {row}{direction}.",
                    network(**parameters),  # type: ignore[arg-type]  # the rows set no families
                    Bulk(direction="both", size_bytes=upload, reverse_size_bytes=download, settle_ns=SETTLE_NS),
                    congestion_control=CUBIC,
                    path_manager=PathManager(mode="subflow"),
                )
            )
            if row in NOT_JUDGED:
                continue
            expectations.append(
                Expectation(
                    variant=name,
                    metric="completion_time_ns",
                    statistic="max",
                    at_most=bound_ns(parameters["rate1_bit_s"], parameters["rate2_bit_s"]),
                    because="the bound of simult_flows.sh",
                )
            )
    return Experiment(
        name="simult_flows",
        question="Does the kernel's own selftest of aggregation hold in this testbed?",
        variants=tuple(variants),
        repetitions=1,
        duration_ns=30 * SECOND,
        expectations=tuple(expectations),
    )
