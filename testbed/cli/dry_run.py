"""``testbed run --dry-run``: what would be done, in order, with every command and what it reads; needs no root."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.emulation.placement import placement
from testbed.endpoint import protocol
from testbed.orchestrator import features, network_commands, plan, qdisc_schedule, runner, sim_runner
from testbed.orchestrator.collectors import capture
from testbed.orchestrator.emulator import relay_configuration
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_plan import EMULATOR, NetworkPlan, plan_network
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Experiment, Variant, to_json
from topologies.link_text import describe, describe_change
from topologies.middlebox import describe_all
from topologies.quantity import format_time


def print_plan(experiment: Experiment, *, as_json: bool) -> None:
    """The trials, then the commands of each variant's first trial."""
    experiment = runner.for_real_time(experiment)
    trials = plan.trials(experiment)
    qdiscs = features.qdiscs()
    networks = {variant.name: _network(experiment, variant, qdiscs) for variant in experiment.variants}
    if as_json:
        print(json.dumps(_as_json(experiment, trials, networks), indent=1))
        return
    print(f"# {experiment.name}: {experiment.question}")
    print(f"# {len(trials)} trials of {experiment.duration_ns / 1e9:g} s each, in this order:")
    for trial in trials:
        print(f"#   {trial.number:3d}  {trial.variant} #{trial.repetition + 1}  seed {trial.seed}")
    for variant in experiment.variants:
        network = networks[variant.name]
        print(f"\n# variant {variant.name}: {variant.summary}")
        for shaped in network.shaped:
            print(f"#   link {shaped.link.name}: {shaped.realisation} ({shaped.reason})")
        for line in commands(experiment, variant, network, _first(trials, variant)):
            print(line)


def print_simulated_plan(experiment: Experiment, *, as_json: bool) -> None:
    """The trials in virtual time, and each variant's network and flows; no command is ever run."""
    experiment, obstacles = sim_runner.runnable(experiment)
    trials = plan.trials(experiment)
    if as_json:
        planned = [trial.as_row() for trial in trials]
        left_out = {"left_out": dict(obstacles)}
        print(json.dumps({"experiment": to_json(experiment), "plan": planned, **left_out}, indent=1))
        return
    print(f"# {experiment.name}: {experiment.question}")
    print(f"# {len(trials)} trials of {experiment.duration_ns / 1e9:g} s each, in virtual time:")
    for trial in trials:
        print(f"#   {trial.number:3d}  {trial.variant} #{trial.repetition + 1}  seed {trial.seed}")
    for name, obstacle in obstacles.items():
        print(f"# variant {name} is left out: {obstacle}")
    for key, why in sim_runner.without_effect(experiment).items():
        print(f"# {key}={getattr(experiment, key)} has no effect: {why}")
    for variant in experiment.variants:
        print(f"\n# variant {variant.name}: {variant.summary}")
        for link in variant.topology.resolved().shaped_links():
            print(f"#   link {link.name}: {describe(link.forward)}; back {describe(link.backward)}")
            if link.middleboxes:
                print(f"#     middleboxes, both directions: {describe_all(link.middleboxes)}")
            for change in link.changes:
                which = "" if change.direction == "both" else f" {change.direction}"
                print(f"#     at {format_time(change.at_ns)}{which}: {describe_change(change)}")
        print(f"#   path manager {_fields(variant.path_manager, always=('mode',))}")
        for flow in variant.flows:
            traffic = _fields(flow.application, always=("kind",))
            ends = f"client {_fields(flow.client, always=('implementation',))}, "
            ends += f"server {_fields(flow.server, always=('implementation',))}"
            print(f"#   flow {flow.name}: {traffic}; {ends}")


def _fields(value: Any, always: Sequence[str]) -> str:
    """Those of ``always`` as bare words, then what differs from the defaults."""
    words = [str(getattr(value, name)) for name in always]
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        if field.name not in always and given != field.default:
            words.append(f"{field.name}={given}")
    return " ".join(words)


def commands(experiment: Experiment, variant: Variant, network: NetworkPlan, trial: Trial) -> Iterator[str]:
    """Every command of one trial, as it would be typed into bash; ``<<<`` is what the process reads."""
    cpu = placement(os.sched_getaffinity(0)).relay_cpu
    for node, argv in network_commands.commands(network, trial.seed):
        if argv[-2:] == ("-m", "testbed.emulation"):
            line = relay_configuration(network, trial.seed, cpu=cpu).to_line()
            yield f"{_typed(node, argv)} <<< {shlex.quote(line.strip())} &"
        else:
            yield _typed(node, argv)
    if experiment.capture:
        for host in variant.topology.hosts:
            for end in network.interfaces(host.name):
                captured = Path("captures") / capture.file_name(host.name, end.name)
                yield f"{_typed(host.name, capture.command(end.name, captured))} &"
    for role in ("server", "client"):
        for number, flow in enumerate(variant.flows):
            side: Any = role
            configuration = plan.endpoint_configuration(
                experiment, variant, flow, side, seed=trial.seed, port=plan.BASE_PORT + number
            )
            host_name = plan.host_of(variant, flow, side)
            line = protocol.to_line(configuration).decode().strip()
            yield f"{_typed(host_name, ('python', '-m', 'testbed.endpoint'))} <<< {shlex.quote(line)} &"
    for change in qdisc_schedule.schedule_of(network, trial.seed):
        for argv in change.commands:
            yield f"{_typed(EMULATOR, argv)}  # {change.at_ns / 1e9:g} s after the start"


def _network(experiment: Experiment, variant: Variant, qdiscs: QdiscFeatures) -> NetworkPlan:
    """The network as ``trial.py`` would make it on this machine."""
    settings = plan.network_settings(experiment, variant)
    network = plan_network(variant.topology, settings, qdiscs)
    if any(shaped.realisation == "relay" for shaped in network.shaped):
        return plan_network(variant.topology, plan.steered(settings, placement(os.sched_getaffinity(0))), qdiscs)
    return network


def _typed(node: str | None, argv: Sequence[str]) -> str:
    return shlex.join(argv) if node is None else f"ip netns exec {node} {shlex.join(argv)}"


def _first(trials: Sequence[Trial], variant: Variant) -> Trial:
    return next(trial for trial in trials if trial.variant == variant.name)


def _as_json(experiment: Experiment, trials: Sequence[Trial], networks: Mapping[str, NetworkPlan]) -> dict[str, Any]:
    return {
        "experiment": to_json(experiment),
        "plan": [trial.as_row() for trial in trials],
        "variants": {
            variant.name: {
                "links": {
                    shaped.link.name: {"realisation": shaped.realisation, "reason": shaped.reason}
                    for shaped in networks[variant.name].shaped
                },
                "commands": list(commands(experiment, variant, networks[variant.name], _first(trials, variant))),
            }
            for variant in experiment.variants
        },
    }
