"""The directory that a run leaves: written trial by trial, immutable once complete, readable at any time.

While running::

    run.json                    state "running", the plan, everything known before the first trial
    drawings/NAME.svg  .txt     the networks
    trials/0003/*.parquet       the rows of trial 3, and its captures/ and logs/
    trials/.0004.partial/       trial 4, under way

A trial appears by a rename, so it is there whole or not at all. :meth:`RunDirectory.complete` joins the parts to
``trials.parquet``, ``flows.parquet`` ..., moves the files to ``captures/0003/`` and ``logs/0003/``, notes the SHA-256
of everything in run.json and from then on refuses to write anything but the reports, which are derived.

Sources: rename(2), fsync(2), flock(2): one process at a time writes a run directory; its lock dies with it.
Refuses to know what an experiment is: run.json's ``experiment`` is stored as given.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from testbed.record import files
from testbed.record.errors import RecordError
from testbed.record.migrate import migrate_document, migrate_table
from testbed.record.parquet import arrow_schema, arrow_table, from_parquet, to_parquet
from testbed.record.rows import Row
from testbed.record.run_document import checked, new_document
from testbed.record.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

REPORT_FILES = ("report.html", "report.md", "summary.json", "junit.xml")
"""Derived from the rest: may be written again at any time."""
MATRIX_FILES = ("matrix.html", "matrix.md", "matrix.json", "matrix.ktap", "matrix.junit.xml")
"""Likewise, of a run that compares implementations."""
DERIVED_FILES = (*REPORT_FILES, *MATRIX_FILES)

_TRIAL_NAME = re.compile(r"\d{4,}")
_PARTIAL_NAME = re.compile(r"\.\d{4,}\.partial")


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What a trial has to say: table name -> rows. ``trials`` has exactly one row; tables left out are empty.

    Tables without rows leave no file, which a matrix of thousands of trials would have to sync and read again."""

    trial: int
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


class RunDirectory:
    """One run. Reading needs no lock; :meth:`create` and ``open(path, writable=True)`` hold one until :meth:`close`."""

    def __init__(self, path: Path, document: dict[str, Any], lock: int | None = None) -> None:
        self.path = path
        self._document = document
        self._lock = lock

    # --- opening and closing ---

    @classmethod
    def create(cls, parent: Path, experiment_name: str, digest: str, run_json: Mapping[str, Any]) -> Self:
        """Make ``parent/<experiment>/<UTC time>-<digest8>/`` with its run.json; the caller's keys are in RUN_KEYS.

        Raises RecordError when a key is missing or wrong, or the disk is full.
        """
        document = new_document(run_json, digest, _utc_now())
        stamp = re.sub(r"[-:]", "", str(document["started_utc"])[:19]) + "Z"
        path = _make_unused(parent / experiment_name, f"{stamp}-{digest[:8]}")
        with files.space_needed_for("the run directory", path):
            (path / "trials").mkdir()
        directory = cls(path, document, _locked(path))
        directory._write_document(document)
        return directory

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """An existing run; ``writable``: to go on with it. Raises RecordError when it is none, or is being written."""
        source = path / "run.json"
        try:
            document = json.loads(source.read_bytes())
        except FileNotFoundError:
            raise RecordError(f"{path} is not a run directory: it has no run.json") from None
        except ValueError as error:
            raise RecordError(f"{source} is damaged: {error}") from None
        if not isinstance(document, dict):
            raise RecordError(f"{source} is damaged: it holds no object")
        try:
            document = migrate_document(document)
        except RecordError as error:
            raise RecordError(f"{source}: {error}") from None
        directory = cls(path, checked(document, source), None)
        if writable:
            directory._refuse_when_complete("go on with it")
            directory._lock = _locked(path)
        return directory

    def close(self) -> None:
        """Give up the lock. Stored trials stay."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- reading ---

    @property
    def document(self) -> Mapping[str, Any]:
        """run.json, in the form of this schema version."""
        return self._document

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial is in and nothing will be written again."""
        return bool(self._document["state"] == "complete")

    def planned_trials(self) -> tuple[int, ...]:
        """Numbers of the trials in the plan."""
        return tuple(entry["trial"] for entry in self._document["plan"])

    def completed_trials(self) -> tuple[int, ...]:
        """Numbers of the trials that are stored: these need not run again."""
        if self.is_complete:
            return tuple(self.read_table("trials").column("trial").to_pylist())
        return tuple(sorted(int(path.name) for path in self._trial_directories()))

    def remaining_trials(self) -> tuple[int, ...]:
        """Numbers of the planned trials that are not stored, in order of execution."""
        done = set(self.completed_trials())
        return tuple(trial for trial in self.planned_trials() if trial not in done)

    def read_table(self, name: str, *, encoded: bool = False) -> pa.Table:
        """The table of that name (schema.TABLES), in the form of this schema version; of all trials stored so far.

        ``encoded``: its texts are dictionaries, for tables of millions of rows such as ``samples``.
        """
        import pyarrow as pa

        schema = TABLES[name]
        texts = [column.name for column in schema.columns if column.type == "text"] if encoded else []
        if self.is_complete:
            sources = [self.path / f"{name}.parquet"]
        else:
            sources = [path / f"{name}.parquet" for path in self._trial_directories()]
        target = arrow_schema(schema, encoded=encoded)
        parts = [target.empty_table()]
        for source in sources:
            if not source.exists():
                if source.name in self._document.get("files", {}):
                    raise RecordError(f"{source} is gone, and run.json lists it: copy the run directory again, whole")
            else:
                data, version = from_parquet(source, encoded=texts)
                parts.append(migrate_table(name, data, version).cast(target))
        return pa.concat_tables(parts).unify_dictionaries()

    def trial_files(self, trial: int) -> tuple[Path, ...]:
        """Captures and logs of a stored trial."""
        name = f"{trial:04d}"
        folders = [self.path / kind / name for kind in _kinds(self.path)]
        folders.append(self.path / "trials" / name)
        return tuple(
            file
            for folder in folders
            for file in sorted(folder.rglob("*"))
            if file.is_file() and not (folder.parent.name == "trials" and file.parent == folder)
        )

    def altered_files(self) -> tuple[str, ...]:
        """Files of a complete run that are gone or differ from what was recorded; empty: all as it was."""
        recorded = self._document.get("files", {})
        return tuple(
            name
            for name, digest in sorted(recorded.items())
            if not (self.path / name).is_file() or files.sha256_of(self.path / name) != digest
        )

    # --- writing ---

    def begin_trial(self, trial: int) -> Path:
        """A new directory with empty ``captures/`` and ``logs/``, to write into while the trial runs."""
        self._refuse_when_complete(f"begin trial {trial}")
        if trial not in self.planned_trials():
            raise RecordError(f"trial {trial} is not in the plan of {self.path}")
        partial = self._partial(trial)
        shutil.rmtree(partial, ignore_errors=True)
        with files.space_needed_for(f"trial {trial}", self.path):
            for kind in ("captures", "logs"):
                (partial / kind).mkdir(parents=True)
        return partial

    def store_trial(self, record: TrialRecord) -> None:
        """Keep a trial that has ended: from here on it is in :meth:`completed_trials`. Begins it if nobody did.

        Raises RecordError for rows that do not fit the schema or speak of another trial, and for a full disk; then
        nothing of the trial is kept.
        """
        self._refuse_when_complete(f"store trial {record.trial}")
        final = self.path / "trials" / f"{record.trial:04d}"
        if final.exists():
            raise RecordError(f"trial {record.trial} is already stored in {self.path}")
        encoded = {
            name: to_parquet(arrow_table(TABLES[name], rows)) for name, rows in _checked_tables(record).items() if rows
        }
        if not (partial := self._partial(record.trial)).exists():
            self.begin_trial(record.trial)
        try:
            with files.space_needed_for(f"trial {record.trial}", self.path):
                for name, data in encoded.items():
                    files.write_synced(partial / f"{name}.parquet", data)
                _drop_empty_folders(partial)
                files.sync_directory(partial)
                partial.rename(final)
                files.sync_directory(final.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def discard_partial(self) -> tuple[int, ...]:
        """Remove what trials that did not end left behind; returns their numbers."""
        self._refuse_when_complete("discard anything")
        for file in (*self.path.glob(".*.partial"), *self.path.glob("drawings/.*.partial")):
            file.unlink()  # of a write that was killed between two system calls
        left = sorted(path for path in (self.path / "trials").iterdir() if _PARTIAL_NAME.fullmatch(path.name))
        for path in left:
            shutil.rmtree(path)
        return tuple(int(path.name.split(".")[1]) for path in left)

    def write_file(self, name: str, data: bytes | str) -> Path:
        """Write ``name`` (such as ``drawings/two_path.svg``) atomically; a complete run takes only reports."""
        if name not in DERIVED_FILES:
            self._refuse_when_complete(f"write {name}")
        target = self.path / name
        if self.path.resolve() not in target.resolve().parents:
            raise RecordError(f"{name!r} leads out of the run directory {self.path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(target, data.encode() if isinstance(data, str) else data)
        return target

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set keys of run.json that were not known at first, such as ``notes``; the plan and experiment stay."""
        self._refuse_when_complete("change run.json")
        if fixed := sorted({"experiment", "plan", "seed", "digest", "state", "schema_version"} & changes.keys()):
            raise RecordError(f"run.json's {fixed[0]} does not change once the run has begun")
        self._write_document(checked(self._document | dict(changes), self.path / "run.json"))

    def complete(self) -> None:
        """Join the parts, note every digest, mark the run complete. May be repeated after a crash inside it.

        Raises RecordError when planned trials are missing.
        """
        self._refuse_when_complete("complete it again")
        if remaining := self.remaining_trials():
            raise RecordError(f"{self.path} is not complete: {len(remaining)} trials are missing, first {remaining[0]}")
        self.discard_partial()
        for name in TABLES:
            files.write_atomically(self.path / f"{name}.parquet", to_parquet(self.read_table(name)))
        for directory in self._trial_directories():
            for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
                (self.path / folder.name).mkdir(exist_ok=True)
                folder.rename(self.path / folder.name / directory.name)
        self._write_document(
            self._document | {"state": "complete", "finished_utc": _utc_now(), "files": self._digests()}
        )
        shutil.rmtree(self.path / "trials")  # the rows stand in the joined tables now
        self.close()

    # --- inside ---

    def _partial(self, trial: int) -> Path:
        return self.path / "trials" / f".{trial:04d}.partial"

    def _trial_directories(self) -> list[Path]:
        found = (path for path in (self.path / "trials").iterdir() if _TRIAL_NAME.fullmatch(path.name))
        return sorted(found, key=lambda path: int(path.name))

    def _digests(self) -> dict[str, str]:
        skipped = {"run.json", *DERIVED_FILES}
        return {
            str(path.relative_to(self.path)): files.sha256_of(path)
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path.relative_to(self.path).parts[0] not in {"trials", *skipped}
        }

    def _write_document(self, document: dict[str, Any]) -> None:
        files.write_atomically(self.path / "run.json", json.dumps(document, indent=1).encode() + b"\n")
        self._document = document

    def _refuse_when_complete(self, action: str) -> None:
        if self.is_complete:
            raise RecordError(f"{self.path} is complete and does not change any more: cannot {action}")


def unfinished_run(parent: Path, experiment_name: str, digest: str) -> Path | None:
    """The newest run of exactly this experiment (by digest) that is not complete: what ``--resume`` goes on with."""
    folder = parent / experiment_name
    if not folder.is_dir():
        return None
    for path in sorted(folder.iterdir(), reverse=True):
        if (path / "run.json").is_file():
            try:
                run = RunDirectory.open(path)
            except RecordError:  # damaged, or of a newer version: not what to go on with
                continue
            if not run.is_complete and run.document["digest"] == digest:
                return path
    return None


def drawing_stem(variant: str) -> str:
    """Path of a variant's drawing without its ending; a slash of the name is no directory."""
    return f"drawings/{variant.replace('/', '+')}"


def _checked_tables(record: TrialRecord) -> Mapping[str, Sequence[Row]]:
    for name, rows in record.tables.items():
        if name not in TABLES:
            raise RecordError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        for row in rows:
            if row.get("trial") != record.trial:
                raise RecordError(f"table {name}: a row of trial {row.get('trial')!r} in the record of {record.trial}")
    if len(record.tables.get("trials", ())) != 1:
        raise RecordError(f"trial {record.trial}: table trials has exactly one row for it")
    return record.tables


def _kinds(path: Path) -> list[str]:
    return sorted(
        folder.name for folder in path.iterdir() if folder.is_dir() and folder.name not in {"trials", "drawings"}
    )


def _drop_empty_folders(path: Path) -> None:
    for folder in path.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _make_unused(parent: Path, name: str) -> Path:
    with files.space_needed_for("the run directory", parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    raise RecordError(f"{parent} already has a thousand runs called {name}")


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RecordError(f"{path} is being written by another process: wait for it, or stop it") from None
    return descriptor


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
