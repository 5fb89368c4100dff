"""A program that sleeps five milliseconds at a time and keeps by how much each sleep was too long.

Started by ``jitter.py`` as a process of its own: a thread of the orchestrator would also measure who else held its
interpreter. Uses nothing of ours. It says ``ready``, watches from the line ``go`` on its standard input until that is
closed, and then prints one JSON object.

Source: clock_nanosleep(2), with which time.sleep waits for a time on CLOCK_MONOTONIC.
"""

from __future__ import annotations

import gc
import json
import math
import select
import sys
import time
from array import array
from collections.abc import Sequence
from operator import sub

INTERVAL_NS = 5_000_000
"""Waking up costs 21 µs where a hypervisor sets the timer (measured in C as in Python), and 270 µs in an emulated guest
whose host is busy: sleeps of 2 ms took 13 % of a processor there from what is measured. A stall seems shorter by the
rest of the sleep that it fell into."""
STALL_NS = 20_000_000
"""From here on a machine stood still: undisturbed guests had at most 8 ms (p99 3 ms), disturbed ones 100 to 1534 ms
(measured on plain emulation, with and without other load on its host)."""
_LOOK_EACH = 8
"""Sleeps between two looks at the standard input, which would cost as much as a sleep."""


def measure(ended: select.poll) -> array[int]:
    """When each sleep ended, on CLOCK_MONOTONIC in ns, until ``ended`` has something to say; first the beginning."""
    wakes = array("q")
    sleep, clock, note, interval_s = time.sleep, time.monotonic_ns, wakes.append, INTERVAL_NS / 1e9
    note(clock())
    while True:
        for _ in range(_LOOK_EACH):
            sleep(interval_s)
            note(clock())
        if ended.poll(0):
            return wakes


def summary(wakes: Sequence[int]) -> dict[str, object]:
    """``sleeps``; by how much they were too long: ``max_ns``, ``p99_ns`` (null without any), and ``stalls``: when each
    ended and how long it was, in order of time."""
    late_ns = [taken - INTERVAL_NS for taken in map(sub, wakes[1:], wakes)]
    ordered = sorted(late_ns)
    return {
        "sleeps": len(ordered),
        "max_ns": max(0, ordered[-1]) if ordered else None,
        "p99_ns": max(0, ordered[math.ceil(0.99 * len(ordered)) - 1]) if ordered else None,
        "stalls": [(wakes[number + 1], late) for number, late in enumerate(late_ns) if late > STALL_NS],
    }


def main() -> None:
    """Until the standard input is closed."""
    print("ready", flush=True)
    sys.stdin.readline()
    gc.disable()  # nothing here is garbage, and looking for some would be a stall of our own
    ended = select.poll()
    ended.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    begun_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
    wakes = measure(ended)
    share = (time.process_time_ns() - cpu_ns) / (time.monotonic_ns() - begun_ns)
    print(json.dumps({**summary(wakes), "cpu_share": share}), flush=True)


if __name__ == "__main__":
    main()
