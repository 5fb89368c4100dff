"""One host: whose segment it is, what it refuses, and that nothing of a connection outlives it."""

from __future__ import annotations

import random

import pytest
from mptcp_segments import find, is_reset, is_syn_ack
from raw_peer import HOST, KEY, PEER, PORT, RawBench
from two_hosts import SECOND, TwoHosts

from testbed.mptcp.host import NoAddressId, NoFreePort
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import AddressInUse, NoRoute, Stack
from testbed.tcp.icmp import Icmp, IcmpKind
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.tcp.state import State
from testbed.wire.options import MpCapable, MpJoin, MpTcprst
from testbed.wire.segment import ACK, SYN, SocketAddress

DATA = bytes(range(256)) * 100


def closed_pair(parameters: Parameters) -> TwoHosts:
    """Both ends have closed; the client is in TIME_WAIT."""
    hosts = TwoHosts(parameters, paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    client.close(hosts.now)
    hosts.run(SECOND)
    server.close(hosts.now)
    hosts.run(SECOND)
    return hosts


@pytest.mark.parametrize("manager", ["none", "subflow", "fullmesh"])
@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_of_a_closed_connection_remains(manager: str, enabled: bool) -> None:
    hosts = closed_pair(Parameters(path_manager=manager, enabled=enabled))
    hosts.run(300 * SECOND)
    for stack in (hosts.client, hosts.server):
        assert stack.connections == []
        assert stack.flows == {}
        assert len(stack.tokens) == 0
        assert stack.next_timeout() is None
        assert stack._deadlines == {}


def test_the_connections_that_speak_mptcp_now_are_counted() -> None:
    hosts = TwoHosts()
    client, server = hosts.connect()
    assert [stack.counters["MPTcpExtMPCurrEstab"] for stack in (hosts.client, hosts.server)] == [1, 1]
    client.close(hosts.now)
    hosts.run(SECOND)
    assert [stack.counters["MPTcpExtMPCurrEstab"] for stack in (hosts.client, hosts.server)] == [0, 1]
    server.abort(hosts.now)
    hosts.run(SECOND)
    assert hosts.server.counters["MPTcpExtMPCurrEstab"] == 0


def test_a_syn_may_reopen_a_pair_of_addresses_in_time_wait() -> None:
    hosts = closed_pair(Parameters(enabled=False))
    old = hosts.client.connections[0].subflows[0].tcp
    assert old.state is State.TIME_WAIT
    hosts.client.listen(old.local.port)
    again = hosts.server.connect(old.local, hosts.now, old.remote)
    hosts.run(SECOND)
    assert again.subflows[0].tcp.state is State.ESTABLISHED
    assert hosts.client.counters["TcpExtTWRecycled"] == 1


def test_a_joined_subflow_in_time_wait_gives_way_and_its_connection_lives_on() -> None:
    hosts = TwoHosts(Parameters(path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    joined = client.subflows[1]
    client.signalling.close_subflow(joined, hosts.now)
    hosts.run(SECOND)
    assert joined.tcp.state is State.TIME_WAIT
    hosts.client.listen(joined.tcp.local.port)
    other = hosts.server.connect(joined.tcp.local, hosts.now, joined.tcp.remote)
    hosts.run(SECOND)
    assert other.subflows[0].tcp.state is State.ESTABLISHED
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(200 * SECOND)
    assert hosts.transfer(server, client, DATA) == DATA
    assert other.subflows[0].tcp.state is State.ESTABLISHED


def test_the_answers_of_one_call_do_not_change_by_the_next() -> None:
    bench = RawBench()
    before = bench.flush()
    bench.flow(port=1).say(ACK, ack=5)
    assert before == []


def test_two_listeners_on_a_port_or_two_connections_on_a_pair_are_refused() -> None:
    bench = RawBench()
    with pytest.raises(AddressInUse):
        bench.stack.listen(PORT)
    local = SocketAddress(HOST, 1000)
    bench.stack.connect(SocketAddress(PEER, 9), bench.now, local)
    with pytest.raises(AddressInUse):
        bench.stack.connect(SocketAddress(PEER, 9), bench.now, local)
    bench.listener.close()
    bench.stack.listen(PORT)


def test_a_destination_that_no_address_reaches_is_refused() -> None:
    stack = Stack([HOST], Parameters(), random.Random(1), can_reach=lambda local, remote: remote == PEER)
    with pytest.raises(NoRoute):
        stack.connect(SocketAddress(bytes(16), 80), 0)
    with pytest.raises(NoRoute):
        stack.connect(SocketAddress(bytes((1, 2, 3, 4)), 80), 0)
    stack.connect(SocketAddress(PEER, 80), 0)


def test_ports_are_chosen_at_random_from_the_range_until_it_is_used_up() -> None:
    stack = Stack([HOST], Parameters(), random.Random(1), port_range=(100, 119))
    ports = [stack.connect(SocketAddress(PEER, 80), 0).local.port for _ in range(20)]
    assert sorted(ports) == list(range(100, 120))
    assert ports != sorted(ports)
    with pytest.raises(NoFreePort):
        stack.connect(SocketAddress(PEER, 80), 0)
    stack.connect(SocketAddress(PEER, 81), 0)


def test_a_full_accept_queue_holds_the_handshake_back() -> None:
    bench = RawBench()
    bench.listener.backlog = 1
    flows = [bench.flow(port=7000 + number) for number in range(2)]
    keys = [bench.client_up_to_syn_ack(flow) for flow in flows]
    for flow, answer in zip(flows, keys, strict=True):
        assert answer is not None
        flow.say(ACK, MpCapable(sender_key=KEY, receiver_key=answer.sender_key))
    assert bench.stack.counters["TcpExtListenOverflows"] == 1
    assert bench.listener.accept() is not None
    assert bench.listener.accept() is None
    answer = keys[1]
    assert answer is not None
    flows[1].say(ACK, MpCapable(sender_key=KEY, receiver_key=answer.sender_key))
    assert bench.listener.accept() is not None


def test_a_half_open_connection_expires_and_makes_room() -> None:
    bench = RawBench(Parameters(tcp=TcpParameters(syn_retries=2)))
    bench.listener.syn_backlog = 1
    assert bench.flow(port=1).say(SYN, MpCapable())
    assert not bench.flow(port=2).say(SYN, MpCapable())
    bench.wait(60 * SECOND)
    assert bench.stack.connections == []
    assert bench.flow(port=2).say(SYN, MpCapable())


def test_a_closed_listener_keeps_its_connections_and_takes_no_more() -> None:
    bench = RawBench()
    flow, connection, key = bench.connected_client()
    bench.listener.close()
    assert is_reset(bench.flow(port=2).say(SYN, MpCapable())[0])
    bench.say_dss(flow, key)
    assert not connection.is_closed


def test_a_join_may_not_be_answered_by_a_listener() -> None:
    """MP_JOIN without a token is no request; the SYN is an ordinary one, and MPTCP is not spoken on it."""
    bench = RawBench()
    answer = bench.flow(port=2).say(SYN, MpJoin(1, hmac=bytes(20)))[0]
    assert is_syn_ack(answer) and not answer.mptcp


def test_icmp_finds_its_subflow() -> None:
    hosts = TwoHosts()
    client, _server = hosts.connect()
    tcp = client.subflows[0].tcp
    client.send(DATA, hosts.now)
    hosts.flush()
    seq = (tcp.iss + tcp.snd_una) & 0xFFFFFFFF
    hosts.client.icmp_arrives(tcp.local, tcp.remote, Icmp(IcmpKind.TOO_BIG, seq, 1280), hosts.now)
    assert tcp.mss <= 1280 - 40
    hosts.client.icmp_arrives(tcp.remote, tcp.local, Icmp(IcmpKind.TOO_BIG, seq, 600), hosts.now)
    assert hosts.client.counters["TcpExtOutOfWindowIcmps"] == 1
    assert tcp.mss > 600


def test_an_unwelcome_join_is_told_why_on_the_reset() -> None:
    bench = RawBench()
    reply = bench.flow(port=3).say(SYN, MpJoin(1, token=5, nonce=5))[0]
    option = find(reply, MpTcprst)
    assert is_reset(reply) and option is not None and option.reason == 1


def test_address_ids_come_back_from_addresses_that_are_gone() -> None:
    stack = RawBench().stack
    for number in range(600):
        address = bytes((10, 1, number >> 8, number & 255))
        stack.add_address(address, number)
        assert address in stack.addresses
        assert 1 < stack.address_id(address) <= 255
        stack.remove_address(address, number)
    assert stack.address_id(HOST) == 1
    assert stack.counters["TestbedAddressesWithoutId"] == 0


def test_an_id_that_a_connection_names_is_not_given_to_another_address() -> None:
    hosts = TwoHosts(Parameters(path_manager="signal"), paths=2)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    (named,) = server.signalling.book.announced
    server.signalling.is_stopped = True  # a fallback: it withdraws nothing any more
    hosts.server.remove_address(hosts.server_addresses[1], hosts.now)
    for number in range(600):
        address = bytes((10, 7, number >> 8, number & 255))
        hosts.server.add_address(address, hosts.now)
        assert hosts.server.address_id(address) != named
        hosts.server.remove_address(address, hosts.now)


def test_an_address_beyond_the_last_id_is_left_out_and_counted() -> None:
    bench = RawBench()
    for number in range(300):
        bench.stack.add_address(bytes((10, 1, number >> 8, number & 255)), number)
    assert len(bench.stack.addresses) == 255
    assert bench.stack.counters["TestbedAddressesWithoutId"] == 46
    with pytest.raises(NoAddressId):
        Stack([*bench.stack.addresses, bytes(16)], Parameters(), random.Random(1))
