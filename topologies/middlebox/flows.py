"""Middleboxes that know the flows: rewriting of initial sequence numbers, NAT, firewall."""

from __future__ import annotations

import ipaddress
import itertools
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies import quantity
from topologies.middlebox.base import Middlebox, MiddleboxError
from topologies.words import Words

WAYS = ("both", "forward", "backward")

ESTABLISHED_NS = 7440 * 10**9
"""How long a silent connection is remembered if nothing is said: 2 hours 4 minutes (RFC 5382 REQ-5)."""

FIRST_PORT, LAST_PORT = 1024, 65535
"""The pool if nothing is said: no port below 1024 for a mapping of one above (RFC 4787 section 4.2.1)."""


def read_times(words: Words) -> tuple[int, ...]:
    """``after 2s``, ``after 2s+5s``. Raises MiddleboxError."""
    words.expect("after")
    return words.quantity(
        lambda text: tuple(quantity.parse_time(part) for part in text.split("+")), "a time, such as 2s, or some: 2s+5s"
    )


def times_text(times_ns: tuple[int, ...]) -> str:
    """What :func:`read_times` reads back."""
    return f"after {'+'.join(quantity.format_time(time_ns) for time_ns in times_ns)}"


def check_times(name: str, times_ns: tuple[int, ...]) -> None:
    """Ascending. Raises MiddleboxError."""
    if any(first >= second for first, second in itertools.pairwise(times_ns)):
        raise MiddleboxError(f"{name}: each time is later than the one before it")
    if times_ns and times_ns[0] < 0:
        raise MiddleboxError(f"{name}: no time is before the start of the traffic")


@dataclass(frozen=True, slots=True)
class RewriteIsn(Middlebox):
    """Gives the SYN another initial sequence number, and translates all that follows from it."""

    of: Literal["both", "forward", "backward"] = "both"
    """Whose numbers: of the segments of that direction, and of what acknowledges them."""
    sack: bool = True
    """Whether SACK blocks are translated, too; boxes that forget them turn each loss into a timeout, or worse."""
    kind: Literal["rewrite-isn"] = field(default="rewrite-isn", kw_only=True)

    keyword: ClassVar[str] = "rewrite-isn"
    usage: ClassVar[str] = "rewrite-isn [forward|backward] [except sack]"
    summary: ClassVar[str] = "gives both senders (or one) other sequence numbers from the SYN on; SACK blocks, too"
    example: ClassVar[str] = "rewrite-isn"
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.of not in WAYS:
            raise MiddleboxError(f"of is one of {', '.join(WAYS)}, not {self.of!r}")

    @classmethod
    def read(cls, words: Words) -> RewriteIsn:
        """As Middlebox."""
        way, sack = words.took("forward", "backward"), True
        if words.took("except"):
            words.expect("sack")
            sack = False
        return cls(_way(way or "both"), sack)

    def text(self) -> str:
        """As Middlebox."""
        way = "" if self.of == "both" else f" {self.of}"
        return f"rewrite-isn{way}{'' if self.sack else ' except sack'}"


@dataclass(frozen=True, slots=True)
class Nat(Middlebox):
    """Network address and port translation (RFC 3022, RFC 5382) of what is at the link's a."""

    address: str = ""
    """The outer address; empty: each sender keeps its own, and only ports are translated. An address has to be one that
    b's side routes over this link, such as a's own on it."""
    rebind_ns: tuple[int, ...] = ()
    """When it forgets all mappings, as a reboot makes it."""
    first_port: int = FIRST_PORT
    last_port: int = LAST_PORT
    timeout_ns: int = ESTABLISHED_NS
    """A connection silent for so long is forgotten; one that opens or closes, after 4 minutes if that is sooner."""
    kind: Literal["nat"] = field(default="nat", kw_only=True)

    keyword: ClassVar[str] = "nat"
    usage: ClassVar[str] = "nat [as ADDRESS] [rebind after TIME[+TIME]] [ports N to N] [timeout TIME]"
    summary: ClassVar[str] = "translates ports (and addresses) of connections from a; may forget them, and rebind"
    example: ClassVar[str] = "nat rebind after 2s"
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.address:
            try:
                object.__setattr__(self, "address", str(ipaddress.ip_address(self.address)))
            except ValueError:
                raise MiddleboxError(f"as: {self.address!r} is not an IP address") from None
        check_times("rebind", self.rebind_ns)
        if not 1 <= self.first_port <= self.last_port <= LAST_PORT:
            raise MiddleboxError(f"ports go from 1 to {LAST_PORT}, not {self.first_port} to {self.last_port}")
        if self.timeout_ns < 1:
            raise MiddleboxError(f"timeout is at least 1ns, not {self.timeout_ns}ns")

    @classmethod
    def read(cls, words: Words) -> Nat:
        """As Middlebox."""
        address, timeout_ns = "", ESTABLISHED_NS
        rebind_ns: tuple[int, ...] = ()
        first, last = FIRST_PORT, LAST_PORT
        left = ["as", "rebind", "ports", "timeout"]
        while word := words.took(*left):
            left.remove(word)
            if word == "as":
                address = words.quantity(lambda text: str(ipaddress.ip_address(text)), "an address")
            elif word == "rebind":
                rebind_ns = read_times(words)
            elif word == "timeout":
                timeout_ns = words.quantity(quantity.parse_time, "a time, such as 30s")
            else:
                first = words.number(1, LAST_PORT)
                words.expect("to")
                last = words.number(first, LAST_PORT)
        return cls(address, rebind_ns, first, last, timeout_ns)

    def text(self) -> str:
        """As Middlebox."""
        parts = ["nat"]
        if self.address:
            parts.append(f"as {self.address}")
        if self.rebind_ns:
            parts.append(f"rebind {times_text(self.rebind_ns)}")
        if (self.first_port, self.last_port) != (FIRST_PORT, LAST_PORT):
            parts.append(f"ports {self.first_port} to {self.last_port}")
        if self.timeout_ns != ESTABLISHED_NS:
            parts.append(f"timeout {quantity.format_time(self.timeout_ns)}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Firewall(Middlebox):
    """Stateful packet filter: only packets of connections whose SYN it has let pass."""

    drop_join: bool = False
    """Whether a SYN with MP_JOIN is refused, in whatever direction."""
    reject: bool = False
    """Whether what is refused is answered with RST; else it is dropped silently."""
    opens: Literal["both", "forward", "backward"] = "forward"
    """In which direction connections may be opened."""
    forget_ns: tuple[int, ...] = ()
    """When it forgets all connections, as a reboot makes it."""
    timeout_ns: int = ESTABLISHED_NS
    """As of Nat."""
    kind: Literal["firewall"] = field(default="firewall", kw_only=True)

    keyword: ClassVar[str] = "firewall"
    usage: ClassVar[str] = (
        "firewall [drop-join] [reject] [opens backward|both] [forget after TIME[+TIME]] [timeout TIME]"
    )
    summary: ClassVar[str] = "drops what is of no connection that began with a SYN from a (b, both), or SYNs of MP_JOIN"
    example: ClassVar[str] = "firewall drop-join"
    two_way: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.opens not in WAYS:
            raise MiddleboxError(f"opens is one of {', '.join(WAYS)}, not {self.opens!r}")
        check_times("forget", self.forget_ns)
        if self.timeout_ns < 1:
            raise MiddleboxError(f"timeout is at least 1ns, not {self.timeout_ns}ns")

    @classmethod
    def read(cls, words: Words) -> Firewall:
        """As Middlebox."""
        drop_join, reject, opens, timeout_ns = False, False, "forward", ESTABLISHED_NS
        forget_ns: tuple[int, ...] = ()
        left = ["drop-join", "reject", "opens", "forget", "timeout"]
        while word := words.took(*left):
            left.remove(word)
            if word == "drop-join":
                drop_join = True
            elif word == "reject":
                reject = True
            elif word == "opens":
                opens = words.expect(*WAYS)
            elif word == "forget":
                forget_ns = read_times(words)
            else:
                timeout_ns = words.quantity(quantity.parse_time, "a time, such as 30s")
        return cls(drop_join, reject, _way(opens), forget_ns, timeout_ns)

    def text(self) -> str:
        """As Middlebox."""
        parts = ["firewall"]
        if self.drop_join:
            parts.append("drop-join")
        if self.reject:
            parts.append("reject")
        if self.opens != "forward":
            parts.append(f"opens {self.opens}")
        if self.forget_ns:
            parts.append(f"forget {times_text(self.forget_ns)}")
        if self.timeout_ns != ESTABLISHED_NS:
            parts.append(f"timeout {quantity.format_time(self.timeout_ns)}")
        return " ".join(parts)


def _way(word: str) -> Literal["both", "forward", "backward"]:
    return "forward" if word == "forward" else "backward" if word == "backward" else "both"
