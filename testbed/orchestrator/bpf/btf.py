"""Where the members of the running kernel's structures are, from its own type information (BTF).

Source: Documentation/bpf/btf.rst in the kernel tree; the kernel offers its own as /sys/kernel/btf/vmlinux (Linux 5.4
on, CONFIG_DEBUG_INFO_BTF). Offsets differ between kernels and configurations: nothing here knows any of them.

A path such as ``rx_opt.num_sacks`` leads through members that are structures themselves; members of anonymous
structures and unions are found as if they stood in the one around them, as in C. It does not follow pointers: that is
what reading memory is for.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KERNEL = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_INT, _POINTER, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG, _ENUM64 = 8, 9, 10, 11, 18, 19
_MODIFIERS = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
_AFTER = {1: 4, 3: 12, 14: 4, 17: 4}
"""Kind -> octets that follow the 12 common ones: int, array, var, declaration tag."""
_AFTER_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""... and per element: struct, union, enum, function prototype, data section, enum64."""
_LAST_KIND = 19


class BtfError(Exception):
    """The type information is missing, damaged, or lacks what is asked for; its text is one sentence."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a member is: ``offset`` octets from the beginning of the structure, ``size`` octets long.

    A bit-field has ``bits`` of them from bit ``shift`` of the (little- or big-endian) integer of ``size`` octets there.
    """

    offset: int
    size: int
    shift: int = 0
    bits: int = 0


class Btf:
    """Type information, read once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = _byte_order(data)
        try:
            self._starts, self._names = self._walked()
        except (struct.error, IndexError) as error:
            raise BtfError(f"the type information is damaged: {error}") from error

    @classmethod
    def of_kernel(cls, path: Path = KERNEL) -> Btf:
        """The running kernel's. Raises BtfError."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            why = f"{path}: {error.strerror}"
            raise BtfError(f"this kernel does not describe its types ({why}; needs CONFIG_DEBUG_INFO_BTF=y)") from error

    def has(self, structure: str) -> bool:
        """Whether there is such a structure."""
        return structure in self._names

    def field(self, structure: str, path: str) -> Field:
        """Where the member at ``path`` is in ``struct structure``. Raises BtfError, which names what is missing."""
        type_id, bits, width = self._structure(structure), 0, 0
        for name in path.split("."):
            found = self._member(self._stripped(type_id), name)
            if found is None:
                raise BtfError(f"this kernel's struct {structure} has no member {path!r}")
            type_id, more, width = found
            bits += more
        size = self.size(type_id)
        if not width:
            return Field(bits // 8, size)
        # the aligned integer of the declared type that the bit-field lies in, as compilers lay it out
        start = bits // (8 * size) * size
        shift = bits - 8 * start
        return Field(start, size, shift if self._order == "<" else 8 * size - shift - width, width)

    def structure_size(self, structure: str) -> int:
        """Octets of ``struct structure``. Raises BtfError."""
        return self.size(self._structure(structure))

    def constants(self, enumeration: str) -> Mapping[str, int]:
        """Name -> value of ``enum enumeration``. Raises BtfError."""
        type_id = self._names.get(f"enum {enumeration}")
        if type_id is None:
            raise BtfError(f"this kernel has no enum {enumeration}")
        kind, count, at = self._head(type_id)
        step, form = (12, "III") if kind == _ENUM64 else (8, "Ii")
        values = {}
        for start in range(at + 12, at + 12 + count * step, step):
            name, low, *high = struct.unpack_from(self._order + form, self._data, start)
            values[self._text(name)] = low | high[0] << 32 if high else low
        return values

    def size(self, type_id: int) -> int:
        """Octets of a type."""
        type_id = self._stripped(type_id)
        kind, _, at = self._head(type_id)
        if kind == _POINTER:
            return struct.calcsize("P")
        if kind == _ARRAY:
            element, _, count = struct.unpack_from(self._order + "III", self._data, at + 12)
            return self.size(element) * int(count)
        return int(struct.unpack_from(self._order + "I", self._data, at + 8)[0])

    # --- reading ---

    def _walked(self) -> tuple[list[int], dict[str, int]]:
        """Where each type begins, and the first of each name among structures (``name``) and ``enum name``."""
        order, data = self._order, self._data
        length, type_start, type_length, text_start, text_length = struct.unpack_from(order + "IIIII", data, 4)
        self._texts = length + text_start
        if len(data) < max(self._texts + text_length, length + type_start + type_length):
            raise BtfError("the type information is cut off")
        position, end = length + type_start, length + type_start + type_length
        starts = [0]
        names: dict[str, int] = {}
        head = struct.Struct(order + "II")
        while position < end:
            name, info = head.unpack_from(data, position)
            kind = info >> 24 & 0x1F
            if not 0 < kind <= _LAST_KIND:
                raise BtfError(f"the type information has a kind of type, {kind}, that this reader does not know")
            if name and kind in (_STRUCT, _ENUM, _ENUM64):
                text = self._text(name)
                names.setdefault(text if kind == _STRUCT else f"enum {text}", len(starts))
            starts.append(position)
            position += 12 + _AFTER.get(kind, 0) + _AFTER_EACH.get(kind, 0) * (info & 0xFFFF)
        return starts, names

    def _structure(self, name: str) -> int:
        if name not in self._names:
            raise BtfError(f"this kernel has no struct {name}")
        return self._names[name]

    def _head(self, type_id: int) -> tuple[int, int, int]:
        """(kind, number of elements, where it begins)."""
        at = self._starts[type_id]
        info = struct.unpack_from(self._order + "I", self._data, at + 4)[0]
        return info >> 24 & 0x1F, info & 0xFFFF, at

    def _stripped(self, type_id: int) -> int:
        while True:
            kind, _, at = self._head(type_id)
            if kind not in _MODIFIERS:
                return type_id
            type_id = struct.unpack_from(self._order + "I", self._data, at + 8)[0]

    def _member(self, type_id: int, wanted: str) -> tuple[int, int, int] | None:
        """(type, offset in bits, bits when it is a bit-field), also from inside anonymous members."""
        kind, count, at = self._head(type_id)
        if kind not in (_STRUCT, _UNION):
            return None
        has_bit_fields = self._data[at + 7 if self._order == "<" else at + 4] >> 7
        for start in range(at + 12, at + 12 + 12 * count, 12):
            name, member, offset = struct.unpack_from(self._order + "III", self._data, start)
            width = offset >> 24 if has_bit_fields else 0
            bits = offset & 0xFF_FFFF if has_bit_fields else offset
            if not name:
                inside = self._member(self._stripped(member), wanted)
                if inside is not None:
                    return inside[0], bits + inside[1], inside[2]
            elif self._text(name) == wanted:
                return member, bits, width
        return None

    def _text(self, offset: int) -> str:
        start = self._texts + offset
        return self._data[start : self._data.index(b"\0", start)].decode()


def _byte_order(data: bytes) -> str:
    for order in "<>":
        if len(data) >= 24 and struct.unpack_from(order + "H", data)[0] == _MAGIC:
            return order
    raise BtfError("this is no type information: it does not begin with BTF's magic number")
