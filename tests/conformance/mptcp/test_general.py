"""A1 to A4: RFC 8684 §3 in general. (A5, A6: test_wire_form.)"""

from __future__ import annotations

import pytest
from mptcp_segments import is_pure_ack, is_syn
from raw_peer import KEY, RawBench, RawFlow
from two_hosts import SECOND, Path, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.keys import add_addr_hmac, idsn_of
from testbed.mptcp.parameters import Parameters
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import AddAddr, Dss, MpFail, MpFastclose, MpPrio, MpTcprst, Option, RemoveAddr
from testbed.wire.segment import ACK, RST

WITHOUT_SACK = TcpParameters(sack=False, recovery="newreno", tail_loss_probe=False)
DATA = bytes(range(256)) * 400


def sending(parameters: Parameters) -> tuple[RawBench, RawFlow, Connection, int]:
    """A stack that has ten segments on their way to the raw peer."""
    bench = RawBench(parameters)
    flow, connection, key = bench.connected_client()
    bench.say_dss(flow, key)
    connection.send(bytes(14_000), bench.now)
    bench.flush()
    return bench, flow, connection, key


def repeated(flow: RawFlow, connection: Connection, key: int, times: int, *more: Option, step: int = 0) -> None:
    """Duplicate ACKs: nothing acknowledged, the same window; DATA_ACK moved by ``step`` each time."""
    una = connection.subflows[0].tcp
    number = (una.iss + una.snd_una) & 0xFFFFFFFF
    for count in range(times):
        flow.say(ACK, Dss(data_ack=(idsn_of(key) + 1 + count * step) & (2**64 - 1)), *more, ack=number)


def reductions(connection: Connection) -> bool:
    return connection.subflows[0].tcp.in_recovery


def test_a1_duplicate_acks_that_carry_a_signal_are_no_sign_of_congestion() -> None:
    _bench, flow, connection, key = sending(Parameters(tcp=WITHOUT_SACK))
    repeated(flow, connection, key, 6, MpPrio(False))
    assert not reductions(connection)


def test_a1_nor_are_those_whose_data_ack_moves() -> None:
    _bench, flow, connection, key = sending(Parameters(tcp=WITHOUT_SACK))
    repeated(flow, connection, key, 6, step=100)
    assert not reductions(connection)


@pytest.mark.parametrize("they_count", [True, False])
def test_a1_plain_dss_acks_count_as_the_switch_says(they_count: bool) -> None:
    parameters = Parameters(tcp=WITHOUT_SACK, dss_acks_are_duplicates=they_count)
    _bench, flow, connection, key = sending(parameters)
    repeated(flow, connection, key, 6)
    assert reductions(connection) is they_count


def test_a2_no_more_than_two_duplicate_acks_in_a_row_without_a_signal() -> None:
    """Data on one subflow moves the DATA_ACK; the other subflow stays silent."""
    hosts = TwoHosts(Parameters(path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    hosts.paths[1].delay_ns *= 5
    before = len(hosts.transcript)
    assert hosts.transfer(client, server, DATA * 10) == DATA * 10
    hosts.run(SECOND)
    latest: dict[object, tuple[int, int]] = {}
    longest = 0
    for line in hosts.transcript[before:]:
        segment = line.segment
        if line.from_client or not is_pure_ack(segment) or segment.sack is not None:
            continue
        flow = (segment.source, segment.destination)
        number, count = latest.get(flow, (-1, 0))
        same = segment.ack == number and all(isinstance(option, Dss) for option in segment.mptcp)
        latest[flow] = (segment.ack, count + 1 if same else 0)
        longest = max(longest, latest[flow][1])
    assert longest <= 2


def forged(key: int, connection: Connection) -> list[Option]:
    own = connection.keys.local_key
    address = bytes((10, 9, 7, 7))
    return [
        AddAddr(4, address, None, add_addr_hmac(KEY, key, 4, address, None)),
        RemoveAddr((0,)),
        MpPrio(True),
        MpFail((idsn_of(KEY) + 1) & (2**64 - 1)),
        MpFastclose(own),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("wrong", ["seq", "ack"])
def test_a3_no_signal_is_acted_on_unless_sequence_and_ack_are_acceptable(number: int, wrong: str) -> None:
    bench = RawBench(Parameters(path_manager="signal"))
    flow, connection, key = bench.connected_client()
    bench.say_dss(flow, key)
    option = forged(key, connection)[number]
    before = dict(bench.stack.counters.values)
    if wrong == "seq":
        flow.say(ACK, option, seq=flow.seq + 10**8)
    else:
        flow.say(ACK, option, ack=flow.ack + 10**8)
    received = ("AddAddr", "RmAddr", "MPPrioRx", "MPFailRx", "MPFastcloseRx")
    after = bench.stack.counters
    assert [after[f"MPTcpExt{name}"] - before.get(f"MPTcpExt{name}", 0) for name in received] == [0] * 5
    assert not connection.is_closed and not connection.fallen_back
    assert not connection.subflows[0].backup and connection.signalling.initial_remote
    flow.say(ACK, option)
    assert after[f"MPTcpExt{received[number]}"] == 1  # the same in an acceptable segment is acted on


def test_a3_a_reset_reason_counts_only_with_an_acceptable_reset() -> None:
    bench = RawBench()
    flow, connection, key = bench.connected_client()
    bench.say_dss(flow, key)
    flow.say(RST, MpTcprst(6), seq=flow.seq + 10**8)
    assert connection.subflows[0].peer_reset is None
    subflow = connection.subflows[0]
    flow.say(RST, MpTcprst(6))
    assert subflow.peer_reset == MpTcprst(6)
    assert bench.stack.counters["MPTcpExtMPRstRx"] == 1


def test_a4_each_subflow_has_an_isn_of_its_own_from_clock_and_secret() -> None:
    def numbers(seed: int, start: int) -> list[int]:
        hosts = TwoHosts(Parameters(path_manager="ndiffports", ports=4), paths=[Path()], seed=seed)
        hosts.now = start
        client, server = hosts.connect()
        hosts.transfer(client, server, DATA)
        hosts.run(SECOND)
        return [segment.seq for segment in hosts.sent(True) if is_syn(segment)]

    first = numbers(1, SECOND)
    assert len(set(first)) == 4
    assert numbers(1, SECOND) == first
    assert not set(numbers(2, SECOND)) & set(first)
    later = numbers(1, 3 * SECOND)
    assert later[0] == (first[0] + 2 * SECOND // 4000) % 2**32  # RFC 6528: the clock ticks every 4 us


def test_signals_of_a_connection_that_fell_back_are_ignored() -> None:
    bench = RawBench()
    flow = bench.flow()
    answer = bench.client_up_to_syn_ack(flow)
    assert answer is not None
    flow.say(ACK)
    connection = bench.listener.accept()
    assert connection is not None and connection.fallen_back
    flow.say(ACK, MpPrio(True), RemoveAddr((1,)))
    flow.say(ACK, payload=b"xy")
    replies = flow.hear(bench.wait(SECOND))
    assert replies and all(not segment.mptcp for segment in replies)
    assert bench.stack.counters["MPTcpExtMPPrioRx"] == 0
