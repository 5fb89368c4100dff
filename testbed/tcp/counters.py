"""Counters under the kernel's names: what ``nstat -az`` calls ``MPTcpExt*`` and ``TcpExt*`` (net/mptcp/mib.c).

What the kernel has no counter for is called ``Testbed*``, so that nobody looks for it there.
"""

from __future__ import annotations


class Counters:
    """Name -> count; a name that was never counted is 0."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count; ``name`` as nstat prints it, such as ``MPTcpExtMPCapableSYNRX``."""
        self.values[name] = self.values.get(name, 0) + count

    def __getitem__(self, name: str) -> int:
        return self.values.get(name, 0)

    def as_dict(self) -> dict[str, int]:
        """A copy, sorted by name."""
        return dict(sorted(self.values.items()))
