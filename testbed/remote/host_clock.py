"""When this machine heard of each trial of a run on another one, by its own clock, and where that is written down.

The clock there may be another one altogether: a guest on virtual time counts instructions, and leaps when it is idle.
Its times and ours are never mixed: they stand in columns of their own (``trials.clock``, ``host_started_utc``,
``host_duration_ns``). A message that was heard late, as after a lost connection, tells nothing of ours: null.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.record import files
from testbed.record.parquet import arrow_table, to_parquet
from testbed.record.run_directory import RunDirectory
from testbed.record.schema import TRIALS

_TABLE = f"{TRIALS.name}.parquet"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of one trial; None: not heard in time."""

    started_utc: str | None
    duration_ns: int | None


@dataclass(frozen=True, slots=True)
class _Begun:
    number: int
    utc: str
    monotonic_ns: int


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class HostClock:
    """Stamps the messages of a run as they arrive."""

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, utc_now: Callable[[], str] = _utc_now
    ) -> None:
        self.stamps: dict[int, Stamp] = {}
        """By number of the trial, of those that have ended."""
        self._monotonic_ns = monotonic_ns
        self._utc_now = utc_now
        self._begun: _Begun | None = None

    def hear(self, message: Mapping[str, Any], *, late: bool) -> None:
        """One message of ``runner.run``; ``late``: it was said before anybody listened.

        A trial that is begun again (``retry``) is another one: what is kept of it is of the last attempt alone.
        """
        match message["kind"]:
            case "trial" | "retry":
                unknown = late or message.get("over", False)
                self._begun = None if unknown else _Begun(message["number"], self._utc_now(), self._monotonic_ns())
            case "ended":
                begun, self._begun = self._begun, None
                if begun is None or begun.number != message["number"]:
                    self.stamps.pop(message["number"], None)
                    return
                duration_ns = None if late else self._monotonic_ns() - begun.monotonic_ns
                self.stamps[begun.number] = Stamp(begun.utc, duration_ns)


def write_stamps(path: Path, stamps: Mapping[int, Stamp]) -> None:
    """Into a complete run that was fetched and that nobody has looked at yet: ``trials.parquet``, and its digest in
    run.json. The clock is the one that run.json names (``ran_on``)."""
    directory = RunDirectory.open(path)
    clock = directory.document.get("ran_on", {}).get("clock")
    rows = directory.read_table(TRIALS.name).to_pylist()
    for row in rows:
        stamp = stamps.get(row["trial"], Stamp(None, None))
        row |= {"clock": clock, "host_started_utc": stamp.started_utc, "host_duration_ns": stamp.duration_ns}
    files.write_atomically(path / _TABLE, to_parquet(arrow_table(TRIALS, rows)))
    document = json.loads((path / "run.json").read_bytes())  # as it is there, of whatever schema version
    document["files"][_TABLE] = files.sha256_of(path / _TABLE)
    files.write_atomically(path / "run.json", json.dumps(document, indent=1).encode() + b"\n")


def is_same_run(path: Path, other: Path) -> bool:
    """Whether both are one run, however often and by whomever it was fetched: all but what :func:`write_stamps` adds.

    Of a run that is not complete, run.json does not say which trials it has: two of them never count as one. Raises
    OSError when one of them is none.
    """
    first, second = (json.loads((each / "run.json").read_bytes()) for each in (path, other))
    for document in (first, second):
        document.get("files", {}).pop(_TABLE, None)
    return bool(first == second) and first.get("state") == "complete"
