"""What the valid trials of each variant say: every metric with its interval, the gain of several paths, fairness."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from analysis.metrics import aggregation_benefit, fill_rate, jain_index
from analysis.report.wording import count
from analysis.runs import Run
from analysis.statistics import Interval, median_interval
from testbed.record import TABLES

Row = Mapping[str, Any]

GREEDY = ("bulk", "program")
"""Applications that take what the paths give, so that comparing goodputs says something about the paths."""

MOST_VARIANTS = 60
"""A matrix of more variants than this is told by its factors alone: no row, plot or figure for each variant."""

NUMERIC = tuple(
    column
    for column in TABLES["flows"].columns
    if column.type in ("int64", "float64") and column.name not in ("trial", "family")
)
"""Columns of the flows table that are summarised."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the flows table in the valid trials of a variant."""

    unit: str
    trials: tuple[int, ...]
    values: tuple[float, ...]
    interval: Interval


@dataclass(frozen=True, slots=True)
class VariantFinding:
    """A variant and what its valid trials say. ``flows``: flow -> column -> metric, only what was measured."""

    name: str
    summary: str
    counts: Counter[str]
    """Verdict -> trials; ``missing``: planned and not run yet."""
    flows: Mapping[str, Mapping[str, Metric]]
    first_flow: str
    derived: dict[str, Metric] = field(default_factory=dict)
    """``aggregation_benefit``, ``fill_rate``, ``jain_index``, where they are defined."""
    alone: tuple[str, ...] = ()
    """The single-path variants that the aggregation benefit compares with."""
    fallbacks: tuple[int, ...] = ()
    """Valid trials in which a flow asked for MPTCP and was plain TCP, from the start or later."""

    @property
    def fallback_text(self) -> str:
        """``"fell back to TCP in 1 of 3 valid trials"``; empty when none did."""
        if not self.fallbacks:
            return ""
        return f"fell back to TCP in {len(self.fallbacks)} of {count(self.counts['VALID'], 'valid trial')}"

    def metric(self, column: str, flow: str | None = None) -> Metric | None:
        """The metric of a flow (None: the first one); None when no valid trial has it."""
        return self.flows.get(flow or self.first_flow, {}).get(column)


def find(run: Run) -> list[VariantFinding]:
    """One finding per variant of the plan, in the experiment's order."""
    trials = run.directory.read_table("trials").to_pylist()
    rows: dict[str, list[Row]] = defaultdict(list)
    variant_of = {row["trial"]: row["variant"] for row in trials if row["verdict"] == "VALID"}
    for row in run.directory.read_table("flows").sort_by("trial").to_pylist():
        if row["trial"] in variant_of:
            rows[variant_of[row["trial"]]].append(row)
    planned = Counter(entry["variant"] for entry in run.document["plan"])
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in trials:
        verdicts[row["variant"]][row["verdict"]] += 1
    findings = [
        VariantFinding(
            name=name,
            summary=variant["summary"],
            counts=verdicts[name] + Counter(missing=planned[name] - verdicts[name].total()),
            flows=_metrics(rows[name]),
            first_flow=variant["flows"][0]["name"],
            fallbacks=tuple(dict.fromkeys(row["trial"] for row in rows[name] if _fell_back(row))),
        )
        for name, variant in run.variants.items()
    ]
    alone = [finding for finding in findings if is_single_path(run.variants[finding.name])]
    return [_with_derived(finding, run, alone, rows[finding.name]) for finding in findings]


def _fell_back(row: Row) -> bool:
    """Whether a flow whose client asked for MPTCP was plain TCP."""
    return not row["implementation"].endswith("-tcp") and (bool(row["fallback"]) or row["in_force"] == "fallback")


def _metrics(rows: Iterable[Row]) -> Mapping[str, Mapping[str, Metric]]:
    by_flow: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_flow[row["flow"]].append(row)
    return {
        flow: {
            column.name: metric
            for column in NUMERIC
            if (metric := _metric(column.unit, [(row["trial"], row[column.name]) for row in flow_rows])) is not None
        }
        for flow, flow_rows in by_flow.items()
    }


def _metric(unit: str, pairs: Sequence[tuple[int, float | None]]) -> Metric | None:
    known = [(trial, float(value)) for trial, value in pairs if value is not None]
    if not known:
        return None
    values = tuple(value for _, value in known)
    return Metric(unit, tuple(trial for trial, _ in known), values, median_interval(values))


def _with_derived(
    finding: VariantFinding, run: Run, alone: Sequence[VariantFinding], rows: Sequence[Row]
) -> VariantFinding:
    goodput = finding.metric("goodput_bit_s")
    if goodput is None:
        return finding
    variant = run.variants[finding.name]
    derived: dict[str, Metric] = {}
    capacities = path_capacities(variant)
    if capacities:
        filled = [fill_rate(value, capacities) for value in goodput.values]
        derived["fill_rate"] = Metric("ratio", goodput.trials, tuple(filled), median_interval(filled))
    singles = _single_path_goodputs(variant, run, alone)
    if len(singles) >= 2:
        gains = [aggregation_benefit(value, list(singles.values())) for value in goodput.values]
        derived["aggregation_benefit"] = Metric("ratio", goodput.trials, tuple(gains), median_interval(gains))
    if len(variant["flows"]) > 1 and (shares := _fairness(rows, len(variant["flows"]))):
        trials, values = zip(*shares.items(), strict=True)
        derived["jain_index"] = Metric("ratio", trials, values, median_interval(values))
    return replace(finding, derived=derived, alone=tuple(singles) if len(singles) >= 2 else ())


def is_single_path(variant: Mapping[str, Any]) -> bool:
    """Whether its first flow is plain TCP."""
    return str(variant["flows"][0]["client"]["implementation"]).endswith("-tcp")


def _single_path_goodputs(variant: Mapping[str, Any], run: Run, alone: Sequence[VariantFinding]) -> dict[str, float]:
    """Variant -> median goodput of plain TCP on each path of the same network under the same application, alone.

    Empty unless every path of the network has one: the sum of some of the paths says nothing about all of them.
    """
    flow = variant["flows"][0]
    if is_single_path(variant) or len(variant["flows"]) > 1 or flow["application"]["kind"] not in GREEDY:
        return {}
    found: dict[str, tuple[str, float]] = {}
    for other in alone:
        candidate = run.variants[other.name]
        first = candidate["flows"][0]
        same = candidate["topology"] == variant["topology"] and first["application"] == flow["application"]
        goodput = other.metric("goodput_bit_s")
        if not (same and len(candidate["flows"]) == 1 and goodput):
            continue
        if goodput.interval.estimate > 0:
            found.setdefault(first_path(candidate), (other.name, goodput.interval.estimate))
    paths = [path["name"] for path in variant["topology"]["paths"]]
    return dict(found[path] for path in paths) if set(paths) <= found.keys() else {}


def first_path(variant: Mapping[str, Any]) -> str:
    """The path of the first subflow of its first flow: the topology's first one unless it names another."""
    return str(variant["flows"][0]["path"] or variant["topology"]["paths"][0]["name"])


def path_capacities(variant: Mapping[str, Any]) -> list[float]:
    """Configured rate of each path that the first flow can use, in its direction.

    Empty when a path has no limit, when paths share a limited link, or when more than one flow is there: then no
    simple sum exists.
    """
    flow = variant["flows"][0]
    direction = flow["application"].get("direction")
    bulk = flow["application"]["kind"] == "bulk"  # anything else does not try to fill the paths
    if len(variant["flows"]) > 1 or direction not in ("upload", "download") or not bulk:
        return []
    links = {link["name"]: link for link in variant["topology"]["links"]}
    if any(change["rate_bit_s"] or change["down"] for link in links.values() for change in link["changes"]):
        return []  # the capacity is not one number
    node = next((host["name"] for host in variant["topology"]["hosts"] if host["role"] == "client"), "")
    capacities, limited = [], []
    for path in variant["topology"]["paths"]:
        rates, here = [], node
        for name in path["links"]:
            link = links[name]
            away = link["a"] == here
            profile = link["forward"] if away == (direction == "upload") else link["backward"]
            if profile.get("trace"):
                return []  # as above
            here = link["b"] if away else link["a"]
            if profile["rate_bit_s"]:
                rates.append(profile["rate_bit_s"])
                limited.append(name)
        if not rates:
            return []
        if not is_single_path(variant) or path["name"] == first_path(variant):
            capacities.append(float(min(rates)))
    return capacities if len(set(limited)) == len(limited) else []


def _fairness(rows: Sequence[Row], flows: int) -> dict[int, float]:
    """Trial -> Jain's index over the goodputs of all its flows; only of trials in which every flow has one."""
    by_trial: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["goodput_bit_s"] is not None:
            by_trial[row["trial"]].append(row["goodput_bit_s"])
    return {trial: jain_index(shares) for trial, shares in by_trial.items() if len(shares) == flows and any(shares)}
