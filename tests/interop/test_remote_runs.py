"""Runs on another machine, which is this one behind a real sshd: sent, watched, cut off, stopped, fetched whole.

Two tests run the real thing there, in the simulator and on real kernels. Where it matters when something happens, a
stand-in for ``tb`` waits for it (tests/support/stand_in_checkout.py).
"""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ssh_server
from command_line import testbed
from stand_in_checkout import calls, let_pass, stand_in

from experiments.catalog import build
from testbed.orchestrator import overrides, runner
from testbed.orchestrator.environment import ROOT
from testbed.orchestrator.errors import Interrupted, NotReady, Unsupported
from testbed.orchestrator.runner import RunRequest
from testbed.orchestrator.spec import Experiment
from testbed.record.errors import RecordError
from testbed.record.run_directory import RunDirectory
from testbed.record.schema import TABLES
from testbed.remote import detached, far, opened, remote_run
from testbed.remote.errors import Unreachable
from testbed.remote.session import Session

pytestmark = pytest.mark.needs_sshd
real_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout, which is what is sent")

SETTINGS = {"TB_NO_APT": "1", "TB_NO_BUILD": "1"}
"""What the other side's ./tb is told: this machine's packages and processors are not the test's."""
SMALL = ["duration=100ms", "repetitions=2"]
HOST = ["clock", "host_started_utc", "host_duration_ns"]
WALL_CLOCK = {"trials": ["started_utc", "setup_ns", "duration_ns", *HOST]}
"""Columns that tell when, and how long it took, by which clock."""


def _experiment(*changes: str, variant: str = "userspace-tcp") -> Experiment:
    return overrides.apply(overrides.only_variants(build("quickstart"), [variant]), [*SMALL, *changes])


def _request(experiment: Experiment, parent: Path, *, resume: bool = False) -> RunRequest:
    return RunRequest(experiment=experiment, parent=parent, command=["testbed", "run"], resume=resume, jobs=1)


def _here(experiment: Experiment, parent: Path) -> RunDirectory:
    return runner.run(dataclasses.replace(_request(experiment, parent), backend="sim"), lambda message: None)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return _here(_experiment(), tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stand-in looks for what it shall do."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[ssh_server.Server]:
    """With an environment as after a first run: making it is tb's business and takes pip minutes."""
    with ssh_server.running(tmp_path_factory.mktemp("sshd"), {**SETTINGS, "STAND_IN": str(made)}) as running:
        digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:20]
        (running.work / "environments").mkdir(parents=True)
        (running.work / "environments" / digest).symlink_to(ROOT / ".venv")
        (running.work / "build").symlink_to(ROOT / "build")
        yield running


@pytest.fixture(autouse=True)
def here(server: ssh_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hosts.toml").write_text(server.inventory())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stand(made: Path, local: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stand-in is what is sent; the directory in which files tell it what to do."""
    monkeypatch.setattr(far, "read_checkout", stand_in)
    if not (made / "run").exists():
        shutil.copytree(local.path, made / "run")
    calls(made)
    yield made
    for path in made.iterdir():
        if path.name != "run":
            path.unlink()


class Told:
    """Keeps the messages; does something after one of them."""

    def __init__(self, after: str = "", action: Callable[[], object] = lambda: None) -> None:
        self.messages: list[Mapping[str, Any]] = []
        self._after, self._action = after, action

    def __call__(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)
        if message["kind"] == self._after:
            self._after = ""
            self._action()

    @property
    def notes(self) -> str:
        return "\n".join(message["text"] for message in self.messages if message["kind"] == "note")

    def numbers(self, kind: str) -> list[int]:
        return [message["number"] for message in self.messages if message["kind"] == kind]

    def count(self, kind: str) -> int:
        return sum(message["kind"] == kind for message in self.messages)


def _jobs(server: ssh_server.Server) -> list[str]:
    return sorted(path.name for path in (server.work / "jobs").iterdir())


def _interrupt() -> None:
    raise KeyboardInterrupt


# --- the real thing ---


@real_checkout
def test_a_run_there_that_is_cut_off_in_the_middle_has_the_same_results_as_here(
    server: ssh_server.Server, here: Path, local: RunDirectory
) -> None:
    cut: list[int] = []
    told = Told("run", lambda: cut.append(server.cut_connections()))

    with opened("ssh:lab/sim") as run_there:
        there = run_there(_request(_experiment(), here), told)

    assert cut == [1]
    assert "lab: sending the checkout (" in told.notes
    assert "was lost; the run goes on there\nlab: connected again" in told.notes
    assert (told.count("run"), told.numbers("ended")) == (1, [0, 1])
    assert {name: _timeless(there, name) for name in TABLES} == {name: _timeless(local, name) for name in TABLES}
    assert there.altered_files() == ()
    trials = there.read_table("trials")
    assert set(trials["clock"].to_pylist()) == {"real"}
    assert trials["host_duration_ns"].null_count < 2  # the cut may have swallowed one
    assert all(local.read_table("trials")[name].null_count == 2 for name in HOST)
    assert there.path.parent == here / "quickstart"
    document = there.document
    assert document["ran_on"] == {
        "backend": "ssh:lab/sim", "host": f"{getpass.getuser()}@127.0.0.1:{server.port}", "clock": "real",
    }  # fmt: skip
    assert document["command"] == ["testbed", "run"]
    for same in ("digest", "experiment", "plan", "kernel", "machine", "versions"):
        assert document[same] == local.document[same], same
    assert document["source"] == {**local.document["source"], "tree": document["source"]["tree"]}
    assert _jobs(server) == []


def _timeless(directory: RunDirectory, table: str) -> object:
    return directory.read_table(table).drop_columns(WALL_CLOCK.get(table, []))


@real_checkout
@pytest.mark.needs_root
@pytest.mark.needs_mptcp
def test_real_kernels_are_what_runs_there_and_the_report_is_made_here(server: ssh_server.Server, here: Path) -> None:
    words = ["run", "quickstart", "--variant", "linux/linux", "--set", SMALL[0], "--repeat", "1", "--json"]

    result = testbed(*words, "--backend", "ssh:lab", cwd=here)

    assert result.returncode == 0, result.stderr
    path = here / json.loads(result.stdout)["path"]
    directory = RunDirectory.open(path)
    assert directory.document["backend"] == "mininet"
    assert directory.document["command"][:2] == ["testbed", "run"]
    assert "--spec" not in directory.document["command"]
    assert directory.read_table("trials").column("verdict").to_pylist() == ["VALID"]
    assert (path / "report.html").is_file()
    assert _jobs(server) == []


# --- when what happens ---


def test_a_run_whose_connection_never_comes_back_is_fetched_by_resume(
    server: ssh_server.Server, here: Path, stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> Session:
        raise Unreachable("lab: no SSH connection")

    os.mkfifo(stand / "gate1")
    request, told = _request(_experiment("seed=1"), here), Told()
    with monkeypatch.context() as patched:

        def cut_for_good() -> None:
            patched.setattr(remote_run, "PATIENCE_S", 0.0)
            patched.setattr(Session, "connect", nobody)
            server.cut_connections()

        told = Told("ended", cut_for_good)
        with (
            opened("ssh:lab/sim") as run_there,
            pytest.raises(Interrupted, match=r"lab: no SSH connection\. The run goes on there"),
        ):
            run_there(request, told)
    let_pass(stand / "gate1")
    again = Told()
    with opened("ssh:lab/sim") as run_there:
        fetched = run_there(dataclasses.replace(request, resume=True), again)

    (path,) = [message["path"] for message in told.messages if message["kind"] == "run"]
    assert path.startswith(f"lab:{server.work}/jobs/quickstart-")
    assert again.numbers("ended") == [0, 1, 2]
    assert fetched.is_complete
    assert calls(stand) == ["setup", "doctor", "run"]  # the second command started nothing
    assert _jobs(server) == []


def test_a_machine_too_busy_to_answer_is_asked_again(
    server: ssh_server.Server, here: Path, stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, told = Session.reattach, Told()

    def busy_once(self: Session, *words: Any, **how: Any) -> Any:
        monkeypatch.setattr(Session, "reattach", answers)
        raise NotReady("'sh' on lab says nothing after 30 s")

    monkeypatch.setattr(Session, "reattach", busy_once)
    with opened("ssh:lab/sim") as run_there:
        fetched = run_there(_request(_experiment("seed=9"), here), told)

    assert "'sh' on lab says nothing after 30 s; the run goes on there\nlab: connected again" in told.notes
    assert fetched.is_complete
    assert _jobs(server) == []


def test_an_interrupt_stops_it_in_order_there_and_resume_goes_on_with_the_rest(
    server: ssh_server.Server, here: Path, stand: Path
) -> None:
    os.mkfifo(stand / "gate1")
    request, told, rest = _request(_experiment("seed=2"), here), Told("ended", _interrupt), Told()
    with opened("ssh:lab/sim") as run_there:
        with pytest.raises(Interrupted, match="lab stopped the run"):
            run_there(request, told)
        kept = _jobs(server)
        (stand / "gate1").unlink()
        run_there(dataclasses.replace(request, resume=True), rest)

    assert len(kept) == 2  # its directory and its request
    assert "stopping it in order; Ctrl-C again leaves" in told.notes
    assert (told.numbers("ended"), rest.numbers("ended")) == ([0], [1, 2])
    assert [call for call in calls(stand) if call.startswith("run")] == ["run", "run --resume"]
    assert _jobs(server) == []


def test_the_same_run_twice_is_told_and_the_first_is_found_again(
    server: ssh_server.Server, here: Path, stand: Path
) -> None:
    os.mkfifo(stand / "gate2")
    request = _request(_experiment("seed=3"), here)
    second = Told("ended", lambda: let_pass(stand / "gate2"))
    with opened("ssh:lab/sim") as run_there:
        with pytest.raises(ZeroDivisionError):  # of whoever listens: nothing is asked to stop
            run_there(request, Told("ended", lambda: 1 // 0))
        one = run_there(request, second)
        other = run_there(dataclasses.replace(request, resume=True), Told())

    assert "the same already runs there; --resume would have watched it" in second.notes
    # the stand-in's two are one and the same run, but for when we heard of it: such a one is not kept twice
    assert one.path == other.path
    assert _jobs(server) == []


def test_what_came_otherwise_than_it_was_there_is_not_taken_and_stays_there(
    server: ssh_server.Server, here: Path, stand: Path
) -> None:
    (stand / "alters").touch()
    request = _request(_experiment("seed=4"), here)
    with opened("ssh:lab/sim") as run_there:
        with pytest.raises(RecordError, match=r"flows.parquet came otherwise .* it is kept on lab in "):
            run_there(request, Told())
        assert list((here / "quickstart").iterdir()) == []
        (job, _) = _jobs(server)
        run = server.work / "jobs" / job / "runs" / "quickstart" / "20260101T000000Z-00000000"
        shutil.copy(stand / "run" / "flows.parquet", run)
        for name, said in (("extra", "extra came"), ("more.parquet", "more.parquet came")):
            (run / name).touch()
            with pytest.raises(RecordError, match=said):
                run_there(dataclasses.replace(request, resume=True), Told())
            (run / name).unlink()
        run_there(dataclasses.replace(request, resume=True), Told())
    assert _jobs(server) == []


def test_the_checkout_is_sent_once_and_what_is_missing_there_is_unsupported(
    server: ssh_server.Server, here: Path, stand: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(far, "read_checkout", lambda: stand_in("2"))
    request = _request(_experiment(), here)

    def attempt(backend: str = "ssh:lab/sim") -> tuple[str, str]:
        told = Told()
        with opened(backend) as run_there:
            try:
                run_there(request, told)
            except Unsupported as error:
                return str(error), told.notes
        return "", told.notes

    (stand / "broken").touch()
    error, notes = attempt()
    assert error == "lab: ./tb setup fails there: error: Python 3.11 or newer is needed"
    assert "lab: sending the checkout (2 files, 0.0 MB, with changes that are not committed)" in notes
    assert "lab: not sent, since git does not track it: 'new.py' and 1 more (git add)" in notes
    (stand / "broken").unlink()
    (stand / "no-root").touch()
    calls(stand)
    error, notes = attempt("ssh:lab")
    assert error.endswith("lab: no experiments on real kernels there: root: effective user 1") or os.geteuid() != 0
    assert "sending" not in notes
    (stand / "refuses").touch()
    assert attempt()[0] == "lab: no MPTCP here"  # the simulator does not mind the obstacle; this one does
    assert calls(stand) == ["setup", "doctor", "doctor", "run"] or os.geteuid() != 0
    monkeypatch.setattr(detached, "TOOLS", (*detached.TOOLS, "no-such-program"))
    assert attempt()[0].startswith("lab: no-such-program not found there")
    assert not (here / "quickstart").exists()
    assert _jobs(server) == []


def test_without_root_everything_of_a_run_on_real_kernels_goes_through_sudo_there(
    server: ssh_server.Server, here: Path, stand: Path
) -> None:
    as_root = here / "as root"
    scripts = {"id": "echo 1000", "sudo": f'shift 2\necho "$1" >>"{as_root}"\nBY_SUDO=1 exec "$@"'}
    path = ssh_server.programs(here / "bin", scripts)
    with ssh_server.running(here / "user", {"STAND_IN": str(stand), "PATH": f"{path}:/usr/bin:/bin"}) as other:
        (here / "hosts.toml").write_text(other.inventory())
        with opened("ssh:lab") as run_there:
            run_there(_request(_experiment(), here), Told())

        assert _jobs(other) == []
    assert calls(stand) == ["setup", "doctor as root", "run as root"]
    assert {"env", "sh", "tail", "tar", "rm"} <= set(as_root.read_text().split())


def test_a_backend_that_is_none_is_a_usage_error_before_anything_is_done(here: Path) -> None:
    for backend in ("ssh", "ssh:-x", "ssh:lab/vm"):
        assert testbed("run", "quickstart", "--backend", backend, cwd=here).returncode == 2
    (here / "hosts.toml").write_text("[hosts.lab]\nprot = 1\n")
    result = testbed("run", "quickstart", "--backend", "ssh:lab/sim", cwd=here)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "hosts.toml: hosts.lab.prot" in result.stderr
