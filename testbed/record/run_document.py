"""run.json: made complete, and checked against RUN_KEYS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.record.errors import RecordError
from testbed.record.schema import RUN_KEYS, SCHEMA_VERSION

PLAN_KEYS: Mapping[str, type] = {"trial": int, "variant": str, "repetition": int, "seed": int}
"""Keys of each entry of the plan."""


def new_document(run_json: Mapping[str, Any], digest: str, started_utc: str) -> dict[str, Any]:
    """The caller's keys and ours, in the order of RUN_KEYS. Raises RecordError that names the key."""
    ours = {key.name for key in RUN_KEYS if key.by == "directory"}
    if taken := sorted(ours & run_json.keys()):
        raise RecordError(f"run.json: {taken[0]} is set by the run directory itself")
    values = dict(run_json) | {
        "schema_version": SCHEMA_VERSION,
        "state": "running",
        "started_utc": started_utc,
        "digest": digest,
    }
    return checked(
        {key.name: values.pop(key.name) for key in RUN_KEYS if key.name in values} | values, Path("run.json")
    )


def checked(document: dict[str, Any], source: Path) -> dict[str, Any]:
    """The same document. Raises RecordError that names file and key when it is not as RUN_KEYS says."""
    known = {key.name: key for key in RUN_KEYS}
    if unknown := sorted(document.keys() - known.keys()):
        raise RecordError(f"{source}: there is no key {unknown[0]!r}; the keys are {', '.join(known)}")
    for name, key in known.items():
        if name not in document:
            if key.required:
                raise RecordError(f"{source}: {name} is missing ({key.meaning})")
        elif not isinstance(document[name], key.type) or isinstance(document[name], bool):
            raise RecordError(f"{source}: {name} has the wrong type, {type(document[name]).__name__} ({key.meaning})")
    for entry in document["plan"]:
        for name, kind in PLAN_KEYS.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                raise RecordError(f"{source}: an entry of the plan has no {kind.__name__} {name!r}: {entry!r}")
    numbers = [entry["trial"] for entry in document["plan"]]
    if len(set(numbers)) < len(numbers):
        raise RecordError(f"{source}: two entries of the plan have the same trial number")
    return document
