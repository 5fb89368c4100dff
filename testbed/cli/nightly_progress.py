"""What a night says while it runs: one live line on a terminal, a plain line per run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from testbed.cli.console import console


class NightProgress:
    """Takes the messages of ``nightly.conduct``. A context manager, so that the terminal is left as it was."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._bar: Any = None
        self._task: Any = None
        self._began_s = time.monotonic()
        self._done_before = 0

    def __enter__(self) -> NightProgress:
        if self._live:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[runs]}  {task.fields[left]}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=1.0, runs="", left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: Mapping[str, Any]) -> None:
        """One message."""
        match message["kind"]:
            case "note":
                self._print(str(message["text"]))
            case "night":
                self._began_s, self._done_before = time.monotonic(), message["done"]
                done = f", {message['done']} already done" if message["done"] else ""
                self._print(f"{message['total']} runs{done} -> {message['path']}")
            case "phase":
                self._redraw(message["phase"], None)
                self._print(f"{message['phase']} ...")
            case "step":
                self._redraw(_what(message), message)
            case "ended":
                reason = f"  {message['reason']}" if message["reason"] else ""
                state = "measured" if message["state"] == "measured" else message["state"].upper()
                self._print(f"  {message['number'] + 1}/{message['total']} {_what(message):<44} {state}{reason}")

    def _redraw(self, words: str, message: Mapping[str, Any] | None) -> None:
        if self._bar is None:
            return
        runs = left = ""
        share = 0.0
        if message is not None and message["total"]:
            share = message["number"] / message["total"]
            runs, left = f"{message['number']}/{message['total']} runs", self._left(message)
        self._bar.update(self._task, description=words, completed=share, runs=runs, left=left)
        self._bar.refresh()

    def _left(self, message: Mapping[str, Any]) -> str:
        done = message["number"] - self._done_before
        if done < 1:
            return ""
        seconds = (time.monotonic() - self._began_s) / done * (message["total"] - message["number"])
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        target = self._bar.console if self._bar is not None else self._console
        target.print(text, markup=False, soft_wrap=True)


def _what(message: Mapping[str, Any]) -> str:
    if message["repeat"] > 1:
        return f"{message['entry']} {message['role']}, {message['repeat']} repetitions"
    return f"{message['entry']} {message['role']} #{message['repetition'] + 1}"
