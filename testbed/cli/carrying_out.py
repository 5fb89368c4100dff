"""One experiment of ``testbed run`` from the request to the report: who is told meanwhile, and what it comes to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from testbed.orchestrator.errors import Interrupted
from testbed.orchestrator.spec import SpecificationError

if TYPE_CHECKING:
    from testbed.orchestrator.runner import OnMessage, RunRequest
    from testbed.record.run_directory import RunDirectory

    RunOne = Callable[[RunRequest, OnMessage], RunDirectory]
    """``runner.run``, or its like on another machine."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a command line says of the virtual machines that it boots."""

    time: Literal["virtual", "real"] | None = None
    shift: int | None = None
    slow: int | None = None

    @property
    def is_said(self) -> bool:
        """Anything at all."""
        return self.time is not None or self.shift is not None or self.slow is not None

    @property
    def wants_virtual_time(self) -> bool:
        """In so many words."""
        return self.time == "virtual" or self.shift is not None


HERE = ("sim", "mininet")
ELSEWHERE = ("ssh", "vagrant", "vm")


def check_backend(backend: str) -> None:
    """Raises SpecificationError."""
    if backend not in HERE and _first_word(backend) not in ELSEWHERE:
        known = ", ".join((*HERE, "vm:KERNEL", "ssh:HOST", "vagrant[:MACHINE]"))
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
def runs_on(backend: str, machine: Machine | None = None) -> Iterator[RunOne]:
    """Who carries out the requests: this machine, or the one that ``backend`` names; ``machine`` is for ``vm``."""
    if machine is not None and machine.is_said and _first_word(backend) != "vm":
        raise SpecificationError(f"--time, --shift and --slow are for --backend vm:KERNEL, not for {backend}")
    if _first_word(backend) == "vm":
        from testbed.remote.place import parse_backend
        from testbed.vm import backend as machines

        if len(parse_backend(backend).kernels) > 1 and machine is not None and machine.wants_virtual_time:
            raise SpecificationError(
                f"--backend {backend}: two machines cannot be on virtual time (their counted clocks have nothing to do "
                "with each other): leave --time virtual and --shift away, or take --slow N or --time real"
            )
        made_of = machines.hardware(**dataclasses.asdict(machine)) if machine is not None else None
        with machines.opened(backend, made_of) as run_there:
            yield run_there
        return
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
            return code or 0, {}
    return _reported(directory, in_words=not quiet and not as_json)


def _code(directory: RunDirectory) -> int | None:
    """A program that listens makes the report itself if it wants one: perhaps on another machine. None: what judges is
    not here (a virtual machine has no pandas)."""
    try:
        from analysis.runs import load
        from analysis.verdict import evaluate, exit_code
    except ModuleNotFoundError:
        return None
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
