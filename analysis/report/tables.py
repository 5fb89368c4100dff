"""The tables of a report: rows of texts from the tables of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pyarrow.compute as pc

from analysis.report.wording import NOT_MEASURED, quantity, share, significant
from analysis.runs import Run

COUNTER_FAMILIES = ("MPTcpExt", "TcpExt", "Tcp", "Ip", "Ip6", "Udp", "Icmp")
"""Order in which counters are listed."""

DROPS = {
    "dropped_loss": "by loss",
    "dropped_queue": "by queue",
    "dropped_outage": "in outage",
    "dropped_middlebox": "by middlebox",
    "changed_middlebox": "changed by middlebox",
    "marked_ce": "marked CE",
    "duplicated": "duplicated",
    "corrupted": "corrupted",
    "reordered": "reordered",
}
"""Column -> words in the table of links."""


MIDDLEBOX_COUNTS = ("seen", "matched", "changed", "dropped", "made", "delayed")
"""Columns of the table of middleboxes."""


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One direction of a link in the valid trials of a variant."""

    variant: str
    calibrated: str
    packets: str
    drops: str
    lateness: str
    rate_error: str
    checks: str


@dataclass(frozen=True, slots=True)
class LinkGroup:
    """The variants that asked the same of one direction of a link."""

    link: str
    direction: str
    profile: str
    realisation: str
    rows: tuple[LinkRow, ...]


@dataclass(frozen=True, slots=True)
class MiddleboxRow:
    """One middlebox and one direction in the valid trials of a variant; medians."""

    variant: str
    link: str
    direction: str
    middlebox: str
    counts: tuple[str, ...]
    """By :data:`MIDDLEBOX_COUNTS`."""


@dataclass(frozen=True, slots=True)
class CounterTable:
    """Median growth of the counters that moved; a column per variant."""

    variants: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    """(counter, host, a text per variant)."""


def valid_trials(run: Run) -> dict[str, list[int]]:
    """Variant -> its VALID trials."""
    found: dict[str, list[int]] = {name: [] for name in run.variants}
    for row in run.directory.read_table("trials").select(["trial", "variant", "verdict"]).to_pylist():
        if row["verdict"] == "VALID":
            found.setdefault(row["variant"], []).append(row["trial"])
    return found


def link_groups(run: Run) -> list[LinkGroup]:
    """Configured against calibrated against counted; medians over valid trials, worst of lateness and rate error."""
    variant_of = {trial: variant for variant, trials in valid_trials(run).items() for trial in trials}
    groups: dict[tuple[str, ...], dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in run.directory.read_table("links").to_pylist():
        if row["trial"] in variant_of:
            key = (row["link"], row["direction"], row["profile"], row["realisation"])
            groups[key][variant_of[row["trial"]]].append(row)
    order = {key[:2]: number for number, key in reversed(list(enumerate(groups)))}  # links as they came first
    return [
        LinkGroup(key[0], key[1], key[2], key[3], tuple(_link_row(*item) for item in groups[key].items()))
        for key in sorted(groups, key=lambda key: order[key[:2]])
    ]


def _link_row(variant: str, rows: Sequence[Mapping[str, Any]]) -> LinkRow:
    calibrated = [
        quantity(_median(rows, "calibrated_rate_bit_s"), "bit/s"),
        quantity(_median(rows, "calibrated_delay_ns"), "ns"),
        share(_median(rows, "calibrated_loss")) + " lost",
    ]
    known = [text for text in calibrated if not text.startswith(NOT_MEASURED)]
    used = [row for row in rows if row["packets_arrived"] != 0]  # of no packets nothing is late
    drops = [(name, _median(rows, name)) for name in DROPS]
    counted = [f"{significant(value)} {DROPS[name]}" for name, value in drops if value]
    return LinkRow(
        variant,
        ", ".join(known) or NOT_MEASURED,
        quantity(_median(rows, "packets_arrived"), ""),
        ", ".join(counted) or ("none" if any(value is not None for _, value in drops) else NOT_MEASURED),
        quantity(_worst(used, "lateness_p99_ns"), "ns"),
        share(_worst(rows, "rate_error")),
        "; ".join(sorted({row["check"] for row in rows if row["check"]})) or "in tolerance",
    )


def middlebox_rows(run: Run) -> list[MiddleboxRow]:
    """What each middlebox saw and did, by variant, link and direction: medians over the valid trials."""
    variant_of = {trial: variant for variant, trials in valid_trials(run).items() for trial in trials}
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in run.directory.read_table("middleboxes").to_pylist():
        if row["trial"] in variant_of:
            place = (row["link"], row["place"], row["number"], row["direction"], row["middlebox"])
            groups[variant_of[row["trial"]], *place].append(row)
    return [
        MiddleboxRow(
            key[0], key[1], key[4], key[5], tuple(quantity(_median(rows, name), "") for name in MIDDLEBOX_COUNTS)
        )
        for key, rows in groups.items()
    ]


def counter_table(run: Run) -> CounterTable:
    """Counters that moved in a valid trial; a counter that this kernel lacks is a dash."""
    trials = valid_trials(run)
    variant_of = {trial: variant for variant, numbers in trials.items() for trial in numbers}
    growth: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    table = run.directory.read_table("counters", encoded=True)
    changed = table.filter(pc.not_equal(table["before"], table["after"]))["counter"].unique()
    for row in table.filter(pc.is_in(table["counter"], changed.cast("string"))).to_pylist():
        if row["trial"] in variant_of and row["before"] is not None and row["after"] is not None:
            growth[row["counter"], row["host"]][variant_of[row["trial"]]].append(row["after"] - row["before"])
    moved = {key: values for key, values in growth.items() if any(any(deltas) for deltas in values.values())}
    variants = tuple(name for name, numbers in trials.items() if numbers)
    rows = []
    for counter, host in sorted(moved, key=lambda key: (_family(key[0]), key)):
        values = moved[counter, host]
        texts = tuple(significant(median(values[name])) if values.get(name) else NOT_MEASURED for name in variants)
        rows.append((counter, host, texts))
    return CounterTable(variants, tuple(rows))


def _family(counter: str) -> int:
    matching = [family for family in COUNTER_FAMILIES if counter.startswith(family)]
    return COUNTER_FAMILIES.index(max(matching, key=len)) if matching else len(COUNTER_FAMILIES)


def environment(run: Run) -> list[tuple[str, str]]:
    """Name and value of what the run was made on."""
    document = run.document
    source = document["source"]
    dirty = {True: ", with uncommitted changes", False: "", None: ", unknown whether changed"}[source.get("dirty")]
    rows = [
        ("started", document["started_utc"]),
        ("finished", document.get("finished_utc", "not complete")),
        ("backend", document["backend"]),
        ("kernel", _joined(document["kernel"])),
        ("machine", _joined(document["machine"])),
        ("testbed", (source.get("commit") or "unknown commit") + dirty),
        ("versions", _joined(document["versions"])),
        ("seed", str(document["seed"])),
        ("experiment digest", document["digest"]),
        ("schema version", str(document["schema_version"])),
    ]
    if document.get("ran_on"):
        told = {name: text for name, text in document["ran_on"].items() if not name.endswith("capabilities")}
        rows.insert(3, ("ran on", _joined(told)))
    if document.get("overrides"):
        rows.append(("set on the command line", _joined(document["overrides"])))
    return rows


def sysctls(run: Run) -> list[tuple[str, str, str]]:
    """(where, name, value), read back."""
    return [
        (str(where), str(name), NOT_MEASURED if value is None else str(value))
        for where, values in run.document["sysctls"].items()
        for name, value in sorted(values.items())
    ]


def _joined(values: Mapping[str, Any]) -> str:
    named = ((name.removesuffix("_bytes").replace("_", " "), _plain(name, value)) for name, value in values.items())
    return ", ".join(f"{name} {text}" for name, text in named)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith("_bytes"):
        return quantity(value, "bytes")
    return NOT_MEASURED if value is None else str(value)


def _median(rows: Iterable[Mapping[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return median(values) if values else None


def _worst(rows: Iterable[Mapping[str, Any]], name: str) -> float | None:
    values = [abs(row[name]) for row in rows if row[name] is not None]
    return max(values) if values else None
