"""What bears an alarm out: a paired re-run of old against new, judged together with the re-runs of the other alarms.

The re-run's values are new: that the alarmed series were chosen because they looked bad does not touch them. So an
ordinary paired test with Benjamini and Hochberg over the alarms is enough. They are few, often one. Simulated with 20
pairs and a repeat noise of 4.3 % (3 %), a rate of 5 % bears out one alarm of 60 (115) in vain and finds a step of 5 %
with the chance 0.86 (0.99); :data:`CONFIRMATION_FDR` one of 140 (190), with 0.77 (0.98): what nobody has to look at in
vain is worth that, and what a re-run misses is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.contrast import SMALLEST, Contrast, Word, adjudicate, contrast
from analysis.history.states import SeriesState

CONFIRMATION_FDR = 0.01
"""Share of the alarms that are borne out in vain, at most, on average."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the re-run said of one alarm."""

    series: str
    confirmed: bool
    """Whether new is worse than old, confirmed as a comparison of two runs confirms it."""
    verdict: Word
    reason: str
    ratio: float | None
    """New over old (of differences: less old) with its interval; None: not measured, not known."""
    low: float | None
    high: float | None
    p: float | None
    pairs: int
    contrast: Contrast


def confirm(
    alarms: Sequence[SeriesState],
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    fdr: float = CONFIRMATION_FDR,
    smallest: float = SMALLEST,
) -> tuple[Confirmation, ...]:
    """One confirmation for each alarm, in the same order.

    Parameters
    ----------
    alarms : sequence of SeriesState
        Those that were run again.
    pairs : mapping
        Series -> (values of the old, values of the new), paired by seed. A series that is not there, or empty, could
        not be measured: its alarm is not borne out, with the verdict "not comparable".
    fdr, smallest : float
        As in :func:`analysis.comparison.contrast.adjudicate`.
    """
    contrasts = [
        contrast(
            alarm.series,
            *pairs.get(alarm.series, ((), ())),
            variant=alarm.variant,
            flow=alarm.flow,
            metric=alarm.metric,
            unit=alarm.unit,
            better=alarm.better,
            kind=alarm.kind,
        )
        for alarm in alarms
    ]
    return tuple(_confirmation(each) for each in adjudicate(contrasts, fdr=fdr, smallest=smallest))


def _confirmation(judged: Contrast) -> Confirmation:
    change = judged.ratio if judged.ratio is not None else judged.difference
    return Confirmation(
        series=judged.series,
        confirmed=judged.is_regression,
        verdict=judged.verdict,
        reason=judged.reason,
        ratio=None if change is None else change.estimate,
        low=None if change is None else change.low,
        high=None if change is None else change.high,
        p=judged.p,
        pairs=judged.n,
        contrast=judged,
    )
