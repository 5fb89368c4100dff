"""Goodput per subflow: each one's part of what the application got, by the bytes that arrived on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from analysis.load import Run
from analysis.report.wording import quantity, share

METRIC = "bytes_received"


@dataclass(frozen=True, slots=True)
class SubflowGoodput:
    """One subflow of the first flow of a variant, over the valid trials; medians."""

    variant: str
    label: str
    """The path, or the number where no path is known."""
    goodput_bit_s: float
    part: float
    """Of the bytes of all subflows."""

    def in_words(self) -> str:
        """``"path1 9.41 Mbit/s (50.3 %)"``."""
        return f"{self.label} {quantity(self.goodput_bit_s, 'bit/s')} ({share(self.part)})"


def subflow_goodputs(run: Run) -> Mapping[str, list[SubflowGoodput]]:
    """Variant -> its subflows by index; both directions' receivers count. Only where every trial has the samples."""
    trials = {
        row["trial"]: row["variant"]
        for row in run.directory.read_table("trials").select(["trial", "variant", "verdict"]).to_pylist()
        if row["verdict"] == "VALID"
    }
    flows = {
        (row["trial"], row["flow"]): row["goodput_bit_s"]
        for row in run.directory.read_table("flows").select(["trial", "flow", "goodput_bit_s"]).to_pylist()
    }
    series = run.series([METRIC], list(trials))
    carried: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for (trial, subject, _), (_, values) in series.items():
        flow, _, rest = subject.partition(".")
        _, _, last = rest.partition(".subflow")
        if last.isdecimal() and flow == _first_flow(run, trials[trial]) and len(values):
            carried[trial][int(last)] += float(values.max())
    labels = _labels(run, trials)
    parts: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for trial, subflows in sorted(carried.items()):
        total = sum(subflows.values())
        goodput = flows.get((trial, _first_flow(run, trials[trial])))
        if total <= 0 or goodput is None:
            continue
        for index, received in sorted(subflows.items()):
            label = labels.get((trial, index), f"subflow {index}")
            parts[trials[trial]][label].append((goodput * received / total, received / total))
    return {
        variant: [
            SubflowGoodput(variant, label, median(rate for rate, _ in found), median(part for _, part in found))
            for label, found in by_label.items()
        ]
        for variant, by_label in parts.items()
    }


def _first_flow(run: Run, variant: str) -> str:
    return str(run.variants[variant]["flows"][0]["name"])


def _labels(run: Run, trials: Mapping[int, str]) -> Mapping[tuple[int, int], str]:
    """(trial, index) -> path; the path's name twice, as with several ports, is told by the index."""
    columns = ["trial", "flow", "side", "index", "path"]
    named: dict[tuple[int, int], str] = {}
    for row in run.directory.read_table("subflows").select(columns).to_pylist():
        trial = row["trial"]
        if trial in trials and row["path"] and row["flow"] == _first_flow(run, trials[trial]):
            named.setdefault((trial, row["index"]), row["path"])
    repeated = {
        (trial, path)
        for (trial, index), path in named.items()
        if any(other == path and key != (trial, index) and key[0] == trial for key, other in named.items())
    }
    return {key: f"{path} #{key[1]}" if (key[0], path) in repeated else path for key, path in named.items()}
