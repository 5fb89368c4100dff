"""Every address of the client with every address of the server (Linux: ``fullmesh`` and ``signal`` endpoints)."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import Pair, PathManager, PathView, other_locals


class FullMeshPathManager(PathManager):
    """The server announces, the client opens all pairs that a route joins."""

    name: ClassVar[str] = "fullmesh"

    def wanted(self, view: PathView) -> list[Pair]:
        """All pairs but the first subflow's; those that share no address with it first, for disjoint paths."""
        if not view.is_client:
            return []
        pairs = [
            Pair(local, remote)
            for remote in view.remotes()
            for local in view.local_addresses
            if view.can_reach(local, remote.host) and (local, remote) != view.initial
        ]
        first = view.initial
        return sorted(pairs, key=lambda pair: (pair.local == first.local) + (pair.remote == first.remote))

    def announced(self, view: PathView) -> list[bytes]:
        """A server's addresses but the first."""
        return [] if view.is_client else other_locals(view)
