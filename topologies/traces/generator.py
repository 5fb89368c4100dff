"""Makes the shipped traces: ``python -m topologies.traces.generator [DIRECTORY]``; without one, where they are kept.

Synthetic, so that they may be given away and so that it is known what is in them; not measured, and no claim about any
network. Links of one scene share its course (distance, speed, fading) and so belong together: replayed in step, one
gets better while the other gets worse. Same seed, same bytes on every machine: the only source of chance is
:meth:`random.Random.random` of an integer seed, and beyond it there is plain arithmetic.
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from topologies.traces.catalog import DATA

SEED = 8684
STEP_MS = 500
SCENE_MS = 60_000
LTE_MS = 20_000
_PACKET_BITS = 1500 * 8


def _chance(name: str) -> random.Random:
    return random.Random(int.from_bytes(hashlib.sha256(f"{SEED}/{name}".encode()).digest()[:8], "big"))


def _noise(chance: random.Random, memory: float) -> Callable[[], float]:
    """About standard normal, each value drawn toward the one before it."""
    last = 0.0
    fresh = math.sqrt(1.0 - memory * memory)

    def step() -> float:
        nonlocal last
        normal = sum(chance.random() for _ in range(12)) - 6.0  # Irwin-Hall
        last = memory * last + fresh * normal
        return last

    return step


def _triangle(at_ms: int, period_ms: int) -> float:
    """0 at the beginning, 1 in the middle, 0 at the end of a period."""
    share = at_ms % period_ms / period_ms
    return 2 * share if share < 0.5 else 2 - 2 * share


def _times() -> range:
    return range(0, SCENE_MS, STEP_MS)


def _csv(what: str, columns: str, rows: list[str]) -> str:
    head = f"# Synthetic, seed {SEED}: {what}. Made by python -m topologies.traces.generator"
    return "\n".join([head, columns, *rows, f"{SCENE_MS}{',' * columns.count(',')}", ""])


def walk_wifi() -> str:
    """From 2 m to 50 m away from the access point and back."""
    shadowing = _noise(_chance("walk_wifi"), 0.8)
    rows = []
    for at_ms in _times():
        distance_m = 2 + 48 * _triangle(at_ms, SCENE_MS)
        rate = max(0.5, 40 / (1 + (distance_m / 18) ** 2) * (1 + 0.2 * shadowing()))
        delay_ms = 3 + 60 / (rate + 2)
        loss = min(5.0, 0.05 + 2.0 * (distance_m / 50) ** 4)
        rows.append(f"{at_ms},{rate:.2f},{delay_ms:.1f},{loss:.2f}")
    return _csv("WiFi while somebody walks away and back", "time_ms,rate_mbit,delay_ms,loss_percent", rows)


def walk_cellular() -> str:
    """The same way: walls in between at its ends, none in the middle."""
    shadowing = _noise(_chance("walk_cellular"), 0.9)
    rows = []
    for at_ms in _times():
        outdoors = _triangle(at_ms, SCENE_MS)
        rate = max(1.0, (6 + 16 * outdoors) * (1 + 0.25 * shadowing()))
        delay_ms = 48 - 16 * outdoors
        rows.append(f"{at_ms},{rate:.2f},{delay_ms:.1f}")
    return _csv("the cellular network on the walk of walk_wifi", "time_ms,rate_mbit,delay_ms", rows)


HOTSPOTS_MS = ((4_000, 9_000), (18_000, 22_000), (33_000, 39_000), (50_000, 54_000))
CELL_EDGE_MS = 30_000
HANDOVER_MS = 500


def drive_wifi() -> str:
    """Hotspots along a road, best where the car is nearest."""
    shadowing = _noise(_chance("drive_wifi"), 0.5)
    rows = []
    for at_ms in _times():
        quality = shadowing()
        rate = 0.0
        for begin_ms, end_ms in HOTSPOTS_MS:
            if begin_ms <= at_ms < end_ms:
                rate = max(0.5, (3 + 15 * _triangle(at_ms - begin_ms, end_ms - begin_ms)) * (1 + 0.2 * quality))
        rows.append(f"{at_ms},{rate:.2f},{12.0 if rate else 20.0:.1f}")
    return _csv("hotspots along a road, dead in between", "time_ms,rate_mbit,delay_ms", rows)


def drive_cellular() -> str:
    """Two cells; at the edge between them half a second passes without any service."""
    shadowing = _noise(_chance("drive_cellular"), 0.8)
    rows = []
    for at_ms in _times():
        nearness = min(1.0, abs(at_ms - CELL_EDGE_MS) / 20_000)
        rate = max(0.8, (3 + 21 * nearness) * (1 + 0.3 * shadowing()))
        if CELL_EDGE_MS <= at_ms < CELL_EDGE_MS + HANDOVER_MS:
            rate = 0.0
        rows.append(f"{at_ms},{rate:.2f},{55 - 25 * nearness:.1f}")
    return _csv("the cellular network of the drive of drive_wifi", "time_ms,rate_mbit,delay_ms", rows)


LTE_GAP_MS = (12_000, 12_300)


def _lte(mean_mbit: float, name: str) -> str:
    """Deliveries, each millisecond as many as fading and the scheduler's mood allow; one gap for a handover."""
    fading, mood = _noise(_chance("lte fading"), 0.97), _chance(name)
    lines = []
    level, credit = 1.0, 0.0
    for at_ms in range(1, LTE_MS + 1):
        if at_ms % 20 == 1:
            level = max(0.1, 1 + 0.45 * fading())
        if LTE_GAP_MS[0] <= at_ms < LTE_GAP_MS[1]:
            continue
        credit += 2 * mood.random() * level * mean_mbit * 1000 / _PACKET_BITS
        while credit >= 1:
            credit -= 1
            lines.append(str(at_ms))
    if lines[-1] != str(LTE_MS):  # the last line is the length of the trace
        lines.append(str(LTE_MS))
    return "\n".join([*lines, ""])


def lte_down() -> str:
    """About 6 Mbit/s."""
    return _lte(6.0, "lte_down")


def lte_up() -> str:
    """About 2 Mbit/s."""
    return _lte(2.0, "lte_up")


FILES: Mapping[str, Callable[[], str]] = {
    "walk_wifi.csv": walk_wifi,
    "walk_cellular.csv": walk_cellular,
    "drive_wifi.csv": drive_wifi,
    "drive_cellular.csv": drive_cellular,
    "lte_down.mahimahi": lte_down,
    "lte_up.mahimahi": lte_up,
}
"""File -> what makes its text."""


def write(directory: Path) -> None:
    """Make all of them."""
    for name, make in FILES.items():
        (directory / name).write_bytes(make().encode("ascii"))


def main(arguments: list[str]) -> int:
    """The command. Exit codes: 0 written, 2 used wrongly."""
    if len(arguments) > 1 or (arguments and not Path(arguments[0]).is_dir()):
        print("usage: python -m topologies.traces.generator [DIRECTORY]", file=sys.stderr)
        return 2
    directory = Path(arguments[0]) if arguments else DATA
    write(directory)
    print(f"wrote {', '.join(FILES)} to {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
