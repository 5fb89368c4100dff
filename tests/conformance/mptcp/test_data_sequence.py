"""D1 to D19, D26 and B9 to B13: sequence numbers, mappings and DATA_ACKs of the data level."""

from __future__ import annotations

from dataclasses import replace

import pytest
from data_peer import KEY, DataPeer, part
from mptcp_segments import find, options_of
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.dsn import WrapGuard, expand
from testbed.mptcp.parameters import OptionPolicy, Parameters, ReceiverRules
from testbed.mptcp.profiles import profile
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.checksum import dss_checksum, ones_complement_sum
from testbed.wire.options import Dss, MpCapable, MpTcprst
from testbed.wire.segment import ACK, URG, Segment

TWO_SUBFLOWS = Parameters(path_manager="subflow")


def data_segments(hosts: TwoHosts, from_client: bool | None = True) -> list[Segment]:
    return [segment for segment in hosts.sent(from_client) if segment.payload]


# --- B9 to B13: the first data ---


def test_b9_the_syn_takes_the_idsn_so_data_begins_one_after_it() -> None:
    hosts = TwoHosts()
    client, server = hosts.connect()

    hosts.transfer(client, server, b"a" * 5000)
    hosts.run(SECOND)

    mapped = [segment.dss.dsn for segment in data_segments(hosts) if segment.dss is not None]
    assert mapped[0] == (client.keys.local_idsn + 1) % 2**64
    acks = [s.dss.data_ack for s in hosts.sent(False) if s.dss is not None and s.dss.data_ack is not None]
    assert acks[-1] == (client.keys.local_idsn + 5001) % 2**64


def test_b10_a_server_that_sends_first_acknowledges_the_octet_of_mp_capable() -> None:
    hosts = TwoHosts()
    client, server = hosts.connect()
    server.send(b"hello", hosts.now)
    hosts.run(SECOND)

    first = data_segments(hosts, False)[0].dss

    assert first is not None and first.dsn is not None
    mask = 2**64 - 1 if first.ack_octets == 8 else 2**32 - 1
    assert first.data_ack == (client.keys.local_idsn + 1) & mask
    assert client.receive(100) == b"hello"
    assert not client.fallen_back


def test_b10_first_data_without_data_ack_means_tcp() -> None:
    peer = DataPeer(stack_opens=True, confirmed=False)

    peer.data(0, 100, Dss(dsn=peer.dsn(0), ssn=1, length=100))

    assert peer.connection.fallen_back
    assert peer.counters["MPTcpExtMPCapableDataFallback"] == 1
    assert peer.read() == part(0, 100)


def test_b10_first_data_with_a_data_ack_completes_the_handshake() -> None:
    peer = DataPeer(stack_opens=True, confirmed=False)

    peer.data(0, 100, peer.map(0, 100, 1))

    assert not peer.connection.fallen_back
    assert peer.connection.subflows[0].fully_established


@pytest.mark.parametrize("checksum", [False, True])
def test_b12_first_data_repeats_mp_capable_with_its_length_in_place_of_a_dss(checksum: bool) -> None:
    hosts = TwoHosts(Parameters(checksum=checksum, tcp=TcpParameters(nagle=False)))
    client, server = hosts.connect()

    received = hosts.transfer(client, server, b"abc" * 1000)

    first = data_segments(hosts)[0]
    option = find(first, MpCapable)
    assert option is not None and first.dss is None
    assert option.data_length == 3000
    if checksum:
        expected = dss_checksum(client.keys.local_idsn + 1, 1, 3000, ones_complement_sum(b"abc" * 1000))
        assert option.checksum == expected
    assert option.size == (24 if checksum else 22)
    assert received == b"abc" * 1000


def test_b12_it_stands_for_a_lost_third_ack() -> None:
    peer = DataPeer(confirmed=False)

    peer.flows[0].say(ACK, MpCapable(sender_key=KEY, receiver_key=peer.host_key, data_length=100), payload=part(0, 100))

    connection = peer.bench.listener.accept()
    assert connection is not None and not connection.fallen_back
    assert connection.receive(1000) == part(0, 100)


def test_b13_mp_capable_and_dss_may_state_the_same_mapping_in_any_order() -> None:
    peer = DataPeer(confirmed=False)
    capable = MpCapable(sender_key=KEY, receiver_key=peer.host_key, data_length=300)

    peer.flows[0].say(ACK, capable, payload=part(0, 100))
    peer.data(100, 100, peer.map(0, 300, 1))
    peer.flows[0].say(ACK, capable, payload=part(200, 100))

    connection = peer.bench.listener.accept()
    assert connection is not None and not connection.fallen_back
    assert connection.receive(1000) == part(0, 300)


# --- D2 to D7 ---


@pytest.mark.parametrize("negotiated", [True, False])
def test_d2_a_checksum_that_contradicts_the_handshake_resets_with_reason_1(negotiated: bool) -> None:
    peer = DataPeer(Parameters(checksum=negotiated), joins=1)

    peer.data(0, 100, peer.map(0, 100, 1, checksum=None if negotiated else 0x4321), flow=1)

    (reset,) = peer.resets(1)
    assert options_of([reset], MpTcprst)[0].reason == 1
    assert peer.read() == b""


@pytest.mark.parametrize("scheduler", ["lowest-rtt", "round-robin", "redundant"])
def test_d3_a_declared_mapping_is_never_changed_on_its_subflow(scheduler: str) -> None:
    paths = [Path(delay_ns=10 * MS, loss=0.05), Path(delay_ns=30 * MS, loss=0.05)]
    hosts = TwoHosts(replace(TWO_SUBFLOWS, scheduler=scheduler), paths=paths, seed=3, full_mesh=True)
    client, server = hosts.connect()

    data = bytes(range(256)) * 1200
    assert hosts.transfer(client, server, data) == data

    mapped: dict[tuple[object, int], tuple[int, int]] = {}
    count = 0
    for segment in data_segments(hosts):
        dss = segment.dss
        if dss is None or dss.dsn is None:
            continue
        length = dss.length - dss.data_fin
        known = mapped.setdefault((segment.source, dss.ssn), (dss.dsn, length))
        assert known == (dss.dsn, length)
        count += 1
    assert count > len(mapped) > 10


def test_d3_a_contradicting_mapping_is_not_believed() -> None:
    peer = DataPeer(joins=1)

    peer.data(0, 100, peer.map(0, 200, 1), flow=1)
    peer.data(100, 100, peer.map(300, 100, 101), flow=1)

    assert len(peer.resets(1)) == 1
    peer.data(0, 300)
    assert peer.read() == part(0, 300)


def test_d3_the_same_dsn_may_be_mapped_on_another_subflow() -> None:
    peer = DataPeer(joins=1)

    peer.data(0, 100, flow=0)
    peer.data(0, 100, flow=1)
    peer.data(100, 100, flow=1)

    assert peer.read() == part(0, 200)
    assert not peer.resets(0) and not peer.resets(1)


def test_d4_the_first_data_for_a_dsn_is_delivered_and_later_copies_are_ignored() -> None:
    peer = DataPeer(joins=1)
    peer.data(200, 100, peer.map(200, 100, 1))

    peer.data(100, 300, peer.map(100, 300, 1), flow=1, payload=b"?" * 300)
    peer.data(0, 100, peer.map(0, 100, 101))

    assert peer.read() == part(0, 100) + b"?" * 100 + part(200, 100) + b"?" * 100


def test_d5_ssns_are_relative_so_rewritten_isns_do_no_harm() -> None:
    hosts = TwoHosts()

    def shifted(segment: Segment, now: int) -> Segment:
        outwards = segment.source.host in hosts.client_addresses
        delta = 77_777_777
        return Segment(
            segment.source,
            segment.destination,
            (segment.seq + (delta if outwards else 0)) & 0xFFFFFFFF,
            (segment.ack - (0 if outwards or not segment.flags & ACK else delta)) & 0xFFFFFFFF,
            segment.flags,
            segment.window,
            segment.options,
            segment.payload,
        )

    hosts.paths[0].filters.append(shifted)
    client, server = hosts.connect()

    data = bytes(range(256)) * 400
    assert hosts.transfer(client, server, data) == data
    assert not client.fallen_back and not server.fallen_back


def test_d6_a_checksum_covers_data_and_the_64_bit_pseudo_header() -> None:
    hosts = TwoHosts(Parameters(checksum=True, options=OptionPolicy(dsn_width="32")))
    client, server = hosts.connect()

    data = bytes(range(251)) * 100
    assert hosts.transfer(client, server, data) == data

    checked = 0
    for segment in data_segments(hosts):
        dss = segment.dss
        if dss is None or dss.dsn is None or dss.length > len(segment.payload):
            continue
        dsn = expand(dss.dsn, dss.dsn_octets, client.keys.local_idsn)
        assert dss.checksum == dss_checksum(dsn, dss.ssn, dss.length, ones_complement_sum(segment.payload))
        checked += 1
    assert checked
    assert server.counters["MPTcpExtDataCsumErr"] == 0


def test_d6_damage_that_tcp_cannot_see_is_found() -> None:
    peer = DataPeer(Parameters(checksum=True), joins=1)

    peer.data(0, 100, peer.map(0, 100, 1), flow=1, payload=part(1, 100))

    assert peer.counters["MPTcpExtDataCsumErr"] == 1
    assert peer.read() == b""


def test_d7_no_urgent_pointer_is_sent_and_one_that_comes_is_data_in_line() -> None:
    peer = DataPeer()

    peer.data(0, 100, flags=ACK | URG)
    peer.connection.send(b"answer", peer.bench.now)
    peer.bench.flush()

    assert peer.read() == part(0, 100)
    assert not any(segment.flags & URG or segment.urgent for segment in peer.bench.sent)


# --- D8 to D14 ---


def test_d8_unmapped_data_is_subflow_acked_but_not_data_acked_and_takes_no_window() -> None:
    peer = DataPeer()
    peer.data(0, 1000)
    before = peer.settle()[-1]

    peer.data(1000, 1000, mapped=False)
    after = peer.settle()[-1]

    assert after.ack == (before.ack + 1000) & 0xFFFFFFFF
    assert peer.data_acked() == 1000
    assert after.window == before.window
    assert peer.read() == part(0, 1000)


@pytest.mark.parametrize(("hold_ms", "survives"), [(0, False), (50, False), (200, True)])
def test_d9_unmapped_data_is_held_for_as_long_as_the_rules_say(hold_ms: int, survives: bool) -> None:
    peer = DataPeer(Parameters(rules=ReceiverRules(hold_unmapped=hold_ms * MS)), joins=1)
    peer.data(0, 100, flow=1)

    peer.data(100, 100, flow=1, mapped=False)
    peer.bench.wait(100 * MS)
    peer.data(100, 100, peer.map(100, 100, 101), flow=1, at=101)

    assert bool(peer.resets(1)) is not survives
    assert peer.read() == part(0, 200 if survives else 100)


def test_d10_a_receive_window_of_unmapped_data_resets_the_subflow() -> None:
    peer = DataPeer(Parameters(receive_buffer=5000), joins=1)
    peer.data(0, 100, flow=1)

    for start in range(100, 5000, 1000):
        assert not peer.resets(1)
        peer.data(start, 1000, flow=1, mapped=False)

    (reset,) = peer.resets(1)
    assert options_of([reset], MpTcprst)[0].reason == 6
    assert peer.read() == part(0, 100)


def test_d11_dsns_of_32_and_64_bits_may_alternate() -> None:
    peer = DataPeer()

    for number, octets in enumerate((4, 8, 4, 4, 8)):
        peer.data(number * 100, 100, peer.map(number * 100, 100, 1 + number * 100, octets=octets))

    assert peer.read() == part(0, 500)


@pytest.mark.parametrize("start", [2**32 - 50, 2**64 - 50, 7 * 2**32 - 50])
def test_d11_a_wrap_is_believed_where_the_stream_has_come_to_one(start: int) -> None:
    for octets in (4, 8):
        wire = (start + 100) % 2 ** (8 * octets)

        assert expand(wire, octets, start) == start + 100
        assert expand(start % 2 ** (8 * octets), octets, start + 100) == start


def test_d11_a_32_bit_dsn_that_makes_no_sense_is_dropped_not_wrapped() -> None:
    peer = DataPeer(joins=1)
    wrong = Dss(peer.host_dsn(0), 8, (peer.dsn(0) + 2**31 - 1) & 0xFFFFFFFF, 4, 1, 100)

    peer.data(0, 100, wrong, flow=1)

    assert peer.counters["MPTcpExtNoDSSInWindow"] == 1
    assert peer.connection.receive_queue.out_of_order == []


def test_d12_fast_senders_use_64_bits() -> None:
    guard = WrapGuard(1, 30 * SECOND)
    slow = WrapGuard(1, 30 * SECOND)

    for step in range(20):
        guard.sent_up_to(1 + step * 2**29, step * SECOND)
        slow.sent_up_to(1 + step * 2**29, step * 20 * SECOND)

    assert guard.needs_wide
    assert not slow.needs_wide


def test_d12_the_option_builder_obeys() -> None:
    hosts = TwoHosts(profile("width-32"))
    client, server = hosts.connect()
    hosts.transfer(client, server, b"x" * 3000)
    # As if 2^31 octets less 5000 had left within the MSL.
    first = client.send_queue.snd_nxt - 2**31 + 5000
    client.wrap_guard = WrapGuard(first, client.parameters.tcp.msl_ns)
    for marked in range(4):
        assert not client.wrap_guard.sent_up_to(first + marked * 2**29, hosts.now)

    def widths() -> list[int]:
        return [s.dss.dsn_octets for s in data_segments(hosts) if s.dss is not None and s.dss.dsn is not None]

    hosts.transfer(client, server, b"y" * 4000)
    assert set(widths()) == {4}
    hosts.transfer(client, server, b"y" * 8000)

    assert widths()[-1] == 8 and widths() == sorted(widths())  # and never back


def test_d13_a_mapping_must_touch_the_segment_that_carries_it() -> None:
    peer = DataPeer(joins=1)

    peer.data(0, 100, peer.map(100, 100, 101), flow=1)

    assert options_of(peer.resets(1), MpTcprst)[0].reason == 1


def test_d13_it_need_not_be_in_every_packet() -> None:
    hosts = TwoHosts(profile("thin-maps"))
    client, server = hosts.connect()

    data = bytes(range(256)) * 1000
    assert hosts.transfer(client, server, data) == data

    bare = [s for s in data_segments(hosts) if s.dss is None or s.dss.dsn is None]
    assert len(bare) > len(data_segments(hosts)) // 2
    assert not server.fallen_back


def test_d14_an_infinite_mapping_has_length_and_checksum_0() -> None:
    peer = DataPeer(Parameters(checksum=True))
    peer.data(0, 100)

    infinite = Dss(peer.host_dsn(0), 8, peer.dsn(100), 8, 101, 0, 0)
    peer.data(100, 100, infinite)
    peer.data(200, 100, mapped=False)

    assert peer.connection.fallen_back
    assert peer.read() == part(0, 300)


# --- D15 to D19, D26 ---


@pytest.mark.parametrize("name", ["linux", "rfc8684"])
def test_d15_a_64_bit_dsn_is_answered_with_a_64_bit_data_ack(name: str) -> None:
    peer = DataPeer(profile(name))
    answers = []

    for number in range(8):
        answers += peer.data(number * 1460, 1460)
    answers += peer.settle()

    widths = [s.dss.ack_octets for s in answers if s.dss is not None and s.dss.data_ack is not None]
    assert len(widths) >= 4 and set(widths) == {8}


@pytest.mark.parametrize("octets", [4, 8])
def test_d15_either_width_of_data_ack_is_accepted(octets: int) -> None:
    peer = DataPeer()
    peer.connection.send(b"z" * 1000, peer.bench.now)
    peer.bench.flush()

    wire = peer.host_dsn(1000) & (2 ** (8 * octets) - 1)
    peer.flows[0].hear(peer.bench.sent)
    peer.flows[0].say(ACK, Dss(data_ack=wire, ack_octets=octets))

    assert peer.connection.unacknowledged_octets == 0


def test_d16_a_window_without_data_ack_does_not_count_at_the_connection() -> None:
    peer = DataPeer()
    edge = peer.connection.send_window.right_edge
    peer.connection.send(b"z" * 1000, peer.bench.now)
    peer.bench.flush()

    peer.ack(0)
    peer.ack(None)
    peer.ack(None, number=(peer.flows[0].ack + 500) & 0xFFFFFFFF)

    assert peer.connection.send_window.right_edge == edge


def test_d17_data_is_freed_when_both_levels_have_acknowledged_it() -> None:
    peer = DataPeer()
    peer.connection.send(b"z" * 1000, peer.bench.now)
    peer.bench.flush()
    before = peer.flows[0].ack

    peer.ack(1000, number=before)  # DATA_ACKed, not subflow-acked
    assert peer.connection.send_queue.held == 1000
    peer.ack(1000, number=(before + 1000) & 0xFFFFFFFF)

    assert peer.connection.send_queue.held == 0


def test_d17_every_subflow_that_carries_it_has_to_acknowledge() -> None:
    peer = DataPeer(Parameters(scheduler="redundant"), joins=1)
    peer.ack(0, flow=1)
    peer.connection.send(b"z" * 1000, peer.bench.now)
    sent = peer.bench.flush()
    assert {segment.destination for segment in sent if segment.payload} == {flow.own for flow in peer.flows}
    for flow in peer.flows:
        flow.hear(sent)

    peer.ack(1000, flow=0)
    assert peer.connection.send_queue.held == 1000
    peer.ack(1000, flow=1)

    assert peer.connection.send_queue.held == 0


def test_d18_a_data_ack_that_comes_only_when_it_advances_is_valid() -> None:
    peer = DataPeer()
    peer.connection.send(b"z" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(100)
    peer.connection.send(b"z" * 1000, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(None)
    assert not peer.connection.fallen_back
    peer.ack(1100)

    assert peer.connection.unacknowledged_octets == 0


def test_d18_our_own_is_in_every_segment() -> None:
    hosts = TwoHosts()
    client, server = hosts.connect()
    hosts.transfer(client, server, b"q" * 50_000)

    acks = [segment for segment in hosts.sent(False)[1:] if segment.flags & ACK]

    assert acks and all(segment.dss is not None and segment.dss.data_ack is not None for segment in acks)


def test_d19_a_subflow_ack_is_no_data_ack() -> None:
    peer = DataPeer()
    peer.connection.send(b"z" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(100)
    peer.connection.send(b"z" * 1000, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(100)

    assert peer.connection.unacknowledged_octets == 1000
    assert peer.connection.subflows[0].tcp.flight == 0


def test_d26_until_the_first_data_ack_every_segment_carries_a_mapping() -> None:
    hosts = TwoHosts(profile("thin-maps"))
    client, server = hosts.connect()
    client.send(b"m" * 20_000, hosts.now)
    hosts.flush()

    first_flight = data_segments(hosts)

    assert len(first_flight) >= 8
    for segment in first_flight:
        dss = segment.dss
        assert find(segment, MpCapable) is not None or (dss is not None and dss.dsn is not None)
    hosts.run(SECOND)
    assert server.receive(1 << 20) == b"m" * 20_000
