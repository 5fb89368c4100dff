"""Made-up nights of a campaign: what the history is told, without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from analysis.history import Event, SeriesState, night_files
from analysis.history.judging import judge_rows
from analysis.history.layout import NIGHTS, identity
from analysis.history.store import ORDER

Row = dict[str, Any]

FIRST = datetime(2026, 9, 20, 2, tzinfo=UTC)
CAMPAIGN, MACHINE = "nightly", "0123abcd"


def utc(night: int) -> str:
    """When the night of that number began."""
    return (FIRST + timedelta(days=night)).strftime("%Y-%m-%dT%H:%M:%SZ")


def key(night: int, campaign: str = CAMPAIGN, machine: str = MACHINE) -> dict[str, str]:
    """What tells the night from others."""
    return {"night_utc": utc(night), "campaign": campaign, "machine": machine}


def manifest(
    night: int, *, campaign: str = CAMPAIGN, machine: str = MACHINE, reference: str = "c0ffee", kind: str = "build"
) -> dict[str, Any]:
    """A manifest with what is required, and what the site shows."""
    return {
        **key(night, campaign, machine),
        "commands": [["testbed", "nightly", campaign]],
        "source": {"commit": f"{night:07x}" + "0" * 33, "dirty": False},
        "reference": {"kind": kind, "text": "accepted", "commit": reference},
        "reference_id": reference,
        "kernel": {"release": "6.12.0"},
        "runs": [{"experiment": "aggregation", "path": f"../runs/aggregation/{night}"}],
    }


def rows(
    night: int,
    ratios: Mapping[str, float | None],
    *,
    pairs: int = 10,
    cv: float = 0.01,
    drift: float = 0.02,
    level: float = 2e7,
    control: float = 1.0,
    campaign: str = CAMPAIGN,
    machine: str = MACHINE,
    metric: str = "goodput_bit_s",
    unit: str = "bit/s",
    better: str | None = "largest",
    seed: int = 1,
) -> list[Row]:
    """Rows of a night: series -> ratio of candidate to reference; None: INVALID.

    ``cv``: of the trials; ``drift``: standard deviation of the machine's speed from night to night, which candidate,
    reference and control share.
    """
    chance = np.random.default_rng((seed, night))
    made = []
    for name, ratio in ratios.items():
        speed = level * float(np.exp(chance.normal(0, drift)))
        for repetition in range(pairs):
            noise = np.exp(chance.normal(0, cv, 3)) * speed
            values: Sequence[float | None] = [None] * 3
            if ratio is not None:
                values = [float(noise[0]) * ratio, float(noise[1]), float(noise[2]) * control]
            made.append(
                {
                    **key(night, campaign, machine),
                    "series": name,
                    "experiment": "aggregation",
                    "variant": "two-paths",
                    "flow": "main",
                    "metric": metric,
                    "unit": unit,
                    "better": better,
                    "repetition": repetition,
                    "seed": night * 1000 + repetition,
                    "verdict": "INVALID" if ratio is None else "VALID",
                    "reason": "link a-b out of tolerance" if ratio is None else "",
                    "retries": 0,
                    **dict(zip(("candidate", "reference", "control"), values, strict=True)),
                }
            )
    return made


def nights(count: int, *, but: Sequence[int] = ()) -> Iterator[int]:
    """Numbers of nights without those that did not take place."""
    return (night for night in range(count) if night not in but)


class Campaign:
    """A history in memory that grows night by night, with the verdict on it."""

    def __init__(self, *, kind: str = "build", pairs: int = 10, cv: float = 0.01, **facts: Any) -> None:
        self.manifests: list[dict[str, Any]] = []
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self._kind, self._facts = kind, {"pairs": pairs, "cv": cv, **facts}

    def night(
        self, number: int, ratios: Mapping[str, float | None], *, reference: str = "c0ffee", **facts: Any
    ) -> None:
        """A night takes place."""
        known = manifest(number, reference=reference, kind=self._kind)
        name = identity(known)
        self.manifests.append({**known, "night": name})
        self.rows += [{**row, "night": name} for row in rows(number, ratios, **{**self._facts, **facts})]

    def note(self, kind: str, number: int, series: str | None, **facts: Any) -> None:
        """Something is written down."""
        known = {**key(number), "series": series, **facts}
        self.events.append(Event(kind, utc(number), CAMPAIGN, MACHINE, known))

    def judged(self, **options: float) -> dict[str, SeriesState]:
        """The states as of the newest night."""
        return {
            state.series: state for state in judge_rows(as_frame(self.rows), self.manifests, self.events, **options)
        }


def as_frame(given: Sequence[Row]) -> pd.DataFrame:
    """Rows as ``History.frame`` has them."""
    data = night_files.encoded(night_files.table_of(given), [column.name for column in NIGHTS.columns])
    frame: pd.DataFrame = night_files.ordered([data], ORDER).to_pandas()
    return frame
