"""One host's TCP and MPTCP: listeners, connections, which segment is whose, what answers the rest. What drivers see.

Drivers pass segments and the time in, and after every call fetch :meth:`Stack.segments_to_send` and ask
:meth:`Stack.next_timeout`. Each segment carries its source address: it leaves by the interface that has it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from hashlib import sha256

from testbed.mptcp import resets
from testbed.mptcp.closing import M_CLOSED
from testbed.mptcp.connection import Connection
from testbed.mptcp.host import EPHEMERAL_PORTS, Host, NoAddressId, Reach
from testbed.mptcp.join import join_of
from testbed.mptcp.listener import Listener
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.subflow import Subflow
from testbed.mptcp.subflow_start import accept_initial, accept_join, open_initial
from testbed.tcp.icmp import Icmp
from testbed.tcp.isn import initial_sequence_number, timestamp_offset
from testbed.tcp.state import TIME_WAIT
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress


class AddressInUse(Exception):
    """Another listener has the port, or another connection the pair of addresses."""


class NoRoute(Exception):
    """None of the host's addresses reaches the destination."""


class Stack(Host):
    """A host. All times are ns of one clock that never goes back."""

    __slots__ = ("_answers", "_deadlines", "_listeners", "_owners", "_ready", "_secret", "_serial", "_timers")

    def __init__(
        self,
        addresses: Sequence[bytes],
        parameters: Parameters,
        rng: random.Random,
        secret: bytes = b"",
        can_reach: Reach | None = None,
        port_range: tuple[int, int] = EPHEMERAL_PORTS,
    ) -> None:
        self._secret = secret or sha256(rng.getrandbits(256).to_bytes(32, "big")).digest()
        super().__init__(addresses, parameters, rng, self._secret, can_reach, port_range)
        self._listeners: dict[int, Listener] = {}
        self._answers: list[Segment] = []
        """Resets that belong to no connection."""
        self._ready: dict[Connection, None] = {}
        """Connections that may have something to send, in the order of waking."""
        self._owners: dict[Connection, Listener | None] = {}
        """Every connection, and the listener that made it."""
        self._timers: list[tuple[int, int, Connection]] = []
        """Heap of (time, serial, connection). An entry is a promise to look, not the timer: it may be early."""
        self._deadlines: dict[Connection, int] = {}
        """Earliest entry of each connection in the heap."""
        self._serial = 0

    # --- user calls ---

    def listen(self, port: int, parameters: Parameters | None = None) -> Listener:
        """Passive open on every address. Raises AddressInUse."""
        known = self._listeners.get(port)
        if known is not None and not known.is_closed:
            raise AddressInUse(f"port {port} has a listener")
        listener = Listener(port, parameters or self.parameters)
        self._listeners[port] = listener
        return listener

    def connect(
        self,
        remote: SocketAddress,
        now: int,
        local: SocketAddress | None = None,
        parameters: Parameters | None = None,
    ) -> Connection:
        """Active open: the SYN is due. Port 0 or no ``local``: chosen here.

        Raises NoRoute, NoFreePort, AddressInUse.
        """
        address = local.host if local is not None else self.address_towards(remote.host)
        if address is None:
            raise NoRoute(f"no local address reaches {remote.host.hex()}")
        port = local.port if local is not None else 0
        own = SocketAddress(address, port or self.free_port(address, remote))
        if (own, remote) in self.flows:
            raise AddressInUse(f"port {own.port} is in use towards that destination")
        connection = self._connection(parameters or self.parameters, True, own, now)
        self._owners[connection] = None
        open_initial(connection.signalling, own, remote, now)
        return connection

    def _connection(self, parameters: Parameters, is_client: bool, local: SocketAddress, now: int) -> Connection:
        return Connection(self, parameters, is_client, self.key_source.unique_key_pair(self.tokens), local, now)

    @property
    def connections(self) -> list[Connection]:
        """All that are not closed, oldest first; TIME_WAIT included."""
        return list(self._owners)

    def add_address(self, address: bytes, now: int) -> None:
        """An interface has come up with it: path managers may use and announce it. Not, and counted, when there is no
        Address ID left for it."""
        if address in self.addresses:
            return
        try:
            self.address_id(address)
        except NoAddressId:
            self.counters.add("TestbedAddressesWithoutId")
            return
        self.addresses.append(address)
        for connection in list(self._owners):
            connection.signalling.local_address_up(address, now)
            self.wake(connection)

    def remove_address(self, address: bytes, now: int) -> None:
        """The interface that had it is gone: its subflows end, peers are told with REMOVE_ADDR (G9)."""
        if address not in self.addresses:
            return
        self.addresses.remove(address)
        for connection in list(self._owners):
            connection.signalling.local_address_down(address, now)
            self.wake(connection)

    # --- Host ---

    def free_address_ids(self) -> None:
        """See :meth:`Host.free_address_ids`."""
        for address, address_id in list(self.address_ids.items()):
            if address not in self.addresses and not any(
                connection.signalling.book.names(address_id) for connection in self._owners
            ):
                del self.address_ids[address]

    def isn(self, local: SocketAddress, remote: SocketAddress, now: int) -> int:
        """RFC 6528, also for each further subflow (A4)."""
        return initial_sequence_number(local, remote, self._secret, now)

    def timestamp_offset(self, local: SocketAddress, remote: SocketAddress) -> int:
        """See :meth:`Host.timestamp_offset`."""
        return timestamp_offset(local, remote, self._secret)

    def wake(self, connection: Connection) -> None:
        """See :meth:`Host.wake`."""
        self._ready[connection] = None

    def accepted(self, connection: Connection) -> None:
        """See :meth:`Host.accepted`."""
        listener = self._owners.get(connection)
        if listener is not None:
            listener.complete(connection)

    # --- drivers ---

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A segment for this host, its checksum verified."""
        subflow = self.flows.get((segment.destination, segment.source))
        if subflow is None:
            self._stranger_arrives(segment, now)
            return
        if not subflow.settled and self._is_to_be_dropped(subflow, segment):
            return
        connection = subflow.connection
        if segment.flags & SYN and subflow.tcp.state is TIME_WAIT and self._is_reopened(subflow, segment, now):
            self._stranger_arrives(segment, now)
            return
        connection.segment_arrives(subflow, segment, now)
        self._ready[connection] = None

    def icmp_arrives(self, local: SocketAddress, remote: SocketAddress, message: Icmp, now: int) -> None:
        """ICMP that quotes a packet of ours from ``local`` to ``remote``: path MTU, soft and hard errors. Ignored for a
        flow that is not here."""
        subflow = self.flows.get((local, remote))
        if subflow is None:
            self.counters.add("TcpExtOutOfWindowIcmps")
            return
        subflow.tcp.icmp_arrives(message, now)
        subflow.is_due = True
        subflow.connection.handle_timeout(now)
        self._ready[subflow.connection] = None

    def _is_to_be_dropped(self, subflow: Subflow, segment: Segment) -> bool:
        """Segments that would end a handshake too early: before the peer's key (B12), or with nobody to take it."""
        if subflow.premature(segment):
            return True
        listener = self._owners.get(subflow.connection)
        if listener is None or segment.flags & (SYN | RST) or listener.has_room_for_connection():
            return False
        if not listener.is_half_open(subflow.connection):
            return False
        self.counters.add("TcpExtListenOverflows")
        self.counters.add("TcpExtListenDrops")
        return True

    def _is_reopened(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """Whether a SYN may end TIME_WAIT (RFC 9293 §3.6.1 with RFC 6191): then the addresses are free at once, while
        the old subflow's connection, which may have others, lives out its time."""
        if segment.flags & (ACK | RST) or not subflow.tcp.may_be_reused_by(segment, now):
            return False
        self.counters.add("TcpExtTWRecycled")
        self.unbind(subflow)
        return True

    def _stranger_arrives(self, segment: Segment, now: int) -> None:
        """No subflow has these addresses: a SYN that opens or joins, or something to be reset."""
        flags = segment.flags
        if flags & RST:
            return
        if flags & (SYN | ACK | FIN) != SYN:
            self._refuse(segment, None)
            return
        join = join_of(segment.mptcp)
        if join is not None and join.token is not None:
            self.counters.add("MPTcpExtMPJoinSynRx")
            if join.backup:
                self.counters.add("MPTcpExtMPJoinSynBackupRx")
            connection = self.tokens.find(join.token)
            if connection is None:
                self.counters.add("MPTcpExtMPJoinNoTokenFound")
                self._refuse(segment, resets.MPTCP_SPECIFIC)
                return
            reason = accept_join(connection.signalling, segment, join, now)
            if reason is not None:
                self.counters.add("MPTcpExtMPJoinRejected")
                self._refuse(segment, reason)
                return
            self.wake(connection)
            return
        listener = self._listeners.get(segment.destination.port)
        if listener is None or listener.is_closed:
            self._refuse(segment, None)
        elif not listener.has_room_for_syn() or not listener.has_room_for_connection():
            self.counters.add("TcpExtListenDrops")  # no answer: the peer's SYN comes again
        else:
            self._accept(listener, segment, now)

    def _accept(self, listener: Listener, segment: Segment, now: int) -> None:
        connection = self._connection(listener.parameters, False, segment.destination, now)
        self._owners[connection] = listener
        listener.begin(connection)
        accept_initial(connection.signalling, segment, now)
        self.wake(connection)

    def _refuse(self, segment: Segment, reason: int | None) -> None:
        if reason is not None:
            self.counters.add("MPTcpExtMPRstTx")
        self.counters.add("TcpOutRsts")
        self._answers.append(resets.answer_with_reset(segment, reason))

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now, in order. To be called after every other call, and when a driver that could
        not send everything can again."""
        ready = self._ready
        if len(ready) == 1 and not self._answers:
            return self._segments_of(ready.popitem()[0], now)  # the usual case; the dict keeps its table
        segments = self._answers
        self._answers = []
        waiting = list(ready)
        ready.clear()
        for connection in waiting:
            segments += self._segments_of(connection, now)
        return segments

    def _segments_of(self, connection: Connection, now: int) -> list[Segment]:
        """What one connection has to send; it is asked then when it wants to be waked."""
        if connection not in self._owners:
            return []
        segments = connection.segments_to_send(now)
        if connection.closing.state is M_CLOSED and connection.is_closed:
            self._forget(connection)
            return segments
        deadline = connection.next_timeout()
        if deadline is not None:
            known = self._deadlines.get(connection)
            if known is None or deadline < known:
                self._schedule(connection, deadline)
        return segments

    def _forget(self, connection: Connection) -> None:
        """The connection is closed: everything of the host that names it."""
        listener = self._owners.pop(connection, None)
        if listener is not None:
            listener.abandon(connection)
        for subflow in list(connection.subflows):
            self.unbind(subflow)
        self.tokens.release(connection.keys.local_token, connection)
        self._deadlines.pop(connection, None)
        self._ready.pop(connection, None)

    # --- timers ---

    def _schedule(self, connection: Connection, deadline: int) -> None:
        """An entry in the heap, earlier than the connection's other ones."""
        self._deadlines[connection] = deadline
        self._serial += 1
        heapq.heappush(self._timers, (deadline, self._serial, connection))

    def next_timeout(self) -> int | None:
        """When to call :meth:`handle_timeout` next. May be early: a timer that was put off is looked at when it was
        first due."""
        timers = self._timers
        while timers:
            deadline, _, connection = timers[0]
            if self._deadlines.get(connection) == deadline:
                return deadline
            heapq.heappop(timers)  # of a connection that is gone, or superseded by an earlier one
        return None

    def handle_timeout(self, now: int) -> None:
        """Work on every timer that is due."""
        while (deadline := self.next_timeout()) is not None and deadline <= now:
            connection = heapq.heappop(self._timers)[2]
            del self._deadlines[connection]
            due = connection.next_timeout()
            if due is not None and due <= now:
                connection.handle_timeout(now)
                self._ready[connection] = None
            if connection.is_closed:
                self._ready[connection] = None
            elif connection not in self._ready and due is not None:
                self._schedule(connection, due)
