"""Waiting for something that can be observed, until a deadline; never for a length of time.

The pause between two looks starts at a tenth of a millisecond and doubles up to ten: short waits end at once and long
ones cost nothing. What never comes true is an error that names what was awaited and what was seen last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from testbed.orchestrator.errors import NotReady

T = TypeVar("T")

FIRST_PAUSE_S = 0.0001
LONGEST_PAUSE_S = 0.01


def wait_until(
    condition: Callable[[], T], deadline_s: float, what: str, *, seen: Callable[[], object] | None = None
) -> T:
    """Call ``condition`` until it returns something true and return that.

    ``what`` completes "waited for ...". ``seen`` is asked once, when time is up, for the last sentence of the error.
    Raises NotReady after ``deadline_s`` seconds; the condition is tried at least once, and once more at the end.
    """
    end_s = time.monotonic() + deadline_s
    pause_s = FIRST_PAUSE_S
    while True:
        last_try = time.monotonic() >= end_s
        result = condition()
        if result:
            return result
        if last_try:
            observed = f"; last seen: {seen()}" if seen is not None else ""
            raise NotReady(f"waited {deadline_s:g} s for {what}{observed}")
        time.sleep(min(pause_s, max(0.0, end_s - time.monotonic())))
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
