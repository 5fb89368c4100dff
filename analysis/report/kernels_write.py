"""Runs of several kernels -> kernels.html, kernels.md, kernels.json: what changed between them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.kernels import Found, KernelTable, table_of
from analysis.report.kernels_page import gather
from analysis.report.rendering import environment
from analysis.runs import Run
from testbed.record import files

KERNELS_FILES = ("kernels.html", "kernels.md", "kernels.json")
VERSION = 1
"""Of kernels.json."""


def write_kernels(runs: Sequence[Run], directory: Path, command: Sequence[str]) -> list[Path]:
    """Write the three files into ``directory``, which is made; each is replaced atomically. Their paths.

    Runs that have neither claims nor a grid, and matrices, are passed over. Raises RecordError when none is left, or
    the place cannot be written.
    """
    texts = render(table_of(runs), directory, command)
    with files.space_needed_for("what changed between kernels", directory):
        directory.mkdir(parents=True, exist_ok=True)
    for name in KERNELS_FILES:
        files.write_atomically(directory / name, texts[name].encode())
    return [directory / name for name in KERNELS_FILES]


def render(table: KernelTable, directory: Path, command: Sequence[str]) -> Mapping[str, str]:
    """File name -> content, without writing anything."""
    links = {
        str(run.path): f"{os.path.relpath(run.path.resolve(), directory.resolve())}/"
        for kernel in table.kernels
        for run in kernel.runs
    }
    page = gather(table, links, command)
    pages = environment("kernels.css")
    return {
        "kernels.html": pages.get_template("kernels.html.j2").render(page=page),
        "kernels.md": pages.get_template("kernels.md.j2").render(page=page),
        "kernels.json": json.dumps(_document(table, links, command), indent=1, ensure_ascii=False) + "\n",
    }


def _document(table: KernelTable, links: Mapping[str, str], command: Sequence[str]) -> Mapping[str, Any]:
    return {
        "version": VERSION,
        "command": list(command),
        "kernels": [
            {
                "name": kernel.name,
                "release": kernel.release,
                "runs": [
                    {
                        "experiment": run.experiment["name"],
                        "path": links[str(run.path)],
                        "digest": run.document["digest"],
                        "seed": run.document["seed"],
                        "started_utc": run.document["started_utc"],
                        "ran_on": run.document.get("ran_on"),
                    }
                    for run in kernel.runs
                ],
            }
            for kernel in table.kernels
        ],
        "claims": [
            {
                "id": row.claim["id"],
                "title": row.claim["title"],
                "changed": row.has_changed,
                "by_kernel": [
                    {
                        "verdict": None if each.count == "–" else each.word,
                        "text": each.text,
                        "supporting": each.supporting,
                        "contradicting": each.contradicting,
                        "open": each.open,
                    }
                    for each in row.judgements
                ],
            }
            for row in table.claims
        ],
        "evidence": [
            {
                "experiment": row.experiment,
                "claims": list(row.claims),
                "variant": row.expectation["variant"],
                "metric": row.expectation["metric"],
                "statistic": row.expectation.get("statistic"),
                "at_least": row.expectation.get("at_least"),
                "at_most": row.expectation.get("at_most"),
                "change": row.change,
                "by_kernel": [_found(found) for found in row.found],
            }
            for row in table.rows
        ],
    }


def _found(found: Found | None) -> Mapping[str, Any] | None:
    """Null: the experiment did not run there; ``value`` null: it is not known, ``reason`` says why."""
    if found is None:
        return None
    verdict = found.verdict
    return {
        "outcome": verdict.outcome,
        "value": verdict.value,
        "unit": verdict.unit,
        "values": list(verdict.values),
        "n": verdict.n,
        "reason": verdict.reason,
        "source": verdict.source or None,
    }
