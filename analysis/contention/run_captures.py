"""Rows of source ``capture`` for the ends of a run that have none of their own, from the captures of its trials.

A Linux end keeps no ledger, and its kernel's rows need BPF; a capture at its interface tells nearly as much. Rows are
inferred when they are asked for and not stored: a run does not change. Captures that are too large for that are left
out; ``testbed analyze`` reads them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.capture.errors import CaptureError
from analysis.capture.reader import open_capture
from analysis.capture.resolution import End, Resolution, resolve
from analysis.contention.inference import Inference
from analysis.contention.replay import RECEIVERS
from analysis.contention.segment_table import segment_table
from analysis.contention.segments import Subflows
from analysis.contention.vantage import Side, subflows_of
from analysis.runs import Run
from testbed.record.parquet import arrow_schema
from testbed.record.schema import SEGMENTS

MOST_OCTETS = 64 << 20
"""Of captures, per run: some seconds."""

Who = tuple[int, str, str]
"""Trial, flow, side."""


def captured_segments(run: Run, trials: Collection[int], known: Collection[Who]) -> pa.Table:
    """Rows like those of ``segments`` for the sides of flows that are not ``known``; empty without captures."""
    rows: list[pa.Table] = [arrow_schema(SEGMENTS, encoded=True).empty_table()]
    flows = [row for row in run.directory.read_table("flows").to_pylist() if row["trial"] in set(trials)]
    missing = [
        (row, side) for row in flows for side in ("client", "server") if (row["trial"], row["flow"], side) not in known
    ]
    files = {trial: run.directory.trial_files(trial) for trial in {row["trial"] for row, _ in missing}}
    wanted = [(row, side, _at(files[row["trial"]], row[f"{side}_host"])) for row, side in missing]
    if sum(path.stat().st_size for path in {path for _, _, paths in wanted for path in paths}) > MOST_OCTETS:
        return rows[0]
    ends = _ends(run)
    for row, side, paths in wanted:
        who = row["trial"], row["flow"], side
        implementation = row["implementation"] if side == "client" else row["server_implementation"]
        for path in paths:
            found = _of_file(path, who, ends.get(who, {}), _stack(run, implementation or row["implementation"]))
            if found is not None:
                rows.append(found)
    return pa.concat_tables(rows).unify_dictionaries()


def _at(files: Collection[Path], host: str) -> list[Path]:
    """The captures at a host's interfaces (testbed/orchestrator/collectors/capture.py, file_name)."""
    return sorted(path for path in files if path.suffix == ".pcap" and path.name.startswith(f"{host}-"))


def _stack(run: Run, implementation: str) -> str:
    if not implementation.startswith("userspace"):
        return "linux"
    return "simulated" if run.document["backend"] == "sim" else "userspace"


def _ends(run: Run) -> Mapping[Who, Mapping[tuple[str, str], int]]:
    """Who -> (client's end, server's end) -> number of the subflow, as the run has them."""
    found: dict[Who, dict[tuple[str, str], int]] = {}
    for row in run.directory.read_table("subflows").to_pylist():
        pair = row["local_address"], row["remote_address"]
        pair = pair if row["side"] == "client" else pair[::-1]
        found.setdefault((row["trial"], row["flow"], row["side"]), {})[pair] = row["index"]
    return found


def _of_file(path: Path, who: Who, ends: Mapping[tuple[str, str], int], stack: str) -> pa.Table | None:
    """The rows of one side of one flow in one capture; None: it has none of it, or is none."""
    trial, flow, side = who
    at: Side = "client" if side == "client" else "server"
    try:
        with open_capture(path) as capture:
            resolution = resolve(capture)
            subflows, is_ours = _ours(resolution, ends, at)
            if not is_ours.any():
                return None
            inference = Inference(capture.layouts, subflows, receiver=RECEIVERS[stack])
            parts = []
            first_ns = None
            for batch in capture.batches():
                if first_ns is None:
                    first_ns = int(batch.time_ns[0])
                segments = inference.take(batch, *resolution.both(batch))
                parts.append(
                    segment_table(segments, inference.outcomes, subflows, trial=trial, flow=flow, t0_ns=first_ns)
                )
    except CaptureError:
        return None
    return pa.concat_tables(parts).unify_dictionaries()


def _ours(resolution: Resolution, ends: Mapping[tuple[str, str], int], at: Side) -> tuple[Subflows, Any]:
    """The subflows of a flow, numbered as the run numbers them; those of others give no rows."""
    every = subflows_of(resolution, side=at)
    numbers = [ends.get((_text(subflow.opener), _text(subflow.listener)), -1) for subflow in resolution.subflows]
    place = np.array(numbers, dtype=np.int64)
    is_ours = place >= 0
    side = np.where(is_ours, every.side, -1).astype(np.int8)
    connection = np.zeros(len(place), dtype=np.int64)
    return Subflows(side=side, isn=every.isn, connection=connection, place=place), is_ours


def _text(end: End) -> str:
    """As the table ``subflows`` of a run writes it."""
    address = ipaddress.ip_address(end[0])
    return f"[{address}]:{end[1]}" if address.version == 6 else f"{address}:{end[1]}"
