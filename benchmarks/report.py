"""How long a report takes and how large its page is: ``python -m benchmarks.report [--profile] [RUN...]``.

Without runs it makes one of the shape that the target names, 60 variants with 5 repetitions each (tests/support,
invented numbers in the tables of a real run: time series, counters, links, a ledger as sums), and renders its reports
several times, each in a process of its own, as ``testbed report`` does. Medians of the seconds are printed beside the
targets, by the clock and of the processor (the same on a quiet machine, and the second is what is judged), with the
bytes of the page; exit 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from benchmarks.compiled_forms import profile

VARIANTS, REPETITIONS = 60, 5
TARGET_SECONDS, TARGET_BYTES = 3.0, 1_500_000
ROUNDS = 3

_ONE = """
import json, sys, time
from pathlib import Path
begun = time.process_time()
from analysis.report.write import render
imported, at = time.process_time(), time.perf_counter()
texts = render(Path(sys.argv[1]))
done = time.process_time()
print(json.dumps([imported - begun, done - imported, time.perf_counter() - at, len(texts["report.html"].encode())]))
"""


def run_of_the_target(parent: Path) -> Path:
    """A run of 60 variants with 5 repetitions."""
    import synthetic_run

    experiment = synthetic_run.loss_sweep(points=VARIANTS // 3, repetitions=REPETITIONS)
    return synthetic_run.make_run(parent, experiment, alter=with_ledger)


def with_ledger(trial: int, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Both sides, data and pure ACKs, of which some lost blocks to each class."""
    kinds = ("data", "ack", "all")
    tables["ledger_sums"] = [
        {
            **dict.fromkeys(_COUNTS, 0),
            "trial": trial,
            "flow": "main",
            "side": side,
            "source": "ledger",
            "kind": kind,
            "segments": 9000,
            "contended": 400,
            "payload": 12_000_000 * (kind == "data"),
            "option_octets": 300_000,
            "padding_octets": 24_000,
            "option_octets_max": 40,
            "sack_wanted": 900 + trial,
            "sack_sent": 500,
            "sack_padding": 100 + trial,
            "sack_width": 200,
            "sack_policy": 60,
            "sack_hard": 40,
        }
        for side in ("client", "server")
        for kind in kinds
    ]


_COUNTS = (
    "retransmissions", "sack_blocks_max", "mappings", "mappings_repeated", "omitted_dss", "omitted_mapping",
    "omitted_add_addr",
)  # fmt: skip


def measured(path: Path) -> tuple[float, float, float, int]:
    """Seconds of the processor for imports and for the report, seconds by the clock, bytes of the page: medians of
    several processes."""
    found = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", _ONE, str(path)], check=True, capture_output=True, text=True, timeout=120
        )
        found.append(json.loads(done.stdout))
    imports, report, clock = (statistics.median(each[column] for each in found) for column in range(3))
    return imports, report, clock, int(found[0][3])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories instead of the made one")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="testbed-report-") as folder:
        runs = arguments.runs or [run_of_the_target(Path(folder))]
        if arguments.profile:
            from analysis.report.write import render

            for path in runs:
                profile(lambda path=path: render(path))
            return 0
        missed = False
        print(f"{'run':42} {'imports CPU s':>13} {'report CPU s':>12} {'by the clock':>12} {'page bytes':>11}")
        for path in runs:
            imports, seconds, clock, octets = measured(path)
            missed = missed or seconds > TARGET_SECONDS or octets > TARGET_BYTES
            name = f"{path.parent.name}/{path.name}"[-42:]
            print(f"{name:42} {imports:13.2f} {seconds:12.2f} {clock:12.2f} {octets:11,}")
        print(f"{'target, 60 variants x 5 repetitions':42} {'':13} {TARGET_SECONDS:12.2f} {'':12} {TARGET_BYTES:11,}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
