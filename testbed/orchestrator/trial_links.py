"""The links of a trial: measured before the traffic, checked after it, and what of it stands in ``links``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from socket import socket

from testbed.emulation.calibration import Measurement, ProbedLink, Tolerance, calibrate
from testbed.emulation.placement import Placement
from testbed.emulation.probes import probe_socket
from testbed.emulation.protocol import Ready
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.network_plan import NetworkPlan
from testbed.orchestrator.qdisc_check import mean_loss
from testbed.orchestrator.trial_rows import Row

Calibrations = Mapping[tuple[str, str], Row]
"""(link, direction) -> columns of ``links``."""


def measured(lab: MininetLab, plan: NetworkPlan) -> tuple[Calibrations, list[str]]:
    """Measure every shaped link, both directions: the columns, and what is out of tolerance."""
    tolerance = Tolerance()
    with ExitStack() as stack:
        probed = []
        for shaped in plan.shaped:
            sockets = []
            for node in (shaped.link.a, shaped.link.b):
                with lab.at_end(node):
                    sockets.append(stack.enter_context(_probe_socket(lab, node, shaped.link.name)))
            link = shaped.link
            bucket = shaped.realisation == "qdisc"
            a, b = sockets
            probed.append(ProbedLink(link.name, link.forward, link.backward, a, b, token_bucket=bucket))
        found = calibrate(probed, tolerance) if probed else ()
    rows = {(item.link, item.direction): _columns(item, plan, tolerance) for item in found}
    return rows, [item.describe() for item in found if not item.is_within]


def _probe_socket(lab: MininetLab, node: str, link: str) -> socket:
    return probe_socket(lab.interface(node, link), bridged=lab.is_away(node))


def mark(rows: Sequence[Row], problems: Sequence[str]) -> None:
    """Note each problem (``<link> <direction>: ...``) in ``check`` of its row of ``links``."""
    for problem in problems:
        where, _, _ = problem.partition(":")
        for row in rows:
            if f"{row['link']} {row['direction']}" == where:
                row["check"] = "; ".join(filter(None, [row.get("check"), problem]))


def how_it_ran(ready: Ready, placed: Placement | None, steered: bool) -> str:
    """One line on the relay process, for a note."""
    scheduler = f"{ready.scheduler} ({ready.scheduler_reason})" if ready.scheduler_reason else ready.scheduler
    cpu = "any CPU" if placed is None or placed.relay_cpu is None else f"CPU {placed.relay_cpu}"
    memory = "memory locked" if ready.memory_locked else "memory not locked"
    mask = f"hosts' packets steered to CPU mask {placed.hosts_mask}" if steered and placed else "hosts not steered"
    return f"{scheduler} on {cpu}, {memory}, {mask}"


def _columns(found: Measurement, plan: NetworkPlan, tolerance: Tolerance) -> Row:
    shaped = next(item for item in plan.shaped if item.link.name == found.link)
    profile = shaped.link.forward if found.direction == "forward" else shaped.link.backward
    return {
        "calibrated_rate_bit_s": found.rate_bit_s,
        "expected_rate_bit_s": profile.rate_bit_s,
        "rate_tolerance": tolerance.rate,
        "calibrated_delay_ns": found.delay_median_ns,
        "expected_delay_ns": profile.delay_ns,
        "delay_tolerance_ns": tolerance.delay_ns,
        "calibrated_loss": found.lost / found.probes if found.probes else None,
        "expected_loss": mean_loss(profile.loss),
        "check": "; ".join(found.problems) or None,
    }
