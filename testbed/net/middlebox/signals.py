"""Filters of what MPTCP hosts tell each other beside the data."""

from __future__ import annotations

import ipaddress

from testbed.net.match import is_of
from testbed.net.middlebox.behaviour import Behaviour, Output
from testbed.net.middlebox.segments import with_options
from testbed.wire.options import KIND_MPTCP, NOP, SUBTYPE_ADD_ADDR, AddAddr, Option
from testbed.wire.segment import FIN, RST, SYN, Segment
from topologies.middlebox.signals import FilterSignals, subtype_of


class SignalFilter(Behaviour):
    """Puts NOPs in the place of signals; a pure ACK that carries nothing else of MPTCP is dropped.

    Such an ACK was sent for the signal alone; without it, it would be one more duplicate (RFC 8684 section 3.4.1).
    """

    __slots__ = ("_echoes", "_high", "_low", "_octets", "_subtypes")

    def __init__(self, value: FilterSignals, seed: int) -> None:
        super().__init__()
        self._subtypes = [subtype_of(signal) for signal in value.signals if signal != "add_addr.echo"]
        self._echoes = "add_addr.echo" in value.signals
        self._low = self._high = b""
        self._octets = 0
        """Of the addresses of the prefix; 0: any."""
        if value.prefix:
            network = ipaddress.ip_network(value.prefix)
            self._low, self._high = network.network_address.packed, network.broadcast_address.packed
            self._octets = len(self._low)

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        """As Behaviour."""
        for option in segment.options:
            if self._concerns(option):
                break
        else:
            out.pass_on(segment, way)
            return
        self.counters[way].matched += 1
        if segment.payload or segment.flags & (SYN | FIN | RST) or self._carries_more(segment):
            out.pass_on(self._without(segment), way)

    def _concerns(self, option: Option) -> bool:
        if not is_of(option, KIND_MPTCP):
            return False
        if isinstance(option, AddAddr):
            if self._octets and not (len(option.address) == self._octets and self._low <= option.address <= self._high):
                return False
            if option.echo and self._echoes:
                return True
        for subtype in self._subtypes:
            if is_of(option, KIND_MPTCP, subtype):
                return not (self._octets and subtype == SUBTYPE_ADD_ADDR and not isinstance(option, AddAddr))
        return False

    def _carries_more(self, segment: Segment) -> bool:
        """Whether it has another option of MPTCP."""
        return any(is_of(option, KIND_MPTCP) and not self._concerns(option) for option in segment.options)

    def _without(self, segment: Segment) -> Segment:
        options: list[Option] = []
        for option in segment.options:
            if self._concerns(option):
                options += [NOP] * option.size
            else:
                options.append(option)
        return with_options(segment, tuple(options))
