"""Sequence over time of a run's representative trials, from the captures at the interfaces of the host that sends.

The captures are analysed as ``testbed analyze`` would, in a directory that is gone afterwards; a run does not change.
Only multipath variants have such a figure, and only as many as a reader looks at.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.capture.analysis import analyze
from analysis.capture.errors import CaptureError
from analysis.report.capture_directory import FORMAT, MANIFEST, AnalysisDirectory
from analysis.report.capture_outline import Lane
from analysis.report.capture_sequence import SequenceFigure, sequence_figure
from analysis.report.capture_trace import Trace, Wanted, traces
from analysis.report.time_figures import main_sender
from analysis.report.trial_rows import PCAP_HEADER_OCTETS
from analysis.runs import Run

MOST_PLOTS = 2
MOST_OCTETS = 32 << 20
"""Of the captures that a report reads for these figures: under a second."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SequencePlot:
    """The figure of one trial."""

    variant: str
    trial: int
    repetition: int
    host: str
    """Where it was captured: the one that sends."""
    direction: str
    figure: SequenceFigure
    files: tuple[str, ...]
    """Relative to the run directory."""


def sequence_plots(run: Run, representative: Mapping[str, int | None], order: Sequence[str]) -> list[SequencePlot]:
    """Of the first variants in ``order`` that used several subflows and have captures that can be read."""
    repetition = {entry["trial"]: entry["repetition"] for entry in run.document["plan"]}
    flows: dict[int, Row] = {}
    for row in run.directory.read_table("flows").to_pylist():
        flows.setdefault(row["trial"], row)  # the first flow of the trial
    plots: list[SequencePlot] = []
    left = MOST_OCTETS
    for variant in order:
        trial = representative.get(variant)
        if trial is None or len(plots) == MOST_PLOTS or (flows[trial]["subflows"] or 0) < 2:
            continue
        side = main_sender(flows[trial])
        host = flows[trial][f"{side}_host"]
        paths = _captures(run.path, trial, host)
        octets = sum(path.stat().st_size for path in paths)
        if not paths or octets > left:
            continue
        left -= octets
        direction = "upload" if side == "client" else "download"
        figure = _figure(run, trial, side, paths, f"{variant}, trial {trial}, {direction}")
        if figure is not None:
            files = tuple(str(path.relative_to(run.path)) for path in paths)
            plots.append(SequencePlot(variant, trial, repetition[trial], host, direction, figure, files))
    return plots


def _captures(run: Path, trial: int, host: str) -> list[Path]:
    """Those of the host's interfaces that hold packets."""
    found = sorted((run / "captures" / f"{trial:04d}").glob(f"{host}-*.pcap"))
    return [path for path in found if path.stat().st_size > PCAP_HEADER_OCTETS]


def _figure(run: Run, trial: int, side: str, paths: Sequence[Path], title: str) -> SequenceFigure | None:
    """None: the captures cannot be read, or hold no data in that direction."""
    with tempfile.TemporaryDirectory(prefix="testbed-sequence-") as folder:
        try:
            with analyze(list(paths)) as analysis:
                analysis.write(Path(folder))
        except CaptureError:
            return None
        (Path(folder) / MANIFEST).write_text(json.dumps({"format": FORMAT}))
        directory = AnalysisDirectory(Path(folder))
        wanted_way = 0 if side == "client" else 1
        ways = [row for row in directory.rows("connections") if row["direction"] == wanted_way]
        most = max(ways, key=lambda row: row["goodput_octets"], default=None)
        if most is None or not most["goodput_octets"]:
            return None
        both = [row for row in directory.rows("connections") if row["connection"] == most["connection"]]
        first_ns = min(row["first_ns"] for row in both)
        last_ns = max(row["last_ns"] for row in both)
        key = (most["connection"], wanted_way)
        base = most["idsn"] + 1 if most["mptcp"] and most["idsn"] is not None else None
        trace = traces(directory, {key: Wanted(first_ns, last_ns, base)})[key]
        rows = [row for row in directory.rows("subflows") if row["direction"] == wanted_way]
    if not trace.outline.lanes:
        return None
    numbers, names = _subflows(run, trial, side, rows)
    if set(trace.outline.lanes) <= set(numbers):
        _renumber(trace, numbers)
    else:  # the run does not know all of them
        names = {row["subflow"]: f"{row['source']} > {row['destination']}" for row in rows}
    return sequence_figure(title, trace.outline, names, first_ns, trace.packets, trace.scope)


def _subflows(run: Run, trial: int, side: str, captured: Sequence[Row]) -> tuple[dict[int, int], dict[int, str]]:
    """Number of a subflow in the capture -> number in the run; number in the run -> its name, as in other figures."""
    known = {
        (row["local_address"], row["remote_address"]): row
        for row in run.directory.read_table("subflows").to_pylist()
        if row["trial"] == trial and row["side"] == side
    }
    numbers: dict[int, int] = {}
    names: dict[int, str] = {}
    for row in captured:
        found = known.get((row["source"], row["destination"]))
        if found is not None and found["index"] not in names:
            numbers[row["subflow"]] = found["index"]
            names[found["index"]] = f"subflow {found['index']}" + (f" ({found['path']})" if found["path"] else "")
    return numbers, names


def _renumber(trace: Trace, numbers: Mapping[int, int]) -> None:
    """So that a subflow has the colour and dash that it has in the other figures."""
    outline = trace.outline
    lanes: dict[int, Lane] = {numbers[subflow]: lane for subflow, lane in outline.lanes.items()}
    outline.lanes = lanes
    outline.marks = {(kind, numbers[subflow]): marks for (kind, subflow), marks in outline.marks.items()}
    trace.packets = tuple(replace(packet, subflow=numbers[packet.subflow]) for packet in trace.packets)
