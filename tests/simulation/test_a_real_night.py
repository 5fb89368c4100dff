"""A night with processes: killed in the middle with SIGKILL, gone on with, told, accepted. And what the howto shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from command_line import testbed

from analysis.history import History
from testbed.nightly import builds, campaign
from testbed.orchestrator.readiness import wait_until

ROOT = Path(__file__).parents[2]
HOWTO = (ROOT / "docs" / "howto" / "nightly.md").read_text()
EXAMPLES = ROOT / "docs" / "examples" / "nightly"

TINY = """
name = "tiny"
summary = "A third of a second of TCP over each of two paths"
repetitions = 1
reference = { variant = "userspace-tcp-path1" }

[[series]]
experiment = "aggregation"
variants = ["userspace-tcp-path2"]
metrics = ["goodput_bit_s"]
set.duration = "300ms"
"""
SERIES = "aggregation userspace-tcp-path2 main goodput_bit_s vs userspace-tcp-path1"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """``nightly CAMPAIGN`` with places of its own."""
    place = tmp_path_factory.mktemp("nightly")
    (place / "tiny.toml").write_text(TINY)
    found = ["nightly", str(place / "tiny.toml"), "--date", "2026-11-01"]
    for option, name in (("--history", "history"), ("--site", "site"), ("--out", "nights")):
        found += [option, str(place / name)]
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, which nobody edits while the night is measured."""
    copy = tmp_path_factory.mktemp("checkout")
    for room in ("testbed", "topologies", "experiments", "analysis"):
        shutil.copytree(ROOT / room, copy / room)
    return copy


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.slow
def test_a_night_that_is_killed_in_the_middle_goes_on_and_is_told(
    words: list[str], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(words[1]).parent
    steps = place / "nights" / "tiny" / "2026-11-01" / "steps"
    began = subprocess.Popen(
        [sys.executable, "-m", "testbed", *words],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(list(steps.glob("*.json"))) == 1, deadline_s=60.0, what="the first run")
        wait_until(lambda: children(began.pid), deadline_s=60.0, what="the second run")
        second = children(began.pid)
    finally:
        began.send_signal(signal.SIGKILL)
        began.communicate()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in second), deadline_s=10.0, what="its end")
    assert not (place / "history").exists()

    monkeypatch.setattr(builds, "candidate", lambda: builds.of_checkout(checkout))
    result = testbed(*words)

    assert result.returncode == 0, result.stderr
    assert "going on with the night of 2026-11-01: 1 runs are done" in result.stderr
    assert result.stderr.count("measured") == 1, "only the second run was left"
    assert f" {SERIES} " in result.stdout
    frame = History(place / "history").frame()
    assert frame["series"].tolist() == [SERIES]
    assert frame["control"].tolist() == frame["reference"].tolist(), "virtual time repeats itself to the bit"
    assert frame["candidate"].tolist() != frame["reference"].tolist()
    assert (place / "site" / "index.html").is_file()

    again = testbed(*words, "--json")
    document = json.loads(again.stdout)
    assert (document["exit_code"], document["again"], document["states"]) == (0, True, {"new": 1})
    accepted = testbed(*words, "--accept", SERIES, "--why", "it is new")
    assert accepted.returncode == 0, accepted.stderr
    assert accepted.stdout.startswith(f"accepted since the night of 2026-11-01: {SERIES}")


def test_the_plan_is_printed_and_nothing_is_made(words: list[str], tmp_path: Path) -> None:
    elsewhere = [*words[:4], "--history", str(tmp_path / "h"), "--out", str(tmp_path / "o"), "--dry-run"]

    said = testbed(*elsewhere)
    document = json.loads(testbed(*elsewhere, "--json").stdout)

    assert said.returncode == 0
    assert "2 runs, in turns; about" in said.stdout
    assert document["series"] == [SERIES]
    assert [run["role"] for run in document["runs"]] == ["pair", "control"]
    assert document["runs"][0]["words"][:4] == ["run", "aggregation", "--backend", "sim"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--only", "none"], "--only none: the campaign has no such series; near: "),
        (["--date", "yesterday"], "--date yesterday: write YEAR-MONTH-DAY, such as 2026-01-31"),
        (["--date", "2026-02-30"], "--date 2026-02-30: day is out of range for month"),
        (["--accept", "all"], "--accept needs --why"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(words: list[str], more: list[str], said: str) -> None:
    result = testbed(*words, *more)

    assert result.returncode == 2
    assert result.stderr.startswith(f"testbed: {said}"), result.stderr
    assert result.stderr.count("\n") == 1


# --- the howto --------------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOWTO, re.DOTALL)


def test_the_howtos_campaign_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "mine.toml"
    path.write_text(text)

    found = campaign.load(path)

    assert tomllib.loads(text)["reference"]["build"] == found.reference.build
    assert found.series[0].assignments == ("duration=3s", "path2.loss=1%")


def test_the_howtos_dry_run_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (line,) = [line for line in blocks("sh")[0].splitlines() if "--dry-run" in line]

    result = testbed(*line.partition("#")[0].split()[1:])

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("smoke: ")


def test_the_howtos_bisection_has_a_campaign_against_the_old_commit(tmp_path: Path) -> None:
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("sed ")]
    path = tmp_path / "bisect.toml"

    subprocess.run(["bash", "-c", line.replace("/tmp/bisect.toml", str(path))], cwd=ROOT, check=True)

    assert campaign.load(path).name == "bisect"
    assert campaign.load(path).reference.build == "git:OLD"


def test_every_option_and_key_of_the_howto_exists() -> None:
    known = testbed("nightly", "--help").stdout
    commands = [line for block in blocks("sh") for line in block.splitlines() if "tb nightly" in line]

    for option in set(re.findall(r"(?<= )--?[a-z][a-z-]*", " ".join(commands))) - {"-c", "-d"}:
        assert option in known, option
    for key in re.findall(r"^\| `([a-z_.]+)` ", HOWTO, re.MULTILINE):
        owner, _, name = key.rpartition(".")
        model = {"": campaign.Campaign, "thresholds": campaign.Thresholds, "series": campaign.Series}[owner]
        assert name in model.model_fields, key


def test_the_howtos_states_are_those_of_the_history() -> None:
    from analysis.history import STATES

    section = HOWTO.partition("## Read the site")[2].partition("## When there is an alarm")[0]

    assert re.findall(r"^\| ([a-z ]+) \|", section, re.MULTILINE)[1:] == list(STATES)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in EXAMPLES.glob("testbed-nightly.*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/mptcp-testbed", str(ROOT)))

    result = subprocess.run([program, "verify", *sorted(tmp_path.iterdir())], capture_output=True, text=True)

    assert (result.returncode, result.stderr) == (0, "")


def test_the_workflow_is_yaml_and_its_commands_are_shell() -> None:
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())
    steps = workflow["jobs"]["nightly"]["steps"]

    for step in steps:
        assert ("run" in step) != ("uses" in step)
        if "run" in step:
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
    (measured,) = [step["run"] for step in steps if "tb nightly" in step.get("run", "")]
    known = testbed("nightly", "--help").stdout
    assert all(option in known for option in re.findall(r"(?<= )--[a-z]+", measured))
