"""A directory that is there whole or not at all: made under a temporary name beside its place, then renamed.

Source: rename(2). Unlike a run, what is made here can be made again, so an older one gives way to the new one.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from testbed.record.errors import RecordError


def may_replace(target: Path, is_own: Callable[[Path], bool]) -> bool:
    """Whether nothing is lost by putting a result at ``target``: nothing is there, an empty directory, or our own."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        return False
    return not target.exists() or not any(target.iterdir()) or is_own(target)


@contextmanager
def made_whole(target: Path, before: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """A temporary directory that becomes ``target`` when the block ends well, and vanishes when it does not.

    What was at ``target`` is replaced; ``before`` is called when all is ready to take its place. SIGTERM ends the block
    like SIGINT. Raises RecordError where nothing can be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    handler = signal.signal(signal.SIGTERM, _end)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        before()
        _put(temporary, target)
    except OSError as error:
        why = error.strerror or str(error)
        raise RecordError(f"{target} cannot be written: {why}; nothing half-written was kept") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        signal.signal(signal.SIGTERM, handler)


def _put(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError as error:
        old.rename(target)
        raise RecordError(f"{target} could not be replaced: {error.strerror}") from error
    shutil.rmtree(old, ignore_errors=True)


def set_aside(target: Path) -> Path:
    """Give what is at ``target`` another name, the first ``NAME.old``, ``NAME.old2`` ... that is free."""
    number = 1
    while (aside := target.with_name(f"{target.name}.old{number if number > 1 else ''}")).exists():
        number += 1
    return target.rename(aside)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
