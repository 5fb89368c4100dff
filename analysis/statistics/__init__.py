"""Estimates with intervals that say how sure they are, tests that say how small their p can get, counts as counts.

Pure: numbers in, numbers out; chance comes from a seed that is passed in. ``intervals``: medians, ratios, bootstraps;
``significance``: rank tests with exact distributions, the paired t test, Benjamini and Hochberg's q; ``rates``: ratios
of Poisson counts, widened when they scatter more; ``effects``: effect sizes, and the change that could be found.

Refuses to know what was measured.
"""

from __future__ import annotations

from analysis.statistics.effects import cliffs_delta, detectable_ratio, detectable_shift, paired_effect
from analysis.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    SMALLEST_BOOTSTRAP,
    Interval,
    bootstrap_interval,
    median_interval,
    quantiles,
    ratio_interval,
    statistic_interval,
)
from analysis.statistics.rates import RateRatio, dispersion, rate_ratio_interval, rate_ratio_of_trials
from analysis.statistics.significance import (
    benjamini_hochberg,
    paired_floor,
    paired_t_test,
    paired_test,
    signed_rank,
    smallest_pairs,
    unpaired_floor,
    unpaired_t_test,
    unpaired_test,
)

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "SMALLEST_BOOTSTRAP",
    "Interval",
    "RateRatio",
    "benjamini_hochberg",
    "bootstrap_interval",
    "cliffs_delta",
    "detectable_ratio",
    "detectable_shift",
    "dispersion",
    "median_interval",
    "paired_effect",
    "paired_floor",
    "paired_t_test",
    "paired_test",
    "quantiles",
    "rate_ratio_interval",
    "rate_ratio_of_trials",
    "ratio_interval",
    "signed_rank",
    "smallest_pairs",
    "statistic_interval",
    "unpaired_floor",
    "unpaired_t_test",
    "unpaired_test",
]
