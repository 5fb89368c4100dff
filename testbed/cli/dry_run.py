"""``testbed run --dry-run``: what would be done, in order, with every command; needs no root."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from testbed.orchestrator import features, network_commands, plan
from testbed.orchestrator.network_plan import NetworkPlan, plan_network
from testbed.orchestrator.spec import Experiment, Variant, to_json


def print_plan(experiment: Experiment, *, as_json: bool) -> None:
    """The trials, then the commands of each variant's network and traffic."""
    trials = plan.trials(experiment)
    qdiscs = features.qdiscs()
    networks = {
        variant.name: plan_network(variant.topology, plan.network_settings(experiment, variant), qdiscs)
        for variant in experiment.variants
    }
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
        for line in commands(experiment, variant, network):
            print(line)


def commands(experiment: Experiment, variant: Variant, network: NetworkPlan) -> list[str]:
    """Every command of one trial of a variant, as it would be typed."""
    lines = []
    for node, argv in network_commands.commands(network):
        lines.append(shlex.join(argv) if node is None else f"ip netns exec {node} {shlex.join(argv)}")
    if experiment.capture:
        from testbed.orchestrator.collectors.capture import command

        for host in variant.topology.hosts:
            for end in network.interfaces(host.name):
                captured = Path("captures") / f"{host.name}-{end.name}.pcap"
                lines.append(f"ip netns exec {host.name} {shlex.join(command(end.name, captured))} &")
    for role in ("server", "client"):
        for flow in variant.flows:
            host = getattr(flow, f"{role}_host") or getattr(variant.topology, role).name
            lines.append(
                f"ip netns exec {host} python -m testbed.endpoint  # {flow.name}: {role} of {flow.application}"
            )
    return lines


def _as_json(experiment: Experiment, trials: Any, networks: dict[str, NetworkPlan]) -> dict[str, Any]:
    return {
        "experiment": to_json(experiment),
        "plan": [trial.as_row() for trial in trials],
        "variants": {
            variant.name: {
                "links": {
                    shaped.link.name: {"realisation": shaped.realisation, "reason": shaped.reason}
                    for shaped in networks[variant.name].shaped
                },
                "commands": commands(experiment, variant, networks[variant.name]),
            }
            for variant in experiment.variants
        },
    }
