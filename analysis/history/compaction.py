"""Many nights -> one file for each month and machine, sorted by series: what a page about one series reads is short.

The new file is complete, synchronised and read back before an old one is removed. Until then its nights stand in
both, and readers take each night once (``History.sources``).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.history import night_files
from analysis.history.night_files import NightFile
from testbed.record import RecordError
from testbed.record.files import space_needed_for, sync_directory, write_atomically

if TYPE_CHECKING:
    from analysis.history.store import History

_ORDER = ("campaign", "series", "night", "repetition")


def compact(history: History) -> list[Path]:
    """See :meth:`History.compact`."""
    machine_of = {manifest["night"]: str(manifest["machine"]) for manifest in history.manifests()}
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for night, machine in machine_of.items():
        groups[night[:6], machine].add(night)
    files = history.files()
    written = []
    for (month, machine), nights in sorted(groups.items()):
        old = [file for file in files if file.nights.keys() & nights]
        if len(old) > 1:
            written.append(_joined(history, f"{month}-{machine}", nights, old))
            _remove(old, keep=written[-1], nights=nights)
    return written


def _joined(history: History, name: str, nights: set[str], old: list[NightFile]) -> Path:
    """The new file, safe on the disk."""
    history.check(old)
    tables = [
        night_files.read([file], night_files.among("night", fresh & nights))
        for file, fresh in history.sources()
        if fresh & nights
    ]
    data = night_files.ordered(tables, _ORDER)
    expected = {night: file.nights[night] for file in old for night in file.nights.keys() & nights}
    content = night_files.to_bytes(data, expected)
    digest = hashlib.sha256(content).hexdigest()[:12]
    with space_needed_for("the history", history.path):
        (history.path / "compacted").mkdir(exist_ok=True)
    path = history.path / "compacted" / f"{name}-{digest}.parquet"
    write_atomically(path, content)
    _read_back(path, expected)
    return path


def _read_back(path: Path, expected: Mapping[str, int]) -> None:
    import pyarrow.compute as pc

    counts = pc.value_counts(night_files.read([night_files.opened(path)], None, ["night"])["night"])
    found = {each["values"].as_py(): each["counts"].as_py() for each in counts}
    if found != dict(expected):
        raise RecordError(f"{path} was not read back as it was written; the nights themselves are untouched: remove it")


def _remove(old: list[NightFile], keep: Path, nights: set[str]) -> None:
    """Files all of whose nights are in the new one."""
    for file in old:
        if file.path != keep and file.nights.keys() <= nights:
            file.path.unlink(missing_ok=True)
            sync_directory(file.path.parent)
