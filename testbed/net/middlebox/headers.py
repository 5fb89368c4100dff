"""Middleboxes that write into the TCP header what the ends did not say (checklist L3)."""

from __future__ import annotations

from typing import Final

from testbed.net.middlebox.behaviour import Behaviour, Matching, Output
from testbed.net.middlebox.flows import FLOWS_LIMIT, FlowKey, flow_key
from testbed.net.middlebox.segments import changed, with_options
from testbed.wire.options import MaximumSegmentSize, Option, WindowScale
from testbed.wire.segment import RST, SYN, Segment
from topologies.middlebox.headers import ClampMss, ShrinkWindow

LARGEST_SHIFT: Final = 14
"""RFC 7323 section 2.3: more counts as this."""


class MssClamp(Behaviour):
    """Lowers the MSS option (RFC 9293 section 3.7.1) of SYN and SYN-ACK; ``matched`` counts those that have one."""

    __slots__ = ("_mss",)

    def __init__(self, value: ClampMss, seed: int) -> None:
        super().__init__()
        self._mss = value.mss

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if segment.flags & SYN:
            options: list[Option] = []
            found = lowered = False
            for option in segment.options:
                if isinstance(option, MaximumSegmentSize):
                    found = True
                    if option.mss > self._mss:
                        option = MaximumSegmentSize(self._mss)
                        lowered = True
                options.append(option)
            if found:
                self.counters[way].matched += 1
            if lowered:
                segment = with_options(segment, tuple(options))
        out.pass_on(segment, way)


class WindowShrinker(Matching):
    """Lowers the window; of a connection whose handshake it has not seen it does not know the scale, and passes it."""

    __slots__ = ("_flows", "_size_bytes")

    def __init__(self, value: ShrinkWindow, seed: int) -> None:
        super().__init__(value.on, seed)
        self._size_bytes = value.size_bytes
        self._flows: dict[FlowKey, list[int]] = {}
        """Window scale by direction: -1: its SYN has not passed, -2: it had none."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        shift = self._shift(segment, way)
        if self._matcher.matches(segment, way, now) and shift >= 0 and not segment.flags & RST:
            self.counters[way].matched += 1
            most = max(1, self._size_bytes >> shift)
            if segment.window > most:
                segment = changed(segment, window=most)
        out.pass_on(segment, way)

    def _shift(self, segment: Segment, way: int) -> int:
        """Of the window field of this segment; negative: unknown."""
        key = flow_key(segment, way)
        flow = self._flows.get(key)
        if segment.flags & SYN:
            if flow is None:
                flow = self._flows[key] = [-1, -1]
                if len(self._flows) > FLOWS_LIMIT:
                    del self._flows[next(iter(self._flows))]
            flow[way] = _scale(segment)
            return 0  # the window of a SYN is never scaled (RFC 7323 section 2.2)
        if flow is None or -1 in flow:
            return -1
        return 0 if -2 in flow else flow[way]


def _scale(syn: Segment) -> int:
    for option in syn.options:
        if isinstance(option, WindowScale):
            return min(option.shift, LARGEST_SHIFT)
    return -2
