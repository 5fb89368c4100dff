"""bpf(2): maps, programs, raw tracepoints, each as a file descriptor.

Nothing is pinned: what was loaded goes away with its last descriptor, so also when this process is killed. Source:
bpf(2), include/uapi/linux/bpf.h. Every failure is an Unsupported whose one sentence says what was refused and why.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from testbed.orchestrator.errors import Unsupported

HASH, ARRAY, RING_BUFFER = 1, 2, 27
"""Types of maps."""

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROGRAM_LOAD, _RAW_TRACEPOINT_OPEN = 0, 1, 2, 5, 17
_RAW_TRACEPOINT = 17
_NAME_OCTETS = 16
_LOG_OCTETS = 1 << 20
_ATTRIBUTE_OCTETS = 72
"""Enough for every command here; the kernel takes shorter ones than its own."""
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "s390x": 351, "ppc64le": 361}
"""Machine -> number of the system call. All are 64-bit: the attributes below hold pointers as 64 bits."""

_libc = ctypes.CDLL(None, use_errno=True)


def create_map(kind: int, key_octets: int, value_octets: int, entries: int, name: str) -> int:
    """A new map. Raises Unsupported."""
    attribute = struct.pack("=5I4xI16s", kind, key_octets, value_octets, entries, 0, 0, _name(name))
    return _called(_MAP_CREATE, attribute, f"making the map {name}")


def update_map(descriptor: int, key: bytes, value: bytes) -> None:
    """Set one entry. Raises Unsupported."""
    kept = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    attribute = struct.pack("=I4xQQQ", descriptor, *(ctypes.addressof(buffer) for buffer in kept), 0)
    _called(_MAP_UPDATE, attribute, "writing to a map")


def read_map(descriptor: int, key: bytes, value_octets: int) -> bytes:
    """One entry. Raises Unsupported, also when it is not there."""
    place = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_octets)
    attribute = struct.pack("=I4xQQQ", descriptor, ctypes.addressof(place), ctypes.addressof(value), 0)
    _called(_MAP_LOOKUP, attribute, "reading from a map")
    return value.raw


def load_raw_tracepoint_program(instructions: bytes, license_text: str, name: str) -> int:
    """A program for a raw tracepoint, checked by the kernel. Raises Unsupported with the checker's last words."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    granted = ctypes.create_string_buffer(license_text.encode())

    def attribute(log: int, octets: int) -> bytes:
        words = (_RAW_TRACEPOINT, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(granted))
        return struct.pack("=IIQQIIQII16s", *words, int(octets > 0), octets, log, 0, 0, _name(name))

    what = f"loading the program {name}"
    try:
        return _called(_PROGRAM_LOAD, attribute(0, 0), what)
    except Unsupported as refused:
        if not isinstance(refused.__cause__, OSError) or refused.__cause__.errno == errno.EPERM:
            raise
        log = ctypes.create_string_buffer(_LOG_OCTETS)
        try:
            return _called(_PROGRAM_LOAD, attribute(ctypes.addressof(log), _LOG_OCTETS), what)
        except Unsupported as again:
            said = [line for line in log.value.decode(errors="replace").splitlines() if line]
            words = [line for line in said if not line.startswith("processed ")][-1:]
            raise Unsupported(f"{again}" + "".join(f" ({line})" for line in words)) from again.__cause__


def open_raw_tracepoint(program: int, tracepoint: str) -> int:
    """From now on, and for as long as the descriptor is open, the program runs there. Raises Unsupported."""
    name = ctypes.create_string_buffer(tracepoint.encode())
    attribute = struct.pack("=QI4x", ctypes.addressof(name), program)
    return _called(_RAW_TRACEPOINT_OPEN, attribute, f"attaching to the tracepoint {tracepoint}")


def _name(text: str) -> bytes:
    """BPF object names: at most 15 letters, digits, ``_`` and ``.``."""
    return text.encode()[: _NAME_OCTETS - 1]


def _called(command: int, attribute: bytes, what: str) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise Unsupported(f"the number of bpf(2) on {platform.machine()} is not known here")
    buffer = ctypes.create_string_buffer(attribute, max(len(attribute), _ATTRIBUTE_OCTETS))
    result = int(_libc.syscall(number, command, buffer, len(buffer)))
    if result >= 0:
        return result
    code = ctypes.get_errno()
    error = OSError(code, os.strerror(code))
    raise Unsupported(f"{what}: {_explained(code)}") from error


def _explained(code: int) -> str:
    said = f"{os.strerror(code)} ({errno.errorcode.get(code, code)})"
    if code == errno.EPERM:
        if os.geteuid() != 0:
            return f"{said}: needs root"
        return f"{said}: although we are root; a security policy of this machine (lockdown, container) forbids it"
    if code == errno.ENOSYS:
        return f"{said}: this kernel has no BPF (CONFIG_BPF_SYSCALL)"
    return said
