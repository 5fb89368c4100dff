"""Real captures of kernel MPTCP for tests of the capture engine, with what the application and the kernels knew.

Two kernels, paths through the project's own relay in a middle node, where the losses are (one injected behind the tap
would show packets that the stack never saw); offloads off and one segment for each packet, so that a frame is what the
line carries. tcpdump is at the interfaces of either host; what the paths lose it has therefore seen at the sender.
"""

from __future__ import annotations

import atexit
import functools
import heapq
import operator
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from endpoint_pair import start
from userspace_lab import LINUX, MS, SECOND, Scenario, build, endpoints, kernel_counters

from testbed.endpoint.parameters import Bulk
from testbed.endpoint.protocol import FlowResult
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.collectors.capture import CaptureCollector
from testbed.orchestrator.spec import PathManager
from testbed.orchestrator.trial_rows import integrity
from testbed.wire import pcap
from topologies.link_profile import LinkProfile, QueueLimit, RandomLoss

LOSSY = LinkProfile(
    rate_bit_s=80_000_000, queue=QueueLimit(packets=300), delay_ns=8 * MS, loss=RandomLoss(probability=0.01)
)
"""About 110 packets in flight: a loss leaves several holes at a time."""

During = Sequence[tuple[float, str, Sequence[str]]]
"""Commands for the hosts: seconds after the start, host, argv."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One flow between two kernels and the captures of it."""

    client: FlowResult
    server: FlowResult
    kernel: Mapping[str, Mapping[str, int]]
    """Host -> counters of its kernel (nstat), from the beginning of its namespace."""
    files: Mapping[str, Mapping[str, Path]]
    """Host -> interface (``client-eth0`` ..., or ``any``) -> pcap with ns times."""
    dropped: int
    """Packets that a capture missed; a test that counts needs none."""

    def at(self, host: str) -> list[Path]:
        """The captures of one host's interfaces, without ``any``."""
        return [path for interface, path in sorted(self.files[host].items()) if interface != "any"]

    def merged(self, host: str, path: Path) -> Path:
        """The captures of one host in one file, in the order of time."""
        return merge(self.at(host), path)


def lossy_scenario(
    family: Literal[4, 6] = 4,
    size: int = 8_000_000,
    direction: Literal["upload", "download", "both"] = "both",
    paths: Sequence[LinkProfile] = (LOSSY, LOSSY),
    seed: int = 7,
) -> Scenario:
    """Two subflows over two paths that lose: some ten thousands of packets in a few seconds."""
    application = Bulk(direction=direction, size_bytes=size, settle_ns=500 * MS)
    return Scenario(
        client=LINUX,
        server=LINUX,
        paths=tuple(paths),
        path_manager=PathManager(mode="signal"),
        application=application,
        family=family,
        seed=seed,
        duration_ns=30 * SECOND,
    )


def transfer(
    scenario: Scenario,
    directory: Path,
    *,
    hosts: Sequence[str] = ("client",),
    also_any: bool = False,
    during: During = (),
    prepare: Callable[[MininetLab], None] = lambda lab: None,
    whole: bool = True,
) -> Transfer:
    """Build the network, capture at every interface of ``hosts`` (and their pseudo-interface ``any``), move the data.

    Raises AssertionError when not every byte arrived intact: such a capture proves nothing. Not ``whole``: of several
    connections, which have no common hash, only that all were complete.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(build(scenario))
        prepare(lab)
        places = [(host, name) for host in hosts for name in _interfaces(lab, scenario, host)]
        captures = [CaptureCollector(places, directory, lab.start)]
        if also_any:
            captures.append(CaptureCollector([(host, "any") for host in hosts], directory, lab.start))
        for capture in captures:
            stack.callback(capture.close)
            capture.start(0)
        with endpoints(lab, scenario) as (client, server):
            if lab.relay is not None:
                lab.relay.begin()
            start(client, server)
            begun_s = time.monotonic()
            for at_s, host, argv in during:
                time.sleep(max(0.0, begun_s + at_s - time.monotonic()))
                lab.run(host, argv)
            results = client.result(), server.result()
            time.sleep(0.1)  # the last ACKs are on their way
        kernel = {host: kernel_counters(lab, host) for host in ("client", "server")}
        finished = [each for capture in captures for each in capture.stop()]
    files: dict[str, dict[str, Path]] = {host: {} for host in hosts}
    for each in finished:
        files[each.node][each.interface] = each.path
    made = Transfer(*results, kernel, files, sum(each.dropped for each in finished))
    assert made.client.complete and made.client.error is None, made.client
    if whole:
        _assert_whole(made)
    return made


def _interfaces(lab: MininetLab, scenario: Scenario, host: str) -> list[str]:
    link = {"client": "access", "server": "path"}[host]
    return [lab.interface(host, f"{link}{number}") for number in range(1, len(scenario.paths) + 1)]


def _assert_whole(made: Transfer) -> None:
    for sender, receiver in ((made.client, made.server), (made.server, made.client)):
        assert sender.error is None and sender.complete, sender
        assert receiver.bytes_received == sender.bytes_sent, (sender, receiver)
    assert integrity(made.client, made.server) == "ok", (made.client, made.server)


@functools.cache
def lossy_transfer(family: Literal[4, 6]) -> Transfer:
    """Both ways, two subflows, 1 % loss; captured at both hosts, at ``any``, too. Made once in a process."""
    return transfer(lossy_scenario(family), scratch(), hosts=("client", "server"), also_any=True)


@functools.cache
def lossy_capture(family: Literal[4, 6], host: str = "client") -> Path:
    """One Ethernet capture with both subflows of :func:`lossy_transfer`."""
    return lossy_transfer(family).merged(host, scratch() / "merged.pcap")


@functools.cache
def eventful_transfer() -> Transfer:
    """DSS checksums, and every signal that two kernels can be made to send.

    ADD_ADDR and its echo by the path manager; MP_PRIO and REMOVE_ADDR by commands while data flows.
    """
    calm = replace(LOSSY, loss=RandomLoss(probability=0.002), rate_bit_s=40_000_000)
    scenario = lossy_scenario(size=10_000_000, paths=(calm, calm), seed=11)
    checksums = replace(LINUX, checksum=True)
    scenario = replace(scenario, client=checksums, server=checksums)
    during = [
        (0.3, "server", _endpoint_command("change", "id", "1", "backup")),
        (0.5, "server", _endpoint_command("change", "id", "1", "nobackup")),
        (0.7, "server", _endpoint_command("delete", "id", "1")),
    ]
    return transfer(scenario, scratch(), during=during)


def _endpoint_command(*words: str) -> list[str]:
    return ["ip", "mptcp", "endpoint", *words]


def merge(files: Iterable[Path], path: Path) -> Path:
    """One pcap with ns times of several of the same link type, in the order of time."""
    readers = [pcap.read(file.read_bytes()) for file in files]
    links = set()
    with path.open("wb") as out:
        for record in heapq.merge(*readers, key=operator.attrgetter("time_ns")):
            if not links:
                out.write(pcap.file_header(record.link))
            links.add(record.link)
            out.write(pcap.record(record.time_ns, record.data, record.length))
    assert len(links) == 1, f"link types {links} do not go into one pcap"
    return path


def cut(source: Path, path: Path, first: int, count: int) -> Path:
    """Some packets of a pcap, as a file of its own; ``first`` counts from 0."""
    records = list(pcap.read(source.read_bytes()))[first : first + count]
    path.write_bytes(
        pcap.file_header(records[0].link)
        + b"".join(pcap.record(record.time_ns, record.data, record.length) for record in records)
    )
    return path


def scratch() -> Path:
    """A fresh directory that goes with the process."""
    path = Path(tempfile.mkdtemp(prefix="captures-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
