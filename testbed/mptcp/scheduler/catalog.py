"""The schedulers by name. To add one: a file with its class, and a line here."""

from __future__ import annotations

from testbed.mptcp.scheduler.base import Scheduler
from testbed.mptcp.scheduler.blest import Blest
from testbed.mptcp.scheduler.ecf import EarliestCompletionFirst
from testbed.mptcp.scheduler.lowest_rtt import LowestRtt
from testbed.mptcp.scheduler.redundant import Redundant
from testbed.mptcp.scheduler.round_robin import RoundRobin

SCHEDULERS: dict[str, type[Scheduler]] = {
    "lowest-rtt": LowestRtt,
    "round-robin": RoundRobin,
    "redundant": Redundant,
    "blest": Blest,
    "ecf": EarliestCompletionFirst,
}


def make(name: str) -> Scheduler:
    """A scheduler for one connection. Raises ValueError for a name that is not there."""
    if name not in SCHEDULERS:
        raise ValueError(f"no scheduler {name!r}; there are {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name]()
