"""Follows one connection through its samples: which subflows it has had, and what each was like when last seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed.endpoint.kernel_state import ConnectionState, Endpoints, SubflowState
from testbed.endpoint.protocol import SubflowResult, SubflowSeen
from testbed.endpoint.tcp_info import TCP_CLOSE, UNITS_OF_MPTCP_INFO, Info

_COUNTS = tuple(name for name, unit in UNITS_OF_MPTCP_INFO.items() if unit in ("subflows", "addresses"))

BackupFlag = Callable[[Endpoints], bool | None]
"""Whether the subflow with these addresses carries the backup flag; None: cannot be known."""


@dataclass(slots=True)
class Subflow:
    """A subflow of a connection, present or past."""

    index: int
    endpoints: Endpoints
    backup: bool | None
    first_seen_ns: int
    last_seen_ns: int
    present: bool
    tcp_info: Info

    def event(self, time_ns: int) -> SubflowSeen:
        """That it came or went."""
        local_address, local_port, remote_address, remote_port = self.endpoints
        return SubflowSeen(
            time_ns=time_ns,
            change="added" if self.present else "removed",
            index=self.index,
            local_address=local_address,
            local_port=local_port,
            remote_address=remote_address,
            remote_port=remote_port,
            backup=self.backup,
        )

    def result(self) -> SubflowResult:
        """Its whole life."""
        local_address, local_port, remote_address, remote_port = self.endpoints
        return SubflowResult(
            index=self.index,
            local_address=local_address,
            local_port=local_port,
            remote_address=remote_address,
            remote_port=remote_port,
            backup=self.backup,
            first_seen_ns=self.first_seen_ns,
            last_seen_ns=self.last_seen_ns,
            tcp_info=self.tcp_info,
        )


class SubflowRegistry:
    """Gives each subflow of a connection a number that stays, in the order of appearance."""

    def __init__(self, backup_flag: BackupFlag) -> None:
        self._backup_flag = backup_flag
        self._known: dict[int | Endpoints, Subflow] = {}
        self.mptcp_info: Info | None = None
        """Of the connection, as last seen."""

    @property
    def subflows(self) -> tuple[Subflow, ...]:
        """Present and past ones, by index."""
        return tuple(self._known.values())

    def update(self, state: ConnectionState, now_ns: int) -> tuple[Subflow, ...]:
        """Take in a sample; the subflows that came or went since the one before."""
        changed = []
        seen = set()
        for subflow in state.subflows:
            # The kernel's number tells subflows apart; older kernels have none, there the addresses must do.
            key = subflow.endpoints if subflow.id is None else subflow.id
            alive = subflow.tcp_info["state"] != TCP_CLOSE
            if key not in self._known:
                if not alive:  # closed before it was ever seen: its addresses are gone
                    continue
                self._known[key] = self._new(subflow, now_ns)
                changed.append(self._known[key])
            known = self._known[key]
            known.tcp_info = subflow.tcp_info  # a closed subflow still has its final counts
            if alive:
                seen.add(key)
                known.last_seen_ns = now_ns
        for key, known in self._known.items():
            if known.present != (key in seen):
                known.present = key in seen
                changed.append(known)
        if state.mptcp_info is not None:
            self.mptcp_info = state.mptcp_info if seen else _kept(self.mptcp_info, state.mptcp_info)
        return tuple(changed)

    def total(self, name: str) -> int | None:
        """Sum of a tcp_info field over all subflows, past ones as last seen; None when a value is missing."""
        values = [subflow.tcp_info[name] for subflow in self._known.values()]
        present = [value for value in values if value is not None]
        return sum(present) if present and len(present) == len(values) else None

    def _new(self, subflow: SubflowState, now_ns: int) -> Subflow:
        return Subflow(
            index=len(self._known),
            endpoints=subflow.endpoints,
            backup=self._backup_flag(subflow.endpoints),
            first_seen_ns=now_ns,
            last_seen_ns=now_ns,
            present=True,
            tcp_info=subflow.tcp_info,
        )


def _kept(before: Info | None, now: Info) -> Info:
    """Once its subflows are closed a connection counts none; how many there were is what one wants to know."""
    return now if before is None else {**now, **{name: before[name] for name in _COUNTS}}
