"""A host that lives on another machine, with two namespaces for machines and the real agent between them."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from two_machines import SECRET, TwoMachines, two_machines

from experiments.quickstart import quickstart
from testbed.endpoint.child import descendants
from testbed.orchestrator import features, namespaces, plan, runner
from testbed.orchestrator import spec as specification
from testbed.orchestrator.away.exchange import AwayLost
from testbed.orchestrator.away.machine import AwayMachine, connected
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.runner import RunRequest
from testbed.orchestrator.trial import Outcome, run_trial

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp, pytest.mark.slow]

DURATION_NS = 10**9


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoMachines]:
    with two_machines(tmp_path_factory.mktemp("machines")) as both:
        yield both


@pytest.fixture
def away(machines: TwoMachines) -> Iterator[AwayMachine]:
    with connected(machines.where, machines.near_fd) as machine:
        yield machine


def carried_out(
    away: AwayMachine,
    directory: Path,
    variant: str = "linux/linux",
    on_traffic: Callable[[], None] = lambda: None,
    **changes: object,
) -> Outcome:
    (directory / "logs").mkdir()
    experiment = dataclasses.replace(quickstart(), duration_ns=DURATION_NS, **changes)  # type: ignore[arg-type]
    trial = next(each for each in plan.trials(experiment) if each.variant == variant)

    def progress(phase: str, _expected_s: float) -> None:
        if phase == "traffic":
            on_traffic()

    return run_trial(
        experiment, trial, run_id="t1", directory=directory, qdiscs=features.qdiscs(), progress=progress, away=away
    )


def test_a_trial_between_two_machines_is_that_of_one(away: AwayMachine, tmp_path: Path) -> None:
    outcome = carried_out(away, tmp_path, capture=True, ledger=True)

    assert outcome.verdict == "VALID", outcome.reason
    tables = outcome.record.tables
    (flow,) = tables["flows"]
    assert flow["subflows"] == 2
    assert flow["integrity"] == "ok"
    assert flow["goodput_bit_s"] > 12e6  # two paths of 10 Mbit/s
    assert flow["connect_time_ns"] >= 20e6  # the round trip over the emulated path, not only over the private link
    counters = {(row["host"], row["counter"]): row["after"] - (row["before"] or 0) for row in tables["counters"]}
    assert counters["client", "MPTcpExtMPCapableSYNTX"] == 1
    assert counters["server", "MPTcpExtMPCapableSYNRX"] == 1
    assert counters["server", "MPTcpExtMPJoinAckRx"] == 1
    assert {row["subject"] for row in tables["samples"]} >= {"machine", "machine of server", "main.server"}
    assert {path.name for path in (tmp_path / "captures").iterdir()} >= {"client-eth0.pcap", "server-eth1.pcap"}
    (note,) = [row["detail"] for row in tables["events"] if row["subject"] == "the other machine"]
    assert "its clock is known to +-" in note
    times = [row["time_ns"] for row in tables["samples"] if row["subject"] == "main.server"]
    assert -(10**8) < min(times) < max(times) < 30 * 10**9
    lacks = [row for row in tables["events"] if row["subject"] == "kernel ledger" and "no rows" in row["detail"]]
    assert lacks or {row["side"] for row in tables["segments"]} == {"client", "server"}


def test_what_the_host_there_is_not_as_planned_is_found_there(away: AwayMachine, tmp_path: Path) -> None:
    experiment = quickstart()
    variant = experiment.variant("linux/linux")
    with pytest.raises(Unsupported, match=r"the machine of server: .*reno-of-mars"):
        server = dataclasses.replace(variant.flows[0].server, scheduler="reno-of-mars")
        flow = dataclasses.replace(variant.flows[0], server=server)
        odd = dataclasses.replace(variant, flows=(flow,))
        away.ask(
            "build",
            experiment=specification.to_json(dataclasses.replace(experiment, variants=(odd,), expectations=())),
            node="server",
            qdiscs=dataclasses.asdict(features.qdiscs()),
            watch_stalls=False,
            seed=1,
            first_vlan=1,
        )
    with pytest.raises(InvalidTrial, match="there is no lab"):
        away.ask("check")


def test_an_agent_that_is_killed_disturbs_the_trial_and_leaves_nothing(tmp_path: Path) -> None:
    with two_machines(tmp_path) as both, connected(both.where, both.near_fd) as away:
        there: list[int] = []

        def kill() -> None:
            there.extend(descendants(both.agent.pid))
            os.kill(both.agent.pid, signal.SIGKILL)

        outcome = carried_out(away, tmp_path, on_traffic=kill)

        assert outcome.verdict == "INVALID"
        assert outcome.disturbed
        assert "the other machine" in outcome.reason
        assert any(row["host"] == "client" for row in outcome.record.tables["counters"])
        assert len(there) >= 4  # guard, init, worker, endpoint
        assert not [pid for pid in there if Path(f"/proc/{pid}/cmdline").exists() and _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_wire_of_the_private_link_that_is_cut_disturbs_the_trial(tmp_path: Path) -> None:
    with two_machines(tmp_path) as both, connected(both.where, both.near_fd) as away:
        outcome = carried_out(away, tmp_path, on_traffic=both.cut, variant="userspace-tcp-path2")

        assert outcome.verdict == "INVALID"
        assert outcome.disturbed
        assert "the private link's wire of path1 is down" in outcome.reason
        assert "the machine of server: the private link's wire of path1 is down" in outcome.reason


def test_a_stranger_is_not_served(machines: TwoMachines) -> None:
    stranger = dataclasses.replace(machines.where, secret=f"not {SECRET}")

    with pytest.raises(AwayLost, match="is the secret the same"), connected(stranger, machines.near_fd):
        pass


def test_a_run_tells_of_both_machines(machines: TwoMachines, tmp_path: Path) -> None:
    experiment = dataclasses.replace(quickstart(), duration_ns=DURATION_NS, repetitions=1, expectations=(), claims=())
    experiment = dataclasses.replace(experiment, variants=(experiment.variant("linux/userspace"),))
    request = RunRequest(experiment=experiment, parent=tmp_path, away=machines.where)
    with namespaces.inside(machines.near_fd):  # where the private link is
        directory = runner.run(request, lambda _message: None)

    assert directory.document["away"]["node"] == "server"
    assert directory.document["away"]["kernel"]["release"] == os.uname().release
