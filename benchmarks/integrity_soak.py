"""Thousands of random cases for the whole userspace stack: is what arrives what was sent, whatever happens?

    python -m benchmarks.integrity_soak [--cases 20000] [--jobs 2] [--first-seed 1]
    python -m benchmarks.integrity_soak --seed N [--trace]

Each case follows from its seed: paths with loss, reordering, copies, damage, outages and middleboxes, both ends with
their own profile, receiver rules, scheduler, path manager, congestion control, loss recovery and buffers, users that
write, pause, close and abort as they please (``tests/support/integrity.py``). A failing seed is printed and can be
replayed alone. Exit code 1 when any case fails.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

BATCH = 25
CASE_SECONDS = 120
"""A case takes hundredths of a second; one that takes this long hangs."""


def _integrity() -> object:
    support = str(Path(__file__).resolve().parent.parent / "tests" / "support")
    if support not in sys.path:
        sys.path.insert(0, support)
    import integrity

    return integrity


def run_batch(first: int, count: int) -> list[tuple[int, str]]:
    """Play cases ``first`` and on; those that failed, with the reason."""
    integrity = _integrity()
    failed = []
    signal.signal(signal.SIGALRM, _too_long)
    for seed in range(first, first + count):
        signal.alarm(CASE_SECONDS)
        try:
            integrity.play(seed)  # type: ignore[attr-defined]
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            failed.append((seed, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"))
        finally:
            signal.alarm(0)
    return failed


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"still running after {CASE_SECONDS} s")


def replay(seed: int, trace: bool) -> int:
    """One case, with everything there is to see."""
    integrity = _integrity()
    case = integrity.random_case(seed)  # type: ignore[attr-defined]
    print(case.describe())
    run = integrity.Run(case)  # type: ignore[attr-defined]
    if trace:
        run.transcript = []
    try:
        run.run()
    except Exception:
        print(*(run.transcript or ()), sep="\n")
        traceback.print_exc()
        return 1
    print(*(run.transcript or ()), sep="\n")
    print(f"passes after {(run.now - run.start) / 1e9:.3f} s of virtual time")
    return 0


def _batches(first: int, cases: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + cases, BATCH):
        yield start, min(BATCH, first + cases - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seed", type=int, help="replay this case alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every segment")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return replay(arguments.seed, arguments.trace)
    began = time.monotonic()
    failures: list[tuple[int, str]] = []
    done = 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        batches = list(_batches(arguments.first_seed, arguments.cases))
        for (_, count), failed in zip(batches, pool.map(run_batch, *zip(*batches, strict=True)), strict=True):
            done += count
            if done % 1000 < BATCH and sys.stderr.isatty():
                print(f"{done} cases, {len(failures)} failed", end="\r", file=sys.stderr, flush=True)
            for seed, reason in failed:
                failures.append((seed, reason))
                if not arguments.json:
                    print(f"seed {seed}: {reason[:400]}", flush=True)
    seconds = time.monotonic() - began
    if arguments.json:
        print(json.dumps({"cases": done, "failures": failures, "seconds": round(seconds, 1)}))
    else:
        print(f"{done} cases in {seconds:.0f} s, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
