"""What goes wrong between two machines; each is an error of the orchestrator, so that the exit codes are the same."""

from __future__ import annotations

from testbed.orchestrator.errors import InvalidTrial, Unsupported


class Unreachable(Unsupported):
    """No connection: nobody answers, the key is refused, or the other side speaks no SSH."""


class HostKeyRefused(Unreachable):
    """The other side's host key is unknown, or is not the one that was pinned."""


class ConnectionLost(InvalidTrial):
    """The connection was there and broke; what was started detached goes on."""


class MachineGone(InvalidTrial):
    """A machine that was booted for the run has ended by itself, and what ran in it has ended with it."""


class UnsafeTree(InvalidTrial):
    """The other side sent files that would land outside of their place, or are none."""
