"""Loss on purpose: which of the packets that arrive are lost, decided at arrival, before the queue (as netem does).

Sources: tc-netem(8) "loss random", "loss gemodel"; Linux net/sched/sch_netem.c (loss_event, loss_gilb_ell); Gilbert
1960 and Elliott 1963. Packets are counted from 1 per direction, those that arrive during an outage included, and each
takes exactly one draw, so the n-th packet meets the n-th draw whatever its timing.
"""

from __future__ import annotations

import random
from typing import Protocol

from testbed.net.chance import Autocorrelated
from testbed.net.schedule import Timeline
from topologies.link_profile import DropList, EveryNth, GilbertElliott, Loss, NoLoss, RandomLoss


class LossModel(Protocol):
    """Decides about one packet."""

    def loses(self, number: int, uniform: float) -> bool:
        """Whether packet ``number`` (from 1) is lost, given its draw in [0, 1)."""
        ...


class Never:
    """No loss."""

    __slots__ = ()

    def loses(self, number: int, uniform: float) -> bool:
        """No."""
        return False


class Independent:
    """Each packet with the same probability."""

    __slots__ = ("_probability",)

    def __init__(self, probability: float) -> None:
        self._probability = probability

    def loses(self, number: int, uniform: float) -> bool:
        """Below the probability."""
        return uniform < self._probability


class Correlated:
    """netem's "loss random P CORRELATION"; see :class:`Autocorrelated` for what it does to the mean."""

    __slots__ = ("_chance", "_probability")

    def __init__(self, probability: float, chance: Autocorrelated) -> None:
        self._probability = probability
        self._chance = chance

    def loses(self, number: int, uniform: float) -> bool:
        """Below the probability, with memory."""
        return self._chance.next(uniform) < self._probability


class TwoState:
    """Gilbert-Elliott, starting in the good state; a packet meets the state that the one before it left."""

    __slots__ = ("_bad", "_model")

    def __init__(self, model: GilbertElliott) -> None:
        self._model = model
        self._bad = False

    def loses(self, number: int, uniform: float) -> bool:
        """Decide by the present state, then perhaps change it."""
        model = self._model
        leave, lose = (model.r, model.loss_bad) if self._bad else (model.p, model.loss_good)
        # One draw serves both decisions: given the first, the rest of the draw is uniform again.
        if uniform < leave:
            self._bad = not self._bad
            return uniform < leave * lose
        return uniform - leave < (1.0 - leave) * lose


class Periodic:
    """Packets first, first + n, first + 2n ..."""

    __slots__ = ("_first", "_n")

    def __init__(self, n: int, first: int) -> None:
        self._n = n
        self._first = first or n

    def loses(self, number: int, uniform: float) -> bool:
        """By its number."""
        return number >= self._first and (number - self._first) % self._n == 0


class Listed:
    """Exactly the packets of a list."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = frozenset(numbers)

    def loses(self, number: int, uniform: float) -> bool:
        """By its number."""
        return number in self._numbers


def loss_model(loss: Loss, chance: random.Random) -> LossModel:
    """The model of a loss value; ``chance`` gives a correlated one its first memory."""
    match loss:
        case NoLoss():
            return Never()
        case RandomLoss(probability, correlation):
            if correlation:
                return Correlated(probability, Autocorrelated(correlation, chance.random()))
            return Independent(probability)
        case GilbertElliott():
            return TwoState(loss)
        case EveryNth(n, first):
            return Periodic(n, first)
        case DropList(packets):
            return Listed(packets)


class LossProcess:
    """The loss of one direction over time: counts packets, draws, and follows the schedule."""

    __slots__ = ("_draw", "_loses", "_models", "_number")

    def __init__(self, losses: Timeline[Loss], chance: random.Random) -> None:
        models = [loss_model(loss, chance) for loss in losses.values()]
        times = [at_ns for at_ns, _ in losses.ahead()]
        self._models: Timeline[LossModel] = Timeline(models[0], zip(times, models[1:], strict=True))
        self._loses = models[0].loses
        self._draw = chance.random
        self._number = 0

    def loses(self, now_ns: int) -> bool:
        """Whether the packet that arrives now is lost."""
        self._number += 1
        if now_ns >= self._models.next_ns:
            self._loses = self._models.advance(now_ns).loses
        return self._loses(self._number, self._draw())


class TracedLoss(LossProcess):
    """Independent loss with the probability that a trace says for the time of arrival."""

    __slots__ = ("_probability", "_uniform")

    def __init__(self, probability: Timeline[float], chance: random.Random) -> None:
        super().__init__(Timeline(NoLoss()), chance)
        self._probability = probability
        self._uniform = chance.random

    def loses(self, now_ns: int) -> bool:
        """Whether the packet that arrives now is lost."""
        probability = self._probability
        if now_ns >= probability.next_ns:
            probability.advance(now_ns)
        return self._uniform() < probability.value
