"""What collectors share: the shape of their rows and of what they are given to reach into a lab.

A collector is made, started with the trial's epoch (CLOCK_MONOTONIC, ns) and stopped; stopping returns what it has.
None of them sleeps, and none starts a process but through the lab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testbed.endpoint.protocol import SampleRow
from testbed.orchestrator.process import Process

__all__ = ["CounterRow", "Inside", "SampleRow", "StartProgram"]

Inside = Callable[[str], AbstractContextManager[None]]
"""A lab's ``inside``: the calling thread is in the network namespace of that node for the block."""


@dataclass(frozen=True, slots=True)
class CounterRow:
    """A counter of a host before and after the traffic; None: this kernel did not have it then."""

    host: str
    counter: str
    before: int | None
    after: int | None


class StartProgram(Protocol):
    """A lab's ``start``."""

    def __call__(self, node: str, argv: Sequence[str | Path]) -> Process:
        """Start a program inside a node."""
