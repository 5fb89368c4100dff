"""Several kernels -> compare.html, .md, .csv, .json, and for each but the first a directory with all series against it.

The same runs give the same bytes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.comparison.kernels import KernelComparison
from analysis.comparison.runs import Comparison
from analysis.report import compare_write
from analysis.report.compare_kernels_page import gather
from analysis.report.compare_kernels_tables import as_csv, as_json
from analysis.report.rendering import environment

COMPARE_FILES = compare_write.COMPARE_FILES


def write_kernels_comparison(comparison: KernelComparison, out: Path, command: Sequence[str]) -> list[Path]:
    """Write the four files into ``out``, which is made, and the comparisons of pairs below it; returns the four.

    ``command`` is what carried out the runs. Raises testbed.record.RecordError when there is no room.
    """
    texts = render(comparison, command)
    for (folder, each), words in zip(_pairs(comparison), _pair_commands(comparison), strict=True):
        compare_write.write_comparison(each, out / folder, words)
    return compare_write.write_texts(out, texts)


def render(comparison: KernelComparison, command: Sequence[str]) -> Mapping[str, str]:
    """File name -> content, without writing anything."""
    folders = {id(each): folder for folder, each in _pairs(comparison)}
    pages = [f"{folders[id(each)]}/compare.html" if id(each) in folders else "" for each in comparison.against]
    commands = [shlex.join(command), *map(shlex.join, _pair_commands(comparison))]
    page = gather(comparison, pages, commands)
    made = environment("compare.css", "compare_kernels.css")
    return {
        "compare.html": made.get_template("compare_kernels.html.j2").render(page=page),
        "compare.md": made.get_template("compare_kernels.md.j2").render(page=page),
        "compare.csv": as_csv(comparison),
        "compare.json": as_json(comparison, page),
    }


def _pairs(comparison: KernelComparison) -> list[tuple[str, Comparison]]:
    """Directory -> a kernel against the first."""
    first = _file_name(comparison.kernels[0].label)
    return [
        (f"{number}-{_file_name(kernel.label)}-against-{first}", each)
        for number, (kernel, each) in enumerate(zip(comparison.kernels[1:], comparison.against, strict=True), start=1)
        if isinstance(each, Comparison)
    ]


def _pair_commands(comparison: KernelComparison) -> list[list[str]]:
    return [
        ["testbed", "compare", str(each.reference.path), str(each.candidate.path)] for each in comparison.comparisons
    ]


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", label).strip("._") or "kernel"
