"""The matrix of several kernels: a run in each machine, all joined into one matrix and one table of what changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.orchestrator.errors import InvalidTrial, Unsupported

if TYPE_CHECKING:
    from analysis.interop import Absent, MatrixResult
    from experiments.interop.kernels import Part as Place
    from testbed.cli.carrying_out import Machine
    from testbed.cli.matrix_request import Asked, Words
    from testbed.orchestrator.runner import RunRequest
    from testbed.orchestrator.spec import Experiment
    from testbed.vm.several import Done, Part

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Telling:
    """How a result is told."""

    as_json: bool
    quiet: bool

    def result(self, matrix: MatrixResult, directory: Path) -> int:
        """On the terminal; the exit code."""
        from analysis.interop import exit_code
        from testbed.cli.matrix_table import print_matrix

        if self.as_json:
            print((directory / "matrix.json").read_text(), end="")
        elif not self.quiet:
            print_matrix(matrix, directory)
        return exit_code(matrix)


def kernel_words(texts: Sequence[str]) -> list[str]:
    """Of ``--kernels``; ``newest`` by the version that it is. Raises SpecificationError."""
    if not texts:
        return []
    from testbed.vm import several

    return [_named(word) for word in several.kernel_words(texts)]


def _named(word: str) -> str:
    """What a kernel is called in the matrix, and found by: ``newest`` is another one next month."""
    from testbed.vm import debian, fetching, kernels
    from testbed.vm.cache import Cache

    if word.removeprefix("debian:") != debian.NEWEST:
        return word
    cache = Cache()
    kernel = fetching.obtain(cache, word, _say)
    series = ".".join(kernel.version.split(".")[:2])
    kernels.named(cache, series, kernel.directory.name)
    return series


def _say(text: str) -> None:
    import sys

    print(text, file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Several:
    """A matrix whose cells are asked in several machines."""

    words: Words
    machine: Machine
    out: Path
    command: Sequence[str]
    jobs: int | None
    resume: bool
    claims: bool

    def carry_out(self, told: Telling, *, repeat: int | None, seed: int, capture: bool) -> int:
        """All of it; the exit code is that of the matrix, for what a claim says is a finding on any kernel."""
        from experiments.interop.kernels import parts
        from testbed.cli import matrix_request

        asked = matrix_request.asked(self.words, "", repeat=repeat or 1, seed=seed, capture=capture)
        places, nowhere = parts(asked.rows, asked.columns)
        done, kept = self._asked(asked, places, told, repeat)
        paths = [*kept, *(each.directory.path for each in done if each.directory is not None)]
        absent = _absent(nowhere, places, [each for each in done if each.directory is None])
        return _joined(paths, self.out, self.command, told, absent)

    def _asked(
        self, asked: Asked, places: Sequence[Place], told: Telling, repeat: int | None
    ) -> tuple[list[Done], list[Path]]:
        """What became of each request; run directories of an earlier time that are kept."""
        from testbed.cli import several_runs
        from testbed.remote.checkout import read_checkout
        from testbed.vm import backend, several
        from testbed.vm.earlier import complete_run, source_of

        source = source_of(read_checkout()) if self.resume else None
        single: list[Part] = []
        pairs: list[Part] = []
        kept: list[Path] = []
        for place in places:
            is_pair = "+" in place.place
            wanted = []
            experiments = [asked.experiment(place.pairs)]
            experiments += _of_claims(repeat) if self.claims and not is_pair else []
            for experiment in experiments:
                earlier = None
                if source is not None:
                    earlier = complete_run(self.out, experiment, source, **self._there(place.place))
                if earlier is None:
                    wanted.append(self._request(experiment))
                else:
                    kept.append(earlier)
                    _say(f"{place.place}: {earlier} is complete, and kept")
            if wanted:
                (pairs if is_pair else single).append(several.Part(place.place, place.place, wanted))
        found: list[Done] = []
        hardware = backend.hardware(time=self.machine.time or "virtual", shift=self.machine.shift)
        if single:
            found += several_runs.carry_out(single, hardware, jobs=self.jobs, quiet=told.quiet, ended=_ended)
        if pairs:  # each is two machines, whose seconds have to go together: one at a time, on slowed or real time
            found += several_runs.carry_out(pairs, hardware, jobs=1, quiet=told.quiet, ended=_ended)
        return found, kept

    def _request(self, experiment: Experiment) -> RunRequest:
        from testbed.orchestrator.runner import RunRequest

        return RunRequest(experiment=experiment, parent=self.out, command=list(self.command), resume=self.resume)

    def _there(self, place: str) -> dict[str, str]:
        """What a machine such as is asked for says of itself; of two machines the clock is theirs to choose."""
        wanted = {"backend": place}
        if "+" not in place:
            wanted["clock"] = self.machine.time or "virtual"
        if self.machine.shift is not None:
            wanted["shift"] = str(self.machine.shift)
        return wanted


def merged(paths: Sequence[Path], out: Path, command: Sequence[str], told: Telling) -> int:
    """Of run directories that are there: the matrix of those that have one, the table of those that have claims."""
    return _joined(paths, out, command, told, {})


def _of_claims(repeat: int | None) -> list[Experiment]:
    """What every kernel is asked of the claims, in order."""
    from experiments import catalog
    from experiments.kernel_claims import KERNEL_CLAIMS, of_the_kernel

    found = [of_the_kernel(catalog.build(name)) for name in KERNEL_CLAIMS]
    return [dataclasses.replace(each, repetitions=repeat) for each in found] if repeat is not None else found


def _ended(done: Done) -> str:
    """Each run gets its reports; what became of it."""
    from analysis.report.write import write_report

    if done.directory is None:
        return str(done.error)
    write_report(done.directory.path)
    return f"-> {done.directory.path}"


def _absent(nowhere: Mapping[Pair, str], places: Sequence[Place], failed: Sequence[Done]) -> dict[Pair, Absent]:
    """Why the cells of a pair are in no run: cannot be asked, or were to be and could not."""
    from analysis.interop import Absent

    found = {pair: Absent("unsupported", reason) for pair, reason in nowhere.items()}
    for done in failed:
        if done.request.experiment.interop is None:
            continue
        reason = f"{done.part.place}: {done.error}"
        why = Absent("unsupported" if isinstance(done.error, Unsupported) else "invalid", reason)
        for place in places:
            if place.place == done.part.place:
                found |= dict.fromkeys(place.pairs, why)
    return found


def _joined(
    paths: Sequence[Path], out: Path, command: Sequence[str], told: Telling, absent: Mapping[Pair, Absent]
) -> int:
    """The files of all runs together, in a directory of their own; the exit code."""
    from analysis.interop import joined
    from analysis.kernels import kernel_of
    from analysis.report.interop_write import write_result
    from analysis.report.kernels_write import write_kernels
    from analysis.runs import load

    runs = [load(path) for path in paths]
    matrices = [run for run in runs if run.experiment.get("interop")]
    compared = [run for run in runs if run.experiment.get("claims") or run.experiment.get("interop")]
    if not compared:
        reasons = "; ".join(dict.fromkeys(each.reason for each in absent.values())) or "no run has a matrix or claims"
        raise (InvalidTrial if any(each.result == "invalid" for each in absent.values()) else Unsupported)(reasons)
    directory = out / "interop" / f"kernels-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    code = 0
    if len(matrices) < len(compared) or len({kernel_of(run) for run in compared}) > 1:
        pages = write_kernels(compared, directory, command)
        if not told.quiet:
            _say(f"what changed between the kernels: {pages[0]}")
    if matrices:
        matrix = joined(matrices, directory, absent=absent, command=command)
        write_result(matrix, directory)
        code = told.result(matrix, directory)
    return code
