"""Two disjoint paths with parameters drawn by a space-filling design: an experiment over a region, not over one point.

The factors and their ranges are those of Paasch, Khalili, Bonaventure, "On the Benefits of Applying Experimental Design
to Improve Multipath TCP" (CoNEXT 2013), used again by De Coninck and Bonaventure for Multipath QUIC (CoNEXT 2017):
253 points per class, each run with either path as the first. The points are our own; the published ones are not copied.
Each class takes the same points of the unit cube, so that classes can be compared point by point.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from topologies.link_profile import LinkProfile, NoLoss, QueueLimit, RandomLoss
from topologies.model import Family, Topology, TopologyError
from topologies.space_filling import Point, wsp
from topologies.two_path import disjoint_paths

POINTS = 253
SEED = 2013

LOWEST_RATE_BIT_S = 100_000
HIGHEST_RATE_BIT_S = 100_000_000
HIGHEST_LOSS = 0.025
MINIMUM_QUEUE_BYTES = 2 * 1514
"""Two full frames: with a smaller waiting room no window larger than one segment survives its own burst."""


@dataclass(frozen=True, slots=True)
class DesignClass:
    """A region of the parameter space."""

    name: str
    highest_round_trip_ns: int
    highest_queueing_ns: int
    """How long a full queue takes to drain."""
    losses: bool


CLASSES: Mapping[str, DesignClass] = {
    c.name: c
    for c in (
        DesignClass("low-bdp-no-loss", 50_000_000, 100_000_000, losses=False),
        DesignClass("low-bdp-losses", 50_000_000, 100_000_000, losses=True),
        DesignClass("high-bdp-no-loss", 400_000_000, 2_000_000_000, losses=False),
        DesignClass("high-bdp-losses", 400_000_000, 2_000_000_000, losses=True),
    )
}


@dataclass(frozen=True, slots=True)
class DesignPoint:
    """One network of the design: the profiles of both paths, the same in both directions."""

    class_name: str
    index: int
    path1: LinkProfile
    path2: LinkProfile


def design(
    points: int = POINTS, classes: tuple[str, ...] = tuple(CLASSES), seed: int = SEED
) -> tuple[DesignPoint, ...]:
    """``points`` networks for each class, in the order of ``classes``. Raises TopologyError for an unknown class."""
    for name in classes:
        if name not in CLASSES:
            raise TopologyError(f"topology random_paths: class {name!r} is none of {', '.join(CLASSES)}")
    if points < 1:
        raise TopologyError(f"topology random_paths: a design has at least 1 point, not {points}")
    return tuple(
        DesignPoint(name, index, _profile(point[:4], CLASSES[name]), _profile(point[4:], CLASSES[name]))
        for name in classes
        for index, point in enumerate(_unit_points(points, seed))
    )


def random_paths(
    index: int = 0,
    count: int = POINTS,
    seed: int = SEED,
    class_name: str = "low-bdp-no-loss",
    swapped: bool = False,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """The network of point ``index`` of ``design(count, (class_name,), seed)``; ``swapped`` exchanges the two paths.

    Raises TopologyError for an index outside the design.
    """
    points = design(count, (class_name,), seed)
    if not 0 <= index < count:
        raise TopologyError(f"topology random_paths: index is between 0 and {count - 1}, not {index}")
    profiles = (points[index].path1, points[index].path2)
    return disjoint_paths(
        "random_paths",
        f"Point {index} of {count} of the space-filling design {class_name}, seed {seed}"
        + (", paths exchanged." if swapped else "."),
        profiles[::-1] if swapped else profiles,
        families,
    )


@lru_cache(maxsize=8)
def _unit_points(points: int, seed: int) -> tuple[Point, ...]:
    """Eight factors: rate, round trip, queueing and loss of each path."""
    return wsp(points, 8, random.Random(seed))


def _profile(factors: Point, design_class: DesignClass) -> LinkProfile:
    """One path; rates keep three digits and times whole 100 us, so that a table of the design can be read."""
    rate, round_trip, queueing, loss = factors
    exact = LOWEST_RATE_BIT_S * (HIGHEST_RATE_BIT_S / LOWEST_RATE_BIT_S) ** rate
    rate_bit_s = int(float(f"{exact:.3g}"))
    queue_bytes = int(queueing * design_class.highest_queueing_ns * rate_bit_s / (8 * 10**9))
    probability = round(loss * HIGHEST_LOSS, 5) if design_class.losses else 0.0
    return LinkProfile(
        rate_bit_s=rate_bit_s,
        delay_ns=round(round_trip * design_class.highest_round_trip_ns / 2 / 100_000) * 100_000,
        queue=QueueLimit(size_bytes=max(MINIMUM_QUEUE_BYTES, queue_bytes)),
        loss=RandomLoss(probability) if probability else NoLoss(),
    )
