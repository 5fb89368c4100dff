"""What a history holds, declared once: columns of a night, keys of its manifest, facts of an event, names of files.

A night is one pass of one campaign on one machine; it is known by its *identity*, ``<UTC>-<digest>``, which is also
the name of its files. A column that is added or changes its meaning raises :data:`HISTORY_VERSION`.

Refuses to know how a night was measured, and what it means.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.record import RecordError
from testbed.record.schema import VERDICTS, Column, Table

HISTORY_VERSION = 1

KEY = ("night_utc", "campaign", "machine")
"""What tells one night from another; the same in every row, in the manifest and in events."""

_MACHINE = re.compile(r"[0-9A-Za-z_.]{1,64}")
"""A machine's fingerprint stands in names of files, between dashes."""

NIGHTS = Table(
    "nights",
    "One row per series and repetition of a night. A series is one metric of one flow of one variant of one "
    "experiment; candidate, reference and control ran interleaved, with the same seed.",
    (
        Column("night", "text", "", "Identity of the night: `<UTC>-<digest>`, set by the store."),
        Column("night_utc", "text", "", "When the night began, ISO 8601, UTC, in whole seconds."),
        Column("campaign", "text", "", "Name of the campaign."),
        Column("machine", "text", "", "Fingerprint of the machine: values of two machines are never compared."),
        Column("series", "text", "", "Name of the series, unique in its campaign."),
        Column("experiment", "text", "", "Name of the experiment."),
        Column("variant", "text", "", "Name of the candidate's variant."),
        Column("flow", "text", "", "Name of the flow."),
        Column("metric", "text", "", "What was measured."),
        Column("unit", "text", "", "Its unit; empty for a plain number."),
        Column("better", "text", "", "Which way it is better; null: neither.", True, ("largest", "smallest")),
        Column("repetition", "int64", "", "Number of the repetition, from 0."),
        Column("seed", "uint64", "", "Seed of the repetition, the same for candidate, reference and control."),
        Column("verdict", "text", "", "The worst of the trials behind the row.", False, VERDICTS),
        Column("reason", "text", "", "Why it does not count; empty when VALID."),
        Column("retries", "int64", "trials", "INVALID trials that were done again before these."),
        Column("candidate", "float64", "see unit", "What is under test; null: not measured.", True),
        Column("reference", "float64", "see unit", "What it is compared with; null: not measured.", True),
        Column("control", "float64", "see unit", "The reference once more (A/A); null: not measured.", True),
    ),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a manifest or fact of an event."""

    name: str
    type: type | tuple[type, ...]
    meaning: str
    required: bool = True


_NUMBER = (int, float, type(None))

MANIFEST_KEYS: tuple[Key, ...] = (
    Key("night_utc", str, "When the night began, ISO 8601, UTC: `2026-01-31T02:00:00Z`."),
    Key("campaign", str, "Name of the campaign."),
    Key("machine", str, "Fingerprint of the machine."),
    Key("commands", list, "Commands that made the night, each a list of words."),
    Key("source", dict, "`commit` (text or null) and `dirty` (flag or null) of what was under test."),
    Key(
        "reference",
        dict,
        "What is compared with: `kind` is `build` (another state of the same thing: the expected ratio is 1) or "
        "`variant` (another thing: the expected ratio is what it used to be); further keys are the campaign's.",
    ),
    Key(
        "reference_id",
        str,
        "Short text that names the denominator. Where it differs from the night before, every series begins anew: no "
        "step is seen across it.",
    ),
    Key("kernel", dict, "As in run.json.", required=False),
    Key("sysctls", dict, "As in run.json.", required=False),
    Key("machine_facts", dict, "Name -> value: what the fingerprint was made of.", required=False),
    Key("versions", dict, "As in run.json.", required=False),
    Key("seeds", dict, "Experiment -> seed of the night's run.", required=False),
    Key(
        "runs",
        list,
        "Run directories behind the night: objects with `experiment`, `path` and, if there is one, `report`; relative "
        "paths are relative to the history.",
        required=False,
    ),
    Key("control", dict, "What the campaign itself said about its A/A pair.", required=False),
    Key("notes", list, "Texts that a reader of the site has to know.", required=False),
)
"""Keys of a manifest; others are kept as they are. The store adds ``night``, ``version``, ``rows`` and ``sha256``."""

EVENT_FACTS: Mapping[str, tuple[Key, ...]] = {
    "alarm": (
        Key("series", str, "Which series."),
        Key("told", bool, "Whether somebody was told.", required=False),
    ),
    "confirmation": (
        Key("series", str, "Which series."),
        Key("confirmed", bool, "Whether the paired re-run bore the alarm out."),
        Key("ratio", _NUMBER, "Ratio in the re-run; null: it could not be measured.", required=False),
        Key("low", _NUMBER, "Lower end of its interval.", required=False),
        Key("high", _NUMBER, "Upper end.", required=False),
        Key("p", _NUMBER, "Of the paired test in the re-run.", required=False),
        Key("pairs", int, "Valid pairs of the re-run.", required=False),
        Key("run", str, "Its run directory.", required=False),
    ),
    "acceptance": (
        Key("series", (str, type(None)), "Which series; null: all of the campaign."),
        Key("why", str, "Who accepts the level as the new usual one, and why.", required=False),
    ),
}
"""Kind of an event -> its facts, beside those of :data:`KEY`; others are kept as they are."""


def identity(facts: Mapping[str, Any]) -> str:
    """``<UTC>-<digest>`` of a night; ``facts`` has what :data:`KEY` names. Raises RecordError."""
    for name in KEY:
        if not isinstance(facts.get(name), str) or not facts[name]:
            raise RecordError(f"a night needs {name} as a text that is not empty, not {facts.get(name)!r}")
    if not _MACHINE.fullmatch(facts["machine"]):
        raise RecordError(f"machine {facts['machine']!r} is no fingerprint: letters, digits, dots and underscores only")
    digest = hashlib.sha256("\n".join(facts[name] for name in KEY).encode()).hexdigest()[:12]
    return f"{_time(facts['night_utc']):%Y%m%dT%H%M%SZ}-{digest}"


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise RecordError(f"night_utc is to be like 2026-01-31T02:00:00Z, not {text!r}") from None


def check_keys(what: str, keys: tuple[Key, ...], facts: Mapping[str, Any]) -> None:
    """Raises RecordError that names the missing or mistyped key."""
    for key in keys:
        if key.name not in facts:
            if key.required:
                raise RecordError(f"{what} needs {key.name}: {key.meaning}")
        elif not isinstance(facts[key.name], key.type):
            raise RecordError(f"{what}: {key.name} is {facts[key.name]!r}. {key.meaning}")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raises RecordError that names the key at fault."""
    check_keys("a manifest", MANIFEST_KEYS, manifest)
    reference = manifest["reference"]
    if reference.get("kind") not in ("build", "variant"):
        raise RecordError(f"a manifest: reference.kind is to be build or variant, not {reference.get('kind')!r}")
