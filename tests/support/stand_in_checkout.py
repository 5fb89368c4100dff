"""A checkout of two files whose ``tb`` behaves as the real one does towards ``testbed.remote``, in milliseconds.

``tb run`` says what ``testbed run --messages`` says, waits at gates (FIFOs) that the test opens, ends with 130 at
SIGTERM, goes on with ``--resume``, and leaves a real run directory: a copy of one that was made here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from testbed.remote.checkout import Checkout
from testbed.remote.trees import Entry

TB = (
    f"#!{sys.executable} -IS\n"
    + r"""
import json, os, pathlib, shutil, signal, sys, time
made = pathlib.Path(os.environ["STAND_IN"])
with (made / "calls").open("a") as calls:
    by = ["as root"] if "BY_SUDO" in os.environ else []
    print(sys.argv[1], *[word for word in sys.argv[2:] if word == "--resume"], *by, file=calls)
if sys.argv[1] == "setup":
    if (made / "broken").exists():
        sys.exit("tb: error: Python 3.11 or newer is needed")
    pathlib.Path(".venv/bin").mkdir(parents=True, exist_ok=True)
    link = pathlib.Path(".venv/bin/python")
    link.exists() or link.symlink_to(sys.executable)
    sys.exit(0)
if sys.argv[1] == "doctor":
    obstacle = "root: effective user 1" if (made / "no-root").exists() else None
    print(json.dumps({"obstacle": obstacle, "features": [{"name": "netem", "available": False}]}))
    sys.exit(4 if obstacle else 0)
if (made / "refuses").exists():
    print("testbed: UNSUPPORTED: no MPTCP here", file=sys.stderr)
    sys.exit(4)
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
path = out / "quickstart" / "20260101T000000Z-00000000"
path.mkdir(parents=True, exist_ok=True)
done = path / "done"

def stopped(number, frame):
    print("testbed: stopped by the user", file=sys.stderr)
    sys.exit(130)

signal.signal(signal.SIGTERM, stopped)

def say(**message):
    print(json.dumps(message), flush=True)

before = int(done.read_text()) if done.exists() else 0
say(kind="run", path=str(path), planned=3, remaining=3 - before)
for number in range(before, 3):
    say(kind="trial", number=number, variant="v", repetition=number, expected_s=1.0)
    try:
        (made / f"gate{number}").read_text()  # until the test lets it pass
    except FileNotFoundError:
        pass
    done.write_text(str(number + 1))
    say(kind="ended", number=number, variant="v", repetition=number, verdict="VALID", reason="", goodput_bit_s=1.0,
        duration_s=1.0)
shutil.rmtree(path)
shutil.copytree(made / "run", path)
if (made / "alters").exists():
    (path / "flows.parquet").write_bytes(b"altered")
say(kind="done", path=str(path), code=0)
"""
)


def stand_in(version: str = "1") -> Checkout:
    """Another version is another checkout with the same environment."""
    entries = (Entry("tb", executable=True, content=TB.encode()), Entry("version", content=version.encode()))
    return Checkout(entries, f"stand-in-{version}", "environment-1", dirty=True, untracked=("new.py", "other.py"))


def let_pass(gate: Path) -> None:
    """Open a gate for all who wait at it or come later; does not wait for anybody."""
    descriptor = os.open(gate, os.O_RDWR)  # of a FIFO this wakes the readers, and the end of file follows at its close
    gate.unlink()
    os.close(descriptor)


def calls(made: Path) -> list[str]:
    """What ``tb`` was called for since the last time."""
    file = made / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.write_text("")
    return lines
