"""Several subflows between the same two addresses, on different ports: for paths that ECMP spreads by port."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import Pair, PathManager, PathView, one_local_each


class DifferentPortsPathManager(PathManager):
    """The client opens; to ports that the peer announces (as Linux must) only if its first one is closed to joins."""

    name: ClassVar[str] = "ndiffports"

    def wanted(self, view: PathView) -> list[Pair]:
        """``parameters.ports`` subflows in all."""
        if not view.is_client:
            return []
        further = view.parameters.ports - 1
        if view.initial_remote_is_open:
            return [view.initial] * further
        announced = [remote for remote in view.announced_remotes if remote.host == view.initial.remote.host]
        return one_local_each(view, announced[:further])
