"""``testbed matrix``: client x server x test between implementations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.cli import matrix_kernels, matrix_request


def matrix(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="With --merge: run directories.", show_default=False),
    ] = None,
    implementations: Annotated[
        str,
        typer.Option(
            help="Rows and columns, by comma: linux, linux-tcp, userspace, userspace:PROFILE, userspace-tcp, "
            "linux@KERNEL (in a virtual machine), or the name of an adapter.",
            show_default=False,
        ),
    ] = "",
    clients: Annotated[str, typer.Option(help="Rows alone; default: the implementations.", show_default=False)] = "",
    servers: Annotated[str, typer.Option(help="Columns alone; default: the implementations.", show_default=False)] = "",
    tests: Annotated[
        str,
        typer.Option(
            help="Names or letters by comma ('testbed list tests'); 'tests' without measurements; default: all.",
            show_default=False,
        ),
    ] = "",
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME.toml|NAME=COMMAND", help="A further implementation; may be repeated.", show_default=False
        ),
    ] = None,
    kernels: Annotated[
        list[str] | None,
        typer.Option(
            help="linux and linux-tcp stand for those of each of these, by comma: 6.1,6.12,newest,bz:FILE. Each is "
            "booted, two for a pair of kernels; all runs are joined into one matrix.",
            show_default=False,
        ),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option("--claims", help="With --kernels: also the experiments of the group 'kernel', and what differs."),
    ] = False,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Run nothing: join the matrices of the RUNS into one, and compare their claims."),
    ] = False,
    time: Annotated[
        Literal["virtual", "real"] | None,
        typer.Option("--time", help="Of virtual machines: virtual (default; of a pair slowed) or real."),
    ] = None,
    shift: Annotated[
        int | None, typer.Option("--shift", metavar="N", help="Of virtual time: an instruction takes 2**N ns.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="mininet (real kernels, root), sim (virtual time, our own stack), vm:KERNEL, ssh:HOST, "
            "vagrant[:MACHINE]; default: mininet where it can run, else sim.",
            show_default=False,
        ),
    ] = "",
    repeat: Annotated[
        int | None,
        typer.Option(
            help="Trials of each test, 1 if not said; measurements have 3 at least. Of the claims' experiments, too, "
            "which else have their own.",
            min=1,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the run.", min=0)] = 1,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Trials at a time in the simulator, machines at a time with --kernels; default: one per processor.",
            min=1,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the newest unfinished run of the same; of several kernels, keep those done."
        ),
    ] = False,
    pcap: Annotated[
        bool, typer.Option("--pcap/--no-pcap", help="Capture headers at both ends; contention needs them.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print matrix.json.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Ask every pair of implementations the same tests; write the grid as HTML, Markdown, JSON, KTAP and JUnit.

    Exit codes: 0 every cell passes or is unsupported; 1 a cell failed; 3 one could not be measured; 4 nothing can run.

    Example: sudo testbed matrix --implementations linux,userspace --tests handshake,join --repeat 3
    """
    with outcome.reported():
        from testbed.cli import carrying_out, matrix_kernels, matrix_request
        from testbed.orchestrator.runner import RunRequest

        command = ("testbed", *sys.argv[1:])
        told = matrix_kernels.Telling(as_json=as_json, quiet=quiet)
        _check_merge(runs or [], merge=merge)
        if merge:
            raise typer.Exit(matrix_kernels.merged(runs or [], out, command, told))
        words = matrix_request.Words(
            implementations=implementations,
            clients=clients,
            servers=servers,
            tests=tests,
            adapters=adapter or [],
            kernels=matrix_kernels.kernel_words(kernels or []),
        )
        machine = carrying_out.Machine(time, shift)
        if not backend and matrix_request.has_kernels(words):
            several = matrix_kernels.Several(words, machine, out, command, jobs=jobs, resume=resume, claims=claims)
            raise typer.Exit(several.carry_out(told, repeat=repeat, seed=seed, capture=pcap))
        _check_words(words, backend, claims=claims)
        chosen, why = _backend(backend)
        if why and not quiet:
            print(f"backend {chosen}: {why}", file=sys.stderr)
        carrying_out.check_backend(chosen)
        where = "sim" if carrying_out.in_virtual_time(chosen) else chosen
        request = RunRequest(
            experiment=matrix_request.asked(words, where, repeat=repeat or 1, seed=seed, capture=pcap).experiment(),
            parent=out,
            command=command,
            resume=resume,
            backend="sim" if chosen == "sim" else "mininet",
            jobs=jobs,
        )
        with carrying_out.runs_on(chosen, machine) as run_one:
            _, summary = carrying_out.carry_out(run_one, request, quiet=quiet, as_json=True, messages=False)
        raise typer.Exit(_told(Path(summary["path"]), told))


def _check_merge(runs: list[Path], *, merge: bool) -> None:
    """Raises SpecificationError."""
    from testbed.orchestrator.spec import SpecificationError

    if merge and not runs:
        raise SpecificationError("--merge joins runs: name their directories, as in --merge runs/interop/2026*")
    if runs and not merge:
        raise SpecificationError(f"{runs[0]}: to join runs that are there, say --merge; implementations have options")


def _check_words(words: matrix_request.Words, backend: str, *, claims: bool) -> None:
    """What goes with kernels of virtual machines alone. Raises SpecificationError."""
    from testbed.orchestrator.spec import SpecificationError

    if words.kernels:
        raise SpecificationError(f"--kernels boots machines of its own: leave --backend {backend} away")
    if claims:
        raise SpecificationError("--claims goes with --kernels; 'testbed run kernel' runs the group on one kernel")


def _backend(asked: str) -> tuple[str, str]:
    """And why, when nobody has asked for one."""
    if asked:
        return asked, ""
    from testbed.orchestrator import runner

    reason = runner.why_not_here()
    if reason is None:
        return "mininet", "real kernels and stacks (--backend sim runs our own stack in virtual time)"
    return "sim", f"virtual time, our own stack alone; mininet cannot run here ({reason})"


def _told(path: Path, told: matrix_kernels.Telling) -> int:
    """The result on the terminal; the exit code."""
    from analysis.interop import matrix_of
    from analysis.runs import load

    result = matrix_of(load(path))
    assert result is not None
    return told.result(result, path)
