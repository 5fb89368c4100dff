"""The capture engine against tshark, tcpdump and capinfos: every field of every packet, on real captures of two kernels
and on captures made octet by octet."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import capture_lab
import hand_made_captures as made
import numpy as np
import pytest
import tshark
import tshark_view
from endpoint_pair import loopback_namespace, start_in

from analysis.capture.batch import (
    BAD_OPTION,
    CUT_HEADER,
    CUT_OPTIONS,
    DSS_CHECKSUM,
    MALFORMED_OPTIONS,
    Batch,
)
from analysis.capture.reader import Capture, open_capture

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="needs tshark (apt install tshark), the reference for what a capture says"
)


def assert_agrees(path: Path, *, unordered: bool = False) -> None:
    found = tshark_view.differences(path, unordered=unordered)
    assert not found, f"{len(found)} differences, such as:\n" + "\n".join(found[:20])


def batches(path: Path) -> tuple[Capture, list[Batch]]:
    with open_capture(path) as capture:
        return capture, list(capture.batches())


# --- real captures ---


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
@pytest.mark.parametrize("host", ["client", "server"])
@pytest.mark.parametrize("family", [4, 6])
def test_every_field_of_a_two_way_transfer_with_loss(family: int, host: str) -> None:
    path = capture_lab.lossy_capture(family, host)  # type: ignore[arg-type]
    assert capture_lab.lossy_transfer(family).dropped == 0  # type: ignore[arg-type]
    assert_agrees(path)


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_checksums_and_signals_of_two_kernels(tmp_path: Path) -> None:
    path = capture_lab.eventful_transfer().merged("client", tmp_path / "eventful.pcap")
    assert_agrees(path)
    capture, parts = batches(path)
    checksums = [
        pair
        for batch in parts
        for pair in zip(
            batch.frame[batch.dss_bits & DSS_CHECKSUM > 0].tolist(),
            batch.dss_checksum[batch.dss_bits & DSS_CHECKSUM > 0].tolist(),
            strict=True,
        )
    ]
    assert len(checksums) > 3000
    assert checksums == tshark.dss_checksums(path)
    names = {name for layout in capture.layouts for name, _ in layout.items}
    assert {"mp_capable", "mp_join", "add_addr", "remove_addr", "mp_prio", "sack", "timestamps", "dss"} <= names


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
@pytest.mark.parametrize("family", [4, 6])
def test_the_pseudo_interface_any(family: int, tmp_path: Path) -> None:
    """Linux cooked capture, version 2, both subflows in one file."""
    whole = capture_lab.lossy_transfer(family).files["client"]["any"]  # type: ignore[arg-type]
    assert_agrees(capture_lab.cut(whole, tmp_path / "any.pcap", 0, 6000))


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_what_editcap_makes_of_it(form: str, tmp_path: Path) -> None:
    """The same packets in other file formats, with µs where the format has no ns; snaplen in the header 262144."""
    source = capture_lab.cut(capture_lab.lossy_capture(4), tmp_path / "source", 0, 6000)
    path = tmp_path / f"as.{form}"
    tshark.run(["editcap", "-F", form, str(source), str(path)])
    assert_agrees(path)


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_interfaces_of_several_link_types_in_one_pcapng(tmp_path: Path) -> None:
    path = tmp_path / "merged.pcapng"
    four = capture_lab.cut(capture_lab.lossy_capture(4), tmp_path / "four", 0, 4000)
    six = capture_lab.cut(capture_lab.lossy_transfer(6).files["server"]["any"], tmp_path / "six", 0, 4000)
    tshark.run(["mergecap", "-w", str(path), str(four), str(six)])
    assert_agrees(path)
    theirs = tshark.fields(path, ["frame.interface_id"])["frame.interface_id"]
    ours = np.concatenate([batch.interface for batch in batches(path)[1]])
    assert ours.tolist() == [int(text) for text in theirs]
    assert set(ours.tolist()) == {0, 1}


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_packets_are_counted_as_capinfos_counts_them() -> None:
    for path in (capture_lab.lossy_capture(6), capture_lab.lossy_transfer(4).files["client"]["any"]):
        capture, parts = batches(path)
        assert capture.counts.packets == tshark.packet_count(path)
        assert capture.counts.tcp == sum(map(len, parts)) == len(tshark.fields(path, ["frame.number"])["frame.number"])
        assert capture.counts.packets == capture.counts.tcp + sum(capture.counts.not_tcp.values())


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_a_kernel_that_aborts(tmp_path: Path) -> None:
    """SO_LINGER of 0: MP_FASTCLOSE with the peer's key, on a reset."""
    path = tmp_path / "aborted.pcap"
    with loopback_namespace() as namespace:
        begin = start_in(namespace)
        tcpdump = begin(
            ["tcpdump", "-i", "lo", "-n", "-U", "--immediate-mode", "-Z", "root", "-w", str(path), "-c", "24"]
        )
        abort = begin([sys.executable, "-c", ABORTS])
        try:
            assert abort.wait(20) == 0, abort.stderr
            assert tcpdump.wait(10) == 0, tcpdump.stderr
        finally:
            abort.stop()
            tcpdump.stop()
    assert_agrees(path)
    assert "mp_fastclose" in {name for layout in batches(path)[0].layouts for name, _ in layout.items}


ABORTS = """
import socket, struct, time
def listens():
    return len(open("/proc/net/packet").read().splitlines()) > 1
deadline = time.monotonic() + 10
while not listens() and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.2)
for _ in range(6):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    client.connect(listener.getsockname())
    server = listener.accept()[0]
    client.sendall(b"one way")
    server.recv(100)
    server.sendall(b"and back")
    client.recv(100)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(0.05)
    server.close()
    listener.close()
"""


@pytest.mark.needs_root
@pytest.mark.parametrize("words", [["-P"], ["-n"]], ids=["pcap", "pcapng"])
def test_a_capture_by_dumpcap(words: Sequence[str], tmp_path: Path) -> None:
    """On a loopback interface: super-segments of 64 KiB, longer than a packet's length field in some."""
    path = tmp_path / "dumped"
    with loopback_namespace() as namespace:
        begin = start_in(namespace)
        dumpcap = begin(["dumpcap", "-q", "-i", "lo", *words, "-w", str(path), "-a", "packets:60", "-B", "16"])
        traffic = begin([sys.executable, "-c", LOOPBACK_TRAFFIC])
        try:
            assert traffic.wait(20) == 0, traffic.stderr
            assert dumpcap.wait(10) == 0, dumpcap.stderr
        finally:
            traffic.stop()
            dumpcap.stop()
    assert_agrees(path)
    assert sum(map(len, batches(path)[1])) == 60


LOOPBACK_TRAFFIC = """
import socket, time
deadline = time.monotonic() + 10
def listens():  # dumpcap has its packet socket
    return len(open("/proc/net/packet").read().splitlines()) > 1
while not listens() and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.2)
for host in ("127.0.0.1", "::1") * 20:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    client = socket.create_connection(listener.getsockname()[:2])
    server = listener.accept()[0]
    client.sendall(bytes(300_000)) if not client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20) else None
    client.close()
    while server.recv(1 << 20):
        pass
    server.close()
    listener.close()
"""


@pytest.mark.needs_root
@pytest.mark.needs_mptcp
@pytest.mark.parametrize("octets", [13, 14, 20, 33, 34, 35, 40, 53, 54, 55, 60, 66, 67, 70, 74, 77, 78, 82, 90, 96])
def test_a_short_snaplen_marks_packets_and_nothing_is_guessed(octets: int, tmp_path: Path) -> None:
    """Ethernet 14, IPv4 20, TCP 20 and up to 40: what is complete agrees, what is cut says so and has no value of the
    cut part."""
    whole = capture_lab.cut(capture_lab.lossy_capture(4), tmp_path / "whole.pcap", 0, 3000)
    path = tmp_path / "short.pcap"
    tshark.run(["editcap", "-s", str(octets), "-F", "nsecpcap", str(whole), str(path)])
    truth = {frame[0]: row for frame, row in _rows(whole)}
    _, parts = batches(path)
    statuses = {int(frame): int(status) for b in parts for frame, status in zip(b.frame, b.status, strict=True)}
    if octets >= 54:
        assert len(statuses) == len(truth)
    for (frame,), row in _rows(path):
        full = truth[frame]  # type: ignore[index]
        status = statuses[frame]  # type: ignore[index]
        end = 34 + full["tcp.hdr_len"][0]  # type: ignore[operator]
        cut = CUT_HEADER if octets < 54 else CUT_OPTIONS if octets < end else 0
        assert status & (CUT_HEADER | CUT_OPTIONS) == cut, (octets, frame, status, row)
        if cut == 0:
            assert {**row, "frame.cap_len": ()} == {**full, "frame.cap_len": ()}
        elif cut == CUT_OPTIONS:
            for name, values in row.items():
                if name != "frame.cap_len":
                    assert values == full.get(name, ())[: len(values)], (octets, frame, name)


def _rows(path: Path) -> list[tuple[tuple[int, ...], tshark_view.Row]]:
    with open_capture(path) as capture:
        return [
            (row["frame.number"], row)  # type: ignore[misc]
            for batch in capture.batches()
            for row in tshark_view.rows(capture, batch)
        ]


# --- captures made by hand ---


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [True, False])
def test_every_form_of_every_option_in_both_versions(order: str, nanoseconds: bool, tmp_path: Path) -> None:
    frames = [
        made.ethernet(wrap(made.tcp(area, payload, ports=(40000 + index, 80), flags=flags)))
        for wrap in (made.ipv4, made.ipv6)
        for payload in (b"", b"some payload")
        for index, area in enumerate(made.ANY_VERSION)
        for flags in (0x02, 0x12, 0x10)
    ]
    path = made.pcap(tmp_path / "forms.pcap", frames, order=order, nanoseconds=nanoseconds)
    assert_agrees(path)
    assert not any(batch.status.any() for batch in batches(path)[1])


def test_dss_checksums_by_hand_agree_with_tcpdump(tmp_path: Path) -> None:
    rng = random.Random(5)
    frames = []
    for flags in range(32):
        for with_checksum in (False, True):
            size = (0, 4, 0, 8)[flags & 3] + (0 if not flags & 4 else 14 if flags & 8 else 10)
            if flags & 4 and with_checksum:
                size += 2
            if size:
                area = made.nops(made.mptcp(0x20, flags, rng.randbytes(size)))
                frames.append(made.ethernet(made.ipv4(made.tcp(area, b"x" * 100))))
    path = made.pcap(tmp_path / "dss.pcap", frames)
    assert_agrees(path)
    ours = [
        (int(batch.frame[row]), int(batch.dss_checksum[row]))
        for batch in batches(path)[1]
        for row in np.flatnonzero(batch.dss_bits & DSS_CHECKSUM)
    ]
    assert ours == tshark.dss_checksums(path)
    assert len(ours) == 16


@pytest.mark.parametrize("seed", range(4))
def test_options_in_any_order_with_any_padding(seed: int, tmp_path: Path) -> None:
    """Thousands of layouts, most of them seen once; two or more of an option in one header."""
    rng = random.Random(seed)
    frames = []
    for index in range(4000):
        few_flows = seed % 2 == 0
        area = made.random_area(rng)
        segment = made.tcp(
            area,
            rng.randbytes(rng.randrange(30)),
            ports=(rng.randrange(1, 5), rng.randrange(1, 5)) if few_flows else (index, rng.randrange(1, 9)),
            seq=rng.getrandbits(32),
            ack=rng.getrandbits(32),
            flags=rng.randrange(1, 4096) if rng.randrange(2) else 0x10,
            window=rng.getrandbits(16),
        )
        frames.append(made.ethernet(made.ipv4(segment) if rng.randrange(2) else made.ipv6(segment)))
    assert_agrees(made.pcap(tmp_path / "any.pcap", frames), unordered=True)


@pytest.mark.parametrize("link", made.LINKS)
def test_every_link_type(link: str, tmp_path: Path) -> None:
    number, wrap = made.LINKS[link]
    frames = []
    for index, area in enumerate(made.ANY_VERSION * 2):
        segment = made.tcp(area, b"payload" * (index % 3), ports=(index + 1, 80))
        frames += [wrap(made.ipv4(segment, tos=index, ttl=index + 1)), wrap(made.ipv6(segment, traffic_class=index))]
    path = made.pcap(tmp_path / "link.pcap", frames, number)
    assert_agrees(path)
    assert sum(map(len, batches(path)[1])) == len(frames)


def _network_headers() -> dict[str, Callable[[bytes], bytes]]:
    headers: dict[str, Callable[[bytes], bytes]] = {
        "v4-options": lambda segment: made.ipv4(segment, options=b"\x94\x04\0\0\x01\x01\x01\0"),
        "v4-congestion": lambda segment: made.ipv4(segment, tos=0xFF, ttl=255),
        "v4-not-df": lambda segment: made.ipv4(segment, fragment=0),
        "v6-class": lambda segment: made.ipv6(segment, traffic_class=0xAB, hop_limit=1),
    }
    chains = {
        "hop-by-hop": [made.HOP_BY_HOP],
        "destination": [made.DESTINATION],
        "routing": [made.ROUTING],
        "atomic-fragment": [made.FRAGMENT_WHOLE],
        "authentication": [made.AUTHENTICATION],
        "many": [made.HOP_BY_HOP, made.DESTINATION, made.ROUTING, made.FRAGMENT_WHOLE, made.DESTINATION],
    }
    for name, chain in chains.items():
        headers[f"v6-{name}"] = lambda segment, chain=chain: made.ipv6(segment, extensions=chain)  # type: ignore[misc]
    return headers


@pytest.mark.parametrize("header", _network_headers())
def test_every_network_header(header: str, tmp_path: Path) -> None:
    wrap = _network_headers()[header]
    frames = [
        made.ethernet(wrap(made.tcp(area, b"p" * size, ports=(size + 1, 80))))
        for area in (b"", *made.ANY_VERSION)
        for size in (0, 1, 5, 40)
    ]
    path = made.pcap(tmp_path / "network.pcap", frames)
    assert_agrees(path)
    assert sum(map(len, batches(path)[1])) == len(frames)


def test_all_kinds_of_headers_side_by_side_and_what_is_not_tcp(tmp_path: Path) -> None:
    """Nothing of a neighbour's header spills over; what is no TCP is counted, and takes its frame number."""
    rng = random.Random(3)
    wraps = [*_network_headers().values(), made.ipv4, made.ipv6]
    strangers = [
        bytes(12) + b"\x08\x06" + bytes(46),
        made.ethernet(made.ipv4(bytes(20), protocol=17)),
        made.ethernet(made.ipv6(bytes(20), protocol=17)),
        made.ethernet(made.ipv4(bytes(20), protocol=1)),
        made.ethernet(made.ipv6(bytes(20), protocol=58)),
        made.ethernet(made.ipv4(b"later piece" * 9, fragment=100)),
        made.ethernet(made.ipv6(b"later piece" * 9, extensions=[made.FRAGMENT_LATER])),
        bytes(12) + b"\x00\x26" + bytes(46),
        bytes(range(12)) + b"\x88\xcc" + bytes(46),
    ]
    tags: list[list[tuple[int, int]]] = [[], [(0x8100, 1)], [(0x88A8, 2), (0x8100, 3)], [(0x9100, 2), (0x8100, 3)]]
    frames = []
    for _ in range(3000):
        if rng.randrange(4):
            segment = made.tcp(made.random_area(rng), bytes(rng.randrange(60)), ports=(rng.randrange(1, 9), 80))
            frames.append(made.ethernet(rng.choice(wraps)(segment), *rng.choice(tags)))
        else:
            frames.append(rng.choice(strangers))
    path = made.pcap(tmp_path / "mixed.pcap", frames)
    assert_agrees(path, unordered=True)
    capture, parts = batches(path)
    assert capture.counts.packets == len(frames) == tshark.packet_count(path)
    assert sum(map(len, parts)) + sum(capture.counts.not_tcp.values()) == len(frames)


def test_lengths_that_contradict_one_another(tmp_path: Path) -> None:
    """Segmentation offload leaves total length 0 (also BIG TCP); a capture may hold less, or more, than IP says."""
    segment = made.tcp(made.VERSION_1[8], b"payload" * 30)
    frames = [
        made.ethernet(made.ipv4(segment, total=0)),
        made.ethernet(made.ipv4(segment)) + b"trailer",
        made.ethernet(made.ipv6(segment)) + b"trailer",
        made.ethernet(made.ipv4(made.tcp())),
    ]
    assert_agrees(made.pcap(tmp_path / "lengths.pcap", frames))


TIMESTAMPS = b"\x08\x0a12345678"
BROKEN: dict[str, tuple[bytes, int]] = {
    "length-zero": (TIMESTAMPS + b"\x1e\x00", MALFORMED_OPTIONS),
    "length-one": (TIMESTAMPS + b"\x1e\x01", MALFORMED_OPTIONS),
    "over-the-end": (TIMESTAMPS + b"\x01\x01\x1e\x0c\x20\x01", MALFORMED_OPTIONS),
    "kind-alone-at-the-end": (b"\x01" + TIMESTAMPS + b"\x1e", MALFORMED_OPTIONS),
    "timestamps-of-nine": (b"\x08\x091234567\x01\x01\x01", BAD_OPTION),
    "dss-too-short-for-its-flags": (TIMESTAMPS + b"\x1e\x0c\x20\x0f12345678\x01\x01", BAD_OPTION),
    "sack-of-half-a-block": (b"\x05\x08123456" + TIMESTAMPS + b"\x01\x01", BAD_OPTION),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_option_areas_are_marked_and_headers_are_right(what: str, tmp_path: Path) -> None:
    area, mark = BROKEN[what]
    sound = made.VERSION_1[8]
    frames = [made.ethernet(made.ipv4(made.tcp(each, b"data"))) for each in (sound, area, sound)]
    path = made.pcap(tmp_path / "broken.pcap", frames)
    theirs, ours = tshark_view.expected(path), tshark_view.read(path)
    for name in ("tcp.seq_raw", "tcp.hdr_len", "tcp.len", "tcp.flags", "tcp.window_size_value"):
        assert ours[name] == theirs[name]
    ((batch,),) = [batches(path)[1]]
    assert batch.status.tolist() == [0, mark, 0]
    if "timestamps-of" not in what:
        assert ours["tcp.options.timestamp.tsval"] == theirs["tcp.options.timestamp.tsval"]
    assert batch.dss_bits[1] == 0
