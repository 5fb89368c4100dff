"""The state of a series in one sentence."""

from __future__ import annotations

from analysis.comparison.contrast import Kind
from analysis.history.states import Alarm, SeriesState
from analysis.history.store import Event


def sentence(state: SeriesState, told: Event | None) -> str:
    """Why the series is in its state; ``told`` is the confirmation that decided, if one did."""
    match state.state:
        case "alarm" if state.alarm is not None:
            return f"{_moved(state, state.alarm)}; {_evidence(state.alarm)}. No re-run has borne it out yet."
        case "regressed" if state.alarm is not None:
            return f"{_moved(state, state.alarm)}. {_confirmed(told)}"
        case "improved" | "changed":
            step = state.steps[-1]
            moved = change_in_words(step.change.estimate, state.kind, state.unit)
            return f"{moved} since the night of {day(step.began_utc)}."
        case "not measured":
            return _missing(state)
        case "new":
            count = sum(night.ratio is not None for night in state.nights if night.segment == state.nights[-1].segment)
            return f"{count} {'night' if count == 1 else 'nights'} so far: too few to see a step."
        case _:
            return _found(state, told)


def change_in_words(change: float, kind: Kind, unit: str = "") -> str:
    """``0.949`` -> ``"−5.1 %"``, ``12.3`` -> ``"12.3-fold"``; differences with their unit. The space does not break."""
    if kind == "difference":
        factor, name = _LARGER.get(unit, (1, unit))
        return f"{change / factor:+.3g}{_NARROW_SPACE}{name}".rstrip().replace("-", "−")
    percent = 100 * (change - 1)
    if percent == 0:
        return f"0{_NARROW_SPACE}%"
    if percent >= _MOST_PERCENT:
        return f"{change:.3g}-fold"
    digits = 0 if abs(percent) >= 10 else 1 if abs(percent) >= 1 else 2
    return f"{percent:+.{digits}f}{_NARROW_SPACE}%".replace("-", "−")


_LARGER = {"ns": (1e6, "ms"), "bit/s": (1e6, "Mbit/s"), "bytes": (1e3, "kB")}
_MOST_PERCENT = 300
_NARROW_SPACE = "\u202f"


def day(utc: str) -> str:
    """``2026-01-31T02:00:00Z`` -> ``2026-01-31``."""
    return utc[:10]


def _moved(state: SeriesState, alarm: Alarm) -> str:
    text = f"{change_in_words(alarm.change.estimate, state.kind, state.unit)} since the night of {day(alarm.since_utc)}"
    if alarm.change.low is None or alarm.change.high is None:
        return text
    low, high = (change_in_words(end, state.kind, state.unit) for end in (alarm.change.low, alarm.change.high))
    return f"{text} (from {low} to {high})"


def _evidence(alarm: Alarm) -> str:
    words = {"newest night": "the newest night's pairs say so", "change point": "the nights have a change point there"}
    return " and ".join(words[each] for each in alarm.evidence)


def _confirmed(told: Event | None) -> str:
    if told is None:
        return "A re-run bore it out."
    pairs = told.facts.get("pairs")
    return f"A re-run{f' of {pairs} pairs' if pairs else ''} in the night of {day(told.night_utc)} bore it out."


def _missing(state: SeriesState) -> str:
    night = state.nights[-1]
    if day(night.night_utc) == day(state.since_utc) and night.trials == night.unsupported:
        return "Cannot run here (UNSUPPORTED)."
    return f"No valid pair since the night of {day(state.since_utc)}."


def _found(state: SeriesState, told: Event | None) -> str:
    found = state.newest.detectable if state.newest is not None and not state.newest.is_change else None
    text = (
        "No change found"
        + (f"; tonight one of {100 * found:.2g}{_NARROW_SPACE}% would have been" if found else "")
        + "."
    )
    if told is not None:
        text += f" An alarm was not borne out by the re-run in the night of {day(told.night_utc)}."
    return text
