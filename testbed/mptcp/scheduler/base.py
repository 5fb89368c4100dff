"""What a scheduler is: given the subflows and what waits, which of them takes the next chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mypy_extensions import mypyc_attr

from testbed.mptcp.subflow_view import SubflowView


@mypyc_attr(allow_interpreted_subclasses=True)
class Scheduler:
    """One instance per connection. The data level asks until it answers None or nothing is left to send."""

    name: ClassVar[str] = ""
    redundant: ClassVar[bool] = False
    """True: the subflow that is picked takes what it has not carried yet, oldest first, instead of unsent data."""

    def pick(self, subflows: Sequence[SubflowView], now: int, unsent: int, window: int) -> SubflowView | None:
        """The subflow that takes the next chunk; None: nothing is to be sent now.

        ``subflows``: all of the connection, in order of creation; a scheduler leaves out the unusable ones itself
        (:func:`candidates`). ``unsent``: octets that wait in the connection's send queue; ``window``: octets that
        the connection-level window still admits. Asked again after every chunk, every ACK and every timer.
        """
        raise NotImplementedError


def candidates(subflows: Sequence[SubflowView]) -> list[SubflowView]:
    """The usable subflows without backup flag; only when there are none, the usable backup ones (RFC 8684 §3.3.8)."""
    regular: list[SubflowView] = []
    backup: list[SubflowView] = []
    for subflow in subflows:
        if subflow.usable():
            (backup if subflow.backup else regular).append(subflow)
    return regular or backup
