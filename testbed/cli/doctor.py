"""``testbed doctor``: what this machine can do, what is missing and how to get it, and what was left behind."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from testbed.cli import outcome


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what works here, what needs what is missing, how to get it, and list leftovers of killed runs.

    Ends with 0 when experiments on real kernels can run here, 4 when not. Example: sudo testbed doctor
    """
    with outcome.reported():
        from dataclasses import asdict

        from testbed.cli.console import console, table
        from testbed.orchestrator import features, leftovers, runner

        found = features.probe_features()
        left = leftovers.search()
        obstacle = runner.why_not_here()
        if as_json:
            print(
                json.dumps(
                    {
                        "features": [asdict(feature) for feature in found],
                        "leftovers": [str(item) for item in left.found],
                        "unreadable_processes": left.unreadable,
                        "obstacle": obstacle,
                    },
                    indent=1,
                )
            )
        else:
            rows = [
                [
                    feature.name,
                    "there" if feature.available else "NOT THERE",
                    feature.detail,
                    feature.needed_by,
                    "" if feature.available else feature.remedy,
                ]
                for feature in found
            ]
            console().print(table(["feature", "here", "seen", "needed by", "how to get it"], rows))
            for item in left.found:
                print(f"left behind: {item} (testbed clean removes it)")
            print(f"leftovers: {left}")
            print("experiments on real kernels: " + (f"no: {obstacle}" if obstacle else "yes"))
        raise typer.Exit(outcome.UNSUPPORTED if obstacle else outcome.MET)
