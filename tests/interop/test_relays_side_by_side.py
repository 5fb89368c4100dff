"""Two labs with a relay each at the same time: neither disturbs the other's links beyond tolerance."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from testbed.emulation.placement import claimed_placement
from testbed.orchestrator import trial_links
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.network_plan import NetworkSettings, plan_network
from testbed.orchestrator.run_identity import new_run_id
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

pytestmark = [pytest.mark.needs_root]

LINK = LinkProfile(rate_bit_s=20_000_000, delay_ns=10_000_000)


def test_two_labs_with_relays_have_a_cpu_each_and_calibrate() -> None:
    plan = plan_network(two_path(LINK, LINK), NetworkSettings(realisation="relay"))
    with ExitStack() as stack:
        cpus, labs = [], []
        for _ in range(2):
            placed = stack.enter_context(claimed_placement(os.sched_getaffinity(0)))
            cpus.append(placed.relay_cpu)
            labs.append(stack.enter_context(MininetLab(plan, run_id=new_run_id(), relay_cpu=placed.relay_cpu)))
        pinned = [cpu for cpu in cpus if cpu is not None]
        assert len(set(pinned)) == len(pinned)
        for lab, cpu in zip(labs, cpus, strict=True):
            assert lab.relay is not None
            if cpu is not None:
                assert os.sched_getaffinity(lab.relay.process.pid) == {cpu}
            for _attempt in range(5):  # a machine that is busy with other things may spoil one
                calibrations, problems = trial_links.measured(lab, plan)
                if not problems:
                    break
            assert problems == []
            assert len(calibrations) == 4
