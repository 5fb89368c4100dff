"""A full mesh of which the subflows beside the first are for the day that the others fail (RFC 8684 §3.3.8)."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import PathView
from testbed.mptcp.path_manager.fullmesh import FullMeshPathManager


class BackupPathManager(FullMeshPathManager):
    """Backup are the subflows of ``parameters.backup_addresses``; without any, all from or to other addresses."""

    name: ClassVar[str] = "backup"

    def is_backup(self, view: PathView, local: bytes) -> bool:
        """As the parameters say; else whatever does not use the first subflow's address."""
        named = view.parameters.backup_addresses
        if named:
            return local in named
        return local != view.initial.local
