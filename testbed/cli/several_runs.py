"""Runs in several machines, told on the terminal while they are under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.vm.qemu import Hardware
    from testbed.vm.several import Done, Part


def carry_out(
    parts: Sequence[Part], hardware: Hardware, *, jobs: int | None, quiet: bool, ended: Callable[[Done], str]
) -> list[Done]:
    """What became of each request; ``ended`` takes each as it comes and says in a line what it is.

    ``jobs``: machines at a time; None: as many as suit the hardware.
    """
    from testbed.cli.several_progress import SeveralProgress
    from testbed.vm import several

    left = {part.name: [request.experiment.name for request in part.requests] for part in parts}
    jobs = min(jobs or several.jobs_for(len(parts), hardware), len(parts))
    with SeveralProgress([part.name for part in parts], quiet=quiet) as progress:

        def heard(part: Part, message: Mapping[str, Any]) -> None:
            progress.hear(part.name, left[part.name][0], message)

        def over(done: Done) -> None:
            name = left[done.part.name].pop(0)
            progress.over(done.part.name, f"{name}: {ended(done)}", last=not left[done.part.name])

        return several.carry_out(parts, hardware, jobs=jobs, told=heard, ended=over)
