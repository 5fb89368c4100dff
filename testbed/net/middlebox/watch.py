"""An observer: counts what matches and hands everything on."""

from __future__ import annotations

from testbed.net.middlebox.behaviour import Matching, Output
from testbed.wire.segment import Segment
from topologies.middlebox.watch import Watch


class Watcher(Matching):
    """Counts in ``matched``; every packet leaves as the object that came, so byte for byte."""

    __slots__ = ()

    def __init__(self, value: Watch, seed: int) -> None:
        super().__init__(value.match, seed)

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        self.matches(segment, way, now)
        out.pass_on(segment, way)
