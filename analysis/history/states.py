"""What is known of a series tonight, as values: its nights, its steps, its newest night, its control, its state.

``judging.py`` makes them from a history; pages and the nightly command read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.comparison.contrast import Better, Contrast, Kind
from analysis.statistics import Interval

State = Literal["alarm", "regressed", "not measured", "changed", "improved", "new", "steady"]

STATES: dict[State, str] = {
    "alarm": "something speaks for a change for the worse, and no re-run has borne it out or refuted it yet",
    "regressed": "a change for the worse was confirmed by a paired re-run, and lasts",
    "not measured": "the newest night has no valid pair",
    "changed": "a step in a metric that is neither better nor worse one way or the other",
    "improved": "a step for the better, and it lasts",
    "new": "too few nights to know what is usual",
    "steady": "no change found",
}
"""State -> what it means; worst first."""

Direction = Literal["better", "worse", "neither"]
Evidence = Literal["newest night", "change point"]


@dataclass(frozen=True, slots=True)
class Series:
    """What is followed: one metric of one flow of one variant."""

    series: str
    """Its name, unique in its campaign."""
    experiment: str
    variant: str
    flow: str
    metric: str
    unit: str
    better: Better | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class Night:
    """One night of a series. A night that is not in the history is no Night: a gap, not a zero."""

    night: str
    """Its identity in the history."""
    night_utc: str
    ratio: float | None
    """Candidate over reference: median over the pairs, of counts of the totals; of differences the mean of candidate
    less reference. None: no pair."""
    low: float | None
    high: float | None
    """Where the median lies with 95 % (the sign test's interval), or the range of fewer than six; None: unknown."""
    candidate: float | None
    reference: float | None
    """Medians (of counts and differences means) of the valid pairs."""
    control: float | None
    """Ratio of the control to the reference: A/A."""
    pairs: int
    trials: int
    """Repetitions that were asked for."""
    invalid: int
    unsupported: int
    retries: int
    segment: int
    """Number of the stretch of nights with the same reference (``reference_id``); none is compared across two."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level between two nights."""

    began_utc: str
    """First night at the new level."""
    last_before_utc: str
    """Last night at the old one; there may be a gap between the two."""
    before: float
    after: float
    """Levels: the ratio's mean (geometric; of differences arithmetic) over the nights up to the neighbouring steps."""
    change: Interval
    """After over before (of differences: less before), with its 95 % interval from the t test."""
    p: float
    """Of the t test between the two stretches."""
    nights_before: int
    nights_after: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Alarm:
    """What speaks for a change for the worse, for a re-run to bear out or refute."""

    since_utc: str
    """First night with the new level, as far as is known."""
    last_before_utc: str | None
    """Last night before it; None: there is none."""
    before: float
    """The level it is compared with: what is expected of the ratio."""
    after: float
    change: Interval
    """After over before (of differences: less before)."""
    p: float
    direction: Direction
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """The A/A pair: the reference against itself; its ratio has to contain 1, or else the testbed is suspect."""

    newest: Contrast | None
    """Of the newest night, judged together with those of all series; None: without control."""
    trend: Interval | None
    """Of the night ratios of the last nights."""
    suspect: str
    """Why the testbed is suspect, in words; empty: it is not."""


@dataclass(frozen=True, slots=True)
class Flakes:
    """How often this series did not say what it was asked, over the last nights."""

    trials: int
    invalid: int
    retries: int
    alarms: int
    """Alarms that were run again."""
    refuted: int
    """... and not borne out."""

    @property
    def rate(self) -> float | None:
        """Share of the trials that were INVALID or had to be done again; None: no trial."""
        attempts = self.trials + self.retries
        return (self.invalid + self.retries) / attempts if attempts else None


@dataclass(frozen=True, slots=True)
class SeriesState(Series):
    """A series as it stands at the newest night of its campaign and machine."""

    campaign: str
    machine: str
    state: State
    since_utc: str
    """Since when it is so."""
    words: str
    """Why, in a sentence."""
    expected: float | None
    """What the ratio is compared with: 1 against another build, the usual level against another variant; None: new."""
    nights: tuple[Night, ...]
    """Oldest first."""
    steps: tuple[Step, ...]
    newest: Contrast | None
    """The newest night's pairs against the expected ratio, judged together with those of all series."""
    control: Control
    flakes: Flakes
    alarm: Alarm | None
    """What speaks for a change for the worse when the state is alarm or regressed."""
