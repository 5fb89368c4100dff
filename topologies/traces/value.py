"""A trace as a value of a link profile: where it is from, its digest, its content, and what happens at its end.

The content travels with the value, so a stored run explains and repeats itself where the file is not, or is another by
now. It is kept packed; two traces with the same digest are the same, however they were packed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from topologies import quantity
from topologies.traces import delivery, steps
from topologies.traces.delivery import OPPORTUNITY_BYTES, PACKET_HEADER_BYTES, Opportunities
from topologies.traces.problem import TraceError
from topologies.traces.steps import Steps

AtEnd = Literal["loop", "hold"]

DIGEST_CHARACTERS = 12
"""Of the digest, in texts."""
_ETHERNET_HEADER_BYTES = 14
_FULL_FRAME_BITS = 8 * (OPPORTUNITY_BYTES - PACKET_HEADER_BYTES + _ETHERNET_HEADER_BYTES)


class Means(NamedTuple):
    """Averages over one round, weighted by time, to kbit/s and us; None: the trace says nothing about it."""

    rate_bit_s: int | None
    """Of whole Ethernet frames in full size."""
    delay_ns: int | None
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a link did over time, to be done again; :func:`from_bytes` makes it. Raises TraceError."""

    name: str
    """That of a shipped trace, or the file as it was given."""
    sha256: str
    """Of the file's bytes."""
    at_end: AtEnd = "loop"
    """``loop``: it begins anew. ``hold``: what the last row says goes on."""
    content: str = field(repr=False, compare=False)
    """The file's bytes: zlib, then base 64."""

    def __post_init__(self) -> None:
        if self.at_end not in get_args(AtEnd):
            raise TraceError(f"trace {self.name}: its end is one of {', '.join(get_args(AtEnd))}, not {self.at_end!r}")
        found = hashlib.sha256(_unpacked(self.name, self.content)).hexdigest()
        if found != self.sha256:
            raise TraceError(f"trace {self.name}: its SHA-256 is {found}, not {self.sha256}: it is another one")
        shape = self.shape()
        if self.at_end == "hold":
            if isinstance(shape, Opportunities):
                raise TraceError(f"trace {self.name}: deliveries are no state that could be held; leave out 'hold'")
            if shape.rate_bit_s is not None and shape.rate_bit_s[-1][1] == 0:
                raise TraceError(f"trace {self.name}: held at its last rate, 0, the link would stay dead for ever")
        if self.means().rate_bit_s == 0:
            raise TraceError(f"trace {self.name}: its rate is 0 all the time")

    def shape(self) -> Opportunities | Steps:
        """What it says, read."""
        return _read(self.name, self.content)

    def means(self) -> Means:
        """What it comes to on average."""
        return _means(self.name, self.content)

    def text(self) -> str:
        """What :func:`topologies.traces.catalog.parse` reads back, as long as the file is the same."""
        end = " hold" if self.at_end == "hold" else ""
        return f"{self.name}{end} sha256:{self.sha256[:DIGEST_CHARACTERS]}"

    def describe(self) -> str:
        """The same with what it comes to, for people."""
        rate = self.means().rate_bit_s
        mean = f"{quantity.format_rate(rate)} on average, " if rate is not None else ""
        end = "holds" if self.at_end == "hold" else "begins anew"
        return f"{self.text()} ({mean}{end} after {quantity.format_time(self.shape().period_ns)})"


def from_bytes(name: str, data: bytes, at_end: AtEnd = "loop") -> Trace:
    """The trace in a file with that content."""
    content = base64.b64encode(zlib.compress(data, 9)).decode("ascii")
    return Trace(name=name, sha256=hashlib.sha256(data).hexdigest(), at_end=at_end, content=content)


def from_dict(data: Mapping[str, Any]) -> Trace:
    """The inverse of ``dataclasses.asdict``."""
    return Trace(**data)


@lru_cache(maxsize=64)
def _unpacked(name: str, content: str) -> bytes:
    try:
        return zlib.decompress(base64.b64decode(content, validate=True))
    except (binascii.Error, zlib.error, ValueError) as error:
        raise TraceError(f"trace {name}: its stored content is damaged: {error}") from None


@lru_cache(maxsize=64)
def _read(name: str, content: str) -> Opportunities | Steps:
    try:
        text = _unpacked(name, content).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TraceError(f"{name}: not a text: byte {error.start} is not UTF-8") from None
    return delivery.parse(text, name) if delivery.looks_like(text) else steps.parse(text, name)


@lru_cache(maxsize=64)
def _means(name: str, content: str) -> Means:
    shape = _read(name, content)
    if isinstance(shape, Opportunities):
        return Means(_rounded(len(shape.times_ns) * _FULL_FRAME_BITS * 10**9 / shape.period_ns), None, None)

    def mean(series: tuple[tuple[int, Any], ...] | None) -> float | None:
        if series is None:
            return None
        ends = [*(at_ns for at_ns, _ in series[1:]), shape.period_ns]
        total = sum(value * (end_ns - at_ns) for (at_ns, value), end_ns in zip(series, ends, strict=True))
        return float(total / shape.period_ns)

    rate, delay = mean(shape.rate_bit_s), mean(shape.delay_ns)
    return Means(None if rate is None else _rounded(rate), None if delay is None else _rounded(delay), mean(shape.loss))


def _rounded(value: float) -> int:
    return int(round(value, -3)) or round(value)
