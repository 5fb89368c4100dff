"""One direction of a link: what happens to each packet, decided when it arrives.

The way of a packet, in netem's order:

1. *outage*: while the link is down every arriving packet is dropped;
2. *loss* (:mod:`loss`);
3. *duplication*: an exact copy follows the packet into the queue; it is not lost, duplicated or corrupted itself, and
   shares the packet's jitter and reordering;
4. *corruption*: one bit of the packet is marked to be flipped;
5. *queue and rate* (:mod:`line`; :mod:`opportunities` where a trace says when packets leave): drop-tail, then the line;
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
from testbed.net.loss import LossProcess, TracedLoss
from testbed.net.opportunities import OpportunityLine
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


class Draws(NamedTuple):
    """What chance, apart from loss, says about one packet."""

    deviation_ns: int
    reordered: bool
    duplicated: bool
    corrupt_at: float | None

    @property
    def is_special(self) -> bool:
        """Whether something else than one intact frame in its order is to come out."""
        return self.reordered or self.duplicated or self.corrupt_at is not None


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
        self.line = (
            Line(schedule.rate_bit_s, profile.queue)
            if schedule.opportunities is None
            else OpportunityLine(schedule.opportunities, profile.queue)
        )
        self._down = schedule.down
        self._loss = None if lossless else LossProcess(schedule.loss, stream(seed, "loss"))
        if schedule.loss_probability is not None:
            self._loss = TracedLoss(schedule.loss_probability, stream(seed, "loss"))
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
        # Every stream is drawn from before anything is decided: the n-th packet takes the n-th draw of each.
        loses = self._loss is not None and self._loss.loses(now_ns)
        draws = None if self._plain else self._draw()
        counters = self.counters
        counters.arrived_packets += 1
        counters.arrived_bytes += size_bytes
        down = self._down
        if down.advance(now_ns) if now_ns >= down.next_ns else down.value:
            counters.dropped_outage += 1
            return Drop.OUTAGE
        if loses:
            counters.dropped_loss += 1
            return Drop.LOSS
        if draws is None:
            deviation_ns = 0
        elif draws.is_special:
            return self._arrives_special(size_bytes, now_ns, draws)
        else:
            deviation_ns = draws.deviation_ns
        sent_ns = self.line.admit(size_bytes, now_ns)
        if sent_ns == OVERFLOW:
            counters.dropped_overflow += 1
            return Drop.OVERFLOW
        counters.delivered_packets += 1
        counters.delivered_bytes += size_bytes
        return self._propagation.release(sent_ns, deviation_ns)

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

    def _draw(self) -> Draws | None:
        """This packet's draws; None when they decide nothing."""
        deviation_ns = self._jitter.next_ns() if self._jitter else 0
        reordered = self._reordering.next() if self._reordering else False
        duplicated = self._duplicates() < self.profile.duplication if self._duplicates else False
        corrupt_at: float | None = None
        if self._corrupts and (draw := self._corrupts()) < self.profile.corruption:
            corrupt_at = draw / self.profile.corruption  # below the probability, the draw also says where
        if reordered or duplicated or deviation_ns or corrupt_at is not None:
            return Draws(deviation_ns, reordered, duplicated, corrupt_at)
        return None

    def _arrives_special(self, size_bytes: int, now_ns: int, draws: Draws) -> Drop | tuple[Delivery, ...]:
        """A packet that is reordered, duplicated or corrupted, and neither lost nor in an outage."""
        counters = self.counters
        counters.duplicated += draws.duplicated
        deliveries: list[Delivery] = []
        for is_copy in (False, True)[: 1 + draws.duplicated]:
            sent_ns = self.line.admit(size_bytes, now_ns)
            if sent_ns == OVERFLOW:
                counters.dropped_overflow += 1
                continue
            release_ns = sent_ns if draws.reordered else self._propagation.release(sent_ns, draws.deviation_ns)
            corrupt_at = None if is_copy else draws.corrupt_at
            deliveries.append(Delivery(release_ns, corrupt_at, draws.reordered, is_copy))
            counters.corrupted += corrupt_at is not None
        counters.delivered_packets += len(deliveries)
        counters.delivered_bytes += size_bytes * len(deliveries)
        counters.reordered += len(deliveries) if draws.reordered else 0
        return tuple(deliveries) or Drop.OVERFLOW


def duplex(
    forward: LinkProfile, backward: LinkProfile, changes: Sequence[Change] = (), seed: int = 0
) -> tuple[LinkDirection, LinkDirection]:
    """Both directions of a link, with independent chance."""
    return (
        LinkDirection(forward, changes_for("forward", changes), derive_seed(seed, "forward")),
        LinkDirection(backward, changes_for("backward", changes), derive_seed(seed, "backward")),
    )
