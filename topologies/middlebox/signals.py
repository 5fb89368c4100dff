"""Filters of the signals between MPTCP hosts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies.match import SUBTYPES
from topologies.middlebox.base import Middlebox, MiddleboxError
from topologies.words import Words

SIGNALS = (
    "add_addr",
    "add_addr.echo",
    "remove_addr",
    "mp_prio",
    "mp_fail",
    "mp_fastclose",
    "mp_tcprst",
)
"""Options of MPTCP that tell something beside the data; ``add_addr`` is both the announcement and its echo."""


def subtype_of(signal: str) -> int:
    """Of option 30."""
    return SUBTYPES[f"mptcp.{signal.removesuffix('.echo')}"]


@dataclass(frozen=True, slots=True)
class FilterSignals(Middlebox):
    """Lets no option of these pass, and no acknowledgment that was sent for its sake alone."""

    signals: tuple[str, ...]
    prefix: str = ""
    """Only ADD_ADDR of an address within it; empty: of any."""
    kind: Literal["filter"] = field(default="filter", kw_only=True)

    keyword: ClassVar[str] = "filter"
    usage: ClassVar[str] = "filter SIGNAL[+SIGNAL] [of PREFIX]"
    summary: ClassVar[str] = (
        "takes signals of MPTCP out (ADD_ADDR: perhaps of a prefix); drops pure ACKs that are only these"
    )
    example: ClassVar[str] = "filter add_addr"

    def __post_init__(self) -> None:
        for signal in self.signals:
            if signal not in SIGNALS:
                raise MiddleboxError(f"a signal is one of {', '.join(SIGNALS)}, not {signal!r}")
        if not self.signals or len(set(self.signals)) < len(self.signals):
            raise MiddleboxError("filter has at least one signal, and each once")
        if self.prefix:
            if any(subtype_of(signal) != SUBTYPES["mptcp.add_addr"] for signal in self.signals):
                raise MiddleboxError("a prefix is about add_addr only: filter the other signals by a second filter")
            try:
                object.__setattr__(self, "prefix", str(ipaddress.ip_network(self.prefix)))
            except ValueError as error:
                raise MiddleboxError(f"of: {error}") from None

    @classmethod
    def read(cls, words: Words) -> FilterSignals:
        """As Middlebox."""
        signals = tuple(part.removeprefix("mptcp.") for part in words.word.split("+"))
        if not set(signals) <= set(SIGNALS):
            raise words.error(SIGNALS)
        words.take()
        prefix = ""
        if words.took("of"):
            prefix = words.quantity(lambda text: str(ipaddress.ip_network(text)), "a prefix, such as 10.0.0.0/8")
        return cls(signals, prefix)

    def text(self) -> str:
        """As Middlebox."""
        return f"filter {'+'.join(self.signals)}{f' of {self.prefix}' if self.prefix else ''}"
