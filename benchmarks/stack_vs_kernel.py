"""The userspace stack against kernel MPTCP on real interfaces: ``python -m benchmarks.stack_vs_kernel``, as root.

Bulk data over two subflows between two network namespaces, the ordinary endpoint processes at both ends (payload made,
compared and hashed: the application is part of what is measured). Rows: two paths of 100 Mbit/s through the relay, and
two that nothing shapes (veth, a router each); one packet at a time (segmentation offloads off at both ends) and in
super-segments; ours sending and ours receiving, the kernel at the other end. Each round runs all kinds once, so that a
machine that grows busy hurts all of them alike; printed are medians and their ratio to the kernel at both ends.

    python -m benchmarks.stack_vs_kernel [--rounds 5] [--seconds 3] [--quick] [--json]

``TESTBED_COMPILED=0`` measures the plain sources where a compiled build is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from userspace_lab import LINUX, MS, SECOND, USERSPACE, Scenario, carry_out

from testbed import compilation
from testbed.endpoint.parameters import Bulk, Endpoint
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import LinkProfile, QueueLimit

SHAPED = LinkProfile(rate_bit_s=100_000_000, queue=QueueLimit(packets=200), delay_ns=5 * MS)
WIRE = LinkProfile()

ENDS: dict[str, tuple[Endpoint, Endpoint]] = {
    "kernel": (LINUX, LINUX),
    "sending": (USERSPACE, LINUX),
    "receiving": (LINUX, USERSPACE),
}
"""Client, which sends, and server."""


@dataclass(frozen=True, slots=True)
class Row:
    """A network and a way to hand over segments."""

    name: str
    path: LinkProfile
    super_segments: bool
    target: float
    """Of the ratio: ``reference/emulation.md``, Targets; the plain sources' where they differ."""


ROWS = (
    Row("2 x 100 Mbit/s, packets", SHAPED, False, 0.97),
    Row("2 x 100 Mbit/s, super-segments", SHAPED, True, 0.97),
    Row("unshaped, packets", WIRE, False, 0.25),
    Row("unshaped, super-segments", WIRE, True, 0.9),
)


def goodput(row: Row, ends: tuple[Endpoint, Endpoint], seconds: float, seed: int) -> float:
    """bit/s at the receiver. Raises RuntimeError when the transfer was not what was asked for."""
    report = carry_out(
        Scenario(
            client=ends[0],
            server=ends[1],
            paths=(row.path, row.path),
            path_manager=PathManager(mode="signal"),
            application=Bulk(direction="upload", write_bytes=262_144),
            offloads="on" if row.super_segments else "off",
            super_segments=row.super_segments,
            duration_ns=round(seconds * SECOND),
            seed=seed,
        )
    )
    if report.server.fallback or report.server.first_mismatch is not None or report.server.error is not None:
        raise RuntimeError(f"{row.name}: {report.server.error or 'fell back or damaged'}")
    if report.server.goodput_bit_s is None:
        raise RuntimeError(f"{row.name}: nothing arrived")
    return report.server.goodput_bit_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    measured: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for row in ROWS:
            for kind, ends in ENDS.items():
                measured.setdefault((row.name, kind), []).append(goodput(row, ends, seconds, number + 1))
    results = []
    for row in ROWS:
        medians = {kind: statistics.median(measured[row.name, kind]) for kind in ENDS}
        results.append(
            {
                "row": row.name,
                "target": row.target,
                **{f"{kind}_bit_s": value for kind, value in medians.items()},
                **{f"{kind}_ratio": medians[kind] / medians["kernel"] for kind in ENDS if kind != "kernel"},
                "runs": {kind: measured[row.name, kind] for kind in ENDS},
            }
        )
    if options.json:
        print(json.dumps(results, indent=2))
        return 0
    build = "compiled" if compilation.status.compiled else "from sources"
    print(f"{rounds} rounds of {seconds:g} s; load {os.getloadavg()[0]:.1f}; stack {build}")
    print(f"{'':32} {'kernel':>14} {'ours sends':>20} {'ours receives':>20} {'target':>8}")
    for result in results:
        cells = [f"{result['row']:32}", f"{_rate(result['kernel_bit_s']):>14}"]
        cells += [
            f"{_rate(result[f'{kind}_bit_s']):>13} {result[f'{kind}_ratio']:5.2f}x" for kind in ("sending", "receiving")
        ]
        print(" ".join(cells), f"{result['target']:7.2f}x")
    return 0


def _rate(bit_s: object) -> str:
    value = float(bit_s)  # type: ignore[arg-type]
    return f"{value / 1e9:.2f} Gbit/s" if value >= 1e9 else f"{value / 1e6:.1f} Mbit/s"


if __name__ == "__main__":
    sys.exit(main())
