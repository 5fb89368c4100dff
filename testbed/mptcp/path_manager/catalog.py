"""The path managers by name; another one is a file beside this and a line here."""

from __future__ import annotations

from testbed.mptcp.path_manager.backup import BackupPathManager
from testbed.mptcp.path_manager.base import PathManager
from testbed.mptcp.path_manager.fullmesh import FullMeshPathManager
from testbed.mptcp.path_manager.ndiffports import DifferentPortsPathManager
from testbed.mptcp.path_manager.none import NoPathManager
from testbed.mptcp.path_manager.signal import SignalPathManager
from testbed.mptcp.path_manager.subflow import SubflowPathManager

PATH_MANAGERS: dict[str, type[PathManager]] = {
    manager.name: manager
    for manager in (
        NoPathManager,
        SignalPathManager,
        SubflowPathManager,
        FullMeshPathManager,
        DifferentPortsPathManager,
        BackupPathManager,
    )
}


def make(name: str) -> PathManager:
    """A path manager for one connection; ValueError with the names for an unknown one."""
    if name not in PATH_MANAGERS:
        raise ValueError(f"no path manager {name!r}; there are {', '.join(PATH_MANAGERS)}")
    return PATH_MANAGERS[name]()
