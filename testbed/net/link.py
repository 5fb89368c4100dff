"""One direction of a link: what happens to each packet, decided when it arrives.

The way of a packet, in netem's order:

1. *outage*: while the link is down every arriving packet is dropped;
2. *loss* (:mod:`loss`);
3. *duplication*: an exact copy follows the packet into the queue; it is not lost, duplicated or corrupted itself, and
   shares the packet's jitter and reordering;
4. *corruption*: one bit of the packet is marked to be flipped;
5. *queue and rate* (:mod:`line`): drop-tail, then the line;
6. *delay, jitter, reordering* (:mod:`delay`).

All of it is computed at the arrival, because the schedule is known in advance: the caller learns at once when the
packet comes out. Time is ns since the start of the schedule and must not go backwards from call to call.

A caller that holds a GSO super-segment calls :meth:`LinkDirection.arrives` once per wire packet in it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from testbed.net.chance import derive_seed, stream
from testbed.net.counters import LinkCounters
from testbed.net.delay import JitterDraw, Propagation, ReorderingDraw
from testbed.net.line import OVERFLOW, Line
from testbed.net.loss import LossProcess
from testbed.net.schedule import Schedule, changes_for
from topologies.link_profile import Change, LinkProfile, NoLoss


class Drop(enum.Enum):
    """Why a packet does not come out."""

    LOSS = "loss"
    OVERFLOW = "overflow"
    OUTAGE = "outage"


class Delivery(NamedTuple):
    """One frame that comes out, when it is not simply the one that went in."""

    release_ns: int
    corrupt_at: float | None = None
    """Where to flip a bit, as a fraction in [0, 1) of the bits that may be flipped; None: intact."""
    reordered: bool = False
    is_copy: bool = False


Outcome = int | Drop | tuple[Delivery, ...]
"""int: comes out once, intact and in order, at this time. Drop: does not come out. Else: every frame that comes out."""


class LinkDirection:
    """The model of one direction. Same profile, changes, seed and arrivals: same outcomes."""

    __slots__ = (
        "_corrupts",
        "_down",
        "_duplicates",
        "_jitter",
        "_loss",
        "_plain",
        "_propagation",
        "_reordering",
        "counters",
        "line",
        "profile",
    )

    def __init__(self, profile: LinkProfile, changes: Sequence[Change] = (), seed: int = 0) -> None:
        """``profile`` resolved, ``changes`` of this direction. Raises ProfileError for a rate without a queue limit."""
        schedule = Schedule(profile, changes)
        lossless = all(isinstance(loss, NoLoss) for loss in schedule.loss.values())
        self.profile = profile
        self.counters = LinkCounters()
        self.line = Line(schedule.rate_bit_s, profile.queue)
        self._down = schedule.down
        self._loss = None if lossless else LossProcess(schedule.loss, stream(seed, "loss"))
        self._jitter = JitterDraw(profile.jitter, stream(seed, "jitter")) if profile.jitter else None
        self._reordering = (
            ReorderingDraw(profile.reordering, stream(seed, "reordering")) if profile.reordering else None
        )
        self._duplicates = stream(seed, "duplication").random if profile.duplication else None
        self._corrupts = stream(seed, "corruption").random if profile.corruption else None
        self._plain = not (self._jitter or self._reordering or self._duplicates or self._corrupts)
        self._propagation = Propagation(schedule.delay_ns, not (profile.jitter and profile.jitter.reorders))

    def arrives(self, size_bytes: int, now_ns: int) -> Outcome:
        """A frame of ``size_bytes`` (Ethernet header included) arrives at ``now_ns``."""
        if not self._plain:
            return self._arrives_impaired(size_bytes, now_ns)
        counters = self.counters
        counters.arrived_packets += 1
        counters.arrived_bytes += size_bytes
        loses = self._loss is not None and self._loss.loses(now_ns)
        if self.is_down(now_ns):
            counters.dropped_outage += 1
            return Drop.OUTAGE
        if loses:
            counters.dropped_loss += 1
            return Drop.LOSS
        sent_ns = self.line.admit(size_bytes, now_ns)
        if sent_ns == OVERFLOW:
            counters.dropped_overflow += 1
            return Drop.OVERFLOW
        counters.delivered_packets += 1
        counters.delivered_bytes += size_bytes
        return self._propagation.release(sent_ns)

    def is_down(self, now_ns: int) -> bool:
        """Whether the link is dark at ``now_ns``."""
        down = self._down
        return down.advance(now_ns) if now_ns >= down.next_ns else down.value

    def bypasses(self, now_ns: int) -> int | Drop:
        """Neighbour discovery and the like arrives: it takes the delay of an idle line, and only an outage stops it.

        It is not counted and takes no draw, so it does not shift the fate of the packets that an experiment is about.
        """
        if self.is_down(now_ns):
            return Drop.OUTAGE
        return now_ns + self._propagation.delay_ns(now_ns)

    def _arrives_impaired(self, size_bytes: int, now_ns: int) -> Outcome:
        counters = self.counters
        counters.arrived_packets += 1
        counters.arrived_bytes += size_bytes
        # Every stream is drawn from before anything is decided: the n-th packet takes the n-th draw of each.
        loses = self._loss is not None and self._loss.loses(now_ns)
        deviation_ns = self._jitter.next_ns() if self._jitter else 0
        reordered = self._reordering.next() if self._reordering else False
        copies = 2 if self._duplicates and self._duplicates() < self.profile.duplication else 1
        corrupt_at = self._corruption()
        if self.is_down(now_ns):
            counters.dropped_outage += 1
            return Drop.OUTAGE
        if loses:
            counters.dropped_loss += 1
            return Drop.LOSS
        counters.duplicated += copies - 1
        deliveries: list[Delivery] = []
        for copy in range(copies):
            sent_ns = self.line.admit(size_bytes, now_ns)
            if sent_ns == OVERFLOW:
                counters.dropped_overflow += 1
                continue
            release_ns = sent_ns if reordered else self._propagation.release(sent_ns, deviation_ns)
            deliveries.append(Delivery(release_ns, None if copy else corrupt_at, reordered, copy > 0))
        if not deliveries:
            return Drop.OVERFLOW
        counters.delivered_packets += len(deliveries)
        counters.delivered_bytes += size_bytes * len(deliveries)
        counters.reordered += len(deliveries) if reordered else 0
        counters.corrupted += sum(delivery.corrupt_at is not None for delivery in deliveries)
        if copies == 1 and not reordered and corrupt_at is None:
            return deliveries[0].release_ns
        return tuple(deliveries)

    def _corruption(self) -> float | None:
        """Below the probability the draw, scaled back to [0, 1), also says where."""
        if self._corrupts is None:
            return None
        draw = self._corrupts()
        return draw / self.profile.corruption if draw < self.profile.corruption else None


def duplex(
    forward: LinkProfile, backward: LinkProfile, changes: Sequence[Change] = (), seed: int = 0
) -> tuple[LinkDirection, LinkDirection]:
    """Both directions of a link, with independent chance."""
    return (
        LinkDirection(forward, changes_for("forward", changes), derive_seed(seed, "forward")),
        LinkDirection(backward, changes_for("backward", changes), derive_seed(seed, "backward")),
    )
