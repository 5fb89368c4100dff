"""Of a machine that ends with its run: what was done is kept here when that is interrupted, and sent again to go on."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from testbed.orchestrator import spec
from testbed.orchestrator.errors import TestbedError
from testbed.orchestrator.runner import RunRequest
from testbed.record.errors import RecordError
from testbed.record.run_directory import RunDirectory, unfinished_run
from testbed.remote import fetched
from testbed.remote.session import Session

PARTIAL = ".*.partial"
"""Of a trial that has not ended (run_directory.py): who is still at it would change files under tar's hands, which then
fails."""


def keep(session: Session, there: str, parent: Path, *, instead_of: Path | None = None) -> Path | None:
    """Fetch an unfinished run directory as it is; trials are stored whole, so what it has is done. None: nothing is.

    It takes the place of the one that it went on with, whose trials it has, too.
    """
    staging = parent / f".keeping-{Path(there).name}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        session.pull_tree(there, staging, leave_out=[PARTIAL])
        if not RunDirectory.open(staging).completed_trials():
            return None
        return fetched.moved(staging, parent, Path(there).name, instead_of=instead_of)
    except (TestbedError, RecordError):
        return None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def find(request: RunRequest, backend: str) -> Path | None:
    """The newest unfinished run of exactly this in such a machine."""
    path = unfinished_run(request.parent, request.experiment.name, spec.digest(request.experiment))
    if path is not None:
        with suppress(RecordError, AttributeError):
            if RunDirectory.open(path).document.get("ran_on", {}).get("backend") == backend:
                return path
    return None


def send(session: Session, path: Path, job: str) -> None:
    """To where a run of this job looks for it."""
    session.push_tree(path, f"{job}/runs/{path.parent.name}/{path.name}")
