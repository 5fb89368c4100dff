"""Which packets belong together: by handshakes, by tokens and HMACs, and by what fits where a handshake is missing."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import made_connection as made
import pytest
from made_batches import ACK, FIN, RST, SYN, Made, MadeCapture
from made_connection import CLIENT_KEY, ISN, MS, SERVER_KEY, end, handshake

from analysis.capture import keys
from analysis.capture.resolution import Resolution, resolve
from analysis.capture.vantage import vantage

IDSN = made.idsn(CLIENT_KEY)
BACK = made.idsn(SERVER_KEY)


def resolved(packets: list[Made], size: int = 1000) -> Resolution:
    return resolve(MadeCapture(packets, size))


def members(resolution: Resolution) -> list[list[int]]:
    return [connection.subflows for connection in resolution.connections]


def data(subflow: int, offset: int, now: int, *, octets: int = 8, ssn: int = 1, key: bytes = CLIENT_KEY) -> list[Made]:
    """A segment of the client with 100 octets, and its acknowledgment."""
    client, server = end(1, subflow), end(2, subflow)
    dsn = made.idsn(key) + offset
    return [
        Made(
            client, server, now, ISN + ssn, ISN + 8, ACK, 100, mapping=(dsn, ssn, 100), dsn_octets=octets,
            data_ack=BACK + 1, data_ack_octets=octets,
        ),
        Made(
            server, client, now + MS, ISN + 8, ISN + ssn + 100, ACK, data_ack=dsn + 100, data_ack_octets=octets,
        ),
    ]  # fmt: skip


def test_tokens_and_idsns_are_those_of_the_rfcs() -> None:
    """RFC 8684 section 3.1: SHA-256; RFC 6824: SHA-1; first 32 and last 64 bits."""
    digest = hashlib.sha256(CLIENT_KEY).digest()
    assert keys.token_of(CLIENT_KEY, 1) == int.from_bytes(digest[:4], "big")
    assert keys.idsn_of(CLIENT_KEY, 1) == int.from_bytes(digest[24:], "big")
    digest = hashlib.sha1(CLIENT_KEY).digest()
    assert keys.token_of(CLIENT_KEY, 0) == int.from_bytes(digest[:4], "big")
    assert keys.idsn_of(CLIENT_KEY, 0) == int.from_bytes(digest[12:], "big")


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_joins_belong_to_the_connection_of_their_token_in_any_batches(size) -> None:
    packets = [packet for number in range(3) for packet in handshake(number, number * 100 * MS)]
    resolution = resolved(packets, size)
    assert members(resolution) == [[0, 1, 2]]
    assert [subflow.address_ids for subflow in resolution.subflows] == [(0, 0), (1, 11), (2, 12)]
    assert resolution.notes == []


def test_the_older_version_is_joined_by_sha_1() -> None:
    said = [bytes((30, 12, 0x00, 0x81)) + CLIENT_KEY, bytes((30, 12, 0x00, 0x81)) + SERVER_KEY]
    third = bytes((30, 20, 0x00, 0x81)) + CLIENT_KEY + SERVER_KEY
    first = [replace(packet, options=[area]) for packet, area in zip(handshake(0, 0), [*said, third], strict=True)]
    second = handshake(1, 100 * MS)
    nonces = b"abcd", b"efgh"
    token = hashlib.sha1(SERVER_KEY).digest()[:4]
    proof = hmac.new(SERVER_KEY + CLIENT_KEY, nonces[1] + nonces[0], "sha1").digest()[:8]
    areas = [bytes((30, 12, 0x10, 1)) + token + nonces[0], bytes((30, 16, 0x10, 1)) + proof + nonces[1], None]
    second = [replace(packet, options=[area] if area else []) for packet, area in zip(second, areas, strict=True)]
    resolution = resolved(first + second)
    assert members(resolution) == [[0, 1]]
    connection = resolution.connections[0]
    assert (connection.version, connection.checksum) == (0, True)
    assert connection.idsn[0] == int.from_bytes(hashlib.sha1(CLIENT_KEY).digest()[12:], "big")


def test_a_join_that_the_listener_opens_is_turned_so_that_directions_are_those_of_the_connection() -> None:
    token = hashlib.sha256(CLIENT_KEY).digest()[:4]
    client, server = (bytes((10, 0, 7, 1)), 40000), (bytes((10, 0, 7, 2)), 5001)
    join = Made(server, client, 200 * MS, ISN, None, SYN, options=[bytes((30, 12, 0x11, 3)) + token + b"nonc"])
    resolution = resolved([*handshake(0, 0), join])
    assert members(resolution) == [[0, 1]]
    subflow = resolution.subflows[1]
    assert (subflow.opener, subflow.listener, subflow.opened_by) == (client, server, "listener")
    assert subflow.isn == (None, ISN)
    assert subflow.backup == (None, True)
    batch = next(iter(MadeCapture([*handshake(0, 0), join]).batches()))
    assert resolution.direction_of(batch).tolist() == [0, 1, 0, 1]


def test_a_join_whose_hmac_is_wrong_is_joined_by_its_token_but_said() -> None:
    packets = [*handshake(0, 0), *handshake(1, 100 * MS)]
    syn_ack = packets[4]
    packets[4] = replace(syn_ack, options=[syn_ack.options[0][:4] + bytes(8) + syn_ack.options[0][12:]])
    resolution = resolved(packets)
    assert members(resolution) == [[0, 1]]
    assert "HMAC" in resolution.connections[0].inferred


def test_the_same_keys_again_are_another_connection_and_the_join_belongs_to_the_one_alive() -> None:
    later = 10_000 * MS
    packets = [
        *handshake(0, 0),
        *(
            replace(packet, source=(packet.source[0], packet.source[1] + 7 * (packet.source[1] > 5001)),
                    destination=(packet.destination[0], packet.destination[1] + 7 * (packet.destination[1] > 5001)))
            for packet in handshake(0, later)
        ),
        *handshake(1, later + 100 * MS),
        *[replace(packet, source=(end(1, 0)[0], 40007)) for packet in data(0, 1, later + 200 * MS)[:1]],
    ]  # fmt: skip
    assert members(resolved(packets)) == [[0], [1, 2]]


def test_a_join_that_two_living_connections_could_have_stays_apart_and_is_said() -> None:
    other = [
        replace(
            packet,
            source=(packet.source[0], packet.source[1] + 7 * (packet.source[1] > 5001)),
            destination=(packet.destination[0], packet.destination[1] + 7 * (packet.destination[1] > 5001)),
        )
        for packet in handshake(0, MS)
    ]
    packets = [*handshake(0, 0), *other, *handshake(1, 100 * MS), *data(0, 1, 200 * MS)]
    packets.append(replace(packets[-2], source=(end(1, 0)[0], 40007), time_ns=300 * MS))
    resolution = resolved(packets)
    assert members(resolution) == [[0], [1], [2]]
    assert any("fits 2 connections" in note for note in resolution.notes)
    assert "kept apart" in resolution.connections[2].inferred


def test_a_4_tuple_that_a_new_syn_uses_again_is_a_new_subflow() -> None:
    client, server = end(1, 0), end(2, 0)

    def life(now: int, isn: int) -> list[Made]:
        return [
            Made(client, server, now, isn, None, SYN),
            Made(server, client, now + MS, 99, isn + 1, SYN | ACK),
            Made(client, server, now + 2 * MS, isn + 1, 100, ACK, 10),
            Made(client, server, now + 3 * MS, isn + 11, 100, ACK | FIN),
        ]

    again = Made(client, server, MS // 2, 1000, None, SYN)  # a SYN repeated is no new one
    packets = [*life(0, 1000), *life(1000 * MS, 50_000), *life(2000 * MS, 50_000)]
    packets.insert(1, again)
    for size in (1, 3, 1000):
        capture = MadeCapture(packets, size)
        resolution = resolve(capture)
        found = [number for batch in capture.batches() for number in resolution.subflow_of(batch).tolist()]
        assert found == [0] * 5 + [1] * 4 + [2] * 4
        assert [subflow.isn for subflow in resolution.subflows] == [(1000, 99), (50_000, 99), (50_000, 99)]
        assert [subflow.how for subflow in resolution.subflows] == ["tcp"] * 3


def test_a_syn_behind_data_of_which_no_syn_was_seen_begins_a_new_subflow() -> None:
    packets = [
        Made(end(1, 0), end(2, 0), 0, 7, 1, ACK, 10),
        Made(end(2, 0), end(1, 0), 1, 1, 17, ACK),
        Made(end(1, 0), end(2, 0), MS, 1000, None, SYN),
    ]
    assert members(resolved(packets)) == [[0], [1]]


def test_a_syn_from_either_end_is_one_subflow() -> None:
    packets = [
        Made(end(1, 0), end(2, 0), 0, 1000, None, SYN),
        Made(end(2, 0), end(1, 0), 1, 2000, None, SYN),
        Made(end(1, 0), end(2, 0), 2, 1000, 2001, SYN | ACK),
        Made(end(2, 0), end(1, 0), 3, 2000, 1001, SYN | ACK),
    ]
    assert members(resolved(packets)) == [[0]]


def test_mptcp_that_the_listener_did_not_take_up_is_tcp() -> None:
    first = handshake(0, 0)
    first[1] = replace(first[1], options=[])
    first[2] = replace(first[2], options=[])
    connection = resolved(first).connections[0]
    assert (connection.mptcp, connection.version, connection.fallback) == (False, None, "handshake")


def test_a_refused_syn_is_a_connection_of_its_own() -> None:
    packets = [handshake(0, 0)[0], Made(end(2, 0), end(1, 0), MS, 0, ISN + 1, RST | ACK)]
    resolution = resolved(packets)
    assert members(resolution) == [[0]]
    assert (resolution.subflows[0].how, resolution.subflows[0].reset) == ("tcp", True)


def test_without_handshakes_dsns_that_fit_join_and_it_is_said() -> None:
    packets = [*data(0, 1001, 0, ssn=501), *data(1, 1101, MS, ssn=301), *data(2, 5, 2 * MS, ssn=9, key=b"another!")]
    resolution = resolved(packets)
    assert members(resolution) == [[0, 1], [2]]
    connection = resolution.connections[0]
    assert connection.mptcp and connection.version is None and connection.keys == (None, None)
    assert "subflow 1 joined by DSNs" in connection.inferred
    assert connection.idsn == (None, None)
    assert connection.dsn_wide == (True, True)
    assert [subflow.how for subflow in resolution.subflows] == ["inferred"] * 3
    assert [subflow.isn[0] for subflow in resolution.subflows] == [ISN] * 3  # by the mappings


def test_many_connections_without_handshakes_are_told_apart_and_their_subflows_joined() -> None:
    packets = []
    for number in range(400):
        for subflow in (0, 1):
            key = number.to_bytes(8, "big")
            there, back = data(subflow, 1001 + 100 * subflow, (2 * number + subflow) * MS, key=key, ssn=501)
            ports = 40000 + subflow, 5001
            moved = {port: (port + number * 10, 5001)[port == 5001] for port in ports}
            packets += [
                replace(
                    packet,
                    source=(packet.source[0], moved[packet.source[1]]),
                    destination=(packet.destination[0], moved[packet.destination[1]]),
                    data_ack=None if packet is there else packet.data_ack,
                )
                for packet in (there, back)
            ]
    assert members(resolved(packets)) == [[2 * number, 2 * number + 1] for number in range(400)]


def test_a_subflow_whose_join_is_missing_finds_the_connection_with_keys() -> None:
    packets = [*handshake(0, 0), *data(0, 1, 50 * MS), *data(1, 101, 60 * MS, ssn=77)]
    resolution = resolved(packets)
    assert members(resolution) == [[0, 1]]
    assert "subflow 1 joined by DSNs" in resolution.connections[0].inferred


def test_joins_of_one_token_without_their_mp_capable_are_one_connection() -> None:
    packets = [*handshake(1, 0), *handshake(2, MS), *data(1, 1, 50 * MS), *data(2, 101, 51 * MS)]
    resolution = resolved(packets)
    assert members(resolution) == [[0, 1]]
    assert "MP_CAPABLE of token" in resolution.connections[0].inferred
    assert resolution.connections[0].tokens == (None, made.token(SERVER_KEY))


def test_32_bits_that_may_fit_by_chance_stay_apart_and_are_said() -> None:
    def both_ways(subflow: int, offset: int, now: int) -> list[Made]:
        there, back = data(subflow, offset, now, octets=4, ssn=501)
        client, server = end(1, subflow), end(2, subflow)
        more = Made(server, client, now + 3, ISN + 8, ISN + 501, ACK, 50_000, mapping=(BACK + offset * 50, 1, 50_000))
        return [there, back, replace(more, dsn_octets=4, data_ack=IDSN + offset, data_ack_octets=4)]

    same_host = [
        replace(
            packet,
            source=(bytes((10, 0, 0, packet.source[0][3])), packet.source[1]),
            destination=(bytes((10, 0, 0, packet.destination[0][3])), packet.destination[1]),
        )
        for packet in [*both_ways(0, 100_001, 0), *both_ways(1, 200_001, MS)]
    ]
    resolution = resolved(same_host)
    assert members(resolution) == [[0], [1]]
    assert any("kept apart" in note for note in resolution.notes)


@pytest.mark.parametrize(("at", "first", "second"), [("opener", 20 * MS, 9000), ("listener", 9000, 20 * MS),
                                                     ("between", 9 * MS, 11 * MS)])  # fmt: skip
def test_the_quick_answer_tells_where_the_capture_stands(at, first, second) -> None:
    syn, syn_ack, third = handshake(0, 0)
    packets = [syn, replace(syn_ack, time_ns=first), replace(third, time_ns=first + second)]
    assert vantage(resolved(packets).subflows) == at


def test_a_syn_that_was_repeated_gives_no_round_trip_unless_its_timestamp_is_echoed() -> None:
    syn, syn_ack, third = handshake(0, 0)
    packets = [syn, replace(syn, time_ns=1000 * MS), replace(syn_ack, time_ns=1020 * MS), third]
    assert resolved(packets).subflows[0].syn_rtt_ns is None
    stamped = [
        replace(packets[0], timestamps=(5, 0)),
        replace(packets[1], timestamps=(1005, 0)),
        replace(packets[2], timestamps=(77, 1005)),
    ]
    assert resolved(stamped).subflows[0].syn_rtt_ns == 20 * MS


def test_nothing_is_resolved_of_nothing() -> None:
    resolution = resolved([])
    assert (resolution.subflows, resolution.connections) == ([], [])
