"""The memory that reading takes does not depend on the size of the file."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from capture_files import Packet, PcapngWriter, pcap_header, pcap_record

ROOT = Path(__file__).parents[3]
MEGABYTE = 1 << 20
LIMIT_MEGABYTES = 128
"""A half of what the whole of the analysis may take, the interpreter and numpy (some 35) included."""

READ = """
import json, sys
from pathlib import Path
from analysis.capture.files import open_file
with open_file(sys.argv[1]) as file:
    packets = octets = 0
    for chunk in file.chunks():
        packets += len(chunk)
        octets += int(chunk.captured.sum(dtype=int))
# not ru_maxrss, which counts what the process that started this one took
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
print(json.dumps([packets, octets, peak, file.warnings]))
"""


def read_in_a_process(path: Path) -> tuple[int, int, int, list[str]]:
    """Packets, their octets, the megabytes it took, warnings."""
    done = subprocess.run([sys.executable, "-c", READ, path], cwd=ROOT, capture_output=True, text=True, check=True)
    packets, octets, peak, warnings = json.loads(done.stdout)
    return packets, octets, peak, warnings


@pytest.mark.slow
@pytest.mark.parametrize("ng", [False, True], ids=["pcap", "pcapng"])
def test_many_packets(tmp_path: Path, ng: bool) -> None:
    rng = random.Random(1)
    writer = PcapngWriter()
    packets = [
        Packet(1_790_000_000_000_000_000 + n, rng.randbytes(rng.randrange(54, 120)), 1500) for n in range(40_000)
    ]
    if ng:
        header = writer.section() + writer.interface(resolution=9)
        body = b"".join(writer.enhanced(0, packet.time_ns, packet.data, packet.wire) for packet in packets)
    else:
        header, body = pcap_header(), b"".join(map(pcap_record, packets))
    times = 80
    path = tmp_path / "many.gz"
    path.write_bytes(gzip.compress(header) + gzip.compress(body, 1) * times)
    assert times * len(body) > 256 * MEGABYTE
    found, octets, peak, warnings = read_in_a_process(path)
    assert (found, octets) == (times * len(packets), times * sum(len(packet.data) for packet in packets))
    assert warnings == []
    assert peak < LIMIT_MEGABYTES


@pytest.mark.slow
def test_long_packets(tmp_path: Path) -> None:
    """A file with holes: two gigabytes that take no room on the disk."""
    path = tmp_path / "long.pcap"
    with path.open("wb") as file:
        file.write(pcap_header())
        for number in range(2048):
            file.write(pcap_record(Packet(number, b"", MEGABYTE))[:8] + MEGABYTE.to_bytes(4, "little") * 2)
            file.seek(MEGABYTE, 1)
        file.truncate()
    found, octets, peak, warnings = read_in_a_process(path)
    assert (found, octets, warnings) == (2048, 2048 * MEGABYTE, [])
    assert peak < LIMIT_MEGABYTES


def test_a_block_of_gigabytes_is_not_read_at_all(tmp_path: Path) -> None:
    writer = PcapngWriter()
    path = tmp_path / "block.pcapng"
    length = (3 << 30) + 12
    with path.open("wb") as file:
        file.write(writer.section() + writer.interface())
        file.write((99).to_bytes(4, "little") + length.to_bytes(4, "little"))
        file.seek(length - 12, 1)
        file.write(length.to_bytes(4, "little") + writer.enhanced(0, 1, b"data", 4))
    assert read_in_a_process(path)[0::3] == (1, [])
