"""The client opens a subflow from each of its other addresses to the server's first (Linux: ``subflow`` endpoints)."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import Pair, PathManager, PathView, other_locals


class SubflowPathManager(PathManager):
    """Nothing is announced; announcements of the peer are known and not used."""

    name: ClassVar[str] = "subflow"

    def wanted(self, view: PathView) -> list[Pair]:
        """Our other addresses to the peer's first, where there is a route."""
        if not view.is_client or not view.initial_remote_is_open:
            return []
        remote = view.initial.remote
        return [Pair(local, remote) for local in other_locals(view) if view.can_reach(local, remote.host)]
