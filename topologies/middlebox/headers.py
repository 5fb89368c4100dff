"""Middleboxes that write into the TCP header what the ends did not say: segment size, window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies import quantity
from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words

LARGEST_MSS = 65535


@dataclass(frozen=True, slots=True)
class ClampMss(Middlebox):
    """Lowers the maximum segment size that SYN and SYN-ACK announce, as routers before a tunnel do."""

    mss: int
    kind: Literal["clamp-mss"] = field(default="clamp-mss", kw_only=True)

    keyword: ClassVar[str] = "clamp-mss"
    usage: ClassVar[str] = "clamp-mss N"
    summary: ClassVar[str] = "lowers the MSS option of SYN and SYN-ACK to N octets"
    example: ClassVar[str] = "clamp-mss 1200"

    def __post_init__(self) -> None:
        if not 1 <= self.mss <= LARGEST_MSS:
            raise MiddleboxError(f"clamp-mss is from 1 to {LARGEST_MSS}, not {self.mss}")

    @classmethod
    def read(cls, words: Words) -> ClampMss:
        """As Middlebox."""
        return cls(words.number(1, LARGEST_MSS))

    def text(self) -> str:
        """As Middlebox."""
        return f"clamp-mss {self.mss}"


@dataclass(frozen=True, slots=True)
class ShrinkWindow(Middlebox):
    """Announces a smaller receive window than the receiver did."""

    size_bytes: int
    """At most so many, but at least one unit of the window's scale."""
    on: str = ""
    """A match; empty: every segment. With ``after`` the right edge of the window moves back."""
    kind: Literal["shrink-window"] = field(default="shrink-window", kw_only=True)

    keyword: ClassVar[str] = "shrink-window"
    usage: ClassVar[str] = "shrink-window SIZE [on EXPR]"
    summary: ClassVar[str] = "lowers the announced window to SIZE, by the window scale of the handshake"
    example: ClassVar[str] = "shrink-window 8kB on backward and after 1s"
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size_bytes < 1:
            raise MiddleboxError(f"shrink-window is at least 1B, not {self.size_bytes}B")
        if self.on:
            object.__setattr__(self, "on", canonical("on", self.on))

    @classmethod
    def read(cls, words: Words) -> ShrinkWindow:
        """As Middlebox."""
        size_bytes = words.quantity(quantity.parse_size, "a size, such as 8kB")
        return cls(size_bytes, read_match(words) if words.took("on") else "")

    def text(self) -> str:
        """As Middlebox."""
        return f"shrink-window {quantity.format_size(self.size_bytes)}{f' on {self.on}' if self.on else ''}"
