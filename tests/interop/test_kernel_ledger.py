"""The kernel's own option ledger on real traffic: the definition of wanted, whose segments they are, what is left."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from capture_lab import Transfer, lossy_scenario, transfer
from endpoint_pair import loopback_namespace
from pyarrow import parquet
from userspace_lab import Scenario

from analysis.capture.reader import open_capture
from analysis.capture.resolution import resolve
from analysis.contention.capture_contention import write_segments
from testbed.endpoint.parameters import Endpoint
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.bpf import calls
from testbed.orchestrator.bpf.segment_program import SOCKET, SUBFLOW, Seen
from testbed.orchestrator.collectors import kernel_ledger
from testbed.orchestrator.collectors.counters import read_counters
from testbed.orchestrator.collectors.kernel_ledger import KernelLedger
from testbed.orchestrator.collectors.kernel_ledger_rows import FlowEnd, KernelRows
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.namespaces import inside
from testbed.orchestrator.spec import PathManager
from testbed.record.run_directory import RunDirectory
from testbed.wire import pcap
from testbed.wire.option_codec import decode_options
from testbed.wire.options import Sack

ROOT = Path(__file__).parents[2]
HOSTS = ("client", "server")
PORT = 5001


def _why_not() -> str:
    try:
        kernel_ledger.probe()
    except Unsupported as error:
        return f"needs the kernel ledger: {error}"
    return ""


REASON = _why_not()
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(bool(REASON), reason=REASON or "it is there")]


@dataclass(frozen=True)
class Seeing:
    """A transfer, and what the ledger has of it."""

    made: Transfer
    segments: list[Seen]
    rows: list[dict[str, Any]]
    lost: int
    unseen: int
    """Segments that this machine's kernel did not run the program for; a share of them is no reason to fail."""
    counters: dict[str, dict[str, int]]
    """Of each host's kernel when the ledger ended: a FIN may be sent again after the transfer."""


def watched(scenario: Scenario, directory: Path) -> Seeing:
    """Carry it out with a ledger of both hosts."""
    with contextlib.ExitStack() as stack:
        ledgers: list[KernelLedger] = []

        kept: dict[str, int] = {}

        def prepare(lab: MininetLab) -> None:
            for host in HOSTS:
                kept[host] = os.dup(lab.namespace_fd(host))
                stack.callback(os.close, kept[host])
            ledger = KernelLedger({host: lab.namespace_fd(host) for host in HOSTS}, directory)
            stack.callback(ledger.close)
            ledger.start()
            ledgers.append(ledger)

        made = transfer(scenario, directory, hosts=HOSTS, prepare=prepare)
        (ledger,) = ledgers
        ledger.stop()
        segments = list(ledger.segments())
        counters = {}
        for host, fd in kept.items():
            with inside(fd):
                counters[host] = read_counters()
    ends = [FlowEnd("main", "client", 0, PORT), FlowEnd("main", "server", 1, PORT)]
    kernel = KernelRows(ends, 0)
    rows = list(kernel.rows(segments))
    assert kernel.unassigned == 0
    return Seeing(made, segments, rows, ledger.lost, ledger.unseen, counters)


def plain_tcp(timestamps: bool) -> Scenario:
    """Both ways over one path that loses 1 %."""
    end = Endpoint(implementation="linux-tcp", timestamps=timestamps)
    scenario = lossy_scenario(size=4_000_000)
    alone = PathManager(mode="none")
    return dataclasses.replace(scenario, client=end, server=end, paths=scenario.paths[:1], path_manager=alone)


@pytest.fixture(scope="module")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Seeing:
    return watched(plain_tcp(timestamps=True), tmp_path_factory.mktemp("tcp"))


@pytest.fixture(scope="module", params=[4, 6])
def mptcp(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seeing:
    family: Literal[4, 6] = request.param
    return watched(lossy_scenario(family, 4_000_000), tmp_path_factory.mktemp("mptcp"))


def test_without_timestamps_every_block_that_plain_tcp_wants_to_send_leaves(tmp_path: Path) -> None:
    """The proof of the definition: 2 + 8 * 4 = 34 octets always fit, so wanted must be what was sent, segment for
    segment."""
    seen = watched(plain_tcp(timestamps=False), tmp_path)
    assert seen.lost == 0
    assert [row for row in seen.rows if row["sack_wanted"] != row["sack_sent"]] == []
    wanted = Counter(row["sack_wanted"] for row in seen.rows)
    assert all(wanted[count] > 20 for count in (1, 2, 3, 4)), wanted


def test_with_timestamps_the_fourth_block_and_no_other_has_no_room(tcp: Seeing) -> None:
    """12 octets of timestamps leave 28: 4 + 8 * 3."""
    assert [row for row in tcp.rows if row["sack_sent"] != min(3, row["sack_wanted"])] == []
    assert max(row["sack_wanted"] for row in tcp.rows) == 4
    displaced = Counter({name: sum(row[f"sack_{name}"] for row in tcp.rows) for name in ("padding", "width", "policy")})
    assert not +displaced
    assert sum(row["sack_hard"] for row in tcp.rows) == sum(row["sack_wanted"] - row["sack_sent"] for row in tcp.rows)


@pytest.mark.needs_mptcp
def test_every_packet_of_the_captures_is_there_once_but_for_those_that_are_told_as_missing(mptcp: Seeing) -> None:
    assert mptcp.lost == 0
    assert mptcp.made.dropped == 0
    missing = total = 0
    for tag, host in enumerate(HOSTS):
        segments = [seen for seen in mptcp.segments if seen.tag == tag]
        own = {seen.source for seen in segments}
        captured = Counter(
            packet
            for path in mptcp.made.at(host)
            for record in pcap.read(path.read_bytes())
            if (packet := _packet(record.data, own)) is not None
        )
        recorded = Counter((*_ends(seen), seen.sequence, seen.flags, seen.options, seen.payload) for seen in segments)
        after_the_capture = recorded - captured
        assert all(flags & 1 or not payload for *_, flags, _, payload in after_the_capture), after_the_capture
        missing += (captured - recorded).total()
        total += captured.total()
    assert mptcp.unseen - 2 <= missing <= mptcp.unseen
    assert total > 5000
    assert missing < total / 5


@pytest.mark.needs_mptcp
def test_two_subflows_of_one_connection_are_told_apart(mptcp: Seeing) -> None:
    places = {(row["side"], row["connection"], row["subflow"]) for row in mptcp.rows}
    assert places == {(side, 0, number) for side in HOSTS for number in (0, 1)}
    kinds = Counter(row["segment"] for row in mptcp.rows if not row["retransmission"])
    assert (kinds["syn"], kinds["syn-ack"]) == (2, 2)
    new = {
        side: sum(row["payload"] for row in mptcp.rows if row["side"] == side and not row["retransmission"])
        for side in HOSTS
    }
    # a reinjection is new to its subflow
    assert all(octets >= 4_000_000 - 1460 * mptcp.unseen for octets in new.values()), new


@pytest.mark.needs_mptcp
def test_the_kernel_counts_as_many_retransmissions(mptcp: Seeing) -> None:
    for host in HOSTS:
        again = sum(row["retransmission"] for row in mptcp.rows if row["side"] == host and row["segment"] != "syn-ack")
        assert again <= mptcp.counters[host]["TcpRetransSegs"] <= again + mptcp.unseen


@pytest.mark.needs_mptcp
def test_dsacks_are_recognised_as_the_peer_recognises_them(mptcp: Seeing) -> None:
    """The kernel counts them when it marks them: the next arrival wipes out one that had no room until then. One that
    is like the first ordinary block is not told apart where only one block has room."""
    for tag, (host, peer) in enumerate((HOSTS, HOSTS[::-1])):
        sent = doubtful = 0
        for seen in mptcp.segments:
            if seen.tag == tag and seen.level >= SOCKET:
                blocks = _blocks(seen)
                is_told = seen.wanted_dsack(blocks) and not seen.has_dsack
                sent += is_told
                doubtful += not is_told and blocks[:1] == (seen.duplicate_sack,)
        marked = sum(mptcp.counters[host].get(f"TcpExtTCPDSACK{kind}Sent", 0) for kind in ("Old", "Ofo"))
        received = sum(mptcp.counters[peer].get(f"TcpExtTCPDSACK{kind}Recv", 0) for kind in ("", "Ofo"))
        assert 0 < sent <= marked
        assert sent / 2 < received <= sent + doubtful + mptcp.unseen


@pytest.mark.needs_mptcp
def test_each_displaced_block_has_its_class_and_data_segments_of_two_way_mptcp_carry_none(mptcp: Seeing) -> None:
    for row in mptcp.rows:
        classes = sum(row[f"sack_{name}"] for name in ("padding", "width", "policy", "hard"))
        assert classes == row["sack_wanted"] - row["sack_sent"] >= 0
        assert row["option_octets"] + row["free_octets"] == 40
    full = [row for row in mptcp.rows if row["sent"] == "timestamps:10 dss:26" and row["sack_wanted"]]
    assert len(full) > 100
    assert all(row["sack_width"] == 1 and row["sack_sent"] == 0 for row in full)


@pytest.mark.needs_mptcp
def test_the_mappings_cover_what_left(mptcp: Seeing) -> None:
    """A kernel that has not fallen back gives every octet of data a mapping on its own segment."""
    data = [row for row in mptcp.rows if row["payload"]]
    assert {row["mapping"] for row in data} <= {"own", "repeated"}
    assert all(row["mapping_ssn"] <= row["ssn"] for row in data)
    assert all(row["ssn"] + row["payload"] <= row["mapping_ssn"] + row["mapping_octets"] for row in data)
    assert {seen.level for seen in mptcp.segments if seen.payload} == {SUBFLOW}


@pytest.mark.needs_mptcp
@pytest.mark.parametrize("host", HOSTS)
def test_what_a_capture_lets_one_infer_is_what_the_kernel_held(mptcp: Seeing, host: str, tmp_path: Path) -> None:
    """analysis.contention on the packets at a host's interfaces, against the state of that host's sockets."""
    merged = mptcp.made.merged(host, tmp_path / "merged.pcap")
    inferred = [row for row in _inferred(merged, host, tmp_path) if row["side"] == host]
    pairs = _paired([row for row in mptcp.rows if row["side"] == host], inferred)
    assert len(pairs) >= 0.99 * min(len(inferred), sum(row["side"] == host for row in mptcp.rows))
    for column in ("omitted", "retransmission", "option_octets", "padding_octets", "sent", "mss"):
        assert [(own[column], other[column]) for own, other in pairs if own[column] != other[column]] == [], column
    mappings = [(own["mapping"], other["mapping"]) for own, other in pairs if own["mapping"] != other["mapping"]]
    assert set(mappings) <= {("own", "repeated")}  # the ledger has not seen the segment that carried it first
    assert len(mappings) <= mptcp.unseen
    differing = [(own, other) for own, other in pairs if own["sack_wanted"] != other["sack_wanted"]]
    assert len(differing) <= 0.001 * len(pairs), (len(differing), len(pairs), differing[:3])


def test_only_the_namespaces_that_were_named_are_seen(tmp_path: Path) -> None:
    with loopback_namespace() as mine, loopback_namespace() as others, ledger_of({"mine": mine}, tmp_path) as ledger:
        _connect(others)
        _connect(mine)
        _connect(others)
        ledger.stop()
        segments = list(ledger.segments())
    assert {seen.tag for seen in segments} == {0}
    assert sum(bool(seen.flags & 2) for seen in segments) == 2  # SYN and SYN+ACK of one connection


def test_what_a_packet_socket_sends_is_not_the_kernels(tmp_path: Path) -> None:
    ip = b"\x45\0\0\x28" + bytes(4) + b"\x40\x06\0\0" + bytes([127, 0, 0, 1, 127, 0, 0, 1])
    tcp = struct.pack("!HHIIBBHHH", 7, 8, 9, 0, 0x50, 2, 0, 0, 0)
    with loopback_namespace() as mine, ledger_of({"mine": mine}, tmp_path) as ledger:
        with inside(mine), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sender:
            sender.sendto(ip + tcp, ("lo", 0x0800))
        _connect(mine)
        ledger.stop()
        segments = list(ledger.segments())
    assert segments
    assert all(seen.source_port != 7 for seen in segments)


def test_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    with (
        loopback_namespace() as mine,
        ledger_of({"mine": mine}, tmp_path) as large,
        ledger_of({"mine": mine}, tmp_path, ring_octets=mmap.PAGESIZE) as small,
    ):
        _connect(mine, megabytes=8)
        for ledger in (large, small):
            ledger.stop()
        assert large.lost == 0
        assert small.lost > 0
        assert len(list(small.segments())) + small.lost == len(list(large.segments()))
        assert small.unseen == large.unseen


def test_ipv4_and_ipv6_are_both_read(tmp_path: Path) -> None:
    with loopback_namespace() as mine, ledger_of({"mine": mine}, tmp_path) as ledger:
        _connect(mine, "127.0.0.1")
        _connect(mine, "::1")
        ledger.stop()
        segments = list(ledger.segments())
    payloads = {family: sum(seen.payload for seen in segments if seen.family == family) for family in (4, 6)}
    assert payloads == {4: 1, 6: 1}


def test_a_killed_process_leaves_no_program_behind() -> None:
    code = (
        "import sys, tempfile, time; from pathlib import Path; import os\n"
        "from testbed.orchestrator.collectors.kernel_ledger import KernelLedger\n"
        "descriptor = os.open('/proc/self/ns/net', os.O_RDONLY)\n"
        "ledger = KernelLedger({'here': descriptor}, Path(tempfile.gettempdir()))\n"
        "ledger.start(); assert not ledger.reason, ledger.reason\n"
        "texts = [path.read_text() for path in Path('/proc/self/fdinfo').iterdir() if path.exists()]\n"
        "ids = {line.split()[1] for text in texts for line in text.splitlines() if line.startswith('prog_id')}\n"
        "print(*ids, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        assert _is_loaded(program)
        process.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 10
    while _is_loaded(program) and time.monotonic() < deadline_s:  # the kernel frees it after a grace period
        time.sleep(0.05)
    assert not _is_loaded(program)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux) to drop capabilities")
def test_root_without_the_right_is_told_what_was_refused() -> None:
    code = (
        "from testbed.orchestrator import features\n"
        "feature = features.kernel_ledger()\n"
        "print(feature.available, feature.detail)\n"
    )
    argv = ["setpriv", "--bounding-set=-bpf,-sys_admin,-perfmon", sys.executable, "-c", code]
    answer = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert answer.startswith("False making the map")
    assert "EPERM" in answer and "security policy" in answer
    assert answer.count("\n") == 1


@pytest.mark.needs_mptcp
@pytest.mark.slow
def test_a_run_that_asks_for_the_ledger_has_it_of_its_kernel_ends(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "testbed", "run", "quickstart", "--backend", "mininet", "--repeat", "1"]
    argv += ["--variant", "linux/linux", "--variant", "userspace/linux", "--set", "duration=1s", "--out", str(tmp_path)]
    result = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode in (0, 1, 3), result.stderr  # a second is short, and machines are busy
    (path,) = (found.parent for found in tmp_path.glob("*/*/run.json"))
    found = RunDirectory.open(path)
    variants = {row["trial"]: row["variant"] for row in found.read_table("trials").to_pylist()}
    rows = found.read_table("segments").to_pylist()
    sources = {(variants[row["trial"]], row["side"], row["source"]) for row in rows}
    assert sources == {
        ("linux/linux", "client", "kernel"),
        ("linux/linux", "server", "kernel"),
        ("userspace/linux", "client", "ledger"),
        ("userspace/linux", "server", "kernel"),
    }
    assert {row["subflow"] for row in rows} == {0, 1}
    first = min((row for row in rows if variants[row["trial"]] == "linux/linux"), key=lambda row: row["time_ns"])
    details = [row["detail"] for row in found.read_table("events").to_pylist()]
    assert (first["side"], first["segment"]) == ("client", "syn") or any("are missing" in each for each in details)
    assert 0 < first["time_ns"] < 1_000_000_000
    assert "notes" not in found.document


@contextlib.contextmanager
def ledger_of(hosts: dict[str, int], directory: Path, **settings: int) -> Iterator[KernelLedger]:
    ledger = KernelLedger(hosts, directory, **settings)
    try:
        ledger.start()
        assert ledger.reason == ""
        yield ledger
    finally:
        ledger.close()


def _connect(namespace_fd: int, address: str = "127.0.0.1", megabytes: int = 0) -> None:
    """One connection with an octet of data, or that many MB."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(namespace_fd):
        listener = socket.create_server((address, 0), family=family)
        with listener, socket.create_connection(listener.getsockname()[:2]) as client:
            accepted, _ = listener.accept()
            with accepted:
                for _ in range(16 * megabytes):
                    client.sendall(bytes(1 << 16))
                    left = 1 << 16
                    while left:
                        left -= len(accepted.recv(left))
                if not megabytes:
                    client.send(b"x")
                    assert accepted.recv(1) == b"x"


def _inferred(capture: Path, host: str, directory: Path) -> list[dict[str, Any]]:
    side: Literal["client", "server"] = "client" if host == "client" else "server"
    with open_capture(capture) as opened:
        path = write_segments(opened, resolve(opened), directory, side=side)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def _paired(
    kernel: list[dict[str, Any]], inferred: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of the same segment: alike in what is on the wire, at the same time (the clocks differ by a constant)."""
    columns = ("subflow", "segment", "ssn", "payload", "ack", "sent")
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in inferred:
        alike.setdefault(tuple(row[column] for column in columns), []).append(row)
    keys = [tuple(row[column] for column in columns) for row in kernel]
    single = [
        alike[key][0]["time_ns"] - row["time_ns"]
        for row, key in zip(kernel, keys, strict=True)
        if len(alike.get(key, ())) == 1
    ]
    offset = statistics.median(single)
    pairs = []
    for row, key in zip(kernel, keys, strict=True):
        near = [other for other in alike.get(key, ()) if abs(other["time_ns"] - row["time_ns"] - offset) < 3_000_000]
        if near:
            other = min(near, key=lambda other: abs(other["time_ns"] - row["time_ns"] - offset))
            alike[key].remove(other)
            pairs.append((row, other))
    return pairs


def _packet(frame: bytes, own: set[bytes]) -> tuple[Any, ...] | None:
    """What is compared of an Ethernet frame that one of the addresses sent; None: of another, or no TCP."""
    kind = int.from_bytes(frame[12:14])
    if kind == 0x0800 and frame[23] == 6:
        addresses, start, length = (frame[26:30], frame[30:34]), 34, int.from_bytes(frame[16:18]) + 14
    elif kind == 0x86DD and frame[20] == 6:
        addresses, start, length = (frame[22:38], frame[38:54]), 54, int.from_bytes(frame[18:20]) + 54
    else:
        return None
    if addresses[0] not in own:
        return None
    source, destination, sequence, _, offset, flags = struct.unpack_from("!HHIIBB", frame, start)
    header = offset >> 4 << 2
    options = frame[start + 20 : start + header]
    return *addresses, source, destination, sequence, flags, options, length - start - header


def _ends(seen: Seen) -> Sequence[Any]:
    return seen.source, seen.destination, seen.source_port, seen.destination_port


def _blocks(seen: Seen) -> tuple[tuple[int, int], ...]:
    found = next((option.blocks for option in decode_options(seen.options) if isinstance(option, Sack)), ())
    return tuple((left, right) for left, right in found)


def _is_loaded(program: int) -> bool:
    """BPF_PROG_GET_FD_BY_ID (13)."""
    try:
        os.close(calls._called(13, struct.pack("=III", program, 0, 0), "asking for a program"))
    except Unsupported:
        return False
    return True
