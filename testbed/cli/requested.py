"""What ``testbed run`` is to carry out: experiments of the catalog by name, or of a file, each with the changes of the
command line applied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.orchestrator.spec import SpecificationError

if TYPE_CHECKING:
    from testbed.orchestrator.away.exchange import AwayNode
    from testbed.orchestrator.spec import Experiment

_REQUEST_KEYS = ("experiment", "command", "overrides", "ran_on", "away")


@dataclass(frozen=True, slots=True)
class Requested:
    """An experiment as it shall be run."""

    experiment: Experiment
    command: tuple[str, ...] | None = None
    """Who asked in which words, when that was not this command line."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    ran_on: Mapping[str, str] | None = None
    """Which machine another one asked to run it; for run.json."""
    away: AwayNode | None = None
    """A node that lives on yet another machine."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the command line changes of every experiment."""

    variants: tuple[str, ...] = ()
    repeat: int | None = None
    seed: int | None = None
    pcap: bool = False
    assignments: tuple[str, ...] = ()
    """``KEY=VALUE``."""

    def apply(self, experiment: Experiment, assignments: Sequence[str]) -> Experiment:
        """The experiment with all of them, and of the assignments with these. Raises SpecificationError."""
        from testbed.orchestrator import overrides

        words = [f"repetitions={self.repeat}"] if self.repeat is not None else []
        words += [f"seed={self.seed}"] if self.seed is not None else []
        words += ["capture=true"] if self.pcap else []
        if self.variants:
            experiment = overrides.only_variants(experiment, self.variants)
        return overrides.apply(experiment, [*assignments, *words])


def by_name(words: Sequence[str], changes: Changes) -> list[Requested]:
    """Experiments and groups of the catalog. Raises SpecificationError."""
    from experiments import catalog

    overrides = _as_overrides(changes.assignments)
    return [Requested(_built(name, changes), overrides=overrides) for name in catalog.names(words)]


def _built(name: str, changes: Changes) -> Experiment:
    from experiments.catalog import build, choices

    known = choices(name)
    own = {key.strip(): text.strip() for key, _, text in (word.partition("=") for word in changes.assignments)}
    experiment = build(name, {key: text for key, text in own.items() if key in known})
    return changes.apply(
        experiment, [word for word in changes.assignments if word.partition("=")[0].strip() not in known]
    )


def from_file(path: Path, changes: Changes) -> list[Requested]:
    """The experiments of a JSON file: one as run.json has it under ``experiment``, a list of them, a whole run.json, or
    a request of another machine (``experiment``, ``command``, ``overrides``, ``ran_on``, ``away``).

    Raises SpecificationError that names file and key.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError(f"--spec {path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecificationError(f"--spec {path}: is not JSON: {error}") from None
    if not isinstance(document, list):
        return [_of_entry(document, f"--spec {path}", "", changes)]
    if not document:
        raise SpecificationError(f"--spec {path}: the list is empty; it holds at least one experiment")
    return [_of_entry(each, f"--spec {path}", f"{number}.", changes) for number, each in enumerate(document)]


def _of_entry(entry: Any, where: str, prefix: str, changes: Changes) -> Requested:
    """``prefix`` leads to the entry in the file."""
    from testbed.orchestrator import spec

    if not isinstance(entry, dict):
        place = f" {prefix.rstrip('.')}:" if prefix else ""
        raise SpecificationError(
            f"{where}:{place} an experiment is an object, as 'experiment' in run.json, not {_kind(entry)}"
        )
    command, ran_on, away, overrides = None, None, None, dict[str, str]()
    if "experiment" in entry:
        if "schema_version" not in entry:  # a request; a run.json tells of another run besides
            if unknown := sorted(entry.keys() - set(_REQUEST_KEYS)):
                raise SpecificationError(
                    f"{where}: {prefix}{unknown[0]}: there is no such key; beside 'experiment' there are "
                    "'command', 'overrides', 'ran_on' and 'away'"
                )
            command = _words(entry.get("command"), f"{where}: {prefix}command")
            ran_on = _texts(entry["ran_on"], f"{where}: {prefix}ran_on") if entry.get("ran_on") else None
            away = _away(entry["away"], f"{where}: {prefix}away") if entry.get("away") else None
        overrides = _texts(entry.get("overrides", {}), f"{where}: {prefix}overrides")
        entry, prefix = entry["experiment"], f"{prefix}experiment."
    if not isinstance(entry, dict):
        raise SpecificationError(f"{where}: {prefix.rstrip('.')}: an experiment is an object, not {_kind(entry)}")
    try:
        experiment = spec.from_json(entry)
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {prefix}{error}") from None
    overrides |= _as_overrides(changes.assignments)
    return Requested(changes.apply(experiment, changes.assignments), command, overrides, ran_on, away)


def _as_overrides(assignments: Sequence[str]) -> dict[str, str]:
    return {key: text for key, sign, text in (word.partition("=") for word in assignments) if sign}


def _words(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise SpecificationError(f"{where}: it is a list of words")
    return tuple(value)


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise SpecificationError(f"{where}: it is an object of texts")
    return dict(value)


def _away(value: Any, where: str) -> AwayNode:
    from testbed.orchestrator.away.exchange import AwayNode

    if not isinstance(value, dict):
        raise SpecificationError(f"{where}: it is an object, not {_kind(value)}")
    try:
        return AwayNode.of(value)
    except ValueError as error:
        raise SpecificationError(f"{where}: {error}") from None


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a flag"}.get(
        type(value), "a number"
    )
