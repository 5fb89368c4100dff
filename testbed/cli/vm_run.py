"""``testbed vm run``: experiments on several kernels, a machine for each, side by side, and one page that compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from testbed.cli import outcome


def run(
    experiments: Annotated[list[str], typer.Argument(help="Names or groups; 'testbed list' shows them.")],
    kernels: Annotated[
        list[str],
        typer.Option(
            "--kernels",
            metavar="KERNEL,...",
            help="6.1, 6.12, newest, bz:FILE, deb:FILE,FILE or a fetched name; the first is what others are compared "
            "with. May be repeated.",
        ),
    ],
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Machines at a time; default: one per processor, on real time one.",
            show_default=False,
        ),
    ] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Only this variant; may be repeated.")] = None,
    all_variants: Annotated[
        bool, typer.Option("--all-variants", help="Also variants in which no kernel takes part: the same on each.")
    ] = False,
    repeat: Annotated[int | None, typer.Option(help="Repetitions of each variant.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the runs.", min=0)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change any field: path2.loss=2%.")
    ] = None,
    time: Annotated[
        Literal["virtual", "real"], typer.Option("--time", help="virtual: instructions are counted, repeatable.")
    ] = "virtual",
    shift: Annotated[
        int | None, typer.Option("--shift", metavar="N", help="Of virtual time: an instruction takes 2**N ns.")
    ] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", metavar="N", help="Of a machine, on real time only.")] = None,
    memory_mib: Annotated[int | None, typer.Option("--memory", metavar="MIB", help="Of a machine.")] = None,
    pcap: Annotated[bool, typer.Option("--pcap", help="Capture headers at both ends.")] = False,
    out: Annotated[Path, typer.Option(help="Where run directories go, and the pages that compare them.")] = Path(
        "runs"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Take complete runs of exactly this that are there, and run the rest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of each run as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Run experiments on several kernels and compare them on one page.

    Kernels and images are fetched and built when missing. A kernel that does not boot, or cannot run an experiment,
    does not keep the others from it. Ctrl-C ends all machines. Exit codes are those of 'testbed run'.

    Example: testbed vm run aggregation --kernels 6.1,6.12 --jobs 2
    """
    with outcome.reported():
        from testbed.cli.kernel_runs import KernelRuns
        from testbed.cli.requested import Changes
        from testbed.vm import backend, several

        made = KernelRuns(
            words=several.kernel_words(kernels),
            hardware=backend.hardware(time=time, shift=shift, cpus=cpus, memory_mib=memory_mib),
            jobs=jobs,
            out=out,
            command=["testbed", *sys.argv[1:]],
            resume=resume,
            as_json=as_json,
            quiet=quiet,
        )
        changes = Changes(tuple(variant or ()), repeat, seed, pcap, tuple(set_ or ()))
        code = made.carry_out(experiments, changes, every_variant=all_variants or bool(variant))
        raise typer.Exit(code)
