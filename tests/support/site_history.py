"""A made-up history of 60 nights in which something of everything happened, for pages and their tests."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import synthetic_nights as synthetic

from analysis.history import History

NIGHTS = 60
MISSED = (22, 23, 24, 41)
WEEKLY = "weekly"


def ratio_of(series: str, night: int) -> float | None:
    """Ratio of candidate to reference of a series in a night."""
    match series.split()[0]:
        case "regressed":
            return None if night == 30 else 1.0 if night < 44 else 0.95
        case "alarm":
            return 1.0 if night < NIGHTS - 1 else 1.07
        case "improved":
            return 1.0 if night < 50 else 1.06
        case "recovered":
            return 0.94 if 20 <= night < 34 else 1.0
        case "unmeasured":
            return None if night >= NIGHTS - 3 or night in (10, 11) else 1.0
        case _:
            return 1.0


def write(path: Path) -> History:
    """Write the history below ``path``, with run directories beside it for the newest nights."""
    with mock.patch.object(os, "fsync"):  # nobody takes the power away
        return _written(path)


def _written(path: Path) -> History:
    history = History(path / "history")
    for night in synthetic.nights(NIGHTS, but=MISSED):
        rows = []
        for series, facts in SERIES.items():
            if series.startswith("new") and night < NIGHTS - 3:
                continue
            made = synthetic.rows(night, {series: ratio_of(series, night)}, seed=len(series), **facts)
            if series.startswith("noisy") and night % 3 == 0:
                made[0] |= {"verdict": "INVALID", "reason": "rate out of tolerance", "candidate": None, "retries": 1}
            rows += made
        for row in rows:
            row["metric"] = row["series"].split()[-1]
        manifest = synthetic.manifest(night, reference="c0ffee1" if night < 15 else "deadbeef")
        manifest["seeds"] = {"aggregation": 1000 + night}
        run = path / "runs" / "aggregation" / f"night-{night}"
        manifest["runs"] = [{"experiment": "aggregation", "path": f"../runs/aggregation/night-{night}"}]
        if night >= NIGHTS - 20:
            run.mkdir(parents=True)
        history.append(rows, manifest)
    _note(history)
    for week in range(4):
        history.append(
            synthetic.rows(7 * week, {"mptcp-over-tcp main goodput_bit_s": 1.8}, campaign=WEEKLY, machine="other"),
            synthetic.manifest(7 * week, campaign=WEEKLY, machine="other", kind="variant", reference="variant tcp"),
        )
    return history


SERIES: dict[str, dict[str, object]] = {
    "regressed two-paths main goodput_bit_s": {},
    "alarm two-paths main completion_time_ns": {"level": 4e9, "unit": "ns", "better": "smallest"},
    "improved two-paths main goodput_bit_s": {},
    "recovered two-paths main goodput_bit_s": {},
    "unmeasured two-paths main goodput_bit_s": {},
    "noisy two-paths main latency_p99_ns": {"cv": 0.12, "level": 3e7, "unit": "ns", "better": "smallest"},
    "new two-paths main goodput_bit_s": {},
    "suspect two-paths main goodput_bit_s": {"control": 1.04},
    "steady two-paths main goodput_bit_s": {},
    "steady one-path main goodput_bit_s": {"level": 1e7},
}


def _note(history: History) -> None:
    regressed, recovered, noisy = (next(s for s in SERIES if s.startswith(word)) for word in ("regr", "reco", "nois"))
    for night, series, confirmed in ((45, regressed, True), (21, recovered, True), (30, noisy, False)):
        history.note("alarm", **synthetic.key(night), series=series)
        history.note(
            "confirmation", **synthetic.key(night), series=series, confirmed=confirmed, pairs=20,
            ratio=0.951 if confirmed else 0.997, p=1e-6 if confirmed else 0.4,
        )  # fmt: skip
    history.note("acceptance", **synthetic.key(26), series=noisy, why="larger buffers on purpose")
