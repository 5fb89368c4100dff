"""BPF instructions, written by hand, as the bytes that bpf(2) loads.

Source: Documentation/bpf/standardization/instruction-set.rst in the kernel tree. Eight octets each: code, registers,
offset of a jump or of memory (16 bits), constant (32 bits). Jumps go to labels, which :meth:`Assembler.assembled`
turns into distances. Only what is used is here.
"""

from __future__ import annotations

import struct
import sys

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FRAME = range(11)
"""R0: result; R1 to R5: arguments, gone after a call; R6 to R9: kept; FRAME: end of the 512 octets of stack."""

_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_JUMPS = {"==": 0x15, "!=": 0x55, ">": 0x25, "&": 0x45}
_ALWAYS, _CALL, _EXIT, _WIDE = 0x05, 0x85, 0x95, 0x18
_MOVE, _MOVE_CONSTANT, _ADD, _ADD_CONSTANT, _AND_CONSTANT, _SHIFT_RIGHT = 0xBF, 0xB7, 0x0F, 0x07, 0x57, 0x77
_LOAD, _STORE, _STORE_CONSTANT, _ATOMIC_ADD = 0x61, 0x63, 0x62, 0xDB
_MAP_DESCRIPTOR, _MAP_VALUE = 1, 2


class Assembler:
    """A program being written, one instruction after the other."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        """What follows is called ``name``."""
        self._labels[name] = len(self._instructions)

    def move(self, to: int, source: int) -> None:
        """``to = source``, both registers."""
        self._add(_MOVE, to, source)

    def set(self, to: int, constant: int) -> None:
        """``to = constant`` (32 bits, sign-extended)."""
        self._add(_MOVE_CONSTANT, to, constant=constant)

    def add(self, to: int, source: int) -> None:
        """``to += source``, both registers."""
        self._add(_ADD, to, source)

    def add_constant(self, to: int, constant: int) -> None:
        """``to += constant``."""
        self._add(_ADD_CONSTANT, to, constant=constant)

    def and_constant(self, to: int, constant: int) -> None:
        """``to &= constant``."""
        self._add(_AND_CONSTANT, to, constant=constant)

    def shift_right(self, to: int, bits: int) -> None:
        """``to >>= bits``, zeros come in."""
        self._add(_SHIFT_RIGHT, to, constant=bits)

    def load(self, size: int, to: int, base: int, offset: int) -> None:
        """``to = *(size octets)(base + offset)``, zero-extended."""
        self._add(_LOAD | _SIZES[size], to, base, offset)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        """``*(size octets)(base + offset) = source``."""
        self._add(_STORE | _SIZES[size], base, source, offset)

    def store_constant(self, size: int, base: int, offset: int, constant: int) -> None:
        """``*(size octets)(base + offset) = constant``."""
        self._add(_STORE_CONSTANT | _SIZES[size], base, 0, offset, constant)

    def atomic_add(self, base: int, offset: int, source: int) -> None:
        """``*(u64 *)(base + offset) += source``, whole even when several processors do it."""
        self._add(_ATOMIC_ADD, base, source, offset)

    def call(self, helper: int) -> None:
        """``R0 = helper(R1, ...)``, by the numbers of bpf-helpers(7)."""
        self._add(_CALL, constant=helper)

    def map_descriptor(self, to: int, descriptor: int) -> None:
        """``to`` = the map behind a file descriptor, for helpers."""
        self._wide(to, _MAP_DESCRIPTOR, descriptor)

    def map_value(self, to: int, descriptor: int) -> None:
        """``to`` = where the first value of an array map is (Linux 5.2 on)."""
        self._wide(to, _MAP_VALUE, descriptor)

    def jump(self, label: str) -> None:
        """Go on at ``label``, which comes later."""
        self._jumps.append((len(self._instructions), label))
        self._add(_ALWAYS)

    def jump_if(self, register: int, comparison: str, constant: int, label: str) -> None:
        """... when ``register`` is ``==``, ``!=`` or (unsigned) ``>`` the constant or has one of its bits (``&``)."""
        self._jumps.append((len(self._instructions), label))
        self._add(_JUMPS[comparison], register, constant=constant)

    def exit(self, result: int = 0) -> None:
        """End the program."""
        self.set(R0, result)
        self._add(_EXIT)

    def assembled(self) -> bytes:
        """All of it. Raises KeyError for a label that is nowhere."""
        instructions = list(self._instructions)
        for at, label in self._jumps:
            code, to, source, _, constant = instructions[at]
            instructions[at] = code, to, source, self._labels[label] - at - 1, constant
        little = sys.byteorder == "little"
        return b"".join(
            struct.pack("=BBhi", code, to | source << 4 if little else to << 4 | source, offset, constant)
            for code, to, source, offset, constant in instructions
        )

    def _add(self, code: int, to: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> None:
        self._instructions.append((code, to, source, offset, constant))

    def _wide(self, to: int, kind: int, constant: int) -> None:
        self._add(_WIDE, to, kind, 0, constant)
        self._add(0)
