"""A program in QEMU's place: reads the same words, writes a console, and answers as a guest's SSH server would."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

PROGRAM = r"""
import os, socket, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("QEMU emulator version 0")
    sys.exit(0)
value = lambda option: words[words.index(option) + 1]
here = os.path.dirname(os.path.realpath(sys.argv[0]))
number = sum(name.startswith("start.") for name in os.listdir(here))
with open(f"{here}/start.{number}", "w") as file:
    file.write("\n".join(words))
plan = open(f"{here}/plan").read().split()
what = plan[min(number, len(plan) - 1)]
console = open(value("-serial").removeprefix("file:"), "a", buffering=1)
if what == "init":
    console.write("testbed: reached init\n")
    sys.exit(0)
if what == "panics":
    console.write("Kernel panic - not syncing: no root\n")
    sys.exit(0)
if what == "refuses":
    print("qemu-system-x86_64: no such machine", file=sys.stderr)
    sys.exit(1)
if what == "aborts":
    os.abort()
port = int(value("-netdev").split("127.0.0.1:")[1].split("-")[0])
server = socket.create_server(("127.0.0.1", port))
if "-daemonize" in words:
    reading, writing = os.pipe()
    if os.fork():
        os.read(reading, 1)
        os._exit(0)
    os.setsid()
    with open(value("-pidfile"), "w") as file:
        file.write(f"{os.getpid()}\n")
    os.write(writing, b"x")
if what == "answers":
    console.write("testbed: 0 starts sshd\r\n")
while True:
    connection, _ = server.accept()
    connection.sendall(b"SSH-2.0-fake\r\n")
    connection.close()
"""


def install(directory: Path, *plan: str) -> Path:
    """Put it, and a busybox of sorts, into ``directory``, which goes first in PATH. ``plan``: what each start does.

    answers, silent (no word on the console), panics, refuses (an error of QEMU), aborts, init (reached).
    """
    directory.mkdir()
    (directory / "plan").write_text(" ".join(plan))
    program = directory / "qemu-system-x86_64"
    program.write_text(f"#!{sys.executable} -SE\n{PROGRAM}")
    busybox = directory / "busybox"
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    busybox.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + header + struct.pack("<I", 1) + bytes(52))
    for path in (program, busybox):
        path.chmod(0o755)
    return directory


def starts(directory: Path) -> list[list[str]]:
    """The words of each start so far."""
    found = sorted(directory.glob("start.*"), key=lambda path: int(path.suffix[1:]))
    return [path.read_text().split("\n") for path in found]
