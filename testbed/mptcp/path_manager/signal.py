"""The server announces its other addresses; the client opens one subflow to each (Linux: ``signal`` endpoints)."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import Pair, PathManager, PathView, one_local_each, other_locals


class SignalPathManager(PathManager):
    """Who opened the connection opens subflows; who accepted it announces."""

    name: ClassVar[str] = "signal"

    def wanted(self, view: PathView) -> list[Pair]:
        """From one of our addresses to each that the peer has announced."""
        if not view.is_client:
            return []
        return one_local_each(view, [remote for remote in view.announced_remotes if remote != view.initial.remote])

    def announced(self, view: PathView) -> list[bytes]:
        """A server's addresses but the first."""
        return [] if view.is_client else other_locals(view)
