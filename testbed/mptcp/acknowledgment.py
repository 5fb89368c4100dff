"""Acknowledgments at both levels: DATA_ACKs, and what a subflow's ACKs mean for the data (RFC 8684 §3.3.2, §3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp import resets
from testbed.mptcp.dsn import expand
from testbed.wire.options import Dss
from testbed.wire.segment import Segment

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow


def data_ack_arrives(connection: Connection, subflow: Subflow, dss: Dss, now: int) -> None:
    """A DATA_ACK, on a segment that TCP has accepted: it frees, and it opens the window (D16, W5)."""
    queue = connection.send_queue
    una = queue.snd_una
    assert dss.data_ack is not None
    data_ack = expand(dss.data_ack, dss.ack_octets, una)
    closing = connection.closing
    limit = queue.snd_nxt
    if data_ack > limit and data_ack == closing.fin_dsn + 1 and closing.fin_dsn == limit:
        limit = data_ack  # it acknowledges our DATA_FIN
    if data_ack > limit or (data_ack < una and data_ack + connection.parameters.send_buffer < una):
        connection.counters.add("TestbedDataAckInvalid")
        return
    subflow.last_data_ack = dss.data_ack
    subflow.last_window = subflow.tcp.snd_wnd
    edge = data_ack + subflow.last_window
    subflow.send_edge = edge
    is_progress = connection.send_window.announced(edge)
    if data_ack > una:
        if data_ack > queue.snd_nxt:
            if not closing.fin_is_acknowledged:
                closing.acknowledged(now)
            data_ack = queue.snd_nxt
        queue.data_acknowledged(data_ack)
        is_progress = True
        if connection.wants_room:
            connection.room_made()
    if is_progress:
        connection.reinjection.progress(now)


def first_data_acknowledged(connection: Connection, subflow: Subflow, segment: Segment, now: int) -> None:
    """The subflow's first data is acknowledged: with a DATA_ACK, options are known to pass both ways (D26)."""
    if segment.mptcp:
        # An ADD_ADDR may have displaced the DSS (Linux sends it alone): it passes the path as well.
        subflow.data_acked = segment.dss is not None and segment.dss.data_ack is not None
        return
    if not subflow.is_initial:
        connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)  # K2
    elif connection.is_client or connection.parameters.rules.bare_ack_falls_back == "always":
        options_are_lost(connection, subflow, now, connection.parameters.rules.infinite_mapping_on_fallback)


def options_are_lost(connection: Connection, subflow: Subflow, now: int, tell_peer: bool = True) -> None:
    """The first subflow does not pass our options, or the peer is plain TCP now: K3, or K4 if it is too late."""
    if connection.may_fall_back():
        connection.fall_back("MPTcpExtMPCapableDataFallback", now, tell_peer)
    else:
        connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)


def subflow_acknowledges(connection: Connection, subflow: Subflow, now: int) -> None:
    """Its snd_una has moved."""
    una = subflow.tcp.snd_una
    subflow.acknowledged_to = una
    subflow.outgoing.acknowledged(una, connection.send_queue)
    if subflow.timeouts_seen or subflow.is_stale:
        connection.reinjection.subflow_recovered(subflow)
    if subflow.untaken:
        connection.transmission.push_untaken(subflow, now)
    if connection.fallen_back:
        connection.fallback.acknowledged(subflow, now)
    elif connection.wants_room:
        connection.room_made()
