"""Where a node sends a packet: tables of prefixes, and rules that pick a table by the packet's source.

Linux's policy routing (ip-rule(8)) as far as the testbed uses it: the rules in their order, each with a table; then the
main table; within a table the longest prefix wins, among equals the first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAIN: Final = 254
"""The number of the main table, as in rt_tables."""


class Prefix(NamedTuple):
    """A route: destinations whose first ``bits`` are those of ``network`` leave over ``link``."""

    network: bytes
    bits: int
    link: str

    def holds(self, address: bytes) -> bool:
        """Whether ``address`` is in it."""
        if len(address) != len(self.network):
            return False
        shift = 8 * len(address) - self.bits
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.network, "big") >> shift


class ForwardingTable:
    """The tables of one node."""

    __slots__ = ("_rules", "_tables")

    def __init__(self) -> None:
        self._rules: list[tuple[int, bytes, int]] = []
        self._tables: dict[int, list[Prefix]] = {}

    def add_rule(self, priority: int, source: bytes, table: int) -> None:
        """Packets from ``source`` look into ``table`` first."""
        self._rules.append((priority, source, table))
        self._rules.sort(key=lambda rule: rule[0])

    def add_route(self, prefix: Prefix, table: int = MAIN) -> None:
        """One more route."""
        self._tables.setdefault(table, []).append(prefix)

    def link_for(self, source: bytes, destination: bytes) -> str | None:
        """The link over which the packet leaves; None: there is no route."""
        for _, wanted, table in self._rules:
            if wanted == source and (link := self._look_up(table, destination)) is not None:
                return link
        return self._look_up(MAIN, destination)

    def _look_up(self, table: int, destination: bytes) -> str | None:
        best: Prefix | None = None
        for prefix in self._tables.get(table, ()):
            if prefix.holds(destination) and (best is None or prefix.bits > best.bits):
                best = prefix
        return best.link if best is not None else None
