"""Segments of handshakes that are not over: what they bring, and who is reset (RFC 8684 §3.1, §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp import handshake, resets
from testbed.mptcp.join import join_of
from testbed.mptcp.subflow import Subflow, SubflowState
from testbed.mptcp.subflow_start import mind_refusal
from testbed.tcp.state import SYN_RECEIVED
from testbed.wire.segment import ACK, SYN, Segment

if TYPE_CHECKING:
    from testbed.mptcp.signalling import Signalling


def handshake_arrived(signalling: Signalling, subflow: Subflow, segment: Segment, now: int) -> bool:
    """A segment that TCP has accepted, on a subflow whose handshake is not over. False: the subflow is reset."""
    state = subflow.state
    if state is SubflowState.SYN_SENT:
        if subflow.is_initial:
            _capable_syn_ack_arrived(signalling, subflow, segment, now)
            return True
        return _join_syn_ack_arrived(signalling, subflow, segment, now)
    if state is SubflowState.SYN_RECEIVED:
        if subflow.tcp.state <= SYN_RECEIVED:
            return True  # a repeated SYN, or nothing that ends TCP's handshake
        if subflow.is_initial:
            _capable_ack_arrived(signalling, subflow, segment, now)
            return True
        return _join_ack_arrived(signalling, subflow, segment, now)
    if state is SubflowState.PRE_ESTABLISHED and not segment.flags & SYN:
        subflow.confirmed()  # the fourth packet: any segment shows that the third arrived (J6)
        assert subflow.join is not None
        subflow.join.deadline = None
        _established(signalling, subflow, now)
    return True


def _capable_syn_ack_arrived(signalling: Signalling, subflow: Subflow, segment: Segment, now: int) -> None:
    """The client's side of B3, B16, B19, B20."""
    connection = signalling.connection
    signalling.syn_data.answered(connection, subflow)
    if not segment.flags & ACK:
        if segment.flags & SYN and not signalling.is_stopped:
            # Simultaneous open: the peer sends no SYN/ACK that could carry a key.
            connection.fall_back("MPTcpExtSimultConnectFallback", now)
            subflow.state = SubflowState.SYN_RECEIVED
        return
    option = handshake.capable_of(segment.mptcp)
    if signalling.is_stopped:
        pass  # no MP_CAPABLE was sent
    elif subflow.sent_plain_syn:
        signalling.host.failures.failed(subflow.tcp.remote.host, now)
        connection.counters.add("MPTcpExtBlackhole")
        connection.fall_back("MPTcpExtMPCapableSYNTXDrop", now)
    elif option is None or not handshake.answer_is_usable(option, connection.parameters):
        connection.fall_back("MPTcpExtMPCapableFallbackSYNACK", now)
    else:
        assert option.sender_key is not None
        connection.counters.add("MPTcpExtMPCapableSYNACKRX")
        signalling.host.failures.succeeded(subflow.tcp.remote.host)
        connection.checksum = connection.parameters.checksum or handshake.checksum_asked(option)
        mind_refusal(signalling, option)
        connection.keys.learn(option.sender_key)
        connection.keys_known(now)
        signalling.count_established()
    signalling.syn_data.declare_rest(connection, subflow)
    _established(signalling, subflow, now)


def _capable_ack_arrived(signalling: Signalling, subflow: Subflow, segment: Segment, now: int) -> None:
    """The server's: the third packet or the first data brings the peer's key, or there is no MPTCP (B14, B20)."""
    connection = signalling.connection
    if not signalling.is_stopped:
        option = handshake.capable_of(segment.mptcp)
        keys = connection.keys
        if option is None or not handshake.confirmation_is_usable(option, keys.local_key, connection.checksum):
            connection.fall_back("MPTcpExtMPCapableFallbackACK", now)
        else:
            assert option.sender_key is not None
            connection.counters.add("MPTcpExtMPCapableACKRX")
            keys.learn(option.sender_key)
            subflow.confirmed()
            subflow.settled = False  # the first DSS is still to be seen
            connection.keys_known(now)
            signalling.count_established()
    _established(signalling, subflow, now)
    signalling.host.accepted(connection)
    signalling.reconcile(now)


def _join_syn_ack_arrived(signalling: Signalling, subflow: Subflow, segment: Segment, now: int) -> bool:
    """The client's side of a join: the peer must prove that it has both keys (J5, J7)."""
    counters = signalling.connection.counters
    option = join_of(segment.mptcp) if segment.flags & ACK else None
    join = subflow.join
    assert join is not None
    if option is None or not join.answer_is_genuine(signalling.connection.keys, option):
        if option is not None:
            counters.add("MPTcpExtMPJoinSynAckHMacFailure")
        signalling.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
        return False
    counters.add("MPTcpExtMPJoinSynAckRx")
    if segment.source.port != signalling.initial_port():
        counters.add("MPTcpExtMPJoinPortSynAckRx")
    if option.backup:
        counters.add("MPTcpExtMPJoinSynAckBackupRx")
    subflow.remote_id = option.address_id
    subflow.backup_remote = option.backup
    subflow.set_backup()
    subflow.state = SubflowState.PRE_ESTABLISHED
    return True


def _join_ack_arrived(signalling: Signalling, subflow: Subflow, segment: Segment, now: int) -> bool:
    """The server's: the third packet proves that the client has them (J5 to J7)."""
    connection = signalling.connection
    option = join_of(segment.mptcp)
    join = subflow.join
    assert join is not None
    if option is None or not join.confirmation_is_genuine(connection.keys, option):
        if option is not None:
            connection.counters.add("MPTcpExtMPJoinAckHMacFailure")
        signalling.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)
        return False
    if signalling.is_stopped or not connection.accepts_subflows():
        connection.counters.add("MPTcpExtMPJoinRejected")
        signalling.reset_subflow(subflow, resets.PROHIBITED, now)
        return False
    connection.counters.add("MPTcpExtMPJoinAckRx")
    if subflow.tcp.local.port != connection.local.port:
        connection.counters.add("MPTcpExtMPJoinPortAckRx")
    subflow.confirmed()
    subflow.tcp.ack_now()  # the fourth packet
    _established(signalling, subflow, now)
    return True


def _established(signalling: Signalling, subflow: Subflow, now: int) -> None:
    """Data may flow on it."""
    subflow.established()
    if signalling.is_stopped:
        subflow.confirmed()
    signalling.connection.subflow_established(subflow, now)
