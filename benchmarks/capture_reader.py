"""How fast captures are read, beside tshark: ``python -m benchmarks.capture_reader DIRECTORY [--quick] [--parquet]``.

Makes its own capture, once in a directory, as root: kernel MPTCP, IPv4 and then IPv6, two subflows, data both ways, at
the sender's interfaces, snaplen 128, loss and a queue in a middle node, offloads off and one segment for each packet,
until there are a million packets. Then both read it on one CPU, in turn, each in a process of its own, the file in the
page cache: the engine gives every column of every packet, tshark prints the same fields (``-T fields``, analysis off).
The medians, their ratio and the peak of resident memory are printed beside the targets.

``--parquet`` also writes the tables and scales to 10 GB; ``--large`` reads a file of a gigabyte; ``--profile`` says
where the engine's time goes instead.
"""

from __future__ import annotations

import argparse
import heapq
import json
import operator
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from emulation_lab import Lab
from tshark import ANALYSIS_OFF, FIELDS

from benchmarks.compiled_forms import profile
from testbed.wire import pcap

IPPROTO_MPTCP = 262
SNAPLEN_OCTETS = 128
PACKETS, QUICK_PACKETS = 1_000_000, 200_000
PORT = 7002
RATE_MBIT_S = 300
LOSS_PER_MILLE = 3
ROUNDS = 3
ENGINE_RUNS = 3
"""In each round: one takes a third of a second."""
LARGE_OCTETS = 1 << 30
RECORD_HEADER = struct.Struct("<IIII")
PCAP_HEADER_OCTETS = 24
TARGET_PACKETS_S, TARGET_RATIO, TARGET_RSS_MIB, TARGET_10_GB_S = 2.5e6, 75, 256, 60


# --- the capture ---


def capture_of(directory: Path, packets: int) -> Path:
    """The capture, made when it is not there."""
    path = directory / f"mptcp-{packets}.pcap"
    if not path.exists():
        if os.geteuid() != 0:
            raise SystemExit(f"{path} is not there, and making it takes network namespaces: run this as root")
        directory.mkdir(parents=True, exist_ok=True)
        print(f"making {path}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=directory) as parts:
            files = [
                file for family in (socket.AF_INET, socket.AF_INET6) for file in transfer(Path(parts), family, packets)
            ]
            partial = directory / f"{path.name}.partial"
            merge(files, partial)
            partial.rename(path)
    return path


def transfer(directory: Path, family: socket.AddressFamily, packets: int) -> list[Path]:
    """Half of the packets over one version of IP: one file for each interface of the sender."""
    with Lab(links=2, offloads=False) as lab:
        for number in lab.numbers:
            for host in (lab.a, lab.b):
                lab.run(host, "ip", "link", "set", f"eth{number}", "gso_max_segs", "1")
            bridge(lab, number)
        for host in (lab.a, lab.b):
            lab.run(host, "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
        second = "10.77.2.2" if family == socket.AF_INET else "fd77:2::2"
        lab.run(lab.b, "ip", "mptcp", "endpoint", "add", second, "dev", "eth2", "signal")
        files = [directory / f"{family.name}-{number}.pcap" for number in lab.numbers]
        words = ["-n", "-s", str(SNAPLEN_OCTETS), "-B", "65536", "--time-stamp-precision=nano", "-Z", "root"]
        taps = [
            lab.popen(lab.a, "tcpdump", "-i", f"eth{number}", *words, "-w", str(file), "tcp", stderr=subprocess.PIPE)
            for number, file in zip(lab.numbers, files, strict=True)
        ]
        for tap in taps:
            while "listening" not in (line := tap.stderr.readline()):  # type: ignore[union-attr]
                if not line:
                    raise SystemExit("tcpdump does not listen")
        converse(lab, family, lambda: sum(file.stat().st_size for file in files) < packets // 2 * 142)
        for tap in taps:
            tap.terminate()
            tap.communicate(timeout=30)
        return files


def bridge(lab: Lab, number: int) -> None:
    """A link's two ends in the middle node become one, with loss and a queue in each direction."""
    for words in (
        f"link add br{number} type bridge",
        f"link set br{number} up",
        f"link set a{number} master br{number}",
        f"link set b{number} master br{number}",
    ):
        lab.run(lab.m, "ip", *words.split())
    lab.run(lab.m, "nft", f"add table netdev loss{number}")
    for interface in (f"a{number}", f"b{number}"):
        lab.run(
            lab.m, "tc", "qdisc", "add", "dev", interface, "root", "tbf",
            "rate", f"{RATE_MBIT_S}mbit", "burst", "16kb", "latency", "8ms",
        )  # fmt: skip
        hook = f"{{ type filter hook ingress device {interface} priority 0; }}"
        lab.run(lab.m, "nft", f"add chain netdev loss{number} {interface} {hook}")
        rule = f"meta length > 200 numgen random mod 1000 < {LOSS_PER_MILLE} drop"
        lab.run(lab.m, "nft", f"add rule netdev loss{number} {interface} {rule}")


def converse(lab: Lab, family: socket.AddressFamily, more: Any) -> None:
    """One connection, both sides sending as fast as they can, while ``more()``."""
    address = "10.77.1.2" if family == socket.AF_INET else "fd77:1::2"
    with lab.inside(lab.b):
        listener = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.bind(("", PORT))
    listener.listen()
    with lab.inside(lab.a):
        client = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP)
    client.connect((address, PORT))
    server, _ = listener.accept()
    ended = threading.Event()

    def send(end: socket.socket) -> None:
        data = bytes(1 << 18)
        while not ended.is_set():
            end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    def receive(end: socket.socket) -> None:
        while end.recv(1 << 18):
            pass

    threads = [threading.Thread(target=work, args=(end,)) for end in (client, server) for work in (send, receive)]
    for thread in threads:
        thread.start()
    while more():
        time.sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join(60)
    time.sleep(0.5)
    for end in (client, server, listener):
        end.close()


def merge(files: Sequence[Path], path: Path) -> None:
    """One file of several, in the order of time."""
    readers = [pcap.read(file.read_bytes()) for file in files]
    with path.open("wb") as out:
        out.write(pcap.file_header(pcap.LINK_ETHERNET))
        for record in heapq.merge(*readers, key=operator.attrgetter("time_ns")):
            out.write(pcap.record(record.time_ns, record.data, record.length))


def large(path: Path, octets: int) -> Path:
    """The same packets again and again, later each time, until the file is so large."""
    target = path.with_name(f"{path.stem}-{octets >> 20}-MiB.pcap")
    if target.exists():
        return target
    data = bytearray(path.read_bytes())
    seconds = memoryview(data)
    offsets = []
    at = PCAP_HEADER_OCTETS
    while at < len(data):
        offsets.append(at)
        at += 16 + RECORD_HEADER.unpack_from(data, at)[2]
    first, last = (RECORD_HEADER.unpack_from(data, offsets[index])[0] for index in (0, -1))
    import numpy as np

    places = np.array(offsets)[:, None] + np.arange(4)
    buffer = np.frombuffer(seconds, np.uint8)
    times = np.ascontiguousarray(buffer[places]).view("<u4")[:, 0]
    partial = target.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(data[:PCAP_HEADER_OCTETS])
        while out.tell() < octets:
            out.write(seconds[PCAP_HEADER_OCTETS:])
            times = times + np.uint32(last - first + 1)
            buffer[places] = times[:, None].view(np.uint8)
    partial.rename(target)
    return target


# --- the readers ---


def stopwatch() -> Callable[[], dict[str, float]]:
    """Call the result later: time and CPU time of this process since now."""
    begin, cpu = time.perf_counter(), time.process_time()
    return lambda: {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - cpu}


def read_all(path: Path) -> dict[str, Any]:
    """Every column of every packet, by the engine."""
    from analysis.capture.reader import open_capture

    elapsed = stopwatch()
    with open_capture(path) as capture:
        packets = sum(map(len, capture.batches()))
        return {**elapsed(), "packets": packets, "layouts": len(capture.layouts)}


def write_tables(path: Path) -> dict[str, Any]:
    """The capture as Parquet, one table of packets and what comes with it."""
    from analysis.capture.packets_file import write_packets

    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        write_packets(path, Path(directory))  # imports on demand cost the same for a capture of any size
        elapsed = stopwatch()
        packets = write_packets(path, Path(directory))
        spent = elapsed()
        size = sum(file.stat().st_size for file in Path(directory).rglob("*.parquet"))
    return {**spent, "packets": packets, "octets": size}


def write_analysis(path: Path) -> dict[str, Any]:
    """Everything that ``testbed analyze`` makes of it, without the page."""
    from analysis.capture.analysis import analyze

    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        elapsed = stopwatch()
        analysis = analyze(path)
        analysis.write(Path(directory))
        spent = elapsed()
        analysis.capture.close()
        return {**spent, "packets": analysis.capture.counts.tcp}


WORK = {"read": read_all, "tables": write_tables, "analysis": write_analysis}


def on_one_cpu() -> None:
    """The last that is allowed: interrupts prefer the first."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def of_engine(what: str, path: Path, one_cpu: bool = True) -> dict[str, Any]:
    """The work in a process of its own, with the peak of its resident memory in MiB."""
    argv = [sys.executable, "-m", "benchmarks.capture_reader", "--worker", what, str(path)]
    prepare = on_one_cpu if one_cpu else None
    result = subprocess.run(argv, capture_output=True, text=True, preexec_fn=prepare, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return dict(json.loads(result.stdout))


def of_tshark(path: Path) -> dict[str, Any]:
    """The same fields by tshark; its start-up and its printing are part of it."""
    argv = ["tshark", *ANALYSIS_OFF, "-r", str(path), "-T", "fields"]
    argv += [word for name in FIELDS for word in ("-e", name)]
    begin = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=on_one_cpu) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"tshark: exit {process.returncode}")
    return {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "rss_mib": usage.ru_maxrss / 1024,
    }


def worker(what: str, path: Path) -> None:
    """One measurement; prints it as JSON."""
    result = WORK[what](path)
    # not ru_maxrss, which begins with what the process took that started this one
    result["rss_mib"] = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps(result))


# --- the table ---


def line(what: str, target: str, measured: str, met: bool | None) -> bool:
    """Print one claim; False when the target was missed."""
    print(f"{what:34}  {target:>18}  {'' if met is None else 'met' if met else 'MISSED':6}  {measured}", flush=True)
    return met is not False


def into_page_cache(path: Path) -> None:
    """Read once, with little memory: that of the parent would count as tshark's."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def rates(runs: Sequence[dict[str, Any]], packets: int, clock: str = "seconds") -> list[float]:
    """Packets/s, ascending; ``clock``: seconds or cpu_seconds."""
    return sorted(packets / run[clock] for run in runs)


def measure(path: Path, arguments: argparse.Namespace) -> bool:
    """All claims; False when a target was missed."""
    into_page_cache(path)
    has_tshark = shutil.which("tshark") is not None
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours += [of_engine("read", path) for _ in range(ENGINE_RUNS)]
        if has_tshark:
            theirs.append(of_tshark(path))
    packets, layouts, octets = ours[0]["packets"], ours[0]["layouts"], path.stat().st_size
    good = line("capture", "-", f"{packets} packets, {octets / 1e6:.0f} MB, {layouts} option layouts", None)
    every = rates(ours, packets)
    rate = statistics.median(every)
    text = f"{rate / 1e6:.2f} M packets/s ({every[0] / 1e6:.2f} to {every[-1] / 1e6:.2f})"
    good &= line("engine, one CPU", ">= 2.5 M packets/s", text, rate >= TARGET_PACKETS_S)
    rss = max(run["rss_mib"] for run in ours)
    good &= line("  peak RSS", "<= 256 MiB", f"{rss:.0f} MiB", rss <= TARGET_RSS_MIB)
    if theirs:
        reference = statistics.median(rates(theirs, packets))
        memory = max(run["rss_mib"] for run in theirs)
        line("tshark -T fields, analysis off", "-", f"{reference / 1e3:.1f} k packets/s, {memory:.0f} MiB", None)
        good &= line("ratio", ">= 75", f"{rate / reference:.0f}", rate / reference >= TARGET_RATIO)
        by_cpu = [statistics.median(rates(runs, packets, "cpu_seconds")) for runs in (ours, theirs)]
        text = f"{by_cpu[0] / 1e6:.2f} M and {by_cpu[1] / 1e3:.1f} k packets/s, ratio {by_cpu[0] / by_cpu[1]:.0f}"
        line("  by CPU time, on a busy machine", "-", text, None)
    else:
        line("ratio", ">= 75", "no tshark here", None)
    if arguments.parquet:
        good &= measure_tables(path, arguments.rounds)
    if arguments.large:
        giant = large(path, LARGE_OCTETS)
        works = (("read", "a file of 1 GiB"), ("tables", "  to Parquet"), ("analysis", "  whole analysis"))
        for what, title in works:
            result = of_engine(what, giant)
            rate, rss = result["packets"] / result["seconds"], result["rss_mib"]
            text = f"{rss:.0f} MiB, {rate / 1e6:.2f} M packets/s"
            good &= line(f"{title}, peak RSS", "<= 256 MiB", text, rss <= TARGET_RSS_MIB)
        giant.unlink()
    return good


def measure_tables(path: Path, rounds: int) -> bool:
    """Capture to Parquet: packets.parquet, and for information all that the analysis writes."""
    good = True
    octets = path.stat().st_size
    for what, title, one_cpu, target in (
        ("tables", "packets to Parquet, 10 GB", False, TARGET_10_GB_S),
        ("tables", "the same on one CPU", True, None),
        ("analysis", "whole analysis to Parquet, 10 GB", False, None),
    ):
        runs = [of_engine(what, path, one_cpu) for _ in range(rounds)]
        seconds = statistics.median(run["seconds"] for run in runs)
        packets, rss = runs[0]["packets"], max(run["rss_mib"] for run in runs)
        scaled = seconds * 1e10 / octets
        text = f"{scaled:.0f} s ({packets / seconds / 1e6:.2f} M packets/s"
        text += f", {runs[0]['octets'] / packets:.1f} octets a packet)" if "octets" in runs[0] else ")"
        good &= line(title, f"<= {target} s" if target else "-", text, scaled <= target if target else None)
        good &= line("  peak RSS", f"<= {TARGET_RSS_MIB} MiB", f"{rss:.0f} MiB", rss <= TARGET_RSS_MIB)
    return good


def main() -> int:
    """Run and print; exit code 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where the capture is, or is to be")
    parser.add_argument("--quick", action="store_true", help="200,000 packets and one round")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each reader, in turn")
    parser.add_argument("--parquet", action="store_true", help="capture to Parquet, too")
    parser.add_argument("--large", action="store_true", help="a file of 1 GiB, too")
    parser.add_argument("--profile", action="store_true", help="where the engine's time goes, and nothing else")
    parser.add_argument("--worker", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.directory)
        return 0
    if arguments.quick:
        print("start-up weighs in so small a file: the targets are for the million")
        arguments.rounds = 1
    path = capture_of(arguments.directory, QUICK_PACKETS if arguments.quick else PACKETS)
    if arguments.profile:
        profile(lambda: read_all(path))
        return 0
    return 0 if measure(path, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
