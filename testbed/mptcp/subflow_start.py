"""Subflows begin: MP_CAPABLE or MP_JOIN, opened here or by the peer (RFC 8684 §3.1, §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp import handshake, resets
from testbed.mptcp.fast_open import take_syn_data
from testbed.mptcp.host import NoAddressId
from testbed.mptcp.join import JoinState
from testbed.mptcp.option_space import SubflowOptions
from testbed.mptcp.path_manager.base import Pair
from testbed.mptcp.subflow import Subflow
from testbed.tcp.connection import Connection as TcpConnection
from testbed.wire.options import MpCapable, MpJoin
from testbed.wire.segment import Segment, SocketAddress

if TYPE_CHECKING:
    from testbed.mptcp.signalling import Signalling


def open_initial(signalling: Signalling, local: SocketAddress, remote: SocketAddress, now: int) -> Subflow:
    """Active open: the SYN with MP_CAPABLE is due."""
    subflow = Subflow(signalling.connection, is_client=True, is_initial=True, local_id=0, remote_id=0)
    _attach(signalling, subflow, local, remote, now)
    _begin_plain_if_told(signalling, subflow, now)
    subflow.tcp.open(now)
    return subflow


def _begin_plain_if_told(signalling: Signalling, subflow: Subflow, now: int) -> None:
    """No MP_CAPABLE at all: switched off, a peer known to drop it, or no free token (B21)."""
    connection = signalling.connection
    if not connection.parameters.enabled:
        connection.fall_back("", now)
    elif signalling.host.failures.advises_against(subflow.tcp.remote.host, now):
        connection.fall_back("MPTcpExtMPCapableSYNTXDisabled", now)
    elif not signalling.host.tokens.claim(connection.keys.local_token, connection):
        connection.fall_back("MPTcpExtMPFallbackTokenInit", now)


def accept_initial(signalling: Signalling, segment: Segment, now: int) -> Subflow:
    """Passive open: a listener's SYN; the SYN/ACK is due, with MP_CAPABLE if the SYN had one that we can answer."""
    connection = signalling.connection
    subflow = Subflow(connection, is_client=False, is_initial=True, local_id=0, remote_id=0)
    _attach(signalling, subflow, segment.destination, segment.source, now)
    option = handshake.capable_of(segment.mptcp)
    if option is not None:
        connection.counters.add("MPTcpExtMPCapableSYNRX")
    if option is None or not connection.parameters.enabled or not _take_offer(signalling, option):
        connection.fall_back("", now)
    subflow.tcp.accept_syn(segment, now)
    if take_syn_data(connection, subflow, now):
        signalling.host.accepted(connection)
    return subflow


def _take_offer(signalling: Signalling, option: MpCapable) -> bool:
    connection = signalling.connection
    if not handshake.offer_is_usable(option, connection.parameters):
        return False
    if not signalling.host.tokens.claim(connection.keys.local_token, connection):
        connection.counters.add("MPTcpExtMPFallbackTokenInit")
        return False
    connection.checksum = connection.parameters.checksum or handshake.checksum_asked(option)
    mind_refusal(signalling, option)
    return True


def open_subflow(
    signalling: Signalling, local: bytes, remote: SocketAddress, now: int, backup: bool = False
) -> Subflow:
    """MP_JOIN from one of our addresses; the port is the first subflow's where that makes a new pair (J10).

    Raises NoFreePort.
    """
    connection = signalling.connection
    preferred = connection.local.port if local != connection.local.host else None
    port = signalling.host.free_port(local, remote, preferred)
    subflow = Subflow(
        connection,
        is_client=True,
        is_initial=False,
        local_id=signalling.book.local_id(local),
        remote_id=-1,
    )
    subflow.join = JoinState(signalling.host.key_source.nonce())
    subflow.backup_local = backup
    subflow.set_backup()
    _attach(signalling, subflow, SocketAddress(local, port), remote, now)
    subflow.tcp.open(now)
    return subflow


def accept_join(signalling: Signalling, segment: Segment, option: MpJoin, now: int) -> int | None:
    """A SYN with MP_JOIN and our token: makes the subflow, or says why not (a reason of MP_TCPRST, J4)."""
    connection = signalling.connection
    if signalling.is_stopped or connection.keys.remote_key is None or option.nonce is None:
        return resets.MPTCP_SPECIFIC
    if not connection.accepts_subflows() or not signalling.opener.has_room():
        return resets.PROHIBITED
    local = segment.destination
    try:
        local_id = signalling.book.local_id(local.host)
    except NoAddressId:
        return resets.LACK_OF_RESOURCES
    subflow = Subflow(
        connection,
        is_client=False,
        is_initial=False,
        local_id=local_id,
        remote_id=option.address_id,
    )
    join = JoinState(signalling.host.key_source.nonce())
    join.remote_nonce = option.nonce
    subflow.join = join
    subflow.backup_remote = option.backup
    subflow.backup_local = signalling.path_manager.is_backup(signalling.path_view(), local.host)
    subflow.set_backup()
    _attach(signalling, subflow, local, segment.source, now)
    subflow.tcp.accept_syn(segment, now)
    if local.port != connection.local.port:
        connection.counters.add("MPTcpExtMPJoinPortSynRx")
    return None


def _attach(signalling: Signalling, subflow: Subflow, local: SocketAddress, remote: SocketAddress, now: int) -> None:
    """Give it its TCP with the three things that MPTCP plugs into it (seam.py), and enter it everywhere."""
    connection = signalling.connection
    parameters = connection.parameters
    subflow.option_policy = SubflowOptions(subflow, parameters.options, connection.ledger, subflow.number)
    subflow.tcp = TcpConnection(
        local,
        remote,
        parameters.tcp,
        signalling.host.rng,
        isn=signalling.host.isn(local, remote, now),
        counters=connection.counters,
        options=subflow.option_policy,
        window=connection.window_source(subflow),
        congestion=connection.congestion_controller(),
        fast_open=signalling.host.fast_open if subflow.is_initial else None,
        timestamp_offset=signalling.host.timestamp_offset(local, remote),
    )
    if subflow.is_initial:
        signalling.initial = Pair(local.host, remote)
    connection.subflows.append(subflow)
    signalling.host.bind(subflow)
    signalling.host.wake(connection)


def mind_refusal(signalling: Signalling, option: MpCapable) -> None:
    """B18: the C flag closes the peer's first address and port to further subflows."""
    if handshake.refuses_more_subflows(option) and signalling.initial is not None:
        signalling.opener.refused_remotes[signalling.initial.remote] = None
