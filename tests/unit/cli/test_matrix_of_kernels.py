"""``testbed matrix --kernels``: a machine for each kernel and each pair of kernels, and one matrix of all runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import testbed
from matrix_run import make_matrix_run

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.runner import RunRequest
from testbed.record.run_directory import RunDirectory
from testbed.vm import backend
from testbed.vm.machine import BootFailed
from testbed.vm.qemu import Hardware

ENDS = ("--implementations", "linux,userspace", "--tests", "handshake")


class Machines:
    """Instead of real ones: each carries out a request by making up a run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        """Place, clock and experiment of each request."""
        self.broken: dict[str, Exception] = {}
        """Place -> what becomes of every request there."""
        self.reported: list[Path] = []
        self.source = {"commit": "1", "dirty": False, "tree": "1"}
        """Of the checkout, as the machines have it."""
        self.go_on: list[bool] = []
        """Whether each request goes on with what is unfinished of it."""

    @contextmanager
    def opened(self, place: str, hardware: Hardware) -> Iterator[Callable[[RunRequest, Any], RunDirectory]]:
        def run(request: RunRequest, on_message: Any) -> RunDirectory:
            self.asked.append((place, hardware.clock, request.experiment.name))
            self.go_on.append(request.resume)
            if place in self.broken:
                raise self.broken[place]
            on_message({"kind": "note", "text": "booted"})
            there = {"backend": place, "clock": hardware.clock, "shift": str(hardware.shift)}
            kernel = {"release": place.removeprefix("vm:"), "version": ""}
            document = {"ran_on": there, "source": self.source, "kernel": kernel}
            outcomes = {}
            if request.experiment.interop is None:
                outcomes = {variant.name: "UNSUPPORTED" for variant in request.experiment.variants}
            path = make_matrix_run(request.parent, request.experiment, outcomes, document=document)
            return RunDirectory.open(path)

        yield run

    def places(self) -> set[str]:
        return {place for place, _, _ in self.asked}


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    made = Machines()
    monkeypatch.setattr(backend, "opened", made.opened)
    monkeypatch.setattr("testbed.remote.checkout.read_checkout", lambda: None)
    monkeypatch.setattr("testbed.vm.earlier.source_of", lambda checkout: made.source)
    monkeypatch.setattr("analysis.report.write.write_report", made.reported.append)  # a second each
    return made


def document(out: Path) -> dict[str, Any]:
    (folder,) = (out / "interop").glob("kernels-*")
    found: dict[str, Any] = json.loads((folder / "matrix.json").read_text())
    return found


def results(found: dict[str, Any]) -> Sequence[Sequence[str]]:
    """Client by server."""
    words = [pair[0]["result"] for pair in found["results"]]
    width = len(found["servers"])
    return [words[start : start + width] for start in range(0, len(words), width)]


def test_each_kernel_and_each_pair_is_asked_by_machines_of_its_own(machines: Machines, tmp_path: Path) -> None:
    ended = testbed("matrix", "--kernels", "6.1,6.12", *ENDS, "--out", str(tmp_path), "--jobs", "2", "-q")

    assert ended.returncode == 0, ended.stderr
    assert sorted(machines.asked) == [
        ("vm:6.1", "virtual", "interop"),
        ("vm:6.1+6.12", "virtual", "interop"),
        ("vm:6.12", "virtual", "interop"),
        ("vm:6.12+6.1", "virtual", "interop"),
    ]
    assert sorted(machines.reported) == sorted(path.parent for path in tmp_path.glob("interop/*/run.json"))
    found = document(tmp_path)
    assert found["clients"] == found["servers"] == ["linux@6.1", "linux@6.12", "userspace"]
    assert results(found) == [["succeeded"] * 3] * 3


def test_a_kernel_can_be_named_in_the_row_alone(machines: Machines, tmp_path: Path) -> None:
    words = ["--clients", "linux@6.12", "--servers", "userspace", "--tests", "handshake"]

    ended = testbed("matrix", *words, "--out", str(tmp_path), "-q")

    assert ended.returncode == 0, ended.stderr
    assert machines.places() == {"vm:6.12"}
    assert document(tmp_path)["clients"] == ["linux@6.12"]


def test_a_kernel_that_does_not_boot_costs_its_own_cells_alone(machines: Machines, tmp_path: Path) -> None:
    machines.broken["vm:6.12"] = BootFailed("no answer in 180 s")

    ended = testbed("matrix", "--kernels", "6.1,6.12", *ENDS, "--out", str(tmp_path))

    found = document(tmp_path)
    assert ended.returncode == 3, ended.stderr
    assert results(found) == [
        ["succeeded", "succeeded", "succeeded"],
        ["succeeded", "invalid", "invalid"],
        ["succeeded", "invalid", "succeeded"],
    ]
    assert found["results"][4][0]["reason"] == "vm:6.12: no answer in 180 s"
    assert "vm:6.12" in ended.stderr
    assert "no answer in 180 s" in ended.stderr


def test_what_cannot_run_here_is_unsupported_and_no_failure(machines: Machines, tmp_path: Path) -> None:
    machines.broken |= {f"vm:{pair}": Unsupported("no link between them") for pair in ("6.1+6.12", "6.12+6.1")}

    ended = testbed("matrix", "--kernels", "6.1,6.12", *ENDS, "--out", str(tmp_path), "-q")

    assert ended.returncode == 0, ended.stderr
    assert results(document(tmp_path))[0] == ["succeeded", "unsupported", "succeeded"]


@pytest.mark.parametrize(
    ("error", "code"), [(Unsupported("qemu is not installed"), 4), (BootFailed("no answer"), 3)], ids=["4", "3"]
)
def test_with_nothing_to_show_the_reason_is_the_answer(
    error: Exception, code: int, machines: Machines, tmp_path: Path
) -> None:
    machines.broken["vm:6.1"] = error

    ended = testbed("matrix", "--kernels", "6.1", *ENDS, "--out", str(tmp_path), "-q")

    assert ended.returncode == code
    assert ended.stderr.count("\n") == 1
    assert str(error) in ended.stderr
    assert not list(tmp_path.rglob("matrix.json"))


def test_resume_keeps_what_is_complete_of_exactly_this(machines: Machines, tmp_path: Path) -> None:
    words = ["matrix", "--kernels", "6.1,6.12", *ENDS, "--out", str(tmp_path), "-q"]
    machines.broken["vm:6.12"] = BootFailed("no answer")
    assert testbed(*words).returncode == 3
    (first,) = (tmp_path / "interop").glob("kernels-*")
    first.rename(tmp_path / "earlier")
    machines.asked.clear()
    machines.broken.clear()
    assert not any(machines.go_on)
    (tmp_path / "interop" / "damaged").mkdir()
    (tmp_path / "interop" / "damaged" / "run.json").write_text("{")

    ended = testbed(*words, "--resume")

    assert ended.returncode == 0, ended.stderr
    assert machines.go_on[-1], "what was kept of an interrupted run is not done again"
    assert machines.places() == {"vm:6.12"}
    assert results(document(tmp_path)) == [["succeeded"] * 3] * 3
    machines.asked.clear()
    assert testbed(*words, "--resume").returncode == 0
    assert not machines.asked, "all is there"
    machines.source = {**machines.source, "tree": "2"}
    assert testbed(*words, "--resume").returncode == 0
    assert machines.places() >= {"vm:6.1", "vm:6.12"}, "another checkout is another program"
    machines.asked.clear()
    assert testbed(*words, "--resume", "--seed", "2").returncode == 0
    assert len(machines.asked) == 4, "another seed is another matrix"
    machines.asked.clear()
    assert testbed(*words, "--resume", "--shift", "3").returncode == 0
    assert len(machines.asked) == 4, "and so is another processor"


def test_with_claims_each_kernel_is_asked_the_group_and_the_table_stands_beside(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.kernel_claims.KERNEL_CLAIMS", ("address_announcements", "kernel_fallbacks"))
    words = ["--clients", "linux", "--servers", "linux", "--tests", "handshake", "--kernels", "6.1,6.12", "--claims"]

    ended = testbed("matrix", *words, "--out", str(tmp_path), "--jobs", "2", "-q")

    assert ended.returncode == 0, ended.stderr
    asked = [name for place, _, name in machines.asked if place == "vm:6.1"]
    assert asked == ["interop", "address_announcements", "kernel_fallbacks"]
    assert not [name for place, _, name in machines.asked if "+" in place and name != "interop"]
    (folder,) = (tmp_path / "interop").glob("kernels-*")
    table = json.loads((folder / "kernels.json").read_text())
    assert [kernel["name"] for kernel in table["kernels"]] == ["6.1", "6.12"]
    values = [cell["value"] for row in table["evidence"] for cell in row["by_kernel"] if cell is not None]
    assert values
    assert set(values) == {None}, "the claims were not measured, and a handshake has no number"


def test_runs_that_are_there_are_joined_by_hand(machines: Machines, tmp_path: Path) -> None:
    assert testbed("matrix", "--kernels", "6.1,6.12", *ENDS, "--out", str(tmp_path / "a"), "-q").returncode == 0
    runs = sorted(str(path.parent) for path in (tmp_path / "a" / "interop").glob("*/run.json"))
    machines.asked.clear()

    ended = testbed("matrix", "--merge", *runs, "--out", str(tmp_path / "b"), "--json", "-q")

    assert ended.returncode == 0, ended.stderr
    assert not machines.asked
    assert json.loads(ended.stdout)["results"][0][0]["result"] == "succeeded"
    before, after = document(tmp_path / "a"), document(tmp_path / "b")
    assert (after["clients"], results(after)) == (before["clients"], results(before))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kernels", "6.1", "--backend", "sim"], "--kernels boots machines of its own: leave --backend sim away"),
        (["--kernels", "6.1,6.1"], "6.1 is there twice"),
        (["--implementations", "linux@6.1", "--backend", "vm:6.12"], "linux@6.1: --backend vm:6.12 has another kernel"),
        (["--implementations", "linux@6.1", "--backend", "mininet"], "has another kernel at the client"),
        (
            ["--clients", "linux@6.12", "--servers", "linux@6.1", "--backend", "vm:6.1+6.12"],
            "linux@6.12: --backend vm:6.1+6.12 has another kernel at the client; leave --backend away",
        ),
        (["--claims"], "--claims goes with --kernels"),
        (["--merge"], "name their directories"),
        (["somewhere"], "somewhere: to join runs that are there, say --merge"),
        (["--kernels", "6.1", "--shift", "2", "--time", "real"], "--shift is for virtual time"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_does_not_go_together_is_one_line(words: list[str], said: str, machines: Machines, tmp_path: Path) -> None:
    ended = testbed("matrix", *words, "--out", str(tmp_path))

    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not machines.asked
    assert not list(tmp_path.iterdir())
