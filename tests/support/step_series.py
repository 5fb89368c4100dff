"""Made-up series with steps, the same in every version of every library: only Python's own generator is used."""

from __future__ import annotations

import math
import random

SEEDS = range(80)
WINDOWS = (30, 50)


def step_series(seed: int) -> list[float]:
    """6 to 120 values around 100 with up to three steps of 2 to 20 %, noise of 0.5, 2 or 5 %."""
    chance = random.Random(seed)
    size, noise = chance.randrange(6, 121), chance.choice((0.005, 0.02, 0.05))
    level, levels = 100.0, []
    steps = {chance.randrange(1, size) for _ in range(chance.randrange(4))}
    for index in range(size):
        if index in steps:
            level *= chance.choice((0.8, 0.9, 0.95, 0.98, 1.03, 1.1))
        levels.append(level)
    return [round(value * math.exp(chance.gauss(0, noise)), 6) for value in levels]
