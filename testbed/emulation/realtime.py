"""Make this process punctual: timer slack, locked memory, no garbage collector, and SCHED_FIFO where permitted.

Sources: prctl(2) PR_SET_TIMERSLACK (the default of 50 us would be added to every wait), sched(7), mlockall(2).
"""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import dataclass

FIFO_PRIORITY = 10

_PR_SET_TIMERSLACK = 29
_MCL_CURRENT, _MCL_FUTURE = 1, 2


@dataclass(frozen=True, slots=True)
class Punctuality:
    """What was granted."""

    scheduler: str
    """``SCHED_FIFO`` or ``SCHED_OTHER``."""
    reason: str
    """Why not SCHED_FIFO; empty when it is."""
    memory_locked: bool


def become_punctual(realtime: bool, cpu: int | None = None) -> Punctuality:
    """Ask for all of it; ``realtime`` False leaves the scheduler as it is. Raises OSError for a CPU that is not
    there."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing on the data path makes a reference cycle
    locked = libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0
    if not realtime:
        return Punctuality("SCHED_OTHER", "not asked for", locked)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError as error:
        return Punctuality("SCHED_OTHER", f"sched_setscheduler: {error.strerror}", locked)
    return Punctuality("SCHED_FIFO", "", locked)
