"""How long an echo over a path may take and how often it may have to be repeated, from the profiles of its links. Pure.

The pre-flight probe uses it: a path that loses half of its packets on purpose is in order, a path that answers
nothing in a hundred thousand million such tries is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from topologies.link_profile import DropList, EveryNth, GilbertElliott, LinkProfile, RandomLoss
from topologies.model import Path, Topology

FALSE_ALARM = 1e-9
"""Chance of calling a path dead that is in order."""
PAUSE_S = 0.02
"""Beyond the round trip, before an echo is repeated."""
LEAST_S = 1.0
"""Even a quick path gets this long: the machine may be busy."""
MOST_TRIES = 200


@dataclass(frozen=True, slots=True)
class PathExpectation:
    """Of one echo in full size, there and back."""

    round_trip_s: float
    tries: int
    """So many without an answer are not chance; 0: the path loses everything on purpose."""

    @property
    def retry_s(self) -> float:
        """When to repeat it: hardly ever while the one before is still under way."""
        return self.round_trip_s + PAUSE_S

    @property
    def deadline_s(self) -> float:
        """When to give up."""
        return max(LEAST_S, self.tries * self.retry_s) + self.round_trip_s


def expect(topology: Topology, path: Path, packet_bytes: int) -> PathExpectation:
    """For an echo of ``packet_bytes`` (IP) over ``path``."""
    profiles = list(_profiles(topology, path))
    survival = math.prod((1 - _loss(profile)) * (1 - profile.corruption) for profile in profiles)
    round_trip_s = sum(_transit_s(profile, packet_bytes) for profile in profiles)
    if survival <= 0:
        return PathExpectation(round_trip_s, 0)
    if survival >= 1:
        return PathExpectation(round_trip_s, 3)
    independent = math.log(FALSE_ALARM) / math.log(1 - survival)
    bursts = math.prod(_stretch(profile) for profile in profiles)
    extra = sum(len(profile.loss.packets) for profile in profiles if isinstance(profile.loss, DropList))
    return PathExpectation(round_trip_s, min(MOST_TRIES, math.ceil(independent * bursts) + extra))


def _profiles(topology: Topology, path: Path) -> Iterator[LinkProfile]:
    for name in path.links:
        link = topology.link(name)
        yield link.forward
        yield link.backward


def _transit_s(profile: LinkProfile, packet_bytes: int) -> float:
    jitter_ns = 4 * profile.jitter.amplitude_ns if profile.jitter is not None else 0
    serialisation_s = 8 * packet_bytes / profile.rate_bit_s if profile.rate_bit_s else 0.0
    return (profile.delay_ns + jitter_ns) / 1e9 + serialisation_s


def _loss(profile: LinkProfile) -> float:
    match profile.loss:
        case RandomLoss(probability):
            return probability
        case GilbertElliott() as loss:
            return loss.mean()
        case EveryNth(n):
            return 1 / n
        case _:
            return 0.0


def _stretch(profile: LinkProfile) -> float:
    """By how much losses that come together lengthen a row of tries."""
    match profile.loss:
        case RandomLoss(correlation=correlation):
            return 1 / max(0.01, 1 - correlation)
        case GilbertElliott() as loss:
            return max(1.0, 1 / max(loss.r, 0.01))
        case _:
            return 1.0
