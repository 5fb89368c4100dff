"""A space-filling experimental design in the unit cube: the WSP point selection.

Source: J. Santiago, M. Claeys-Bruno, M. Sergent, "Construction of space-filling designs using WSP algorithm for high
dimensional spaces", Chemometrics and Intelligent Laboratory Systems 113 (2012). From a set of random candidates a point
is kept and everything closer to it than a distance is struck out; the nearest survivor is the next point; and so on.
The distance that leaves the wished number of points is found by bisection. Knows nothing of networks.
"""

from __future__ import annotations

import math
import random

Point = tuple[float, ...]

CANDIDATES_PER_POINT = 4
BISECTIONS = 24


def wsp(points: int, dimensions: int, rng: random.Random) -> tuple[Point, ...]:
    """``points`` points of [0, 1)^``dimensions``, no two close together; the same state of ``rng``, the same points.

    Where no distance leaves exactly that many, the most crowded surplus points are dropped, which keeps the minimum
    distance. Raises ValueError for fewer than 1 point or dimension.
    """
    if points < 1 or dimensions < 1:
        raise ValueError(f"a design has at least 1 point and 1 dimension, not {points} and {dimensions}")
    candidates = [tuple(rng.random() for _ in range(dimensions)) for _ in range(CANDIDATES_PER_POINT * points)]
    centre = (0.5,) * dimensions
    start = min(candidates, key=lambda candidate: math.dist(candidate, centre))
    low, high = 0.0, math.sqrt(dimensions)
    best = candidates
    for _ in range(BISECTIONS):
        distance = (low + high) / 2
        chosen = _select(candidates, start, distance, points)
        if len(chosen) < points:
            high = distance
            continue
        low, best = distance, chosen
        if len(chosen) == points:
            break
    return tuple(_thinned(best, points))


def minimum_distance(points: tuple[Point, ...]) -> float:
    """The smallest Euclidean distance between two of the points; infinite for fewer than two."""
    pairs = (math.dist(p, q) for i, p in enumerate(points) for q in points[:i])
    return min(pairs, default=math.inf)


def _select(candidates: list[Point], start: Point, distance: float, wanted: int) -> list[Point]:
    """The WSP pass for one distance; stops once twice ``wanted`` shows that the distance is too small."""
    chosen = [start]
    left = candidates
    while len(chosen) <= 2 * wanted:
        origin = chosen[-1]
        far = [(separation, point) for point in left if (separation := math.dist(origin, point)) >= distance > 0]
        if not far:
            break
        chosen.append(min(far)[1])
        left = [point for _, point in far]
    return chosen


def _thinned(points: list[Point], wanted: int) -> list[Point]:
    kept = list(points)
    while len(kept) > wanted:
        crowded = min(range(len(kept)), key=lambda i: min(math.dist(kept[i], q) for j, q in enumerate(kept) if j != i))
        del kept[crowded]
    return kept
