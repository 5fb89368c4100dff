"""The traces that have a name, and how a text or a file becomes one. The only place of this room that reads files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topologies.traces import value
from topologies.traces.problem import TraceError
from topologies.traces.value import AtEnd, Trace

DATA = Path(__file__).with_name("data")

SHIPPED: Mapping[str, str] = {
    "walk_wifi": "walking away from a WiFi access point and back: rate, delay and loss, 60 s",
    "walk_cellular": "the cellular network on the same walk, better outdoors, where WiFi is weak: rate and delay, 60 s",
    "drive_wifi": "a car passing hotspots: WiFi there for a few seconds at a time, dead in between, 60 s",
    "drive_cellular": "the cellular network of the same drive, weakest between two cells, 60 s",
    "lte_down": "deliveries of an LTE downlink that fades, with a handover, mahimahi's format, 20 s",
    "lte_up": "deliveries of its uplink, which fades at the same times, 20 s",
}
"""Name -> what it is. Synthetic, by :mod:`topologies.traces.generator`; those of one first word were made together."""

_TEXT = re.compile(r"\s*(?P<name>.+?)(?:\s+(?P<end>loop|hold))?(?:\s+sha256:(?P<digest>[0-9a-f]{8,64}))?\s*")


def parse(text: str) -> Trace | None:
    """``"walk_wifi"``, ``"measured/office.csv hold"``, ``"up.mahimahi sha256:0123456789ab"``; ``"none"``.

    Raises TraceError.
    """
    if text.strip() == "none":
        return None
    match = _TEXT.fullmatch(text)
    if match is None:
        raise TraceError(f"{text!r} is not a trace: write the name of one ({', '.join(SHIPPED)}) or a file")
    end: Any = match["end"] or "loop"
    trace = load(match["name"], end)
    if match["digest"] and not trace.sha256.startswith(match["digest"]):
        raise TraceError(f"trace {trace.name}: its SHA-256 begins with {trace.sha256[:12]}, not {match['digest'][:12]}")
    return trace


def load(name: str, at_end: AtEnd = "loop") -> Trace:
    """The shipped trace of that name, else the file. Raises TraceError."""
    path = _shipped_file(name) if name in SHIPPED else Path(name)
    try:
        data = path.read_bytes()
    except OSError as error:
        near = difflib.get_close_matches(name, SHIPPED, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SHIPPED)}"
        raise TraceError(
            f"trace {name}: no shipped trace of that name, and no file: {error.strerror}; {hint}"
        ) from None
    return value.from_bytes(name, data, at_end)


def _shipped_file(name: str) -> Path:
    (path,) = DATA.glob(f"{name}.*")
    return path
