"""What a user may ask of an MPTCP connection at once: STATUS of RFC 9293 §3.9.1.7 with both levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.mptcp.closing import DataState
from testbed.tcp.connection import Status as TcpStatus
from testbed.tcp.state import Failure
from testbed.wire.segment import SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SubflowStatus:
    """One subflow."""

    local: SocketAddress
    remote: SocketAddress
    local_id: int
    remote_id: int
    backup: bool
    stale: bool
    sent_octets: int
    """Payload given to the network once (without retransmissions)."""
    received_octets: int
    right_edge: int
    """DATA_ACK + window as this subflow last announced it (W6)."""
    tcp: TcpStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The connection."""

    state: DataState
    fallen_back: bool
    error: Failure
    checksum: bool
    snd_una: int
    snd_nxt: int
    rcv_nxt: int
    unsent: int
    unacknowledged: int
    held: int
    """Octets in the send buffer: not free at both levels yet (D17)."""
    unread: int
    out_of_order: int
    """Octets that wait for a hole in the data sequence space."""
    subflows: tuple[SubflowStatus, ...]


def status_of(connection: Connection) -> Status:
    """Look once."""
    send = connection.send_queue
    receive = connection.receive_queue
    subflows = tuple(
        SubflowStatus(
            local=subflow.tcp.local,
            remote=subflow.tcp.remote,
            local_id=subflow.local_id,
            remote_id=subflow.remote_id,
            backup=subflow.backup,
            stale=subflow.is_stale,
            sent_octets=max(subflow.tcp.snd_nxt - 1, 0),
            received_octets=max(subflow.tcp.rcv_nxt - 1, 0),
            right_edge=subflow.send_edge,
            tcp=subflow.tcp.status(),
        )
        for subflow in connection.subflows
    )
    return Status(
        state=connection.closing.state,
        fallen_back=connection.fallen_back,
        error=connection.error,
        checksum=connection.checksum,
        snd_una=send.snd_una,
        snd_nxt=send.snd_nxt,
        rcv_nxt=receive.rcv_nxt,
        unsent=send.unsent_octets,
        unacknowledged=send.snd_nxt - send.snd_una,
        held=send.held,
        unread=receive.ready_octets,
        out_of_order=receive.out_of_order_octets,
        subflows=subflows,
    )
