"""Every cell of the matrix judged, trial by trial: pass, fail, unsupported or invalid, and why.

A trial passes when the connection became what it may become, its bytes are those that were sent, and every bound on
what was measured is met. A cell passes when all its trials do, and fails when one does not: what fails now and then is
*flaky*, and a failure. What could not be measured is *invalid*, never a pass and never a failure; what cannot be asked
of the pair, here or at all, is *unsupported*.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.fate import Cell, Fate, cells
from analysis.measured import Measurements
from analysis.runs import Run
from analysis.statistics import Interval, statistic_interval
from analysis.verdict import FATES, damage_in_words

Row = Mapping[str, Any]
Result = Literal["pass", "fail", "unsupported", "invalid"]
RESULTS: tuple[Result, ...] = ("pass", "fail", "unsupported", "invalid")


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial of a cell."""

    trial: int
    repetition: int
    seed: int
    result: Result
    reasons: tuple[str, ...]
    """What was not as it has to be; of an invalid or unsupported trial, why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The number of a measurement's cell."""

    measure: str
    unit: str
    better: str
    """``largest``, ``smallest``, or empty: neither."""
    median: Interval
    values: tuple[float, ...]
    source: str
    """Whose numbers they are, where there is more than one possibility."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """One test between a client and a server."""

    test: Row
    """As in run.json: name, abbreviation, summary, source, judged, kind ..."""
    client: str
    server: str
    variant: str
    """Empty: it was never asked."""
    result: Result
    reason: str
    trials: tuple[TrialResult, ...]
    measurement: Measurement | None = None
    known: str = ""
    """What is known of a failure here."""
    run: int | None = None
    """Whose trials they are, as number among the runs of the matrix; None: no run was asked it."""
    asked_as: tuple[str, str] = ("", "")
    """What that run calls client and server, where the matrix of several has other names."""

    @property
    def is_flaky(self) -> bool:
        """Whether the same thing passed in one trial and failed in another."""
        return {"pass", "fail"} <= {trial.result for trial in self.trials}

    @property
    def is_asked(self) -> bool:
        """Whether a run was asked it, or ought to have been."""
        return bool(self.variant) or self.result == "invalid"

    @property
    def passed(self) -> int:
        """Trials that passed."""
        return sum(trial.result == "pass" for trial in self.trials)

    @property
    def shown(self) -> TrialResult | None:
        """The trial to look at: the first that is as the cell is, or else the first."""
        return next((trial for trial in self.trials if trial.result == self.result), next(iter(self.trials), None))


@dataclass(frozen=True, slots=True)
class MatrixResult:
    """All of a run, or of several that were joined (joined.py)."""

    tests: tuple[Row, ...]
    clients: tuple[Row, ...]
    servers: tuple[Row, ...]
    cells: tuple[CellResult, ...]
    runs: tuple[Run, ...]
    """Whose cells they are."""
    links: tuple[str, ...] = ("",)
    """From the files of the matrix to the directory of each run: empty, or a relative path that ends with a slash."""
    command: tuple[str, ...] = ()
    """The words that made it, where that was not the command of its run."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of the joining."""

    def of_pair(self, client: str, server: str, kind: str | None = None) -> tuple[CellResult, ...]:
        """The cells of a pair, in the order of the tests; ``kind`` None: tests and measurements."""
        return tuple(
            cell
            for cell in self.cells
            if cell.client == client and cell.server == server and kind in (None, cell.test["kind"])
        )

    def of_test(self, name: str) -> tuple[CellResult, ...]:
        """The cells of a test, client by client."""
        return tuple(cell for cell in self.cells if cell.test["name"] == name)

    def counts(self, of: Iterable[CellResult] | None = None) -> dict[Result, int]:
        """Result -> cells."""
        chosen = list(self.cells if of is None else of)
        return {result: sum(cell.result == result for cell in chosen) for result in RESULTS}


def matrix_of(run: Run) -> MatrixResult | None:
    """The matrix of a run, complete or not; None when its experiment has none."""
    interop = run.experiment.get("interop")
    if not interop:
        return None
    judge = _Judge(run)
    tests = {test["name"]: test for test in interop["tests"]}
    return MatrixResult(
        tests=tuple(interop["tests"]),
        clients=tuple(interop["clients"]),
        servers=tuple(interop["servers"]),
        cells=tuple(judge.cell(cell, tests[cell["test"]]) for cell in interop["cells"]),
        runs=(run,),
        command=tuple(run.document["command"]),
    )


def exit_code(matrix: MatrixResult) -> int:
    """4 when nothing could run, 1 when a cell failed, 3 when one is invalid, else 0."""
    counts = matrix.counts()
    if not counts["pass"] and not counts["fail"] and not counts["invalid"]:
        return 4
    return 1 if counts["fail"] else 3 if counts["invalid"] else 0


class _Judge:
    """What is looked up for each cell, read once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._measurements = Measurements(run)
        self._fates: dict[str, Cell] = {cell.expected["variant"]: cell for cell in cells(run)}
        self._bounds: dict[str, list[Row]] = defaultdict(list)
        for expectation in run.experiment.get("expectations", ()):
            self._bounds[expectation["variant"]].append(expectation)
        self._trials: dict[str, list[Row]] = defaultdict(list)
        for row in run.directory.read_table("trials").sort_by("trial").to_pylist():
            self._trials[row["variant"]].append(row)
        flows = run.directory.read_table("flows").to_pylist()
        self._untold = {row["trial"] for row in flows if row["fallback"] is None and row["error"] is None}
        self._idle = _idle_middleboxes(run)
        self._planned: dict[str, int] = defaultdict(int)
        for entry in run.document["plan"]:
            self._planned[entry["variant"]] += 1

    def cell(self, cell: Row, test: Row) -> CellResult:
        """One cell with all its trials."""
        variant = cell["variant"]
        ends = cell["client"], cell["server"]
        if not variant:
            return CellResult(test, *ends, "", "unsupported", cell["unsupported"], (), run=0, asked_as=ends)
        trials = tuple(self._trial(row, variant) for row in self._trials[variant])
        result, reason = self._verdict(variant, trials)
        measurement = None
        if test["kind"] == "measurement":
            measurement = self._measurement(test, variant, trials)
            if result == "pass" and measurement is None:
                result = "invalid"
                reason = self._measurements.of(test["measure"], variant, "main").missing or "it was not measured"
        known = cell.get("known", "")
        return CellResult(test, *ends, variant, result, reason, trials, measurement, known, run=0, asked_as=ends)

    def _verdict(self, variant: str, trials: Sequence[TrialResult]) -> tuple[Result, str]:
        results = [trial.result for trial in trials]
        if "fail" in results:
            bad = next(trial for trial in trials if trial.result == "fail")
            share = f"{results.count('fail')} of {len(results)} trials: " if len(results) > 1 else ""
            return "fail", share + "; ".join(bad.reasons)
        if len(trials) < self._planned[variant]:
            return "invalid", "not all of its trials have run"
        if "invalid" in results:
            bad = next(trial for trial in trials if trial.result == "invalid")
            return "invalid", "; ".join(bad.reasons)
        if "unsupported" in results:
            bad = next(trial for trial in trials if trial.result == "unsupported")
            return "unsupported", "; ".join(bad.reasons)
        return "pass", ""

    def _trial(self, row: Row, variant: str) -> TrialResult:
        number = row["trial"]
        identity = number, row["repetition"], int(row["seed"])
        if row["verdict"] == "UNSUPPORTED":
            return TrialResult(*identity, "unsupported", (row["reason"],))
        if row["verdict"] != "VALID":
            return TrialResult(*identity, "invalid", (row["reason"],))
        bad, missing = self._broken_bounds(number, variant)
        missing += [f"no packet met what was to disturb it ({box})" for box in self._idle.get(number, ())]
        fate = self._fate(number, variant)
        if fate is None:
            missing.append("nothing is known of the connection")
        elif self._is_guess(fate, variant):
            missing.append("neither end tells whether the connection fell back to TCP")
        else:
            bad = [*self._wrong_fate(fate, self._fates[variant]), *bad]
        if bad:
            return TrialResult(*identity, "fail", tuple(bad))
        return TrialResult(*identity, "invalid" if missing else "pass", tuple(missing))

    def _fate(self, trial: int, variant: str) -> Fate | None:
        cell = self._fates.get(variant)
        return next((fate for fate in cell.fates if fate.trial == trial), None) if cell is not None else None

    def _is_guess(self, fate: Fate, variant: str) -> bool:
        """Whether a fall back was wanted and nobody can say that there was none: two adapters have no word for it."""
        untold = fate.trial in self._untold and fate.fate == "mptcp"
        return untold and "mptcp" not in self._fates[variant].expected["fates"]

    def _wrong_fate(self, fate: Fate, cell: Cell) -> list[str]:
        found = []
        if fate.fate not in cell.expected["fates"]:
            wanted = " or ".join(FATES[each] for each in cell.expected["fates"])
            error = f" ({fate.error})" if fate.error else ""
            found.append(f"{FATES[fate.fate]} instead of {wanted}{error}")
        if fate.wrong and fate.fate not in cell.expected["altered"]:
            found.append(damage_in_words(fate))
        return found

    def _broken_bounds(self, trial: int, variant: str) -> tuple[list[str], list[str]]:
        """Bounds that the trial broke; bounds whose number nobody measured."""
        bad, missing = [], []
        for expectation in self._bounds[variant]:
            found = self._measurements.of(expectation["metric"], variant, expectation["flow"])
            value = found.values.get(trial)
            if value is None:
                missing.append(found.missing or f"{expectation['metric']} was not measured")
            elif not _is_within(value, expectation):
                bad.append(_broken(value, found.unit, expectation))
        return bad, missing

    def _measurement(self, test: Row, variant: str, trials: Sequence[TrialResult]) -> Measurement | None:
        found = self._measurements.of(test["measure"], variant, "main")
        passed = {trial.trial for trial in trials if trial.result == "pass"}
        values = tuple(value for trial, value in found.values.items() if trial in passed)
        if not values:
            return None
        median = statistic_interval(values, "median")
        return Measurement(test["measure"], found.unit, test["better"], median, values, found.source)


def _idle_middleboxes(run: Run) -> Mapping[int, Sequence[str]]:
    """Trial -> its middleboxes, where all of them together did nothing: what the test is about did not happen.

    Watches do nothing by design; a path without packets, as the second one of plain TCP, is no reason.
    """
    did: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in run.directory.read_table("middleboxes").to_pylist():
        if not row["middlebox"].startswith("watch "):
            name = f"{row['middlebox']} on {row['link']}"
            did[row["trial"]][name] += sum(row[act] for act in ("matched", "changed", "dropped", "made", "delayed"))
    return {trial: tuple(boxes) for trial, boxes in did.items() if not any(boxes.values())}


def _is_within(value: float, expectation: Row) -> bool:
    low, high = expectation["at_least"], expectation["at_most"]
    return (low is None or value >= low) and (high is None or value <= high)


def _broken(value: float, unit: str, expectation: Row) -> str:
    """``"0 packets instead of at least 1 (watched:told@path1): RFC 8684 section 3.4.1: the server sends ADD_ADDR"``."""
    low, high = expectation["at_least"], expectation["at_most"]
    wanted = f"at least {low:g}" if low is not None else f"at most {high:g}"
    noun = unit.removesuffix("s") if value == 1 else unit
    number = f"{value:g}{f' {noun}' if noun else ''}"
    return f"{number} instead of {wanted} ({expectation['metric']}): {expectation['because']}"
