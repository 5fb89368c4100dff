"""What the connections of one host share: addresses and their ids, ports, tokens, keys, counters, the table of flows.

The base class of :class:`testbed.mptcp.stack.Stack`; a connection knows its host only as this.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from testbed.mptcp.failure_cache import FailureCache
from testbed.mptcp.keys import KeySource
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.tokens import TokenTable
from testbed.tcp.counters import Counters
from testbed.tcp.fast_open import FastOpen
from testbed.wire.segment import SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow

EPHEMERAL_PORTS: Final = (32768, 60999)
"""First and last port of an active open without a port of its own (Linux ``ip_local_port_range``)."""

ADDRESS_IDS: Final = 255
"""Addresses of a host that have an Address ID at a time: it is one octet, and 0 is taken."""

Reach = Callable[[bytes, bytes], bool]
"""Whether packets from this local address get to that remote one."""


def same_family(local: bytes, remote: bytes) -> bool:
    """The predicate in force when the driver knows nothing of routes."""
    return len(local) == len(remote)


class NoFreePort(Exception):
    """Every ephemeral port towards that destination is taken."""


class NoAddressId(ValueError):
    """A host has at most 255 addresses: an Address ID is one octet."""


class Host:
    """Shared state of all connections of one host."""

    __slots__ = (
        "_last_address_id",
        "address_ids",
        "addresses",
        "counters",
        "failures",
        "fast_open",
        "flows",
        "key_source",
        "parameters",
        "port_range",
        "reaches",
        "rng",
        "tokens",
    )

    def __init__(
        self,
        addresses: Sequence[bytes],
        parameters: Parameters,
        rng: random.Random,
        secret: bytes,
        can_reach: Reach | None = None,
        port_range: tuple[int, int] = EPHEMERAL_PORTS,
    ) -> None:
        self.addresses = list(addresses)
        """Up now, in the order of preference."""
        self.parameters = parameters
        self.rng = rng
        self.counters = Counters()
        self.key_source = KeySource(secret, rng)
        self.tokens = TokenTable()
        self.failures = FailureCache()
        self.fast_open = FastOpen(secret)
        self.flows: dict[tuple[SocketAddress, SocketAddress], Subflow] = {}
        """(local, remote) -> subflow, from the SYN to the end of TIME_WAIT."""
        self.reaches: Reach = can_reach or same_family
        self.port_range = port_range
        self.address_ids: dict[bytes, int] = {}
        self._last_address_id = 0
        for address in addresses:
            self.address_id(address)

    # --- for the connections ---

    def isn(self, local: SocketAddress, remote: SocketAddress, now: int) -> int:
        """Initial sequence number of RFC 6528."""
        raise NotImplementedError

    def timestamp_offset(self, local: SocketAddress, remote: SocketAddress) -> int:
        """Where the timestamp clock of connections between these two hosts starts (RFC 7323 §5.4): one for all of them,
        so that a later connection's timestamps are later (RFC 6191)."""
        raise NotImplementedError

    def wake(self, connection: Connection) -> None:
        """The connection may have something to send: the host asks it when its driver next asks the host. Every user
        call does this; so does every segment and timeout that the host passes on."""
        raise NotImplementedError

    def accepted(self, connection: Connection) -> None:
        """A passive open is complete (or its Fast Open data is there): it may be handed to the user."""
        raise NotImplementedError

    def address_id(self, address: bytes) -> int:
        """Stable on this host and never 0, which is the initial subflow's (RFC 8684 §3.2).

        Raises NoAddressId when all ids belong to addresses that are up or that some connection still names.
        """
        known = self.address_ids.get(address)
        if known is None:
            known = self._unused_address_id()
            self.address_ids[address] = known
        return known

    def _unused_address_id(self) -> int:
        """Round about, so that an id means another address as late as possible: a peer that missed a REMOVE_ADDR
        would not take it (G7)."""
        if len(self.address_ids) >= ADDRESS_IDS:
            self.free_address_ids()
            if len(self.address_ids) >= ADDRESS_IDS:
                raise NoAddressId(f"all {ADDRESS_IDS} address ids are in use")
        taken = set(self.address_ids.values())
        number = self._last_address_id
        while True:
            number = number % ADDRESS_IDS + 1
            if number not in taken:
                self._last_address_id = number
                return number

    def free_address_ids(self) -> None:
        """Take the ids back from addresses that are gone and that no connection names."""

    def can_reach(self, local: bytes, remote: bytes) -> bool:
        """Same family, and a route as far as the driver knows."""
        return len(local) == len(remote) and self.reaches(local, remote)

    def address_towards(self, remote: bytes) -> bytes | None:
        """The first of our addresses that reaches it."""
        for address in self.addresses:
            if self.can_reach(address, remote):
                return address
        return None

    def bind(self, subflow: Subflow) -> None:
        """Enter it under its addresses."""
        self.flows[subflow.tcp.local, subflow.tcp.remote] = subflow

    def unbind(self, subflow: Subflow) -> None:
        """Strike it out; twice does no harm, and a successor on the same ports is left alone."""
        key = (subflow.tcp.local, subflow.tcp.remote)
        if self.flows.get(key) is subflow:
            del self.flows[key]

    def free_port(self, local: bytes, remote: SocketAddress, preferred: int | None = None) -> int:
        """A local port that makes a new pair: the preferred one if it does, else a random one (RFC 6056 §3.3.1)."""
        if preferred is not None and (SocketAddress(local, preferred), remote) not in self.flows:
            return preferred
        first, last = self.port_range
        count = last - first + 1
        start = self.rng.randrange(count)
        for step in range(count):
            port = first + (start + step) % count
            if (SocketAddress(local, port), remote) not in self.flows:
                return port
        raise NoFreePort(f"no port of {first}-{last} is free")
