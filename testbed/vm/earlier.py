"""Runs in virtual machines that are there already, so that ``--resume`` repeats none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from testbed.orchestrator import environment, spec
from testbed.orchestrator.spec import Experiment
from testbed.remote.checkout import Checkout
from testbed.vm.qemu import Hardware


def complete_run(
    parent: Path, experiment: Experiment, place: str, hardware: Hardware, release: str, checkout: Checkout
) -> Path | None:
    """The run of exactly this by exactly this checkout, on the same kernel in the same kind of machine, that came last.

    ``release`` is that of the kernel that would be booted now: its name may mean a newer one than it did.
    """
    wanted = {
        "state": "complete",
        "digest": spec.digest(experiment),
        "source": source_of(checkout),
        "backend": place,
        "clock": hardware.clock,
        "shift": json.dumps(hardware.shift if hardware.clock == "virtual" else None),
        "cpus": json.dumps(hardware.cpus),
        "memory_mib": json.dumps(hardware.memory_mib),
        "release": release,
    }
    found = []
    for path in (parent / experiment.name).glob("*/run.json"):
        with suppress(OSError, ValueError, AttributeError):
            if _said(json.loads(path.read_bytes())) == wanted:
                found.append((path.stat().st_mtime_ns, path.parent))
    return max(found)[1] if found else None


def _said(document: Mapping[str, Any]) -> Mapping[str, Any]:
    told = document.get("ran_on") or {}
    return {
        **{name: document.get(name) for name in ("state", "digest", "source")},
        **{name: told.get(name) for name in ("backend", "clock", "shift", "cpus", "memory_mib")},
        "release": document["kernel"].get("release"),
    }


def source_of(checkout: Checkout) -> Any:
    """As run.json of a machine that was sent this checkout has it."""
    told = next(entry.content for entry in checkout.entries if entry.name == environment.SHIPPED)
    assert isinstance(told, bytes)
    return json.loads(told)
