"""Words and signs of the site: a state never by colour alone, a ratio as the percentage that people speak of."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from analysis.history import STATES, SeriesState
from analysis.history.saying import change_in_words, day
from analysis.history.states import Control, Flakes, Night, State
from analysis.report.wording import NOT_MEASURED, THIN_SPACE, count, metric_name, significant

SIGNS: Mapping[State, str] = {
    "alarm": "!",
    "regressed": "▼",
    "not measured": "○",
    "changed": "◆",
    "improved": "▲",
    "new": "+",
    "steady": "=",
}
TONES: Mapping[State, str] = {
    "alarm": "failed",
    "regressed": "failed",
    "not measured": "open",
    "changed": "open",
    "improved": "met",
    "new": "soft",
    "steady": "soft",
}
"""State -> class of the style sheet."""


def title_of(state: SeriesState) -> str:
    """``"goodput of two-paths in aggregation"``."""
    return f"{metric_name(state.metric)} of {state.variant} in {state.experiment}"


def slug(state: SeriesState) -> str:
    """A name for files: readable, and unique also where two series differ in punctuation alone."""
    words = re.sub(r"[^0-9A-Za-z_.]+", "-", state.series).strip("-.")[:80]
    whole = "\n".join((state.campaign, state.machine, state.series))
    return f"{words}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def tonight_of(state: SeriesState, newest_utc: str) -> Night | None:
    """The newest night of the campaign; None: the series is not in it."""
    return state.nights[-1] if state.nights[-1].night_utc == newest_utc else None


def ratio_in_words(night: Night | None, state: SeriesState) -> str:
    """``"−4.9 % (−5.4 to −4.3)"``: candidate against reference."""
    if night is None or night.ratio is None:
        return NOT_MEASURED
    middle = change_in_words(night.ratio, state.kind, state.unit)
    return middle + ends_in_words(night.low, night.high, state)


def ends_in_words(low: float | None, high: float | None, state: SeriesState) -> str:
    """``" (−5.4 to −4.3 %)"``; empty when there is no interval, or it has no width: in virtual time nothing varies."""
    if low is None or high is None or low == high:
        return ""
    first, last = (change_in_words(end, state.kind, state.unit) for end in (low, high))
    return f" ({first.removesuffix(_PERCENT) if last.endswith(_PERCENT) else first} to {last})"


def expected_in_words(state: SeriesState) -> str:
    """What the ratio is compared with."""
    if state.expected is None:
        return "not known yet"
    if state.expected == (0.0 if state.kind == "difference" else 1.0):
        return "no difference"
    return change_in_words(state.expected, state.kind, state.unit)


def control_in_words(control: Control) -> tuple[str, str, str]:
    """(sign, word, class) of an A/A pair."""
    if control.suspect:
        return "!", "suspect", "failed"
    if control.trend is None:
        return "○", "no control", "open"
    return "=", "alike", "soft"


def flakes_in_words(flakes: Flakes) -> str:
    """``"0 of 200"``: what was INVALID or done again, of all attempts."""
    bad, attempts = flakes.invalid + flakes.retries, flakes.trials + flakes.retries
    if not attempts:
        return NOT_MEASURED
    return f"{bad} of {significant(attempts)}" if bad else "0"


def counted(states: Sequence[SeriesState]) -> dict[State, int]:
    """State -> number of series, worst first, those that occur."""
    numbers = Counter(state.state for state in states)
    return {state: numbers[state] for state in STATES if numbers[state]}


def headline(states: Sequence[SeriesState]) -> str:
    """``"2 of 480 series regressed, 1 in alarm"``."""
    numbers = counted(states)
    bad = [f"{numbers[state]} {word}" for state, word in _HEADLINE.items() if state in numbers]
    total = count(len(states), "series", "series")
    if not bad:
        return f"No change for the worse in {total}"
    return f"Of {total}, {', '.join(bad)}"


_PERCENT = f"{THIN_SPACE}%"
_HEADLINE: Mapping[State, str] = {
    "regressed": "regressed",
    "alarm": "in alarm",
    "not measured": "not measured",
}


def tone_of(states: Sequence[SeriesState]) -> str:
    """Class of the answer's box."""
    found = counted(states)
    if "alarm" in found or "regressed" in found:
        return "failed"
    return "open" if "not measured" in found or any(state.control.suspect for state in states) else "met"


def nights_in_words(utc: Sequence[str]) -> str:
    """``"57 nights, 2026-09-20 to 2026-11-18"``."""
    return f"{count(len(utc), 'night')}, {day(utc[0])} to {day(utc[-1])}" if len(utc) > 1 else f"1 night, {day(utc[0])}"
