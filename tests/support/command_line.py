"""The command line in this process: what it prints and how it ends, without the third of a second that a start takes.

That the program starts, and what it imports to do so, is tested by starting it (tests/architecture, and here and there
a command of its own process).
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

from testbed.cli.main import main


def testbed(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """As ``testbed WORDS`` on a pipe, in ``cwd``."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["testbed", *words]),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


testbed.__test__ = False  # type: ignore[attr-defined]
