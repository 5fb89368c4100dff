"""A run directory that came from another machine: whether it is whole, and where it stays."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testbed.record import files
from testbed.record.errors import RecordError
from testbed.record.run_directory import DERIVED_FILES, RunDirectory
from testbed.remote.host_clock import is_same_run

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


def check(path: Path) -> None:
    """Raises RecordError unless it is a complete run, all as it was there and nothing else."""
    directory = RunDirectory.open(path)
    if not directory.is_complete:
        raise RecordError("the run directory that came is not complete")
    if altered := directory.altered_files():
        raise RecordError(f"{altered[0]} came otherwise than run.json says ({len(altered)} files)")
    known = {"run.json", *DERIVED_FILES, *directory.document["files"]}
    came = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir() or file.is_symlink()}
    if unknown := sorted(came - known):
        raise RecordError(f"{unknown[0]} came, of which run.json says nothing")


def moved(staging: Path, parent: Path, name: str, *, instead_of: Path | None = None) -> Path:
    """Where it stays: under its own name, or the next free one; a copy that is there already is not doubled.

    Runs of one second on two machines have one name, and may come at the same moment: who is second takes the next.
    ``instead_of`` is the run that it went on with: gone once this one has its place, as it was when it gets none.
    """
    with _replaced(instead_of):
        return _placed(staging, parent, name)


# --- inside ---


@contextmanager
def _replaced(path: Path | None) -> Iterator[None]:
    """Its name is free for the block. Killed in it, the run is hidden, and --resume still finds it."""
    if path is None:
        yield
        return
    aside = path.with_name(f".{path.name}.replaced")
    path.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def _placed(staging: Path, parent: Path, name: str) -> Path:
    for number in range(1, 1000):
        final = parent / (name if number == 1 else f"{name}-{number}")
        if not final.exists():
            with files.space_needed_for("the fetched run", parent):
                try:
                    staging.rename(final)
                except OSError as error:
                    if error.errno not in _TAKEN:
                        raise
                else:
                    files.sync_directory(parent)
                    return final
        with suppress(OSError, ValueError):
            if is_same_run(final, staging):
                return final
    raise RecordError(f"{parent} already has a thousand runs called {name}")
