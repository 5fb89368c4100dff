"""Care of a history: ``python -m analysis.history check|compact HISTORY``.

``check`` reads every file and compares it with the digest it was written under, and names what is not the history's
own; ``compact`` joins the nights of each month and machine into one file, so that a series is read some ten times
faster. Both may run while a night is appended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.history.store import History
from testbed.record import RecordError


def main(words: Sequence[str]) -> int:
    """0: done; 3: something is damaged, or could not be written (one line on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m analysis.history", description="Check or compact a history.")
    parser.add_argument("action", choices=("check", "compact"))
    parser.add_argument("history", type=Path)
    given = parser.parse_args(words)
    history = History(given.history)
    try:
        if not given.history.is_dir():
            raise RecordError(f"{given.history} is no directory; a history is what `testbed nightly` writes")
        if given.action == "compact":
            for path in history.compact():
                print(path)
        else:
            history.check()
            print(f"{len(history.manifests())} nights, {len(history.events())} events, every file as it was written")
            for path in history.foreign():
                print(f"not the history's own, or left of a night that was not finished: {path}")
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
