"""What makes the numbers of two runs comparable: the machine that ran them, and what each variant asked for.

The simulator's results depend on nothing but the experiment, the seed and the code: of its runs the machine is no
difference. The commit may differ anywhere, for comparing two commits is what comparisons are for. Nor is the kernel a
difference between virtual machines that are alike in all else: who boots two kernels in the same machine wants to know
what they do differently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.runs import Run

_MACHINE = ("processor", "cores", "architecture", "virtualised", "clock_source")
_KERNEL = ("release", "version")
_BY_KERNEL = frozenset(("clock_source",))
"""Of a machine, what its kernel chooses by itself."""
_VIRTUAL_MACHINE = ("clock", "shift", "slowed", "acceleration", "cpus", "memory_mib")
"""Of ``ran_on``: what a machine that was booted for the run consists of."""
_OF_THE_RUN = ("duration_ns", "offloads", "realisation", "capture", "ledger", "ledger_form", "sample_interval_ns")
"""Fields of an experiment that concern every variant; of the simulator only the first has any effect."""
_WORDS = frozenset(("name", "summary", "factors"))
"""Fields of a variant that change nothing but words."""


def unlikeness(reference: Run, candidate: Run) -> tuple[str, ...]:
    """Why the numbers of the two say nothing about each other: what of machine, kernel and backend differs; () alike.

    Each reason names the thing and both values: ``"kernel release: 6.1.0 in the reference, 6.18.44 in the candidate"``.
    """
    first, second = reference.document, candidate.document
    if _simulated(first) and _simulated(second):
        return ()
    reasons = [*_differing("", first, second, ("backend",))]
    if _simulated(first) or _simulated(second):
        return tuple(reasons)  # a clock that is not the machine's: nothing else matters
    other_kernel = bool(kernel_differences(reference, candidate))
    facts = [name for name in _MACHINE if not (other_kernel and name in _BY_KERNEL)]
    reasons += _differing("", first["machine"], second["machine"], facts)
    if in_virtual_machine(first) and in_virtual_machine(second):
        reasons += _differing("machine's ", first["ran_on"], second["ran_on"], _VIRTUAL_MACHINE)
    if not other_kernel:
        reasons += _of_the_kernel(first, second)
    ways = [_realisations(run) for run in (reference, candidate)]
    if all(ways) and ways[0] != ways[1]:
        reasons.append(_sentence("links made by", *(", ".join(sorted(each)) for each in ways)))
    return tuple(reasons)


def kernel_differences(reference: Run, candidate: Run) -> tuple[str, ...]:
    """What differs with the kernel between two runs in virtual machines: its release, and what it sets by itself.

    () when the kernels are the same, or one of the two did not run in a virtual machine: then it is unlikeness.
    """
    first, second = reference.document, candidate.document
    if not (in_virtual_machine(first) and in_virtual_machine(second)):
        return ()
    if not list(_differing("kernel ", first["kernel"], second["kernel"], _KERNEL)):
        return ()
    return (*_differing("", first["machine"], second["machine"], sorted(_BY_KERNEL)), *_of_the_kernel(first, second))


def in_virtual_machine(document: Mapping[str, Any]) -> bool:
    """Whether a real kernel ran it that was booted for it (``--backend vm:KERNEL``); ``document`` is a run.json."""
    told = document.get("ran_on") or {}
    return not _simulated(document) and str(told.get("backend", "")).startswith("vm:")


def machine_fingerprint(document: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that runs of the same backend on machines that are alike have in common.

    ``document`` is a run.json. Of the simulator it is the same everywhere.
    """
    facts: dict[str, Any] = {"backend": document["backend"]}
    if not _simulated(document):
        facts |= {name: document["machine"].get(name) for name in _MACHINE}
        facts |= {f"kernel {name}": document["kernel"].get(name) for name in _KERNEL}
    if in_virtual_machine(document):
        facts |= {f"virtual {name}": document["ran_on"].get(name) for name in _VIRTUAL_MACHINE}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def specification_differences(reference: Run, candidate: Run, variant: str, other: str) -> tuple[str, ...]:
    """What a variant of the reference and one of the candidate ask for differently.

    ``"topology.links.path1.forward.rate_bit_s: 10000000 -> 9500000"``, the reference's value first.
    """
    fields = _OF_THE_RUN[:1] if _simulated(reference.document) and _simulated(candidate.document) else _OF_THE_RUN
    ours, theirs = ({name: run.experiment.get(name) for name in fields} for run in (reference, candidate))
    found = [
        *_differences(ours, theirs, ""),
        *_differences(reference.variants[variant], candidate.variants[other], ""),
    ]
    return tuple(f"{where}: {_text(first)} -> {_text(second)}" for where, first, second in found)


def same_run(reference: Run, candidate: Run) -> bool:
    """Whether the two are one run, or a copy of it."""
    keys = ("digest", "started_utc")
    return all(reference.document.get(key) == candidate.document.get(key) for key in keys)


def _simulated(document: Mapping[str, Any]) -> bool:
    return bool(document["backend"] == "sim")


def _of_the_kernel(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Its release and its settings, which a fresh machine has from it alone."""
    names = sorted({*_sysctls(first), *_sysctls(second)})
    return [
        *_differing("kernel ", first["kernel"], second["kernel"], _KERNEL),
        *_differing("sysctl ", _sysctls(first), _sysctls(second), names),
    ]


def _sysctls(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the machine; what is merely available is in use nowhere."""
    found: Mapping[str, Any] = document["sysctls"].get("machine") or {}
    return {name: value for name, value in found.items() if "available" not in name}


def _realisations(run: Run) -> set[str]:
    rows = run.directory.read_table("trials").select(["verdict", "realisation"]).to_pylist()
    return {row["realisation"] for row in rows if row["verdict"] == "VALID" and row["realisation"]}


def _differing(kind: str, first: Mapping[str, Any], second: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if first.get(name) != second.get(name):
            yield _sentence(f"{kind}{name}", first.get(name), second.get(name))


def _sentence(what: str, first: object, second: object) -> str:
    return f"{what}: {_text(first)} in the reference, {_text(second)} in the candidate"


def _text(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _differences(first: Any, second: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """(place, value, other value) wherever two documents differ. A field that one lacks is as good as an empty one."""
    if first == second:
        return
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys((*first, *second)):
            if name not in _WORDS:
                yield from _differences(first.get(name), second.get(name), f"{where}.{name}" if where else name)
    elif _named(first) and _named(second):
        ours, theirs = ({row["name"]: row for row in rows} for rows in (first, second))
        for name in dict.fromkeys((*ours, *theirs)):
            yield from _differences(ours.get(name), theirs.get(name), f"{where}.{name}")
    elif first or second:
        yield where, first, second


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) and "name" in row for row in value)
