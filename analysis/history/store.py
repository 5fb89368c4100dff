"""The history: one immutable Parquet file and one manifest for every night, events beside them; no lock, no server.

    nights/<UTC>-<digest>.json          manifest: what was run, on what, compared with what
    nights/<UTC>-<digest>.parquet       its rows; the night exists once this one does
    compacted/<month>-<machine>-<SHA-256>.parquet    the rows of many nights, in the order in which they are asked for
    events/<UTC>-<kind>-<digest>.json   alarms, confirmations, acceptances

Every file is written under a temporary name, synchronised and renamed, and never written again: two histories are
merged by copying one over the other. A night that stands in several files (a compaction was interrupted, or both
histories were compacted before they were merged) is read once. Layout and columns: ``layout.py``.

Refuses to know what the numbers mean, and what time it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.history import layout, night_files
from analysis.history.night_files import NightFile
from testbed.record import RecordError
from testbed.record.files import sha256_of, space_needed_for, write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Read = TypeVar("Read")

ORDER = ("machine", "campaign", "series", "night", "repetition")
"""Of rows."""

_TRIES = 5
"""A compaction elsewhere may remove files between the listing and the reading; then all is listed again."""


class DuplicateNight(RecordError):
    """The night is in the history already, and nights are never replaced."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was noted and does not change any more; ``facts`` are those of ``layout.EVENT_FACTS``."""

    kind: str
    night_utc: str
    campaign: str
    machine: str
    facts: Mapping[str, Any]

    @property
    def series(self) -> str | None:
        """Which series it is about; None: all."""
        series: str | None = self.facts["series"]
        return series


class History:
    """The history below ``path``, which need not exist before something is appended."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, rows: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> Path:
        """Add a night; the returned Parquet file is there whole or not at all.

        ``rows`` have the columns of ``layout.NIGHTS`` without ``night``, ``manifest`` the keys of
        ``layout.MANIFEST_KEYS``. Raises RecordError when something is wrong with them, when the night is there
        already (DuplicateNight), and when the disk is full: the history is then what it was.
        """
        layout.check_manifest(manifest)
        night = layout.identity(manifest)
        if not rows:
            raise RecordError(f"night {manifest['night_utc']} has no rows; a night without any is not appended")
        for number, row in enumerate(rows):
            other = next((name for name in layout.KEY if row.get(name) != manifest[name]), None)
            if other:
                raise RecordError(f"row {number} has {other} {row.get(other)!r}, its manifest {manifest[other]!r}")
        if self.has(manifest):
            raise DuplicateNight(
                f"{self.path} has the night {manifest['night_utc']} of campaign {manifest['campaign']} on machine "
                f"{manifest['machine']} already ({night}); nights are never replaced"
            )
        data = night_files.table_of([{**row, "night": night} for row in rows])
        return self._write_night(night, night_files.to_bytes(data, {night: len(rows)}), len(rows), manifest)

    def has(self, key: Mapping[str, Any]) -> bool:
        """Whether the night of that night_utc, campaign and machine is there."""
        night = layout.identity(key)
        if (self.path / "nights" / f"{night}.parquet").exists():
            return True
        return any(night in night_files.opened(path).nights for path in self._paths("compacted"))

    def frame(
        self, series: str | None = None, *, campaign: str | None = None, machine: str | None = None
    ) -> pd.DataFrame:
        """Rows, ordered by machine, campaign, series, night and repetition; texts are categories, absent numbers NaN.

        Raises RecordError that names the file which is damaged, foreign or of a later version.
        """
        import pyarrow.dataset  # noqa: F401  makes expressions of fields

        wanted = {"series": series, "campaign": campaign, "machine": machine}
        equal = {name: value for name, value in wanted.items() if value is not None}
        frame: pd.DataFrame = self._retried(lambda: self._rows(equal)).to_pandas()
        return frame

    def manifests(self) -> list[Mapping[str, Any]]:
        """Manifests of the nights that are there, oldest first."""
        nights = {night for file in self.files() for night in file.nights}
        return [self.manifest(night) for night in sorted(nights)]

    def manifest(self, night: str) -> Mapping[str, Any]:
        """Manifest of one night. Raises RecordError when it is not there or is damaged."""
        document = _read_json(self.path / "nights" / f"{night}.json")
        if document.get("night") != night:
            raise RecordError(f"{self.path / 'nights' / night}.json is not the manifest of that night")
        return document

    def note(self, kind: str, **facts: Any) -> Path:
        """Write down an event: alarm, confirmation or acceptance, with the facts of ``layout.EVENT_FACTS``.

        The same facts twice are one event. Raises RecordError.
        """
        keys = layout.EVENT_FACTS.get(kind)
        if keys is None:
            raise RecordError(f"there is no event {kind!r}: {', '.join(layout.EVENT_FACTS)}")
        night = layout.identity(facts)
        layout.check_keys(f"event {kind}", keys, facts)
        text = json.dumps({"version": layout.HISTORY_VERSION, "kind": kind, **facts}, sort_keys=True, indent=1)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = self.path / "events" / f"{night.partition('-')[0]}-{kind}-{digest}.json"
        if not path.exists():
            self._make("events")
            write_atomically(path, text.encode() + b"\n")
        return path

    def events(self, campaign: str | None = None, machine: str | None = None) -> list[Event]:
        """Events in the order of their nights; of one night alarms first, then confirmations, then acceptances."""
        found = []
        for path in sorted((self.path / "events").glob("*.json")):
            document = _read_json(path)
            if document.get("kind") not in layout.EVENT_FACTS:
                raise RecordError(f"{path} is no event of a history: move it away")
            kind, night_utc, owner, where = (str(document[name]) for name in ("kind", *layout.KEY))
            event = Event(kind, night_utc, owner, where, document)
            if campaign in (None, event.campaign) and machine in (None, event.machine):
                found.append(event)
        order = list(layout.EVENT_FACTS)
        return sorted(found, key=lambda event: (event.night_utc, order.index(event.kind), str(event.series)))

    def compact(self) -> list[Path]:
        """Join the nights of each month and machine into one file; returns the new files.

        The old ones are removed after the new one is safe and was read back: a compaction that is interrupted, at
        whatever point, loses nothing and duplicates nothing. Raises RecordError.
        """
        from analysis.history.compaction import compact

        return compact(self)

    def check(self, files: Sequence[NightFile] | None = None) -> None:
        """Read ``files``, or all, and compare them with the digests they were written under. Raises RecordError."""
        for file in self.files() if files is None else files:
            told = file.path.stem.rpartition("-")[2]
            if file.path.parent.name == "nights":
                told = self.manifest(file.path.stem)["sha256"]
            if not sha256_of(file.path).startswith(told):
                raise night_files.damaged(file.path, ValueError("its SHA-256 is not the one it was written under"))

    def files(self) -> list[NightFile]:
        """Every Parquet file, the one that has most nights first. Raises RecordError."""
        return self._retried(self._files)

    def foreign(self) -> list[Path]:
        """What lies in the history and is not its own, or is left of a night that was not finished."""
        nights = {night for file in self.files() for night in file.nights}
        expected = {self.path / "nights" / f"{night}.json" for night in nights}
        expected |= {file.path for file in self.files()} | set((self.path / "events").glob("*.json"))
        folders = (self.path / "nights", self.path / "compacted", self.path / "events")
        return sorted(path for folder in folders for path in folder.glob("*") if path not in expected)

    def sources(self) -> Iterator[tuple[NightFile, frozenset[str]]]:
        """(file, nights to read from it): every night once, from the file that has most nights."""
        seen: set[str] = set()
        for file in self.files():
            fresh = frozenset(file.nights) - seen
            seen |= fresh
            if fresh:
                yield file, fresh

    def _files(self) -> list[NightFile]:
        paths = [*self._paths("nights"), *self._paths("compacted")]
        return sorted(map(night_files.opened, paths), key=lambda file: (-len(file.nights), file.path.name))

    def _paths(self, folder: str) -> list[Path]:
        return list((self.path / folder).glob("[!.]*.parquet"))

    def _rows(self, equal: Mapping[str, str]) -> pa.Table:
        import pyarrow.compute as pc

        wanted = None
        for name, value in equal.items():
            same = pc.field(name) == value
            wanted = same if wanted is None else wanted & same
        whole, parts = [], []
        for file, nights in self.sources():
            if len(nights) == len(file.nights):
                whole.append(file)
            else:
                some = night_files.among("night", nights)
                parts.append(night_files.read([file], some if wanted is None else some & wanted))
        return night_files.ordered([night_files.read(whole, wanted), *parts], ORDER)

    def _retried(self, action: Callable[[], Read]) -> Read:
        for _ in range(_TRIES - 1):
            try:
                return action()
            except FileNotFoundError:
                continue
        return action()

    def _make(self, folder: str) -> Path:
        path = self.path / folder
        with space_needed_for("the history", self.path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def _write_night(self, night: str, data: bytes, rows: int, manifest: Mapping[str, Any]) -> Path:
        folder = self._make("nights")
        added = {"night": night, "version": layout.HISTORY_VERSION, "rows": rows}
        document = {**manifest, **added, "sha256": hashlib.sha256(data).hexdigest()}
        beside, path = folder / f"{night}.json", folder / f"{night}.parquet"
        try:
            write_atomically(beside, json.dumps(document, indent=1).encode() + b"\n")
            write_atomically(path, data)
        except BaseException:
            if not path.exists():
                beside.unlink(missing_ok=True)
            raise
        return path


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: bring it back from a copy of the history") from None
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}): bring it back from a copy") from error
    if not isinstance(document, dict):
        raise RecordError(f"{path} is damaged: it is no object")
    if document.get("version", 0) > layout.HISTORY_VERSION:
        raise RecordError(
            f"{path} has version {document['version']}; this testbed reads up to {layout.HISTORY_VERSION}"
        )
    return document
