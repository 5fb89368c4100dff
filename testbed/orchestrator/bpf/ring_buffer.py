"""The kernel's ring buffer for BPF programs, read through shared memory.

Layout (kernel/bpf/ringbuf.c): one page with our position, one with the kernel's, then the data, mapped twice in a row
so that no record is broken in two. A record is 8 octets of header (length, with a bit for ``being written`` and one for
``thrown away``) and its data, rounded up to 8 octets.
"""

from __future__ import annotations

import mmap
import os
import struct

from testbed.orchestrator.bpf import calls

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER = 8
_POSITION = struct.Struct("Q")
_LENGTH = struct.Struct("I")
"""Native, because those are read and written whole; ``=`` goes octet by octet, while the kernel is at it."""


class RingBuffer:
    """A ring of ``octets`` (a power of 2, at least a page) that BPF programs write to and we read.

    ``descriptor`` is the map. Raises Unsupported where there is none (before Linux 5.8).
    """

    def __init__(self, octets: int, name: str) -> None:
        self.descriptor = calls.create_map(calls.RING_BUFFER, 0, 0, octets, name)
        self._octets = octets
        page = mmap.PAGESIZE
        self._ours = mmap.mmap(self.descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._kernels = mmap.mmap(self.descriptor, page + 2 * octets, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)

    def close(self) -> None:
        """Let go of it; the kernel frees it when no program writes to it any more."""
        self._ours.close()
        self._kernels.close()
        os.close(self.descriptor)

    @property
    def waiting_octets(self) -> int:
        """How much is in it now."""
        return self._written() - int(_POSITION.unpack_from(self._ours, 0)[0])

    def take(self) -> list[bytes]:
        """All finished records, in order; their room is free again."""
        position = int(_POSITION.unpack_from(self._ours, 0)[0])
        end, taken = self._written(), []
        while position < end:
            at = mmap.PAGESIZE + position % self._octets
            length = _LENGTH.unpack_from(self._kernels, at)[0]
            if length & _BUSY:
                break
            octets = length & ~_DISCARDED
            if not length & _DISCARDED:
                taken.append(self._kernels[at + _HEADER : at + _HEADER + octets])
            position += _HEADER + (octets + 7 & ~7)
        _POSITION.pack_into(self._ours, 0, position)
        return taken

    def _written(self) -> int:
        return int(_POSITION.unpack_from(self._kernels, 0)[0])
