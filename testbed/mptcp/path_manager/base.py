"""What a path manager is: which subflows there should be, and which of our addresses the peer should know.

A path manager only states a wish; :mod:`testbed.mptcp.signalling` compares it with what is there after every change
(an address came or went, an ADD_ADDR arrived, a subflow died) and opens, announces, waits and limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from mypy_extensions import mypyc_attr

from testbed.mptcp.parameters import Parameters
from testbed.wire.segment import SocketAddress


class Pair(NamedTuple):
    """A subflow to be: local address, remote address and port."""

    local: bytes
    remote: SocketAddress


class PathView:
    """The addresses of one connection as a path manager sees them."""

    __slots__ = (
        "announced_remotes",
        "can_reach",
        "initial",
        "initial_remote_is_open",
        "is_client",
        "local_addresses",
        "parameters",
    )

    def __init__(
        self,
        *,
        is_client: bool,
        initial: Pair,
        initial_remote_is_open: bool,
        local_addresses: list[bytes],
        announced_remotes: list[SocketAddress],
        can_reach: Callable[[bytes, bytes], bool],
        parameters: Parameters,
    ) -> None:
        self.is_client = is_client
        """We opened the connection."""
        self.initial = initial
        """Addresses of the first subflow."""
        self.initial_remote_is_open = initial_remote_is_open
        """Whether the peer's first address takes further subflows: not after its C flag (B18) or a REMOVE_ADDR of 0."""
        self.local_addresses = local_addresses
        """Ours that are up, in order of preference."""
        self.announced_remotes = announced_remotes
        """The peer's ADD_ADDRs in force, in order of arrival."""
        self.can_reach = can_reach
        self.parameters = parameters

    def remotes(self) -> list[SocketAddress]:
        """Every address of the peer that may be tried, the first one first, each once."""
        remotes = [self.initial.remote] if self.initial_remote_is_open else []
        remotes += [remote for remote in self.announced_remotes if remote not in remotes]
        return remotes


@mypyc_attr(allow_interpreted_subclasses=True)
class PathManager:
    """One instance per connection; without memory unless a subclass has some."""

    name: ClassVar[str] = ""

    def wanted(self, view: PathView) -> list[Pair]:
        """Subflows beside the first that there should be now, the most wanted first; a pair given twice means two."""
        return []

    def announced(self, view: PathView) -> list[bytes]:
        """Local addresses that the peer should be told of."""
        return []

    def is_backup(self, view: PathView, local: bytes) -> bool:
        """Whether a subflow from this address carries the backup flag."""
        return local in view.parameters.backup_addresses


def other_locals(view: PathView) -> list[bytes]:
    """Our addresses of the first subflow's family, without its own. Another family would be legal, but Linux takes no
    IPv6 subflow to an IPv4 socket (``mptcp_pm_addr_families_match``), and an experiment means one family."""
    first = view.initial.local
    return [address for address in view.local_addresses if address != first and len(address) == len(first)]


def one_local_each(view: PathView, remotes: list[SocketAddress]) -> list[Pair]:
    """For each remote address one of ours that reaches it: those that fewer of these pairs use first, then the order
    of preference; the first subflow's address counts as used once."""
    uses = {view.initial.local: 1}
    pairs: list[Pair] = []
    for remote in remotes:
        reaching = [address for address in view.local_addresses if view.can_reach(address, remote.host)]
        if not reaching:
            continue
        local = min(reaching, key=lambda address: uses.get(address, 0))
        uses[local] = uses.get(local, 0) + 1
        pairs.append(Pair(local, remote))
    return pairs
