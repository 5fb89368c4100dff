"""Middleboxes that know flows, signals or headers, between kernels: felt as meant, checksums right."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import time
from collections.abc import Iterator

import pytest
from emulation_lab import Lab
from middlebox_lab import IPPROTO_MPTCP, LINE, SIZE, between, two_paths

pytestmark = [pytest.mark.needs_root]

SERVER = ("10.77.1.2", 7002)


@contextlib.contextmanager
def connected(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection from a to b: its ends."""
    with lab.inside(lab.b):
        listener = socket.create_server(SERVER)
    with lab.inside(lab.a):
        client = socket.socket()
    with listener, client:
        client.settimeout(5)
        client.connect(SERVER)
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            yield client, server


# --- rewrite-isn ---


def test_l2_the_kernel_recovers_by_sack_where_the_blocks_are_translated_too() -> None:
    losses = "drop data nth 60+62+64"
    with between(f"rewrite-isn, {losses}") as path:
        client, _ = path.transfer(family=socket.AF_INET6)
        box = path.box()
    assert box.seen == box.matched == box.changed
    assert client["TcpExtTCPSackRecovery"] >= 1
    assert client["TcpExtTCPSACKDiscard"] == 0
    with between(f"rewrite-isn except sack, {losses}") as path:
        client, _ = path.transfer()
    assert client["TcpExtTCPSACKDiscard"] > 10, "most of them are far from what it has sent"


@pytest.mark.needs_mptcp
def test_l2_the_kernels_mptcp_does_not_mind_other_sequence_numbers() -> None:
    with two_paths("rewrite-isn", "rewrite-isn") as path:
        client, server = path.transfer(IPPROTO_MPTCP)
        boxes = [path.box(link, direction) for link in (1, 2) for direction in ("forward", "backward")]
    assert server["MPTcpExtMPCapableACKRX"] == server["MPTcpExtMPJoinAckRx"] == 1
    assert all(box.changed == box.seen > 2 for box in boxes)
    assert client["MPTcpExtDSSNotMatching"] == server["MPTcpExtDSSNotMatching"] == 0


# --- nat ---


def test_l2_a_kernels_connection_ends_with_the_mapping_of_a_nat() -> None:
    with between("nat as 10.77.1.3 rebind after 1s") as path:
        begun_s = time.monotonic()
        path.lab.run(path.lab.a, "ip", "address", "add", "10.77.1.3/24", "dev", "eth1")  # it answers for it
        with connected(path.lab) as (client, server):
            address, port = server.getpeername()
            assert address == "10.77.1.3"
            assert port != client.getsockname()[1]
            client.sendall(b"before")
            assert server.recv(100) == b"before"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"
            time.sleep(max(0.0, begun_s + 1.1 - time.monotonic()))
            client.sendall(b"after")
            with pytest.raises(ConnectionResetError):
                client.recv(100)
            client.close()
            assert path.box().changed == path.box().matched
        assert path.counters(path.lab.b)["TcpOutRsts"] >= 1
        assert path.box(direction="backward").dropped >= 1, "the server's FIN for the old port"


@pytest.mark.needs_mptcp
def test_l2_the_kernels_mptcp_survives_a_rebinding_on_one_path() -> None:
    slow = dataclasses.replace(LINE, rate_bit_s=40 * 10**6)
    with two_paths("nat rebind after 150ms+300ms+450ms+600ms", "nat", line=slow) as path:
        _, server = path.transfer(IPPROTO_MPTCP, 4_000_000)
        first, second = path.box(1), path.box(2)
    assert server["MPTcpExtMPJoinAckRx"] >= 1
    assert first.changed == first.matched > 0
    assert second.changed == second.seen > 0
    assert server["TcpOutRsts"] >= 1, "the path was in use, and answered as one of nobody's"


# --- firewall, filter ---


@pytest.mark.needs_mptcp
@pytest.mark.parametrize("text", ["firewall drop-join", "firewall drop-join reject"])
def test_l1_the_kernels_join_is_refused_and_the_first_path_carries_all(text: str) -> None:
    with two_paths(text, text) as path:
        client, server = path.transfer(IPPROTO_MPTCP)
        first, second = path.box(1), path.box(2)
        answers = path.box(2, "backward")
    assert client["MPTcpExtAddAddr"] == 1
    assert server["MPTcpExtMPJoinSynRx"] == 0
    assert server["MPTcpExtMPCapableACKRX"] == 1
    assert second.dropped == second.matched == second.seen >= 1
    assert (first.dropped, answers.made) == (0, second.dropped if "reject" in text else 0)


@pytest.mark.needs_mptcp
def test_l1_the_kernel_does_not_learn_of_an_address_that_is_filtered() -> None:
    with two_paths("filter add_addr") as path:
        client, server = path.transfer(IPPROTO_MPTCP)
        box = path.box(direction="backward")
    assert server["MPTcpExtAddAddrTx"] >= 1
    assert client["MPTcpExtAddAddr"] == server["MPTcpExtEchoAdd"] == server["MPTcpExtMPJoinSynRx"] == 0
    assert box.matched == box.dropped + box.changed >= 1


# --- clamp-mss, shrink-window, replay ---


def test_the_kernel_sends_no_segment_larger_than_the_clamp() -> None:
    with between("clamp-mss 500, drop payload > 500") as path:
        path.transfer()
        clamp, larger = path.box(), path.box(number=2)
    assert (clamp.matched, clamp.changed) == (1, 1)
    assert larger.dropped == 0
    assert larger.seen > SIZE // 500


def test_l3_the_kernel_believes_the_window_that_is_left_of_it() -> None:
    with between("shrink-window 8kB on backward") as path, connected(path.lab) as (client, server):
        client.sendall(b"a")
        assert server.recv(1) == b"a"
        shown = path.lab.run(path.lab.a, "ss", "-tin", "dport", "=", f":{SERVER[1]}")
        shift = int(re.findall(r"wscale:(\d+),", shown)[0])
        assert f"snd_wnd:{8000 >> shift << shift}" in shown.split()
        client.setblocking(False)
        sent = client.send(bytes(1_000_000))
        received = 0
        while received < sent:
            received += len(server.recv(1 << 16))
        box = path.box(direction="backward")
    assert box.changed >= sent // 8000, "one window for each answer at least"


def test_l2_the_kernel_throws_away_what_is_replayed() -> None:
    with between("replay data and forward every 20 after 30ms") as path:
        path.transfer()
        box = path.box()
        while box.made < box.matched:
            time.sleep(0.01)
            box = path.box()
        server = path.counters(path.lab.b)
    assert box.matched > 10
    assert server["TcpExtTCPDSACKOldSent"] >= box.made // 3, "the last may come after the end of the connection"
