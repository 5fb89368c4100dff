"""Goodput per path: each one's part of what the application got, by the bytes that arrived on its subflows.

The number of a subflow is each side's own, so it says nothing without the side; the path does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from analysis.report.wording import quantity, share
from analysis.runs import Run

METRIC = "bytes_received"


@dataclass(frozen=True, slots=True)
class SubflowGoodput:
    """The subflows over one path of the first flow of a variant; medians over the valid trials."""

    variant: str
    label: str
    """The path, or side and number where no path is known."""
    goodput_bit_s: float
    part: float
    """Of the bytes of all subflows."""

    def in_words(self) -> str:
        """``"path1 9.41 Mbit/s (50.3 %)"``."""
        return f"{self.label} {quantity(self.goodput_bit_s, 'bit/s')} ({share(self.part)})"


def subflow_goodputs(run: Run) -> Mapping[str, list[SubflowGoodput]]:
    """Variant -> its paths, by number of the first subflow; both directions' receivers count.

    Over the valid trials with samples of subflows; a path that such a trial did not use carried 0 in it.
    """
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
    labels = _labels(run, trials)
    carried: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    order: dict[tuple[str, str], int] = {}
    for (trial, subject, _), (_, values) in series.items():
        flow, _, rest = subject.partition(".")
        side, _, last = rest.partition(".subflow")
        variant = trials[trial]
        if last.isdecimal() and flow == _first_flow(run, variant) and len(values):
            label = labels.get((trial, side, int(last)), f"{side} subflow {last}")
            carried[trial][label] += float(values.max())
            order[variant, label] = min(int(last), order.get((variant, label), int(last)))
    parts: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for trial, received in sorted(carried.items()):
        variant, total = trials[trial], sum(received.values())
        goodput = flows.get((trial, _first_flow(run, variant)))
        if total <= 0 or goodput is None:
            continue
        for label in sorted(each for name, each in order if name == variant):
            part = received.get(label, 0.0) / total
            parts[variant][label].append((goodput * part, part))
    return {
        variant: [
            SubflowGoodput(variant, label, median(rate for rate, _ in found), median(part for _, part in found))
            for label, found in sorted(by_label.items(), key=lambda item: (order[variant, item[0]], item[0]))
        ]
        for variant, by_label in parts.items()
    }


def _first_flow(run: Run, variant: str) -> str:
    return str(run.variants[variant]["flows"][0]["name"])


def _labels(run: Run, trials: Mapping[int, str]) -> Mapping[tuple[int, str, int], str]:
    """(trial, side, that side's index) -> path."""
    return {
        (row["trial"], row["side"], row["index"]): row["path"]
        for row in run.directory.read_table("subflows").select(["trial", "flow", "side", "index", "path"]).to_pylist()
        if row["trial"] in trials and row["path"] and row["flow"] == _first_flow(run, trials[row["trial"]])
    }
