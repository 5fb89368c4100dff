"""How long a report takes and how large its page is: ``python -m benchmarks.report [--profile] [RUN...]``.

Without runs it makes one of the shape that the target names, 60 variants with 5 repetitions each (tests/support,
invented numbers in the tables of a real run: time series, counters, links, a ledger as sums), and writes its reports
several times, each in a process of its own, as ``testbed report`` does. The median of the seconds, imports left out and
counted, and the bytes of the page are printed beside the targets; exit 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from benchmarks.compiled_forms import profile

VARIANTS, REPETITIONS = 60, 5
TARGET_SECONDS, TARGET_BYTES = 3.0, 1_500_000
ROUNDS = 3

_ONE = """
import json, sys, time
from pathlib import Path
begun = time.perf_counter()
from analysis.report.write import render, write_report
imported = time.perf_counter()
texts = render(Path(sys.argv[1]))
done = time.perf_counter()
print(json.dumps([imported - begun, done - imported, len(texts["report.html"].encode())]))
"""


def run_of_the_target(parent: Path) -> Path:
    """A run of 60 variants with 5 repetitions."""
    import synthetic_run

    return synthetic_run.make_run(parent, synthetic_run.loss_sweep(points=VARIANTS // 3, repetitions=REPETITIONS))


def measured(path: Path) -> tuple[float, float, int]:
    """(seconds of imports, seconds of the report, bytes of the page), the median of several processes."""
    found = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", _ONE, str(path)], check=True, capture_output=True, text=True, timeout=120
        )
        found.append(json.loads(done.stdout))
    return (
        statistics.median(each[0] for each in found),
        statistics.median(each[1] for each in found),
        int(found[0][2]),
    )


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
        print(f"{'run':50} {'import s':>9} {'report s':>9} {'page bytes':>11}")
        for path in runs:
            imports, seconds, octets = measured(path)
            missed = missed or seconds > TARGET_SECONDS or octets > TARGET_BYTES
            print(f"{f'{path.parent.name}/{path.name}'[-50:]:50} {imports:9.2f} {seconds:9.2f} {octets:11,}")
        print(f"{'target, 60 variants x 5 repetitions':50} {'':9} {TARGET_SECONDS:9.2f} {TARGET_BYTES:11,}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
