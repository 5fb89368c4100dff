"""Middleboxes that cut, join, rewrite, acknowledge or order segments, or take options out of some, between kernels.

Every transfer is whole unless said otherwise, and every checksum that a kernel verified was right.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from emulation_lab import stream
from middlebox_lab import IPPROTO_MPTCP, SIZE, Between, between, two_paths

pytestmark = [pytest.mark.needs_root]

SERVER = ("10.77.1.2", 7002)


# --- split and coalesce ---


def test_l2_the_kernel_takes_the_pieces_of_a_segment() -> None:
    with between("split 500 options first") as path:
        _, server = path.transfer()
        box = path.box()
    assert box.matched == box.changed > 300
    assert server["TcpInSegs"] >= box.seen + box.made > 1000


@pytest.mark.needs_mptcp
@pytest.mark.parametrize(("where", "falls_back"), [("first", 0), ("last", 1)])
def test_l2_the_kernels_mptcp_needs_the_mapping_on_the_first_piece(where: str, falls_back: int) -> None:
    with between(f"split 500 options {where}") as path:
        client, server = path.transfer(IPPROTO_MPTCP)
    assert server["MPTcpExtMPCapableACKRX"] == 1
    assert server["MPTcpExtDssFallback"] == client["MPTcpExtMPCapableDataFallback"] == falls_back


def test_l2_the_kernel_takes_what_receive_offload_has_put_together() -> None:
    with between("coalesce 30000 for 2ms") as path:
        path.transfer()
        assert path.box().matched > 300
        assert path.report().forward.super_segments > 10


@pytest.mark.needs_mptcp
def test_n4_the_kernel_ends_the_joined_subflow_where_segments_lost_their_mappings_in_others() -> None:
    with two_paths("none", "coalesce 2880") as path:
        stream(path.lab, SIZE, protocol=IPPROTO_MPTCP)  # Linux 6.18 delivers some of these bytes: not always whole
        client, server = path.counters(path.lab.a), path.counters(path.lab.b)
        box = path.box(2)
    assert server["MPTcpExtMPJoinAckRx"] >= 1
    assert box.matched > 0
    assert server["MPTcpExtMPRstTx"] + client["MPTcpExtMPRstTx"] >= 1


# --- rewrite-payload ---


def conversation(path: Between, *lines: bytes) -> list[bytes]:
    """What the server has heard of each line of a client, and what the client of its repetition by the server."""
    lab = path.lab
    with lab.inside(lab.b):
        listener = socket.create_server(SERVER)
    with lab.inside(lab.a):
        client = socket.socket()
    heard = []
    with listener, client:
        client.settimeout(5)
        client.connect(SERVER)
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            for line in lines:
                client.sendall(line)
                heard.append(server.recv(1000))
                server.sendall(heard[-1])
                heard.append(client.recv(1000))
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b"", "the FIN is where it has to be"
    return heard


def test_l3_the_kernels_talk_on_when_a_gateway_has_made_their_lines_longer_and_shorter() -> None:
    with between('rewrite-payload "PORT" "EPRT 1" on forward, rewrite-payload "EPRT 1" "" on backward') as path:
        heard = conversation(path, b"PORT 4", b"nothing", b"PORT PORT", b"end")
        client, server = path.counters(path.lab.a), path.counters(path.lab.b)
        there, back = path.box(), path.box(direction="backward", number=2)
    assert heard == [b"EPRT 1 4", b" 4", b"nothing", b"nothing", b"EPRT 1 EPRT 1", b" ", b"end", b"end"]
    assert there.matched == back.matched == 2
    assert client["TcpRetransSegs"] == server["TcpRetransSegs"] == 0, "all was acknowledged where it was meant to be"


@pytest.mark.needs_mptcp
@pytest.mark.parametrize("new", ["AB", "ABCD"])
def test_l3_with_checksums_the_kernel_gives_no_changed_byte_of_a_joined_path_to_its_user(new: str) -> None:
    with two_paths("none", f'rewrite-payload "ab" "{new}"') as path:
        for host in (path.lab.a, path.lab.b):
            with path.lab.inside(host):
                Path("/proc/sys/net/mptcp/checksum_enabled").write_text("1")
        _, server = path.transfer(IPPROTO_MPTCP, 2_000_000)
        box = path.box(2)
    assert box.matched >= 1
    assert server["MPTcpExtMPJoinAckRx"] == 1
    assert server["MPTcpExtMPRstTx"] >= 1
    if new == "AB":
        assert server["MPTcpExtDataCsumErr"] == server["MPTcpExtMPFailTx"] == 1, "K5"


# --- proactive-ack and normalise ---


def test_l2_the_kernel_does_not_hear_of_losses_that_the_proxy_repairs() -> None:
    with between("proactive-ack, drop data nth 40+80+120") as path:
        client, server = path.transfer()
        box = path.box()
    assert box.matched > 300
    assert box.made >= 3
    assert client["TcpRetransSegs"] == 0
    assert server["TcpExtTCPOFOQueue"] > 0


@pytest.mark.needs_mptcp
def test_l2_the_kernel_takes_acknowledgements_without_data_ack_for_a_loss_of_options() -> None:
    with between("proactive-ack") as path:
        client, _ = path.transfer(IPPROTO_MPTCP)
    assert client["MPTcpExtMPCapableDataFallback"] == 1, "K3"
    with two_paths("proactive-ack with data_ack", "proactive-ack with data_ack") as path:
        client, server = path.transfer(IPPROTO_MPTCP)
        assert path.box().matched > 10
    assert server["MPTcpExtMPJoinAckRx"] == 1
    assert client["MPTcpExtMPCapableDataFallback"] == server["MPTcpExtDssFallback"] == 0
    assert client["MPTcpExtMPRstTx"] == server["MPTcpExtMPRstTx"] == 0


def test_l2_behind_a_normaliser_the_kernel_sees_nothing_out_of_order() -> None:
    text = "drop data nth 60, hold data every 40 until data every 43 for 20ms"
    with between(f"{text}, normalise") as path:
        client, server = path.transfer()
        box = path.box(number=3)
    assert box.delayed > 10
    assert client["TcpRetransSegs"] >= 1
    assert server["TcpExtTCPOFOQueue"] == 0
    assert server["TcpExtPAWSEstab"] <= 2, "what waited is not too old by its timestamp"


# --- strip and drop by class and direction ---


@pytest.mark.needs_mptcp
@pytest.mark.parametrize(
    ("text", "server_says"),
    [
        ("strip mptcp on data", {"MPTcpExtMPCapableACKRX": 1, "MPTcpExtDssFallback": 1}),
        ("strip mptcp on ack", {"MPTcpExtMPCapableACKRX": 1, "MPTcpExtDssFallback": 1}),
        ("strip mptcp on forward and not tcp.syn", {"MPTcpExtMPCapableFallbackACK": 1}),
        ("strip mptcp.dss on backward", {"MPTcpExtMPCapableACKRX": 1}),
    ],
)
def test_l1_the_kernel_falls_back_by_what_loses_its_options(text: str, server_says: dict[str, int]) -> None:
    with between(text) as path:
        client, server = path.transfer(IPPROTO_MPTCP)
    assert client["MPTcpExtMPCapableDataFallback"] == 1
    assert {name: server[name] for name in server_says} == server_says


@pytest.mark.needs_mptcp
@pytest.mark.parametrize("kind", ["data", "ack"])
def test_l1_the_kernel_ends_a_joined_subflow_alone_whose_options_are_lost(kind: str) -> None:
    with two_paths("none", f"strip mptcp on {kind}") as path:
        client, server = path.transfer(IPPROTO_MPTCP)
    assert server["MPTcpExtDssFallback"] == client["MPTcpExtMPCapableDataFallback"] == 0
    assert client["MPTcpExtMPRstTx"] + server["MPTcpExtMPRstTx"] == 1
