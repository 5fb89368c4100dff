"""The middleboxes of a link in virtual time: their packets, their timers."""

from __future__ import annotations

from collections.abc import Callable

from testbed.net.middlebox import Chain
from testbed.net.schedule import NEVER_NS
from testbed.net.simulator import Event, Simulator
from testbed.wire.segment import Segment


class Gate:
    """The middleboxes of a link and their one pending wake-up."""

    __slots__ = ("_armed", "_armed_ns", "_leave", "_simulator", "chain")

    def __init__(self, simulator: Simulator, chain: Chain, leave: Callable[[Segment, int], None]) -> None:
        """``leave(segment, way)`` takes what the last of them lets go."""
        self.chain = chain
        self._simulator = simulator
        self._leave = leave
        self._armed: Event | None = None
        self._armed_ns = NEVER_NS

    def arrives(self, segment: Segment, way: int) -> None:
        """A packet comes to the link."""
        now_ns = self._simulator.now_ns
        if self._armed_ns <= now_ns:
            self._handle_timeout()
        self._let_go(self.chain.arrives(segment, way, now_ns))

    def _let_go(self, packets: list[tuple[int, Segment]]) -> None:
        for way, segment in packets:
            self._leave(segment, way)
        due_ns = self.chain.next_timeout()
        if due_ns is not None and due_ns < self._armed_ns:
            self._arm(due_ns)

    def _arm(self, due_ns: int) -> None:
        """As that of a host."""
        if self._armed is not None:
            self._armed.cancel()
        now_ns = self._simulator.now_ns
        self._armed_ns = due_ns if due_ns > now_ns else now_ns
        self._armed = self._simulator.call_at(self._armed_ns, self._handle_timeout)

    def _handle_timeout(self) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed = None
        self._armed_ns = NEVER_NS
        self._let_go(self.chain.handle_timeout(self._simulator.now_ns))
