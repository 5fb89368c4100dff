"""What getsockopt tells about live connections of this kernel, against what is known about them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from endpoint_pair import loopback_namespace

from testbed.endpoint import kernel_state
from testbed.endpoint.kernel_state import IPPROTO_MPTCP, ConnectionState, in_mptcp, is_mptcp, read_connection
from testbed.endpoint.subflow_flags import backup_flag, subflow_flags
from testbed.orchestrator.namespaces import inside

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

PAYLOAD = bytes(50_000)


@contextmanager
def connected(
    family: int, client: int, server: int, more_addresses: tuple[str, ...] = ()
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(client, accepted) of the given protocols, with PAYLOAD moved from one to the other."""
    with loopback_namespace() as fd, inside(fd):
        for more in more_addresses:
            subprocess.run(["ip", "mptcp", "endpoint", "add", more, "dev", "lo", "subflow"], check=True)
        address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        with socket.socket(family, socket.SOCK_STREAM, server) as listener:
            listener.bind((address, 0))
            listener.listen()
            with socket.socket(family, socket.SOCK_STREAM, client) as asking:
                asking.connect(listener.getsockname())
                accepted, _ = listener.accept()
                with accepted:
                    asking.sendall(PAYLOAD)
                    received = 0
                    while received < len(PAYLOAD):
                        received += len(accepted.recv(65536))
                    yield asking, accepted


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("full_info", [True, False], ids=["FULL_INFO", "three calls"])
def test_an_mptcp_connection_tells_its_bytes_and_its_subflow(family: int, full_info: bool) -> None:
    with connected(family, IPPROTO_MPTCP, IPPROTO_MPTCP) as (client, server):
        states = [read_connection(sock, full_info) for sock in (client, server)]
        names = [(*sock.getsockname()[:2], *sock.getpeername()[:2]) for sock in (client, server)]
        assert in_mptcp(client)
        assert in_mptcp(server)
        assert [backup_flag(names[0]), backup_flag(names[1])] == [False, False]
        flags = subflow_flags(names[0])
        assert flags is not None
        assert flags & (1 << 6)  # fully established
    sent, received = (state.mptcp_info for state in states)
    assert sent is not None
    assert received is not None
    assert received["bytes_received"] == len(PAYLOAD) == sent["bytes_sent"]
    for state, name in zip(states, names, strict=True):
        assert state.source == ("MPTCP_FULL_INFO" if full_info else "MPTCP_TCPINFO")
        assert not state.fallback
        (subflow,) = state.subflows
        assert subflow.endpoints == name
        assert (subflow.id is not None) == full_info
    assert states[1].subflows[0].tcp_info["bytes_received"] == len(PAYLOAD)
    assert states[0].subflows[0].tcp_info["rtt"]


@pytest.mark.parametrize("full_info", [True, False], ids=["FULL_INFO", "three calls"])
def test_each_subflow_is_read_where_the_kernel_wrote_it(monkeypatch: pytest.MonkeyPatch, full_info: bool) -> None:
    # On a kernel whose struct tcp_info is smaller than what is asked for, the second one follows right after the first.
    monkeypatch.setattr(kernel_state, "TCP_INFO_BYTES", kernel_state.TCP_INFO_BYTES + 72)
    with connected(socket.AF_INET, IPPROTO_MPTCP, IPPROTO_MPTCP, ("127.0.0.2", "127.0.0.3")) as (client, _):
        ends_s = time.monotonic() + 5.0
        while len((state := read_connection(client, full_info)).subflows) < 3 and time.monotonic() < ends_s:
            client.sendall(b"x")  # joined once the first data was acknowledged
    first, *others = state.subflows
    assert sorted(other.endpoints[0] for other in others) == ["127.0.0.2", "127.0.0.3"]
    for other in others:
        assert other.tcp_info["snd_mss"] == first.tcp_info["snd_mss"]
        assert 0 < (other.tcp_info["min_rtt"] or 0) < 10**9


def test_both_ways_of_asking_give_the_same_answer() -> None:
    with connected(socket.AF_INET, IPPROTO_MPTCP, IPPROTO_MPTCP) as (client, _):
        one, other = read_connection(client), read_connection(client, full_info=False)
    moving = {"last_data_sent", "last_data_recv", "last_ack_recv"}

    def still(state: ConnectionState) -> object:
        infos = [state.mptcp_info or {}, *(subflow.tcp_info for subflow in state.subflows)]
        return [{name: value for name, value in info.items() if name not in moving} for info in infos]

    assert still(one) == still(other)


@pytest.mark.parametrize(
    ("client", "server", "protocols"),
    [
        (IPPROTO_MPTCP, socket.IPPROTO_TCP, (True, False)),
        (socket.IPPROTO_TCP, IPPROTO_MPTCP, (False, False)),
        (socket.IPPROTO_TCP, socket.IPPROTO_TCP, (False, False)),
    ],
    ids=["mptcp to tcp", "tcp to mptcp", "tcp to tcp"],
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_is_not_mptcp_is_read_as_tcp(family: int, client: int, server: int, protocols: tuple[bool, bool]) -> None:
    with connected(family, client, server) as ends:
        assert tuple(is_mptcp(sock) for sock in ends) == protocols
        for sock in ends:
            assert not in_mptcp(sock)
            state = read_connection(sock)
            assert (state.source, state.mptcp_info, state.fallback) == ("TCP_INFO", None, True)
            (subflow,) = state.subflows
            assert subflow.endpoints == (*sock.getsockname()[:2], *sock.getpeername()[:2])
            assert backup_flag(subflow.endpoints) in (None, False)
        assert read_connection(ends[1]).subflows[0].tcp_info["bytes_received"] == len(PAYLOAD)


def test_flags_of_a_connection_that_is_not_there_are_not_known() -> None:
    with loopback_namespace() as fd, inside(fd):
        assert subflow_flags(("127.0.0.1", 1, "127.0.0.1", 2)) is None
