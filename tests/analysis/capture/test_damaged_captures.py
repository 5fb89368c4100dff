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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hand_made_captures as made
import pytest
import simulated_capture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.capture.analysis import analyze
from analysis.capture.batch import DENSE, Batch
from analysis.capture.errors import CaptureError
from analysis.capture.layout_counts import layout_counts
from analysis.capture.reader import Capture, open_capture
from analysis.contention.capture_contention import of_capture

ROOT = Path(__file__).parents[3]
FILE_HEADER_OCTETS = 24
Row = tuple[object, ...]
FORMS = ("pcap", "pcap-us", "pcapng")


@dataclass(frozen=True)
class Original:
    octets: bytes
    rows: tuple[Row, ...]
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


def _rows(path: Path) -> tuple[list[Row], list[str]]:
    with open_capture(path) as capture:
        return [row for batch in capture.batches() for row in rows_of(capture, batch)], list(capture.warnings)


def rows_of(capture: Capture, batch: Batch) -> Iterator[Row]:
    """Packet by packet, all that was read of it; numbers of flows and layouts replaced by what they stand for."""
    names = [name for name in DENSE if name not in ("flow", "layout")]
    sack = list(zip(*(column.tolist() for column in (batch.sack.row, batch.sack.left, batch.sack.right)), strict=True))
    rare = list(zip(batch.rare.row.tolist(), batch.rare.size.tolist(), batch.rare.octets.tolist(), strict=True))
    columns = [getattr(batch, name).tolist() for name in names]
    known = zip(batch.flow.tolist(), batch.layout.tolist(), *columns, strict=True)
    for index, (flow, layout, *values) in enumerate(known):
        yield (
            capture.flows[flow],
            capture.layouts[layout],
            *values,
            *[each[1:] for each in sack if each[0] == index],
            *[(size, *octets) for row, size, octets in rare if row == index],
        )


Change = tuple[str, float, int, bytes]
"""(how, where as a share of the file, size, octets)."""

changes = st.tuples(
    st.sampled_from(("flip", "octets", "cut out", "cut off", "again", "zeros", "insert")),
    st.floats(0, 1, exclude_max=True) | st.floats(0, 0.01),
    st.integers(1, 400),
    st.binary(min_size=1, max_size=20),
)
mutations = st.lists(changes, min_size=1, max_size=4)
"""Kept apart from the octets that they change, so that a failure prints what was done and not the file."""


def mutated(data: bytes, recipe: list[Change]) -> tuple[bytes, int]:
    """The octets after the changes, and where the first of them is."""
    first = len(data)
    for how, where, size, new in recipe:
        at = int(where * len(data))
        rest = data[at:]
        if how == "flip":
            rest = bytes(octet ^ 1 << size % 8 for octet in rest[:1]) + rest[1:]
        elif how == "octets":
            rest = new[: len(rest)] + rest[len(new) :]
        elif how == "cut out":
            rest = rest[size:]
        elif how == "cut off":
            rest = b""
        elif how == "again":
            rest = rest[:size] + rest
        elif how == "zeros":
            rest = bytes(min(size, len(rest))) + rest[size:]
        else:
            rest = new + rest
        data, first = data[:at] + rest, min(first, at)
    return data, first


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations)
def test_any_mutation_is_read_or_refused_and_what_was_before_it_is_the_same(form: str, recipe: list[Change]) -> None:
    whole = original(form)
    octets, first = mutated(whole.octets, recipe)
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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations)
def test_any_mutation_is_measured_or_refused(form: str, recipe: list[Change]) -> None:
    """Whatever the numbers in it have become: connections, sums, delays, contention and every table."""
    octets, _ = mutated(original(form).octets, recipe)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mutated.pcap"
        path.write_bytes(octets)
        try:
            analysis = analyze(path, accumulators=[layout_counts, of_capture(side="both")])
        except CaptureError as error:
            assert "\n" not in str(error)
            return
        with analysis:
            analysis.write(Path(directory))
        rows = analysis.tables["connections"].to_pylist()
        assert sum(row["packets"] for row in rows) <= analysis.capture.counts.tcp
        assert all(0 <= row["goodput_octets"] <= row["payload_octets"] for row in rows)


def test_an_mptcp_option_without_a_subtype_is_no_event(tmp_path: Path) -> None:
    areas = [made.nops(bytes((30, 2))), made.VERSION_1[8], made.nops(bytes((30, 3, 0x51)))]
    path = made.pcap(tmp_path / "bare.pcap", [made.ethernet(made.ipv4(made.tcp(area, b"data"))) for area in areas])
    with analyze(path) as analysis:
        assert [row["option"] for row in analysis.tables["mptcp_events"].to_pylist()] == ["MP_PRIO"]


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
        passes = [[row for batch in capture.batches() for row in rows_of(capture, batch)] for _ in range(3)]
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
