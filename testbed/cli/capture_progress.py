"""How far an analysis is: one live line on a terminal, and only when it takes its time."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from testbed.cli.console import console

PATIENCE_S = 2.0
"""Nothing is shown before."""
_INTERVAL_S = 0.2


class AnalysisProgress:
    """Call it with what is being done and the packets read so far. A context manager, to leave the terminal clean."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._name = name
        self._console = console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._status: Any = None
        self._begin = self._shown = time.monotonic()

    def __enter__(self) -> AnalysisProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, doing: str, packets: int | None) -> None:
        """Something was done."""
        now = time.monotonic()
        if (
            not self._live
            or now - self._begin < PATIENCE_S
            or (packets is not None and now - self._shown < _INTERVAL_S)
        ):
            return
        self._shown = now
        words = f"{self._name}: {doing}"
        if packets is not None:
            words += f", {packets / 1e6:.1f} M packets, {now - self._begin:.0f} s"
        if self._status is None:
            self._status = self._console.status(words)
            self._status.start()
        self._status.update(words)
