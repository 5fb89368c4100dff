"""``testbed vm run``: several kernels from the command line to one page; what one kernel's failure costs; resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from compared_runs import make
from kernel_runs import in_machine
from typer.testing import CliRunner, Result

from testbed.cli.main import app
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.runner import OnMessage, RunRequest
from testbed.record.run_directory import RunDirectory
from testbed.remote.checkout import read_checkout
from testbed.vm import backend, choosing, tools
from testbed.vm.cache import Cache
from testbed.vm.earlier import source_of
from testbed.vm.images import Images
from testbed.vm.machine import BootFailed
from testbed.vm.qemu import Hardware

RATES = {"tcp-path1": 19e6, "tcp-path2": 19e6, "mptcp": 37e6}
BASE = ("aggregation", "--repeat", "1", "--kernels")


@cache
def source() -> Mapping[str, object]:
    """What run.json says of this checkout."""
    told: Mapping[str, object] = source_of(read_checkout())
    return told


class Machines:
    """Kernels whose machines do as a test says."""

    def __init__(self) -> None:
        self.fails: dict[str, Exception] = {}
        self.factor: dict[str, float] = {}
        self.asked: list[tuple[str, RunRequest]] = []
        self.source = source()

    @contextmanager
    def opened(self, place: str, hardware: Hardware) -> Iterator[Callable[[RunRequest, OnMessage], RunDirectory]]:
        word = place.removeprefix("vm:")

        def run(request: RunRequest, hear: OnMessage) -> RunDirectory:
            self.asked.append((word, request))
            hear({"kind": "note", "text": f"booting {word}"})
            if word in self.fails:
                raise self.fails[word]
            document = in_machine(word, f"{word}.0-test", {}) | {"source": self.source}
            told = {"clock": hardware.clock, "shift": json.dumps(hardware.shift)}
            document["ran_on"] = {**document["ran_on"], **told}
            factor = self.factor.get(word, 1.0)
            numbers = lambda variant, *_: {"goodput_bit_s": RATES.get(variant, 18e6) * factor}  # noqa: E731
            return RunDirectory.open(make(request.parent, numbers, request.experiment, document=document))

        yield run


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machines:
    made = Machines()

    def images_of_all(_cache: Cache, words: Sequence[str], _say: object) -> Mapping[str, Images | Exception]:
        nothing = Path("/nothing")
        found = {word: Images(name=word, version=f"{word}.0-test", kernel=nothing, root=nothing) for word in words}
        return {**found, **{word: made.fails[word] for word in words if word == "gone"}}

    monkeypatch.setattr(choosing, "images_of_all", images_of_all)
    monkeypatch.setattr(backend, "opened", made.opened)
    monkeypatch.setattr(tools, "require", lambda _program: None)
    monkeypatch.chdir(tmp_path)
    return made


def vm_run(*words: str) -> Result:
    return CliRunner().invoke(app, ["vm", "run", *words])


def test_kernels_run_side_by_side_and_one_page_compares_them(machines: Machines) -> None:
    done = vm_run(*BASE, "6.1,6.12", "--jobs", "2")
    assert done.exit_code == 0, done.output
    assert sorted(word for word, _ in machines.asked) == ["6.1", "6.12"]
    (page,) = Path("runs/aggregation").glob("kernels-*/compare.html")
    assert f"comparison: {page}" in done.stdout
    assert "All 3 expectations are met on 6.1 and 6.12." in done.stdout
    assert "6.12 against 6.1. No change found" in done.stdout
    assert "6.1   booting 6.1" in done.stderr
    reports = list(Path("runs/aggregation").glob("*/report.html"))
    assert len(reports) == 2


def test_variants_without_a_kernel_are_left_out_and_that_is_said(machines: Machines) -> None:
    done = vm_run(*BASE, "6.1")
    assert "left out, for no kernel takes part: userspace-tcp-path1, userspace-tcp-path2, userspace" in done.stderr
    ((_, request),) = machines.asked
    assert [variant.name for variant in request.experiment.variants] == ["tcp-path1", "tcp-path2", "mptcp"]
    vm_run(*BASE, "6.1", "--all-variants")
    assert len(machines.asked[1][1].experiment.variants) == 6
    vm_run(*BASE, "6.1", "--variant", "userspace-tcp-path1")
    assert [variant.name for variant in machines.asked[2][1].experiment.variants] == ["userspace-tcp-path1"]


def test_a_kernel_that_does_not_boot_is_named_with_its_console_and_the_others_run(machines: Machines) -> None:
    machines.fails["7.3"] = BootFailed("QEMU ended; its console (/x/console.log) ends with: panic")
    done = vm_run(*BASE, "6.1,7.3,6.12", "--quiet")
    assert done.exit_code == 3
    assert "7.3: aggregation: INVALID: QEMU ended; its console (/x/console.log) ends with: panic" in done.stderr
    (page,) = Path("runs/aggregation").glob("kernels-*/compare.md")
    assert "- 7.3: QEMU ended; its console (/x/console.log) ends with: panic" in page.read_text()
    assert "6.12 against 6.1" in page.read_text()


def test_a_kernel_that_cannot_be_had_is_unsupported_and_alone_it_is_the_exit_code(machines: Machines) -> None:
    machines.fails["gone"] = Unsupported("gone: the archive has no such kernel")
    done = vm_run(*BASE, "gone,6.1", "--json")
    assert done.exit_code == 0, done.output
    assert "gone: UNSUPPORTED: gone: the archive has no such kernel" in done.stderr
    (told,) = json.loads(done.stdout)
    assert [(each["kernel"], each["exit_code"], each["path"] is None) for each in told["kernels"]] == [
        ("gone", 4, True),
        ("6.1", 0, False),
    ]
    assert vm_run(*BASE, "gone").exit_code == 4


def test_an_expectation_that_failed_on_one_kernel_is_the_exit_code_of_all(machines: Machines) -> None:
    machines.factor["6.12"] = 0.5
    machines.fails["7.3"] = BootFailed("panic")
    done = vm_run(*BASE, "6.1,6.12,7.3")
    assert done.exit_code == 1
    assert "Of 3 expectations, 2 FAILED on 6.12; the others are met." in done.stdout
    assert "6.12 ✗ FAILED" in done.stdout


def test_resuming_takes_what_is_complete_and_runs_only_the_rest(machines: Machines) -> None:
    machines.fails["6.12"] = BootFailed("panic")
    assert vm_run(*BASE, "6.1,6.12").exit_code == 3
    del machines.fails["6.12"]
    machines.asked.clear()
    done = vm_run(*BASE, "6.1,6.12", "--resume")
    assert done.exit_code == 0, done.output
    assert [word for word, _ in machines.asked] == ["6.12"]
    assert "6.12 against 6.1" in done.stdout

    machines.asked.clear()
    vm_run(*BASE, "6.1", "--resume", "--shift", "3")  # in another machine it is another measurement
    machines.source = {**machines.source, "tree": "other"}
    vm_run(*BASE, "6.1", "--resume", "--seed", "2")
    assert [word for word, _ in machines.asked] == ["6.1", "6.1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no_such_thing", "--kernels", "6.1"), "no_such_thing"),
        ((*BASE, "6.1,6.1"), "--kernels: 6.1 is there twice"),
        ((*BASE, "6.1", "--time", "real", "--shift", "1"), "--shift is for virtual time"),
        ((*BASE, "6.1", "--set", "nonsense=1"), "nonsense"),
        ((*BASE, "6.1", "--cpus", "2"), "virtual time has one processor"),
    ],
)
def test_a_slip_of_the_pen_is_told_before_any_machine_is_booted(
    machines: Machines, words: tuple[str, ...], said: str
) -> None:
    done = vm_run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not machines.asked


def test_an_experiment_that_is_the_same_on_every_kernel_is_not_run_unless_that_is_wanted(machines: Machines) -> None:
    done = vm_run("aggregation", "--kernels", "6.1", "--variant", "userspace", "--repeat", "1", "-q")
    assert done.exit_code == 0, done.output
    done = vm_run("option_contention", "--kernels", "6.1", "-q")
    assert done.exit_code == 4
    assert "UNSUPPORTED" in done.stderr
