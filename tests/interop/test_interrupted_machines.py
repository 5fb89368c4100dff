"""A machine that ends with its run, here a real sshd whose jobs are forgotten in between: what was done is not lost."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ssh_server

from experiments.catalog import build
from testbed.orchestrator import overrides
from testbed.orchestrator.environment import ROOT
from testbed.orchestrator.errors import Interrupted
from testbed.orchestrator.runner import RunRequest
from testbed.record.run_directory import RunDirectory
from testbed.remote.place import parse_backend, parse_place
from testbed.remote.remote_run import RemoteRuns
from testbed.remote.ssh_provider import SshProvider

pytestmark = [
    pytest.mark.needs_sshd,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout, which is what is sent"),
]
ENDLESS, SHORT = "300s", "100ms"


class Passing(SshProvider):
    """As a machine that is booted for a run."""

    ends_with_the_run = True


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.Server]:
    settings = {"TB_NO_APT": "1", "TB_NO_BUILD": "1"}
    with ssh_server.running(tmp_path_factory.mktemp("sshd"), settings) as running:
        digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:20]
        (running.work / "environments").mkdir(parents=True)
        (running.work / "environments" / digest).symlink_to(ROOT / ".venv")
        (running.work / "build").symlink_to(ROOT / "build")
        yield running


def _interrupt_after_one(told: list[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], None]:
    def tell(message: Mapping[str, Any]) -> None:
        told.append(message)
        if message["kind"] == "ended":
            raise KeyboardInterrupt

    return tell


def test_what_a_machine_had_done_comes_here_and_another_one_goes_on_with_it(
    server: ssh_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts.toml").write_text(server.inventory())
    monkeypatch.chdir(tmp_path)
    quickstart = overrides.only_variants(build("quickstart"), ["userspace-tcp"])
    experiment = overrides.apply(quickstart, [f"duration={SHORT}", "repetitions=3"])
    where = parse_backend("ssh:lab/sim")
    told: list[Mapping[str, Any]] = []

    def carried_out(on_message: Callable[[Mapping[str, Any]], None], *, resume: bool) -> RunDirectory:
        with RemoteRuns(where, Passing(parse_place("lab"))) as runs:
            return runs.run(RunRequest(experiment=experiment, parent=tmp_path, resume=resume, jobs=1), on_message)

    with pytest.raises(Interrupted):
        carried_out(_interrupt_after_one(told), resume=False)
    assert told[-1]["kind"] == "kept"
    kept = RunDirectory.open(Path(told[-1]["path"]))
    done = kept.completed_trials()
    assert 1 <= len(done) <= 3
    assert not kept.is_complete or len(done) == 3

    shutil.rmtree(server.work / "jobs")  # the machine is gone
    told.clear()
    whole = carried_out(told.append, resume=True)

    assert whole.is_complete
    assert whole.altered_files() == ()
    assert [message["remaining"] for message in told if message["kind"] == "run"] == [3 - len(done)]
    assert [path.name for path in (tmp_path / "quickstart").iterdir()] == [whole.path.name], "the half one is no more"


def test_a_machine_that_had_done_nothing_leaves_nothing(
    server: ssh_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts.toml").write_text(server.inventory())
    monkeypatch.chdir(tmp_path)
    quickstart = overrides.only_variants(build("quickstart"), ["userspace-tcp"])
    experiment = overrides.apply(quickstart, [f"duration={ENDLESS}", "repetitions=1"])
    told: list[Mapping[str, Any]] = []

    def tell(message: Mapping[str, Any]) -> None:
        told.append(message)
        if message["kind"] == "trial":
            raise KeyboardInterrupt

    request = RunRequest(experiment=experiment, parent=tmp_path, jobs=1)
    with RemoteRuns(parse_backend("ssh:lab/sim"), Passing(parse_place("lab"))) as runs, pytest.raises(Interrupted):
        runs.run(request, tell)

    assert told[-1] == {"kind": "kept", "path": None}
    assert not (tmp_path / "quickstart").exists() or not list((tmp_path / "quickstart").iterdir())
