"""Middleboxes in the relay: exact on crafted packets, as in virtual time, and harmless or felt as meant by kernels."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from emulation_lab import Lab, RelayProcess, stream

from testbed.emulation.protocol import BoxReport, LinkConfiguration
from testbed.net.middlebox import FORWARD, Chain
from testbed.wire.codec import decode, encode
from testbed.wire.options import NOP, Dss, Option, Timestamps
from testbed.wire.segment import ACK, SYN, Segment, SocketAddress
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.middlebox import parse

pytestmark = [pytest.mark.needs_root]

MS = 1_000_000
SEED = 5
IPPROTO_MPTCP = 262
LINE = LinkProfile(rate_bit_s=100 * 10**6, queue=QueueLimit(packets=1000), delay_ns=MS)
OPTIONS: tuple[Option, ...] = (NOP, NOP, Timestamps(1, 2), NOP, NOP, Dss(data_ack=7, dsn=3, ssn=1, length=5))
IPV6_PREFIX = bytes.fromhex("fd770001") + bytes(11)
STRANGERS = {
    4: (SocketAddress(bytes([10, 77, 1, 201]), 4000), SocketAddress(bytes([10, 77, 1, 202]), 5001)),
    6: (SocketAddress(IPV6_PREFIX + b"\1", 4000), SocketAddress(IPV6_PREFIX + b"\2", 5001)),
}
PACKET_OUTGOING = 4
ADDRESSES = bytes([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8])
"""Ethernet addresses of neither host: no kernel answers."""


def relay(lab: Lab, text: str) -> RelayProcess:
    link = LinkConfiguration(
        name="path1",
        seed=SEED,
        a_interface="a1",
        b_interface="b1",
        forward=LINE,
        backward=LINE,
        middleboxes=parse(text),
    )
    process = lab.relay([link])
    process.start()
    return process


def boxes(process: RelayProcess) -> dict[tuple[str, str], BoxReport]:
    """(first word, direction) -> what it did."""
    rows = process.report().link("path1").middleboxes
    return {(row.middlebox.split()[0], row.direction): row for row in rows}


# --- crafted packets ---


def crafted(number: int, family: int = 4) -> Segment:
    flags, payload = (SYN, b"") if number == 0 else (ACK, b"%04d" % number)
    return Segment(*STRANGERS[family], 1000 + number, 1, flags, 100, OPTIONS, payload, ecn=2)


def sent_through(lab: Lab, packets: Sequence[Segment]) -> list[tuple[float, Segment]]:
    """What of ``packets``, sent 2 ms apart by a, comes to b, with ms since the first was sent.

    The middle node's kernel has completed the checksums, and decoding refuses wrong ones.
    """
    lab.run(lab.m, "ethtool", "-K", "b1", "tx", "off")
    with lab.inside(lab.b):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        ear.bind(("eth1", 3))
    with lab.inside(lab.a):
        mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        mouth.bind(("eth1", 0))
    begun_ns = time.monotonic_ns()
    came = []
    with ear, mouth:
        for packet in packets:
            ethertype = b"\x08\x00" if len(packet.source.host) == 4 else b"\x86\xdd"
            mouth.send(ADDRESSES + ethertype + encode(packet))
            time.sleep(0.002)
        ear.settimeout(0.3)
        while True:
            try:
                frame, (_, _, kind, *_) = ear.recvfrom(2000)
            except TimeoutError:
                return came
            if kind != PACKET_OUTGOING and frame[:12] == ADDRESSES:
                came.append(((time.monotonic_ns() - begun_ns) / MS, decode(frame, 14)))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    "text",
    [
        "drop data nth 2+5",
        "drop data and chance 50%",
        "duplicate data every 3",
        "hold data nth 3+4 until data nth 7 for 30s",
        "mark ce data every 2",
        "strip mptcp on data first 4",
        "watch data and option_octets >= 32 as full, drop data nth 3, watch dss.ack_octets = 8 as wide",
        "hold any every 4 until any every 5 for 30s, duplicate chance 30%, drop chance 20%, mark not-ect chance 50%",
    ],
)
def test_real_packets_come_out_as_in_virtual_time_and_whole(text: str, family: int) -> None:
    packets = [crafted(number, family) for number in range(16)]
    chain = Chain(parse(text), seed=SEED)
    expected = [out for each in packets for _, out in chain.arrives(each, FORWARD, 0)]
    with Lab(1) as lab:
        process = relay(lab, text)
        came = [segment for _, segment in sent_through(lab, packets)]
        report = process.report().link("path1")
    assert came == expected
    assert report.forward.dropped_middlebox == chain.dropped(FORWARD)
    assert report.forward.changed_middlebox == chain.changed(FORWARD)
    assert [(row.matched, row.made) for row in report.middleboxes if row.direction == "forward"] == [
        (box.counters(FORWARD).matched, box.counters(FORWARD).made) for box in chain.boxes
    ]


def test_a_delayed_packet_comes_later_by_that_and_a_held_one_at_the_end_of_its_time() -> None:
    with Lab(1) as lab:
        process = relay(lab, "delay 60ms data nth 2, hold data nth 4 until data nth 99 for 120ms")
        came = sent_through(lab, [crafted(number) for number in range(8)])
        report = boxes(process)
    # the first after the SYN is the third ACK; the second middlebox has not yet seen what the first one delays
    assert [segment.seq - 1000 for _, segment in came] == [0, 1, 2, 4, 5, 7, 3, 6]
    assert report["delay", "forward"].delayed == report["hold", "forward"].delayed == 1
    (delayed_ms, _), (held_ms, _) = came[-2:]
    assert 3 * 2 + 60 <= delayed_ms < 1000
    assert 6 * 2 + 120 <= held_ms < 1000


# --- kernels ---


def counters(lab: Lab, host: str) -> dict[str, int]:
    lines = lab.run(host, "nstat", "-azs").splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines if not line.startswith("#")}


def transferred(text: str, protocol: int = socket.IPPROTO_TCP, **sysctls: str) -> tuple[dict[str, int], ...]:
    """Counters of a and b, and of the first middlebox (forward) after a transfer, which has to be whole."""
    with Lab(1, offloads=False) as lab:
        for host in (lab.a, lab.b):
            with lab.inside(host):
                for name, value in sysctls.items():
                    Path(f"/proc/sys/net/ipv4/{name}").write_text(value)
        process = relay(lab, text)
        sent, received = stream(lab, 600_000, protocol=protocol)
        row = boxes(process)[text.split()[0], "forward"]
        result = counters(lab, lab.a), counters(lab, lab.b)
    assert received == sent
    return *result, {name: getattr(row, name) for name in ("seen", "matched", "changed", "dropped", "made", "delayed")}


def test_the_kernel_repeats_exactly_what_was_dropped() -> None:
    client, _, box = transferred("drop data nth 3+50+51")
    assert (box["matched"], box["dropped"]) == (3, 3)
    assert client["TcpRetransSegs"] >= 3


def test_the_kernel_sees_the_copies_as_copies() -> None:
    client, server, box = transferred("duplicate data every 20")
    assert box["made"] == box["matched"] >= 15
    assert server["TcpExtTCPDSACKOldSent"] >= box["made"] // 2, "a copy may meet its original in one read"
    assert client["TcpExtTCPDSACKRecv"] >= 1


def test_the_kernel_queues_out_of_order_what_overtook_a_held_segment() -> None:
    _, server, box = transferred("hold data every 40 until data every 43")
    assert box["delayed"] >= 5
    assert server["TcpExtTCPOFOQueue"] >= 2 * box["delayed"]


def test_the_kernel_queues_out_of_order_what_overtook_a_delayed_segment() -> None:
    _, server, box = transferred("delay 3ms data every 40")
    assert box["delayed"] >= 5
    assert server["TcpExtTCPOFOQueue"] >= box["delayed"]


def test_the_kernel_takes_a_mark_for_congestion() -> None:
    client, server, box = transferred("mark ce data every 25", tcp_ecn="1")
    assert box["changed"] == box["matched"] >= 10
    assert server["IpExtInCEPkts"] == box["changed"]
    assert client["TcpExtTCPDeliveredCE"] > 0


@pytest.mark.needs_mptcp
def test_the_kernels_mptcp_survives_dropped_delayed_and_held_maps() -> None:
    text = "drop mptcp.dss.map nth 5+6, delay 3ms mptcp.dss.map every 30, hold mptcp.dss every 35 until data every 37"
    _, server, box = transferred(text, IPPROTO_MPTCP)
    assert box["dropped"] == 2
    assert server["MPTcpExtMPCapableACKRX"] == 1
    assert server["MPTcpExtMPCapableFallbackACK"] == 0
