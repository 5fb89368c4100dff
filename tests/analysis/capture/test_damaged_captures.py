"""A capture that was damaged in any way is read up to the damage or refused in one line; memory does not grow with the
file."""

from __future__ import annotations

import functools
import json
import random
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import simulated_capture
import tshark_view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.capture.analysis import analyze
from analysis.capture.errors import CaptureError
from analysis.capture.reader import open_capture

ROOT = Path(__file__).parents[3]
FILE_HEADER_OCTETS = 24
FORMS = ("pcap", "pcap-us", "pcapng")


@dataclass(frozen=True)
class Original:
    octets: bytes
    rows: tuple[tshark_view.Row, ...]
    ends: tuple[int, ...]
    """Offset behind each packet's record."""


@functools.cache
def original(form: str) -> Original:
    """A capture of about three hundred packets in either format."""
    simulated = simulated_capture.simulate(octets=150_000)
    with tempfile.TemporaryDirectory() as directory:
        path = simulated.write(Path(directory) / "original", nanoseconds=form != "pcap-us", snaplen=100)
        data = path.read_bytes()
        ends = []
        at = FILE_HEADER_OCTETS
        while at < len(data):
            at += 16 + struct.unpack_from("<I", data, at + 8)[0]
            ends.append(at)
        if form == "pcapng":
            data, ends = _pcapng(data)
            path.write_bytes(data)
        return Original(data, tuple(_rows(path)[0]), tuple(ends))


def _pcapng(pcap: bytes) -> tuple[bytes, list[int]]:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0))
    ends = []
    at = FILE_HEADER_OCTETS
    while at < len(pcap):
        seconds, fraction, kept, wire = struct.unpack_from("<IIII", pcap, at)
        time_ns = seconds * 10**9 + fraction
        head = struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, kept, wire)
        data += block(6, head + pcap[at + 16 : at + 16 + kept])
        ends.append(len(data))
        at += 16 + kept
    return data, ends


def _rows(path: Path) -> tuple[list[tshark_view.Row], list[str]]:
    with open_capture(path) as capture:
        rows = [row for batch in capture.batches() for row in tshark_view.rows(capture, batch)]
        return rows, list(capture.warnings)


@st.composite
def mutations(draw: st.DrawFn, form: str) -> tuple[bytes, int]:
    """The octets changed in up to four places, and where the first of them is."""
    data = original(form).octets
    changed, first = data, len(data)
    for _ in range(draw(st.integers(1, 4))):
        if not changed:
            break
        at = draw(st.integers(0, len(changed) - 1) | st.integers(0, min(len(changed) - 1, 200)))
        how = draw(st.sampled_from(("flip", "octets", "cut out", "cut off", "again", "zeros", "insert")))
        size = draw(st.integers(1, 400))
        rest = changed[at:]
        if how == "flip":
            rest = bytes((rest[0] ^ 1 << draw(st.integers(0, 7)),)) + rest[1:]
        elif how == "octets":
            new = draw(st.binary(min_size=1, max_size=8))
            rest = new + rest[len(new) :]
        elif how == "cut out":
            rest = rest[size:]
        elif how == "cut off":
            rest = b""
        elif how == "again":
            rest = rest[:size] + rest
        elif how == "zeros":
            rest = bytes(min(size, len(rest))) + rest[size:]
        else:
            rest = draw(st.binary(min_size=1, max_size=40)) + rest
        changed, first = changed[:at] + rest, min(first, at)
    return changed, first


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_mutation_is_read_or_refused_and_what_was_before_it_is_the_same(form: str, data: st.DataObject) -> None:
    whole = original(form)
    octets, first = data.draw(mutations(form))
    sound = sum(end <= first for end in whole.ends)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mutated.pcap"
        path.write_bytes(octets)
        try:
            rows, _ = _rows(path)
        except CaptureError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error) or path.name in str(error)
            # the file's own header was hit, or the first packet; or a header no longer says what is in the file
            assert first < whole.ends[0], (error, first)
            return
    assert [*rows[:sound]] == [*whole.rows[:sound]]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_mutation_is_measured_or_refused(form: str, data: st.DataObject) -> None:
    """Whatever the numbers in it have become: connections, sums, delays and every table."""
    octets, _ = data.draw(mutations(form))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mutated.pcap"
        path.write_bytes(octets)
        try:
            analysis = analyze(path)
        except CaptureError as error:
            assert "\n" not in str(error)
            return
        try:
            analysis.write(Path(directory))
        finally:
            analysis.capture.close()
        rows = analysis.tables["connections"].to_pylist()
        assert sum(row["packets"] for row in rows) <= analysis.capture.counts.tcp
        assert all(0 <= row["goodput_octets"] <= row["payload_octets"] for row in rows)


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_anywhere_gives_every_whole_packet_and_one_warning(form: str) -> None:
    whole = original(form)
    rng = random.Random(form)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cut.pcap"
        begin = whole.ends[0]
        for at in sorted({*rng.sample(range(begin, len(whole.octets)), 60), *whole.ends[3:7]}):
            path.write_bytes(whole.octets[:at])
            rows, warnings = _rows(path)
            sound = sum(end <= at for end in whole.ends)
            assert rows == [*whole.rows[:sound]], at
            if at in whole.ends:
                assert warnings == []
            else:
                assert len(warnings) == 1
                assert "damaged" in warnings[0], warnings
                assert f"after {sound} packets" in warnings[0], (at, warnings)


def test_reading_twice_gives_the_same_and_flows_keep_their_numbers(tmp_path: Path) -> None:
    path = simulated_capture.simulate(octets=150_000).write(tmp_path / "twice.pcap")
    with open_capture(path) as capture:
        passes = [[row for batch in capture.batches() for row in tshark_view.rows(capture, batch)] for _ in range(3)]
        assert passes[0] == passes[1] == passes[2]
        numbers = [[(b.flow.tolist(), b.layout.tolist()) for b in capture.batches()] for _ in range(2)]
        assert numbers[0] == numbers[1]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Peak of a process that reads 160 MB against one that reads 20 MB; both far below 256 MiB."""
    one = simulated_capture.simulate(octets=1_500_000).write(tmp_path / "one.pcap", snaplen=128).read_bytes()
    body = one[FILE_HEADER_OCTETS:]
    peaks = {}
    for megabytes in (20, 160):
        path = tmp_path / f"{megabytes}.pcap"
        with path.open("wb") as out:
            out.write(one[:FILE_HEADER_OCTETS])
            while out.tell() < megabytes * 10**6:
                out.write(body)
        result = subprocess.run(
            [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        path.unlink()
        found = json.loads(result.stdout)
        assert found["packets"] > megabytes * 5000
        peaks[megabytes] = found["rss_mib"]
    assert peaks[160] < 200, peaks
    assert peaks[160] - peaks[20] < 30, peaks


READ = """
import json, sys
from pathlib import Path
from analysis.capture.reader import open_capture
with open_capture(sys.argv[1]) as capture:
    packets = sum(map(len, capture.batches()))
# not ru_maxrss, which begins with what the process took that started this one
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"packets": packets, "rss_mib": peak}))
"""
