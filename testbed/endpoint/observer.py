"""Turns what the kernel or our own stack says about a flow's connections into samples, events and totals."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from testbed.endpoint.kernel_state import ConnectionState
from testbed.endpoint.protocol import Event, InForce, SampleRow
from testbed.endpoint.subflows import SubflowRegistry
from testbed.endpoint.tcp_info import UNITS_OF_MPTCP_INFO, UNITS_OF_TCP_INFO, Info
from testbed.endpoint.transport import Handle, Transport

NOT_SAMPLED = frozenset(
    {"state", "options", "advmss", "pmtu", "ato", "rcv_mss"}
    | {"token", "flags", "csum_enabled", "write_seq", "snd_una", "rcv_nxt"}
)
"""Fields that say little as a series, or (64-bit sequence numbers) do not fit into a float; the result has the last."""

GONE = (errno.ENOTCONN, errno.EINVAL, errno.ECONNRESET, errno.EBADF)
"""What getsockopt, getsockname or getpeername say of a connection that has just ended."""


TotalName = Literal["total_retrans", "bytes_retrans"]
"""Fields of tcp_info that are summed up for the result."""


class Retired:
    """What is kept of connections that are closed: there may be many thousands of short ones."""

    def __init__(self) -> None:
        self.connections = 0
        self.subflows = 0
        self.totals: dict[str, int | None] = dict.fromkeys(get_args(TotalName), 0)

    def add(self, registry: SubflowRegistry) -> None:
        """One more."""
        self.connections += 1
        self.subflows += len(registry.subflows)
        for name, total in self.totals.items():
            value = registry.total(name)
            self.totals[name] = None if total is None or value is None else total + value


class Observer:
    """Watches the connections of one side of a flow. ``subject`` is ``main.client`` and the like.

    The first connection is the main one: its samples are under the plain subject, those of the n-th further one under
    ``<subject>.connection<n>``; subflows are ``.subflow<index>`` below that.
    """

    def __init__(self, subject: str, transport: Transport, emit: Callable[[Event], None]) -> None:
        self.in_force: InForce | None = None
        """Of the connection that was looked at last."""
        self.fallback = False
        self._subject = subject
        self._transport = transport
        self._emit = emit
        self.main: SubflowRegistry | None = None
        """Of the first connection."""
        self._registries: dict[object, SubflowRegistry] = {}
        self._numbers: dict[object, int] = {}
        self._retired = Retired()

    def look(self, handle: Handle, now_ns: int, key: object) -> list[SampleRow]:
        """Read a connected handle; ``key`` says which connection it is.

        What came or went is told as an event (of the main connection only). No rows when it has ended meanwhile.
        """
        try:
            state = self._transport.read(handle)
        except OSError as error:
            if error.errno in GONE:
                return []
            raise
        if key not in self._registries:
            self._numbers[key] = len(self._registries) + self._retired.connections
            self._registries[key] = SubflowRegistry(self._transport.subflow_flags)
        registry = self._registries[key]
        self.main = self.main or registry
        changed = registry.update(state, now_ns)
        if registry is self.main:
            for subflow in changed:
                self._emit(subflow.event(now_ns))
        self.in_force = self._transport.implementation_in_force(handle)
        self.fallback = self.fallback or self.in_force == "fallback"
        number = self._numbers[key]
        subject = f"{self._subject}.connection{number}" if number else self._subject
        return _rows(registry, state, now_ns, subject)

    def retire(self, key: object) -> None:
        """That connection is closed for good: only its totals are kept."""
        registry = self._registries.pop(key, None)
        if registry is not None:
            del self._numbers[key]
            self._retired.add(registry)

    def subflows_seen(self) -> int:
        """Of all connections together."""
        return self._retired.subflows + sum(len(registry.subflows) for registry in self._registries.values())

    def total(self, name: TotalName) -> int | None:
        """Sum of a tcp_info field over all subflows of all connections; None when a value is missing."""
        totals = [registry.total(name) for registry in self._registries.values()]
        if self._retired.connections:
            totals.append(self._retired.totals[name])
        known = [value for value in totals if value is not None]
        return sum(known) if known and len(known) == len(totals) else None

    def payload(self) -> tuple[int, int] | None:
        """Bytes acknowledged and received by all connections, retransmissions not counted twice; None: not told."""
        sums = [0, 0]
        for registry in self._registries.values():
            counts = [(registry.mptcp_info or {}).get(name) for name in ("bytes_acked", "bytes_received")]
            if registry.mptcp_info is None:
                counts = [registry.total(name) for name in ("bytes_acked", "bytes_received")]
            for index, count in enumerate(counts):
                if count is None:
                    return None
                sums[index] += count
        return sums[0], sums[1]


def _rows(registry: SubflowRegistry, state: ConnectionState, now_ns: int, subject: str) -> list[SampleRow]:
    rows: list[SampleRow] = []
    if state.mptcp_info is not None:
        source = state.source if state.source == "userspace" else "MPTCP_INFO"
        _append(rows, now_ns, subject, state.mptcp_info, UNITS_OF_MPTCP_INFO, source)
    for subflow in registry.subflows:
        if subflow.present:
            name = f"{subject}.subflow{subflow.index}"
            _append(rows, now_ns, name, subflow.tcp_info, UNITS_OF_TCP_INFO, state.source)
    return rows


def _append(
    rows: list[SampleRow], now_ns: int, subject: str, info: Info, units: Mapping[str, str], source: str
) -> None:
    rows.extend(
        (now_ns, subject, name, value, units[name], source)
        for name, value in info.items()
        if value is not None and name not in NOT_SAMPLED
    )
