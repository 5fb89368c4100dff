"""Type information (BTF) written type by type, for tests of its reader: either byte order, no compiler."""

from __future__ import annotations

import struct
from collections.abc import Sequence

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, CONST, ENUM64, DECLARATION_TAG = 1, 2, 3, 4, 5, 6, 8, 10, 19, 17

Member = tuple[str, int, int] | tuple[str, int, int, int]
"""Name (empty: anonymous), type, offset in bits, and the bits of a bit-field."""


class BtfBuilder:
    """Each method returns the number of the type that it adds; numbers are as in the file, from 1."""

    def __init__(self, order: str = "<") -> None:
        self._order = order
        self._types: list[bytes] = []
        self._texts = bytearray(b"\0")

    def integer(self, name: str, octets: int) -> int:
        return self._add(name, INT, octets, self._words(octets * 8))

    def pointer(self, to: int) -> int:
        return self._add("", POINTER, to)

    def array(self, of: int, count: int) -> int:
        return self._add("", ARRAY, 0, self._words(of, 1, count))

    def typedef(self, name: str, of: int) -> int:
        return self._add(name, TYPEDEF, of)

    def const(self, of: int) -> int:
        return self._add("", CONST, of)

    def tag(self, name: str, of: int) -> int:
        return self._add(name, DECLARATION_TAG, of, self._words(0))

    def of_kind(self, name: str, kind: int) -> int:
        return self._add(name, kind, 4)

    def structure(self, name: str, octets: int, members: Sequence[Member], kind: int = STRUCT) -> int:
        has_bit_fields = any(len(member) == 4 for member in members)
        rest = b""
        for member in members:
            text, of, bits, *width = member
            rest += self._words(self._text(text), of, bits | (width[0] if width else 0) << 24)
        return self._add(name, kind, octets, rest, len(members), has_bit_fields)

    def union(self, name: str, octets: int, members: Sequence[Member]) -> int:
        return self.structure(name, octets, members, UNION)

    def enumeration(self, name: str, values: Sequence[tuple[str, int]]) -> int:
        rest = b"".join(struct.pack(self._order + "Ii", self._text(text), value) for text, value in values)
        return self._add(name, ENUM, 4, rest, len(values))

    def enumeration64(self, name: str, values: Sequence[tuple[str, int]]) -> int:
        rest = b"".join(self._words(self._text(text), value & 0xFFFF_FFFF, value >> 32) for text, value in values)
        return self._add(name, ENUM64, 8, rest, len(values))

    def built(self) -> bytes:
        types = b"".join(self._types)
        head = struct.pack(self._order + "HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._texts))
        return head + types + bytes(self._texts)

    def _add(
        self, name: str, kind: int, size: int, rest: bytes = b"", elements: int = 0, has_bit_fields: bool = False
    ) -> int:
        self._types.append(
            self._words(self._text(name), int(has_bit_fields) << 31 | kind << 24 | elements, size) + rest
        )
        return len(self._types)

    def _text(self, text: str) -> int:
        if not text:
            return 0
        self._texts += text.encode() + b"\0"
        return len(self._texts) - len(text) - 1

    def _words(self, *values: int) -> bytes:
        return struct.pack(f"{self._order}{len(values)}I", *values)
