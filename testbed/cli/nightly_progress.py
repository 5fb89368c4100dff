"""What a night says while it runs: one live line on a terminal, a plain line per run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from testbed.cli.live_line import LiveLine


class NightProgress(LiveLine):
    """Takes the messages of ``nightly.conduct``."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._began_s = time.monotonic()
        self._done_before = 0

    def __call__(self, message: Mapping[str, Any]) -> None:
        """One message."""
        match message["kind"]:
            case "note":
                self.print(str(message["text"]))
            case "night":
                self._began_s, self._done_before = time.monotonic(), message["done"]
                done = f", {message['done']} already done" if message["done"] else ""
                self.print(f"{message['total']} runs{done} -> {message['path']}")
            case "phase":
                self.draw(message["phase"], 0.0, "", "")
                self.print(f"{message['phase']} ...")
            case "step":
                self._draw(message)
            case "ended":
                reason = f"  {message['reason']}" if message["reason"] else ""
                state = "measured" if message["state"] == "measured" else message["state"].upper()
                self.print(f"  {message['number'] + 1}/{message['total']} {_what(message):<44} {state}{reason}")

    def _draw(self, message: Mapping[str, Any]) -> None:
        number, total = message["number"], message["total"]
        self.draw(_what(message), number / total, f"{number}/{total} runs", self._left(message))

    def _left(self, message: Mapping[str, Any]) -> str:
        done = message["number"] - self._done_before
        if done < 1:
            return ""
        seconds = (time.monotonic() - self._began_s) / done * (message["total"] - message["number"])
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"


def _what(message: Mapping[str, Any]) -> str:
    if message["repeat"] > 1:
        return f"{message['entry']} {message['role']}, {message['repeat']} repetitions"
    return f"{message['entry']} {message['role']} #{message['repetition'] + 1}"
