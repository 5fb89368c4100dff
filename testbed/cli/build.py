"""``testbed build``: compile the protocol rooms, which are used from then on in place of their sources."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli import outcome


def build(
    force: Annotated[bool, typer.Option("--force", help="Build again what is built.")] = False,
    if_possible: Annotated[
        bool, typer.Option("--if-possible", help="Say in one line why not, and end with 0 all the same.")
    ] = False,
) -> None:
    """Compile the protocol stacks and the link model with mypyc; several times as fast as the sources.

    What is compiled is used as long as the sources stay as they are. TESTBED_COMPILED=0 runs the sources.
    Example: ./tb build
    """
    with outcome.reported():
        from testbed.compilation.build import BuildError
        from testbed.compilation.build import build as compile_rooms

        try:
            directory, seconds = compile_rooms(force)
        except BuildError as error:
            typer.echo(f"not compiled, the sources will run: {error}", err=True)
            raise typer.Exit(outcome.MET if if_possible else outcome.UNSUPPORTED) from None
        typer.echo(
            f"compiled: {directory.name}" + (f", built in {seconds:.0f} s" if seconds else ", was there already")
        )
