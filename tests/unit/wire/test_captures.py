"""Captures: what was written is read, pcapng of either byte order, files that are cut, and tshark's opinion."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import wire_values
from hypothesis import given
from hypothesis import strategies as st

from testbed.wire import pcap
from testbed.wire.codec import encode
from testbed.wire.errors import DecodeError
from testbed.wire.segment import ACK, SYN, Segment, SocketAddress

records = st.lists(st.tuples(st.integers(0, 2**32 * 10**9 - 1), st.binary(max_size=60)), max_size=5)


def written(packets: list[tuple[int, bytes]]) -> bytes:
    return pcap.file_header() + b"".join(pcap.record(time_ns, data) for time_ns, data in packets)


@given(records)
def test_what_was_written_is_read(packets: list[tuple[int, bytes]]) -> None:
    read = list(pcap.read(written(packets)))

    assert [(record.time_ns, record.data) for record in read] == packets
    assert all(record.length == len(record.data) and record.link == pcap.LINK_RAW for record in read)


@given(records.filter(bool), st.data())
def test_a_file_that_was_cut_gives_its_whole_packets_and_then_says_so(
    packets: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    capture = written(packets)
    cut = capture[: len(capture) - data.draw(st.integers(1, 16 + len(packets[-1][1])))]
    read = []
    try:
        for record in pcap.read(cut):
            read.append((record.time_ns, record.data))  # noqa: PERF401 - some are read before it raises
    except DecodeError:
        pass
    else:
        assert cut == written(packets[:-1])
    assert read == packets[: len(read)]
    assert len(read) == len(packets) - 1


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda tail: b"\x0a\x0d\x0d\x0a\x1c\0\0\0" + tail)))
def test_any_octets_raise_the_one_error_or_are_read(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        list(pcap.read(octets))


def block(order: str, kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_two_interfaces_and_their_clocks_is_read(order: str) -> None:
    section = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    microseconds = block(order, 1, struct.pack(order + "HHI", 1, 0, 0))
    nanoseconds = block(order, 1, struct.pack(order + "HHI", 101, 0, 0) + struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0))
    packets = [block(order, 6, struct.pack(order + "IIIII", index, 0, 5, 3, 3) + b"abc\0") for index in (0, 1)]
    capture = section + microseconds + nanoseconds + block(order, 5, bytes(8)) + b"".join(packets)

    assert list(pcap.read(capture)) == [
        pcap.Record(5000, b"abc", 3, 1, 0),
        pcap.Record(5, b"abc", 3, 101, 1),
    ]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_finds_every_option_well_formed(tmp_path: Path) -> None:
    """Each area on a flow of its own, both versions of IP; tshark checks the checksums, too."""
    packets = []
    for port, area in enumerate(wire_values.ONE_OF_EACH, start=1000):
        for host in (bytes((10, 0, 0, 1)), bytes(15) + b"\1"):
            flags = SYN if port == 1000 else ACK
            segment = Segment(SocketAddress(host, port), SocketAddress(host, 80), port, 0, flags, 500, area)
            packets.append((port * 1000, encode(segment)))
    path = tmp_path / "every-option.pcap"
    path.write_bytes(written(packets))

    fields = ["tcp.option_kind", "tcp.options.mptcp.subtype", "_ws.malformed", "_ws.expert.message"]
    result = subprocess.run(
        ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
        + [argument for field in fields for argument in ("-e", field)],
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(lines) == len(packets)
    subtypes = {int(subtype, 0) for _, found, *_ in lines for subtype in found.split(",") if subtype}
    assert subtypes == set(range(9))
    # MPTCP connections are not told from one another here, so tshark may complain of keys; not of form
    words = ("checksum", "malformed", "option length", "truncated", "invalid", "should be")
    wrong = [line for line in lines if line[2] or any(word in line[3].lower() for word in words)]
    assert not wrong
