"""One experiment of ``testbed run`` from the request to the report: who is told meanwhile, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.orchestrator.spec import SpecificationError

if TYPE_CHECKING:
    from testbed.orchestrator.runner import OnMessage, RunRequest
    from testbed.record.run_directory import RunDirectory

    RunOne = Callable[[RunRequest, OnMessage], RunDirectory]
    """``runner.run``, or its like on another machine."""

HERE = ("sim", "mininet")
ELSEWHERE = ("ssh", "vagrant")
LATER = {"vm": "virtual machines are not part of this version"}


def check_backend(backend: str) -> None:
    """Raises SpecificationError or Unsupported."""
    word = _first_word(backend)
    if word in LATER:
        raise Unsupported(f"backend {backend}: {LATER[word]}; use --backend mininet")
    if backend not in HERE and word not in ELSEWHERE:
        known = ", ".join((*HERE, "ssh:HOST", "vagrant[:MACHINE]"))
        raise SpecificationError(f"--backend {backend}: the backends are {known}")


def is_elsewhere(backend: str) -> bool:
    """Whether another machine runs it."""
    return _first_word(backend) in ELSEWHERE


def in_virtual_time(backend: str) -> bool:
    """Whether the simulator runs it, here or on another machine."""
    if is_elsewhere(backend):
        from testbed.remote.place import parse_backend

        return parse_backend(backend).backend == "sim"
    return backend == "sim"


def _first_word(backend: str) -> str:
    """``vagrant`` of vagrant, vagrant:MACHINE and vagrant/sim."""
    return backend.partition(":")[0].partition("/")[0]


@contextmanager
def runs_on(backend: str) -> Iterator[RunOne]:
    """Who carries out the requests: this machine, or the one that ``backend`` names."""
    if is_elsewhere(backend):
        from testbed.remote import opened

        with opened(backend) as run_there:
            yield run_there
        return
    from testbed.orchestrator import runner

    yield runner.run


def carry_out(
    run_one: RunOne, request: RunRequest, *, quiet: bool, as_json: bool, messages: bool
) -> tuple[int, dict[str, Any]]:
    """Exit code and summary. What happens is told on the terminal, or as messages."""
    from testbed.cli.messages import MessageLines
    from testbed.cli.progress import RunProgress

    with MessageLines() if messages else RunProgress(request.experiment.name, quiet=quiet) as told:
        try:
            directory = run_one(request, told)
        except Interrupted as error:
            kept = f"; what was done is kept in {told.path}, --resume goes on" if told.path else ""
            raise Interrupted(f"{error}{kept}") from None
        # what was measured is safe by now; only from here on the heavy libraries are loaded
        if messages:
            code = _code(directory)
            told({"kind": "done", "path": str(directory.path), "code": code})
            return code, {}
    return _reported(directory, in_words=not quiet and not as_json)


def _code(directory: RunDirectory) -> int:
    """A program that listens makes the report itself if it wants one: perhaps on another machine."""
    from analysis.runs import load
    from analysis.verdict import evaluate, exit_code

    result = load(directory.path)
    return exit_code(result, evaluate(result))


def _reported(directory: RunDirectory, *, in_words: bool) -> tuple[int, dict[str, Any]]:
    """The reports are written; the exit code and the summary."""
    from analysis.report.write import write_report
    from analysis.runs import load
    from analysis.verdict import evaluate, exit_code
    from testbed.cli.result_table import print_result

    write_report(directory.path)
    result = load(directory.path)
    verdicts = evaluate(result)
    if in_words:
        print_result(result, verdicts)
    summary = json.loads((directory.path / "summary.json").read_text())
    return exit_code(result, verdicts), {"path": str(directory.path), **summary}
