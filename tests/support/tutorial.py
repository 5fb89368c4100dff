"""A tutorial in Markdown whose code runs: its blocks in order, and what they show put behind them.

A block ``sh`` holds commands of the testbed, a block ``python`` is a cell of a notebook: what it prints, and the value
of its last line, stand in the block ``text`` behind it. A cell below ``<!-- needs NAME -->`` is skipped without that
library.

``python tests/support/tutorial.py docs/howto/analyse-with-pandas.md`` writes the outputs anew.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from command_line import testbed

_BLOCK = re.compile(r"^```(?P<kind>sh|python|text)\n(?P<text>.*?)^```\n", re.DOTALL | re.MULTILINE)
_NEEDS = re.compile(r"<!-- needs (\w+) -->\n+\Z")
_VARYING = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}"), "20260101T120000Z-0123abcd"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,12}Z"), "2026-01-01T12:00:00.000Z"),
)
"""Times of day, the digest of the whole experiment; and what stands for them."""


def rewritten(tutorial: str, cwd: Path) -> str:
    """The tutorial with what its blocks really show, carried out in the directory ``cwd``."""
    parts: list[str] = []
    names: dict[str, Any] = {"__name__": "tutorial"}
    position, is_old = 0, False
    with contextlib.chdir(cwd):
        for block in _BLOCK.finditer(tutorial):
            prose, kind, text = tutorial[position : block.start()], block["kind"], block["text"]
            position = block.end()
            if kind == "text" and is_old and not prose.strip():
                continue
            parts.append(prose + block[0])
            needs = _NEEDS.search(prose)
            is_old = kind == "python" and (needs is None or importlib.util.find_spec(needs[1]) is not None)
            if kind == "sh":
                _carry_out(text)
            elif is_old:
                shown = _masked(_shown(text, names))
                parts += [f"\n```text\n{shown}```\n"] if shown else []
    return "".join(parts) + tutorial[position:]


def _carry_out(commands: str) -> None:
    for line in commands.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "testbed", line
            result = testbed(*words[1:])
            assert result.returncode in (0, 1), (line, result.stderr)


def _shown(cell: str, names: dict[str, Any]) -> str:
    """What a notebook would show below the cell, as text."""
    statements = ast.parse(cell).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(repr(value))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _masked(text: str) -> str:
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


if __name__ == "__main__":
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as directory:
        page.write_text(rewritten(page.read_text(), Path(directory)))
