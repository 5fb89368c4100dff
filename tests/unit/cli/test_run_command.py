"""``testbed run`` for programs: experiments from JSON instead of names, and what happens as lines of JSON."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_line import testbed as _testbed

from experiments.catalog import build
from testbed.cli.messages import MessageLines
from testbed.orchestrator import spec
from testbed.orchestrator.overrides import apply, only_variants
from testbed.record.run_directory import RunDirectory

VARIANT = "userspace-tcp"


def small() -> spec.Experiment:
    experiment = only_variants(build("quickstart", {}), [VARIANT])
    return apply(experiment, ["duration=200ms", "repetitions=1"])


def as_file(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_a_file_nested_beyond_every_limit_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)

    ended = _testbed("run", "--spec", str(tmp_path / "deep.json"))

    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "deep.json: is not JSON" in ended.stderr


def test_an_experiment_from_json_is_the_one_that_was_written_and_its_changes_apply(tmp_path: Path) -> None:
    experiment = small()
    file = as_file(tmp_path / "one.json", spec.to_json(experiment))

    as_it_is = json.loads(_testbed("run", "--spec", str(file), "--dry-run", "--json").stdout)
    changed = json.loads(
        _testbed("run", "--spec", str(file), "--dry-run", "--json", "--seed", "7", "--set", "path1.loss=1%").stdout
    )

    assert spec.from_json(as_it_is["experiment"]) == experiment
    assert spec.from_json(changed["experiment"]) == apply(experiment, ["path1.loss=1%", "seed=7"])


def test_a_program_hears_every_message_and_the_run_says_who_asked_for_it(tmp_path: Path) -> None:
    request = {
        "experiment": spec.to_json(small()),
        "command": ["testbed", "run", "quickstart", "--backend", "ssh:far"],
        "overrides": {"duration": "200ms"},
        "ran_on": {"host": "far"},
    }
    file = as_file(tmp_path / "request.json", request)

    said = _testbed("run", "--spec", str(file), "--messages", "--out", str(tmp_path / "runs"))

    messages = [json.loads(line) for line in said.stdout.splitlines()]
    told = [message["kind"] for message in messages if message["kind"] != "tick"]
    assert told == ["run", "trial", "phase", "ended", "done"]
    assert messages[-1]["code"] == said.returncode == 0
    assert said.stderr == ""
    run = RunDirectory.open(Path(messages[-1]["path"]))
    assert run.is_complete
    assert run.document["command"] == request["command"]
    assert run.document["overrides"] == request["overrides"]
    assert run.document["ran_on"] == request["ran_on"]
    assert not (run.path / "report.html").exists(), "who listens makes it"
    again = json.loads(_testbed("run", "--spec", str(run.path / "run.json"), "--dry-run", "--json").stdout)
    assert spec.digest(spec.from_json(again["experiment"])) == run.document["digest"], "a run.json is a specification"


@pytest.mark.parametrize(
    ("document", "key", "fix"),
    [
        ([], "list", "at least one"),
        (5, "experiment", "object"),
        ({"name": "x", "question": "?"}, "variants", "required"),
        ([spec.to_json(small()), {"experiment": {"name": 1}}], "1.experiment.name", "string"),
        ({"experiment": {}, "comand": []}, "comand", "'command'"),
        ({"experiment": spec.to_json(small()), "command": "testbed run"}, "command", "list of words"),
        ({"experiment": spec.to_json(small()), "overrides": [1]}, "overrides", "object of texts"),
        (spec.to_json(small()) | {"repetitions": 0}, "repetitions", "at least 1"),
        (spec.to_json(small()) | {"repetition": 2}, "repetition", "nexpected"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_key(tmp_path: Path, document: Any, key: str, fix: str) -> None:
    file = as_file(tmp_path / "bad.json", document)

    result = _testbed("run", "--spec", str(file), "--out", str(tmp_path / "runs"))

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert str(file) in result.stderr
    assert key in result.stderr
    assert fix in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "which experiment"),
        (("run", "quickstart", "--spec", "x.json"), "not both"),
        (("run", "quickstart", "--messages", "--json"), "choose one"),
        (("run", "--spec", "/nowhere/x.json"), "cannot be read: No such file"),
        (("run", "quickstart", "--backend", "ship:far"), "the backends are"),
    ],
)
def test_words_that_do_not_go_together_are_a_usage_error(words: tuple[str, ...], said: str) -> None:
    result = _testbed(*words)

    assert result.returncode == 2
    assert said in result.stderr


def test_a_run_goes_on_when_nobody_listens_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        lines = MessageLines()

        lines({"kind": "run", "path": "runs/x"})
        lines({"kind": "note", "text": "unheard"})

    assert lines.path == "runs/x"


def test_signs_of_life_do_not_flood_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr("sys.stdout", heard)
    lines = MessageLines()

    for _ in range(1000):
        lines({"kind": "tick"})

    assert 1 <= len(heard.getvalue().splitlines()) < 100
