"""How true a network in a virtual machine is: ``python -m benchmarks.vm_accuracy [--kernel 6.12] [--json]``.

One experiment, kernel MPTCP over 2 x 50 Mbit/s with round trips of 10 and 30 ms, in a machine with that kernel: on
virtual and on real time, while this machine has nothing else to do and while two programs for each of its processors
count as fast as they can (started here, ended by their numbers). Of each of the four:

    RTT           the smallest that TCP saw on each path, the median of the trials, and the one farthest off
    goodput       the median of the trials as a share of the ideal: the rates x 1424/1514 (payload and frame of a full
                  MPTCP segment with timestamps and DSS)
    spread        standard deviation of the goodput over its mean; largest minus smallest over the mean
    invalid       trials that did not count: the links were not what was asked for, before or after
    disturbed     on real time, trials beside which a sleep of 1 ms took 20 ms too long
    host          seconds of this machine for a trial, and for the start of the machine

Rows that say "quiet" are as quiet as this machine is: its load average stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.ingredients import MBIT, MS, SECOND, mptcp
from testbed.orchestrator.errors import TestbedError
from testbed.orchestrator.runner import RunRequest
from testbed.orchestrator.spec import Experiment
from testbed.record.run_directory import RunDirectory
from testbed.vm import backend
from testbed.vm.qemu import Clock
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

RATE_BIT_S = 50 * MBIT
DELAYS_NS = {"path1": 5 * MS, "path2": 15 * MS}
PAYLOAD_SHARE = 1424 / 1514
BUSY = "while True: pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One of the four."""

    time: str
    load: str
    load_average: float
    """At its end, over a minute."""
    trials: int
    invalid: int
    disturbed: int | None
    rtt_ms: dict[str, float | None]
    rtt_worst_ms: dict[str, float | None]
    goodput_share: float | None
    deviation: float | None
    range: float | None
    host_trial_s: float | None
    host_start_s: float | None


def experiment(repetitions: int, duration_s: int) -> Experiment:
    """Two paths, one variant, nothing to judge by."""
    path1, path2 = (LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=DELAYS_NS[name]) for name in ("path1", "path2"))
    return Experiment(
        name="vm_accuracy",
        question="How true is a network in a virtual machine?",
        variants=(mptcp("mptcp", "MPTCP over both paths.", two_path(path1=path1, path2=path2)),),
        repetitions=repetitions,
        duration_ns=duration_s * SECOND,
        expectations=(),
    )


@contextmanager
def load(programs: int) -> Iterator[None]:
    """Programs that count, for as long as the block."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(programs)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def measure(kernel: str, clock: Clock, programs: int, wanted: Experiment, parent: Path) -> Row:
    """Boot, run, look."""
    told: list[str] = []
    began_s = time.monotonic()
    first_s: list[float] = []

    def hear(message: Any) -> None:
        if message["kind"] == "note":
            told.append(str(message["text"]))
        elif message["kind"] == "trial" and not first_s:
            first_s.append(time.monotonic() - began_s)

    hardware = backend.hardware(time=clock)
    request = RunRequest(experiment=wanted, parent=parent, command=["python", "-m", "benchmarks.vm_accuracy"])
    with load(programs), backend.opened(f"vm:{kernel}", hardware) as run_one:
        directory = run_one(request, hear)
        average = os.getloadavg()[0]
    for trial in _table(directory, "trials").query("verdict != 'VALID'").itertuples():
        print(
            f"{clock} time, {programs} busy programs, trial {trial.trial}: {trial.reason}", file=sys.stderr, flush=True
        )
    what = f"{programs} busy programs" if programs else "quiet"
    return row(directory, clock, what, average, first_s[0] if first_s else None)


def row(directory: RunDirectory, clock: str, load_name: str, average: float, start_s: float | None) -> Row:
    """What the run directory says."""
    trials = _table(directory, "trials")
    valid = trials[trials.verdict == "VALID"]
    rtts = _smallest_rtts(directory, list(valid.trial))
    configured = {path: 2 * delay / MS for path, delay in DELAYS_NS.items()}
    ideal = 2 * RATE_BIT_S * PAYLOAD_SHARE
    shares = [float(value) / ideal for value in valid.goodput_bit_s]
    disturbed = trials.disturbed.dropna()
    mean = statistics.fmean(shares) if shares else None
    return Row(
        time=clock,
        load=load_name,
        load_average=average,
        trials=len(trials),
        invalid=int((trials.verdict != "VALID").sum()),
        disturbed=int(disturbed.astype(bool).sum()) if len(disturbed) else None,
        rtt_ms={path: _median(rtts.get(path, [])) for path in configured},
        rtt_worst_ms={
            path: max(rtts.get(path, []), key=lambda rtt, path=path: abs(rtt - configured[path]), default=None)  # type: ignore[misc]
            for path in configured
        },
        goodput_share=_median(shares),
        deviation=statistics.stdev(shares) / mean if mean and len(shares) > 1 else None,
        range=(max(shares) - min(shares)) / mean if mean and len(shares) > 1 else None,
        host_trial_s=_median([float(value) / SECOND for value in trials.host_duration_ns.dropna()]),
        host_start_s=start_s,
    )


def _smallest_rtts(directory: RunDirectory, valid: Sequence[int]) -> dict[str, list[float]]:
    """Path -> of each trial the smallest round trip that the sender's TCP saw there, in ms."""
    samples, subflows = _table(directory, "samples"), _table(directory, "subflows")
    samples = samples[(samples.metric == "min_rtt") & (samples.value > 0)]
    found: dict[str, list[float]] = {}
    for flow in subflows[(subflows.side == "client") & subflows.trial.isin(valid)].itertuples():
        subject = f"{flow.flow}.client.subflow{flow.index}"
        seen = samples[(samples.trial == flow.trial) & (samples.subject == subject)].value
        if len(seen):
            found.setdefault(str(flow.path), []).append(float(seen.min()) / MS)
    return found


def _table(directory: RunDirectory, name: str) -> pd.DataFrame:
    return pd.read_parquet(directory.path / f"{name}.parquet")


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _shown(value: float | None, form: str = "{:.1f}") -> str:
    return "-" if value is None else form.format(value)


HEADS = ("time", "load (average)", "RTT ms (worst)", "goodput", "sd / range", "invalid", "disturbed", "host s")


def line(cells: Sequence[str]) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def cells_of(each: Row) -> list[str]:
    """In the order of the heads."""
    rtt = ", ".join(
        f"{_shown(each.rtt_ms[path], '{:.2f}')} ({_shown(each.rtt_worst_ms[path], '{:.2f}')})" for path in DELAYS_NS
    )
    return [
        each.time,
        f"{each.load} ({each.load_average:.1f})",
        rtt,
        _shown(each.goodput_share, "{:.1%}"),
        f"{_shown(each.deviation, '{:.2%}')} / {_shown(each.range, '{:.2%}')}",
        f"{each.invalid} of {each.trials}",
        "-" if each.disturbed is None else f"{each.disturbed} of {each.trials}",
        f"{_shown(each.host_trial_s)} (start {_shown(each.host_start_s)})",
    ]


def main() -> None:
    """Measure the four and print them."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--repeat", type=int, default=4, help="trials of each")
    parser.add_argument("--duration", type=int, default=6, metavar="SECONDS", help="of the guest, of each trial")
    parser.add_argument("--time", choices=("virtual", "real"), action="append", help="default: both")
    parser.add_argument("--load", choices=("quiet", "busy"), action="append", help="default: both")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    wanted = experiment(chosen.repeat, chosen.duration)
    programs = {"quiet": 0, "busy": 2 * (os.cpu_count() or 1)}
    rows: list[Row] = []
    if not chosen.json:
        print(f"{line(HEADS)}\n|{'---|' * len(HEADS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vm-accuracy-") as folder:
        for clock in chosen.time or ("virtual", "real"):
            for name in chosen.load or ("quiet", "busy"):
                try:
                    rows.append(measure(chosen.kernel, clock, programs[name], wanted, Path(folder)))
                except TestbedError as error:
                    print(f"{clock} time, {name}: {error}", file=sys.stderr)
                    continue
                if not chosen.json:
                    print(line(cells_of(rows[-1])), flush=True)
    if chosen.json:
        print(json.dumps([asdict(each) for each in rows], indent=1))


if __name__ == "__main__":
    main()
