"""K1 to K10, A1 to A3: when MPTCP gives way to TCP, how, and what holds afterwards; and the overlap of section 4.3."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from data_peer import DataPeer, part
from mptcp_segments import having, is_pure_ack, is_syn, is_syn_ack, mptcp_options, options_of, strip
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.parameters import Parameters, ReceiverRules
from testbed.mptcp.profiles import profile
from testbed.net.middlebox import with_options
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import AddAddr, Dss, MpCapable, MpFail, MpJoin, MptcpOption, MpTcprst
from testbed.wire.segment import ACK, RST, Segment

CHECKSUM = Parameters(checksum=True)
DATA = random.Random(4).randbytes(300_000)


def carries_data(segment: Segment) -> bool:
    return bool(segment.payload)


# --- K1 to K4: options that do not get through ---


@pytest.mark.parametrize("when", [is_syn, is_syn_ack])
def test_k1_options_missing_in_either_syn_mean_tcp(when) -> None:  # type: ignore[no-untyped-def]
    hosts = TwoHosts()
    hosts.paths[0].filters.append(strip(MpCapable, when))
    client, server = hosts.connect()

    assert hosts.transfer(client, server, DATA) == DATA
    assert client.fallen_back and server.fallen_back
    assert not any(mptcp_options(s) for s in hosts.sent() if not is_syn(s) and not is_syn_ack(s))


def test_k2_a_join_whose_data_is_acked_without_data_ack_is_reset_with_reason_6() -> None:
    peer = DataPeer(Parameters(scheduler="round-robin"), joins=1)
    peer.ack(0, flow=1)
    for _ in range(2):
        peer.connection.send(b"k" * 400, peer.bench.now)
        for flow in peer.flows:
            flow.hear(peer.bench.flush() or peer.bench.sent)

    peer.ack(None, flow=1)

    (reset,) = peer.resets(1)
    assert options_of([reset], MpTcprst)[0].reason == 6
    assert not peer.resets(0)


@pytest.mark.parametrize("stack_opens", [True, False])
def test_k3_on_the_first_subflow_it_means_tcp_and_one_infinite_mapping(stack_opens: bool) -> None:
    peer = DataPeer(stack_opens=stack_opens)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(None)
    assert peer.connection.fallen_back
    peer.connection.send(b"l" * 400, peer.bench.now)
    sent = peer.bench.flush()

    (infinite,) = [dss for dss in options_of(sent, Dss) if dss.dsn is not None]
    assert (infinite.length, infinite.checksum, infinite.data_ack) == (0, None, None)
    assert infinite.dsn == peer.host_dsn(0)
    assert infinite.ssn == 1
    peer.flows[0].hear(sent)
    peer.ack(None)
    peer.connection.send(b"m" * 400, peer.bench.now)
    assert not any(mptcp_options(segment) for segment in peer.bench.flush())


def test_k3_a_linux_server_waits_for_the_connection_level_timer_first() -> None:
    peer = DataPeer(profile("linux"))
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(None)
    peer.settle()
    assert not peer.connection.fallen_back
    again = [segment for segment in peer.bench.wait(5 * SECOND) if segment.payload]

    assert peer.connection.fallen_back
    assert not again  # to a peer that is plain TCP, that would be data twice


def test_k3_a_linux_client_falls_back_without_infinite_mapping() -> None:
    peer = DataPeer(profile("linux"), stack_opens=True)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(None)
    peer.connection.send(b"l" * 400, peer.bench.now)

    assert peer.connection.fallen_back
    assert not any(mptcp_options(segment) for segment in peer.bench.flush())


@pytest.mark.parametrize("name", ["linux", "rfc8684"])
@pytest.mark.parametrize("what", ["data", "acks", "all"])
def test_k3_a_path_that_strips_all_but_the_syns_still_delivers_everything(name: str, what: str) -> None:
    hosts = TwoHosts(profile(name), seed=8)

    def when(segment: Segment) -> bool:
        if is_syn(segment) or is_syn_ack(segment) or segment.dss is None:
            return False
        return what == "all" or (what == "data") is carries_data(segment)

    hosts.paths[0].filters.append(strip(Dss, when))
    if what != "acks":
        hosts.paths[0].filters.append(strip(MpCapable, carries_data))
    client, server = hosts.connect()

    assert hosts.transfer(client, server, DATA) == DATA
    answer = DATA[::-1]
    assert hosts.transfer(server, client, answer) == answer


def test_k4_options_lost_later_reset_the_subflow_with_reason_6_and_the_data_goes_elsewhere() -> None:
    parameters = replace(profile("rfc8684"), path_manager="subflow", receive_buffer=60_000)
    hosts = TwoHosts(parameters, paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, DATA)
    hosts.run(SECOND)
    hosts.paths[1].filters.append(strip(Dss))

    reasons = set()
    for _ in range(6):  # a window of data has to come that way; it is penalised for holding up the other path
        assert hosts.transfer(client, server, DATA) == DATA
        reasons |= {option.reason for option in options_of(hosts.sent(), MpTcprst)}
    assert reasons == {6}
    assert not server.fallen_back


def _swallow(peer: DataPeer, start: int) -> None:
    """400 octets that flow 0 acknowledges without DATA_ACK, and that flow 1 gets later and DATA_ACKs."""
    peer.connection.send(b"s" * 400, peer.bench.now)
    sent = peer.bench.flush()
    assert {segment.destination for segment in sent if segment.payload} == {peer.flows[0].own}
    peer.flows[0].hear(sent)
    peer.ack(start)
    again: list[Segment] = []
    while not any(map(carries_data, again)):
        again = peer.bench.wait(20 * MS)
    assert {segment.destination for segment in filter(carries_data, again)} == {peer.flows[1].own}
    peer.flows[1].hear([segment for segment in again if carries_data(segment)])
    peer.ack(start + 400, flow=1)


def test_k4_a_subflow_whose_data_are_acknowledged_and_never_data_acked_is_reset_with_reason_6() -> None:
    peer = DataPeer(joins=1)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(400)

    for number in range(6):
        assert not peer.resets(0)
        _swallow(peer, 400 + 400 * number)

    (reset,) = peer.resets(0)
    assert options_of([reset], MpTcprst)[0].reason == 6
    assert not peer.resets(1)


def test_k4_not_when_a_window_of_data_was_delivered_in_between() -> None:
    peer = DataPeer(Parameters(options=replace(profile("linux").options, mapping_octets=1000)), joins=1)
    delivered = 0
    for _ in range(8):
        _swallow(peer, delivered)
        delivered += 400
        target = delivered + 2 * peer.connection.subflows[0].tcp.max_snd_wnd
        while delivered < target:
            peer.connection.send(bytes(1000), peer.bench.now)
            sent = peer.bench.flush()
            delivered += 1000
            for number, flow in enumerate(peer.flows):
                heard = [segment for segment in sent if segment.destination == flow.own]
                flow.hear(heard)
                if heard:
                    peer.ack(delivered, flow=number)

    assert not peer.resets(0)


# --- K5 to K8: checksums ---


def wrong(dss: Dss) -> Dss:
    assert dss.checksum is not None
    return Dss(dss.data_ack, 8, dss.dsn, 8, dss.ssn, dss.length, dss.checksum ^ 0x0101, dss.data_fin)


def test_k5_with_several_subflows_the_bad_one_is_reset_with_mp_fail() -> None:
    peer = DataPeer(CHECKSUM, joins=1)
    peer.data(0, 100, flow=1)

    peer.data(100, 100, wrong(peer.map(100, 100, 101)), flow=1)

    (reset,) = peer.resets(1)
    assert [option.dsn for option in options_of([reset], MpFail)] == [peer.dsn(100)]
    assert options_of([reset], MpTcprst)[0].reason == 6
    assert not peer.resets(0)


def test_k6_failed_data_is_discarded_not_data_acked_and_sent_again_elsewhere() -> None:
    peer = DataPeer(CHECKSUM, joins=1)
    peer.data(0, 100, flow=1)

    peer.data(100, 100, wrong(peer.map(100, 100, 101)), flow=1)
    peer.settle()
    assert peer.data_acked() == 100
    assert peer.read() == part(0, 100)
    peer.data(100, 200, flow=0)

    assert peer.read() == part(100, 200)


def test_k6_the_sender_repeats_on_another_subflow_what_an_mp_fail_took_down() -> None:
    hosts = TwoHosts(replace(CHECKSUM, path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.transfer(client, server, DATA)
    hosts.run(SECOND)
    hosts.paths[1].filters.append(_damage_once())

    assert hosts.transfer(client, server, DATA) == DATA
    assert hosts.transfer(client, server, DATA) == DATA
    assert server.counters["MPTcpExtDataCsumErr"] == 1
    assert client.counters["MPTcpExtMPFailRx"] == 1


def _damage_once():  # type: ignore[no-untyped-def]
    left = [1]

    def change(segment: Segment, now: int) -> Segment:
        if not left[0] or len(segment.payload) < 100:
            return segment
        left[0] -= 1
        damaged = with_options(segment, segment.options)  # a copy that compiled classes allow, too
        damaged.payload = bytes((segment.payload[0] ^ 1,)) + segment.payload[1:]
        return damaged

    return change


def test_k7_on_a_single_subflow_mp_fail_leaves_on_an_ack_and_the_data_waits_for_an_infinite_mapping() -> None:
    peer = DataPeer(CHECKSUM)
    peer.data(0, 100)

    answers = peer.data(100, 100, wrong(peer.map(100, 100, 101)))

    (fail,) = options_of(answers, MpFail)
    assert fail.dsn == peer.dsn(100)
    assert not peer.resets()
    assert peer.read() == part(0, 100)
    assert peer.data_acked() == 100
    peer.data(200, 100, Dss(None, 8, peer.dsn(100), 8, 101, 0, 0))
    assert peer.read() == part(100, 200)
    assert peer.connection.fallen_back


def test_k7_mp_fail_is_answered_with_mp_fail_and_an_infinite_mapping_from_the_last_data_ack_on() -> None:
    peer = DataPeer(CHECKSUM)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    peer.ack(400)
    peer.connection.send(b"l" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    answers = peer.ack(400, MpFail(peer.host_dsn(400)))
    peer.connection.send(b"m" * 400, peer.bench.now)
    answers += peer.bench.flush()

    assert len(options_of(answers, MpFail)) == 1
    infinite = [dss for dss in options_of(answers, Dss) if dss.dsn is not None and dss.length == 0]
    assert {(dss.dsn, dss.ssn, dss.checksum) for dss in infinite} == {(peer.host_dsn(400), 401, 0)}
    assert peer.connection.fallen_back


@pytest.mark.parametrize("name", ["linux", "rfc8684"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_k7_between_two_stacks_the_transfer_goes_on_as_tcp(name: str, both_ways: bool) -> None:
    hosts = TwoHosts(replace(profile(name), checksum=True))
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA[:5000]) == DATA[:5000]
    hosts.run(SECOND)
    hosts.paths[0].filters.append(_damage_once())

    received = hosts.transfer(client, server, DATA)

    assert len(received) == len(DATA)
    assert sum(one != other for one, other in zip(received, DATA, strict=True)) == 1
    assert client.fallen_back and server.fallen_back
    if both_ways:
        assert hosts.transfer(server, client, DATA) == DATA


def test_k7_the_last_data_of_a_stream_is_not_left_waiting() -> None:
    hosts = TwoHosts(replace(profile("rfc8684"), checksum=True))
    client, server = hosts.connect()
    hosts.transfer(client, server, b"a" * 1000)
    hosts.run(SECOND)
    hosts.paths[0].filters.append(_damage_once())

    client.send(b"b" * 1000, hosts.now)
    client.close(hosts.now)
    hosts.run(5 * SECOND)

    assert server.receive(5000) == b"c" + b"b" * 999


@pytest.mark.parametrize("from_client", [True, False])
def test_k7_after_fast_open_the_infinite_mapping_counts_ssns_from_after_the_syns_data(from_client: bool) -> None:
    hosts = TwoHosts(Parameters(tcp=TcpParameters(fast_open=True), checksum=True))
    hosts.connect()  # for the cookie
    hosts.run(SECOND)
    client = hosts.client.connect(hosts.client.connections[0].subflows[0].tcp.remote, hosts.now, None)
    client.send(b"h" * 500, hosts.now)
    hosts.flush()
    server = hosts.accept()
    assert hosts.run_until(lambda: server.receive_queue.ready_octets == 500, SECOND)
    assert server.receive(500) == b"h" * 500
    for sender, receiver in ((client, server), (server, client)):
        assert hosts.transfer(sender, receiver, DATA[:3000]) == DATA[:3000]
    hosts.run(SECOND)
    assert (client.subflows[0].ssn_offset, server.subflows[0].peer_ssn_offset) == (500, 500)
    hosts.paths[0].filters.append(_damage_once())

    sender, receiver = (client, server) if from_client else (server, client)
    received = hosts.transfer(sender, receiver, DATA[:25_000])

    assert len(received) == 25_000
    assert client.fallen_back and server.fallen_back


def test_k7_an_mp_fail_that_is_not_answered_is_repeated_and_then_the_subflow_is_reset() -> None:
    peer = DataPeer(CHECKSUM)
    peer.data(0, 100)
    peer.data(100, 100, wrong(peer.map(100, 100, 101)))

    later = peer.bench.wait(10 * SECOND)

    assert [option.dsn for option in options_of(later, MpFail)] == [peer.dsn(100)] * 3
    assert [bool(segment.flags & RST) for segment in having(later, MpFail)] == [False, False, True]
    assert peer.read() == part(0, 100)
    assert peer.connection.accepts_subflows()
    peer.join(0)
    peer.data(100, 200, flow=1)
    assert peer.read() == part(100, 200)


@pytest.mark.parametrize("used", [False, True])
def test_k7_a_join_that_has_carried_nothing_is_given_up_for_it(used: bool) -> None:
    peer = DataPeer(replace(CHECKSUM, scheduler="round-robin"), joins=1)
    for _ in range(2 if used else 1):
        peer.connection.send(b"k" * 400, peer.bench.now)
        sent = peer.bench.flush()
        for flow in peer.flows:
            flow.hear([segment for segment in sent if segment.destination == flow.own])
    peer.ack(0, MpFail(peer.host_dsn(0)))

    assert peer.connection.fallen_back is not used
    assert bool(peer.resets(1)) is not used
    assert bool(peer.resets(0)) is used, "K8"


def test_k8_data_of_the_failed_range_that_came_on_another_subflow_forbids_the_infinite_mapping() -> None:
    peer = DataPeer(CHECKSUM)
    peer.data(0, 100)
    peer.data(100, 100, wrong(peer.map(100, 100, 101)))
    peer.join(0)
    peer.data(100, 200, flow=1)
    assert peer.read() == part(0, 300)

    peer.data(200, 100, Dss(None, 8, peer.dsn(100), 8, 101, 0, 0))

    assert not peer.connection.fallen_back
    assert peer.resets(0)
    peer.data(300, 100, flow=1)
    assert peer.read() == part(300, 100)


def test_k8_when_the_stream_is_not_contiguous_the_subflow_is_reset_with_mp_fail() -> None:
    peer = DataPeer(CHECKSUM)
    peer.data(500, 100)

    peer.data(0, 100, wrong(peer.map(0, 100, 101)))

    (reset,) = peer.resets(0)
    assert options_of([reset], MpFail)[0].dsn == peer.dsn(0)
    assert peer.read() == b""


def test_k8_an_mp_fail_on_a_reset_ends_the_subflow_not_the_connection() -> None:
    peer = DataPeer(CHECKSUM)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.flows[0].say(ACK | RST, MpFail(peer.host_dsn(0)), MpTcprst(6))

    assert peer.counters["MPTcpExtMPFailRx"] == 1
    assert not peer.connection.fallen_back
    assert peer.connection.live_subflows() == 0
    assert peer.connection.accepts_subflows()
    peer.join(0)  # a new subflow takes the data up
    peer.ack(0, flow=1)
    sent = peer.bench.sent + peer.bench.wait(3 * SECOND)
    assert any(segment.payload == b"k" * 400 and segment.destination == peer.flows[1].own for segment in sent)


def test_k8_data_after_a_failed_checksum_that_was_held_is_not_lost_in_the_fallback() -> None:
    peer = DataPeer(replace(CHECKSUM, rules=ReceiverRules(deliver_failed_checksum=True)))
    peer.data(0, 100)
    for start in (100, 200, 300):
        peer.data(start, 100, mapped=False)

    peer.data(100, 100, wrong(peer.map(100, 100, 101)), at=101)
    peer.data(400, 100, mapped=False)

    assert peer.connection.fallen_back
    assert peer.read() == part(0, 500)


def test_k8_held_data_that_may_be_copies_forbids_fallback_while_it_is_mapped() -> None:
    rules = ReceiverRules(accept_partly_mapped_segment=False, on_violation="fallback-or-reset")
    peer = DataPeer(Parameters(rules=rules))
    peer.data(0, 100)
    for start in (100, 200, 300):
        peer.data(start, 100, mapped=False)

    peer.data(100, 100, peer.map(100, 50, 101), at=101)

    assert not peer.connection.fallen_back
    assert len(peer.resets()) == 1


def test_k8_no_fallback_after_data_was_discarded() -> None:
    peer = DataPeer(Parameters(rules=ReceiverRules(hold_unmapped=0, on_missing_mapping="discard")))
    peer.data(0, 100, mapped=False)
    peer.connection.send(b"k" * 400, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())

    peer.ack(None)

    assert not peer.connection.fallen_back  # the next data would stand where the discarded stood
    assert len(peer.resets()) == 1


# --- K9, K10 ---


def test_k9_after_an_infinite_mapping_only_subflow_acks_free_the_buffer() -> None:
    peer = DataPeer()
    peer.data(0, 100, Dss(peer.host_dsn(0), 8, peer.dsn(0), 8, 1, 0))
    assert peer.connection.fallen_back
    peer.connection.send(b"f" * 400, peer.bench.now)
    before = peer.flows[0].ack
    sent = peer.bench.flush()

    assert not any(dss.data_ack is not None for dss in options_of(sent, Dss))
    peer.ack(400, number=before)
    assert peer.connection.unacknowledged_octets == 400
    peer.ack(None, number=(before + 400) & 0xFFFFFFFF)

    assert peer.connection.unacknowledged_octets == 0
    assert peer.connection.send_queue.held == 0


def test_k9_one_subflow_only_a_join_is_refused() -> None:
    peer = DataPeer()
    peer.data(0, 100, Dss(peer.host_dsn(0), 8, peer.dsn(0), 8, 1, 0))

    flow = peer.bench.flow(port=6100)
    answer = flow.say(0x02, MpJoin(9, False, token=peer.connection.keys.local_token, nonce=5))

    assert answer and answer[0].flags & RST


def test_k10_there_is_no_way_back() -> None:
    hosts = TwoHosts()
    hosts.paths[0].filters.append(strip(MptcpOption, is_syn_ack))
    client, server = hosts.connect()
    hosts.paths[0].filters.clear()
    hosts.transfer(client, server, DATA)

    assert client.fallen_back and server.fallen_back
    peer = DataPeer()
    peer.data(0, 100, Dss(peer.host_dsn(0), 8, peer.dsn(0), 8, 1, 0))
    peer.data(100, 100, peer.map(5000, 100, 101))
    assert peer.read() == part(0, 200)
    assert peer.connection.fallen_back


# --- the stream after fallback: protocol.md 4.3 ---


def _fallen_back(linux: bool = True) -> DataPeer:
    peer = DataPeer(profile("linux") if linux else profile("rfc8684"))
    peer.data(0, 110, Dss(peer.host_dsn(0), 8, peer.dsn(0), 8, 1, 0))
    assert peer.connection.fallen_back
    assert peer.read() == part(0, 110)
    return peer


@pytest.mark.parametrize("linux", [True, False])
def test_e14_after_fallback_a_partly_overlapping_retransmission_loses_nothing(linux: bool) -> None:
    peer = _fallen_back(linux)

    peer.data(60, 100, at=61, mapped=False)
    assert peer.read() == part(110, 50)
    peer.data(160, 100, at=161, mapped=False)

    assert peer.read() == part(160, 100)


@pytest.mark.parametrize("seed", range(20))
def test_e14_after_fallback_any_repacketisation_gives_the_same_stream(seed: int) -> None:
    peer = _fallen_back()
    chance = random.Random(seed)
    received = b""

    for _ in range(400):
        known = 110 + len(received)
        start = max(0, known + chance.randrange(-150, 100))
        peer.data(start, chance.randrange(1, 200), at=1 + start, mapped=False)
        received += peer.read()

    assert len(received) > 5000
    assert received == part(110, len(received))


def test_e14_a_lossy_fallback_with_small_writes_delivers_every_octet() -> None:
    parameters = Parameters(tcp=TcpParameters(nagle=False))
    for seed in range(5):
        hosts = TwoHosts(parameters, paths=[Path(loss=0.05, delay_ns=MS)], seed=seed)
        hosts.paths[0].filters.append(strip(MpCapable, is_syn_ack))
        client, server = hosts.connect()

        assert hosts.transfer(client, server, DATA[:100_000], chunk=100) == DATA[:100_000]
        assert client.fallen_back


# --- A1 to A3 ---


def test_a2_no_more_than_two_pure_acks_in_a_row_repeat_each_other_but_for_signals() -> None:
    paths = [Path(loss=0.03, jitter_ns=3 * MS), Path(delay_ns=25 * MS, loss=0.03)]
    hosts = TwoHosts(Parameters(path_manager="subflow"), paths=paths, full_mesh=True, seed=2)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA * 2) == DATA * 2

    runs: dict[object, tuple[object, int]] = {}
    longest = 0
    for segment in hosts.sent(False):
        key = segment.destination
        same = (segment.ack, segment.dss.data_ack if segment.dss else None, segment.window, segment.sack is None)
        if not is_pure_ack(segment) or segment.sack is not None:
            runs.pop(key, None)
            continue
        previous, count = runs.get(key, (None, 0))
        runs[key] = (same, count + 1 if previous == same else 1)
        longest = max(longest, runs[key][1])
    assert longest <= 2


def _told_twice(seq_shift: int, ack_shift: int) -> DataPeer:
    """Signals on a segment whose numbers TCP must refuse."""
    peer = DataPeer(joins=1)
    flow = peer.flows[0]
    flow.say(
        ACK,
        Dss(data_ack=peer.host_dsn(0)),
        AddAddr(7, bytes((10, 9, 9, 9)), hmac=bytes(8)),
        MpFail(peer.dsn(0)),
        seq=(flow.seq + seq_shift) & 0xFFFFFFFF,
        ack=(flow.ack + ack_shift) & 0xFFFFFFFF,
    )
    return peer


@pytest.mark.parametrize(("seq_shift", "ack_shift"), [(1 << 30, 0), (-(1 << 30), 0), (0, 1 << 20), (0, -(1 << 30))])
def test_a3_signals_on_segments_that_tcp_refuses_are_not_acted_upon(seq_shift: int, ack_shift: int) -> None:
    peer = _told_twice(seq_shift, ack_shift)

    assert peer.counters["MPTcpExtMPFailRx"] == 0
    assert peer.counters["MPTcpExtAddAddr"] == 0
    assert not peer.connection.fallen_back
    peer.data(0, 100)
    assert peer.read() == part(0, 100)


def test_a3_a_mapping_or_data_ack_on_such_a_segment_is_not_believed_either() -> None:
    peer = DataPeer()
    peer.connection.send(b"z" * 100, peer.bench.now)
    peer.flows[0].hear(peer.bench.flush())
    flow = peer.flows[0]

    flow.say(ACK, Dss(data_ack=peer.host_dsn(100)), seq=(flow.seq + (1 << 30)) & 0xFFFFFFFF)

    assert peer.connection.unacknowledged_octets == 100
