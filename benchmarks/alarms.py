"""How often the history cries for nothing, and how soon it finds a step of 5 %, beside the reference's table.

python benchmarks/alarms.py [ROUNDS]

The reference (analysis.md, section 5) simulated 480 series in a night, 5 repetitions with a coefficient of variation
of 3 %, 40 nights, with Otava's E-divisive on the night medians and with interleaved pairs. Here the same is asked of
our own detectors, and then of the whole chain: judge, re-run of 20 pairs, confirmation. Ten minutes a round on one
core; chance has a fixed seed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import alarm_simulation as simulation
from alarm_simulation import SERIES

REFERENCE_FALSE = {0.0: 3.0, 0.01: 3.7, 0.02: 5.7}
REFERENCE_FOUND = {1: 0.19, 3: 0.84, 5: 0.93}
REFERENCE_PAIRS = (((10, 0.025, 0.95), 0.87), ((20, 0.025, 0.97), 0.81), ((20, 0.043, 0.95), 0.81))


def main() -> None:
    """Print the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    began = time.perf_counter()
    _change_points(rounds)
    _interleaved(rounds)
    _campaigns(rounds)
    print(f"\n{time.perf_counter() - began:.0f} s")


def _mean(rounds: int, once: Callable[[np.random.Generator], float]) -> float:
    return float(np.mean([once(np.random.default_rng((7, number))) for number in range(rounds)]))


def _change_points(rounds: int) -> None:
    print(f"change points, {SERIES} series, 5 repetitions, CV 3 %, 40 nights\n")
    print("| of | between nights | false in the last 7 nights | reference | found after 1 / 3 / 5 nights | reference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for ratio in (False, True):
        for between, reference in REFERENCE_FALSE.items():
            false = _mean(
                4 * rounds,
                lambda chance, between=between, ratio=ratio: simulation.false_change_points(
                    simulation.night_medians(chance, SERIES, between, ratio=ratio)
                ),
            )
            found = [
                _mean(
                    rounds,
                    lambda chance, between=between, after=after, ratio=ratio: simulation.found_steps(
                        simulation.night_medians(chance, SERIES, between, after, ratio=ratio), after
                    ),
                )
                for after in REFERENCE_FOUND
            ]
            told = (
                " / ".join(f"{share:.2f}" for share in REFERENCE_FOUND.values())
                if between == 0.01 and not ratio
                else ""
            )
            print(
                f"| {'ratio to the reference' if ratio else 'values'} | {100 * between:.0f} % | {false:.1f} | "
                f"{reference if not ratio else ''} | {' / '.join(f'{share:.2f}' for share in found)} | "
                f"{told if between == 0.01 and not ratio else ''} |"
            )


def _interleaved(rounds: int) -> None:
    """The reference does not say how many series had changed; a false discovery rate finds more when more have."""
    print(f"\none night of interleaved pairs, BH 5 % over {SERIES}, smallest 2 %\n")
    print("| pairs, CV, step | found: a quarter / half / one of the series changed | reference | false, none changed |")
    print("| --- | --- | --- | --- |")
    for (pairs, cv, step), reference in REFERENCE_PAIRS:
        quarter, half, alone, none = (
            np.mean(
                [
                    simulation.judged_pairs(
                        np.random.default_rng((8, shifted, number)), pairs=pairs, cv=cv, step=step, shifted=shifted
                    )
                    for number in range(count)
                ],
                axis=0,
            )
            for shifted, count in (
                (SERIES // 4, 2 * rounds),
                (SERIES // 2, 2 * rounds),
                (1, 20 * rounds),
                (0, 10 * rounds),
            )
        )
        found = " / ".join(f"{each[0]:.2f}" for each in (quarter, half, alone))
        print(f"| {pairs}, {100 * cv:.1f} %, {100 * (step - 1):.0f} % | {found} | {reference} | {none[1]:.1f} |")


def _campaigns(rounds: int) -> None:
    print(f"\nthe whole chain: {SERIES} series, CV 3 %, 40 nights, then 24 of them 5 % slower, re-runs of 20 pairs\n")
    print("| pairs a night | alarms in vain a night | borne out in vain | alarm after 1 / 3 / 5 nights | borne out |")
    print("| --- | --- | --- | --- | --- |")
    for pairs in (5, 10, 20):
        told = [simulation.campaign(np.random.default_rng((9, number)), pairs=pairs) for number in range(rounds)]
        nights = sum(len(each.alarms) + len(each.raised) for each in told)
        alarms = np.mean([each.alarms for each in told])
        in_vain = sum(each.confirmed_in_vain for each in told)
        raised, confirmed = (
            " / ".join(f"{np.mean([getattr(each, name)[at] for each in told]):.2f}" for at in (0, 2, 4))
            for name in ("raised", "confirmed")
        )
        print(f"| {pairs} | {alarms:.2f} | {in_vain} in {nights} nights | {raised} | {confirmed} |")


if __name__ == "__main__":
    main()
