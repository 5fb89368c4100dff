"""Follows one connection through its samples: which subflows it has had, and what each was like when last seen.

A subflow counts once it was established at this end. For the initial one that is the end of TCP's handshake. A join is
established at its client with the fourth ACK only (RFC 8684, section 3.2): TCP's handshake is over one round trip
sooner, and the server may still refuse (MPJoinRejected). The kernel's flag FULLY_ESTABLISHED tells; where nobody may
ask for it, a join counts that has moved data, which Linux sends on none that was not taken (net/mptcp/protocol.c,
__mptcp_subflow_active), or that was established in two samples. A server lists no join before it has taken it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from testbed.endpoint.kernel_state import ConnectionState, Endpoints, SubflowState
from testbed.endpoint.protocol import SubflowResult, SubflowSeen
from testbed.endpoint.subflow_flags import FULLY_ESTABLISHED, is_backup
from testbed.endpoint.tcp_info import TCP_CLOSE, TCP_SYN_RECV, TCP_SYN_SENT, UNITS_OF_MPTCP_INFO, Info

_COUNTS = tuple(name for name, unit in UNITS_OF_MPTCP_INFO.items() if unit in ("subflows", "addresses"))

SubflowFlags = Callable[[Endpoints], int | None]
"""MPTCP_SUBFLOW_FLAG_* of the subflow with these addresses; None: cannot be known."""


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

    def __init__(self, flags: SubflowFlags) -> None:
        self._flags = flags
        self._known: dict[int | Endpoints, Subflow] = {}
        self._joining: dict[int | Endpoints, Endpoints] = {}
        """Established for TCP, but perhaps not taken by the server."""
        self.mptcp_info: Info | None = None
        """Of the connection, as last seen."""

    @property
    def subflows(self) -> tuple[Subflow, ...]:
        """Established ones, present and past, by index."""
        return tuple(self._known.values())

    def update(self, state: ConnectionState, now_ns: int) -> tuple[Subflow, ...]:
        """Take in a sample; the subflows that came or went since the one before."""
        changed = []
        seen = set()
        listed = set()
        for subflow in state.subflows:
            key = self._key(subflow)
            listed.add(key)
            alive = subflow.tcp_info["state"] != TCP_CLOSE
            if key not in self._known:
                new = self._new(key, subflow, now_ns)
                if new is None:
                    continue
                self._known[key] = new
                changed.append(new)
            known = self._known[key]
            known.tcp_info = subflow.tcp_info  # a closed subflow still has its final counts
            if alive:
                seen.add(key)
                known.last_seen_ns = now_ns
        self._joining = {key: endpoints for key, endpoints in self._joining.items() if key in listed}
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

    def _key(self, subflow: SubflowState) -> int | Endpoints:
        """The kernel's number; where it gives none, as of a connection that fell back, the addresses must do."""
        if subflow.id is not None:
            return subflow.id
        same = [key for key, known in self._known.items() if known.endpoints == subflow.endpoints]
        return same[-1] if same else subflow.endpoints

    def _new(self, key: int | Endpoints, subflow: SubflowState, now_ns: int) -> Subflow | None:
        """One that was not known; None while, or because, it is not established."""
        state, endpoints = subflow.tcp_info["state"], subflow.endpoints
        if state in (TCP_SYN_SENT, TCP_SYN_RECV):
            return None
        seen_before = self._joining.get(key)
        has_moved_data = any(subflow.tcp_info[name] for name in ("bytes_sent", "bytes_received"))
        flags = None
        if state == TCP_CLOSE:
            # Its addresses are gone: those of an earlier sample are needed. That it was seen then proves nothing.
            if seen_before is None or not has_moved_data:
                return None
            endpoints = seen_before
        else:
            flags = self._flags(endpoints)
            established = seen_before is not None if flags is None else bool(flags & FULLY_ESTABLISHED)
            if self._known and not established and not has_moved_data:
                self._joining[key] = endpoints
                return None
        self._joining.pop(key, None)
        return Subflow(
            index=len(self._known),
            endpoints=endpoints,
            backup=is_backup(flags),
            first_seen_ns=now_ns,
            last_seen_ns=now_ns,
            present=state != TCP_CLOSE,
            tcp_info=subflow.tcp_info,
        )


def _kept(before: Info | None, now: Info) -> Info:
    """Once its subflows are closed a connection counts none; how many there were is what one wants to know."""
    return now if before is None else {**now, **{name: before[name] for name in _COUNTS}}
