"""B22 to B24: Fast Open and MPTCP (RFC 8684 appendix B)."""

from __future__ import annotations

from mptcp_segments import find, is_syn, is_syn_ack, option_area
from two_hosts import SECOND, Path, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.net.middlebox import with_options
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import Dss, FastOpen, MpCapable, Timestamps
from testbed.wire.segment import SYN, Segment

FAST_OPEN = Parameters(tcp=TcpParameters(fast_open=True))
DATA = bytes(range(256)) * 100


def with_cookie(path: Path | None = None, parameters: Parameters = FAST_OPEN) -> TwoHosts:
    """Two hosts of which the client has got a cookie on an earlier connection."""
    hosts = TwoHosts(parameters, paths=[path or Path()])
    hosts.connect()
    hosts.run(SECOND)
    hosts.transcript.clear()
    return hosts


def open_with(hosts: TwoHosts, data: bytes) -> Connection:
    connection = hosts.client.connect(hosts.client.connections[0].subflows[0].tcp.remote, hosts.now, None)
    connection.send(data, hosts.now)
    hosts.flush()
    return connection


def read_all(hosts: TwoHosts, receiver: Connection, count: int) -> bytes:
    received = bytearray()

    def done() -> bool:
        while piece := receiver.receive(1 << 20):
            received.extend(piece)
        return len(received) >= count

    hosts.run_until(done, 30 * SECOND)
    return bytes(received)


def shorten_syn(segment: Segment, now: int) -> Segment:
    """A middlebox that lets only part of the SYN's data pass."""
    if is_syn(segment) and len(segment.payload) > 500:
        cut = with_options(segment, segment.options)
        cut.payload = segment.payload[:500]
        return cut
    return segment


def strip_syn_data(segment: Segment, now: int) -> Segment:
    if is_syn(segment) and segment.payload:
        cut = with_options(segment, segment.options)
        cut.payload = b""
        return cut
    return segment


def test_b22_the_syns_data_is_outside_the_data_sequence_space() -> None:
    hosts = with_cookie()
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert not client.fallen_back and not server.fallen_back
    first = hosts.transcript[0].segment
    carried = len(first.payload)
    assert is_syn(first) and carried > 500 and find(first, MpCapable) is not None
    mapped = [s for s in hosts.sent(True) if (d := find(s, Dss)) is not None and d.dsn is not None]
    capable = [s for s in hosts.sent(True) if (o := find(s, MpCapable)) is not None and o.data_length is not None]
    lowest = min(mapped + capable, key=lambda s: (s.seq - first.seq) % 2**32)
    assert (lowest.seq - first.seq) % 2**32 == 1 + carried
    option = find(lowest, Dss)
    if option is not None:
        assert option.ssn == 1
        assert option.dsn == (client.keys.local_idsn + 1) % 2**64
    following = find(min(mapped, key=lambda s: (s.seq - first.seq) % 2**32), Dss)
    assert following is not None and following.dsn is not None
    assert (following.dsn - client.keys.local_idsn - following.ssn) % 2**64 == 0
    assert client.send_queue.snd_end == client.keys.local_idsn + 1 + len(DATA) - carried


def test_b22_the_server_hands_out_the_data_before_the_handshake_is_over() -> None:
    hosts = with_cookie()
    open_with(hosts, b"hello")
    server = hosts.accept(11_000_000)
    assert server.receive(100) == b"hello"


def test_b22_with_checksums_too() -> None:
    hosts = with_cookie(parameters=Parameters(tcp=TcpParameters(fast_open=True), checksum=True))
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert not client.fallen_back and not server.fallen_back


def test_b22_the_servers_own_sequence_numbers_are_not_shifted() -> None:
    """As Linux has it, too (``ssn_offset`` counts in what was received only)."""
    hosts = with_cookie(parameters=Parameters(tcp=TcpParameters(fast_open=True), checksum=True))
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert hosts.transfer(server, client, DATA) == DATA
    assert not client.fallen_back and not server.fallen_back
    answer = next(segment for segment in hosts.sent(False) if is_syn_ack(segment))
    first = next(s for s in hosts.sent(False) if (d := find(s, Dss)) is not None and d.dsn is not None)
    option = find(first, Dss)
    assert option is not None
    assert (first.seq - answer.seq) % 2**32 == option.ssn == 1


def test_b23_data_that_was_acknowledged_in_part_is_continued_with_a_mapping() -> None:
    path = Path()
    hosts = with_cookie(path)
    path.filters.append(shorten_syn)
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert not client.fallen_back and not server.fallen_back
    assert client.subflows[0].ssn_offset == server.subflows[0].peer_ssn_offset == 500


def test_b23_data_that_was_not_acknowledged_is_sent_again_with_a_mapping() -> None:
    path = Path()
    hosts = with_cookie(path)
    path.filters.append(strip_syn_data)
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert not client.fallen_back and not server.fallen_back
    assert client.subflows[0].ssn_offset == 0
    assert client.send_queue.snd_end == client.keys.local_idsn + 1 + len(DATA)


def test_b23_a_lost_syn_is_repeated_without_data() -> None:
    path = Path()
    hosts = with_cookie(path)
    lost = [1]

    def drop(segment: Segment, now: int) -> Segment | None:
        if is_syn(segment) and lost[0]:
            lost[0] -= 1
            return None
        return segment

    path.filters.append(drop)
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    syns = [segment for segment in hosts.sent(True) if is_syn(segment)]
    assert [bool(segment.payload) for segment in syns] == [True, False]
    assert not client.fallen_back


def test_b24_a_synack_with_cookie_leaves_the_timestamps_out() -> None:
    hosts = TwoHosts(FAST_OPEN)
    client, server = hosts.connect()
    answer = next(segment for segment in hosts.sent(False) if is_syn_ack(segment))
    cookie = find(answer, FastOpen)
    assert cookie is not None and len(cookie.cookie) == 8
    assert find(answer, MpCapable) is not None
    assert find(answer, Timestamps) is None
    assert option_area(answer) <= 40
    assert hosts.transfer(client, server, DATA) == DATA
    assert all(find(s, Timestamps) is None for s in hosts.sent() if not s.flags & SYN)


def test_fast_open_without_mptcp_is_tcps() -> None:
    hosts = with_cookie(parameters=Parameters(tcp=TcpParameters(fast_open=True), enabled=False))
    client = open_with(hosts, DATA)
    server = hosts.accept()
    assert read_all(hosts, server, len(DATA)) == DATA
    assert client.fallen_back and server.fallen_back
    assert hosts.transcript[0].segment.payload
