"""An address that a kernel's host gives up in the middle of the traffic: ``ip mptcp endpoint delete``, in time.

Our own stack is told by its endpoint process (``testbed/endpoint/session.py``). What a peer hears of it is a
REMOVE_ADDR (RFC 8684 section 3.4.2; net/mptcp/pm_kernel.c, ``mptcp_pm_nl_del_addr_doit``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.orchestrator.ip_mptcp import IpAddress

IDLE_S = 0.25
"""To the next look when nothing is due."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Which host gives up which address, and when after the epoch."""

    host: str
    address: IpAddress
    at_ns: int


class Withdrawals:
    """Carries out what is due, from the loop that hears the endpoints."""

    def __init__(self, wanted: Withdrawal | None, remove: Callable[[str, IpAddress], None]) -> None:
        """``remove``: a lab's ``remove_endpoint``."""
        self._waiting = [wanted] if wanted is not None else []
        self._remove = remove
        self.events: list[dict[str, Any]] = []
        """Rows of ``events``, without the trial."""

    def carry_out(self, epoch_ns: int) -> float:
        """What is due; in how many seconds to call again. Raises InvalidTrial when the kernel refuses."""
        while self._waiting:
            wanted = self._waiting[0]
            left_ns = epoch_ns + wanted.at_ns - time.monotonic_ns()
            if left_ns > 0:
                return min(IDLE_S, left_ns / 1e9)
            self._waiting.pop(0)
            self._remove(wanted.host, wanted.address)
            self.events.append(
                {
                    "time_ns": time.monotonic_ns() - epoch_ns,
                    "kind": "note",
                    "subject": wanted.host,
                    "detail": f"path manager endpoint {wanted.address} deleted",
                }
            )
        return IDLE_S
