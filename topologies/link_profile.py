"""What one direction of a link does to packets: rate, queue, delay, loss, reordering and the rest, as values.

The words are netem's and tc's (tc-netem(8), tc-tbf(8)). A profile says *what*; ``testbed.net`` decides packet by
packet, in virtual time or for real packets, and ``testbed.orchestrator.netem`` translates it for the kernel's qdisc.
Units: bit/s, ns, bytes, probabilities. The text form is :mod:`topologies.link_text`;
:func:`to_dict` and :func:`from_dict` are the JSON form kept in a run directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from topologies import middlebox, queue_discipline, traces
from topologies.middlebox import Middlebox
from topologies.queue_discipline import QueueDiscipline
from topologies.traces import Opportunities, Trace

MTU_BYTES = 1500
ETHERNET_HEADER_BYTES = 14

MINIMUM_QUEUE_PACKETS = 20
"""Floor of the default queue: below it a TCP with initial window 10 and a delayed-ACK peer loses its first burst."""

MINIMUM_RATE_BIT_S = 1000
"""At this rate one full frame takes 12 s; anything below is a unit mistake, not a link."""

JitterDistribution = Literal["uniform", "normal", "pareto", "paretonormal"]
"""netem's distribution tables (tc-netem(8), DELAY)."""


class ProfileError(ValueError):
    """A value of a link profile is out of range; the message names the field and the range."""


def _probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ProfileError(f"{name} is a probability in [0, 1], not {value}")


def _at_least(name: str, value: object, minimum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProfileError(f"{name} is an integer in base units, not {value!r}")
    if value < minimum:
        raise ProfileError(f"{name} is at least {minimum}, not {value}")


@dataclass(frozen=True, slots=True)
class NoLoss:
    """Nothing is lost on purpose (the queue still overflows)."""

    kind: Literal["none"] = field(default="none", kw_only=True)


@dataclass(frozen=True, slots=True)
class RandomLoss:
    """Independent loss; with ``correlation`` netem's first-order autoregressive variant."""

    probability: float
    correlation: float = 0.0
    kind: Literal["random"] = field(default="random", kw_only=True)

    def __post_init__(self) -> None:
        _probability("loss.probability", self.probability)
        _probability("loss.correlation", self.correlation)


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Two-state loss (Gilbert 1960, Elliott 1963); parameters as tc-netem(8) "loss gemodel"."""

    p: float
    """Probability, per packet, of going from the good to the bad state."""
    r: float
    """Probability, per packet, of going back; the mean burst lasts 1/r packets."""
    loss_bad: float = 1.0
    """Loss probability in the bad state (netem's 1-h)."""
    loss_good: float = 0.0
    """Loss probability in the good state (netem's 1-k)."""
    kind: Literal["gilbert-elliott"] = field(default="gilbert-elliott", kw_only=True)

    def __post_init__(self) -> None:
        for name in ("p", "r", "loss_bad", "loss_good"):
            _probability(f"loss.{name}", getattr(self, name))
        if self.p + self.r == 0:
            raise ProfileError("loss.p and loss.r are both 0: the state would never change")

    def mean(self) -> float:
        """Stationary loss probability."""
        bad = self.p / (self.p + self.r)
        return bad * self.loss_bad + (1 - bad) * self.loss_good


@dataclass(frozen=True, slots=True)
class EveryNth:
    """Packets ``first``, ``first + n``, ``first + 2n`` ... of this direction are lost, counted from 1."""

    n: int
    first: int = 0
    """0 means: ``n`` itself."""
    kind: Literal["every-nth"] = field(default="every-nth", kw_only=True)

    def __post_init__(self) -> None:
        _at_least("loss.n", self.n, 1)
        _at_least("loss.first", self.first, 0)


@dataclass(frozen=True, slots=True)
class DropList:
    """Exactly these packets of this direction are lost, counted from 1."""

    packets: tuple[int, ...]
    kind: Literal["drop-list"] = field(default="drop-list", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packets", tuple(sorted(set(self.packets))))
        if self.packets and self.packets[0] < 1:
            raise ProfileError(f"loss.packets counts from 1, not {self.packets[0]}")


Loss = NoLoss | RandomLoss | GilbertElliott | EveryNth | DropList
LOSS_KINDS: Mapping[str, type[Any]] = {cls.__dataclass_fields__["kind"].default: cls for cls in get_args(Loss)}
"""The word that tells the models apart in JSON -> the model."""


@dataclass(frozen=True, slots=True)
class Jitter:
    """Random part of the one-way delay."""

    amplitude_ns: int
    """Half-width of ``uniform``, standard deviation of the others."""
    distribution: JitterDistribution = "uniform"
    correlation: float = 0.0
    reorders: bool = False
    """Whether a packet with a small draw overtakes, as under netem; otherwise it waits for the one before it."""

    def __post_init__(self) -> None:
        _at_least("jitter.amplitude_ns", self.amplitude_ns, 0)
        _probability("jitter.correlation", self.correlation)
        if self.distribution not in get_args(JitterDistribution):
            raise ProfileError(
                f"jitter.distribution is one of {', '.join(get_args(JitterDistribution))}, not {self.distribution!r}"
            )


@dataclass(frozen=True, slots=True)
class Reordering:
    """netem's reordering: with ``probability`` every ``gap``-th packet skips the delay and so overtakes others."""

    probability: float
    gap: int = 1
    correlation: float = 0.0

    def __post_init__(self) -> None:
        _probability("reordering.probability", self.probability)
        _probability("reordering.correlation", self.correlation)
        _at_least("reordering.gap", self.gap, 1)


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """What fits into the waiting room, in packets or in bytes (exactly one of them), and what manages it."""

    packets: int | None = None
    size_bytes: int | None = None
    discipline: QueueDiscipline | None = None
    """None: drop-tail."""

    def __post_init__(self) -> None:
        if (self.packets is None) == (self.size_bytes is None):
            raise ProfileError("queue is limited either in packets or in bytes")
        if self.packets is not None:
            _at_least("queue.packets", self.packets, 1)
        if self.size_bytes is not None:
            _at_least("queue.size_bytes", self.size_bytes, MTU_BYTES + ETHERNET_HEADER_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """One direction of a link. The defaults are an ideal wire."""

    rate_bit_s: int | None = None
    """Serialisation rate of whole Ethernet frames (without preamble, FCS and gap), as tc counts; None: no limit."""
    queue: QueueLimit | None = None
    """Waiting room in front of the rate limiter; None becomes one BDP in :meth:`resolved`."""
    delay_ns: int = 0
    """One-way propagation delay."""
    jitter: Jitter | None = None
    loss: Loss = field(default_factory=NoLoss)
    """Decided for each arriving packet, before the queue, as netem does."""
    reordering: Reordering | None = None
    duplication: float = 0.0
    corruption: float = 0.0
    """Probability that one bit of the packet, past the IP addresses, is flipped."""
    middleboxes: tuple[Middlebox, ...] = ()
    """What handles each arriving packet, in this order, before the rest of the profile."""
    trace: Trace | None = None
    """What rate, delay and loss were over time, replayed from the start of the traffic. Those of them that it tells are
    the fields above no longer: they are then its means, which a queue of one BDP, expectations and drawings go by."""

    def __post_init__(self) -> None:
        if self.trace is not None:
            for name, mean in self.traced().items():
                if getattr(self, name) not in (getattr(_PLAIN, name), mean):
                    raise ProfileError(
                        f"{name} is told by the trace {self.trace.name}: leave it out, or the trace (trace=none)"
                    )
                object.__setattr__(self, name, mean)
            if isinstance(self.trace.shape(), Opportunities) and self.queue is not None and self.queue.discipline:
                raise ProfileError(
                    f"trace {self.trace.name}: deliveries have a drop-tail queue; {self.queue.discipline.keyword} "
                    "needs a rate"
                )
        if self.rate_bit_s is not None:
            _at_least("rate_bit_s", self.rate_bit_s, MINIMUM_RATE_BIT_S)
        _at_least("delay_ns", self.delay_ns, 0)
        _probability("duplication", self.duplication)
        _probability("corruption", self.corruption)
        for box in self.middleboxes:
            if box.two_way:
                raise ProfileError(
                    f"{box.keyword} has to see both directions: it stands on the link (path1.middleboxes), not in one "
                    "direction of it (path1.forward.middleboxes)"
                )
        if self.reordering is not None and self.reordering.probability > 0 and self.delay_ns == 0:
            raise ProfileError("reordering needs a delay: a reordered packet overtakes by skipping it")

    def resolved(self, round_trip_ns: int) -> LinkProfile:
        """The same profile with every implicit value made explicit: the queue becomes one BDP of ``round_trip_ns``."""
        if self.queue is not None or self.rate_bit_s is None:
            return self
        bdp_bytes = self.rate_bit_s * round_trip_ns // (8 * 10**9)
        packets = -(-bdp_bytes // (MTU_BYTES + ETHERNET_HEADER_BYTES))
        return dataclasses.replace(self, queue=QueueLimit(packets=max(MINIMUM_QUEUE_PACKETS, packets)))

    def traced(self) -> dict[str, Any]:
        """The fields that the trace tells, with its means."""
        if self.trace is None:
            return {}
        rate_bit_s, delay_ns, loss = self.trace.means()
        found: dict[str, Any] = {}
        if rate_bit_s is not None:
            found["rate_bit_s"] = rate_bit_s
        if delay_ns is not None:
            found["delay_ns"] = delay_ns
        if loss is not None:
            found["loss"] = RandomLoss(loss) if loss else NoLoss()
        return found

    def untraced(self) -> LinkProfile:
        """The same link standing still, at the means of its trace."""
        return self if self.trace is None else dataclasses.replace(self, trace=None)

    def with_trace(self, trace: Trace | None) -> LinkProfile:
        """The same link under ``trace``, which replaces what it tells; without one it stands still at the means."""
        if trace is None:
            return self.untraced()
        told = LinkProfile(trace=trace).traced()
        return dataclasses.replace(self, trace=trace, **told)

    def is_wire(self) -> bool:
        """Whether packets pass unchanged and at once."""
        return self == LinkProfile(queue=self.queue)


_PLAIN = LinkProfile()
"""The defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From ``at_ns`` after the start of the traffic on, these values hold; None leaves a value as it is."""

    at_ns: int
    direction: Literal["both", "forward", "backward"] = "both"
    down: bool | None = None
    """True: an outage, arriving packets are lost (those already under way still arrive). False: it ends."""
    rate_bit_s: int | None = None
    delay_ns: int | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        _at_least("change.at_ns", self.at_ns, 0)
        if self.direction not in ("both", "forward", "backward"):
            raise ProfileError(f"change.direction is both, forward or backward, not {self.direction!r}")
        if self.rate_bit_s is not None:
            _at_least("change.rate_bit_s", self.rate_bit_s, MINIMUM_RATE_BIT_S)
        if self.delay_ns is not None:
            _at_least("change.delay_ns", self.delay_ns, 0)

    def applied_to(self, profile: LinkProfile) -> LinkProfile:
        """``profile`` with the changed values; ``down`` is the driver's business."""
        changed = {
            name: getattr(self, name) for name in ("rate_bit_s", "delay_ns", "loss") if getattr(self, name) is not None
        }
        told = profile.traced()
        for name in changed:
            if name in told and profile.trace is not None:
                raise ProfileError(f"{name} is told by the trace {profile.trace.name} and cannot be changed beside it")
        return dataclasses.replace(profile, **changed)


def outage(
    start_ns: int, duration_ns: int, direction: Literal["both", "forward", "backward"] = "both"
) -> tuple[Change, Change]:
    """The link goes dark for a while."""
    return (
        Change(at_ns=start_ns, direction=direction, down=True),
        Change(at_ns=start_ns + duration_ns, direction=direction, down=False),
    )


# --- JSON form ---


def to_dict(value: LinkProfile | Change) -> dict[str, Any]:
    """JSON-ready; the inverse of :func:`from_dict` / :func:`change_from_dict`."""
    return dataclasses.asdict(value)


def from_dict(data: Mapping[str, Any]) -> LinkProfile:
    """The profile that :func:`to_dict` wrote. Raises ProfileError or TypeError on anything else."""
    values = dict(data)
    values["loss"] = loss_from_dict(values.get("loss") or {"kind": "none"})
    if values.get("queue") is not None:
        values["queue"] = _queue_from_dict(values["queue"])
    for name, cls in (("jitter", Jitter), ("reordering", Reordering)):
        if values.get(name) is not None:
            values[name] = cls(**values[name])
    values["middleboxes"] = tuple(middlebox.from_dict(each) for each in values.get("middleboxes", ()))
    if values.get("trace") is not None:
        values["trace"] = traces.from_dict(values["trace"])
    return LinkProfile(**values)


def _queue_from_dict(data: Mapping[str, Any]) -> QueueLimit:
    values = dict(data)
    if values.get("discipline") is not None:
        values["discipline"] = queue_discipline.from_dict(values["discipline"])
    return QueueLimit(**values)


def change_from_dict(data: Mapping[str, Any]) -> Change:
    """The change that :func:`to_dict` wrote."""
    values = dict(data)
    if values.get("loss") is not None:
        values["loss"] = loss_from_dict(values["loss"])
    return Change(**values)


def loss_from_dict(data: Mapping[str, Any]) -> Loss:
    """One of the loss models, told by its ``kind``."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in LOSS_KINDS:
        raise ProfileError(f"loss.kind is one of {', '.join(LOSS_KINDS)}, not {kind!r}")
    loss: Loss = LOSS_KINDS[kind](**data)
    return loss
