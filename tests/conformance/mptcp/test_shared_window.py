"""W1 to W11: one receive window for all subflows, and what makes delivery reliable at the connection's level."""

from __future__ import annotations

from dataclasses import replace

import pytest
from data_peer import DataPeer, part
from mptcp_segments import options_of
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.dsn import expand
from testbed.mptcp.parameters import OptionPolicy, Parameters
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import Dss, MpTcprst
from testbed.wire.segment import ACK, SYN, Segment

NO_SCALE = TcpParameters(window_scaling=False)
SMALL = Parameters(receive_buffer=20_000, tcp=NO_SCALE)


def right_edges(peer: DataPeer) -> list[int]:
    """DATA_ACK + window of every segment that the stack sent, in octets of the peer's data."""
    edges = []
    for segment in peer.bench.sent:
        if segment.dss is not None and segment.dss.data_ack is not None and not segment.flags & SYN:
            base = peer.dsn(0)
            edges.append(expand(segment.dss.data_ack, segment.dss.ack_octets, base) - base + segment.window)
    return edges


def test_w1_data_ack_plus_window_never_shrinks() -> None:
    peer = DataPeer(SMALL, joins=1)

    for start in range(0, 10_000, 1000):
        peer.data(start, 1000, peer.map(start, 1000, 1 + start // 2), flow=start // 1000 % 2)
        if start == 5000:
            peer.read()
    peer.settle()

    edges = right_edges(peer)
    assert edges == sorted(edges)
    assert edges[-1] > edges[0]


def test_w2_one_window_for_all_relative_to_the_data_ack() -> None:
    peer = DataPeer(SMALL, joins=1)

    peer.data(0, 5000)
    peer.data(5000, 5000, flow=1)
    peer.data(0, 1, flow=0, at=1)
    peer.settle()

    last = {segment.destination: segment for segment in peer.bench.sent}
    assert {segment.window for segment in (last[flow.own] for flow in peer.flows)} == {10_000}


def test_w2_acceptance_is_by_dsn_not_by_subflow() -> None:
    peer = DataPeer(SMALL, joins=1)

    for start in range(10_000, 20_000, 1000):
        peer.data(start, 1000, flow=1)
    for start in range(0, 10_000, 1000):
        peer.data(start, 1000, flow=0)

    received = b""
    while piece := peer.read():
        received += piece
    assert received == part(0, 20_000)


def test_w3_a_mapping_whose_ssn_runs_ahead_of_its_dsn_by_more_than_a_window_is_dropped() -> None:
    rules = replace(SMALL.rules, mapping_must_touch_segment=False)
    peer = DataPeer(replace(SMALL, rules=rules), joins=1)

    peer.data(0, 100, peer.map(0, 100, 30_000), flow=1)

    assert peer.counters["TestbedMappingImplausible"] == 1
    assert peer.connection.subflows[1].incoming.items == []


def test_w4_a_dsn_beyond_the_window_is_dropped_and_not_data_acked() -> None:
    peer = DataPeer(SMALL, joins=1)

    peer.data(20_000, 1000, flow=1)
    peer.settle()

    assert peer.counters["MPTcpExtNoDSSInWindow"] == 1
    assert peer.connection.receive_queue.out_of_order_octets == 0
    assert peer.data_acked() == 0


def test_w4_of_data_across_the_edge_the_part_inside_is_kept() -> None:
    peer = DataPeer(SMALL, joins=1)

    peer.data(19_500, 1000, flow=1)

    assert peer.connection.receive_queue.out_of_order_octets == 500


def _say_window(peer: DataPeer, octets: int, window: int, flow: int = 0) -> None:
    raw = peer.flows[flow]
    segment = Segment(raw.own, raw.other, raw.seq, raw.ack, ACK, window, (Dss(data_ack=peer.host_dsn(octets)),))
    raw.hear(peer.bench.deliver(segment))


def test_w5_the_sender_takes_a_window_only_when_its_right_edge_grows() -> None:
    peer = DataPeer(replace(SMALL, tcp=NO_SCALE))
    _say_window(peer, 0, 30_000)
    edge = peer.connection.send_window.right_edge

    _say_window(peer, 0, 10_000)
    assert peer.connection.send_window.right_edge == edge
    _say_window(peer, 0, 65_535)

    assert peer.connection.send_window.right_edge == peer.connection.send_queue.snd_una + 65_535 >= edge


def test_w6_the_largest_recent_window_counts_and_each_subflows_is_remembered() -> None:
    peer = DataPeer(replace(SMALL, tcp=NO_SCALE), joins=1)

    _say_window(peer, 0, 65_000, flow=0)
    _say_window(peer, 0, 9_000, flow=1)

    una = peer.connection.send_queue.snd_una
    edges = [subflow.send_edge - una for subflow in peer.connection.subflows]
    assert edges == [65_000, 9_000]
    assert peer.connection.send_window.right_edge - una == 65_535


@pytest.mark.parametrize(("send", "receive"), [(1000, 50_000), (50_000, 1000)])
def test_w7_the_send_buffer_is_at_least_as_large_as_the_receive_buffer(send: int, receive: int) -> None:
    peer = DataPeer(Parameters(send_buffer=send, receive_buffer=receive))

    assert peer.connection.send(b"s" * 60_000, peer.bench.now) == 50_000


def test_w8_the_original_subflow_goes_on_retransmitting_after_a_reinjection() -> None:
    parameters = Parameters(path_manager="subflow", scheduler="round-robin")
    hosts = TwoHosts(parameters, paths=[Path(), Path(delay_ns=20 * MS)], full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 100_000)
    hosts.run(SECOND)
    hosts.paths[1].is_up = False
    begun = len(hosts.transcript)
    data = b"y" * 100_000
    assert hosts.transfer(client, server, data) == data

    hosts.run(10 * SECOND)

    assert client.counters["MPTcpExtMPTCPRetrans"] > 0
    silent = hosts.client_addresses[1]
    stuck = [line.segment for line in hosts.transcript[begun:] if line.segment.source.host == silent]
    seqs = [segment.seq for segment in stuck if segment.payload]
    assert len(seqs) - len(set(seqs)) >= 3


def test_w9_data_that_was_data_acked_elsewhere_is_kept_for_the_subflow_that_carries_it() -> None:
    peer = DataPeer(Parameters(scheduler="redundant"), joins=1)
    peer.ack(0, flow=1)
    peer.connection.send(b"z" * 400, peer.bench.now)
    sent = peer.bench.flush()
    peer.flows[0].hear(sent)
    peer.ack(400, flow=0)

    again = [segment for segment in peer.bench.wait(3 * SECOND) if segment.destination == peer.flows[1].own]

    assert any(segment.payload == b"z" * 400 for segment in again)
    assert peer.connection.send_queue.held == 400


def test_w10_what_is_subflow_acked_but_not_data_acked_is_sent_again_with_a_new_ssn() -> None:
    peer = DataPeer()
    peer.connection.send(b"1" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(100)
    peer.connection.send(b"2" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(100)

    again = [segment for segment in peer.bench.wait(5 * SECOND) if segment.payload]

    assert again and again[0].payload == b"2" * 100
    assert again[0].dss is not None
    assert (again[0].dss.dsn, again[0].dss.ssn) == (peer.host_dsn(100), 201)
    assert peer.counters["MPTcpExtMPTCPRetrans"] >= 1


def test_w10_a_subflow_that_has_done_with_the_head_sends_it_again_while_another_is_stuck_with_it() -> None:
    peer = DataPeer(joins=1)
    peer.ack(0, flow=1)
    data = b"3" * 100
    peer.connection.send(data, peer.bench.now)
    first = [segment for segment in peer.bench.flush() if segment.payload]
    assert len(first) == 1
    stuck = next(number for number, flow in enumerate(peer.flows) if flow.own == first[0].destination)
    other = 1 - stuck
    reinjected: list[Segment] = []
    while not reinjected:
        sent = [segment for segment in peer.bench.wait(SECOND // 10) if segment.payload]
        reinjected = [segment for segment in sent if segment.destination == peer.flows[other].own]
    peer.flows[other].hear(reinjected)
    peer.ack(0, flow=other)

    later = [segment for segment in peer.bench.wait(10 * SECOND) if segment.destination == peer.flows[other].own]

    again = [segment for segment in later if segment.payload]
    assert again and again[0].payload == data
    assert again[0].dss is not None
    assert (again[0].dss.dsn, again[0].dss.ssn) == (peer.host_dsn(0), 101)


@pytest.mark.parametrize("limit", [None, 3])
def test_w11_a_subflow_that_stays_silent_is_reset_with_reason_5_if_so_wished(limit: int | None) -> None:
    parameters = Parameters(path_manager="subflow", scheduler="round-robin", bad_subflow_timeouts=limit)
    hosts = TwoHosts(parameters, paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 100_000)
    hosts.run(SECOND)
    hosts.paths[1].is_up = False
    hosts.transfer(client, server, b"y" * 100_000)

    hosts.run(10 * SECOND)

    reasons = [option.reason for option in options_of(hosts.sent(True), MpTcprst)]
    assert reasons == ([] if limit is None else [5])
    data = b"z" * 50_000
    assert hosts.transfer(client, server, data) == data


def test_closed_window_is_probed_until_it_opens() -> None:
    parameters = Parameters(receive_buffer=10_000, send_buffer=100_000)
    hosts = TwoHosts(parameters)
    client, server = hosts.connect()
    client.send(b"w" * 30_000, hosts.now)
    hosts.run(30 * SECOND)
    assert server.receive_queue.ready_octets == 10_000
    hosts.paths[0].is_up = False
    assert server.receive(10_000) == b"w" * 10_000  # its window update is lost
    hosts.flush()
    hosts.paths[0].is_up = True

    assert hosts.run_until(lambda: server.receive_queue.ready_octets > 0, 200 * SECOND)
    assert client.counters["MPTcpExtWinProbe"] > 0


def test_opportunistic_retransmission_and_penalisation_when_the_window_is_the_limit() -> None:
    parameters = Parameters(path_manager="subflow", receive_buffer=60_000, send_buffer=200_000)
    paths = [Path(delay_ns=5 * MS, rate_bits=20_000_000), Path(delay_ns=150 * MS, rate_bits=20_000_000)]

    def duration(changed: Parameters) -> int:
        fresh = [replace(path, busy_until={True: 0, False: 0}) for path in paths]
        hosts = TwoHosts(changed, paths=fresh, full_mesh=True)
        client, server = hosts.connect()
        begun = hosts.now
        data = bytes(range(256)) * 16_000
        assert hosts.transfer(client, server, data) == data
        return hosts.now - begun

    plain = replace(parameters, opportunistic_retransmission=False, penalisation=False, scheduler="round-robin")
    helped = replace(parameters, scheduler="round-robin")

    assert duration(helped) < duration(plain)


def test_a_window_with_less_than_a_packet_left_calls_for_the_head_again_as_a_closed_one_does() -> None:
    """WiFi and 3G of NSDI 2012: the window's right edge seldom falls on the end of a packet."""
    parameters = Parameters(path_manager="subflow", receive_buffer=200 * 1024)
    data = bytes(range(256)) * 16_000

    def duration(changed: Parameters) -> int:
        paths = [Path(delay_ns=10 * MS, rate_bits=8_000_000), Path(delay_ns=75 * MS, rate_bits=2_000_000)]
        hosts = TwoHosts(changed, paths=paths, full_mesh=True)
        client, server = hosts.connect()
        begun = hosts.now
        assert hosts.transfer(client, server, data) == data
        return hosts.now - begun

    plain = duration(replace(parameters, opportunistic_retransmission=False, penalisation=False))
    helped = duration(parameters)

    assert helped < 0.9 * plain
    assert helped < len(data) * 8 * SECOND // 8_000_000  # of WiFi alone


def test_a_hole_in_a_window_of_thousands_of_segments_costs_no_mapping_and_no_subflow() -> None:
    """Each segment behind the hole brings a mapping of its own, and all of them have to be kept."""
    each = OptionPolicy(mapping_octets=1400)
    parameters = Parameters(receive_buffer=6_000_000, send_buffer=6_000_000, options=each)
    hosts = TwoHosts(parameters, paths=[Path(delay_ns=200 * MS, rate_bits=80_000_000, queue_ns=SECOND)])
    client, server = hosts.connect()
    lost: list[Segment] = []

    def hole(segment: Segment, now: int) -> Segment | None:
        if not lost and segment.payload and client.send_queue.snd_nxt - client.send_queue.snd_una > 1_500_000:
            lost.append(segment)
            return None
        return segment

    hosts.paths[0].filters.append(hole)
    data = bytes(range(256)) * 40_000
    assert hosts.transfer(client, server, data) == data
    assert lost
    assert server.counters["TestbedMappingsDropped"] == 0
