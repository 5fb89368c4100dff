"""No further subflows, no announcements; those that the peer opens are taken."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.path_manager.base import PathManager


class NoPathManager(PathManager):
    """The default."""

    name: ClassVar[str] = "none"
