"""``testbed clean``: remove what killed runs of ours left behind, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli import outcome


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """End processes that carry the mark of a run whose orchestrator is gone; their namespaces go with them.

    Things of runs that are under way, and of anybody else, are not touched. Example: sudo testbed clean
    """
    with outcome.reported():
        from testbed.orchestrator import leftovers

        search = leftovers.search()
        for item in search.found:
            if not dry_run:
                leftovers.remove(item)
            print(f"{'would remove' if dry_run else 'removed'} {item}")
        if not search.found or search.unreadable:
            print(search)
