"""Knowledge over time: nights of measurements as immutable files, and what they say about every series.

``store`` keeps the nights, ``change_points`` says when a level moved, ``states`` and ``judging`` what to make of it
tonight; the site is ``analysis.report.site``.
"""

from __future__ import annotations

from analysis.history.states import STATES, Alarm, SeriesState, Step
from analysis.history.store import DuplicateNight, Event, History

__all__ = ["STATES", "Alarm", "DuplicateNight", "Event", "History", "SeriesState", "Step"]
