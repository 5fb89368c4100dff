"""What the machine that ran the trials was like meanwhile: its clock beside ours, whether it stood still, whether its
losses can be repeated, and what its kernel can do.

Of a run on the own machine in virtual time or without a second clock there is nothing to tell, and nothing is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.wording import NOT_MEASURED, count, quantity
from analysis.runs import Run

MOST_LINKS = 4
"""Directions of links that a sentence names; of more the number is told."""
_WORDS = {
    "mptcp_info_bytes": "MPTCP_INFO",
    "mptcp_tcpinfo_bytes": "MPTCP_TCPINFO",
    "mptcp_subflow_addrs_bytes": "MPTCP_SUBFLOW_ADDRS",
    "mptcp_full_info_bytes": "MPTCP_FULL_INFO",
    "mptcp_subflow_info_bytes": "struct mptcp_subflow_info",
    "tcp_info_bytes": "TCP_INFO",
    "netem_seed": "netem holds a seed",
    "iproute2": "iproute2",
}
"""Capability -> its name for people; others as they are."""
_LISTS = ("counters", "sysctls")


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
    return Clocks(clock, len(both), len(rows), there_ns, here_ns)


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
    there = "guest time (virtual: its instructions are counted)" if found.clock == "virtual" else "that machine's time"
    if not found.trials:
        return f"All times are {there}; how long the trials took by our clock is not known."
    some = "The trials" if found.trials == found.of else f"{found.trials} of {count(found.of, 'trial')}"
    return f"{some} took {quantity(found.there_ns, 'ns')} of {there} and {quantity(found.here_ns, 'ns')} of ours."


def disturbed_sentence(found: Disturbed) -> str:
    """Empty when nobody looked."""
    if not found.watched:
        return ""
    longest = quantity(found.longest_ns, "ns")
    if not found.trials:
        return f"The machine never stood still for more than 20 ms during a trial (at most {longest})."
    which = f"trial {', '.join(map(str, found.trials[:MOST_LINKS]))}"
    which += f" and {len(found.trials) - MOST_LINKS} more" if len(found.trials) > MOST_LINKS else ""
    verb = "was" if len(found.trials) == 1 else "were"
    return (
        f"{len(found.trials)} of {count(found.watched, 'valid trial')} {verb} disturbed ({which}): the machine stood "
        f"still for more than 20 ms, at most {longest}. They count; what they measured may be the machine's."
    )


def seed_sentence(run: Run, found: Sequence[Unrepeatable]) -> str:
    """Empty when every chance is repeatable, or there is none."""
    if not found:
        return ""
    names = [f"{each.link} {each.direction}" for each in found]
    which = ", ".join(names[:MOST_LINKS])
    which += f" and {len(names) - MOST_LINKS} more" if len(names) > MOST_LINKS else ""
    release = run.document["kernel"].get("release") or "this kernel"
    holds = "another seed" if any(each.holds_another for each in found) else "no seed"
    return (
        f"Not repeatable: netem of Linux {release} holds {holds} on {which}, so that the same command, and another "
        "trial of the same seed, loses other packets."
    )


def capabilities(run: Run) -> Mapping[str, Any]:
    """What was found on the machine that ran it; empty when nobody asked. Null: it could not be found out."""
    found: Mapping[str, Any] = json.loads((run.document.get("ran_on") or {}).get("capabilities", "{}"))
    return found


def capability_rows(run: Run) -> list[tuple[str, str]]:
    """Name and value of each for people, lists last."""
    found = capabilities(run)
    rows = [(_WORDS.get(name, name), _value(name, value)) for name, value in found.items() if name not in _LISTS]
    for name in _LISTS:
        if name in found:
            rows += _list_rows(name, found[name])
    return rows


def _list_rows(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return [(f"MPTCP {name}", NOT_MEASURED)]
    if name == "sysctls":
        return [(f"net.mptcp.{key}", str(text)) for key, text in sorted(value.items())]
    return [(f"{len(value)} MPTCP counters", ", ".join(sorted(value)))]


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
            "trials": taken.trials,
            "there_ns": taken.there_ns if taken.trials else None,
            "here_ns": taken.here_ns if taken.trials else None,
        },
        "disturbed": None
        if not still.watched
        else {"trials": list(still.trials), "watched": still.watched, "stall_max_ns": still.longest_ns},
        "unrepeatable": [f"{each.link} {each.direction}" for each in unrepeatable(run)],
    }
