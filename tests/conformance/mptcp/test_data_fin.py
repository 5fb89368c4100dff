"""D20 to D25: the DATA_FIN and the state machine of RFC 8684 appendix D."""

from __future__ import annotations

import pytest
from data_peer import DataPeer, part
from mptcp_segments import drop_first, options_of
from two_hosts import SECOND, TwoHosts

from testbed.mptcp.closing import (
    M_CLOSE_WAIT,
    M_CLOSED,
    M_CLOSING,
    M_ESTABLISHED,
    M_FIN_WAIT_1,
    M_FIN_WAIT_2,
    M_LAST_ACK,
    M_TIME_WAIT,
    TRANSITIONS,
    Closing,
    DataState,
    IllegalTransition,
)
from testbed.mptcp.parameters import Parameters
from testbed.tcp.state import Event, State
from testbed.wire.checksum import dss_checksum
from testbed.wire.options import Dss
from testbed.wire.segment import ACK, FIN, Segment

TWO = Parameters(path_manager="subflow")


def data_fins(segments: list[Segment]) -> list[Dss]:
    return [dss for dss in options_of(segments, Dss) if dss.data_fin]


def events(peer: DataPeer) -> set[Event]:
    found = set()
    while (event := peer.connection.next_event()) is not None:
        found.add(event)
    return found


def test_d20_data_fin_takes_one_octet_of_the_data_level_length_and_none_of_the_ssn() -> None:
    peer = DataPeer()
    peer.data(0, 80)

    peer.data(80, 10, peer.map(80, 11, 81, fin=True))
    peer.settle()

    assert peer.data_acked() == 91
    assert peer.subflow() is not None
    assert peer.connection.subflows[0].tcp.rcv_nxt == 91
    assert peer.read() == part(0, 90)


def test_d20_ours_rides_on_the_last_mapping_when_the_user_has_closed_by_then() -> None:
    peer = DataPeer()
    peer.connection.send(b"q" * 90, peer.bench.now)
    peer.connection.close(peer.bench.now)

    (last,) = [segment for segment in peer.bench.flush() if segment.payload]

    assert last.dss is not None and last.dss.data_fin
    assert last.dss.length == 91
    assert len(last.payload) == 90


@pytest.mark.parametrize("checksum", [False, True])
def test_d21_a_bare_data_fin_has_ssn_0_length_1_and_its_own_dsn(checksum: bool) -> None:
    peer = DataPeer(Parameters(checksum=checksum))
    peer.connection.close(peer.bench.now)

    (fin,) = data_fins(peer.bench.flush())

    assert (fin.ssn, fin.length, fin.dsn) == (0, 1, peer.host_dsn(0))
    assert fin.checksum == (dss_checksum(peer.host_dsn(0), 0, 1, 0) if checksum else None)


def test_d21_a_bare_data_fin_with_a_wrong_checksum_is_not_believed() -> None:
    peer = DataPeer(Parameters(checksum=True))
    right = peer.map(0, 1, 0, fin=True)

    peer.flows[0].say(ACK, Dss(right.data_ack, 8, right.dsn, 8, 0, 1, right.checksum ^ 0xFF, True))  # type: ignore[operator]
    assert peer.connection.closing.peer_fin_dsn == -1
    peer.flows[0].say(ACK, right)

    assert peer.connection.closing.peer_fin_reached


def test_d22_it_is_acknowledged_when_all_data_has_arrived() -> None:
    peer = DataPeer(joins=1)

    peer.flows[1].say(ACK, peer.map(100, 1, 0, fin=True))
    peer.settle()
    assert peer.data_acked() == 0
    assert Event.PEER_CLOSED not in events(peer)
    peer.data(0, 100)
    peer.settle()

    assert peer.data_acked() == 101
    assert Event.PEER_CLOSED in events(peer)


def test_d22_it_is_acknowledged_again_when_it_comes_again() -> None:
    peer = DataPeer()
    fin = peer.map(0, 1, 0, fin=True)
    peer.flows[0].say(ACK, fin)

    answer = peer.flows[0].say(ACK, fin)

    assert [dss.data_ack for dss in options_of(answer, Dss)] == [peer.dsn(1)]


def test_d22_the_data_fin_of_a_refused_mapping_is_not_believed() -> None:
    peer = DataPeer(joins=1)

    peer.data(0, 100, peer.map(1000, 101, 50_000, fin=True), flow=1)
    assert len(peer.resets(1)) == 1
    peer.data(0, 2000)
    peer.flows[0].say(ACK, peer.map(2000, 1, 0, fin=True))
    peer.settle()

    assert peer.read() == part(0, 2000)
    assert peer.data_acked() == 2001
    assert Event.PEER_CLOSED in events(peer)


def test_d22_a_data_fin_is_believed_no_sooner_than_its_checksum() -> None:
    peer = DataPeer(Parameters(checksum=True), joins=1)
    right = peer.map(0, 101, 1, fin=True)
    damaged = Dss(right.data_ack, 8, right.dsn, 8, right.ssn, 61, right.checksum, True)

    peer.data(0, 100, damaged, flow=1)
    assert Event.PEER_CLOSED not in events(peer)
    assert not peer.connection.closing.peer_fin_reached
    peer.data(0, 100, right)
    peer.settle()

    assert peer.read() == part(0, 100)
    assert peer.data_acked() == 101
    assert Event.PEER_CLOSED in events(peer)


@pytest.mark.parametrize("is_right", [True, False])
def test_d22_a_data_fin_added_to_data_sent_before_is_believed_if_its_checksum_fits(is_right: bool) -> None:
    peer = DataPeer(Parameters(checksum=True))
    peer.data(0, 100)
    fin = peer.map(0, 101, 1, fin=True)
    assert fin.checksum is not None
    if not is_right:
        fin = Dss(fin.data_ack, 8, fin.dsn, 8, fin.ssn, 101, fin.checksum ^ 1, True)

    peer.data(0, 100, fin, at=1)  # a retransmission, its data known
    peer.settle()

    assert (Event.PEER_CLOSED in events(peer)) is is_right
    assert peer.data_acked() == (101 if is_right else 100)


@pytest.mark.parametrize("joins", [0, 1])
def test_d22_a_data_fin_inside_data_that_has_come_is_refused(joins: int) -> None:
    peer = DataPeer(joins=joins)
    if joins:
        peer.data(50, 50, flow=1)  # waits in the connection's queue
    else:
        peer.data(50, 50, peer.map(50, 50, 51), at=51)  # ... or in the subflow's

    peer.flows[0].say(ACK, peer.map(30, 1, 0, fin=True))
    peer.data(0, 50, peer.map(0, 50, 1), at=1)
    peer.settle()

    assert peer.read() == part(0, 100)
    assert peer.counters["TestbedDataFinImplausible"] == 1
    assert Event.PEER_CLOSED not in events(peer)
    peer.flows[0].say(ACK, peer.map(100, 1, 0, fin=True), seq=(1000 + (51 if joins else 101)) & 0xFFFFFFFF)
    assert Event.PEER_CLOSED in events(peer)


def test_d22_there_is_no_data_after_the_data_fin() -> None:
    peer = DataPeer(joins=1)
    peer.data(0, 10, peer.map(0, 11, 1, fin=True))
    peer.settle()
    assert peer.data_acked() == 11

    peer.data(10, 50)
    peer.data(11, 50, flow=1)
    peer.settle()

    assert peer.read() == part(0, 10)
    assert peer.data_acked() == 11
    assert peer.counters["TestbedDataAfterFin"] == 2


def test_d22_of_data_across_the_data_fin_only_what_is_before_it_counts() -> None:
    peer = DataPeer(joins=1)
    peer.flows[1].say(ACK, peer.map(100, 1, 0, fin=True))

    peer.data(0, 150)
    peer.settle()

    assert peer.read() == part(0, 100)
    assert peer.data_acked() == 101
    assert Event.PEER_CLOSED in events(peer)


def test_d23_no_subflow_is_closed_while_data_may_still_come() -> None:
    hosts = TwoHosts(TWO, paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 20_000)
    client.close(hosts.now)
    hosts.run(SECOND)

    assert client.closing.state is M_FIN_WAIT_2
    assert not any(segment.flags & FIN for segment in hosts.sent())
    data = b"y" * 300_000
    assert hosts.transfer(server, client, data) == data


def test_d24_after_both_data_fins_every_subflow_gets_its_fin() -> None:
    hosts = TwoHosts(TWO, paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 200_000)
    client.close(hosts.now)
    server.close(hosts.now)

    assert hosts.run_until(lambda: client.is_closed and server.is_closed, 100 * SECOND)

    for from_client in (True, False):
        ends = {(s.source, s.destination) for s in hosts.sent(from_client) if s.flags & FIN}
        assert len(ends) == 2


def test_d25_a_subflow_that_ends_before_its_data_fin_costs_nothing_once_that_has_come() -> None:
    peer = DataPeer()
    peer.flows[0].say(FIN | ACK, Dss(data_ack=peer.host_dsn(0)))
    assert peer.connection.lonely_deadline is not None

    peer.flows[0].say(ACK, peer.map(0, 1, 0, fin=True))
    peer.connection.send(b"x" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(100)
    peer.bench.wait(3 * peer.parameters.close_timeout_ns)

    assert peer.connection.closing.state is M_CLOSE_WAIT
    assert events(peer) >= {Event.PEER_CLOSED} and Event.TIMED_OUT not in events(peer)


def test_d25_closed_after_time_wait_at_both_levels() -> None:
    hosts = TwoHosts(paths=1)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 2000)
    client.close(hosts.now)
    hosts.run(SECOND)
    server.close(hosts.now)
    hosts.run(SECOND)

    assert client.closing.state is M_TIME_WAIT
    assert not client.awaits_acknowledgment
    assert client.subflows[0].tcp.state is State.TIME_WAIT
    assert server.is_closed
    hosts.run(30 * SECOND)
    assert not client.is_closed
    hosts.run(40 * SECOND)
    assert client.is_closed


def test_d25_subflows_that_all_end_without_data_fin_time_out() -> None:
    peer = DataPeer()
    peer.data(0, 100)

    peer.flows[0].say(FIN | ACK, Dss(data_ack=peer.host_dsn(0)))
    peer.settle()

    assert peer.read() == part(0, 100)
    assert Event.PEER_CLOSED not in events(peer)
    peer.bench.wait(peer.parameters.close_timeout_ns)
    assert Event.TIMED_OUT in events(peer)
    assert peer.connection.closing.state is M_CLOSED


def test_d25_the_state_machine_of_appendix_d() -> None:
    def run(*steps: str) -> list[DataState]:
        peer = DataPeer()
        seen = []
        for step in steps:
            if step == "close":
                peer.connection.close(peer.bench.now)
                peer.bench.flush()
            elif step == "fin":
                peer.flows[0].say(ACK, peer.map(0, 1, 0, fin=True))
            elif step == "ack":
                peer.ack(1)
            elif step == "fin+ack":
                peer.flows[0].say(ACK, peer.map(0, 1, 0, fin=True, ack=1))
            elif step == "wait":
                peer.bench.wait(2 * peer.parameters.tcp.msl_ns)
            seen.append(peer.connection.closing.state)
        return seen

    assert run("close", "ack", "fin", "wait") == [M_FIN_WAIT_1, M_FIN_WAIT_2, M_TIME_WAIT, M_CLOSED]
    assert run("close", "fin", "ack", "wait") == [M_FIN_WAIT_1, M_CLOSING, M_TIME_WAIT, M_CLOSED]
    assert run("close", "fin+ack", "wait") == [M_FIN_WAIT_1, M_TIME_WAIT, M_CLOSED]
    assert run("fin", "close", "ack") == [M_CLOSE_WAIT, M_LAST_ACK, M_CLOSED]


def test_d25_no_other_step_is_legal() -> None:
    peer = DataPeer()
    for before in DataState:
        for after in DataState:
            machine = Closing(peer.connection)
            machine.state = before
            if after is before or after in TRANSITIONS[before]:
                machine.move(after)
                assert machine.state is after
            else:
                with pytest.raises(IllegalTransition):
                    machine.move(after)


def test_d25_a_lost_data_fin_is_sent_again_until_it_is_acknowledged() -> None:
    hosts = TwoHosts()
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 2000)
    hosts.run(SECOND)
    hosts.paths[0].filters.append(drop_first(lambda segment: bool(data_fins([segment])), 3))
    client.close(hosts.now)

    assert client.closing.state is M_FIN_WAIT_1
    assert client.awaits_acknowledgment and not client.unacknowledged_octets
    assert hosts.run_until(lambda: server.closing.peer_fin_reached, 60 * SECOND)
    hosts.run(SECOND)
    assert client.closing.state is M_FIN_WAIT_2
    assert not client.awaits_acknowledgment
    assert server.closing.state is M_CLOSE_WAIT
    assert M_ESTABLISHED in TRANSITIONS
