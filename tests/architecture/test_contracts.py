"""The house as a test: who may import whom, style, types, and what a start-up may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [
        ("lint-imports", "--no-cache"),
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
    ],
    ids=lambda argv: argv[0] + ("-format" if "format" in argv else ""),
)
def test_the_checker_finds_nothing(argv: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(argv[0])

    result = _run(str(program), *argv[1:])

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "argv", [("--help",), ("run", "--help"), ("list", "--help"), ("analyze", "--help"), ("options", "--help")]
)
def test_help_starts_without_the_heavy_libraries(argv: tuple[str, ...]) -> None:
    code = (
        "import sys; sys.argv=['testbed', *sys.argv[1:]]\n"
        "from testbed.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'pandas', 'pyarrow', 'scipy', 'numpy', 'mininet', 'dask', 'distributed', 'paramiko', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )

    result = _run(sys.executable, "-c", code, *argv)

    assert result.returncode == 0, result.stdout + result.stderr
