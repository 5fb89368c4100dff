"""A connection of our own stack in the words of struct tcp_info and struct mptcp_info: the same columns, one source.

Fields that the stack does not keep are None, as those that an older kernel does not know.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from testbed.endpoint.kernel_state import ConnectionState, Endpoints, SubflowState
from testbed.endpoint.parameters import Endpoint
from testbed.endpoint.subflow_flags import BACKUP_LOCAL, BACKUP_REMOTE, FULLY_ESTABLISHED
from testbed.endpoint.tcp_info import (
    FLAG_FALLBACK,
    FLAG_REMOTE_KEY_RECEIVED,
    TCP_CLOSE,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
    UNITS_OF_MPTCP_INFO,
    UNITS_OF_TCP_INFO,
    Info,
)
from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.subflow import Subflow
from testbed.tcp.connection import Connection as TcpConnection
from testbed.tcp.state import State
from testbed.wire.segment import SocketAddress

KERNEL_STATES: Mapping[State, int] = {
    State.CLOSED: TCP_CLOSE,
    State.LISTEN: 10,
    State.SYN_SENT: TCP_SYN_SENT,
    State.SYN_RECEIVED: TCP_SYN_RECV,
    State.ESTABLISHED: 1,
    State.FIN_WAIT_1: 4,
    State.FIN_WAIT_2: 5,
    State.CLOSE_WAIT: 8,
    State.CLOSING: 11,
    State.LAST_ACK: 9,
    State.TIME_WAIT: 6,
}
"""include/net/tcp_states.h."""

_NO_TCP_INFO: Mapping[str, int | None] = dict.fromkeys(UNITS_OF_TCP_INFO)
_NO_MPTCP_INFO: Mapping[str, int | None] = dict.fromkeys(UNITS_OF_MPTCP_INFO)


def read_connection(connection: Connection, plain_tcp: bool) -> ConnectionState:
    """What there is to say of it now; ``plain_tcp``: it never asked for MPTCP. Raises nothing."""
    subflows = tuple(
        SubflowState(subflow.number, endpoints_of(subflow.tcp), tcp_info(subflow.tcp))
        for subflow in connection.subflows
    )
    return ConnectionState("userspace", None if plain_tcp else mptcp_info(connection), subflows)


def flags_of(connection: Connection) -> Mapping[Endpoints, int]:
    """MPTCP_SUBFLOW_FLAG_* of each subflow."""
    return {endpoints_of(subflow.tcp): _flags(subflow) for subflow in connection.subflows}


def endpoints_of(tcp: TcpConnection) -> Endpoints:
    """Addresses as text, and ports."""
    return (*_readable(tcp.local), *_readable(tcp.remote))


def tcp_info(tcp: TcpConnection) -> Info:
    """Of one TCP connection, in the units of ``tcp_info.py``."""
    recovery = tcp.recovery
    queue = recovery.queue
    mss = max(1, tcp.payload_mss)
    sent = max(0, min(tcp.snd_nxt, tcp.snd_end) - 1)
    return {
        **_NO_TCP_INFO,
        "state": KERNEL_STATES[tcp.state],
        "backoff": recovery.backoff,
        "retransmits": recovery.timeouts,
        "rto": tcp.rto,
        "rtt": tcp.srtt or None,
        "rttvar": tcp.rttvar or None,
        "snd_mss": tcp.payload_mss,
        "rcv_mss": tcp.rcv_mss,
        "unacked": -(-tcp.flight // mss),
        "sacked": -(-queue.sacked // mss),
        "lost": -(-queue.lost // mss),
        "retrans": -(-queue.retransmitted // mss),
        "snd_cwnd": tcp.cwnd // mss,
        "snd_ssthresh": tcp.congestion.ssthresh // mss if tcp.congestion.ssthresh < 1 << 30 else None,
        "total_retrans": recovery.retransmitted_segments,
        "bytes_retrans": recovery.retransmitted_octets,
        "bytes_sent": sent + recovery.retransmitted_octets,
        "bytes_acked": max(0, min(tcp.snd_una, tcp.snd_end) - 1),
        "bytes_received": max(0, tcp.rcv_nxt - 1 - tcp.peer_closed),
        "notsent_bytes": max(0, tcp.snd_end - max(1, tcp.snd_nxt)),
        "snd_wnd": tcp.snd_wnd,
        "rcv_wnd": max(0, tcp.rcv_adv - tcp.rcv_nxt),
    }


def mptcp_info(connection: Connection) -> Info:
    """Of an MPTCP connection, fallen back or not."""
    subflows = [subflow for subflow in connection.subflows if subflow.may_send_data]
    flags = FLAG_FALLBACK if connection.fallen_back else 0
    if connection.keys.remote_key is not None:
        flags |= FLAG_REMOTE_KEY_RECEIVED
    return {
        **_NO_MPTCP_INFO,
        "subflows": sum(not subflow.is_initial for subflow in subflows),
        "subflows_total": len(subflows),
        "flags": flags,
        "csum_enabled": int(connection.checksum),
    }


def options_in_force(
    connection: Connection, endpoint: Endpoint, parameters: Parameters
) -> Mapping[str, str | int | bool | None]:
    """What the connection runs with; the negotiated options are those of the first subflow."""
    tcp = connection.subflows[0].tcp if connection.subflows else None
    return {
        "mptcp_socket": not endpoint.is_plain_tcp,
        "profile": endpoint.profile,
        "receiver": endpoint.receiver,
        "policies": " ".join(endpoint.policies) or None,
        "congestion_control": parameters.congestion_control,
        "scheduler": None if endpoint.is_plain_tcp else parameters.scheduler,
        "nodelay": endpoint.nodelay,
        "send_buffer_bytes": parameters.send_buffer,
        "receive_buffer_bytes": parameters.receive_buffer,
        "negotiated_checksum": None if endpoint.is_plain_tcp else connection.checksum,
        "negotiated_timestamps": tcp.timestamps_on if tcp is not None else None,
        "negotiated_sack": tcp.sack_on if tcp is not None else None,
        "negotiated_window_scaling": bool(tcp.snd_shift or tcp.rcv_shift) if tcp is not None else None,
        "negotiated_ecn": tcp.ecn.on if tcp is not None else None,
    }


def _flags(subflow: Subflow) -> int:
    flags = FULLY_ESTABLISHED if subflow.may_send_data else 0
    flags |= BACKUP_LOCAL if subflow.backup_local else 0
    return flags | (BACKUP_REMOTE if subflow.backup_remote else 0)


def _readable(address: SocketAddress) -> tuple[str, int]:
    family = socket.AF_INET6 if len(address.host) == 16 else socket.AF_INET
    return socket.inet_ntop(family, address.host), address.port
