"""A run directory that came from another machine: whether it is whole, and where it stays."""

from __future__ import annotations

import errno
from contextlib import suppress
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


def moved(staging: Path, parent: Path, name: str) -> Path:
    """Where it stays: under its own name, or the next free one; a copy that is there already is not doubled.

    Runs of one second on two machines have one name, and may come at the same moment: who is second takes the next.
    """
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
