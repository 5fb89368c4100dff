"""The relay gets a CPU, the hosts the others."""

from __future__ import annotations

import pytest

from testbed.emulation.placement import Placement, claimed_placement, placement


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


def test_relays_at_the_same_time_get_different_cpus_while_there_are_free_ones() -> None:
    cpus = (901, 902, 903)  # numbers that no machine of ours has: a run that goes on meanwhile claims none of them
    with claimed_placement(cpus) as first, claimed_placement(cpus) as second:
        assert (first.relay_cpu, second.relay_cpu) == (903, 902)
        with claimed_placement(cpus) as third, claimed_placement(cpus) as fourth:
            assert third.relay_cpu == 901
            assert fourth == Placement(None, "0")
        with claimed_placement(cpus) as again:
            assert again.relay_cpu == 901
    with claimed_placement([901]) as alone:
        assert alone == Placement(None, "0")


def test_hosts_get_all_cpus_but_the_relays() -> None:
    assert placement([0, 1, 2], 1) == Placement(1, "5")
