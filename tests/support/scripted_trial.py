"""One trial with a scripted peer in virtual time, or on real kernels, and what it left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.orchestrator import plan, sim_trial
from testbed.orchestrator.spec import Endpoint, Experiment, Flow, PathManager, Script, Variant
from testbed.orchestrator.trial import Outcome
from topologies.model import Family
from topologies.two_path import two_path

SCRIPT, OURS = Endpoint(implementation="script"), Endpoint(implementation="userspace")
SECOND = 1_000_000_000


def experiment(
    lines: Sequence[str],
    other: Endpoint = OURS,
    *,
    role: str = "client",
    mode: Any = "subflow",
    family: Family = 4,
    **application: Any,
) -> Experiment:
    """The script as ``role``, ``other`` as the other end; two paths of 20 and 60 ms."""
    ends = {"client": SCRIPT, "server": other} if role == "client" else {"client": other, "server": SCRIPT}
    flow = Flow(application=Script(lines=tuple(lines), **application), **ends)
    manager = PathManager(mode=mode)
    variant = Variant(name="v", summary="s", topology=two_path(families=(family,)), path_manager=manager, flows=(flow,))
    return Experiment(
        name="scripted", question="?", variants=(variant,), repetitions=1, duration_ns=20 * SECOND, any_outcome=True
    )


class Scripted:
    """The outcome, its only flow, what the script observed, and the counters of the other end."""

    def __init__(self, outcome: Outcome, host: str) -> None:
        self.outcome = outcome
        tables = outcome.record.tables
        (self.flow,) = tables["flows"]
        self.observed: Mapping[str, Any] = {row["name"]: row["value"] for row in tables["observations"]}
        self.counters = {
            row["counter"].removeprefix("MPTcpExt"): row["after"] - row["before"]
            for row in tables["counters"]
            if row["host"] == host
        }


def simulated(folder: Path, lines: Sequence[str], other: Endpoint = OURS, **more: Any) -> Scripted:
    """In virtual time; the trial is VALID."""
    it = attempted(folder, lines, other, **more)
    assert it.outcome.verdict == "VALID", it.outcome.reason
    return it


def attempted(folder: Path, lines: Sequence[str], other: Endpoint = OURS, **more: Any) -> Scripted:
    """The same, VALID or not."""
    made = experiment(lines, other, **more)
    (folder / "logs").mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    return Scripted(outcome, "server" if more.get("role", "client") == "client" else "client")
