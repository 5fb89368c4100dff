"""Every name that a userspace endpoint knows, in a lossy two-way transfer: the bytes arrive, whatever the policy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from experiments.ingredients import MBIT, MS, mptcp, on_links
from testbed.endpoint.userspace import names
from testbed.mptcp.profiles import RECEIVERS, SENDERS
from testbed.orchestrator import plan, sim_trial
from testbed.orchestrator.spec import Bulk, Endpoint, Experiment, PathManager
from topologies.link_profile import LinkProfile, RandomLoss
from topologies.three_path import three_path
from topologies.two_path import two_path

PATH = LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS)
BOTH_WAYS = Bulk(direction="both", size_bytes=250_000, settle_ns=1_000 * MS)
"""Settled: a stream that has ended takes no further subflow, and a third path may be far."""


def carried_out(folder: Path, manager: PathManager | None = None, topology: Any = None, **end: Any) -> dict[str, Any]:
    """The flow of a trial whose two ends have these parameters."""
    network = topology or on_links(two_path(path1=PATH, path2=PATH), ("path1", "path2"), loss=RandomLoss(0.01))
    variant = mptcp("own", "", network, BOTH_WAYS, path_manager=manager, stacks=("userspace", "userspace"))
    side = Endpoint(implementation="userspace", **end)
    flow = dataclasses.replace(variant.flows[0], client=side, server=side)
    variant = dataclasses.replace(variant, flows=(flow,))
    made = Experiment(name="example", question="?", variants=(variant,), repetitions=1, duration_ns=8_000 * MS)
    (folder / "logs").mkdir()
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    (row,) = outcome.record.tables["flows"]
    assert row["integrity"] == "ok"
    assert row["complete"], row["error"]
    return dict(row)


@pytest.mark.parametrize("profile", SENDERS)
def test_every_profile(profile: str, tmp_path: Path) -> None:
    carried_out(tmp_path, profile=profile)


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_every_receiver(receiver: str, tmp_path: Path) -> None:
    carried_out(tmp_path, receiver=receiver)


@pytest.mark.parametrize("scheduler", names.SCHEDULERS)
def test_every_scheduler(scheduler: str, tmp_path: Path) -> None:
    assert carried_out(tmp_path, scheduler=scheduler)["scheduler"] == scheduler


@pytest.mark.parametrize("control", names.CONGESTION_CONTROLS)
def test_every_congestion_control(control: str, tmp_path: Path) -> None:
    assert carried_out(tmp_path, congestion_control=control)["congestion_control"] == control


@pytest.mark.parametrize("end", [{"timestamps": False}, {"sack": False}, {"checksum": True}, {"nodelay": True}])
def test_every_switch(end: dict[str, Any], tmp_path: Path) -> None:
    carried_out(tmp_path, **end)


@pytest.mark.parametrize(
    ("manager", "subflows"),
    [
        (PathManager(mode="none"), 1),
        (PathManager(mode="signal"), 3),
        (PathManager(mode="subflow"), 3),
        (PathManager(mode="fullmesh"), 9),
        (PathManager(mode="backup", backup_paths=("path3",)), 3),
        (PathManager(mode="ndiffports", ports=3), 3),
    ],
    ids=lambda each: getattr(each, "mode", str(each)),
)
@pytest.mark.parametrize("family", [4, 6])
def test_every_path_manager_opens_its_subflows(
    manager: PathManager, subflows: int, family: Any, tmp_path: Path
) -> None:
    topology = dataclasses.replace(three_path(), families=(family,))
    assert carried_out(tmp_path, manager, topology)["subflows"] == subflows


def test_small_buffers_slow_a_transfer_and_do_not_break_it(tmp_path: Path) -> None:
    carried_out(tmp_path, send_buffer_bytes=20_000, receive_buffer_bytes=20_000)
