"""``testbed show``: a topology or an experiment, drawn from its value; or a claim."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.orchestrator.spec import Claim, Experiment, Flow
    from topologies.model import Topology


def show(
    name: Annotated[
        str, typer.Argument(help="Name of an experiment or topology, or id of a claim.", show_default=False)
    ],
    topology: Annotated[bool, typer.Option("--topology", help="The topology, when both have the name.")] = False,
    addresses: Annotated[bool, typer.Option("--addresses", help="With the addresses of every interface.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Write the drawing as SVG to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the value as JSON.")] = False,
) -> None:
    """Show a topology, an experiment, or a claim with the experiments that give evidence of it.

    Example: testbed show two_path --addresses
    """
    with outcome.reported():
        from experiments.catalog import EXPERIMENTS
        from experiments.claims import CLAIMS
        from topologies.catalog import CATALOG

        if name.upper() in CLAIMS:
            _show_claim(CLAIMS[name.upper()], as_json)
        elif name in EXPERIMENTS and not topology:
            _show_experiment(name, addresses, svg, as_json)
        elif name in CATALOG:
            _show_topology(name, addresses, svg, as_json)
        else:
            import difflib

            known = [*EXPERIMENTS, *CATALOG, *CLAIMS]
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or known
            outcome.fail(
                f"there is no experiment, topology or claim {name!r}; near ones: {', '.join(near)}", outcome.USAGE
            )


def _show_claim(claim: Claim, as_json: bool) -> None:
    from testbed.cli.claims import evidence_by_experiment

    where = evidence_by_experiment().get(claim.id, [])
    if as_json:
        print(json.dumps({**dataclasses.asdict(claim), "experiments": where}, indent=1))
        return
    print(f"{claim.id}: {claim.title}\n{claim.who}, {claim.when}\n\n{claim.statement}\n")
    rows = (("method", claim.method), ("confirmed by", claim.confirmed_by), ("refuted by", claim.refuted_by))
    for head, text in (*rows, ("evidence from", ", ".join(where) or "no experiment yet")):
        print(f"{head}: {text}")


def _show_topology(name: str, addresses: bool, svg: Path | None, as_json: bool) -> None:
    from topologies import drawing, json_form
    from topologies.catalog import build

    value = build(name).resolved()
    if svg is not None:
        svg.write_text(drawing.as_svg(value))
    if as_json:
        print(json.dumps(json_form.to_dict(value), indent=1))
    else:
        print(drawing.as_text(value, color=_colored(), addresses=addresses))


def _show_experiment(name: str, addresses: bool, svg: Path | None, as_json: bool) -> None:
    from experiments.catalog import build
    from testbed.orchestrator import overrides, spec
    from topologies import drawing
    from topologies.catalog import CATALOG

    experiment = build(name)
    if svg is not None:
        svg.write_text(drawing.as_svg(experiment.variants[0].topology.resolved()))
    if as_json:
        print(json.dumps({"experiment": spec.to_json(experiment), "keys": overrides.keys(experiment)}, indent=1))
        return
    _print_experiment(experiment)
    shown: list[Topology] = []
    for variant in experiment.variants:
        value = variant.topology.resolved()
        if value not in shown and len(shown) < 3:
            shown.append(value)
            print(f"\nnetwork of variant {variant.name}:\n")
            print(drawing.as_text(value, color=_colored(), addresses=addresses))
    _print_keys(experiment)
    if name in CATALOG:
        print(f"\nthere is also a topology of this name: testbed show {name} --topology")


def _print_experiment(experiment: Experiment) -> None:
    from testbed.cli.console import console, table
    from topologies.quantity import format_time

    output = console()
    output.print(f"{experiment.name}: {experiment.question}", markup=False)
    output.print(
        f"{experiment.repetitions} repetitions of {format_time(experiment.duration_ns)}, seed {experiment.seed}",
        markup=False,
    )
    for claim in experiment.claims:
        output.print(f"claim {claim.id} ({claim.who}, {claim.when}): {claim.title}", markup=False, soft_wrap=True)
    rows = [
        [
            variant.name,
            variant.summary,
            "; ".join(f"{flow.name}: {_ends(flow)} {flow.application.kind}" for flow in variant.flows),
            variant.path_manager.mode,
        ]
        for variant in experiment.variants
    ]
    output.print(table(["variant", "summary", "flows", "path manager"], rows))
    for lines, variants in _scripts(experiment).items():
        output.print(f"script of {', '.join(variants)}:", markup=False, soft_wrap=True)
        for number, line in enumerate(lines, start=1):
            output.print(f"  {number:2} {line}", markup=False, highlight=False, soft_wrap=True)
    for item in experiment.expectations:
        low = f" >= {item.at_least:g}" if item.at_least is not None else ""
        high = f" <= {item.at_most:g}" if item.at_most is not None else ""
        others = " or ".join(item.relative_to) or (f"flow {item.relative_to_flow}" if item.relative_to_flow else "")
        relative = f" x {others}" if others else ""
        text = f"expected: {item.statistic} {item.metric} of {item.variant}{low}{high}{relative}: {item.because}"
        text += f" [{item.speaks} {item.claim}{f', {item.under}' if item.under else ''}]" if item.claim else ""
        output.print(text, markup=False, soft_wrap=True)


def _ends(flow: Flow) -> str:
    """The client's implementation; both where one of them is a script."""
    if flow.client.is_script or flow.server.is_script:
        return f"{flow.client.implementation} to {flow.server.implementation},"
    return flow.client.implementation


def _scripts(experiment: Experiment) -> Mapping[tuple[str, ...], list[str]]:
    """Each script of the experiment once, with the variants that have it."""
    from testbed.orchestrator.spec import Script

    found: dict[tuple[str, ...], list[str]] = {}
    for variant in experiment.variants:
        for flow in variant.flows:
            if isinstance(flow.application, Script):
                found.setdefault(flow.application.lines, []).append(variant.name)
    return found


def _print_keys(experiment: Experiment) -> None:
    """The keys, those of one thing in a line; a link's directions and a flow's name in front are said once."""
    from experiments.catalog import choices
    from testbed.orchestrator import overrides
    from topologies.link_text import FIELDS

    links = {link.name for variant in experiment.variants for link in variant.topology.links}
    links |= {path.name for variant in experiment.variants for path in variant.topology.paths}
    flows = {flow.name for variant in experiment.variants for flow in variant.flows}
    groups: dict[str, list[str]] = {}
    for key in overrides.keys(experiment):
        head, dot, rest = key.partition(".")
        if head not in links and head not in flows:
            groups.setdefault(head if dot else "", []).append(rest or head)
    print("\nkeys for --set KEY=VALUE (a variant's name in front limits one to it):")
    for key, values in choices(experiment.name).items():
        print(f"  {key}: {', '.join(values)} (the first unless set; chooses the variants)")
    for head, fields in groups.items():
        print(f"  {head}.{{{', '.join(fields)}}}" if head else f"  {', '.join(fields)}")
    words = ", ".join([*FIELDS, "changes"])
    print(f"  LINK.{{{words}}}  or LINK.forward.*, LINK.backward.*; links: {', '.join(sorted(links))}")
    print(f"  FLOW.* for one flow among several; flows: {', '.join(sorted(flows))}")


def _colored() -> bool:
    import os
    import sys

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
