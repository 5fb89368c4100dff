"""``testbed vm``: machines with a kernel of one's choice, on virtual time or real time, reached by SSH."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from testbed.cli import outcome
from testbed.cli.vm_images import build, fetch_kernel, prune
from testbed.cli.vm_run import run

if TYPE_CHECKING:
    from testbed.vm.record import Record

vm = typer.Typer(
    no_args_is_help=True,
    help="Kernels in virtual machines: fetch, build, boot, run experiments, look inside. First: 'testbed vm doctor'.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Beginning of an id of 'testbed vm list', or the kernel's name.")]


@vm.command("doctor")
def doctor(
    as_json: AsJson = False,
    install: Annotated[
        bool, typer.Option("--install", help="Install the missing Debian packages with apt-get (root).")
    ] = False,
) -> None:
    """Say whether kernels can be booted here: programs with their packages, memory, accelerations tried by booting.

    Ends with 0 when they can, 4 when not. Example: testbed vm doctor
    """
    with outcome.reported():
        from testbed.cli.console import console, table
        from testbed.vm import doctor as examination

        if install:
            examination.install(print)
        found = examination.examine()
        if as_json:
            _print_json({"checks": [check.document() for check in found], "boots": examination.boots(found)})
        else:
            rows = [[each.name, "there" if each.there else "NOT THERE", each.seen, each.remedy] for each in found]
            console().print(table(["needed", "here", "seen", "how to get it"], rows))
            print("virtual machines: " + ("yes" if examination.boots(found) else "no"))
        raise typer.Exit(outcome.MET if examination.boots(found) else outcome.UNSUPPORTED)


@vm.command("boot")
def boot(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="6.1, 6.12, newest, bz:FILE, deb:FILE,..., a name.")],
    time: Annotated[
        Literal["virtual", "real"], typer.Option("--time", help="virtual: instructions are counted, repeatable.")
    ] = "virtual",
    shift: Annotated[
        int | None, typer.Option("--shift", metavar="N", help="Virtual: an instruction takes 2**N ns (default 0).")
    ] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", metavar="N", help="Real time only (default 2).")] = None,
    memory_mib: Annotated[
        int | None, typer.Option("--memory", metavar="MIB", help="Of the guest; default 1536.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full/--minimal", help="The root file system with tools for people ('vm build --full').")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Boot a kernel to its SSH server; it stays until 'testbed vm stop'. Images are fetched and built when missing.

    Example: testbed vm boot 6.12 && testbed vm ssh 6.12 -- uname -a
    """
    with outcome.reported():
        from testbed.vm import accel, machine
        from testbed.vm.backend import hardware as hardware_of
        from testbed.vm.cache import Cache
        from testbed.vm.choosing import images_of

        cache = Cache()
        hardware = hardware_of(time=time, shift=shift, cpus=cpus, memory_mib=memory_mib)
        images = images_of(cache, kernel, _say, "full" if full else "minimal")
        if time == "real":
            hardware = accel.with_best(hardware, cache.root, images.kernel, machine.find_busybox())
        _say(f"booting {images.version}")
        booted = machine.boot(images, hardware, cache.runs, stays=True, say=_say)
        if as_json:
            _print_json({**booted.record.document(), "directory": str(booted.directory)})
        else:
            one = booted.record
            print(f"{one.id}: {one.version} answers after {one.boot_s or 0:.1f} s on {one.clock} time")
            print(f"testbed vm ssh {one.id}      testbed vm logs {one.id}      testbed vm stop {one.id}")


@vm.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def ssh(
    machine_id: Id,
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND]", help="Instead of a shell.")] = None,
) -> None:
    """Run a command in a machine, or a shell; this becomes OpenSSH's client, with the machine's pinned key.

    Example: testbed vm ssh 6.12 -- nstat -az 'MPTcpExt*'
    """
    with outcome.reported():
        import os
        import shlex

        from testbed.orchestrator.errors import Unsupported
        from testbed.vm import record

        runs, found = _find(machine_id)
        words = command[1:] if command and command[0] == "--" else command
        there = [shlex.join(words)] if words else []
        try:
            os.execvp("ssh", ["ssh", "-F", str(runs / found.id / record.SSH_CONFIG), record.ALIAS, *there])
        except FileNotFoundError:
            raise Unsupported("ssh is not installed: apt install openssh-client") from None


@vm.command("list")
def list_machines(as_json: AsJson = False) -> None:
    """Machines that run, whoever of this user booted them. Example: testbed vm list --json"""
    with outcome.reported():
        from testbed.cli.console import console, table
        from testbed.vm import record

        running = [each for each in record.all_in(_runs()) if each.runs is not False]
        if as_json:
            _print_json({"machines": [each.document() for each in running]})
        elif not running:
            print("no machine runs; 'testbed vm boot 6.12' starts one")
        else:
            columns = ["id", "kernel", "version", "time", "pid", "port", "since (UTC)", "ends"]
            console().print(table(columns, [_row(each) for each in running], right=["pid", "port"]))


@vm.command("stop")
def stop(
    machine_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As of 'testbed vm list'.")] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every machine that 'vm boot' started.")] = False,
    as_json: AsJson = False,
) -> None:
    """End machines, at once: their disks keep nothing, their console logs stay. One of a run has to be named.

    Example: testbed vm stop --all
    """
    with outcome.reported():
        from testbed.orchestrator.spec import SpecificationError
        from testbed.vm import record

        if bool(machine_ids) == all_of_them:
            raise SpecificationError("name machines ('testbed vm list' has their ids), or say --all")
        runs = _runs()
        wanted = [each for each in record.all_in(runs) if each.runs and each.stays] if all_of_them else []
        wanted += [record.find(runs, word) for word in machine_ids or ()]
        for each in wanted:
            record.end(each, runs / each.id)
            if not as_json:
                print(f"stopped {each.id} ({each.kernel})")
        if as_json:
            _print_json({"stopped": [each.id for each in wanted]})


@vm.command("logs")
def logs(machine_id: Id, as_json: AsJson = False) -> None:
    """Print the console of a machine, also of one that has ended. Example: testbed vm logs 6.12"""
    with outcome.reported():
        from testbed.vm import machine

        runs, found = _find(machine_id, running=False)
        text = machine.console_text(runs / found.id)
        if as_json:
            _print_json({**found.document(), "console": text})
        else:
            print(text, end="")


vm.command("run")(run)
vm.command("fetch-kernel")(fetch_kernel)
vm.command("build")(build)
vm.command("prune")(prune)


def _runs() -> Path:
    from testbed.vm.cache import RUNS, Cache

    return Cache().root / RUNS


def _find(word: str, *, running: bool = True) -> tuple[Path, Record]:
    from testbed.vm import record

    runs = _runs()
    return runs, record.find(runs, word, running=running)


def _row(each: Record) -> list[str]:
    ends = ("when stopped" if each.stays else "with its run") + (" (still boots)" if each.boot_s is None else "")
    return [each.id, each.kernel, each.version, each.clock, str(each.pid), str(each.port), each.started_utc, ends]


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print_json(document: Mapping[str, object]) -> None:
    import json

    print(json.dumps(document, indent=1))
