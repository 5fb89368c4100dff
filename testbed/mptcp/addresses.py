"""Addresses of both ends of one connection: ids, ADD_ADDR with echo and repetition, REMOVE_ADDR (RFC 8684 §3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp.keys import add_addr_hmac, same
from testbed.wire.options import AddAddr, RemoveAddr
from testbed.wire.segment import SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow

PROBES: Final = 3
"""Keepalives sent on a subflow whose address the peer has removed, before it is reset (G10)."""


class RemoteAddress:
    """What the peer has told of one of its addresses; soft state (RFC 8684 §3.4.1)."""

    __slots__ = ("address", "address_id", "port")

    def __init__(self, address_id: int, address: bytes, port: int) -> None:
        self.address_id = address_id
        self.address = address
        self.port = port


class Announcement:
    """An ADD_ADDR of ours until it is echoed or given up."""

    __slots__ = ("attempts", "carrier", "deadline", "option")

    def __init__(self, option: AddAddr) -> None:
        self.option = option
        self.attempts = 0
        """Times that it has left."""
        self.deadline: int | None = None
        self.carrier: Subflow | None = None
        """Where it waits or left last."""


class AddressBook:
    """Local and remote addresses by id, and the signals about them."""

    __slots__ = ("announced", "connection", "given_up", "pending", "remotes", "removals")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.remotes: dict[int, RemoteAddress] = {}
        """By Address ID, an octet: at most 256 (J1)."""
        self.announced: dict[int, SocketAddress] = {}
        """What the peer has been told of ours, by id; port 0: none was given."""
        self.pending: dict[int, Announcement] = {}
        """Without echo so far."""
        self.given_up: dict[int, SocketAddress] = {}
        """What no segment has room for: the peer never learnt it, and it is not tried again."""
        self.removals: dict[int, None] = {}
        """Ids that the peer is to be told are gone, as soon as a subflow can carry that."""

    # --- ours ---

    def local_id(self, address: bytes) -> int:
        """0 for the address of the initial subflow, else the host's id for it (RFC 8684 §3.2)."""
        subflows = self.connection.subflows
        for subflow in subflows:
            if subflow.is_initial:
                if subflow.tcp.local.host == address:
                    return 0
                break
        return self.connection.host.address_id(address)

    def announce(self, address: bytes, port: int | None, carrier: Subflow | None) -> None:
        """Tell the peer of an address, on a segment of ``carrier``; again until it is echoed."""
        keys = self.connection.keys
        if keys.remote_key is None:
            return
        address_id = self.local_id(address)
        told = SocketAddress(address, port or 0)
        if self.announced.get(address_id) == told or self.given_up.get(address_id) == told:
            return
        self._take_back_removal(address_id)
        proof = add_addr_hmac(keys.local_key, keys.remote_key, address_id, address, port)
        announcement = Announcement(AddAddr(address_id, address, port, proof))
        self.announced[address_id] = told
        self.pending[address_id] = announcement
        self._send_next(carrier)

    def _send_next(self, carrier: Subflow | None) -> None:
        """Announce one address after the other: the next when the last one is echoed, or had to be repeated.

        So does Linux (``mptcp_pm_create_subflow_or_signal_addr``), which as a receiver drops an ADD_ADDR that comes
        while its worker has not seen to the one before (``MPTcpExtAddAddrDrop``).
        """
        following: Announcement | None = None
        for announcement in self.pending.values():
            if announcement.attempts <= 1 and announcement.carrier is not None:
                return
            if announcement.attempts == 0 and following is None:
                following = announcement
        if following is not None:
            self._send(following, carrier)

    def _send(self, announcement: Announcement, carrier: Subflow | None) -> None:
        announcement.carrier = carrier
        if carrier is not None:
            carrier.signal(announcement.option)

    def withdraw(self, address: bytes, carrier: Subflow | None) -> bool:
        """The address is gone: REMOVE_ADDR for it if the peer knows it (G9). Whether one was sent."""
        address_id = self.local_id(address)
        self.given_up.pop(address_id, None)
        announcement = self.pending.pop(address_id, None)
        if announcement is not None and announcement.carrier is not None:
            self._take_back(announcement)
            self._send_next(carrier)
        known = self.announced.pop(address_id, None) is not None or any(
            subflow.local_id == address_id for subflow in self.connection.subflows
        )
        if not known:
            return False
        self.removals[address_id] = None
        if carrier is None:
            return False
        self.send_removals(carrier)
        return True

    def send_removals(self, carrier: Subflow) -> None:
        """REMOVE_ADDR for what could not be withdrawn so far."""
        for address_id in self.removals:
            carrier.signal(RemoveAddr((address_id,)))
        self.removals.clear()

    def names(self, address_id: int) -> bool:
        """Whether this id of ours still means something on this connection, to us or to the peer."""
        return (
            address_id in self.announced
            or address_id in self.removals
            or any(
                subflow.local_id == address_id
                or any(
                    isinstance(option, RemoveAddr) and address_id in option.address_ids for option in subflow.signals
                )
                for subflow in self.connection.subflows
            )
        )

    def _take_back_removal(self, address_id: int) -> None:
        """The address is back before the peer was told: a REMOVE_ADDR that waits would leave after the ADD_ADDR."""
        self.removals.pop(address_id, None)
        removal = RemoveAddr((address_id,))
        for subflow in self.connection.subflows:
            if removal in subflow.signals:
                subflow.signals.remove(removal)

    def _take_back(self, announcement: Announcement) -> None:
        carrier = announcement.carrier
        if carrier is not None and announcement.option in carrier.signals:
            carrier.signals.remove(announcement.option)

    def add_addr_left(self, subflow: Subflow, option: AddAddr, now: int) -> None:
        """An ADD_ADDR of ours is on its way: the wait for its echo begins.

        As Linux: an RTO, at most the configured time, doubled with each repetition
        (``mptcp_adjust_add_addr_timeout``).
        """
        announcement = self.pending.get(option.address_id)
        if announcement is None or announcement.option != option:
            return
        wait = min(self.connection.parameters.add_addr_timeout_ns, subflow.tcp.rto)
        announcement.deadline = now + (wait << announcement.attempts)
        announcement.attempts += 1
        if announcement.attempts == 2:
            self._send_next(subflow)

    def add_addr_never_fits(self, option: AddAddr) -> None:
        """No segment has room for it beside the timestamps: given up at once, as Linux does, and never withdrawn unless
        the peer has learnt it in an earlier packet."""
        announcement = self.pending.get(option.address_id)
        if announcement is None or announcement.option != option:
            return
        del self.pending[option.address_id]
        if not announcement.attempts:
            self.given_up[option.address_id] = self.announced.pop(option.address_id)
        self._send_next(self.connection.signalling.carrier())

    def next_timeout(self) -> int | None:
        """When an echo is overdue."""
        first: int | None = None
        for announcement in self.pending.values():
            deadline = announcement.deadline
            if deadline is not None and (first is None or deadline < first):
                first = deadline
        return first

    def handle_timeout(self, carrier: Subflow | None, now: int) -> None:
        """Repeat what was not echoed, a few times (G5)."""
        for announcement in list(self.pending.values()):
            if announcement.deadline is None or announcement.deadline > now:
                continue
            announcement.deadline = None
            if announcement.attempts > self.connection.parameters.add_addr_attempts:
                del self.pending[announcement.option.address_id]
                self._send_next(carrier)
            else:
                self._send(announcement, carrier)

    def carrier_closed(self, subflow: Subflow, carrier: Subflow | None) -> None:
        """What waited on a subflow that is gone leaves on another one."""
        for option in subflow.signals:
            if isinstance(option, RemoveAddr):
                self.removals.update(dict.fromkeys(option.address_ids))
        if carrier is not None:
            self.send_removals(carrier)
        for announcement in self.pending.values():
            if announcement.carrier is subflow and announcement.deadline is None:
                self._send(announcement, carrier)
        self._send_next(carrier)

    # --- the peer's ---

    def add_addr_arrived(self, subflow: Subflow, option: AddAddr) -> RemoteAddress | None:
        """An ADD_ADDR from a segment that TCP has accepted (A3). The address if it is fresh or refreshed, else None."""
        counters = self.connection.counters
        if option.echo:
            counters.add("MPTcpExtEchoAdd")
            announcement = self.pending.get(option.address_id)
            if announcement is not None and _same_address(announcement.option, option):
                self._take_back(announcement)
                del self.pending[option.address_id]
                self._send_next(self.connection.signalling.carrier())
            return None
        keys = self.connection.keys
        assert keys.remote_key is not None, "options are read after the handshake"
        expected = add_addr_hmac(keys.remote_key, keys.local_key, option.address_id, option.address, option.port)
        if not same(option.hmac, expected):
            return None  # G4: silently
        counters.add("MPTcpExtAddAddr")
        if option.port is not None:
            counters.add("MPTcpExtPortAdd")
        port = subflow.tcp.remote.port if option.port is None else option.port  # G3
        known = self.remotes.get(option.address_id)
        if known is not None and known.address != option.address:
            return None  # G7: an id in use keeps its address; to be replaced it must be removed first
        if option.address_id == 0:
            return None  # the initial subflow's: known since the handshake, by definition
        if not subflow.signal(AddAddr(option.address_id, option.address, option.port)):
            counters.add("MPTcpExtEchoAddTxDrop")
        if known is None:
            if len(self.remotes) >= self.connection.parameters.add_addr_accepted_limit:
                counters.add("MPTcpExtAddAddrDrop")
                return None
            known = RemoteAddress(option.address_id, option.address, port)
            self.remotes[option.address_id] = known
        known.port = port
        return known

    def remove_addr_arrived(self, option: RemoveAddr, now: int) -> list[RemoteAddress]:
        """A REMOVE_ADDR: forget these ids, probe the subflows to them (G10). Unknown ids are ignored (G11)."""
        counters = self.connection.counters
        counters.add("MPTcpExtRmAddr")
        gone: list[RemoteAddress] = []
        for address_id in option.address_ids:
            known = self.remotes.pop(address_id, None)
            if known is not None:
                gone.append(known)
            for subflow in self.connection.subflows:
                if subflow.remote_id == address_id and subflow.probe_deadline is None:
                    probe(subflow, now)
        return gone


def probe(subflow: Subflow, now: int) -> None:
    """A keepalive on a subflow that the peer says is gone; whatever arrives on it shows that it is not."""
    subflow.probes += 1
    subflow.settled = False
    subflow.probe_deadline = now + (subflow.tcp.rto << (subflow.probes - 1))
    subflow.tcp.probe(now)


def _same_address(one: AddAddr, other: AddAddr) -> bool:
    return one.address == other.address and one.port == other.port
