from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import testbed as _testbed

ROOT = Path(__file__).parents[3]


def _started(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what runs something."""
    return subprocess.run(
        [sys.executable, "-m", "testbed", *words],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "command", ["run", "list", "show", "report", "claims", "analyze", "options", "doctor", "clean"]
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = _testbed(command, "--help")

    assert result.returncode == 0
    assert "Example:" in result.stdout


def test_list_names_every_experiment_and_topology_for_people_and_machines() -> None:
    text, data = _testbed("list").stdout, json.loads(_testbed("list", "--json").stdout)

    kinds = {"experiments", "claims", "topologies", "implementations", "policies", "middleboxes", "matches"}
    kinds |= {"queues", "tests", "traces"}
    assert kinds == set(data)
    for kind in kinds:
        assert data[kind]
        assert all(entry["name"] in text for entry in data[kind])


def test_show_draws_a_topology_and_writes_the_svg(tmp_path: Path) -> None:
    picture = tmp_path / "two_path.svg"

    result = _testbed("show", "two_path", "--addresses", "--svg", str(picture))

    assert "client" in result.stdout
    assert "20 Mbit/s" in result.stdout
    assert "10.0.1.1" in result.stdout
    assert picture.read_text().startswith("<svg")


def test_show_tells_question_expectations_and_keys_of_an_experiment() -> None:
    text = _testbed("show", "aggregation").stdout

    assert "How much of the sum" in text
    assert ">= 1.8" in text
    assert "congestion_control" in text


def test_a_dry_run_prints_plan_and_commands_and_makes_nothing(tmp_path: Path) -> None:
    words = ("run", "aggregation", "--backend", "mininet", "--dry-run", "--repeat", "2", "--variant", "mptcp")
    result = _testbed(*words, cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert "2 trials" in result.stdout
    assert "ip mptcp endpoint add" in result.stdout
    assert "rule add from 10.0.1.1" in result.stdout
    assert 'python -m testbed.emulation <<< \'{"links"' in result.stdout
    assert 'python -m testbed.endpoint <<< \'{"role":"client"' in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("run", "agregation"), "aggregation"),
        (("run", "aggregation", "--set", "path2.los=1%"), "path2.loss"),
        (("run", "aggregation", "--set", "duration=20"), "ms"),
        (("run", "aggregation", "--variant", "mptpc"), "mptcp"),
        (("run", "aggregation", "--backend", "moon"), "mininet"),
        (("show", "two_pth"), "two_path"),
        (("run", "handover", "--set", "duration=2s"), "wifi.changes"),
        (("list", "planets"), "topologies"),
    ],
)
def test_bad_input_is_one_line_that_names_the_near_ones_and_exits_2(words: tuple[str, ...], near: str) -> None:
    result = _testbed(*words)

    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert near in result.stderr


def test_a_backend_that_is_not_here_is_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without QEMU
    result = _testbed("run", "quickstart", "--backend", "vm:6.12", cwd=tmp_path)

    assert result.returncode == 4
    assert "UNSUPPORTED: qemu-system-x86_64 is not installed" in result.stderr
    assert "apt install qemu-system-x86" in result.stderr


def test_an_experiment_of_which_no_variant_can_be_simulated_is_unsupported_and_says_what_it_needs(
    tmp_path: Path,
) -> None:
    result = _started("run", "quickstart", "--variant", "tcp", "--out", str(tmp_path))

    assert result.returncode == 4
    assert "needs --backend mininet" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_of_no_run_directory_says_so(tmp_path: Path) -> None:
    result = _testbed("report", str(tmp_path))

    assert result.returncode == 3
    assert "not a run directory" in result.stderr


@pytest.mark.needs_root
def test_without_root_a_run_exits_4_with_the_line_of_the_doctor(tmp_path: Path) -> None:
    # everything is imported first: an unprivileged user may not be able to read the interpreter's libraries
    code = (
        "import os, sys; sys.argv = ['testbed', 'run', 'quickstart', '--backend', 'mininet', '--out', sys.argv[1]]\n"
        "import experiments.catalog, rich.progress, testbed.cli.progress, testbed.orchestrator.overrides\n"
        "import testbed.orchestrator.runner, testbed.orchestrator.spec as spec\n"
        "spec.digest(experiments.catalog.build('quickstart'))\n"
        "from testbed.cli.main import main\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "main()\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode == 4, result.stderr
    assert "UNSUPPORTED: root" in result.stderr
    assert "sudo" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_simulated_dry_run_tells_flows_path_managers_changes_and_what_has_no_effect() -> None:
    words = ("run", "handover", "--dry-run", "--set", "userspace.client.nodelay=true", "--set", "offloads=on")
    lines = _testbed(*words).stdout.splitlines()

    assert "# offloads=on has no effect: segments have no offloads in virtual time" in lines
    of_one = lines[lines.index("# variant userspace: MPTCP of our own stack over WiFi and LTE at once.") :]
    assert of_one[2:4] == ["#     at 6s: down", "#     at 12s: up"]
    assert "#   path manager signal" in of_one
    assert "#   flow main: bulk direction=download; client userspace nodelay=True, server userspace" in of_one


def test_keys_without_effect_in_virtual_time_are_noted_and_their_defaults_are_not(tmp_path: Path) -> None:
    words = ("run", "quickstart", "--variant", "userspace-tcp", "--repeat", "1", "--set", "duration=100ms")
    told = _started(*words, "--set", "retries=2", "--set", "realisation=relay", "--set", "offloads=auto", cwd=tmp_path)

    notes = [line for line in (told.stdout + told.stderr).splitlines() if "has no effect" in line]
    assert len(notes) == 2
    assert {word for line in notes for word in line.split() if "=" in word} == {"retries=2", "realisation=relay"}
