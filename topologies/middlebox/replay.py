"""Old packets that come again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies import quantity
from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words


@dataclass(frozen=True, slots=True)
class Replay(Middlebox):
    """Sends an exact copy of each packet that matches again after a time."""

    match: str
    after_ns: int
    kind: Literal["replay"] = field(default="replay", kw_only=True)

    keyword: ClassVar[str] = "replay"
    usage: ClassVar[str] = "replay EXPR after TIME"
    summary: ClassVar[str] = "sends an exact copy of what matches again, that much later"
    example: ClassVar[str] = "replay mptcp.mp_join and syn after 1s"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("replay", self.match))
        if self.after_ns < 1:
            raise MiddleboxError(f"replay is at least 1ns later, not {self.after_ns}ns")

    @classmethod
    def read(cls, words: Words) -> Replay:
        """As Middlebox."""
        match = read_match(words)
        words.expect("after")
        return cls(match, words.quantity(quantity.parse_time, "a time, such as 1s"))

    def text(self) -> str:
        """As Middlebox."""
        return f"replay {self.match} after {quantity.format_time(self.after_ns)}"
