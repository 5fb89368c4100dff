"""The other end's data at a scripted peer: from octets of subflows, by their mappings, to one stream."""

from __future__ import annotations

from testbed.endpoint.script.subflow import Runs

LONGEST_STREAM = 1 << 28
"""A mapping that claims octets beyond this is noted, and its data not kept."""


class Incoming:
    """Octets by their place in the stream; offsets from 0."""

    def __init__(self) -> None:
        self._stream = bytearray()
        self._there = Runs()
        self._payload: dict[int, tuple[bytearray, Runs]] = {}
        self._maps: dict[int, list[tuple[int, int, int]]] = {}
        self.read = 0
        """Offset up to which :meth:`take` has given."""
        self.fin_at: int | None = None
        """Offset of the DATA_FIN."""

    @property
    def in_order(self) -> int:
        """Octets without a gap from the beginning."""
        return self._there.end_from(0)

    @property
    def acknowledged(self) -> int:
        """What a DATA_ACK covers: those, and the DATA_FIN once everything before it is there."""
        return self.in_order + (self.fin_at is not None and self.fin_at <= self.in_order)

    def arrive(self, subflow: int, start: int, payload: bytes) -> None:
        """Payload of a subflow from offset ``start`` there on."""
        octets, there = self._payload.setdefault(subflow, (bytearray(), Runs()))
        if start < 0 or start + len(payload) > LONGEST_STREAM:
            return
        _put(octets, start, payload)
        there.add(start, start + len(payload))
        for mapping in self._maps.get(subflow, ()):
            self._apply(subflow, mapping)

    def map(self, subflow: int, start: int, offset: int, count: int) -> None:
        """``count`` octets of the subflow from ``start`` on are those of the stream from ``offset`` on."""
        mapping = (start, offset, count)
        known = self._maps.setdefault(subflow, [])
        if mapping not in known and offset >= 0 and offset + count <= LONGEST_STREAM:
            known.append(mapping)
            self._apply(subflow, mapping)

    def take(self) -> bytes:
        """What has come in order since the last time."""
        part = bytes(self._stream[self.read : self.in_order])
        self.read += len(part)
        return part

    def _apply(self, subflow: int, mapping: tuple[int, int, int]) -> None:
        start, offset, count = mapping
        octets, there = self._payload.get(subflow, (bytearray(), Runs()))
        for low, high in there.runs:
            first, last = max(low, start), min(high, start + count)
            if first < last:
                place = offset + first - start
                _put(self._stream, place, bytes(octets[first:last]))
                self._there.add(place, place + last - first)


def _put(into: bytearray, at: int, octets: bytes) -> None:
    if len(into) < at:
        into.extend(bytes(at - len(into)))
    into[at : at + len(octets)] = octets
