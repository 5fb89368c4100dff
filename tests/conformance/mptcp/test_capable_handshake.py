"""B rows of RFC 8684 §3.1: the first handshake. (B9, B10, B12, B13: test_data_sequence.)"""

from __future__ import annotations

import hashlib
import random

import pytest
from mptcp_segments import (
    changed,
    find,
    having,
    is_pure_ack,
    is_reset,
    is_syn,
    is_syn_ack,
    mptcp_options,
    strip,
)
from raw_peer import HOST, KEY, PEER, PORT, RawBench
from two_hosts import PORT as SERVER_PORT
from two_hosts import SECOND, Path, TwoHosts

from testbed.mptcp.keys import KeySource, token_of
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.tokens import TokenTable
from testbed.wire.options import Dss, MpCapable, MpJoin, Option, Unknown
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress

A, B, C, H = 0x80, 0x40, 0x20, 0x01


class RepeatingKeys(KeySource):
    """Chance that gives these keys."""

    def __init__(self, keys: list[int]) -> None:
        super().__init__(b"", random.Random(0))
        self.keys = keys

    def draw(self, octets: int) -> int:
        return self.keys.pop(0)


def first_syn(parameters: Parameters) -> MpCapable | None:
    hosts = TwoHosts(parameters)
    hosts.open()
    return find(hosts.sent()[0], MpCapable)


def answer_to(option: Option, parameters: Parameters | None = None) -> MpCapable | None:
    bench = RawBench(parameters)
    return find(bench.flow().say(SYN, option)[0], MpCapable)


def test_b1_the_highest_version_is_offered_and_a_higher_offer_answered_with_ours() -> None:
    offered = first_syn(Parameters())
    assert offered is not None and offered.version == 1
    answer = answer_to(MpCapable(version=3))
    assert answer is not None and answer.version == 1


def test_b2_a_version_0_offer_is_answered_as_tcp_and_a_version_0_answer_means_tcp() -> None:
    assert answer_to(Unknown(30, bytes((0x00, 0x81)) + bytes(8))) is None
    assert answer_to(MpCapable(version=0)) is None

    def downgrade(option: MpCapable) -> Option:
        return MpCapable(option.flags, option.sender_key, version=0)

    path = Path(filters=[lambda s, now: changed(s, MpCapable, downgrade) if is_syn_ack(s) else s])
    hosts = TwoHosts(paths=[path])
    client, server = hosts.connect()
    assert client.fallen_back and server.fallen_back
    assert hosts.transfer(client, server, b"x" * 5000) == b"x" * 5000


def test_b3_lengths_of_syn_synack_and_ack() -> None:
    hosts = TwoHosts()
    hosts.connect()
    sizes = [option.size for segment in hosts.sent()[:3] for option in mptcp_options(segment)]
    assert sizes == [4, 12, 20]


def test_b4_keys_differ_and_cannot_be_guessed_without_the_secret() -> None:
    source = KeySource(b"secret", random.Random(1))
    keys = [source.unique_key_pair(TokenTable()).local_key for _ in range(500)]
    assert len(set(keys)) == 500
    other = KeySource(b"another", random.Random(1))
    assert other.unique_key_pair(TokenTable()).local_key not in keys
    bits = sum(key.bit_count() for key in keys) / 500
    assert 30 < bits < 34  # of 64: no bits that are always the same


def test_b5_a_token_in_use_is_not_chosen_again() -> None:
    hosts = TwoHosts()
    hosts.connect()
    taken = hosts.sent()[2]
    used = find(taken, MpCapable)
    assert used is not None and used.sender_key is not None
    assert token_of(used.sender_key) in hosts.client.tokens
    repeating = RepeatingKeys([used.sender_key, 42])
    assert repeating.unique_key_pair(hosts.client.tokens).local_key == 42


def test_b6_without_a_unique_key_the_synack_has_no_mp_capable() -> None:
    bench = RawBench()
    bench.stack.tokens.limit = 0
    assert find(bench.flow().say(SYN, MpCapable())[0], MpCapable) is None
    assert bench.stack.counters["MPTcpExtMPFallbackTokenInit"] == 1


def test_b7_the_token_is_the_most_significant_half_of_half_the_hash() -> None:
    bench = RawBench()
    _flow, _connection, key = bench.connected_client()
    token = int(hashlib.sha256(key.to_bytes(8, "big")).hexdigest()[:8], 16)
    answer = bench.flow(port=6000).say(SYN, MpJoin(1, token=token, nonce=1))
    assert find(answer[0], MpJoin) is not None
    answer = bench.flow(port=6001).say(SYN, MpJoin(1, token=token ^ 1, nonce=1))
    assert find(answer[0], MpJoin) is None


def test_b8_the_idsn_is_the_least_significant_half_of_the_hash() -> None:
    bench = RawBench()
    flow, connection, key = bench.connected_client()
    idsn = int(hashlib.sha256(key.to_bytes(8, "big")).hexdigest()[-16:], 16)
    connection.send(b"hello", bench.now)
    bench.stack.wake(connection)
    dss = find(flow.hear(bench.flush())[-1], Dss)
    assert dss is not None and dss.dsn == (idsn + 1) & (2**64 - 1)
    peer_idsn = int(hashlib.sha256(KEY.to_bytes(8, "big")).hexdigest()[-16:], 16)
    assert dss.data_ack is not None and dss.data_ack & 0xFFFFFFFF == (peer_idsn + 1) & 0xFFFFFFFF


def test_b11_without_data_the_first_ack_carries_both_keys() -> None:
    hosts = TwoHosts()
    hosts.connect()
    _syn, answer, third = hosts.sent()[:3]
    keys = find(third, MpCapable)
    given = find(answer, MpCapable)
    assert is_pure_ack(third) and keys is not None and given is not None
    assert keys.receiver_key == given.sender_key and keys.sender_key is not None


def test_b14_a_third_ack_that_does_not_return_our_key_ends_mptcp() -> None:
    bench = RawBench()
    flow = bench.flow()
    answer = bench.client_up_to_syn_ack(flow)
    assert answer is not None and answer.sender_key is not None
    flow.say(ACK, MpCapable(sender_key=KEY, receiver_key=answer.sender_key ^ 1))
    connection = bench.listener.accept()
    assert connection is not None and connection.fallen_back
    assert bench.stack.counters["MPTcpExtMPCapableFallbackACK"] == 1


def test_b14_a_synack_that_acknowledges_what_was_not_sent_is_reset() -> None:
    bench = RawBench()
    bench.stack.connect(SocketAddress(PEER, 99), bench.now)
    request = bench.flush()[0]
    flow = bench.flow(99, PEER, HOST, request.source.port)
    replies = flow.say(SYN | ACK, MpCapable(sender_key=KEY), ack=request.seq + 5)
    assert [is_reset(reply) for reply in replies] == [True]


def test_b15_no_subflow_before_a_dss_has_arrived() -> None:
    hosts = TwoHosts(Parameters(path_manager="subflow"), paths=2, full_mesh=True)
    client, server = hosts.connect()
    hosts.run(2 * SECOND)
    assert len(client.subflows) == 1  # both have the keys, no data has passed
    server.send(b"x", hosts.now)
    hosts.client.wake(client)
    hosts.server.wake(server)
    hosts.run(SECOND)
    first_dss = next(i for i, line in enumerate(hosts.transcript) if find(line.segment, Dss) and not line.from_client)
    first_join = next(i for i, line in enumerate(hosts.transcript) if find(line.segment, MpJoin))
    assert len(client.subflows) == 2
    assert first_join > first_dss


@pytest.mark.parametrize(("client_asks", "server_asks"), [(True, False), (False, True), (True, True), (False, False)])
def test_b16_checksums_are_used_if_either_end_asks_and_the_third_ack_says_so(
    client_asks: bool, server_asks: bool
) -> None:
    hosts = TwoHosts(Parameters(checksum=client_asks), Parameters(checksum=server_asks))
    client, server = hosts.connect()
    wanted = client_asks or server_asks
    third = find(hosts.sent()[2], MpCapable)
    assert third is not None and bool(third.flags & A) is wanted
    assert hosts.transfer(client, server, b"d" * 9000) == b"d" * 9000
    mapped = [dss for s in hosts.sent() if (dss := find(s, Dss)) is not None and dss.dsn is not None]
    assert mapped and all((dss.checksum is not None) is wanted for dss in mapped)


@pytest.mark.parametrize("at_client", [True, False])
def test_b16_who_refuses_checksums_speaks_tcp_with_who_wants_them(at_client: bool) -> None:
    wants, refuses = Parameters(checksum=True), Parameters(refuse_checksum=True)
    hosts = TwoHosts(refuses if at_client else wants, wants if at_client else refuses)
    client, server = hosts.connect()
    assert client.fallen_back and server.fallen_back
    assert hosts.transfer(client, server, b"d" * 9000) == b"d" * 9000


def test_b17_b_is_sent_as_zero_and_an_option_with_it_ignored() -> None:
    offered = first_syn(Parameters())
    assert offered is not None and not offered.flags & B
    assert answer_to(MpCapable(B | H)) is None

    def extend(option: MpCapable) -> Option:
        return MpCapable(option.flags | B, option.sender_key)

    path = Path(filters=[lambda s, now: changed(s, MpCapable, extend) if is_syn_ack(s) else s])
    hosts = TwoHosts(paths=[path])
    client, server = hosts.connect()
    assert client.fallen_back and server.fallen_back


@pytest.mark.parametrize("server_refuses", [True, False])
def test_b18_after_c_no_subflow_goes_to_that_address(server_refuses: bool) -> None:
    client_parameters = Parameters(path_manager="subflow")
    hosts = TwoHosts(client_parameters, Parameters(no_more_subflows=server_refuses), paths=2, full_mesh=True)
    client, server = hosts.connect()
    assert hosts.transfer(client, server, b"d" * 100_000) == b"d" * 100_000
    hosts.run(SECOND)
    assert len(having(hosts.sent(True), MpJoin)) == (0 if server_refuses else 2)  # SYN, third packet
    answer = find(hosts.sent()[1], MpCapable)
    assert answer is not None and bool(answer.flags & C) is server_refuses


def test_b19_h_alone_is_set_and_other_algorithms_are_not_taken() -> None:
    offered = first_syn(Parameters())
    assert offered is not None and offered.flags & 0x1F == H
    assert answer_to(MpCapable(0)) is None
    assert answer_to(MpCapable(0x1E)) is None
    answer = answer_to(MpCapable(H | 0x0A))
    assert answer is not None and answer.flags & 0x1F == H

    def two(option: MpCapable) -> Option:
        return MpCapable(option.flags | 0x02, option.sender_key)

    hosts = TwoHosts(paths=[Path(filters=[lambda s, now: changed(s, MpCapable, two) if is_syn_ack(s) else s])])
    client, _server = hosts.connect()
    assert client.fallen_back


@pytest.mark.parametrize(
    ("where", "counter"),
    [
        ("syn", ""),
        ("synack", "MPTcpExtMPCapableFallbackSYNACK"),
        ("ack", "MPTcpExtMPCapableFallbackACK"),
    ],
)
def test_b20_an_option_missing_in_any_of_the_three_packets_means_tcp(where: str, counter: str) -> None:
    stripped = {"syn": is_syn, "synack": is_syn_ack, "ack": lambda s: not s.flags & SYN}[where]
    hosts = TwoHosts(paths=[Path(filters=[strip(MpCapable, stripped)])])
    client, server = hosts.connect()
    data = bytes(range(256)) * 400
    assert hosts.transfer(client, server, data) == data
    assert hosts.transfer(server, client, data) == data
    assert server.fallen_back and client.fallen_back
    if where == "syn":
        assert find(hosts.sent(False)[0], MpCapable) is None
    if counter:
        counted = hosts.client if where == "synack" else hosts.server
        assert counted.counters[counter] == 1


def test_b20_no_offer_no_answer() -> None:
    bench = RawBench()
    assert mptcp_options(bench.flow().say(SYN)[0]) == []


def test_b21_after_unanswered_syns_a_plain_one_leaves_and_the_peer_is_remembered() -> None:
    drops = Path(filters=[lambda s, now: None if find(s, MpCapable) is not None else s])
    hosts = TwoHosts(Parameters(syn_attempts=2), paths=[drops])
    client, server = hosts.connect()
    syns = [s for s in hosts.sent(True) if is_syn(s)]
    assert [find(s, MpCapable) is not None for s in syns] == [True, True, False]
    assert client.fallen_back
    assert hosts.client.counters["MPTcpExtMPCapableSYNTXDrop"] == 1
    assert hosts.transfer(client, server, b"z" * 3000) == b"z" * 3000
    before = len(hosts.transcript)
    again, _other = hosts.connect()
    assert find(hosts.transcript[before].segment, MpCapable) is None
    assert again.fallen_back
    assert hosts.client.counters["MPTcpExtMPCapableSYNTXDisabled"] == 1


def test_b21_simultaneous_open_falls_back_to_tcp() -> None:
    hosts = TwoHosts()
    remote = SocketAddress(hosts.server_addresses[0], 700)
    local = SocketAddress(hosts.client_addresses[0], 600)
    client = hosts.client.connect(remote, hosts.now, local)
    server = hosts.server.connect(local, hosts.now, remote)
    hosts.run(SECOND)
    assert client.fallen_back and server.fallen_back
    assert hosts.client.counters["MPTcpExtSimultConnectFallback"] == 1
    assert hosts.transfer(client, server, b"both" * 1000) == b"both" * 1000


def test_every_handshake_is_counted_under_the_kernels_names() -> None:
    hosts = TwoHosts()
    hosts.connect()
    assert hosts.client.counters["MPTcpExtMPCapableSYNTX"] == 1
    assert hosts.client.counters["MPTcpExtMPCapableSYNACKRX"] == 1
    assert hosts.server.counters["MPTcpExtMPCapableSYNRX"] == 1
    assert hosts.server.counters["MPTcpExtMPCapableACKRX"] == 1


def test_a_lost_third_ack_is_repeated_with_the_keys() -> None:
    lost = [True]

    def drop(segment: Segment, now: int) -> Segment | None:
        option = find(segment, MpCapable)
        if lost[0] and option is not None and option.receiver_key is not None:
            lost[0] = False
            return None
        return segment

    hosts = TwoHosts(paths=[Path(filters=[drop])])
    client, server = hosts.connect()
    assert not lost[0]
    assert not client.fallen_back and not server.fallen_back
    assert hosts.transfer(client, server, b"q" * 40_000) == b"q" * 40_000


def test_data_that_overtakes_the_keys_does_not_end_mptcp() -> None:
    hosts = TwoHosts(paths=[Path(filters=[])])
    client = hosts.open()
    client.send(bytes(8000), hosts.now)
    lost = [2]

    def drop(segment: Segment, now: int) -> Segment | None:
        if lost[0] and find(segment, MpCapable) is not None and segment.flags == ACK | (segment.flags & 8):
            lost[0] -= 1
            return None
        return segment

    hosts.paths[0].filters.append(drop)
    server = hosts.accept()
    assert lost[0] == 0
    assert not server.fallen_back
    assert not client.fallen_back


def test_an_rst_ends_the_attempt() -> None:
    hosts = TwoHosts(port=SERVER_PORT + 1)
    hosts.port = SERVER_PORT
    client = hosts.open()
    hosts.run(SECOND)
    assert client.is_closed
    assert [s.flags & RST for s in hosts.sent(False)] == [RST]
    assert hosts.client.connections == []


def test_the_listener_is_bounded() -> None:
    bench = RawBench()
    bench.listener.syn_backlog = 3
    answers = [len(bench.flow(port=7000 + number).say(SYN, MpCapable())) for number in range(5)]
    assert answers == [1, 1, 1, 0, 0]
    assert bench.stack.counters["TcpExtListenDrops"] == 2
    assert len(bench.stack.tokens) == 3


def test_what_belongs_to_nothing_is_reset_with_the_right_numbers() -> None:
    bench = RawBench()
    stray = bench.flow(port=1)
    replies = stray.say(ACK, seq=50, ack=4711, payload=b"abc")
    assert [(reply.flags, reply.seq) for reply in replies] == [(RST, 4711)]
    closed = bench.flow(port=2, host_port=PORT + 1)
    replies = closed.say(SYN, seq=50)
    assert [(reply.flags, reply.seq, reply.ack) for reply in replies] == [(RST | ACK, 0, 51)]
    assert stray.say(RST, seq=50) == []
