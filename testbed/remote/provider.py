"""Who gives a machine: up, a target; down, it is gone. All above it is the same for every kind of machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from testbed.remote.target import Target

Say = Callable[[str], None]
"""Takes a sentence about what is going on."""


class Provider(Protocol):
    """A machine that can be made ready.

    ``ssh`` takes one that runs already, ``vagrant`` starts one that the user keeps; one that is booted for a run alone
    (a kernel under QEMU) says so by :attr:`ends_with_the_run`.
    """

    @property
    def ends_with_the_run(self) -> bool:
        """Whether who called :meth:`up` for a run calls :meth:`down` when it is over."""

    def up(self, say: Say) -> Target:
        """Make it ready; at once when it is. Raises Unsupported when it cannot be, with what is missing."""

    def down(self) -> None:
        """Stop it; nothing happens when it does not run, or is not ours to stop."""

    def why_gone(self) -> str | None:
        """Why it is no more although nobody ended it; None: it runs, or that cannot be known from here."""

    def logs(self) -> str:
        """What is known of why it did not come up: console, the provider's own words."""
