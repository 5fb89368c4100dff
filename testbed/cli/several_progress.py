"""What machines that run side by side say: on a terminal a live line for each, elsewhere plain lines with its name.

Times are those of this machine: a guest on virtual time has seconds of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from testbed.cli.console import console
from testbed.cli.progress import TrialClock, trial_line


class SeveralProgress:
    """Takes what machines say (several.carry_out's ``told``), each by its name. A context manager, to leave the
    terminal as it was; no thread, as in LiveLine."""

    def __init__(self, names: Sequence[str], *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._width = max(map(len, names), default=0)
        self._lines = {name: _Line() for name in names}
        self._tasks: dict[str, Any] = {}
        self._bars: Any = None

    def __enter__(self) -> Self:
        if self._live:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[count]}  {task.fields[left]}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            for name in self._lines:
                self._tasks[name] = self._bars.add_task(f"{name:<{self._width}}  waits", total=1.0, count="", left="")
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def hear(self, name: str, experiment: str, message: Mapping[str, Any]) -> None:
        """A message of the run of ``experiment`` on the machine of that name."""
        line = self._lines[name]
        text = line.hear(experiment, message)
        if text:
            self.print(name, text)
        self._draw(name)

    def over(self, name: str, text: str, *, last: bool) -> None:
        """A run has ended, well or not; with the last one its machine, too."""
        self.print(name, text)
        self._lines[name].rest("done" if last else "next")
        self._draw(name)

    def print(self, name: str, text: str) -> None:
        """A line that stays, above the live ones."""
        if not self._quiet:
            target = self._bars.console if self._bars is not None else self._console
            target.print(f"{name:<{self._width}}  {text}", markup=False, soft_wrap=True)

    def _draw(self, name: str) -> None:
        if self._bars is not None:
            line = self._lines[name]
            words = f"{name:<{self._width}}  {line.words}"
            task = self._tasks[name]
            self._bars.update(task, description=words, completed=line.share, count=line.count, left=line.left)
            self._bars.refresh()


class _Line:
    """What one machine is at."""

    def __init__(self) -> None:
        self._experiment = self._variant = self._phase = ""
        self._clock: TrialClock | None = None
        self._began_s: float | None = None
        """When the first word of it came, or the run before ended: a machine that waits for its turn says nothing."""

    def hear(self, experiment: str, message: Mapping[str, Any]) -> str:
        """Take a message; the line that stays of it, empty when none does."""
        self._experiment = experiment
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        kind = message["kind"]
        trial = f"{message['variant']} #{message['repetition'] + 1}" if "variant" in message else ""
        if kind == "note":
            if self._clock is None:
                self._phase = message["text"]
            return str(message["text"])
        if kind == "run":
            self._clock = TrialClock()
            self._clock.begin(message["planned"], message["remaining"])
            self._phase = ""
            return f"{experiment}: {message['planned']} trials, ready after {now_s - self._began_s:.0f} s"
        if kind == "trial" and self._clock is not None:
            self._clock.trial(message["expected_s"])
            self._variant, self._phase = trial, ""
        elif kind == "phase":
            self._phase = message["phase"]
        elif kind == "kept" and message["path"]:
            return f"what was done is kept in {message['path']}, --resume goes on"
        elif kind == "retry":
            return f"  {trial}: again, {message['reason']}"
        elif kind == "ended" and self._clock is not None:
            self._clock.ended()
            return f"  {self._clock.done}/{self._clock.planned} {trial_line(message)}"
        return ""

    def rest(self, word: str) -> None:
        """Nothing of it runs at the moment."""
        self._variant, self._phase, self._clock = "", word, None
        self._began_s = time.monotonic()

    @property
    def words(self) -> str:
        return " ".join(word for word in (self._experiment, self._variant, self._phase) if word)

    @property
    def share(self) -> float:
        if self._clock is None:
            return 1.0 if self._phase == "done" else 0.0
        return self._clock.share()

    @property
    def count(self) -> str:
        return f"{self._clock.done}/{self._clock.planned} trials" if self._clock is not None else ""

    @property
    def left(self) -> str:
        return f"{self._clock.left_s():.0f} s left" if self._clock is not None else ""
