"""The errors of this room: whose fault it is decides what becomes of the trial.

    TestbedError
    ├── Unsupported     this machine cannot do it; the message says what is missing and how to get it
    ├── InvalidTrial    the testbed did not do what was asked; what was measured does not count
    │   ├── CommandFailed   a program ended with an error, with its stderr
    │   └── NotReady        a condition did not come true before its deadline
    └── Interrupted     the user asked to stop

None of these is ever reported as FAIL: that word belongs to a valid trial that missed an expectation.
"""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """Any failure that the testbed foresees; its text is one clear sentence."""

    __test__ = False  # pytest collects classes called Test*


class Unsupported(TestbedError):
    """It cannot run on this machine."""


class InvalidTrial(TestbedError):
    """It ran, or tried to, under conditions other than those asked for."""


class Interrupted(TestbedError):
    """The user asked to stop; everything was taken down in order."""


class NotReady(InvalidTrial):
    """A condition did not come true before its deadline."""


class CommandFailed(InvalidTrial):
    """A program ended otherwise than with exit code 0."""

    def __init__(self, argv: Sequence[str], exit_code: int, stderr: str, node: str | None = None) -> None:
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr
        self.node = node
        where = f" in {node}" if node else ""
        said = stderr.strip().splitlines()
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        super().__init__(f"{' '.join(argv)!r}{where} {how}: {said[-1] if said else 'no message'}")
