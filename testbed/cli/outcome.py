"""Errors -> one line on standard error and an exit code: the only place that knows which is which."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

MET, FAILED, USAGE, INVALID, UNSUPPORTED, INTERRUPTED = 0, 1, 2, 3, 4, 130


@contextmanager
def reported() -> Iterator[None]:
    """Foreseen errors end the command with one line and their exit code; anything else is a defect and shows itself."""
    from testbed.orchestrator.errors import Interrupted, InvalidTrial, Unsupported
    from testbed.orchestrator.spec import SpecificationError
    from testbed.record.errors import RecordError
    from topologies.model import TopologyError

    try:
        yield
    except (SpecificationError, TopologyError) as error:
        fail(str(error), USAGE)
    except Unsupported as error:
        fail(f"UNSUPPORTED: {error}", UNSUPPORTED)
    except Interrupted as error:
        fail(f"{error}", INTERRUPTED)
    except (InvalidTrial, RecordError) as error:
        fail(f"{error}", INVALID)


def fail(text: str, code: int) -> NoReturn:
    """Say why, and end."""
    print(f"testbed: {text}", file=sys.stderr)
    raise typer.Exit(code)


def combined(codes: Iterable[int]) -> int:
    """Of several runs: a failed expectation outweighs what could not be measured; 4 only when nothing at all ran."""
    found = set(codes)
    for code in (FAILED, INVALID):
        if code in found:
            return code
    return UNSUPPORTED if found == {UNSUPPORTED} else MET
