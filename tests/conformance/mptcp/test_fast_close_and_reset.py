"""I1 to I6: MP_FASTCLOSE and MP_TCPRST."""

from __future__ import annotations

from dataclasses import replace

import pytest
from data_peer import DataPeer, part
from mptcp_segments import drop_first, having, is_reset, options_of
from raw_peer import KEY
from two_hosts import SECOND, TwoHosts

from testbed.mptcp import resets
from testbed.mptcp.closing import M_CLOSED
from testbed.mptcp.parameters import Parameters
from testbed.tcp.state import Event
from testbed.wire.option_codec import decode_options, encode_option
from testbed.wire.options import Dss, MpFastclose, MpTcprst
from testbed.wire.segment import ACK, RST, Segment

BY_ACK = Parameters(fast_close="ack")
BY_RESET = Parameters(fast_close="reset")


def fast_closes(segments: list[Segment]) -> list[Segment]:
    return having(segments, MpFastclose)


def events(peer: DataPeer) -> set[Event]:
    found = set()
    while (event := peer.connection.next_event()) is not None:
        found.add(event)
    return found


# --- I1 ---


def test_i1_option_a_is_an_ack_with_the_peers_key_on_one_subflow_and_rst_on_the_others() -> None:
    peer = DataPeer(BY_ACK, joins=2)

    peer.connection.abort(peer.bench.now)
    sent = peer.bench.flush()

    (carrier,) = fast_closes(sent)
    assert not carrier.flags & RST and carrier.flags & ACK
    assert options_of([carrier], MpFastclose)[0].receiver_key == KEY
    assert len(peer.resets(1)) == len(peer.resets(2)) == 1
    assert not peer.connection.is_closed
    peer.flows[0].say(RST, Dss(data_ack=peer.host_dsn(0)))
    assert peer.connection.is_closed


def test_i1_option_r_is_rst_with_the_peers_key_on_all_subflows() -> None:
    peer = DataPeer(BY_RESET, joins=2)

    peer.connection.abort(peer.bench.now)
    sent = peer.bench.flush()

    assert len(sent) == 3
    for segment in sent:
        assert segment.flags & RST
        assert options_of([segment], MpFastclose)[0].receiver_key == KEY
        assert options_of([segment], MpTcprst)[0].reason == 0
    assert peer.connection.is_closed


@pytest.mark.parametrize("parameters", [BY_ACK, BY_RESET], ids=["ack", "reset"])
def test_i1_both_ends_are_closed_afterwards(parameters: Parameters) -> None:
    hosts = TwoHosts(replace(parameters, path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 100_000)
    hosts.run(SECOND)

    client.abort(hosts.now)
    hosts.run(2 * SECOND)

    assert client.is_closed and server.is_closed
    told = set()
    while (event := server.next_event()) is not None:
        told.add(event)
    assert Event.RESET in told and Event.CLOSED in told


# --- I2 ---


@pytest.mark.parametrize("flags", [ACK, RST, RST | ACK])
def test_i2_the_right_key_ends_the_connection(flags: int) -> None:
    peer = DataPeer(joins=1)

    peer.flows[0].say(flags, MpFastclose(peer.host_key))

    assert peer.connection.closing.state is M_CLOSED
    assert Event.RESET in events(peer)
    assert len(peer.resets(1)) == 1
    assert len(peer.resets(0)) == (1 if flags == ACK else 0)


@pytest.mark.parametrize("right", [True, False])
def test_i2_a_rst_that_has_overtaken_data_is_believed_for_its_key(right: bool) -> None:
    """Without the key RFC 5961 challenges it, and a kernel without a socket any more answers that with a plain RST."""
    peer = DataPeer()
    key = peer.host_key if right else peer.host_key ^ 1

    peer.flows[0].say(RST, MpFastclose(key), seq=(1000 + peer.ssn() + 5000) & 0xFFFFFFFF)

    assert (peer.connection.closing.state is M_CLOSED) is right
    assert peer.counters["MPTcpExtMPFastcloseRx"] == right
    assert peer.counters["TcpExtTCPChallengeACK"] == (not right)


def test_i2_a_wrong_key_is_ignored() -> None:
    peer = DataPeer()

    peer.flows[0].say(ACK, MpFastclose(peer.host_key ^ 1))
    peer.data(0, 100)

    assert peer.read() == part(0, 100)
    assert not peer.resets(0)


def test_i2_simultaneous_fast_closes_are_answered_by_rst() -> None:
    peer = DataPeer(BY_ACK)
    peer.connection.abort(peer.bench.now)
    peer.bench.flush()

    peer.flows[0].say(ACK, MpFastclose(peer.host_key))

    assert len(peer.resets(0)) == 1
    assert peer.connection.is_closed
    assert Event.RESET not in events(peer)


# --- I3 ---


def test_i3_unanswered_it_is_sent_again_after_an_rto_three_times_then_as_rst() -> None:
    peer = DataPeer(BY_ACK)
    peer.connection.abort(peer.bench.now)

    sent = peer.bench.wait(60 * SECOND)

    found = fast_closes(sent)
    assert [bool(segment.flags & RST) for segment in found] == [False] * 4 + [True]
    assert peer.connection.is_closed


def test_i3_a_lost_one_is_made_good() -> None:
    hosts = TwoHosts(BY_ACK)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 2000)
    hosts.run(SECOND)
    hosts.paths[0].filters.append(drop_first(lambda segment: bool(fast_closes([segment])), 2))

    client.abort(hosts.now)
    hosts.run(20 * SECOND)

    assert client.is_closed and server.is_closed
    assert len([s for s in hosts.sent(True) if fast_closes([s]) and not is_reset(s)]) == 3


# --- I4 to I6 ---


def test_i4_a_reset_says_why() -> None:
    peer = DataPeer(joins=1)

    peer.data(0, 100, peer.map(500, 100, 101), flow=1)

    (option,) = options_of(peer.resets(1), MpTcprst)
    assert (option.reason, option.transient) == (1, False)
    assert encode_option(option)[2] & 0x0E == 0


def test_i4_spare_flags_are_ignored_when_received() -> None:
    assert decode_options(bytes((30, 4, 0x8F, 2))) == (MpTcprst(2, True),)


@pytest.mark.parametrize("transient", [False, True])
def test_i5_a_reset_path_is_taken_again_only_when_the_trouble_was_transient(transient: bool) -> None:
    hosts = TwoHosts(Parameters(path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 100_000)
    hosts.run(SECOND)
    joined = server.subflows[1]

    server.signalling.reset_subflow(joined, resets.LACK_OF_RESOURCES, hosts.now, transient=transient)
    hosts.server.wake(server)
    hosts.run(5 * SECOND)
    client.signalling.reconcile(hosts.now)
    hosts.run(5 * SECOND)

    assert client.live_subflows() == (2 if transient else 1)


def test_i6_reasons_have_their_registered_numbers() -> None:
    assert resets.REASONS == {
        0: "unspecified error",
        1: "MPTCP-specific error",
        2: "lack of resources",
        3: "administratively prohibited",
        4: "too much outstanding data",
        5: "unacceptable performance",
        6: "middlebox interference detected",
    }


def test_i6_the_peers_reason_is_kept() -> None:
    peer = DataPeer(joins=1)
    subflow = peer.connection.subflows[1]

    peer.flows[1].say(RST | ACK, MpTcprst(5))

    assert subflow.peer_reset == MpTcprst(5)
    assert peer.connection.live_subflows() == 1
