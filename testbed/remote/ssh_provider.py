"""A machine that runs already and that is none of ours: the inventory, or ssh_config, says where it is."""

from __future__ import annotations

from testbed.remote import inventory
from testbed.remote.place import Place
from testbed.remote.provider import Say
from testbed.remote.target import Target


class SshProvider:
    """Looks the machine up; starts and stops nothing."""

    ends_with_the_run = False

    def __init__(self, place: Place) -> None:
        self._place = place

    def up(self, say: Say) -> Target:
        """The target. Raises SpecificationError for an inventory that is wrong."""
        return inventory.resolve(self._place.host, user=self._place.user, port=self._place.port)

    def down(self) -> None:
        """It is not ours to stop."""

    def why_gone(self) -> str | None:
        """It is not ours: whether it is gone, or the connection, cannot be told from here."""
        return None

    def logs(self) -> str:
        """Nothing is known of it."""
        return ""
