"""What a machine that ends with its run had done when it was interrupted, once and again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from testbed.orchestrator import overrides, runner, spec
from testbed.orchestrator.errors import Interrupted
from testbed.record.run_directory import RunDirectory
from testbed.remote import fetched, unfinished
from testbed.remote.session import Lines, Session


class There(Session):
    """A session to a machine that is this one."""

    def __init__(self) -> None:
        """Without a connection."""

    def _pieces(self, argv: Sequence[str], **options: object) -> Lines:
        yield subprocess.run(argv, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after two of three trials."""
    from experiments.catalog import build

    experiment = overrides.only_variants(build("quickstart"), ["userspace-tcp"])
    experiment = overrides.apply(experiment, ["duration=100ms", "repetitions=3"])
    parent = tmp_path_factory.mktemp("made")
    ended = []

    def told(message: object) -> None:
        if cast(dict[str, object], message)["kind"] == "ended":
            ended.append(message)
            if len(ended) == 2:
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        runner.run(runner.RunRequest(experiment=experiment, parent=parent, backend="sim", jobs=1), told)
    (path,) = (parent / experiment.name).iterdir()
    assert runner.unfinished_run(parent, experiment.name, spec.digest(experiment)) == path
    return path


@pytest.fixture
def there(whole: Path, tmp_path: Path) -> Path:
    """Its copy on the other machine."""
    return Path(shutil.copytree(whole, tmp_path / "there" / whole.name))


@pytest.fixture
def kept(there: Path, tmp_path: Path) -> Path:
    """What was kept here when it was interrupted for the first time, after one trial."""
    kept = Path(shutil.copytree(there, tmp_path / "runs" / there.name))
    shutil.rmtree(kept / "trials" / "0001")
    assert RunDirectory.open(kept).completed_trials() == (0,)
    return kept


def test_a_run_that_is_interrupted_twice_keeps_the_trials_of_both_times(there: Path, kept: Path) -> None:
    (there / "trials" / ".0002.partial" / "logs").mkdir(parents=True)

    path = unfinished.keep(There(), str(there), kept.parent, instead_of=kept)

    assert path == kept
    assert not list(kept.glob("**/.*.partial")), "what was still under way"
    assert RunDirectory.open(kept).completed_trials() == (0, 1)
    assert [each.name for each in kept.parent.iterdir()] == [kept.name]


def test_two_unfinished_runs_are_never_one_however_alike_their_documents_are(there: Path, kept: Path) -> None:
    assert fetched.moved(there, kept.parent, kept.name) == kept.with_name(f"{kept.name}-2")


def test_what_was_kept_stays_when_there_is_no_room_for_what_came(
    there: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(staging: Path, parent: Path, name: str) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetched, "_placed", full)
    with pytest.raises(OSError, match="No space"):
        fetched.moved(there, kept.parent, kept.name, instead_of=kept)

    assert [each.name for each in kept.parent.iterdir()] == [kept.name]
    assert RunDirectory.open(kept).completed_trials() == (0,)


def test_what_came_without_a_trial_replaces_nothing(there: Path, kept: Path) -> None:
    shutil.rmtree(there / "trials" / "0000")
    shutil.rmtree(there / "trials" / "0001")

    assert unfinished.keep(There(), str(there), kept.parent, instead_of=kept) is None
    assert RunDirectory.open(kept).completed_trials() == (0,)
