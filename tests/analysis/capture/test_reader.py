"""An open capture: batches in order, the same again, counts and warnings; memory and time whatever is in the file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from capture_reference import Frame, batch_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_values import segments

from analysis.capture import reader
from analysis.capture.batch import DENSE, Batch, joined
from analysis.capture.reader import CaptureError, open_capture
from testbed.wire import options as o
from testbed.wire import pcap
from testbed.wire.codec import encode
from testbed.wire.segment import Segment, SocketAddress

HERE, THERE = SocketAddress(b"\x0a\0\0\1", 1000), SocketAddress(b"\x0a\0\0\2", 2000)
ARP = bytes(12) + b"\x08\x06" + bytes(28)


def write(path: Path, frames: list[Frame]) -> Path:
    path.write_bytes(
        pcap.file_header(frames[0].link if frames else 1)
        + b"".join(pcap.record(frame.time_ns, frame.data, frame.wire) for frame in frames)
    )
    return path


def ethernet(segment: Segment, time_ns: int = 0) -> Frame:
    data = bytes(12) + (b"\x08\x00" if len(segment.source.host) == 4 else b"\x86\xdd") + encode(segment)
    return Frame(1, data, len(data), time_ns)


def whole(path: Path) -> Batch:
    with open_capture(path) as capture:
        return joined(list(capture.batches()))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(segments(), min_size=1, max_size=8), st.integers(100, 3000))
def test_a_second_pass_and_other_chunks_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Segment], octets: int
) -> None:
    path = write(tmp_path_factory.mktemp("again") / "a.pcap", [ethernet(segment) for segment in drawn * 5])
    with open_capture(path) as capture:
        passes = [joined(list(capture.batches())) for _ in range(2)]
        flows, layouts = list(capture.flows), list(capture.layouts)
        chunks = capture._file.chunks
        capture._file.chunks = lambda: chunks(octets)  # type: ignore[method-assign, assignment, misc]
        passes.append(joined(list(capture.batches())))
        assert (list(capture.flows), capture.layouts) == (flows, layouts)
    for again in passes[1:]:
        for name in DENSE:
            assert np.array_equal(getattr(again, name), getattr(passes[0], name)), name
        assert batch_rows(again) == batch_rows(passes[0])


def test_packets_are_counted_by_what_they_are(tmp_path: Path) -> None:
    udp = bytearray(ethernet(Segment(HERE, THERE, 1, 2, 0x10, 3)).data)
    udp[23] = 17
    cut = ethernet(Segment(HERE, THERE, 1, 2, 0x10, 3, (), b"x" * 100), 30)
    cut.data = cut.data[:40]
    frames = [
        ethernet(Segment(HERE, THERE, 1, 2, 0x10, 3), 20),
        Frame(1, ARP, 42, 10),
        Frame(1, bytes(udp), 54, 40),
        cut,
        Frame(1, ARP, 60, 50),
    ]
    with open_capture(write(tmp_path / "mixed.pcap", frames)) as capture:
        batch = joined(list(capture.batches()))
        counts = capture.counts
        assert (counts.packets, counts.tcp, counts.not_tcp) == (5, 2, {"ARP": 2, "UDP": 1})
        assert (counts.truncated, counts.incomplete, counts.fragments) == (2, 1, 0)
        assert (counts.first_time_ns, counts.last_time_ns) == (10, 50)
        assert batch.frame.tolist() == [1, 4]
        assert capture.warnings == [] and not capture.damaged
        assert capture.name.endswith("mixed.pcap")
        list(capture.batches())
        assert capture.counts == counts


def test_a_damaged_capture_is_read_up_to_the_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.pcap", [ethernet(Segment(HERE, THERE, at, 2, 0x10, 3)) for at in range(50)])
    path.write_bytes(path.read_bytes()[:-30])
    with open_capture(path) as capture:
        assert sum(len(batch) for batch in capture.batches()) == 49
        assert capture.damaged and len(capture.warnings) == 1
        assert "49 packets" in capture.warnings[0] and "damaged.pcap" in capture.warnings[0]


def test_what_is_no_capture_is_said_in_one_line(tmp_path: Path) -> None:
    for name, data in (("empty.pcap", b""), ("text.pcap", b"hello, this is a text\n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CaptureError, match=name) as raised:
            open_capture(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_capture_without_packets_has_no_batch(tmp_path: Path) -> None:
    with open_capture(write(tmp_path / "none.pcap", [])) as capture:
        assert list(capture.batches()) == []
        assert capture.counts.packets == 0 and capture.counts.first_time_ns is None


def test_small_batches_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.pcap", [ethernet(Segment(HERE, THERE, at, 2, 0x10, 3)) for at in range(1000)])
    monkeypatch.setattr(reader, "_SMALL_BATCH", 300)
    with open_capture(path) as capture:
        chunks = capture._file.chunks
        capture._file.chunks = lambda: chunks(5000)  # type: ignore[method-assign, assignment, misc]
        batches = list(capture.batches())
    assert all(len(batch) >= 300 for batch in batches[:-1]) and len(batches) > 2
    assert joined(batches).seq.tolist() == list(range(1000))


@pytest.mark.parametrize("kind", ["layouts", "flows", "extensions"])
def test_hostile_captures_take_no_more_than_a_few_microseconds_a_packet(tmp_path: Path, kind: str) -> None:
    """Every packet its own layout, its own flow, or a long chain of extension headers: a path that is linear in all of
    the packets for each of them would take minutes."""
    random = np.random.default_rng(8)
    frames = []
    for at in range(20_000):
        if kind == "layouts":
            body = random.integers(2, 256, 18, dtype=np.uint8).tobytes()
            area = tuple(o.Unknown(100 + octet % 100, b"") for octet in body)
            frames.append(ethernet(Segment(HERE, THERE, at, 2, 0x10, 3, (*area, *[o.NOP] * (-2 * len(area) % 4)))))
        elif kind == "flows":
            host = SocketAddress(random.bytes(4), int(random.integers(65536)))
            frames.append(ethernet(Segment(host, THERE, at, 2, 0x10, 3)))
        else:
            data = bytes(12) + b"\x86\xdd\x60\0\0\0\x02\x00\x3c\x40" + bytes(32) + b"\x3c\0\0\0\0\0\0\0" * 64
            frames.append(Frame(1, data, len(data)))
    path = write(tmp_path / "hostile.pcap", frames)
    begin = time.process_time()
    with open_capture(path) as capture:
        rows = sum(len(batch) for batch in capture.batches())
        assert capture.counts.packets == 20_000
        assert rows == (0 if kind == "extensions" else 20_000)
    assert time.process_time() - begin < 20_000 * 100e-6
