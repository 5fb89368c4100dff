"""G rows of RFC 8684 §3.3.8 and §3.4: ADD_ADDR, REMOVE_ADDR, MP_PRIO."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from mptcp_segments import drop_first, find, having, is_pure_ack, is_reset, is_syn, mptcp_options, options_of
from raw_peer import KEY, RawBench, RawFlow
from two_hosts import SECOND, Path, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.keys import add_addr_hmac
from testbed.mptcp.parameters import OptionPolicy, Parameters
from testbed.mptcp.path_manager.base import Pair
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.tcp.state import State
from testbed.wire.options import AddAddr, Dss, MpJoin, MpPrio, RemoveAddr
from testbed.wire.segment import ACK, Segment, SocketAddress

SIGNAL = Parameters(path_manager="signal")
DATA = bytes(range(256)) * 400
ELSEWHERE = bytes((10, 9, 7, 7))


def connected(parameters: Parameters = SIGNAL) -> tuple[RawBench, RawFlow, Connection, int]:
    """A stack that is the server of a raw peer; a DSS has arrived."""
    bench = RawBench(parameters)
    flow, connection, key = bench.connected_client()
    bench.say_dss(flow, key)
    return bench, flow, connection, key


def announcement(key: int, address_id: int = 4, address: bytes = ELSEWHERE, port: int | None = None) -> AddAddr:
    """As the raw peer announces it to the stack whose key this is."""
    return AddAddr(address_id, address, port, add_addr_hmac(KEY, key, address_id, address, port))


def signalled(
    parameters: Parameters = SIGNAL, paths: list[Path] | int = 2, full_mesh: bool = False
) -> tuple[TwoHosts, Connection, Connection]:
    hosts = TwoHosts(parameters, paths=paths, full_mesh=full_mesh)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    return hosts, client, server


def test_g1_ids_are_unique_per_sender_and_signals_need_an_acceptable_segment() -> None:
    hosts, _client, _server = signalled(paths=4)
    announced = [option for option in options_of(hosts.sent(False), AddAddr) if not option.echo]
    assert len({option.address_id for option in announced}) == len({option.address for option in announced}) == 3
    assert 0 not in {option.address_id for option in announced}
    _bench, flow, connection, key = connected()
    flow.say(ACK, announcement(key), seq=flow.seq + 10**6)  # far outside the window
    assert connection.signalling.book.remotes == {}
    flow.say(ACK, announcement(key))
    assert list(connection.signalling.book.remotes) == [4]


def test_g2_learned_addresses_are_stored_and_bounded() -> None:
    bench, flow, connection, key = connected(Parameters(add_addr_accepted_limit=3))
    for number in range(1, 20):
        flow.say(ACK, announcement(key, number, bytes((10, 9, 8, number))))
    assert list(connection.signalling.book.remotes) == [1, 2, 3]
    assert bench.stack.counters["MPTcpExtAddAddr"] == 19
    assert bench.stack.counters["MPTcpExtAddAddrDrop"] == 16


@pytest.mark.parametrize("port", [None, 4242])
def test_g3_without_a_port_the_port_of_the_carrying_subflow_counts(port: int | None) -> None:
    _bench, flow, connection, key = connected()
    flow.say(ACK, announcement(key, port=port))
    assert connection.signalling.book.remotes[4].port == (port or flow.own.port)


def test_g4_an_announcement_with_a_wrong_hmac_is_ignored_silently() -> None:
    bench, flow, connection, key = connected()
    forged = announcement(key)
    assert forged.hmac is not None
    forged.hmac = bytes((forged.hmac[0] ^ 1,)) + forged.hmac[1:]
    assert flow.say(ACK, forged) == []
    assert connection.signalling.book.remotes == {}
    assert bench.stack.counters["MPTcpExtAddAddr"] == 0


def test_g4_the_hmac_of_ours_by_independent_computation() -> None:
    hosts, client, server = signalled()
    (option,) = [option for option in options_of(hosts.sent(False), AddAddr) if not option.echo]
    secret = server.keys.local_key.to_bytes(8, "big") + client.keys.local_key.to_bytes(8, "big")
    message = bytes((option.address_id,)) + option.address + b"\0\0"
    assert option.hmac == hmac.new(secret, message, hashlib.sha256).digest()[-8:]


def test_g5_an_announcement_is_echoed_without_hmac() -> None:
    _bench, flow, _connection, key = connected()
    (reply,) = flow.say(ACK, announcement(key, port=99))
    echo = find(reply, AddAddr)
    assert echo is not None and echo.echo
    assert (echo.address_id, echo.address, echo.port) == (4, ELSEWHERE, 99)


def test_g5_without_echo_it_is_repeated_three_times_with_growing_waits() -> None:
    def is_echo(segment: Segment) -> bool:
        return (option := find(segment, AddAddr)) is not None and option.echo

    hosts, _client, _server = signalled(paths=[Path(filters=[drop_first(is_echo, 100)]), Path()])
    hosts.run(100 * SECOND)
    times = [
        line.time
        for line in hosts.transcript
        if not line.from_client and (option := find(line.segment, AddAddr)) is not None and not option.echo
    ]
    assert len(times) == 1 + 3
    assert times[2] - times[1] >= 1.9 * (times[1] - times[0])
    assert hosts.server.counters["MPTcpExtAddAddrTx"] == 4


def test_g5_one_address_is_announced_after_the_other() -> None:
    """A Linux receiver drops an announcement that comes before its worker has seen to the last one."""
    hosts, _client, server = signalled(paths=4)
    told: list[tuple[int, bool]] = []
    for line in hosts.transcript:
        option = find(line.segment, AddAddr)
        if option is not None:
            assert option.echo == line.from_client
            told.append((option.address_id, option.echo))
    ids = [address_id for address_id, is_echo in told if not is_echo]
    assert len(ids) == 3
    assert told == [(address_id, is_echo) for address_id in ids for is_echo in (False, True)]
    assert server.signalling.book.pending == {}


def test_g5_an_address_that_is_not_echoed_does_not_keep_the_others_back() -> None:
    def is_echo(segment: Segment) -> bool:
        return (option := find(segment, AddAddr)) is not None and option.echo

    paths = [Path(filters=[drop_first(is_echo, 100)]), Path(), Path()]
    hosts, client, _server = signalled(replace(SIGNAL, add_addr_timeout_ns=50_000_000), paths)
    hosts.run(10 * SECOND)
    assert len(client.signalling.book.remotes) == 2
    assert len(client.subflows) == 3


def test_g5_an_echo_ends_the_repetition() -> None:
    hosts, _client, server = signalled()
    hosts.run(100 * SECOND)
    assert hosts.server.counters["MPTcpExtAddAddrTx"] == 1
    assert hosts.server.counters["MPTcpExtEchoAdd"] == 1
    assert server.signalling.book.pending == {}


def test_g5_the_timeout_of_the_parameters_bounds_the_wait() -> None:
    def is_echo(segment: Segment) -> bool:
        return (option := find(segment, AddAddr)) is not None and option.echo

    quick = replace(SIGNAL, add_addr_timeout_ns=50_000_000, add_addr_attempts=1)
    hosts, _client, _server = signalled(quick, [Path(filters=[drop_first(is_echo, 100)]), Path()])
    times = [
        line.time
        for line in hosts.transcript
        if not line.from_client and (option := find(line.segment, AddAddr)) is not None and not option.echo
    ]
    assert [later - times[0] for later in times] == [0, 50_000_000]


def test_g6_an_address_that_failed_is_tried_again_only_when_it_is_refreshed() -> None:
    dead = Path(is_up=False)
    tcp = TcpParameters(syn_retries=1)
    hosts, _client, server = signalled(replace(SIGNAL, tcp=tcp), [Path(), dead])

    def attempts() -> int:
        joins = [segment for segment in having(hosts.sent(True), MpJoin) if is_syn(segment)]
        return len({segment.seq for segment in joins})

    hosts.run(30 * SECOND)
    assert attempts() == 1
    dead.is_up = True
    hosts.run(30 * SECOND)
    assert attempts() == 1
    book = server.signalling.book
    book.announced.clear()
    book.announce(hosts.server_addresses[1], None, server.signalling.carrier())
    hosts.server.wake(server)
    hosts.run(SECOND)
    assert attempts() == 2
    assert len(server.subflows) == 2


def test_g7_a_known_id_keeps_its_address_and_may_change_its_port() -> None:
    _bench, flow, connection, key = connected()
    flow.say(ACK, announcement(key, 4, ELSEWHERE))
    assert flow.say(ACK, announcement(key, 4, bytes((10, 9, 7, 8)))) == []
    book = connection.signalling.book
    assert book.remotes[4].address == ELSEWHERE
    flow.say(ACK, announcement(key, 4, ELSEWHERE, 8080))
    assert book.remotes[4].port == 8080
    flow.say(ACK, RemoveAddr((4,)))
    flow.say(ACK, announcement(key, 4, bytes((10, 9, 7, 8))))
    assert book.remotes[4].address == bytes((10, 9, 7, 8))


def test_g8_announcements_leave_on_acks_of_their_own() -> None:
    hosts, _client, _server = signalled(paths=4)
    carriers = having(hosts.sent(), AddAddr)
    assert len(carriers) == 6  # three and their echoes
    assert all(is_pure_ack(segment) for segment in carriers)
    assert all(len(mptcp_options(segment)) == 1 for segment in carriers)


def test_g8_unless_the_policy_lets_them_ride_on_data() -> None:
    policy = OptionPolicy(
        priority=("timestamps", "handshake", "add_addr", "dss", "mp_fail", "remove_addr", "mp_prio", "sack"),
        add_addr_on_data=True,
        mapping_every="chunk",
    )
    hosts = TwoHosts(
        replace(SIGNAL, path_manager="none"), replace(SIGNAL, options=policy, path_manager="none"), paths=2
    )
    client, server = hosts.connect()
    assert hosts.transfer(server, client, DATA) == DATA
    hosts.run(SECOND)
    server.send(DATA, hosts.now)
    server.signalling.book.announce(hosts.server_addresses[1], None, server.signalling.carrier())
    hosts.run(SECOND)
    (carrier,) = having(hosts.sent(False), AddAddr)
    assert carrier.payload
    dss = find(carrier, Dss)
    assert dss is not None and dss.dsn is None  # 12, 16 and 8 octets: the mapping has gone ahead
    assert next(iter(client.signalling.book.remotes.values())).address == hosts.server_addresses[1]
    received = b""
    while piece := client.receive(1 << 20):
        received += piece
    assert received == DATA


def test_g9_the_removal_of_an_announced_address_is_announced() -> None:
    hosts, client, _server = signalled()
    assert len(client.subflows) == 2
    (announced,) = [option for option in options_of(hosts.sent(False), AddAddr) if not option.echo]
    hosts.server.remove_address(hosts.server_addresses[1], hosts.now)
    hosts.run(SECOND)
    assert options_of(hosts.sent(False), RemoveAddr) == [RemoveAddr((announced.address_id,))]
    assert hosts.client.counters["MPTcpExtRmAddr"] == 1
    assert hosts.server.counters["MPTcpExtRmAddrTx"] == 1
    assert client.signalling.book.remotes == {}


def test_g9_an_address_that_the_peer_does_not_know_is_not_withdrawn() -> None:
    hosts = TwoHosts(paths=2)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.server.remove_address(hosts.server_addresses[1], hosts.now)
    hosts.run(SECOND)
    assert having(hosts.sent(), RemoveAddr) == []


def test_g10_a_subflow_that_answers_the_keepalive_stays() -> None:
    bench, flow, connection, key = connected()
    join = bench.join(bench.flow(port=6000), key, address_id=9)
    join.confirm()
    flow.say(ACK, RemoveAddr((9,)))
    probes = join.flow.hear(bench.sent[-2:])
    assert any(not probe.seq_length or probe.payload for probe in probes)
    join.flow.say(ACK, Dss(data_ack=0))
    bench.wait(60 * SECOND)
    assert len(connection.subflows) == 2


def test_g10_a_subflow_that_does_not_is_reset() -> None:
    bench, flow, connection, key = connected()
    join = bench.join(bench.flow(port=6000), key, address_id=9)
    join.confirm()
    assert len(connection.subflows) == 2
    flow.say(ACK, RemoveAddr((9,)))
    later = join.flow.hear(bench.wait(60 * SECOND))
    assert [is_reset(segment) for segment in later][-1]
    assert len(connection.subflows) == 1


def test_g11_unknown_ids_are_ignored() -> None:
    bench, flow, connection, key = connected()
    join = bench.join(bench.flow(port=6000), key, address_id=9)
    join.confirm()
    flow.say(ACK, announcement(key))
    flow.say(ACK, RemoveAddr((200, 201)))
    assert list(connection.signalling.book.remotes) == [4]
    bench.wait(60 * SECOND)
    assert len(connection.subflows) == 2


def test_g11_a_removal_needs_an_acceptable_segment() -> None:
    _bench, flow, connection, key = connected()
    flow.say(ACK, announcement(key))
    flow.say(ACK, RemoveAddr((4,)), seq=flow.seq + 10**6)
    assert list(connection.signalling.book.remotes) == [4]


def test_g11_a_working_subflow_is_closed_by_fin() -> None:
    hosts, client, server = signalled()
    subflow = client.subflows[1]
    client.signalling.close_subflow(subflow, hosts.now)
    hosts.run(SECOND)
    assert [s.tcp.state for s in server.subflows] == [State.ESTABLISHED]
    assert not any(is_reset(segment) for segment in hosts.sent())
    assert hosts.transfer(client, server, DATA) == DATA


def test_g12_several_ids_are_removed_by_one_option() -> None:
    _bench, flow, connection, key = connected()
    for number in (4, 5, 6):
        flow.say(ACK, announcement(key, number, bytes((10, 9, 7, number))))
    option = RemoveAddr((4, 6))
    assert option.size == 5
    flow.say(ACK, option)
    assert list(connection.signalling.book.remotes) == [5]


def test_g13_a_backup_subflow_carries_nothing_while_another_works() -> None:
    reserve = Parameters(path_manager="subflow", backup_addresses=(bytes((10, 0, 1, 1)),))
    hosts = TwoHosts(reserve, Parameters(), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA * 5) == DATA * 5
    hosts.run(SECOND)
    assert hosts.transfer(server, client, DATA * 5) == DATA * 5
    assert len(client.subflows) == 2

    def carried() -> int:
        on_backup = (s for s in hosts.sent() if hosts.client_addresses[1] in (s.source.host, s.destination.host))
        return sum(len(segment.payload) for segment in on_backup)

    assert carried() == 0
    hosts.paths[0].is_up = False
    assert hosts.transfer(client, server, DATA * 5) == DATA * 5
    assert carried() >= len(DATA * 5) // 2


def test_g14_mp_prio_changes_the_subflow_that_carries_it() -> None:
    hosts, client, server = signalled()
    client.signalling.set_backup(client.subflows[1], True)
    hosts.run(SECOND)
    assert [subflow.backup for subflow in server.subflows] == [False, True]
    assert hosts.server.counters["MPTcpExtMPPrioRx"] == 1
    (sent,) = having(hosts.sent(True), MpPrio)
    assert sent.source.host == hosts.client_addresses[1]
    before = len(hosts.transcript)
    assert hosts.transfer(server, client, DATA * 5) == DATA * 5
    sources = {line.segment.source.host for line in hosts.transcript[before:] if line.segment.payload}
    assert sources == {hosts.server_addresses[0]}
    client.signalling.set_backup(client.subflows[1], False)
    hosts.run(SECOND)
    assert [subflow.backup for subflow in server.subflows] == [False, False]


def test_an_announcement_leads_to_a_subflow_between_the_joined_addresses() -> None:
    hosts, client, server = signalled(paths=3)
    pairs = {(s.tcp.local.host, s.tcp.remote.host) for s in client.subflows}
    assert pairs == set(zip(hosts.client_addresses, hosts.server_addresses, strict=True))
    assert len(server.subflows) == 3


def test_fullmesh_makes_all_pairs() -> None:
    _hosts, client, server = signalled(Parameters(path_manager="fullmesh"), full_mesh=True)
    assert len(client.subflows) == len(server.subflows) == 4


def test_the_addresses_of_ipv6_are_announced_and_joined() -> None:
    hosts = TwoHosts(SIGNAL, paths=2, ipv6=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    assert len(client.subflows) == 2
    (option,) = [option for option in options_of(hosts.sent(False), AddAddr) if not option.echo]
    assert option.size == 28


def test_a_flood_of_announcements_keeps_few_echoes_waiting() -> None:
    bench, flow, connection, key = connected()
    for number in range(1, 200):
        segment = Segment(
            flow.own,
            flow.other,
            flow.seq,
            flow.ack,
            ACK,
            65535,
            (announcement(key, number, bytes((10, 9, 6, number))),),
        )
        bench.stack.segment_arrives(segment, bench.now)  # without a chance to answer
    assert len(connection.subflows[0].signals) <= 32
    assert bench.stack.counters["MPTcpExtEchoAddTxDrop"] == 199 - 32
    assert len(connection.signalling.book.remotes) == 8


def test_a_path_that_comes_back_is_used_again() -> None:
    subflow = Parameters(path_manager="subflow")
    hosts = TwoHosts(subflow, Parameters(), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    assert len(client.subflows) == 2
    hosts.client.remove_address(hosts.client_addresses[1], hosts.now)
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(60 * SECOND)
    assert len(client.subflows) == len(server.subflows) == 1
    hosts.client.add_address(hosts.client_addresses[1], hosts.now)
    hosts.run(SECOND)
    assert len(client.subflows) == len(server.subflows) == 2


def test_the_first_address_may_go_and_come_back() -> None:
    mesh = Parameters(path_manager="fullmesh")
    hosts = TwoHosts(mesh, paths=2)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(SECOND)
    hosts.client.remove_address(hosts.client_addresses[0], hosts.now)
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(60 * SECOND)
    assert len(client.subflows) == 1
    hosts.client.add_address(hosts.client_addresses[0], hosts.now)
    hosts.run(SECOND)
    assert len(client.subflows) == 2
    assert {s.tcp.local.host for s in client.subflows} == set(hosts.client_addresses)
    assert hosts.transfer(server, client, DATA) == DATA


def test_g5_an_announcement_survives_the_subflow_it_waits_on() -> None:
    hosts, client, server = signalled(Parameters(path_manager="subflow"), paths=3, full_mesh=True)
    assert len(server.subflows) == 3
    first = server.subflows[0]
    late = hosts.server_addresses[2]
    server.signalling.book.announce(late, None, first)
    assert first.signals
    server.signalling.reset_subflow(first, 0, hosts.now)
    hosts.server.wake(server)
    hosts.run(SECOND)
    assert late in {remote.address for remote in client.signalling.book.remotes.values()}
    assert server.signalling.book.pending == {}


def test_g10_what_is_withdrawn_is_no_longer_announced() -> None:
    hosts = TwoHosts(SIGNAL, paths=2)
    client, server = hosts.connect()
    assert server.signalling.book.pending  # the ADD_ADDR is on its way, its echo not yet here
    hosts.server.remove_address(hosts.server_addresses[1], hosts.now)
    assert server.signalling.book.pending == {}
    assert hosts.transfer(client, server, DATA) == DATA
    hosts.run(100 * SECOND)
    assert hosts.server.counters["MPTcpExtAddAddrTx"] == 1
    assert client.signalling.book.remotes == {}
    assert len(client.subflows) == 1


def test_a_host_that_has_lost_its_only_address_waits_for_it() -> None:
    for enabled in (True, False):
        hosts = TwoHosts(Parameters(enabled=enabled))
        client, server = hosts.connect()
        assert hosts.transfer(client, server, DATA) == DATA
        hosts.client.remove_address(hosts.client_addresses[0], hosts.now)
        client.send(DATA, hosts.now)
        hosts.run(5 * SECOND)
        hosts.client.add_address(hosts.client_addresses[0], hosts.now)
        received = bytearray()

        def done(server: Connection = server, received: bytearray = received) -> bool:
            received.extend(server.receive(1 << 20))
            return len(received) >= len(DATA)

        assert hosts.run_until(done, 60 * SECOND)
        assert received == DATA


def test_a_peer_that_announces_one_address_after_the_other_fills_no_memory() -> None:
    _bench, flow, connection, key = connected()
    opener = connection.signalling.opener
    for number in range(300):
        address = bytes((10, 9, number >> 8, number & 255))
        flow.say(ACK, announcement(key, 4, address))
        opener.has_failed(Pair(connection.local.host, SocketAddress(address, 80)))
        flow.say(ACK, RemoveAddr((4,)))
        assert not opener.failed


def test_the_paths_that_failed_are_bounded_and_the_forgotten_ones_counted() -> None:
    bench, _flow, connection, _key = connected()
    opener = connection.signalling.opener
    for port in range(1, 1001):
        opener.has_failed(Pair(connection.local.host, SocketAddress(ELSEWHERE, port)))
    assert len(opener.failed) == 256
    assert Pair(connection.local.host, SocketAddress(ELSEWHERE, 1000)) in opener.failed
    assert bench.stack.counters["TestbedPathsForgotten"] == 1000 - 256


def test_an_announcement_that_no_segment_has_room_for_is_given_up_at_once() -> None:
    hosts = TwoHosts(SIGNAL, paths=1, ipv6=True)  # IPv6 with a port: 30 octets, beside 12 of timestamps
    client, server = hosts.connect()
    assert hosts.transfer(client, server, DATA) == DATA
    book = server.signalling.book
    late = bytes(15) + b"\x77"
    for _ in range(2):
        book.announce(late, 4000, server.signalling.carrier())
        hosts.server.wake(server)
        hosts.run(200 * SECOND)
    assert hosts.server.counters["MPTcpExtAddAddrTxDrop"] == 1
    assert book.announced == {} == book.pending
    assert not book.withdraw(late, server.signalling.carrier())  # nobody has learnt it
    assert having(hosts.sent(), RemoveAddr) == []


def test_g9_a_removal_waits_for_a_subflow_that_can_carry_it() -> None:
    hosts, client, server = signalled()
    book = server.signalling.book
    (address_id,) = [known for known in book.announced if known]
    book.withdraw(hosts.server_addresses[1], None)
    hosts.run(SECOND)
    assert having(hosts.sent(), RemoveAddr) == []
    book.send_removals(server.subflows[0])
    hosts.server.wake(server)
    hosts.run(SECOND)
    assert options_of(hosts.sent(False), RemoveAddr) == [RemoveAddr((address_id,))]
    assert client.signalling.book.remotes == {}


def test_g9_a_removal_survives_the_subflow_it_waits_on() -> None:
    hosts, client, server = signalled(Parameters(path_manager="subflow"), paths=3, full_mesh=True)
    first, second = server.subflows[:2]
    late = hosts.server_addresses[2]
    server.signalling.book.announce(late, None, second)
    hosts.server.wake(server)
    hosts.run(SECOND)
    assert server.signalling.book.withdraw(late, first)
    server.signalling.reset_subflow(first, 0, hosts.now)
    hosts.server.wake(server)
    hosts.run(SECOND)
    assert late not in {remote.address for remote in client.signalling.book.remotes.values()}
    assert hosts.client.counters["MPTcpExtRmAddr"] == 1


def test_our_own_signals_are_not_lost_to_a_flood_of_echoes() -> None:
    _bench, _flow, connection, _key = connected()
    subflow = connection.subflows[0]
    for number in range(1, 100):
        assert subflow.signal(AddAddr(number, ELSEWHERE, None)) is (number <= 32)
    connection.signalling.set_backup(subflow, True)
    assert subflow.signal(RemoveAddr((7,)))
    connection.signalling.set_backup(subflow, False)
    assert subflow.signals[32:] == [RemoveAddr((7,)), MpPrio(False)]


def test_g14_the_last_word_about_a_backup_is_the_last_one_that_leaves() -> None:
    hosts, client, server = signalled()
    subflow = client.subflows[1]
    for backup in (True, False, True):
        client.signalling.set_backup(subflow, backup)
    hosts.run(SECOND)
    assert [each.backup for each in server.subflows] == [False, True]


def test_g9_an_address_that_is_back_at_once_is_known_to_the_peer() -> None:
    hosts, client, _server = signalled(paths=3)
    late = hosts.server_addresses[2]
    hosts.server.remove_address(late, hosts.now)
    hosts.server.add_address(late, hosts.now)
    hosts.run(5 * SECOND)
    assert late in {remote.address for remote in client.signalling.book.remotes.values()}
