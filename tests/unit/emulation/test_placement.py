"""The relay gets a CPU, the hosts the others."""

from __future__ import annotations

import pytest

from testbed.emulation.placement import Placement, placement


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([0], Placement(None, "0")),
        ([0, 1], Placement(1, "1")),
        ([5, 2, 3], Placement(5, "c")),
        (range(34), Placement(33, "1,ffffffff")),
        (range(32, 35), Placement(34, "3,00000000")),
    ],
)
def test_the_last_cpu_is_the_relays(cpus: list[int], expected: Placement) -> None:
    assert placement(cpus) == expected
