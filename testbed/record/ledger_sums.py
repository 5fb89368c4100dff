"""The option ledger of a trial as sums: rows of ``segments`` in, rows of ``ledger_sums`` out.

A matrix has thousands of trials with ten thousand segments each; what is asked of them are the same few numbers. They
are made where the trial ran, so that neither pipe nor disk sees the segments (docs/decisions/0023).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from testbed.record.delays import Distribution, InformationDelay, MapDelay, Range

Row = Mapping[str, Any]

AREA_OCTETS: Final = 40
KINDS: Final = ("data", "ack", "rest", "all")
ANNOUNCES: Final = re.compile(r"\badd_addr:(16|18|28|30)\b")
"""Octets of an ADD_ADDR that announces (RFC 8684 section 3.4.1); an echo has fewer."""

_ADDED: Final = (
    "payload",
    "option_octets",
    "padding_octets",
    "sack_wanted",
    "sack_sent",
    "sack_padding",
    "sack_width",
    "sack_policy",
    "sack_hard",
)
_COUNTED: Final = (
    "segments",
    "retransmissions",
    "contended",
    "option_octets_max",
    "sack_blocks_max",
    "mappings",
    "mappings_repeated",
    "omitted_dss",
    "omitted_mapping",
    "omitted_add_addr",
)


def ledger_sums(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Of the segments of one trial."""
    sides: dict[tuple[str, str, str], _Side] = {}
    trial = None
    for row in sorted(rows, key=lambda row: int(row["time_ns"])):
        trial = row["trial"]
        key = row["flow"], row["side"], row["source"]
        if key not in sides:
            sides[key] = _Side()
        sides[key].take(row)
    return [
        {"trial": trial, "flow": flow, "side": side, "source": source, **numbers}
        for (flow, side, source), found in sorted(sides.items())
        for numbers in found.rows()
    ]


class _Side:
    """One side of one flow, as one source saw it."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, int]] = {}
        self._information: dict[tuple[int, int], InformationDelay] = {}
        self._maps: dict[tuple[int, int], MapDelay] = {}
        self._mapping: dict[tuple[int, int], tuple[int, int]] = {}
        """The last one of each subflow."""
        self._announced: dict[int, int] = {}
        """Connection -> since when an ADD_ADDR waits."""
        self._waits: list[int] = []

    def take(self, row: Row) -> None:
        """The next segment."""
        kind = row["segment"]
        name = kind if kind in ("data", "ack") else "rest"
        if name not in self._kinds:
            self._kinds[name] = dict.fromkeys((*_COUNTED, *_ADDED), 0)
        sums = self._kinds[name]
        for column in _ADDED:
            sums[column] += row[column]
        sums["segments"] += 1
        sums["retransmissions"] += bool(row["retransmission"])
        sums["contended"] += row["wanted_octets"] > AREA_OCTETS
        sums["option_octets_max"] = max(sums["option_octets_max"], row["option_octets"])
        sums["sack_blocks_max"] = max(sums["sack_blocks_max"], row["sack_sent"])
        if row["omitted"]:
            _count_omitted(row["omitted"], sums)
        subflow = row["connection"], row["subflow"]
        if row["mapping_octets"] is not None:
            mapping = row["mapping_ssn"], row["mapping_octets"]
            sums["mappings"] += 1
            sums["mappings_repeated"] += self._mapping.get(subflow) == mapping
            self._mapping[subflow] = mapping
        if row["sack_ranges"]:
            self._information.setdefault(subflow, InformationDelay()).take(
                row["time_ns"], row["ack"] or 0, ranges_of(row["sack_ranges"]), row["sack_sent"]
            )
        if row["mapping"] != "none":
            _take_mapping(row, self._maps.setdefault(subflow, MapDelay()))
        if "add_addr" in row["wanted"] or "add_addr" in row["sent"]:
            self._take_announcement(row)

    def rows(self) -> list[dict[str, Any]]:
        """One for each kind that occurs, and one for all."""
        found: list[dict[str, Any]] = [
            {"kind": kind, **self._kinds[kind]} for kind in KINDS[:-1] if kind in self._kinds
        ]
        whole = {
            column: (max if column.endswith("_max") else sum)(sums[column] for sums in self._kinds.values())
            for column in (*_COUNTED, *_ADDED)
        }
        return [*found, {"kind": "all", **whole, **self._delays()}]

    def _delays(self) -> dict[str, Any]:
        information, mapped = Distribution(), Distribution()
        never = 0
        for delay in self._information.values():
            delay.finish()
            information.update(delay.delays)
            never += delay.never
        immediate = sum(each.immediate for each in self._maps.values())
        for each in self._maps.values():
            mapped.update(each.delays_ns)
        late = mapped.total
        mapped.add(0, immediate)
        return {
            "sack_ranges": information.total + never,
            "never_reported": never,
            "information_delay_p50_ns": information.quantile(0.5),
            "information_delay_p95_ns": information.quantile(0.95),
            "mapped_octets": mapped.total,
            "map_delayed_octets": late,
            "map_missing_octets": sum(each.never for each in self._maps.values()),
            "map_delay_p95_ns": mapped.quantile(0.95) if mapped.total else None,
            "add_addr_wait_max_ns": max(self._waits, default=None),
            "add_addr_never": len(self._announced),
        }

    def _take_announcement(self, row: Row) -> None:
        is_sent = ANNOUNCES.search(row["sent"]) is not None
        if not is_sent and ANNOUNCES.search(row["wanted"]) is None:
            return
        begun = self._announced.setdefault(row["connection"], row["time_ns"])
        if is_sent:
            self._waits.append(row["time_ns"] - begun)
            del self._announced[row["connection"]]


def ranges_of(text: str) -> tuple[Range, ...]:
    """``1449-2897 4345-5793`` as pairs."""
    pairs = (word.split("-") for word in text.split())
    return tuple((int(low), int(high)) for low, high in pairs)


def _count_omitted(text: str, sums: dict[str, int]) -> None:
    names = {word.partition(":")[0] for word in text.split()}
    sums["omitted_dss"] += "dss" in names
    sums["omitted_mapping"] += bool(names & {"dss", "dss-mapping"})
    sums["omitted_add_addr"] += "add_addr" in names


def _take_mapping(row: Row, delay: MapDelay) -> None:
    is_data = row["segment"] == "data"
    has = row["mapping_octets"] is not None
    if not is_data and not has:
        return
    start = row["ssn"] or 0
    end = start + row["payload"]
    is_new = is_data and not row["retransmission"]
    mapping = None
    if has:
        is_infinite = row["mapping_octets"] == 0
        first = start if is_infinite else row["mapping_ssn"]
        mapping = first, end if is_infinite else first + row["mapping_octets"]
    is_declared = row["mapping"] == "declared"
    if not delay.is_waiting and (is_declared or (mapping is not None and mapping[0] <= start and mapping[1] >= end)):
        delay.immediate += row["payload"] if is_new else 0
        return
    delay.take(row["time_ns"], (start, end) if is_new else None, is_declared, mapping)
