"""The state of a night on disk: what was begun, what is done. Whatever kills whom, calling again goes on from there.

    OUT/<campaign>/<date>/night.json           what is measured: builds, seeds, machine, digest of the plan
    OUT/<campaign>/<date>/steps/<name>.json    a step that has ended
    OUT/<campaign>/<date>/runs/<name>/         its run directory
    OUT/<campaign>/<date>/<phase>.json         what came after the measuring: appended, confirmed, result

Every file is written atomically; a phase is repeated unless its file is there. A night whose builds or plan are not
those of now is put aside, not mixed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from testbed.nightly.steps import Done, Step
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.record import RecordError
from testbed.record.files import space_needed_for, write_atomically

STATE_VERSION: Final = 1
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Lock:
    """One nightly at a time in a directory; the lock dies with the process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".nightly.lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        with space_needed_for("the night's lock", self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "?"
            os.close(self._descriptor)
            raise Unsupported(
                f"another testbed nightly (pid {owner}) is at work in {self._path.parent}; wait for it, or choose "
                "another --out"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class Night:
    """One night's directory; :meth:`begin` makes it or goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: Mapping[str, Any] = {}

    @classmethod
    def begin(cls, folder: Path, facts: Mapping[str, Any], identity: str) -> tuple[Self, str]:
        """The night in ``folder``, and a note for people. ``identity`` tells whether what was begun is the same.

        Raises SpecificationError when another build or plan has measured this night to its end.
        """
        night = cls(folder)
        before = night.read("night")
        note = ""
        if before is not None and before["identity"] != identity:
            if night.read("appended") is not None:
                raise SpecificationError(
                    f"the night of {before['date']} was measured with another build or plan and is in the history: a "
                    "night is measured once; --date says which night this is to be"
                )
            aside = _unused(folder)
            folder.rename(aside)
            note = f"{folder} was begun with another build or plan: it is put aside as {aside.name}, and begins anew"
            before = None
        if before is None:
            with space_needed_for("the night", folder):
                folder.mkdir(parents=True, exist_ok=True)
            before = {**facts, "version": STATE_VERSION, "identity": identity}
            night.write("night", before)
        elif night.read("result") is None:
            note = f"going on with the night of {before['date']}: {night.ended()} runs are done"
        night.facts = before
        return night, note

    def read(self, phase: str) -> Mapping[str, Any] | None:
        """What was noted of a phase; None: it has not ended. Raises RecordError when that is damaged."""
        path = self.folder / f"{phase}.json"
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RecordError(f"{path} is damaged ({error}): remove {self.folder} to measure the night anew") from None
        if not isinstance(document, dict) or document.get("version", STATE_VERSION) != STATE_VERSION:
            raise RecordError(f"{path} is of another version of the testbed: remove {self.folder} to measure it anew")
        return document

    def write(self, phase: str, facts: Mapping[str, Any]) -> None:
        """Note that a phase has ended."""
        path = self.folder / f"{phase}.json"
        with space_needed_for(phase, path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(facts, indent=1).encode() + b"\n")

    def done(self, step: Step) -> Done | None:
        """What became of a step; None: it has not ended."""
        found = self.read(f"steps/{step.name}")
        return None if found is None else Done(**found)

    def store(self, step: Step, done: Done) -> None:
        """Keep what became of a step."""
        self.write(f"steps/{step.name}", done.as_json())

    def ended(self) -> int:
        """How many steps are stored."""
        return len(list((self.folder / "steps").glob("*.json")))

    def runs(self, step: Step) -> Path:
        """Where the step's run directory goes."""
        return self.folder / "runs" / step.name


def unfinished(parent: Path, but: str) -> list[str]:
    """Dates of the nights of a campaign that were begun and not finished, other than ``but``."""
    if not parent.is_dir():
        return []
    return sorted(
        path.name
        for path in parent.iterdir()
        if _DATE.fullmatch(path.name)
        and path.name != but
        and (path / "night.json").is_file()
        and not (path / "result.json").is_file()
    )


def forget_old(parent: Path, keep: int) -> None:
    """Remove the run directories of finished nights but the newest ``keep`` and those that told of an alarm."""
    finished = sorted(
        path for path in parent.iterdir() if _DATE.fullmatch(path.name) and (path / "result.json").is_file()
    )
    for path in finished[:-keep]:
        if not (path / "alarm.json").exists():
            shutil.rmtree(path / "runs", ignore_errors=True)


def _unused(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside-{number}")).exists():
        number += 1
    return aside
