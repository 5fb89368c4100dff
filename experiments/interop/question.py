"""What a test is: traffic, network, and what must come of it between two ends that speak MPTCP, or do not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from experiments.ingredients import MBIT, MS
from testbed.orchestrator.grid import Fate
from testbed.orchestrator.spec import Bulk, PathManager
from topologies import middlebox
from topologies.link_profile import LinkProfile
from topologies.link_text import parse_changes
from topologies.model import Topology
from topologies.two_path import two_path

RATE_BIT_S = 10 * MBIT
KB, MB = 1000, 1_000_000

PATH1 = LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=10 * MS)
PATH2 = LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=20 * MS)

Ends = Literal["mptcp", "plain", "any"]
"""Between whom something is asked: two ends of MPTCP; two of which at least one is plain TCP; both of these."""

NONE = PathManager(mode="none")
SUBFLOW = PathManager(mode="subflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A bound that every repetition has to meet."""

    metric: str
    """As testbed/record/measure.py."""
    at_least: float | None = None
    at_most: float | None = None
    because: str
    """What the bound is about, with its source where it is not that of the test."""
    ends: Ends = "mptcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One thing that is asked of every pair."""

    name: str
    abbreviation: str
    summary: str
    """One sentence."""
    source: str
    judged: str
    """In words; the bytes are always judged, and what became of the connection."""
    topology: Topology
    application: Bulk
    path_manager: PathManager = NONE
    fates: tuple[Fate, ...] = ("mptcp",)
    """Between two ends of MPTCP."""
    altered: tuple[Fate, ...] = ()
    """With which of them a middlebox may have changed bytes."""
    plain_fates: tuple[Fate, ...] = ()
    """With plain TCP at an end; empty: what MPTCP falls back to, or TCP."""
    needs_mptcp: str = ""
    """Why it cannot be asked of plain TCP; empty: it can."""
    checks: tuple[Check, ...] = ()
    checksum: tuple[bool | None, bool | None] = (None, None)
    """DSS checksums of client and server; None: as by default."""
    receive_buffer_bytes: int | None = None
    """Of the server."""
    duration_ns: int | None = None
    """Of traffic without a size."""
    measure: str = ""
    """Of a measurement."""
    better: Literal["", "largest", "smallest"] = ""
    repetitions: int | None = None
    """At least; None: as many as asked for."""


def network(
    topology: Topology | None = None, boxes: dict[str, str] | None = None, changes: dict[str, str] | None = None
) -> Topology:
    """Two paths of 10 Mbit/s with middleboxes and scheduled changes, link -> text, as ``--set`` takes them."""
    made = topology or two_path(path1=PATH1, path2=PATH2)
    for name, text in (boxes or {}).items():
        made = made.with_link(dataclasses.replace(made.link(name), middleboxes=middlebox.parse(text)))
    for name, text in (changes or {}).items():
        made = made.with_link(dataclasses.replace(made.link(name), changes=parse_changes(text)))
    return made


def watches(**expressions: str) -> str:
    """A text of watches, name -> match; an underscore in a name is a hyphen."""
    return ", ".join(f"watch {match} as {name.replace('_', '-')}" for name, match in expressions.items())
