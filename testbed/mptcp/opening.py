"""Further subflows of one connection: which are missing, when they may be opened, which are not to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp.path_manager.base import Pair, PathManager, PathView
from testbed.wire.segment import SocketAddress

RETRY_NS: Final = 1_000_000_000
"""Wait before a path that was lost for the moment (T flag) is tried again; doubled with each loss."""
RETRIES: Final = 5
PAIRS_LIMIT: Final = 256
"""Pairs that are remembered as failed, and as lost for the moment. The peer chooses their remote ends: beyond this the
oldest is forgotten, and counted."""

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow


class SubflowOpener:
    """Compares what the path manager wants with what is there; bounds number and rate (RFC 8684 §3.9.2, J12)."""

    __slots__ = ("connection", "failed", "losses", "may_open", "not_before", "refused_remotes", "waiting")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.may_open = False
        """A DSS has arrived (B15) and MPTCP is still spoken."""
        self.not_before = 0
        """No opening before this time."""
        self.waiting: list[Pair] = []
        """To be opened, in this order."""
        self.failed: dict[Pair, None] = {}
        """Tried in vain, or lost for good: not again (J9, I5) unless the address is announced or comes up anew. The
        oldest first."""
        self.losses: dict[Pair, int] = {}
        """How often each was lost for the moment."""
        self.refused_remotes: dict[SocketAddress, None] = {}
        """Remote addresses that take no further subflows: C flag (B18), REMOVE_ADDR of the first one."""

    def allow(self, now: int) -> None:
        """The first DSS has arrived: from now on, after the delay (J11, J12)."""
        if self.may_open:
            return
        self.may_open = True
        parameters = self.connection.parameters
        delay = parameters.subflow_delay_ns
        if parameters.subflow_jitter_ns:
            delay += self.connection.host.rng.randrange(parameters.subflow_jitter_ns + 1)
        self.not_before = now + delay

    def plan(self, manager: PathManager, view: PathView) -> None:
        """Work out what is missing now; :meth:`due` hands it out when its time has come."""
        self.waiting = []
        if not self.may_open:
            return
        wanted = manager.wanted(view)
        present = self._present()
        if wanted and view.is_client and self._initial_is_gone() and view.initial not in wanted:
            wanted.append(view.initial)
        for pair in wanted:
            if present.get(pair, 0) > 0:
                present[pair] -= 1
            elif self._may_try(pair, view):
                self.waiting.append(pair)

    def _present(self) -> dict[Pair, int]:
        """How many live subflows use each pair; the first one counts for nobody's wish."""
        present: dict[Pair, int] = {}
        for subflow in self.connection.subflows:
            if not subflow.is_initial and not subflow.is_over():
                pair = Pair(subflow.tcp.local.host, subflow.tcp.remote)
                present[pair] = present.get(pair, 0) + 1
        return present

    def _initial_is_gone(self) -> bool:
        return not any(subflow.is_initial and not subflow.is_over() for subflow in self.connection.subflows)

    def _may_try(self, pair: Pair, view: PathView) -> bool:
        return (
            pair not in self.failed
            and pair.remote not in self.refused_remotes
            and pair.local in view.local_addresses
            and view.can_reach(pair.local, pair.remote.host)
        )

    def due(self, now: int) -> Pair | None:
        """The next pair to be opened now, if its time has come and the limit allows one more."""
        if not self.waiting or now < self.not_before or not self.has_room() or not self._data_asks_for_it():
            return None
        self.not_before = now + self.connection.parameters.subflow_interval_ns
        return self.waiting.pop(0)

    def has_room(self) -> bool:
        """Fewer live subflows than the limit; half-open ones count."""
        live = sum(not subflow.is_over() for subflow in self.connection.subflows)
        return live < self.connection.parameters.subflows_limit

    def next_timeout(self) -> int | None:
        """When the next opening may take place."""
        return self.not_before if self.waiting and self.has_room() and self._data_asks_for_it() else None

    def _data_asks_for_it(self) -> bool:
        """Enough waits to be sent for one more subflow; asked again when the user gives more."""
        connection = self.connection
        threshold = connection.parameters.subflow_buffered_octets
        if not threshold:
            return True
        further = sum(not subflow.is_initial and not subflow.is_over() for subflow in connection.subflows)
        return connection.send_queue.unsent_octets >= threshold * (further + 1)

    def lost(self, subflow: Subflow, now: int) -> None:
        """A subflow is over. Its pair is not tried again, unless the reset said that the cause will pass (T, I5)."""
        pair = Pair(subflow.tcp.local.host, subflow.tcp.remote)
        losses = self.losses.get(pair, 0)
        if subflow.is_transient_loss() and losses < RETRIES:
            self.losses[pair] = losses + 1
            self.not_before = max(self.not_before, now + (RETRY_NS << losses))
            if len(self.losses) > PAIRS_LIMIT:
                del self.losses[next(iter(self.losses))]
                self.connection.counters.add("TestbedPathsForgotten")
        else:
            self.has_failed(pair)

    def has_failed(self, pair: Pair) -> None:
        """Not to be tried again."""
        self.failed[pair] = None
        if len(self.failed) > PAIRS_LIMIT:
            del self.failed[next(iter(self.failed))]
            self.connection.counters.add("TestbedPathsForgotten")

    def forget_remote(self, address: bytes) -> None:
        """Announced (again): what failed towards it may be tried once more (J9, G6). Removed: nothing is tried anyway,
        and who announces one address after the other is not to fill our memory."""
        self.failed = {pair: None for pair in self.failed if pair.remote.host != address}
        self.losses = {pair: count for pair, count in self.losses.items() if pair.remote.host != address}

    def forget_local(self, address: bytes) -> None:
        """A local address came up, or went: likewise."""
        self.failed = {pair: None for pair in self.failed if pair.local != address}
        self.losses = {pair: count for pair, count in self.losses.items() if pair.local != address}
