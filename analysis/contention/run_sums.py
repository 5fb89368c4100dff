"""The contention of a run that kept its ledger as sums (table ``ledger_sums``) instead of segments."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.contention.run_rows import KINDS, REST, SUMS, ContentionRow
from analysis.runs import Run

Row = Mapping[str, Any]

_GROUPS = {**KINDS, "rest": REST}
_OMITTED = {"omitted_dss": "dss", "omitted_mapping": "mapping", "omitted_add_addr": "add_addr"}


def summed_trials(run: Run) -> Iterator[tuple[str, Row]]:
    """(variant, row of ``ledger_sums``) of the valid trials, in the order of variants, flows, sides and sources."""
    trials = run.directory.read_table("trials").select(["trial", "variant", "verdict"]).to_pylist()
    variant_of = {row["trial"]: row["variant"] for row in trials if row["verdict"] == "VALID"}
    order = {name: number for number, name in enumerate(run.variants)}
    rows = [row for row in run.directory.read_table("ledger_sums").to_pylist() if row["trial"] in variant_of]
    rows.sort(key=lambda row: (order.get(variant_of[row["trial"]], 0), row["flow"], row["side"], row["source"]))
    for row in rows:
        yield variant_of[row["trial"]], row


def summed_contention(run: Run) -> list[ContentionRow]:
    """One row for each variant, flow, side, source and kind. Sums do not say what displaced a block."""
    sums: dict[tuple[str, str, str, str, str], Counter[str]] = defaultdict(Counter)
    for variant, row in summed_trials(run):
        if row["kind"] in _GROUPS:
            key = variant, row["flow"], row["side"], row["source"], row["kind"]
            names = ("segments", "contended", *SUMS, *_OMITTED)
            sums[key].update({name: row[name] or 0 for name in names})
    found = []
    for variant, flow, side, source in dict.fromkeys(key[:4] for key in sums):
        for kind, group in _GROUPS.items():
            counts = sums.get((variant, flow, side, source, kind))
            if counts is None or not counts["segments"]:
                continue
            omitted = [(word, counts[name]) for name, word in _OMITTED.items() if counts[name]]
            summed = ContentionRow(
                variant=variant,
                flow=flow,
                side=side,
                source=source,
                kind=group,
                segments=counts["segments"],
                contended=counts["contended"],
                sums={name: counts[name] for name in SUMS},
                blame=(),
                omitted=tuple(sorted(omitted, key=lambda pair: (-pair[1], pair[0]))),
            )
            found.append(summed)
    return found
