"""``testbed run --messages``: what happens as JSON lines on standard output, for a program that listens."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

TICKS_S = 0.5
"""A sign of life is passed on this often; virtual time gives hundreds a second."""


class MessageLines:
    """Takes the messages of ``runner.run``: one JSON object a line, flushed, so that it is heard at once.

    When nobody listens any more (the reader of the pipe is gone) the run goes on in silence: it was the run that was
    asked for.
    """

    def __init__(self) -> None:
        self.path: str | None = None
        """The run directory, once it is known."""
        self._heard = True
        self._ticked_s = float("-inf")

    def __enter__(self) -> MessageLines:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is held."""

    def __call__(self, message: Mapping[str, Any]) -> None:
        """One message."""
        if message["kind"] in ("run", "kept"):
            self.path = message["path"]
        if not self._heard or (message["kind"] == "tick" and not self._is_due()):
            return
        try:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._heard = False
            # what Python still holds for the closed pipe would fail once more at its end
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stdout.fileno())
            os.close(nothing)

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._ticked_s < TICKS_S:
            return False
        self._ticked_s = now_s
        return True
