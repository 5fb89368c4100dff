"""What the machine that ran the trials was like meanwhile: its clock beside ours, whether it stood still, whether its
losses can be repeated, and what its kernel can do.

Of a run on the own machine in virtual time or without a second clock there is nothing to tell, and nothing is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.wording import NOT_MEASURED, THIN_SPACE, count, quantity
from analysis.runs import Run

MOST_LINKS = 4
"""Directions of links that a sentence names; of more the number is told."""
MOST_TRIALS = 6
"""Likewise."""
_WORDS = {
    "mptcp_info_bytes": "MPTCP_INFO",
    "mptcp_tcpinfo_bytes": "MPTCP_TCPINFO",
    "mptcp_subflow_addrs_bytes": "MPTCP_SUBFLOW_ADDRS",
    "mptcp_full_info_bytes": "MPTCP_FULL_INFO",
    "mptcp_subflow_info_bytes": "struct mptcp_subflow_info",
    "tcp_info_bytes": "TCP_INFO",
    "netem_seed": "netem holds a seed",
}
"""Capability -> its name for people; others as they are."""
_LISTS = ("counters", "sysctls")
_COUNTERS, _SYSCTLS = "MPTCP counters", "net.mptcp."


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long the trials took by either clock, of those that both measured."""

    clock: str
    """``virtual`` or ``real``: of the machine that ran them."""
    trials: int
    of: int
    """Trials in all."""
    there_ns: int
    here_ns: int
    slowed: int = 1
    """So many of our seconds are one of a ``real`` clock there."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """Trials during which the machine stood still."""

    trials: tuple[int, ...]
    """VALID ones."""
    watched: int
    """VALID trials that were watched; 0: nobody looked."""
    longest_ns: int | None


@dataclass(frozen=True, slots=True)
class Unrepeatable:
    """A direction of a link whose chance did not begin where it was told to."""

    link: str
    direction: str
    holds_another: bool
    """The kernel's netem holds another seed; else it holds none."""


def clocks(run: Run) -> Clocks | None:
    """None on the own machine."""
    rows = _rows(run, "clock", "duration_ns", "host_duration_ns")
    clock = next((row["clock"] for row in rows if row["clock"]), None)
    if clock is None:
        return None
    both = [row for row in rows if row["host_duration_ns"] is not None]
    there_ns, here_ns = (sum(row[name] for row in both) for name in ("duration_ns", "host_duration_ns"))
    slowed = int((run.document.get("ran_on") or {}).get("slowed", 1))
    return Clocks(clock, len(both), len(rows), there_ns, here_ns, slowed)


def disturbed(run: Run) -> Disturbed:
    """Of the VALID trials."""
    rows = [row for row in _rows(run, "stall_max_ns", "disturbed") if row["verdict"] == "VALID"]
    watched = [row["stall_max_ns"] for row in rows if row["stall_max_ns"] is not None]
    return Disturbed(tuple(row["trial"] for row in rows if row["disturbed"]), len(watched), max(watched, default=None))


def unrepeatable(run: Run) -> tuple[Unrepeatable, ...]:
    """Of the VALID trials, each direction once."""
    valid = {row["trial"] for row in _rows(run) if row["verdict"] == "VALID"}
    links = run.directory.read_table("links").select(["trial", "link", "direction", "seed_asked", "seed_effective"])
    found = dict.fromkeys(
        Unrepeatable(row["link"], row["direction"], row["seed_effective"] is not None)
        for row in links.to_pylist()
        if row["trial"] in valid and row["seed_asked"] not in (None, row["seed_effective"])
    )
    return tuple(found)


def sentences(run: Run) -> tuple[str, ...]:
    """All of it that a reader has to know, the gravest last."""
    told = (clock_sentence(clocks(run)), disturbed_sentence(disturbed(run)), seed_sentence(run, unrepeatable(run)))
    return tuple(sentence for sentence in told if sentence)


def doubts(run: Run) -> tuple[str, ...]:
    """What may have made its numbers what they are, beside what was compared: trials that were disturbed, losses that
    other trials of the same seed did not meet."""
    found = disturbed(run)
    told = (disturbed_sentence(found) if found.trials else "", seed_sentence(run, unrepeatable(run)))
    return tuple(sentence for sentence in told if sentence)


def clock_sentence(found: Clocks | None) -> str:
    """``"The trials took 12.0 s of guest time (virtual: instructions are counted) and 31.0 s of ours."``"""
    if found is None:
        return ""
    slowed = f" (slowed: {found.slowed} of our seconds are one of its)" if found.slowed > 1 else ""
    virtual = "guest time (virtual: its instructions are counted)"
    there = virtual if found.clock == "virtual" else f"that machine's time{slowed}"
    if not found.trials:
        return f"All times are {there}; how long the trials took by our clock is not known."
    some = "The trials" if found.trials == found.of else f"{found.trials} of {count(found.of, 'trial')}"
    return f"{some} took {quantity(found.there_ns, 'ns')} of {there} and {quantity(found.here_ns, 'ns')} of ours."


def disturbed_sentence(found: Disturbed) -> str:
    """Empty when nobody looked."""
    if not found.watched:
        return ""
    longest, bound = quantity(found.longest_ns, "ns"), f"20{THIN_SPACE}ms"
    if not found.trials:
        return f"The machine never stood still for more than {bound} during a trial (at most {longest})."
    number = len(found.trials)
    which = ", ".join(map(str, found.trials[:MOST_TRIALS]))
    which += f" and {number - MOST_TRIALS} more" if number > MOST_TRIALS else ""
    were = "was disturbed (trial" if number == 1 else "were disturbed (trials"
    return (
        f"{number} of {count(found.watched, 'valid trial')} {were} {which}): the machine stood still for up to "
        f"{longest}, more than {bound}. They count; what they measured may be the machine's."
    )


def seed_sentence(run: Run, found: Sequence[Unrepeatable]) -> str:
    """Empty when every chance is repeatable, or there is none."""
    if not found:
        return ""
    ways: dict[str, list[str]] = {}
    for each in found:
        ways.setdefault(each.link, []).append(each.direction)
    names = [link if len(directions) > 1 else f"{link} {directions[0]}" for link, directions in ways.items()]
    which = ", ".join(names[:MOST_LINKS])
    which += f" and {len(names) - MOST_LINKS} more" if len(names) > MOST_LINKS else ""
    release = run.document["kernel"].get("release") or "this kernel"
    holds = "another seed" if any(each.holds_another for each in found) else "no seed"
    return (
        f"Not repeatable: netem of Linux {release} holds {holds} on {which}, so that the same command, and another "
        "trial of the same seed, loses other packets."
    )


def capabilities(run: Run, machine: str = "") -> Mapping[str, Any]:
    """What was found on the machine that ran it (``away_``: on the other one of two); empty when nobody asked. Null: it
    could not be found out."""
    found: Mapping[str, Any] = json.loads((run.document.get("ran_on") or {}).get(f"{machine}capabilities", "{}"))
    return found


@dataclass(frozen=True, slots=True)
class CapabilityTable:
    """What machines can do, a column for each."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """On the union: (name, a text per machine)."""


def capability_table(run: Run) -> CapabilityTable | None:
    """Of the machine that ran it, or of both; None when nobody asked."""
    one, other = capabilities(run), capabilities(run, "away_")
    if not one and not other:
        return None
    node = (run.document.get("away") or {}).get("node", "the other end")
    asked = [one, other] if other else [one]
    heads = ("everything else", f"the machine of {node}") if other else ("found",)
    texts = [_texts(found) for found in asked]
    names = sorted({name: None for each in texts for name in each}, key=_rank)
    return CapabilityTable(
        heads, tuple((name, tuple(each.get(name, NOT_MEASURED) for each in texts)) for name in names)
    )


def _rank(name: str) -> tuple[int, str]:
    """What it is, how long its structures are, then lists and settings; each in order of its name."""
    if name.startswith(_SYSCTLS):
        return 3, name
    return (2 if name == _COUNTERS else 1 if name in _WORDS.values() else 0), name


def _texts(found: Mapping[str, Any]) -> Mapping[str, str]:
    told = {_WORDS.get(name, name): _value(name, value) for name, value in found.items() if name not in _LISTS}
    if "counters" in found:
        names = found["counters"]
        told[_COUNTERS] = NOT_MEASURED if names is None else f"{len(names)}: {', '.join(sorted(names))}"
    if "sysctls" in found:
        settings = found["sysctls"]
        told |= {f"{_SYSCTLS}*": NOT_MEASURED} if settings is None else {}
        told |= {f"{_SYSCTLS}{key}": str(text) for key, text in (settings or {}).items()}
    return told


def _value(name: str, value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value} bytes" if name.endswith("_bytes") else str(value)


def _rows(run: Run, *columns: str) -> list[Mapping[str, Any]]:
    table = run.directory.read_table("trials").select(["trial", "verdict", *columns])
    rows: list[Mapping[str, Any]] = table.to_pylist()
    return rows


def as_json(run: Run) -> Mapping[str, Any]:
    """For summary.json; null where nobody looked."""
    taken, still = clocks(run), disturbed(run)
    return {
        "clock": None
        if taken is None
        else {
            "of": taken.clock,
            "slowed": taken.slowed,
            "trials": taken.trials,
            "there_ns": taken.there_ns if taken.trials else None,
            "here_ns": taken.here_ns if taken.trials else None,
        },
        "disturbed": None
        if not still.watched
        else {"trials": list(still.trials), "watched": still.watched, "stall_max_ns": still.longest_ns},
        "unrepeatable": [f"{each.link} {each.direction}" for each in unrepeatable(run)],
    }
