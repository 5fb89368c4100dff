"""Python's cycle collector, told to look seldom: thousands of segments in flight are not garbage.

Nothing on the data path makes a reference cycle, so what the collector would find there is nothing; only connections
that have ended are cycles. With its defaults it looks at every 700 new objects, a tenth of all CPU time of a bulk
transfer.
"""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 100_000
_GENERATIONS = 20


def collect_seldom() -> None:
    """For the rest of this process."""
    gc.collect()
    gc.set_threshold(_YOUNG_OBJECTS, _GENERATIONS, _GENERATIONS)
