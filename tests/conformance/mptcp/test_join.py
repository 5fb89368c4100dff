"""J rows of RFC 8684 §3.2 and §3.9: further subflows."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from itertools import pairwise

import pytest
from mptcp_segments import changed, drop_first, find, having, is_reset, is_syn, is_syn_ack, strip
from raw_peer import HOST, KEY, PEER, PORT, RawBench, RawFlow
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.keys import token_of
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.subflow import SubflowState
from testbed.tcp.state import State
from testbed.wire.options import MpCapable, MpJoin, MpTcprst, Option
from testbed.wire.segment import ACK, SYN, Segment, SocketAddress

SUBFLOW = Parameters(path_manager="subflow")
DATA = bytes(range(256)) * 400


def two_subflows(
    parameters: Parameters = SUBFLOW, paths: list[Path] | None = None
) -> tuple[TwoHosts, Connection, Connection]:
    """Client address 1 joins server address 0; a little data has passed."""
    hosts = TwoHosts(parameters, paths=paths or 2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    return hosts, client, server


def joinable(parameters: Parameters | None = None) -> tuple[RawBench, RawFlow, Connection, int]:
    bench = RawBench(parameters)
    flow, connection, key = bench.connected_client()
    bench.say_dss(flow, key)
    return bench, flow, connection, key


def reason(segments: list[Segment]) -> int | None:
    """Of the only reset."""
    (reset,) = [segment for segment in segments if is_reset(segment)]
    option = find(reset, MpTcprst)
    return None if option is None else option.reason


def test_j1_each_end_knows_the_address_ids_of_both() -> None:
    hosts, client, server = two_subflows()
    assert [(s.is_initial, s.local_id, s.remote_id) for s in client.subflows] == [(True, 0, 0), (False, 2, 0)]
    assert [(s.is_initial, s.local_id, s.remote_id) for s in server.subflows] == [(True, 0, 0), (False, 0, 2)]
    joined = client.subflows[1]
    assert joined.tcp.local.host == hosts.client_addresses[1]


def test_j2_the_three_forms() -> None:
    hosts, client, server = two_subflows()
    joins = [find(segment, MpJoin) for segment in having(hosts.sent(), MpJoin)]
    request, answer, third = joins[0], joins[1], joins[2]
    assert request is not None and answer is not None and third is not None
    assert [option.size for option in (request, answer, third)] == [12, 16, 24]
    assert request.token == server.keys.local_token
    assert request.address_id == 2 and not request.backup
    assert answer.address_id == 0
    assert client.keys.remote_token == request.token


@pytest.mark.parametrize("backup", [False, True])
def test_j2_the_backup_flag_of_both_packets(backup: bool) -> None:
    backup_client = Parameters(path_manager="subflow", backup_addresses=(bytes((10, 0, 1, 1)),) if backup else ())
    _hosts, client, server = two_subflows(backup_client)
    assert client.subflows[1].backup_local is backup
    assert server.subflows[1].backup_remote is backup
    assert server.subflows[1].backup is backup


def test_j3_a_valid_token_is_answered_with_proof_and_nonce() -> None:
    bench, _flow, _connection, key = joinable()
    join = bench.join(bench.flow(port=6000), key)
    assert is_syn_ack(join.segments[0])
    assert join.answer is not None and join.answer.hmac == join.expected_proof()


def test_j4_an_unknown_token_is_reset_with_reason_1() -> None:
    bench, _flow, _connection, key = joinable()
    replies = bench.flow(port=6000).say(SYN, MpJoin(1, token=token_of(key) ^ 1, nonce=1))
    assert reason(replies) == 1
    assert bench.stack.counters["MPTcpExtMPJoinNoTokenFound"] == 1


def test_j4_more_subflows_than_the_limit_are_reset_with_reason_3() -> None:
    bench, _flow, connection, key = joinable(Parameters(subflows_limit=2))
    bench.join(bench.flow(port=6000), key).confirm()
    replies = bench.flow(port=6001).say(SYN, MpJoin(2, token=token_of(key), nonce=1))
    assert reason(replies) == 3
    assert len(connection.subflows) == 2
    assert bench.stack.counters["MPTcpExtMPJoinRejected"] == 1


def test_j5_both_proofs_by_independent_computation() -> None:
    bench, _flow, _connection, key = joinable()
    join = bench.join(bench.flow(port=6000), key, nonce=0x01020304)
    assert join.answer is not None and join.answer.nonce is not None
    by_b = hmac.digest(
        bytes.fromhex(f"{key:016x}{KEY:016x}"), bytes.fromhex(f"{join.answer.nonce:08x}01020304"), "sha256"
    )
    by_a = hmac.new(
        bytes.fromhex(f"{KEY:016x}{key:016x}"), bytes.fromhex(f"01020304{join.answer.nonce:08x}"), hashlib.sha256
    ).digest()
    assert join.answer.hmac == by_b[:8]
    join.flow.say(ACK, MpJoin(hmac=by_a[:20]))
    assert bench.stack.counters["MPTcpExtMPJoinAckRx"] == 1


def test_j6_the_third_packet_is_acknowledged_at_once() -> None:
    bench, _flow, connection, key = joinable()
    join = bench.join(bench.flow(port=6000), key)
    replies = join.confirm()
    assert [reply.flags & (SYN | ACK) for reply in replies] == [ACK]
    assert connection.subflows[1].state is SubflowState.ESTABLISHED
    again = join.flow.say(ACK, MpJoin(hmac=join.own_proof()))
    assert len(again) == 1  # the fourth was lost: it comes again


def test_j6_the_third_packet_is_repeated_and_no_data_leaves_before_the_fourth() -> None:
    def is_fourth(segment: Segment) -> bool:
        return segment.source.host == bytes((10, 0, 0, 2)) and not segment.flags & SYN

    paths = [Path(), Path(filters=[drop_first(is_fourth, 2)])]
    hosts = TwoHosts(SUBFLOW, paths=paths, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA * 10) == DATA * 10
    hosts.run(5 * SECOND)
    assert hosts.transfer(client, server, DATA * 10) == DATA * 10
    on_join = [line for line in hosts.transcript if line.segment.source.host == hosts.client_addresses[1]]
    thirds = [line for line in on_join if (o := find(line.segment, MpJoin)) and o.token is None]
    assert len(thirds) == 3
    waits = [later.time - earlier.time for earlier, later in pairwise(thirds)]
    assert waits[0] >= 200 * MS and waits[1] >= 1.9 * waits[0]
    fourth = max(line.time for line in thirds)
    assert all(not line.segment.payload for line in on_join if line.time < fourth)
    assert any(line.segment.payload for line in on_join if line.time > fourth)


def test_j6_a_join_whose_third_packet_is_never_acknowledged_is_given_up() -> None:
    def is_after_synack(segment: Segment) -> bool:
        return segment.source.host == bytes((10, 0, 0, 2)) and not segment.flags & SYN

    hosts, client, server = two_subflows(paths=[Path(), Path(filters=[drop_first(is_after_synack, 10**9)])])
    hosts.run(300 * SECOND)
    assert len(client.subflows) == 1
    assert hosts.transfer(client, server, DATA) == DATA


def test_j7_a_wrong_proof_in_the_synack_is_reset_by_the_client() -> None:
    def forge(option: MpJoin) -> Option:
        return MpJoin(option.address_id, option.backup, nonce=option.nonce, hmac=bytes(8))

    hosts, client, _server = two_subflows(
        paths=[Path(), Path(filters=[lambda s, now: changed(s, MpJoin, forge) if is_syn_ack(s) else s])]
    )
    assert len(client.subflows) == 1
    assert reason(hosts.sent(True)) == 1
    assert hosts.client.counters["MPTcpExtMPJoinSynAckHMacFailure"] == 1


def test_j7_a_synack_without_mp_join_is_reset_by_the_client() -> None:
    hosts, client, _server = two_subflows(paths=[Path(), Path(filters=[strip(MpJoin, is_syn_ack)])])
    assert len(client.subflows) == 1
    assert reason(hosts.sent(True)) == 1


@pytest.mark.parametrize("missing", [True, False])
def test_j7_a_missing_or_wrong_third_packet_is_reset_by_the_server(missing: bool) -> None:
    bench, _flow, connection, key = joinable()
    join = bench.join(bench.flow(port=6000), key)
    replies = join.flow.say(ACK) if missing else join.flow.say(ACK, MpJoin(hmac=bytes(20)))
    assert reason(replies) == 1
    assert len(connection.subflows) == 1
    assert bench.stack.counters["MPTcpExtMPJoinAckHMacFailure"] == (0 if missing else 1)


def test_j8_a_join_finds_its_connection_by_token_on_any_port() -> None:
    bench, _flow, connection, key = joinable()
    nowhere = bench.flow(port=6000, host_port=PORT + 1000)
    replies = bench.join(nowhere, key).confirm()
    assert replies and not is_reset(replies[0])
    assert [subflow.tcp.local.port for subflow in connection.subflows] == [PORT, PORT + 1000]
    assert nowhere.say(ACK, seq=nowhere.seq - 1)  # by 4-tuple from here on: an old segment is answered with an ACK


def test_j8_two_connections_are_told_apart_by_their_tokens() -> None:
    bench, _flow, one, _key = joinable()
    second = bench.flow(port=5600)
    second, other, other_key = bench.connected_client(second)
    bench.say_dss(second, other_key)
    bench.join(bench.flow(port=6000), other_key).confirm()
    assert (len(one.subflows), len(other.subflows)) == (1, 2)


def test_j9_a_pair_that_failed_is_not_tried_again_until_it_is_announced_anew() -> None:
    hosts, client, server = two_subflows(paths=[Path(), Path(filters=[strip(MpJoin, is_syn_ack)])])

    def joins() -> int:
        return len([s for s in having(hosts.sent(True), MpJoin) if is_syn(s)])

    assert joins() == 1
    assert hosts.transfer(client, server, DATA * 20) == DATA * 20
    hosts.run(60 * SECOND)
    assert joins() == 1
    hosts.paths[1].filters.clear()
    hosts.client.remove_address(hosts.client_addresses[1], hosts.now)
    hosts.client.add_address(hosts.client_addresses[1], hosts.now)
    hosts.run(SECOND)
    assert joins() == 2
    assert len(client.subflows) == 2


def test_j10_same_destination_port_and_where_free_same_source_port() -> None:
    _hosts, client, _server = two_subflows()
    first, second = (subflow.tcp for subflow in client.subflows)
    assert first.remote == second.remote
    assert first.local.port == second.local.port
    ports = Parameters(path_manager="ndiffports", ports=3)
    _hosts, client, _server = two_subflows(ports)
    assert len({subflow.tcp.remote for subflow in client.subflows}) == 1
    assert len({subflow.tcp.local for subflow in client.subflows}) == 3


def starts(parameters: Parameters, seed: int) -> list[int]:
    """Times from the first DSS at the client to each join."""
    hosts = TwoHosts(parameters, paths=3, full_mesh=True, seed=seed)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(10 * SECOND)
    first = next(line.time for line in hosts.transcript if not line.from_client and line.segment.dss) + 10 * MS
    return [line.time - first for line in hosts.transcript if is_syn(line.segment) and find(line.segment, MpJoin)]


def test_j11_the_start_is_spread_at_random() -> None:
    jitter = replace(SUBFLOW, subflow_jitter_ns=500 * MS)
    times = [starts(jitter, seed)[0] for seed in range(1, 9)]
    assert len(set(times)) == 8
    assert all(0 <= time <= 501 * MS for time in times)
    assert starts(jitter, 3) == starts(jitter, 3)


def test_j12_delay_rate_and_number_of_openings_are_bounded() -> None:
    assert [time // MS for time in starts(SUBFLOW, 1)] == [0, 0]
    delayed = replace(SUBFLOW, subflow_delay_ns=300 * MS, subflow_interval_ns=200 * MS)
    assert [round(time / MS) for time in starts(delayed, 1)] == [300, 500]
    assert len(starts(replace(SUBFLOW, subflows_limit=2), 1)) == 1


@pytest.mark.parametrize(("octets", "subflows"), [(5_000, 1), (20_000, 2), (100_000, 3)])
def test_j12_one_subflow_for_each_initial_window_that_waits(octets: int, subflows: int) -> None:
    waiting = replace(SUBFLOW, subflow_buffered_octets=14_600)
    hosts = TwoHosts(waiting, Parameters(), paths=3, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(server, client, DATA) == DATA  # a DSS has arrived: further subflows are allowed
    hosts.run(SECOND)
    assert len(client.subflows) == 1
    client.send(bytes(octets), hosts.now)
    hosts.run(SECOND)
    assert len(client.subflows) == subflows
    assert hosts.client.next_timeout() is None or hosts.client.next_timeout() > hosts.now


def test_a_join_that_the_peer_refuses_ends_without_a_reset_of_ours() -> None:
    hosts = TwoHosts(Parameters(path_manager="subflow"), Parameters(subflows_limit=1), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    assert len(client.subflows) == 1
    assert hosts.client.counters["MPTcpExtMPRstRx"] == 1
    assert hosts.client.counters["MPTcpExtMPRstTx"] == 0
    assert reason(hosts.sent()) == 3


def test_a_join_to_a_connection_that_is_tcp_finds_no_token() -> None:
    bench = RawBench()
    flow = bench.flow()
    answer = bench.client_up_to_syn_ack(flow)
    assert answer is not None and answer.sender_key is not None
    flow.say(ACK)
    replies = bench.flow(port=6000).say(SYN, MpJoin(1, token=token_of(answer.sender_key), nonce=1))
    assert reason(replies) == 1
    assert bench.stack.counters["MPTcpExtMPJoinNoTokenFound"] == 1


def test_a_join_before_the_key_of_the_peer_is_refused() -> None:
    bench = RawBench()
    answer = bench.client_up_to_syn_ack(bench.flow())
    assert answer is not None and answer.sender_key is not None
    replies = bench.flow(port=6000).say(SYN, MpJoin(1, token=token_of(answer.sender_key), nonce=1))
    assert reason(replies) == 1


def test_joins_by_the_server_side_are_accepted_by_a_client() -> None:
    bench = RawBench()
    client = bench.stack.connect(SocketAddress(PEER, 99), bench.now)
    request = bench.flush()[0]
    flow = bench.flow(99, PEER, HOST, request.source.port)
    flow.ack = request.seq + 1
    flow.say(SYN | ACK, MpCapable(sender_key=KEY))
    key = client.keys.local_key
    bench.say_dss(flow, key)
    join = bench.join(bench.flow(6001, bytes((10, 9, 1, 1)), HOST, request.source.port), key)
    join.confirm()
    assert [subflow.tcp.state for subflow in client.subflows] == [State.ESTABLISHED, State.ESTABLISHED]


def test_a_flood_of_joins_stays_within_the_limit() -> None:
    bench, _flow, connection, key = joinable(Parameters(subflows_limit=4))
    for number in range(40):
        bench.join(bench.flow(port=6000 + number), key)
    assert len(connection.subflows) == 4
    assert len(bench.stack.flows) == 4
    assert bench.stack.counters["MPTcpExtMPJoinRejected"] == 37
