"""run.json of a run for another machine: who asked, and which files ran although git was not sent."""

from __future__ import annotations

import json
from pathlib import Path

from testbed.orchestrator import environment, runner
from testbed.orchestrator.runner import RunRequest


def _request(parent: Path, ran_on: dict[str, str] | None) -> RunRequest:
    from experiments.catalog import build
    from testbed.orchestrator import overrides

    small = overrides.only_variants(build("quickstart"), ["userspace-tcp"])
    experiment = overrides.apply(small, ["duration=100ms", "repetitions=1"])
    return RunRequest(experiment=experiment, parent=parent, backend="sim", jobs=1, ran_on=ran_on)


def test_a_run_for_another_machine_says_so_and_is_the_same_experiment(tmp_path: Path) -> None:
    sent = {"backend": "ssh:lab/sim", "host": "me@lab:22"}

    here = runner.run(_request(tmp_path / "here", None), lambda message: None)
    there = runner.run(_request(tmp_path / "there", sent), lambda message: None)

    assert there.document["ran_on"] == sent
    assert "ran_on" not in here.document
    assert here.document["digest"] == there.document["digest"]


def test_a_shipped_checkout_tells_the_commit_it_was_made_of(tmp_path: Path) -> None:
    sent = {"commit": "0" * 40, "dirty": True, "tree": "1" * 64}
    (tmp_path / environment.SHIPPED).write_text(json.dumps(sent))

    assert environment.source(tmp_path) == sent
