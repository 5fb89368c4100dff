"""Runs in virtual machines that are there already, so that ``--resume`` repeats none of them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from testbed.orchestrator import environment, spec
from testbed.orchestrator.spec import Experiment
from testbed.remote.checkout import Checkout
from testbed.vm.qemu import Hardware


def complete_run(parent: Path, experiment: Experiment, source: object, **wanted: str) -> Path | None:
    """The complete run of exactly this by a checkout with this ``source`` that came last.

    ``wanted``: what else has to be the same of the machine that it ran on, as run.json has it under ``ran_on``, and as
    ``release`` its kernel's.
    """
    same = {"state": "complete", "digest": spec.digest(experiment), "source": source, **wanted}
    found = []
    for path in (parent / experiment.name).glob("*/run.json"):
        with suppress(OSError, ValueError, AttributeError):  # damaged: not what to go on with
            document = json.loads(path.read_bytes())
            there = {
                **(document.get("ran_on") or {}),
                **{name: document.get(name) for name in ("state", "digest", "source")},
                "release": document.get("kernel", {}).get("release"),
            }
            if all(there.get(name) == value for name, value in same.items()):
                found.append((path.stat().st_mtime_ns, path.parent))
    return max(found)[1] if found else None


def of_hardware(hardware: Hardware) -> dict[str, str]:
    """What run.json says of such a machine, under ``ran_on``."""
    return {
        "clock": hardware.clock,
        "shift": json.dumps(hardware.shift if hardware.clock == "virtual" else None),
        "cpus": json.dumps(hardware.cpus),
        "memory_mib": json.dumps(hardware.memory_mib),
    }


def source_of(checkout: Checkout) -> Any:
    """As run.json of a machine that was sent this checkout has it."""
    told = next(entry.content for entry in checkout.entries if entry.name == environment.SHIPPED)
    assert isinstance(told, bytes)
    return json.loads(told)
