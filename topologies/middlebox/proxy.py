"""Middleboxes that answer in the place of the receiver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words

BUFFER_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class ProactiveAck(Middlebox):
    """A performance enhancing proxy (RFC 3135): acknowledges data before the receiver does, and then answers for it.

    It keeps what it has acknowledged and sends it again to the receiver when that is needed. It offers no more than the
    receiver's own window.
    """

    data_ack: bool = False
    """Whether its acknowledgements carry the last DATA_ACK that the receiver has sent; between ends whose SYNs are of
    MPTCP it says nothing before there is one. Without, they carry timestamps and no other option."""
    buffer_octets: int = BUFFER_OCTETS
    """What it keeps of a connection's direction, at most; it does not acknowledge what does not fit."""
    on: str = ""
    """A match; empty: all data are acknowledged."""
    kind: Literal["proactive-ack"] = field(default="proactive-ack", kw_only=True)

    keyword: ClassVar[str] = "proactive-ack"
    usage: ClassVar[str] = "proactive-ack [with data_ack] [buffer N] [on EXPR]"
    summary: ClassVar[str] = "acknowledges data before the receiver does, and sends them again to it if need be (PEP)"
    example: ClassVar[str] = "proactive-ack on subflow 2"
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.buffer_octets < 1:
            raise MiddleboxError(f"buffer is at least 1 octet, not {self.buffer_octets}")
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))

    @classmethod
    def read(cls, words: Words) -> ProactiveAck:
        """As Middlebox."""
        data_ack, buffer_octets, on = False, BUFFER_OCTETS, ""
        if words.took("with"):
            words.expect("data_ack")
            data_ack = True
        if words.took("buffer"):
            buffer_octets = words.number(1)
        if words.took("on"):
            on = read_match(words)
        return cls(data_ack, buffer_octets, on)

    def text(self) -> str:
        """As Middlebox."""
        data_ack = " with data_ack" if self.data_ack else ""
        buffer = "" if self.buffer_octets == BUFFER_OCTETS else f" buffer {self.buffer_octets}"
        return f"proactive-ack{data_ack}{buffer}{f' on {self.on}' if self.on else ''}"
