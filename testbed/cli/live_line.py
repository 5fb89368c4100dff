"""One live line on a terminal, plain lines elsewhere, nothing with ``--quiet``.

No thread: the line is redrawn when its owner says something. A thread would be alive when a worker is forked.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from testbed.cli.console import console


class LiveLine:
    """What is done, a bar, how much of it, how long it takes. A context manager, to leave the terminal as it was."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._live:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[count]}  {task.fields[left]}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=1.0, count="", left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def draw(self, words: str, share: float, count: str, left: str) -> None:
        """Draw the line anew; nothing without a terminal."""
        if self._bar is not None:
            self._bar.update(self._task, description=words, completed=share, count=count, left=left)
            self._bar.refresh()

    def print(self, text: str) -> None:
        """A line that stays, above the live one."""
        if not self._quiet:
            target = self._bar.console if self._bar is not None else self._console
            target.print(text, markup=False, soft_wrap=True)
