"""What a run says while it runs: one live line on a terminal, a plain line per trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from testbed.cli.live_line import LiveLine

SMOOTHING = 0.5
"""Weight of the newest trial in the estimate of a trial's length."""


class RunProgress(LiveLine):
    """Takes the messages of ``runner.run``."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._name = name
        super().__init__(quiet=quiet)
        self._clock = TrialClock()
        self.path: str | None = None
        """The run directory, once it is known."""

    def __call__(self, message: Mapping[str, Any]) -> None:
        """One message."""
        match message["kind"]:
            case "note":
                self.print(message["text"])
            case "run":
                self.path = message["path"]
                self._clock.begin(message["planned"], message["remaining"])
                done = message["planned"] - message["remaining"]
                resumed = f", {done} already done" if done else ""
                self.print(f"{self._name}: {message['planned']} trials{resumed} -> {message['path']}")
            case "kept":
                self.path = message["path"]
            case "trial":
                self._clock.trial(message["expected_s"])
                self._variant = f"{message['variant']} #{message['repetition'] + 1}"
                self._redraw("")
            case "phase":
                self._redraw(message["phase"])
            case "tick":
                self._redraw(None)
            case "retry":
                self.print(f"  {message['variant']} #{message['repetition'] + 1}: again, {message['reason']}")
            case "ended":
                self._clock.ended(message["duration_s"])
                self.print(f"  {self._clock.done}/{self._clock.planned} {trial_line(message)}")
                self._redraw("")

    _variant = ""
    _phase = ""

    def _redraw(self, phase: str | None) -> None:
        if phase is not None:
            self._phase = phase
        words = " ".join(word for word in (self._name, self._variant, self._phase) if word)
        count = f"{self._clock.done}/{self._clock.planned} trials"
        self.draw(words, self._clock.share(), count, f"{self._clock.left_s():.0f} s left")


class TrialClock:
    """How far the run is."""

    def __init__(self) -> None:
        self.planned = self.done = 0
        self._per_trial_s = 1.0
        self._began_s = time.monotonic()
        self._measured = False

    def begin(self, planned: int, remaining: int) -> None:
        """So many trials, of which so many are to do."""
        self.planned, self.done = planned, planned - remaining

    def trial(self, expected_s: float) -> None:
        """One begins; until one has been measured, that long is what it takes."""
        self._began_s = time.monotonic()
        if not self._measured:
            self._per_trial_s = expected_s

    def ended(self, duration_s: float | None = None) -> None:
        """It took that long; None: since it began, by this machine's clock."""
        duration_s = time.monotonic() - self._began_s if duration_s is None else duration_s
        self.done += 1
        weight = SMOOTHING if self._measured else 1.0
        self._per_trial_s = weight * duration_s + (1 - weight) * self._per_trial_s
        self._measured = True
        self._began_s = time.monotonic()

    def share(self) -> float:
        """Of the run, what is done."""
        if not self.planned:
            return 0.0
        return min(1.0, (self.done + self._of_this_trial()) / self.planned)

    def left_s(self) -> float:
        """What is left should all take as long as the last ones."""
        return max(0.0, (self.planned - self.done - self._of_this_trial()) * self._per_trial_s)

    def _of_this_trial(self) -> float:
        running = self.done < self.planned
        return min(0.99, (time.monotonic() - self._began_s) / self._per_trial_s) if running else 0.0


def trial_line(message: Mapping[str, Any]) -> str:
    """A trial that has ended: variant, verdict, number, and the reason of what is not VALID."""
    goodput = message.get("goodput_bit_s")
    number = f"{goodput / 1e6:8.2f} Mbit/s" if goodput is not None else " " * 15
    reason = f"  {message['reason']}" if message["reason"] else ""
    return f"{message['variant']:<20} #{message['repetition'] + 1}  {message['verdict']:<11} {number}{reason}"
