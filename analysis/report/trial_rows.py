"""Each trial as a row: verdict, headline numbers, seed, its captures and logs as links, and how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from analysis.report.wording import count, quantity
from analysis.runs import Run

MOST_FILES = 400
"""With more files than this a trial links to its directories instead: a page of links is no help."""
KINDS = ("captures", "logs")
PCAP_HEADER_OCTETS = 24
"""Of a capture file; one without more holds no packets."""
SPECIFICATION = "experiment.json"


@dataclass(frozen=True, slots=True)
class Link:
    """A file, or a directory of files, beside the page."""

    href: str
    label: str
    size: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as a row of text."""

    trial: int
    variant: str
    repetition: int
    seed: str
    verdict: str
    reason: str
    goodput: str
    duration: str
    here: str
    """How long it took by the clock of the machine that asked; empty: nobody knows."""
    setup: str
    stall: str
    """How long the machine stood still at most; empty: nobody looked."""
    disturbed: bool
    files: tuple[Link, ...]


def trial_rows(run: Run) -> list[TrialRow]:
    """In order of execution."""
    rows = run.directory.read_table("trials").sort_by("trial").to_pylist()
    files = {row["trial"]: _files(run.path, row["trial"]) for row in rows}
    folded = sum(map(len, files.values())) > MOST_FILES
    return [
        TrialRow(
            row["trial"],
            row["variant"],
            row["repetition"],
            str(row["seed"]),
            row["verdict"],
            row["reason"],
            quantity(row["goodput_bit_s"], "bit/s"),
            quantity(row["duration_ns"], "ns"),
            _known(row["host_duration_ns"]),
            quantity(row["setup_ns"], "ns"),
            _known(row["stall_max_ns"]),
            bool(row["disturbed"]),
            tuple(_folders(files[row["trial"]]) if folded else _links(files[row["trial"]])),
        )
        for row in rows
    ]


def _known(time_ns: int | None) -> str:
    return "" if time_ns is None else quantity(time_ns, "ns")


def _files(run: Path, trial: int) -> list[tuple[str, int]]:
    """(path within the run, octets) of what was stored of a trial."""
    return [
        (file.relative_to(run).as_posix(), file.stat().st_size)
        for kind in KINDS
        for file in sorted((run / kind / f"{trial:04d}").rglob("*"))
        if file.is_file()
    ]


def _links(files: Sequence[tuple[str, int]]) -> list[Link]:
    return [Link(quote(path), path.split("/", 2)[2], _size(path, octets)) for path, octets in files]


def _size(path: str, octets: int) -> str:
    if path.endswith(".pcap") and octets <= PCAP_HEADER_OCTETS:
        return "no packets"
    return quantity(octets, "bytes")


def _folders(files: Sequence[tuple[str, int]]) -> list[Link]:
    groups: dict[str, list[int]] = {}
    for path, octets in files:
        groups.setdefault("/".join(path.split("/")[:2]), []).append(octets)
    return [
        Link(f"{quote(folder)}/", folder.split("/")[0], f"{count(len(sizes), 'file')}, {quantity(sum(sizes), 'bytes')}")
        for folder, sizes in groups.items()
    ]


def command_line(run: Run) -> str:
    """The command that made the run, quoted for a shell."""
    return shlex.join(run.document["command"])


def specified(run: Run) -> bool:
    """Whether the experiment came as JSON, so that its name alone says nothing."""
    return any(word.partition("=")[0] == "--spec" for word in run.document["command"])


def _where(document: Mapping[str, Any]) -> list[str]:
    """Of a machine that was booted for the run, how its time passed, too."""
    there = document.get("ran_on") or {}
    words = ["--backend", there.get("backend", document["backend"])]
    if not words[1].startswith("vm:"):
        return words
    if there.get("clock") == "real":
        return [*words, *(["--slow", there["slowed"]] if "slowed" in there else ["--time", "real"])]
    return [*words, "--shift", there["shift"]] if there.get("shift", "null") != "null" else words


def trial_command(run: Run, variant: str, repetition: int) -> str:
    """The command that carries out a trial again, after the repetitions of its variant before it, with captures."""
    what = ["--spec", SPECIFICATION] if specified(run) else [run.experiment["name"]]
    words = ["testbed", "run", *what, *_where(run.document)]
    words += ["--variant", variant, "--seed", str(run.document["seed"]), "--repeat", str(repetition + 1), "--pcap"]
    overrides: Mapping[str, Any] = {} if specified(run) else run.document.get("overrides") or {}
    for key, value in overrides.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)
