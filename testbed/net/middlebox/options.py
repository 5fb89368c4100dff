"""Middleboxes that take options out."""

from __future__ import annotations

from testbed.net.match import is_of
from testbed.net.middlebox.behaviour import Matching, Output
from testbed.net.middlebox.segments import padded, with_options
from testbed.wire.options import NOP, Option
from testbed.wire.segment import Segment
from topologies.middlebox.options import StripOption, option_numbers


class OptionStripper(Matching):
    """Takes an option out (RFC 8684 section 6, checklist L1)."""

    __slots__ = ("_closes_gap", "_kind", "_subtype")

    def __init__(self, value: StripOption, seed: int) -> None:
        super().__init__(value.on, seed)
        self._kind, self._subtype = option_numbers(value.option)
        self._closes_gap = value.gap == "close"

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        if self._matcher.matches(segment, way, now) and self._carries(segment):
            self.counters[way].matched += 1
            segment = self._stripped(segment)
        out.pass_on(segment, way)

    def _carries(self, segment: Segment) -> bool:
        return any(is_of(option, self._kind, self._subtype) for option in segment.options)

    def _stripped(self, segment: Segment) -> Segment:
        options: list[Option] = []
        for option in segment.options:
            if not is_of(option, self._kind, self._subtype):
                options.append(option)
            elif not self._closes_gap:
                options += [NOP] * option.size
        return with_options(segment, padded(options) if self._closes_gap else tuple(options))
