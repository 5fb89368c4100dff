"""How fast virtual time passes: simulated packets per second, and simulated seconds per second, of the quickstart.

    python -m benchmarks.simulator [--rounds N] [--seconds N] [--profile WHAT]

Three rows, each from the sources and from the compiled modules (``./tb build``), each run in a process of its own,
interleaved; medians of CPU time. *links*: packets of the quickstart's network between two endpoints that do nothing,
so the simulator and the link model alone. *stack*: the quickstart's variant ``userspace/userspace``, bulk transfer with
everything that a trial does (payload made, hashed and compared at both ends, samples), without captures and ledger.
*trial*: the same with captures at four interfaces and the ledger of every segment, as the quickstart asks for.

Packets are all that hosts sent, data and ACKs; those that data packets are is printed last.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import compiled_forms
from testbed import compilation

ROWS = ("links", "stack", "trial")
PLAIN_TARGET, COMPILED_TARGET = 40_000, 200_000
MTU_PAYLOAD = 1428


class Result(NamedTuple):
    """One run."""

    packets: int
    data_packets: int
    simulated_s: float
    cpu_s: float
    compiled: bool


def links(seconds: int) -> Result:
    """Two endpoints that send a full packet over each path every 1.25 ms, and nothing else."""
    from experiments.quickstart import quickstart
    from testbed.net.simulator import Simulator
    from testbed.orchestrator.backends import sim_network
    from testbed.wire.options import NOP, Dss, Timestamps
    from testbed.wire.segment import ACK, Segment, SocketAddress

    topology = quickstart().variant("userspace/userspace").topology.resolved()
    addresses = {host: sim_network.host_addresses(topology, host) for host in ("client", "server")}
    options = (NOP, NOP, Timestamps(1, 2), Dss(1, 8, 2, 8, 3, 4), NOP, NOP)
    interval_ns = 1_250_000

    class Ticker:
        """Sends to its peer on both paths at every tick."""

        def __init__(self, host: str, peer: str) -> None:
            self.due_ns: int | None = 0
            self.arrived = 0
            pairs = zip(addresses[host], addresses[peer], strict=True)
            self.segments = [
                Segment(SocketAddress(a, 1), SocketAddress(b, 2), 1, 1, ACK, 1, options, bytes(MTU_PAYLOAD))
                for a, b in pairs
            ]
            self.due: list[Segment] = []

        def segment_arrives(self, segment: Segment, now: int) -> None:
            self.arrived += 1

        def segments_to_send(self, now: int) -> list[Segment]:
            due, self.due = self.due, []
            return due

        def next_timeout(self) -> int | None:
            return self.due_ns

        def handle_timeout(self, now: int) -> None:
            self.due = self.segments
            self.due_ns = now + interval_ns if now < seconds * 10**9 else None

    endpoints = {"client": Ticker("client", "server"), "server": Ticker("server", "client")}
    simulator = Simulator()
    network, nodes = sim_network.build(topology, simulator, endpoints, 1)
    begun = _begin()
    for node in nodes.values():
        node.flush()
    simulator.run()
    cpu_s = time.process_time() - begun
    arrived = sum(endpoint.arrived for endpoint in endpoints.values())
    if arrived < 0.9 * network.packets:
        raise RuntimeError(f"{arrived} of {network.packets} packets arrived")
    return Result(network.packets, network.packets, simulator.now_ns / 1e9, cpu_s, compilation.status.compiled)


def trial(seconds: int, recording: bool) -> Result:
    """The quickstart's MPTCP trial, ``seconds`` long."""
    from experiments.quickstart import quickstart
    from testbed.orchestrator import plan, sim_trial

    experiment = dataclasses.replace(
        quickstart(), duration_ns=seconds * 10**9, capture=recording, ledger=recording, repetitions=1
    )
    variant = experiment.variant("userspace/userspace")
    chosen = next(each for each in plan.trials(experiment) if each.variant == variant.name)
    simulation = sim_trial.prepare(experiment, variant, chosen)
    begun = _begin()
    sim_trial.carry_out(simulation, experiment, lambda _phase, _s: None)
    tables, problems = sim_trial.tables_of(simulation, experiment, variant, chosen)
    if recording:
        with tempfile.TemporaryDirectory() as folder:
            sim_trial.write_captures(simulation, Path(folder))
    cpu_s = time.process_time() - begun
    (flow,) = tables["flows"]
    if problems or flow["integrity"] != "ok":
        raise RuntimeError(f"the trial is not valid: {problems}, {flow['integrity']}")
    paths = [row for row in tables["links"] if row["direction"] == "forward"]
    data_packets = sum(row["packets_arrived"] for row in paths)
    end_s = flow["completion_time_ns"] / 1e9
    return Result(simulation.network.packets, data_packets, end_s, cpu_s, compilation.status.compiled)


def run(row: str, seconds: int) -> Result:
    """Once, in this process."""
    return links(seconds) if row == "links" else trial(seconds, recording=row == "trial")


def in_a_process(row: str, seconds: int, compiled: bool) -> Result:
    """One run with the form of the modules that is asked for."""
    environment = {**os.environ, compilation.VARIABLE: "1" if compiled else "0"}
    argv = [sys.executable, "-m", "benchmarks.simulator", "--run", row, "--seconds", str(seconds)]
    output = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Result(*json.loads(output))


def _begin() -> float:
    gc.collect()
    gc.freeze()
    return time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of traffic, simulated")
    parser.add_argument("--run", choices=ROWS, help="once, in this process; prints JSON")
    parser.add_argument("--profile", choices=ROWS, help="once, in this process, under cProfile")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments.run, arguments.seconds)))
        return
    if arguments.profile:
        compiled_forms.profile(lambda: run(arguments.profile, arguments.seconds))
        return
    forms = [False, True] if compiled_forms.can_be_compiled() else [False]
    results: dict[tuple[str, bool], list[Result]] = {(row, form): [] for row in ROWS for form in forms}
    for _ in range(arguments.rounds):
        for (row, form), found in results.items():
            found.append(in_a_process(row, arguments.seconds, form))
    print(f"{'row':8} {'modules':10} {'packets/s':>10} {'(range)':>21} {'sim s/s':>8}  target")
    for (row, form), found in results.items():
        rates = sorted(result.packets / result.cpu_s for result in found)
        speed = statistics.median(result.simulated_s / result.cpu_s for result in found)
        goal = COMPILED_TARGET if form else PLAIN_TARGET
        middle = statistics.median(rates)
        spread = f"({rates[0]:.0f} - {rates[-1]:.0f})"
        target = f"{middle / goal:.2f} of {goal}" if row == "stack" else ""
        print(f"{row:8} {'compiled' if form else 'sources':10} {middle:10.0f} {spread:>21} {speed:8.1f}  {target}")
    last = results["stack", False][-1]
    print(f"stack: {last.packets} packets, {last.data_packets} of them data, in {last.simulated_s:.2f} simulated s")
    for row in ROWS:
        if (row, True) in results:
            ratio = statistics.median(r.cpu_s for r in results[row, False]) / statistics.median(
                r.cpu_s for r in results[row, True]
            )
            print(f"compiled / sources, {row}: {ratio:.2f}")


if __name__ == "__main__":
    main()
