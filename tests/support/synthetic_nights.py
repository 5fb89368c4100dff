"""Made-up nights of a campaign: what the history is told, without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

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
