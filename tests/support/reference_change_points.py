"""Asks apache-otava, the reference implementation of Hunter, for the change points of ``step_series``.

It pins an old numpy and is no dependency of ours; in an environment of its own:

    python -m venv /tmp/otava && /tmp/otava/bin/pip install apache-otava==0.8.0
    /tmp/otava/bin/python tests/support/reference_change_points.py > tests/analysis/history/reference_change_points.json

Its t test is given the standard deviation of a population where Student's needs that of a sample; the answers under
``student`` are those with that one argument put right, the answers under ``as_is`` are those of the release.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from otava import analysis  # type: ignore[import-not-found]
from step_series import SEEDS, WINDOWS, step_series

MAX_P = 0.001
WEAK_P = 0.01


def answers(seed: int, window: int) -> dict[str, object]:
    """Weak and strong change points of one series; strong ones with their p."""
    values = step_series(seed)
    weak = analysis.split(values, window, WEAK_P)
    strong, _ = analysis.compute_change_points(values, window_len=window, max_pvalue=MAX_P, min_magnitude=0.0)
    return {
        "weak": [int(point.index) for point in weak],
        "strong": [[int(point.index), float(f"{point.stats.pvalue:.6g}")] for point in strong],
    }


def main() -> None:
    """Print the answers, as released and with Student's test."""
    asked = [(seed, window) for seed in SEEDS for window in WINDOWS]
    as_is = [answers(*each) for each in asked]
    released = analysis.ttest_ind_from_stats

    def student(m1: float, s1: float, n1: int, m2: float, s2: float, n2: int, alternative: str) -> object:
        first, second = (s * (n / max(n - 1, 1)) ** 0.5 for s, n in ((s1, n1), (s2, n2)))
        return released(m1, first, n1, m2, second, n2, alternative=alternative)

    analysis.ttest_ind_from_stats = student
    rows = [
        {"seed": seed, "window": window, "as_is": before, "student": answers(seed, window)}
        for (seed, window), before in zip(asked, as_is, strict=True)
    ]
    told = {"reference": f"apache-otava {version('apache-otava')}", "max_p": MAX_P, "weak_p": WEAK_P}
    lines = ",\n ".join(json.dumps(row, separators=(",", ":")) for row in rows)
    print(f'{{"made_by": {json.dumps(told)},\n"answers": [\n {lines}\n]}}')


if __name__ == "__main__":
    main()
