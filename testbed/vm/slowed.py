"""Slowed time: the clocks of a machine on real time run N times slower than ours, and with them all of its timers.

Two machines that speak with each other cannot count their instructions (two counted clocks have nothing to do with each
other), and emulated at full speed, on processors that others use too, they are too slow and too irregular for a network
with delays of milliseconds. When both clocks are the same clock of ours, divided by N, each has N times the processor
and a pause of ours is N times shorter. Gupta et al., "To Infinity and Beyond: Time-Warped Network Emulation" (NSDI
2006) is where the idea is from.

libfaketime, preloaded into QEMU, divides what clock_gettime(2) says and multiplies what is waited for. The guest must
not look at the processor's own counter, which nobody divides: it is told to take the HPET for its clock.

Sources: libfaketime's README (FAKETIME "+0 xN", libfaketimeMT); Linux admin-guide/kernel-parameters (clocksource, tsc).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from testbed.orchestrator.errors import Unsupported

LIBRARY = "libfaketimeMT.so.1"
"""The one for programs with threads."""
PLACES = ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/lib")
PACKAGE = "libfaketime"
"""Of Debian and Ubuntu."""
NICENESS = -15
"""A pause of the machine is a pause of every wire in it, and a few milliseconds of ours already are too long."""
KERNEL_WORDS = ("clocksource=hpet", "tsc=unstable", "no_timer_check")
"""The last: the kernel waits for the timer's first ticks in loops that nobody slows, and would give up from 16 on."""


def environment(factor: int) -> Mapping[str, str]:
    """For QEMU. Raises Unsupported when the library is not installed."""
    if factor == 1:
        return {}
    return {"LD_PRELOAD": str(find_library()), "FAKETIME": f"+0 x{1 / factor!r}", "FAKETIME_DONT_RESET": "1"}


def priority(factor: int) -> list[str]:
    """What the command line begins with: such a machine goes before others, where we may say so (root)."""
    return ["nice", "-n", str(NICENESS)] if factor > 1 and os.geteuid() == 0 else []


def find_library() -> Path:
    """Raises Unsupported with the package."""
    for place in PLACES:
        path = Path(place, "faketime", LIBRARY)
        if path.is_file():
            return path
    raise Unsupported(f"{LIBRARY} is not installed (slowed time needs it): apt install {PACKAGE}")
