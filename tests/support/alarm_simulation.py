"""Made-up nights by the hundred: how often the detectors cry for nothing, and how soon they find a step of 5 %.

The situation is that of the table in the reference (analysis.md, section 5): 480 series in a night, 5 repetitions with
a coefficient of variation of 3 %, 40 nights; between two nights the level of a series wanders by 0, 1 or 2 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import synthetic_nights as synthetic

from analysis.comparison.contrast import adjudicate, contrast
from analysis.history import Event, SeriesState
from analysis.history.change_points import change_points
from analysis.history.judging import confirm, judge_rows
from analysis.history.layout import NIGHTS as COLUMNS
from analysis.history.layout import identity

Array = npt.NDArray[np.float64]

SERIES, NIGHTS, REPETITIONS, CV, STEP = 480, 40, 5, 0.03, 0.95
SMALLEST = float(np.log(1.02))
RERUN_PAIRS = 20


def night_medians(
    chance: np.random.Generator, series: int, between: float, after: int = 0, *, ratio: bool = False
) -> Array:
    """Logarithms of the night medians, (series, night); the last ``after`` nights are 5 % lower.

    ``ratio``: of the paired ratio to a reference that ran in the same nights, instead of the values.
    """
    level = chance.normal(0, between, (series, NIGHTS, 1))
    values = level + chance.normal(0, CV, (series, NIGHTS, REPETITIONS))
    values[:, NIGHTS - after :] += np.log(STEP)
    if ratio:
        values -= level + chance.normal(0, CV, values.shape)
    medians: Array = np.median(values, axis=2)
    return medians


def false_change_points(nights: Array, within: int = 7) -> int:
    """Series that have a change point in the last nights; there is none."""
    found = (change_points(row.tolist(), smallest=SMALLEST) for row in nights)
    return sum(any(point.index >= NIGHTS - within for point in points) for points in found)


def found_steps(nights: Array, after: int) -> float:
    """Share of the series in which the step is found, at most two nights off."""
    found = [
        any(
            point.index >= NIGHTS - after - 2 and point.after < point.before
            for point in change_points(row.tolist(), smallest=SMALLEST)
        )
        for row in nights
    ]
    return float(np.mean(found))


def judged_pairs(
    chance: np.random.Generator, *, pairs: int, cv: float, step: float, shifted: int, series: int = SERIES
) -> tuple[float, int]:
    """(share of the shifted series that one night of interleaved pairs finds, others that it names).

    The machine drifts by 2 % between series; candidate and reference of a pair share that.
    """
    speed = chance.normal(0, 0.02, (series, 1))
    reference = np.exp(speed + chance.normal(0, cv, (series, pairs)))
    candidate = np.exp(speed + chance.normal(0, cv, (series, pairs)))
    candidate[:shifted] *= step
    contrasts = [
        contrast(str(number), reference[number].tolist(), candidate[number].tolist(), better="largest")
        for number in range(series)
    ]
    changes = [one.is_change for one in adjudicate(contrasts)]
    return float(np.mean(changes[:shifted] or [0.0])), sum(changes[shifted:])


@dataclass(frozen=True, slots=True)
class Campaign:
    """What became of a campaign in which some series get 5 % slower in a certain night."""

    alarms: tuple[int, ...]
    """Alarms about series that did not change, of each judged night."""
    confirmed_in_vain: int
    """... that the re-run bore out."""
    raised: tuple[float, ...]
    """Share of the changed series with an alarm, 1, 2, ... nights after the change."""
    confirmed: tuple[float, ...]
    """Share that a re-run has borne out by then."""


def campaign(
    chance: np.random.Generator, *, series: int = SERIES, pairs: int = 10, cv: float = CV, before: int = 30,
    quiet: int = 10, changed: int = 24, after: int = 5,
) -> Campaign:  # fmt: skip
    """``before`` nights, then ``quiet`` ones that are judged, then ``after`` in which ``changed`` series are slower.

    Alarms are run again with 20 pairs, and what comes of it is noted, as the nightly command does it.
    """
    total = before + quiet + after
    speed = chance.normal(0, 0.02, (series, total, 1))
    reference, candidate, control = (speed + chance.normal(0, cv, (series, total, pairs)) for _ in range(3))
    candidate[:changed, before + quiet :] += np.log(STEP)
    values = [np.exp(each) for each in (candidate, reference, control)]
    events: list[Event] = []
    alarms, in_vain, raised, confirmed = [], 0, [], []
    alarmed: set[int] = set()
    sure: set[int] = set()
    for night in range(before, total):
        states = _judged([each[:, : night + 1] for each in values], events)
        bad = [state for state in states if state.state == "alarm"]
        late = changed if night >= before + quiet else 0
        new = {state.series: _pairs(chance, int(state.series) < late, cv) for state in bad}
        for told in confirm(bad, new):
            facts = {**synthetic.key(night), "series": told.series, "confirmed": told.confirmed}
            events.append(Event("confirmation", synthetic.utc(night), synthetic.CAMPAIGN, synthetic.MACHINE, facts))
            number = int(told.series)
            if number < late:
                alarmed.add(number)
                sure |= {number} if told.confirmed else set()
            else:
                in_vain += told.confirmed
        if night < before + quiet:
            alarms.append(len(bad))
        elif changed:
            raised.append(len(alarmed) / changed)
            confirmed.append(len(sure) / changed)
    return Campaign(tuple(alarms), in_vain, tuple(raised), tuple(confirmed))


def _pairs(chance: np.random.Generator, changed: bool, cv: float) -> tuple[list[float], list[float]]:
    old, new = np.exp(chance.normal(0, cv, (2, RERUN_PAIRS)))
    return old.tolist(), (new * (STEP if changed else 1)).tolist()


def _judged(values: Sequence[Array], events: Sequence[Event]) -> tuple[SeriesState, ...]:
    nights = values[0].shape[1]
    manifests = [synthetic.manifest(night) for night in range(nights)]
    manifests = [{**manifest, "night": identity(manifest)} for manifest in manifests]
    return judge_rows(frame_of(values, manifests), manifests, events)


def frame_of(values: Sequence[Array], manifests: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Candidate, reference and control, (series, night, repetition), as ``History.frame`` has rows."""
    series, nights, pairs = values[0].shape
    size = series * nights * pairs
    number = np.arange(size)
    which = {
        "series": (number // (nights * pairs), [f"{each:04d}" for each in range(series)]),
        "night": (number // pairs % nights, [manifest["night"] for manifest in manifests]),
        "night_utc": (number // pairs % nights, [manifest["night_utc"] for manifest in manifests]),
    }
    same = {
        **synthetic.key(0), **dict.fromkeys(("experiment", "variant", "flow"), "x"), "metric": "goodput_bit_s",
        "unit": "bit/s", "better": "largest", "verdict": "VALID", "reason": "",
    }  # fmt: skip
    columns: dict[str, object] = {name: pd.Categorical.from_codes(*each) for name, each in which.items()}
    columns |= {
        name: pd.Categorical.from_codes(np.zeros(size, int), [text])
        for name, text in same.items()
        if name not in columns
    }
    columns |= {"repetition": number % pairs, "seed": number % pairs, "retries": np.zeros(size, int)}
    columns |= {name: each.ravel() for name, each in zip(("candidate", "reference", "control"), values, strict=True)}
    return pd.DataFrame({column.name: columns[column.name] for column in COLUMNS.columns})
