"""A capture may come as a file, packed, or through a pipe; what is none is refused in one line that names it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from capture_files import Packet, PcapngWriter, packets_of, pcap, read
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.capture.errors import CaptureError
from analysis.capture.files import open_file

PACKETS = [Packet(number * 1000, bytes([number % 251]) * (number % 90), 90) for number in range(3000)]
CONTENT = pcap(PACKETS)


@contextmanager
def piped(content: bytes) -> Iterator[int]:
    """The reading end of a pipe that somebody writes to."""
    reading, writing = os.pipe()

    def write() -> None:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(content)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        os.close(reading)
        writer.join()


def refusal(path: str | Path) -> str:
    """What is said of a file, without its name."""
    with pytest.raises(CaptureError) as caught:
        open_file(path)
    assert "\n" not in str(caught.value)
    name, _, what = str(caught.value).partition(": ")
    assert name in (str(path), repr(str(path)), "standard input")
    return what


def test_what_is_no_capture_is_refused_by_what_it_is(tmp_path: Path) -> None:
    def file(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    assert refusal(tmp_path / "nothing") == "cannot be opened: No such file or directory"
    assert refusal(tmp_path) == "is a directory, not a capture"
    assert refusal("/dev/zero") == "is neither a file nor a pipe"
    assert refusal("with\0octet").startswith("cannot be opened: ")
    assert refusal(file(b"")) == "is empty"
    assert refusal(file(gzip.compress(b""))) == "is empty"
    assert refusal(file(b"PK")) == "is no capture (neither pcap nor pcapng): it begins with 50 4b"
    assert refusal(file(b"From: somebody")).endswith("it begins with 46 72 6f 6d 3a 20 73 6f")
    assert refusal(file(gzip.compress(b"no capture"))).startswith("is no capture")
    assert refusal(file(gzip.compress(gzip.compress(CONTENT)))) == "is compressed twice: unpack it first"
    assert refusal(file(lzma.compress(CONTENT))) == "is compressed with xz: unpack it first"
    assert refusal(file(bz2.compress(CONTENT))) == "is compressed with bzip2: unpack it first"
    assert refusal(file(b"\x28\xb5\x2f\xfd" + CONTENT)) == "is compressed with zstd: unpack it first"
    assert refusal(file(b"\x1f\x8b\xff\xff\xff")) == "its gzip data is broken (unknown compression method)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(CONTENT)
    path.chmod(0)
    assert refusal(path) == "cannot be opened: Permission denied"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    assert refusal(path) == "cannot be opened: Too many levels of symbolic links"


@pytest.mark.parametrize("octets", [None, 1, 5000])
@pytest.mark.parametrize("level", [0, 9])
def test_a_packed_capture_is_read_as_an_unpacked_one(octets: int | None, level: int) -> None:
    assert read(gzip.compress(CONTENT, level), octets) == (PACKETS, [])


def test_what_decides_is_the_content_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(CONTENT)
    (tmp_path / "packed.pcap").write_bytes(gzip.compress(CONTENT))
    for name in ("plain.gz", "packed.pcap"):
        with open_file(tmp_path / name) as file:
            assert packets_of(file) == PACKETS


def test_packed_members_one_after_another_and_padding_are_one_file() -> None:
    packed = b"".join(gzip.compress(CONTENT[at : at + 7001]) for at in range(0, len(CONTENT), 7001))
    assert read(packed + bytes(700_000)) == (PACKETS, [])


def test_what_comes_behind_packed_data_is_told() -> None:
    for rest in (b"rest", b"\x1f", bytes(300_000) + b"\x1frest"):
        packets, (warning,) = read(gzip.compress(CONTENT) + rest)
        assert packets == PACKETS
        assert warning.endswith("after 3000 packets: behind its gzip data comes something else")


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(100, len(gzip.compress(CONTENT)) - 1), octets=st.sampled_from((None, 700)))
def test_packed_data_that_is_cut_gives_the_packets_before_the_cut_and_one_warning(cut: int, octets: int | None) -> None:
    packets, (warning,) = read(gzip.compress(CONTENT)[:cut], octets)
    assert packets == PACKETS[: len(packets)]
    assert warning.endswith(f" after {len(packets)} packets: its gzip data ends too early")


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, len(gzip.compress(CONTENT)) - 1), value=st.integers(0, 255))
def test_packed_data_that_is_damaged_is_read_up_to_it_or_refused(place: int, value: int) -> None:
    packed = bytearray(gzip.compress(CONTENT, mtime=0))
    packed[place] = value
    try:
        packets, warnings = read(bytes(packed))
    except CaptureError:
        assert place < 100
        return
    assert len(warnings) <= 1
    assert warnings or packets == PACKETS, "there is a check sum, so what changes nothing may pass, and nothing else"


@pytest.mark.parametrize("content", [CONTENT, gzip.compress(CONTENT)], ids=["plain", "packed"])
def test_a_pipe_is_read_once_and_gone_over_as_often_as_wanted(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    with open_file(path) as file:
        writer.join()
        assert packets_of(file, 1000) == PACKETS
        assert packets_of(file) == PACKETS
        assert file.name == str(path)


def test_standard_input_is_taken_and_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with piped(CONTENT + b"cut") as reading, open(reading, closefd=False) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        with open_file("-") as file:
            assert list(tmp_path.iterdir()) == [], "the file has no name, so nothing can be left of it"
            assert packets_of(file) == PACKETS
            (warning,) = file.warnings
    assert warning.startswith(f"standard input: damaged at octet {len(CONTENT)} after 3000 packets: ")


def test_a_pipe_that_is_no_capture_is_refused_without_waiting_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as standard_input, os.fdopen(writing, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", standard_input)
        pipe.write(b"endless text")
        assert refusal("-").startswith("is no capture")


def test_standard_input_that_is_closed_empty_or_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert refusal("-") == "is closed"
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert refusal("-") == "is empty"
    leader, terminal = os.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(terminal) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert refusal("-") == "is a terminal; pipe a capture into it"


def test_a_full_disk_while_a_pipe_is_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: Path("/dev/full").open("wb", buffering=buffering))  # noqa: SIM115
    with piped(CONTENT) as reading, open(reading, closefd=False) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert refusal("-") == "cannot be kept while it is read: No space left on device"


def test_a_file_that_grows_is_read_as_it_was_when_opened(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(CONTENT)
    with open_file(path) as file, path.open("ab") as more:
        more.write(CONTENT[24:])
        more.flush()
        assert packets_of(file) == PACKETS
        assert packets_of(file) == PACKETS


def test_a_file_that_shrinks_under_the_reader_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "shrinking.pcap"
    path.write_bytes(CONTENT)
    with open_file(path) as file:
        os.truncate(path, len(CONTENT) // 2)
        packets = packets_of(file)
        assert packets == PACKETS[: len(packets)]
        assert len(packets) > 1000
        assert file.damage is not None


def test_a_closed_capture_cannot_be_gone_over(tmp_path: Path) -> None:
    path = tmp_path / "closed.pcap"
    path.write_bytes(CONTENT)
    file = open_file(path)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        next(iter(file.chunks()))


def test_interfaces_are_known_by_number_and_name(tmp_path: Path) -> None:
    writer = PcapngWriter(">")
    path = tmp_path / "interfaces.pcapng"
    packet = writer.enhanced(0, 1, b"data", 4)
    section = writer.section() + writer.interface(113, 96, name="wlan0") + writer.interface() + packet
    path.write_bytes(section + section)
    with open_file(path) as file:
        assert [packet.interface for packet in packets_of(file)] == [0, 2]
        found = [
            (each.number, each.section, each.index, each.link, each.snaplen, each.name) for each in file.interfaces
        ]
    assert found == [
        (0, 0, 0, 113, 96, "wlan0"),
        (1, 0, 1, 1, 0, ""),
        (2, 1, 0, 113, 96, "wlan0"),
        (3, 1, 1, 1, 0, ""),
    ]


def test_a_failed_opening_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"no capture at all")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        refusal(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
