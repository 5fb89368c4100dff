"""The kernel's own option ledger: what its option writer went by, for every segment that leaves a host of a lab.

The third source of the table ``segments`` (source ``kernel``), beside what our own endpoints write down and what
captures let one infer. It is an extra: it needs root, BPF, and a kernel that describes its types; where one of them is
missing, :attr:`KernelLedger.reason` says so in a sentence and there are no rows.

A program of ours (``bpf/segment_program.py``) writes a record per segment into a ring of shared memory; a thread moves
them to a file without a name, and they are decoded when the traffic is over. All of it hangs on file descriptors: it
goes away with this process, however that ends.

What is missing is counted in two ways. :attr:`KernelLedger.lost` found no room in the ring. :attr:`KernelLedger.unseen`
is what the hosts' own counters (``TcpOutSegs``, ``TcpRetransSegs``) have more than the program was run for: there are
virtual machines whose kernel does not run such programs while it works in the context of certain processes (seen: one
segment in a few hundred, in clusters), and an IPv6 reset has no socket.
"""

from __future__ import annotations

import functools
import os
import platform
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from testbed.orchestrator import namespaces
from testbed.orchestrator.bpf import calls, segment_program
from testbed.orchestrator.bpf.btf import Btf, BtfError
from testbed.orchestrator.bpf.ring_buffer import RingBuffer
from testbed.orchestrator.bpf.segment_program import RECORD_OCTETS, Offsets, Seen
from testbed.orchestrator.collectors.counters import read_counters
from testbed.orchestrator.errors import Unsupported

RING_OCTETS = 1 << 24
"""55,000 records: over four seconds of 100 Mbit/s while the thread does not get to run."""
INTERVAL_S = 0.02
_NUMBER = struct.Struct("=I")
_COUNT = struct.Struct("=Q")
_PAGE_OF_RECORDS = RECORD_OCTETS * 4096


class KernelLedger:
    """Records the segments of some hosts between start and stop.

    ``hosts``: host -> descriptor of its network namespace. Records are kept in ``directory`` meanwhile.
    """

    def __init__(self, hosts: Mapping[str, int], directory: Path, *, ring_octets: int = RING_OCTETS) -> None:
        self.reason = ""
        """Why there is nothing, when this machine does not allow it."""
        self.lost = 0
        """Segments that found no room in the ring; known after :meth:`stop`."""
        self.unseen = 0
        """Segments that left by the hosts' own count and that the program was not run for; known after :meth:`stop`."""
        self.sent = 0
        """Segments that left by the hosts' own count."""
        self.hosts = tuple(hosts)
        """In the order of their tags."""
        self._hosts = list(hosts.values())
        self._sent_before = 0
        self._directory = directory
        self._ring_octets = ring_octets
        self._open = ExitStack()
        self._attached = ExitStack()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._ring: RingBuffer | None = None
        self._counters = -1
        self._offsets: Offsets | None = None
        self._records: IO[bytes] | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """From now on, or :attr:`reason`."""
        try:
            self._offsets = kernel_offsets()
            self._hosts = [self._kept(os.dup(fd)) for fd in self._hosts]
            self._attach(self._offsets)
        except Unsupported as error:
            self.reason = str(error)
            self.close()
            return
        self._sent_before = self._segments_sent()
        self._records = self._open.enter_context(tempfile.TemporaryFile(dir=self._directory))  # noqa: SIM115
        self._thread = threading.Thread(target=self._run, name="kernel-ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more from now on; :meth:`segments` has what was seen. Raises what went wrong while reading."""
        if self._ring is not None:
            self.sent = self._segments_sent() - self._sent_before
        self._attached.close()
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure
        if self._ring is not None:
            self._drain(self._ring)
            self.lost = int(_COUNT.unpack(calls.read_map(self._counters, bytes(_NUMBER.size), _COUNT.size))[0])
            recorded = sum(max(1, seen.gso_segments) for seen in self.segments())
            self.unseen = max(0, self.sent - recorded - self.lost)

    def segments(self) -> Iterator[Seen]:
        """Everything that was seen, in order of each processor's clock; after :meth:`stop`."""
        if self._records is None or self._offsets is None:
            return
        self._records.seek(0)
        while page := self._records.read(_PAGE_OF_RECORDS):
            for start in range(0, len(page), RECORD_OCTETS):
                yield segment_program.decode(page[start : start + RECORD_OCTETS], self._offsets)

    def close(self) -> None:
        """Let go of everything, also of what was recorded."""
        self._attached.close()
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._ring = None
        self._records = None
        self._open.close()

    def _kept(self, descriptor: int) -> int:
        self._open.callback(os.close, descriptor)
        return descriptor

    def _segments_sent(self) -> int:
        """By all hosts together. TcpOutSegs leaves those out that only repeat what was sent."""
        total = 0
        for fd in self._hosts:
            with namespaces.inside(fd):
                counters = read_counters()
            total += counters["TcpOutSegs"] + counters["TcpRetransSegs"]
        return total

    def _attach(self, offsets: Offsets) -> None:
        chosen = self._kept(
            calls.create_map(calls.HASH, _NUMBER.size, _NUMBER.size, max(1, len(self.hosts)), "namespaces")
        )
        for tag, fd in enumerate(self._hosts):
            calls.update_map(chosen, _NUMBER.pack(namespaces.identity(fd)), _NUMBER.pack(tag))
        self._counters = self._kept(calls.create_map(calls.ARRAY, _NUMBER.size, _COUNT.size, 1, "counters"))
        self._ring = RingBuffer(self._ring_octets, "segments")
        self._open.callback(self._ring.close)
        instructions = segment_program.write_program(
            offsets, namespaces=chosen, ring=self._ring.descriptor, counters=self._counters
        )
        program = calls.load_raw_tracepoint_program(instructions, segment_program.LICENSE, segment_program.NAME)
        self._attached.callback(os.close, program)
        self._attached.callback(os.close, calls.open_raw_tracepoint(program, segment_program.TRACEPOINT))

    def _run(self) -> None:
        assert self._ring is not None
        try:
            while not self._end.wait(INTERVAL_S):
                self._drain(self._ring)
        except Exception as error:  # handed to whoever stops us: a thread has nobody else to tell
            self._failure = error

    def _drain(self, ring: RingBuffer) -> None:
        assert self._records is not None
        self._records.writelines(ring.take())


def kernel_offsets() -> Offsets:
    """Where the running kernel keeps what is recorded. Raises Unsupported, also where nobody may look."""
    if struct.calcsize("P") != 8:
        raise Unsupported(f"the kernel's ledger is read on 64-bit machines only, and this is {platform.machine()}")
    if os.geteuid() != 0:
        raise Unsupported("BPF needs root")
    return _looked_up()


@functools.cache
def _looked_up() -> Offsets:
    try:
        return segment_program.find_offsets(Btf.of_kernel())
    except BtfError as error:
        raise Unsupported(str(error)) from error


def probe() -> str:
    """Load and attach the program, for no namespace, and take it away again. Raises Unsupported."""
    ledger = KernelLedger({}, Path(tempfile.gettempdir()), ring_octets=1 << 16)
    try:
        ledger.start()
        if ledger.reason:
            raise Unsupported(ledger.reason)
        return f"a program was attached to the raw tracepoint {segment_program.TRACEPOINT}"
    finally:
        ledger.close()
