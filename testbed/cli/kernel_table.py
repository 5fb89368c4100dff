"""The table at the end of runs on several kernels: measures by kernel, what was expected, where the page is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison.kernels import KernelComparison
from analysis.report.compare_kernels_page import KernelsPage, MeasureLine, Number, gather
from testbed.cli.console import console, table

_SHOWN = ("goodput_bit_s", "completion_time_ns", "longest_stall_ns", "latency_p50_ns")
"""Of each variant; whatever changed is shown, too."""
MOST_ROWS = 40


def print_kernels(comparison: KernelComparison, pages: Sequence[Path]) -> None:
    """The answer last: what stands above the prompt is what was asked for."""
    page = gather(comparison, [""] * (len(comparison.kernels) - 1), [])
    output = console()
    output.print(f"\n{page.question}", markup=False, soft_wrap=True)
    lines = [line for line in page.measures if line.metric in _SHOWN or _changed(line)]
    if len(lines) > MOST_ROWS:
        lines = [line for line in lines if line.metric == _SHOWN[0] or _changed(line)][:MOST_ROWS]
    rows = [[line.variant, line.name, *(_cell(number) for number in line.numbers)] for line in lines]
    if rows:
        output.print(table(["variant", "measure", *page.labels], rows, right=page.labels))
    _print_expectations(page)
    for sentence in page.sentences:
        output.print(sentence, markup=False, soft_wrap=True)
    output.print(page.line, markup=False, soft_wrap=True)
    for path in pages:
        output.print(f"{'comparison' if path == pages[0] else 'what changed'}: {path}", markup=False, soft_wrap=True)


def _print_expectations(page: KernelsPage) -> None:
    """Those that are not met everywhere."""
    for line in page.expected:
        if all(outcome.tone == "met" for outcome in line.outcomes):
            continue
        told = [
            f"{label} {outcome.sign} {outcome.word} {outcome.measured}".rstrip()
            for label, outcome in zip(page.labels, line.outcomes, strict=True)
        ]
        console().print(f"{line.subject}, {line.bound}: {'; '.join(told)}", markup=False, soft_wrap=True)


def _changed(line: MeasureLine) -> bool:
    return any(number.verdict and number.tone != "soft" for number in line.numbers)


def _cell(number: Number) -> str:
    """``"10.6 Mbit/s  1.060 ×  ▲ faster"``."""
    ratio = number.ratio.split(" (")[0]
    verdict = f"{number.sign} {number.verdict}" if number.verdict and number.tone != "soft" else ""
    return "  ".join(part for part in (number.text, ratio, verdict) if part)
