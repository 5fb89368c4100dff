"""Experiments on several kernels from the words of the command line to the page that compares them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.cli.requested import Changes, Requested
    from testbed.orchestrator.errors import InvalidTrial, Unsupported
    from testbed.orchestrator.runner import RunRequest
    from testbed.vm.images import Images
    from testbed.vm.qemu import Hardware
    from testbed.vm.several import Done, Part


@dataclass(slots=True)
class Result:
    """One experiment on one kernel."""

    kernel: str
    experiment: str
    path: Path | None
    code: int
    reason: str = ""
    """Why there is no run."""


@dataclass(slots=True)
class KernelRuns:
    """One command line."""

    words: Sequence[str]
    """The kernels, the reference first."""
    hardware: Hardware
    jobs: int | None
    out: Path
    command: Sequence[str]
    resume: bool
    as_json: bool
    quiet: bool
    results: list[Result] = field(default_factory=list)

    def carry_out(self, experiments: Sequence[str], changes: Changes, *, every_variant: bool) -> int:
        """Run, compare, tell; the exit code."""
        from testbed.cli.requested import by_name
        from testbed.vm import qemu, tools

        chosen = [self._of_kernels(each, every_variant=every_variant) for each in by_name(experiments, changes)]
        tools.require(qemu.PROGRAM)
        parts = self._parts(chosen)
        if parts:
            self._run(parts)
        order = {word: number for number, word in enumerate(self.words)}
        self.results.sort(key=lambda each: order[each.kernel])
        names = [requested.experiment.name for requested in chosen]
        pages = {name: self._compared(name) for name in names}
        if self.as_json:
            print(json.dumps([self._document(name, pages[name]) for name in names], indent=1))
        return outcome.combined(each.code for each in self.results)

    # --- before ---

    def _of_kernels(self, requested: Requested, *, every_variant: bool) -> Requested:
        """What real kernels can run of it, and without ``every_variant`` what differs from kernel to kernel."""
        from experiments.kernel_claims import of_the_kernel
        from testbed.orchestrator.errors import Unsupported
        from testbed.orchestrator.runner import for_real_time

        whole = for_real_time(requested.experiment)
        if every_variant:
            return replace(requested, experiment=whole)
        chosen = of_the_kernel(whole)
        if not chosen.variants:
            raise Unsupported(
                f"no kernel takes part in any variant of {whole.name}: it is the same on each; --all-variants runs it"
            )
        names = {variant.name for variant in chosen.variants}
        left = [variant.name for variant in whole.variants if variant.name not in names]
        if left:
            self._say(f"{whole.name}: left out, for no kernel takes part: {', '.join(left)} (--all-variants)")
        return replace(requested, experiment=chosen)

    def _parts(self, chosen: Sequence[Requested]) -> list[Part]:
        """A machine for each kernel that can be had, with what is to be run on it."""
        from testbed.remote.checkout import read_checkout
        from testbed.vm.earlier import complete_run, of_hardware, source_of
        from testbed.vm.several import Part

        parts = []
        source = source_of(read_checkout()) if self.resume else None
        for word, images in self._images().items():
            place = f"vm:{word}"
            requests = []
            for requested in chosen:
                name = requested.experiment.name
                if isinstance(images, Exception):
                    self.results.append(Result(word, name, None, _code_of(images), str(images)))
                    continue
                earlier = None
                if source is not None:
                    # the name of a kernel may mean a newer one than it did
                    there = {"backend": place, "release": images.version, **of_hardware(self.hardware)}
                    earlier = complete_run(self.out, requested.experiment, source, **there)
                if earlier is None:
                    requests.append(self._request(requested))
                else:
                    self._say(f"{word}: {earlier} is complete, and taken")
                    self.results.append(self._reported(word, name, earlier))
            if requests:
                parts.append(Part(word, place, requests))
        return parts

    def _images(self) -> dict[str, Images | Unsupported | InvalidTrial]:
        """Everything fetched and built before the first machine is booted; of a kernel that cannot be had why not.

        Raises SpecificationError for a word that means no kernel: that is a slip of the pen.
        """
        from testbed.orchestrator.errors import InvalidTrial, Unsupported
        from testbed.vm.cache import Cache
        from testbed.vm.choosing import images_of_all

        found: dict[str, Images | Unsupported | InvalidTrial] = {}
        for word, images in images_of_all(Cache(), self.words, self._say).items():
            if isinstance(images, (Unsupported, InvalidTrial)):
                self._tell_failure(word, "", images)
            elif isinstance(images, BaseException):
                raise images
            found[word] = images
        return found

    def _request(self, requested: Requested) -> RunRequest:
        from testbed.orchestrator.runner import RunRequest

        return RunRequest(
            experiment=requested.experiment,
            parent=self.out,
            command=list(self.command),
            overrides=requested.overrides,
            resume=self.resume,
        )

    # --- meanwhile ---

    def _run(self, parts: Sequence[Part]) -> None:
        from testbed.cli import several_runs

        several_runs.carry_out(parts, self.hardware, jobs=self.jobs, quiet=self.quiet, ended=self._ended)

    def _ended(self, done: Done) -> str:
        """Keep what became of it; that in words."""
        kernel, name = done.part.name, done.request.experiment.name
        if done.directory is not None:
            self.results.append(self._reported(kernel, name, done.directory.path))
            return str(done.directory.path)
        assert done.error is not None
        self.results.append(Result(kernel, name, None, _code_of(done.error), str(done.error)))
        if self.quiet:
            self._tell_failure(kernel, name, done.error)
        return f"{_word_of(done.error)}: {done.error}"

    def _reported(self, kernel: str, experiment: str, path: Path) -> Result:
        """The run's own report is written; what it comes to."""
        from analysis.report.write import write_report
        from analysis.runs import load
        from analysis.verdict import evaluate, exit_code

        write_report(path)
        run = load(path)
        return Result(kernel, experiment, path, exit_code(run, evaluate(run)))

    # --- after ---

    def _compared(self, experiment: str) -> list[Path]:
        """The page of all kernels, and of an experiment with claims what changed; [] when not two of them ran."""
        ours = [each for each in self.results if each.experiment == experiment]
        paths = [each.path for each in ours if each.path is not None]
        absent = [(each.kernel, each.reason) for each in ours if each.path is None]
        if not paths:
            return []
        from analysis.comparison.kernels import compare_kernels
        from analysis.report.compare_kernels_write import write_kernels_comparison
        from analysis.report.kernels_write import write_kernels
        from analysis.runs import load
        from testbed.cli.kernel_table import print_kernels

        runs = [load(path) for path in paths]
        comparison = compare_kernels(runs, absent)
        directory = self._directory(experiment)
        pages = write_kernels_comparison(comparison, directory, self.command)[:1]
        if any(run.experiment.get("claims") or run.experiment.get("grid") for run in runs):
            pages += write_kernels(runs, directory, self.command)[:1]
        if not self.quiet and not self.as_json:
            print_kernels(comparison, pages)
        return pages

    def _directory(self, experiment: str) -> Path:
        """``runs/aggregation/kernels-20261123T190000Z``, or the next that is free."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = 1
        while (path := self.out / experiment / f"kernels-{stamp}{f'-{number}' if number > 1 else ''}").exists():
            number += 1
        return path

    def _document(self, experiment: str, pages: Sequence[Path]) -> Mapping[str, Any]:
        return {
            "experiment": experiment,
            "kernels": [
                {
                    "kernel": each.kernel,
                    "path": str(each.path) if each.path is not None else None,
                    "exit_code": each.code,
                    "reason": each.reason,
                }
                for each in self.results
                if each.experiment == experiment
            ],
            "pages": [str(page) for page in pages],
        }

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr)

    def _tell_failure(self, kernel: str, experiment: str, error: Exception | None) -> None:
        """A kernel without a run is an error, and told with --quiet, too."""
        what = f"{kernel}: {experiment}" if experiment else kernel
        print(f"testbed: {what}: {_word_of(error)}: {error}", file=sys.stderr)


def _code_of(error: Exception) -> int:
    """Of a request that left no run: UNSUPPORTED, or INVALID whatever else it was; a slip of the pen ends it before."""
    from testbed.orchestrator.errors import Unsupported

    return outcome.UNSUPPORTED if isinstance(error, Unsupported) else outcome.INVALID


def _word_of(error: Exception | None) -> str:
    from testbed.orchestrator.errors import Interrupted, Unsupported

    if isinstance(error, Interrupted):
        return "interrupted"
    return "UNSUPPORTED" if isinstance(error, Unsupported) else "INVALID"
