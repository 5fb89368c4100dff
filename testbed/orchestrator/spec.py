"""An experiment as a value: a question, variants that answer it, how often, and what is expected.

Everything here is frozen, comparable, hashable into a digest, and knows nothing of how it is run. ``to_json`` /
``from_json`` are the form kept in a run directory; overrides from the command line are in ``overrides.py``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, get_args

from testbed.endpoint.parameters import (
    Application,
    Bulk,
    Endpoint,
    Implementation,
    Program,
    RequestResponse,
    Script,
    ShortFlows,
    Stream,
)
from testbed.orchestrator.claim import Claim, Speaks
from testbed.orchestrator.grid import Grid
from testbed.orchestrator.interop import Interop
from testbed.record.measure import MeasureError, flow_metrics, parse_measure
from topologies.link_text import describe_change
from topologies.model import Topology
from topologies.quantity import format_time

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "Application",
    "Bulk",
    "Claim",
    "Endpoint",
    "Expectation",
    "Experiment",
    "Flow",
    "Grid",
    "Implementation",
    "Interop",
    "PathManager",
    "Program",
    "RequestResponse",
    "Script",
    "ShortFlows",
    "SpecificationError",
    "Stream",
    "Variant",
]

METRICS = flow_metrics()
"""The numbers of the ``flows`` table; an expectation may also speak of every other measure (record/measure.py)."""

Backend = Literal["sim", "mininet"]
"""Virtual time with our own stack, or namespaces of this kernel."""
MOST_TRIALS = 1_000_000
"""Of a run: its plan is kept in memory and in run.json, 100 bytes for each."""
SAYS = ("value", "interval", "n", "absolute", "reference")
"""Numbers in the sentence of an expectation; ``{value:%}`` is a share in percent."""

PathManagerMode = Literal["none", "signal", "subflow", "fullmesh", "backup", "ndiffports"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")
_VARIANT_NAME = re.compile(r"(?=.{1,80}\Z)[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
"""A slash parts what is at the client from what is at the server: ``userspace/linux``."""


class SpecificationError(ValueError):
    """The experiment does not make sense; the message names the experiment, the key and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathManager:
    """Which subflows the kernels open beyond the first one."""

    mode: PathManagerMode = "signal"
    """``signal``: the server announces its other addresses; ``subflow``: the client uses its other addresses;
    ``fullmesh``: every pair; ``backup``: as ``signal``, the paths named in ``backup_paths`` only as reserve;
    ``ndiffports``: several subflows between the first pair of addresses; ``none``: only the first subflow."""
    subflows: int = 8
    """Limit of additional subflows (``ip mptcp limits``)."""
    backup_paths: tuple[str, ...] = ()
    """With ``backup``: names of paths whose subflows carry the backup flag."""
    ports: int = 2
    """With ``ndiffports``: how many subflows in all."""
    withdraw_path: str | None = None
    """Path whose address the end that told of it gives up at ``withdraw_at_ns``: the client in the modes ``subflow``
    and ``fullmesh``, the server with ``signal``, in ``backup`` who has several addresses, the client first."""
    withdraw_at_ns: int = 1_000_000_000
    """After the start of the trial's traffic."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(PathManagerMode):
            raise SpecificationError(
                f"path_manager.mode is one of {', '.join(get_args(PathManagerMode))}, not {self.mode!r}"
            )
        # MPTCP_PM_ADDR_MAX is 8 in net/mptcp/protocol.h: more neither endpoints nor limits can be
        for name, low, high in (("subflows", 0, 8), ("ports", 1, 9)):
            if not low <= getattr(self, name) <= high:
                raise SpecificationError(f"path_manager.{name} is {low} to {high}, not {getattr(self, name)}")
        if self.withdraw_path is not None and self.mode in ("none", "ndiffports"):
            raise SpecificationError(f"path_manager.withdraw_path: mode {self.mode} has no address for a path")
        if self.withdraw_at_ns < 0:
            raise SpecificationError(f"path_manager.withdraw_at_ns is at least 0, not {self.withdraw_at_ns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One conversation between two hosts."""

    name: str = "main"
    application: Application = field(default_factory=Bulk)
    client: Endpoint = field(default_factory=Endpoint)
    server: Endpoint = field(default_factory=Endpoint)
    client_host: str | None = None
    """None: the topology's client."""
    server_host: str | None = None
    """None: the topology's server."""
    path: str | None = None
    """The path of the first (for TCP: the only) subflow; None: the first path that joins the two hosts."""
    family: Literal[4, 6] | None = None
    """None: the topology's first family."""
    start_ns: int = 0
    """After the start of the trial's traffic."""
    duration_ns: int | None = None
    """None: until the experiment's duration is over."""
    test: str = "transfer"
    """What is asked of an adapter (``TESTBED_TEST``); it says so when it does not know it. No other end is told."""

    def __post_init__(self) -> None:
        for key, value in (("name", self.name), ("test", self.test)):
            if not _NAME.fullmatch(value):
                raise SpecificationError(f"flow {key} {value!r} is not a lower-case word")
        scripted = [side for side in (self.client, self.server) if side.is_script]
        if len(scripted) != isinstance(self.application, Script):
            raise SpecificationError(
                f"flow {self.name}: a script is carried out by exactly one end, whose implementation is 'script'"
            )
        if self.start_ns < 0:
            raise SpecificationError(f"flow {self.name}: start_ns is at least 0, not {self.start_ns}")
        if self.duration_ns is not None and self.duration_ns <= 0:
            raise SpecificationError(f"flow {self.name}: duration_ns is above 0, not {self.duration_ns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One thing that is compared with the others."""

    name: str
    summary: str
    topology: Topology
    flows: tuple[Flow, ...]
    path_manager: PathManager = field(default_factory=PathManager)
    subflows: int | None = None
    """Subflows that the first flow must have had in all, or the trial is INVALID; None: as many as the path manager
    opens (``plan.expected_subflows``); 0: not checked."""
    factors: tuple[tuple[str, str], ...] = ()
    """What is special about it, as (factor, level): ``(("policy", "dense"), ("loss", "1%"))``. Reports compare the
    variants of a matrix along these."""
    situation: str = ""
    """Variants of one situation share their seeds, so that their trials can be compared as pairs; those of another one
    have their own, so that pairs of different situations are independent evidence. Empty: all share them."""
    repetitions: int | None = None
    """At least so many, whatever the experiment says: of what is measured among what is only asked. None: as many as
    the experiment says."""
    only_on: Backend | None = None
    """The one backend that runs it: virtual time has room for more points than real time. None: each that has its
    ends."""

    def __post_init__(self) -> None:
        if not _VARIANT_NAME.fullmatch(self.name):
            raise SpecificationError(f"variant name {self.name!r} is not a lower-case word, or several with slashes")
        if not self.flows:
            raise SpecificationError(f"variant {self.name} has no flow")
        names = [flow.name for flow in self.flows]
        if len(set(names)) < len(names):
            raise SpecificationError(f"variant {self.name} has two flows of one name")
        if self.repetitions is not None and self.repetitions < 1:
            raise SpecificationError(f"variant {self.name}: repetitions is at least 1, not {self.repetitions}")
        if self.subflows is not None and self.subflows < 0:
            raise SpecificationError(f"variant {self.name}: subflows is at least 0, not {self.subflows}")
        paths = {path.name for path in self.topology.paths}
        hosts = {host.name for host in self.topology.hosts}
        for name in self.path_manager.backup_paths:
            self._check_known("path_manager.backup_paths", name, paths)
        self._check_known("path_manager.withdraw_path", self.path_manager.withdraw_path, paths)
        for flow in self.flows:
            where = f"flow {flow.name}: "
            self._check_known(f"{where}path", flow.path, paths)
            self._check_known(f"{where}client_host", flow.client_host, hosts)
            self._check_known(f"{where}server_host", flow.server_host, hosts)
            self._check_known(f"{where}family", flow.family, set(self.topology.families))
            client = flow.client_host or self.topology.client.name
            if client == (flow.server_host or self.topology.server.name):
                raise SpecificationError(f"variant {self.name}, {where}{client} is both client and server")

    def _check_known(self, key: str, value: object, known: Set[object]) -> None:
        if value is not None and value not in known:
            raise SpecificationError(
                f"variant {self.name}, {key} {value!r} is not in topology {self.topology.name}, "
                f"which has {', '.join(sorted(map(str, known)))}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A bound on a metric of one variant, alone or relative to the best of some others."""

    variant: str
    metric: str
    """A measure (testbed/record/measure.py): a number of the ``flows`` table, such as ``goodput_bit_s``, or
    ``counter:MPTcpExtMPRstTx@server``, ``ledger:displaced_share@server/ack`` ..."""
    at_least: float | None = None
    at_most: float | None = None
    relative_to: tuple[str, ...] = ()
    """The value is divided by that of the best of these variants: the largest, or the smallest where less is better."""
    relative_to_flow: str | None = None
    """The value is divided by that of this other flow of the same trial (before the statistic)."""
    among: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further variants, each with those that it is compared with, as ``variant`` with ``relative_to``. The value is
    then the share of all of them that are better than the best of theirs: one number for a design of many networks."""
    flow: str = "main"
    statistic: Literal["median", "mean", "min", "max"] = "median"
    """Over the valid repetitions; ``min`` with ``at_least`` and ``max`` with ``at_most`` mean: every one of them."""
    because: str = ""
    """Why this bound."""
    claim: str | None = None
    """Id of the claim that it is evidence of."""
    speaks: Speaks = "for"
    """What it means for the claim when it is met; when it is not met, the opposite."""
    under: str = ""
    """The condition under which it speaks, where a claim depends on one: ``Linux``, ``with timestamps``."""
    says: str = ""
    """What was found, as a sentence with ``{value}``, and if wanted ``{interval}``, ``{n}``, ``{absolute}``,
    ``{reference}``: numbers come with their units, but for packets, which the sentence names; ``{value:%}`` is a
    share in percent. Empty: made from variant and metric."""

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise SpecificationError(f"expectation on {self.variant}.{self.metric} has no bound")
        if self.relative_to and self.relative_to_flow is not None:
            raise SpecificationError(f"expectation on {self.variant}.{self.metric} is relative to two things")
        if self.among and not (self.relative_to and all(others for _, others in self.among)):
            raise SpecificationError(f"expectation on {self.variant}.{self.metric}: a share compares each with others")
        self._check_says()

    @property
    def speaks_of(self) -> frozenset[str]:
        """Every variant that it needs."""
        further = {name for each, others in self.among for name in (each, *others)}
        return frozenset({self.variant, *self.relative_to, *further})

    def _check_says(self) -> None:
        where = f"expectation on {self.variant}.{self.metric}: says"
        try:
            fields = {(name, form) for _, name, form, _ in Formatter().parse(self.says) if name is not None}
        except ValueError as error:
            raise SpecificationError(f"{where} {self.says!r}: {error}") from None
        for name, form in fields:
            if name not in SAYS or form not in ("", "%"):
                known = ", ".join(f"{{{each}}}" for each in SAYS)
                raise SpecificationError(f"{where} has {{{name}{':' if form else ''}{form}}}, which is none of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A question with the means to answer it."""

    name: str
    question: str
    """One sentence that ends with a question mark."""
    variants: tuple[Variant, ...]
    repetitions: int = 3
    duration_ns: int = 10_000_000_000
    """Of the traffic of one trial; transfers of a fixed size have it as their deadline."""
    seed: int = 1
    offloads: Literal["auto", "on", "off"] = "auto"
    """Segmentation offloads of the hosts. ``auto``: off (packets on the wire are MTU-sized) unless the paths together
    exceed what one process can relay packet by packet."""
    realisation: Literal["auto", "netem", "relay"] = "auto"
    """How shaped links become real: the kernel's qdiscs, our relay, or whichever can express the profile."""
    retries: int = 1
    """How often a trial that the testbed itself disturbed is tried again (never for what the stack did); each attempt
    is told in its events."""
    capture: bool = False
    """Headers of all packets at the interfaces of both ends, in ``captures/``."""
    ledger: bool = False
    """Options of every segment that an end builds: wanted, sent, left out and why (``segments.parquet``). Userspace
    ends write it down themselves; of kernel ends it is read by BPF where the machine allows (``kernel_ledger.py``)."""
    ledger_form: Literal["segments", "sums"] = "segments"
    """``sums``: instead of a row per segment, the sums over each trial (``ledger_sums.parquet``)."""
    sample_interval_ns: int = 100_000_000
    expectations: tuple[Expectation, ...] = ()
    grid: Grid | None = None
    """What may become of the variants' connections, for an experiment that asks that."""
    interop: Interop | None = None
    """Which variant is which cell of client x server x test, for an experiment that compares implementations."""
    any_outcome: bool = False
    """How a connection ends, and how many subflows it had, is a result: it neither makes a trial INVALID nor fails the
    run by itself. Always so with a grid."""
    claims: tuple[Claim, ...] = ()
    """What its expectations are evidence of."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecificationError(f"experiment name {self.name!r} is not a lower-case word")
        where = f"experiment {self.name}"
        for name, minimum in (
            ("repetitions", 1),
            ("retries", 0),
            ("duration_ns", 100_000_000),
            ("sample_interval_ns", 1_000_000),
        ):
            if getattr(self, name) < minimum:
                raise SpecificationError(f"{where}: {name} is at least {minimum}, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise SpecificationError(f"{where}: seed is a non-negative 63-bit integer, not {self.seed}")
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) < len(names):
            raise SpecificationError(f"{where}: variants have distinct names, and there is at least one")
        trials = sum(max(self.repetitions, variant.repetitions or 1) for variant in self.variants)
        if trials > MOST_TRIALS:
            raise SpecificationError(
                f"{where}: {trials:,} trials are more than the {MOST_TRIALS:,} that a run may have: fewer repetitions "
                "(--repeat) or variants"
            )
        for expectation in self.expectations:
            self._check_expectation(expectation, where)
        if self.grid is not None and (problem := self.grid.problem(names)) is not None:
            raise SpecificationError(f"{where}: {problem}")
        if self.interop is not None and (problem := self.interop.problem(names)) is not None:
            raise SpecificationError(f"{where}: {problem}")
        for variant in self.variants:
            self._check_times(variant, f"{where}, variant {variant.name}")

    def _check_expectation(self, expectation: Expectation, where: str) -> None:
        known = {variant.name: {flow.name for flow in variant.flows} for variant in self.variants}
        for name in sorted(expectation.speaks_of):
            if name not in known:
                raise SpecificationError(f"{where}: an expectation speaks of {name!r}, which is no variant")
        try:
            parse_measure(expectation.metric)
        except MeasureError as error:
            near = ", ".join(difflib.get_close_matches(expectation.metric, METRICS, n=4, cutoff=0.3))
            raise SpecificationError(f"{where}: {error}" + (f"; near: {near}" if near else "")) from None
        if expectation.claim is not None and expectation.claim not in {claim.id for claim in self.claims}:
            raise SpecificationError(f"{where}: an expectation is evidence of {expectation.claim!r}, which is no claim")
        for flow in (expectation.flow, expectation.relative_to_flow):
            if flow is not None and flow not in known[expectation.variant]:
                raise SpecificationError(
                    f"{where}: an expectation speaks of {flow!r}, no flow of {expectation.variant}"
                )

    def _check_times(self, variant: Variant, where: str) -> None:
        for flow in variant.flows:
            if flow.start_ns >= self.duration_ns:
                raise SpecificationError(f"{where}: flow {flow.name} starts after the end of the trial (duration)")
        for link in variant.topology.links:
            late = [change for change in link.changes if change.at_ns >= self.duration_ns]
            if late:
                change = f"{describe_change(late[0])} at {format_time(late[0].at_ns)}"
                raise SpecificationError(
                    f"{where}: link {link.name} changes ({change}) after the end of the trial, whose duration is "
                    f"{format_time(self.duration_ns)}; set {link.name}.changes, or a longer duration"
                )

    @property
    def outcome_is_result(self) -> bool:
        """Whether a connection that breaks is what the experiment is about."""
        return self.any_outcome or self.grid is not None

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises KeyError."""
        return {variant.name: variant for variant in self.variants}[name]


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Experiment]:
    from pydantic import TypeAdapter  # imported late: the command line starts without it

    return TypeAdapter(Experiment)


def to_json(experiment: Experiment) -> dict[str, Any]:
    """JSON-ready form of a whole experiment; :func:`from_json` reads it back to an equal value."""
    data: dict[str, Any] = _adapter().dump_python(experiment, mode="json")
    return data


def from_json(data: dict[str, Any]) -> Experiment:
    """The experiment that :func:`to_json` wrote. Raises SpecificationError with the first thing that is wrong."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(json.dumps(data), strict=False, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecificationError(f"{where}: {first['msg']}") from None


def digest(experiment: Experiment) -> str:
    """SHA-256 (hex) of the canonical JSON: equal experiments have equal digests."""
    canonical = json.dumps(to_json(experiment), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
