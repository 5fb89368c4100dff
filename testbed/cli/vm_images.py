"""``testbed vm fetch-kernel``, ``build`` and ``prune``: what virtual machines are made of, and room for more."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.vm.kernels import Kernel

_MIRROR = typer.Option("--mirror", help="Address of a Debian archive; otherwise the one that this machine's apt uses.")
_JSON = typer.Option("--json", help="Print JSON.")


def fetch_kernel(
    kernels: Annotated[list[str], typer.Argument(help="6.1, 6.12, newest, deb:FILE,FILE or bzimage:FILE; several.")],
    modules: Annotated[
        Path | None,
        typer.Option("--modules", help="For bzimage:FILE: the directory that 'make modules_install' filled."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="For bzimage:FILE: its .config, unless it holds it (CONFIG_IKCONFIG)."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What it is called from now on.")] = None,
    mirror: Annotated[str | None, _MIRROR] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch the package lists now, however young.")] = False,
    vagrant: Annotated[
        Path | None,
        typer.Option("--vagrant", metavar="DIR", help="Also put what Vagrant boots there: build/vagrant is looked at."),
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Get kernels ready to boot: from Debian's archive, packages or a bzImage; and say what they lack.

    Ends with 4 when one lacks what no machine or experiment can do without.
    Example: testbed vm fetch-kernel 6.1 6.12 newest
    """
    with outcome.reported():
        from testbed.cli.console import console, table
        from testbed.orchestrator.spec import SpecificationError
        from testbed.vm import cache, fetching, machine, side_by_side, vagrant_kernels

        if len(kernels) > 1 and (name or modules or config):
            raise SpecificationError("--name, --modules and --config are for one kernel; fetch them one by one")
        store = cache.Cache()
        made = side_by_side.carry_out(
            {
                word: partial(
                    fetching.fetch,
                    store,
                    word,
                    name=name,
                    module_tree=modules,
                    config=config,
                    mirror=mirror,
                    refresh=refresh,
                )
                for word in kernels
            },
            _say,
        )
        for failed in (each for each in made.values() if isinstance(each, BaseException)):
            raise failed
        fetched: list[Kernel] = [made[word] for word in kernels]
        if vagrant is not None:
            for kernel in fetched:
                name_there = vagrant_kernels.write(kernel, vagrant, machine.find_busybox())
                _say(f"vagrant up {name_there} (libvirt) boots {kernel.version}")
        if as_json:
            rows = [
                {
                    "name": kernel.name,
                    "directory": str(kernel.directory),
                    "fatal": kernel.fatal,
                    "meta": dict(kernel.meta),
                }
                for kernel in fetched
            ]
            print(json.dumps(rows, indent=1))
        else:
            lines = [
                [
                    kernel.name,
                    kernel.version,
                    kernel.image.name,
                    f"{cache.size_on_disk(kernel.directory) / 1e6:.0f}",
                    "\n".join(kernel.lacks) or ("nothing" if kernel.config is not None else "not known: no .config"),
                ]
                for kernel in fetched
            ]
            columns = ["kernel", "version", "boots", "MB", "lacks"]
            console().print(table(columns, lines, right=["MB"]))
        for kernel in fetched:
            if kernel.fatal:
                typer.echo(f"testbed: UNSUPPORTED: {kernel.name} cannot be used: {'; '.join(kernel.fatal)}", err=True)
        raise typer.Exit(outcome.UNSUPPORTED if any(kernel.fatal for kernel in fetched) else outcome.MET)


def build(
    full: Annotated[
        bool,
        typer.Option(
            "--full/--minimal",
            help="minimal: what runs need. full: also strace, tshark, perf, bpftool, an editor and their like.",
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make it anew from today's packages; the old one goes when that is done.")
    ] = False,
    mirror: Annotated[str | None, _MIRROR] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Make the root file system that all kernels share, and the Python packages for it; once, with or without root.

    Beside the image, packages.lock says what is in it. Example: testbed vm build
    """
    with outcome.reported():
        from testbed.vm import cache, rootfs

        variant: rootfs.Variant = "full" if full else "minimal"
        made = rootfs.build(cache.Cache(), _say, mirror=mirror, again=again, variant=variant)
        sizes = {path: cache.size_on_disk(path.parent) for path in (made.image, made.site)}
        if as_json:
            document = {
                "variant": variant,
                "image": str(made.image),
                "site": str(made.site),
                "bytes": [*sizes.values()],
                "lock": str(made.lock),
                "packages": json.loads(made.lock.read_bytes()),
            }
            print(json.dumps(document, indent=1))
        else:
            for path, size in sizes.items():
                print(f"{path} ({size / 1e6:.0f} MB)")
            print(f"{made.lock} ({len(json.loads(made.lock.read_bytes()))} packages)")


def prune(
    keep: Annotated[int, typer.Option("--keep", min=0, help="Of each kind, how many stay: those used last.")] = 3,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove kernels, root file systems and records of machines that were not used for longest.

    What a running machine uses stays; with --keep 0, package lists go, too. Example: testbed vm prune --keep 2
    """
    with outcome.reported():
        from testbed.vm import cache

        store = cache.Cache()
        removed = [entry for kind in cache.KINDS for entry in store.prune(kind, keep)]
        store.clear(cache.DOWNLOADS)
        if keep == 0:
            store.clear(cache.LISTS)
        kept = [entry for kind in cache.KINDS for entry in store.entries(kind)]
        if as_json:
            print(
                json.dumps(
                    {
                        "removed": [{"path": str(entry.path), "bytes": entry.size_bytes} for entry in removed],
                        "kept": [
                            {"path": str(entry.path), "bytes": entry.size_bytes, "in_use": entry.in_use}
                            for entry in kept
                        ],
                    },
                    indent=1,
                )
            )
        else:
            for entry in removed:
                print(f"removed {entry.kind}/{entry.digest} ({entry.size_bytes / 1e6:.0f} MB)")
            print(f"kept {len(kept)} in {store.root} ({sum(entry.size_bytes for entry in kept) / 1e6:.0f} MB)")


def _say(text: str) -> None:
    typer.echo(text, err=True)
