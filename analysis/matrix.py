"""A matrix of variants that differ in named factors: what each level of the first factor costs, situation by situation.

A *situation* is the levels of all other factors; the first level of the first factor is the *reference*. Goodput is
compared trial by trial with the reference in the same situation and repetition (both had the same seed). The estimate
is the geometric mean of those ratios, the interval a 95 % bootstrap over situations (of the means of their logarithms),
which are the independent units: situations have seeds of their own, repetitions within one are averaged first.

Numbers on how it went speak of trials whose connection stayed MPTCP; a connection that fell back or broke is counted as
that, and would flatter its policy elsewhere (plain TCP displaces nothing).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.fate import fate_of
from analysis.runs import Run
from analysis.statistics import SMALLEST_BOOTSTRAP, Interval, bootstrap_interval
from testbed.record.ledger_sums import ledger_sums

SMALLEST_MATRIX = 12
"""With fewer variants every one can be looked at by itself."""
MOST_SEGMENTS = 400_000
"""A ledger of more segments is not summed up for this table (several microseconds each)."""

DUPLICATES = ("TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKOfoSent")
"""Segments that arrived though they had arrived before: where nothing copies packets, retransmissions in vain. Counted
by who got them, whether or not the D-SACK that tells found room (net/ipv4/tcp_input.c tcp_dsack_set)."""
TIMEOUTS = ("TcpExtTCPTimeouts",)
RESETS = ("MPTcpExtMPRstTx",)
"""RSTs with MP_TCPRST that an end sent."""

SUMS = (
    "segments",
    "payload",
    "option_octets",
    "sack_wanted",
    "sack_sent",
    "sack_ranges",
    "never_reported",
    "map_delayed_octets",
    "mapped_octets",
)
Levels = tuple[tuple[str, str], ...]
"""(factor, level), in order."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One valid trial of the matrix."""

    level: str
    """Of the first factor."""
    situation: Levels
    """The other factors."""
    repetition: int
    fate: str
    goodput_bit_s: float
    duplicates: int | None
    """None, here and below: the kernel of an end has no such counter."""
    timeouts: int | None
    resets: int | None
    """Resets of subflows, by either end."""
    data_segments: int | None
    """None: without a ledger."""
    ledger: Mapping[str, int]
    """Both sides together; of an end without a ledger nothing."""
    acks: Mapping[str, int]
    """The same of pure ACKs alone."""
    delays_ns: tuple[int, ...]
    """95th percentile of the information delay, of each side that wanted to report a range."""

    @property
    def stayed(self) -> bool:
        """Whether it was MPTCP to its end."""
        return self.fate == "mptcp"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one level of the first factor costs, over some trials."""

    level: str
    trials: int
    fates: Mapping[str, int]
    goodput: Interval | None
    """Against the reference; None: no pair."""
    displaced: float | None
    """SACK blocks displaced, of those wanted."""
    displaced_on_acks: float | None
    """The same of pure ACKs alone: data segments tell it again with the next ACK."""
    never_reported: float | None
    """SACK ranges acknowledged before any report, of those wanted."""
    information_delay_ns: float | None
    """Mean over sides and trials of the 95th percentile: the median is 0 wherever most sides wait for nothing."""
    duplicates: float | None
    """Per thousand data segments."""
    timeouts: float | None
    """Per trial."""
    resets: float | None
    """Per trial, of all valid trials."""
    header_tax: float | None
    """Option octets per payload octet."""
    map_delayed: float | None
    """Octets of payload whose mapping came on a later segment."""


class Matrix:
    """The valid trials of a run whose variants have factors."""

    def __init__(self, factors: Sequence[str], levels: Mapping[str, Sequence[str]], trials: Sequence[Trial]) -> None:
        self.factors = tuple(factors)
        """The compared one first."""
        self.levels = levels
        """Factor -> its levels, in the order of the variants."""
        self.trials = tuple(trials)
        self._costs: dict[tuple[tuple[str, str], ...], list[Cost]] = {}

    @property
    def compared(self) -> str:
        """The first factor."""
        return self.factors[0]

    @property
    def reference(self) -> str:
        """The first level of the compared factor."""
        return self.levels[self.compared][0]

    def costs(self, **levels: str) -> list[Cost]:
        """Of each level of the compared factor that has trials with these levels of other factors."""
        key = tuple(sorted(levels.items()))
        if key not in self._costs:
            self._costs[key] = self._costs_of(
                [trial for trial in self.trials if levels.items() <= dict(trial.situation).items()]
            )
        return self._costs[key]

    def _costs_of(self, trials: Sequence[Trial]) -> list[Cost]:
        of_level: dict[str, list[Trial]] = defaultdict(list)
        for trial in trials:
            of_level[trial.level].append(trial)
        reference = {
            (trial.situation, trial.repetition): trial.goodput_bit_s
            for trial in of_level[self.reference]
            if trial.stayed
        }
        return [_cost(level, of_level[level], reference) for level in self.levels[self.compared] if of_level[level]]


_OF_RUN: WeakKeyDictionary[Run, Matrix | None] = WeakKeyDictionary()
"""Page and summary speak of the same one."""


def matrix_of(run: Run) -> Matrix | None:
    """The matrix of a run; None when its variants are too few, do not all have the same two factors or more, or have
    no ledger: what options cost is not what such a run is about."""
    if run not in _OF_RUN:
        _OF_RUN[run] = _read(run)
    return _OF_RUN[run]


def _read(run: Run) -> Matrix | None:
    if not run.experiment.get("ledger"):
        return None
    named = {name: tuple((str(f), str(level)) for f, level in v.get("factors", ())) for name, v in run.variants.items()}
    factors = [factor for factor, _ in next(iter(named.values()), ())]
    if len(named) < SMALLEST_MATRIX or len(factors) < 2:
        return None
    if any([factor for factor, _ in levels] != factors for levels in named.values()):
        return None
    levels = {
        factor: list(dict.fromkeys(found[index][1] for found in named.values())) for index, factor in enumerate(factors)
    }
    return Matrix(factors, levels, list(_trials(run, named)))


def _trials(run: Run, named: Mapping[str, Levels]) -> Iterable[Trial]:
    firsts = {name: variant["flows"][0]["name"] for name, variant in run.variants.items()}
    rows = {row["trial"]: row for row in run.directory.read_table("trials").to_pylist() if row["verdict"] == "VALID"}
    counters = _counters(run)
    ledger = _ledger(run)
    simulated = run.document["backend"] == "sim"
    for flow in run.directory.read_table("flows").sort_by("trial").to_pylist():
        trial = rows.get(flow["trial"])
        if trial is None or flow["flow"] != firsts.get(trial["variant"]):
            continue
        sums = _own(ledger.get(flow["trial"], ()))
        whole = [row for row in sums if row["kind"] == "all"]
        yield Trial(
            level=named[trial["variant"]][0][1],
            situation=named[trial["variant"]][1:],
            repetition=trial["repetition"],
            fate=fate_of(trial, flow).fate,
            goodput_bit_s=float(flow["goodput_bit_s"] or 0.0),
            duplicates=counted(counters, flow, DUPLICATES, simulated),
            timeouts=counted(counters, flow, TIMEOUTS, simulated),
            resets=counted(counters, flow, RESETS, simulated),
            data_segments=sum(row["segments"] for row in sums if row["kind"] == "data") if sums else None,
            ledger=_summed(whole),
            acks=_summed([row for row in sums if row["kind"] == "ack"]),
            delays_ns=tuple(
                row["information_delay_p95_ns"] for row in whole if row["information_delay_p95_ns"] is not None
            ),
        )


def _summed(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    return {name: sum(row[name] or 0 for row in rows) for name in SUMS}


def _own(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Those of ends that wrote a ledger themselves: beside one the policy of a kernel at the other end is not compared.
    Without such an end, those of both kernels."""
    return [row for row in rows if row["source"] == "ledger"] or rows


Counters = Mapping[tuple[int, str, str], int]
"""(trial, host, counter) -> growth, of those that there are."""


def _counters(run: Run) -> Counters:
    wanted = pa.array([*DUPLICATES, *TIMEOUTS, *RESETS], pa.string())
    table = run.directory.read_table("counters", encoded=True)
    rows = table.filter(pc.is_in(table["counter"].cast(pa.string()), wanted)).to_pylist()
    return {
        (row["trial"], row["host"], row["counter"]): row["after"] - (row["before"] or 0)
        for row in rows
        if row["after"] is not None
    }


def counted(counters: Counters, flow: Mapping[str, Any], names: Sequence[str], simulated: bool) -> int | None:
    """Growth at both ends together. Our stack writes down what it has counted, and nothing else; of a kernel that has
    none of these counters nothing is known, which is not 0."""
    total = 0
    for side in ("client", "server"):
        keys = [(flow["trial"], flow[f"{side}_host"], name) for name in names]
        known = [counters[key] for key in keys if key in counters]
        stack = flow["implementation" if side == "client" else "server_implementation"] or flow["implementation"]
        if not known and not simulated and not stack.startswith("userspace"):
            return None
        total += sum(known)
    return total


def _ledger(run: Run) -> dict[int, list[Mapping[str, Any]]]:
    """Trial -> rows of ``ledger_sums``, as kept or made of its segments."""
    found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in run.directory.read_table("ledger_sums").to_pylist():
        found[row["trial"]].append(row)
    segments = run.directory.read_table("segments", encoded=True)
    if not found and 0 < segments.num_rows <= MOST_SEGMENTS:
        by_trial: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in segments.to_pylist():
            by_trial[row["trial"]].append(row)
        found |= {trial: list(ledger_sums(rows)) for trial, rows in by_trial.items()}
    return found


def _cost(level: str, trials: Sequence[Trial], reference: Mapping[tuple[Levels, int], float]) -> Cost:
    stayed = [trial for trial in trials if trial.stayed]
    fates: dict[str, int] = defaultdict(int)
    for trial in trials:
        fates[trial.fate] += 1
    told = [trial for trial in stayed if trial.data_segments]
    delays = [delay for trial in stayed for delay in trial.delays_ns]

    def share(part: Callable[[Mapping[str, int]], int], whole: str) -> float | None:
        total = sum(trial.ledger[whole] for trial in told)
        return sum(part(trial.ledger) for trial in told) / total if total else None

    segments = sum(trial.data_segments or 0 for trial in told)
    wanted_on_acks = sum(trial.acks["sack_wanted"] for trial in told)
    sent_on_acks = sum(trial.acks["sack_sent"] for trial in told)
    return Cost(
        level=level,
        trials=len(trials),
        fates=dict(fates),
        goodput=ratio_interval(stayed, reference),
        displaced=share(lambda sums: sums["sack_wanted"] - sums["sack_sent"], "sack_wanted"),
        displaced_on_acks=1 - sent_on_acks / wanted_on_acks if wanted_on_acks else None,
        never_reported=share(lambda sums: sums["never_reported"], "sack_ranges"),
        information_delay_ns=sum(delays) / len(delays) if delays else None,
        duplicates=_per([trial.duplicates for trial in told], segments / 1000),
        timeouts=_per([trial.timeouts for trial in stayed], len(stayed)),
        resets=_per([trial.resets for trial in trials], len(trials)),
        header_tax=share(lambda sums: sums["option_octets"], "payload"),
        map_delayed=share(lambda sums: sums["map_delayed_octets"], "mapped_octets"),
    )


def _per(counts: Sequence[int | None], number: float) -> float | None:
    """None when one of them is not known: a part of a sum is no sum."""
    known = [each for each in counts if each is not None]
    return sum(known) / number if number and len(known) == len(counts) else None


def ratio_interval(trials: Sequence[Trial], reference: Mapping[tuple[Levels, int], float]) -> Interval | None:
    """Geometric mean of goodput against the reference, pair by pair; the interval is over situations."""
    logs: dict[Levels, list[float]] = defaultdict(list)
    for trial in trials:
        other = reference.get((trial.situation, trial.repetition), 0.0)
        if other > 0 and trial.goodput_bit_s > 0:
            logs[trial.situation].append(math.log(trial.goodput_bit_s / other))
    means = [sum(values) / len(values) for values in logs.values()]
    if not means:
        return None
    if len(means) < SMALLEST_BOOTSTRAP:
        estimate = math.exp(sum(means) / len(means))
        low, high = (math.exp(min(means)), math.exp(max(means))) if len(means) > 1 else (None, None)
        return Interval(estimate, low, high, len(means), None, "range" if len(means) > 1 else "none")
    found = bootstrap_interval(means, np.mean, method="percentile bootstrap")
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Interval(math.exp(found.estimate), low, high, found.n, found.level, found.method)
