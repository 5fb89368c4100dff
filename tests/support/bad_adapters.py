"""Adapters that break the contract, each in its own way: ``python bad_adapters.py WAY``. Standard library only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

WAY = sys.argv[1]
ROLE, PORT = os.environ["TESTBED_ROLE"], int(os.environ["TESTBED_PORT"])


def say(word: str) -> None:
    os.write(3, word.encode() + b"\n")


def connection() -> socket.socket:
    """TCP, in order."""
    if ROLE == "client":
        return socket.create_connection((os.environ["TESTBED_REMOTE_ADDRESS"], PORT))
    listener = socket.create_server(("", PORT))
    say("LISTENING")
    return listener.accept()[0]


def copy(sock: socket.socket, limit: int) -> None:
    while limit > 0 and (data := sock.recv(65536)):
        os.write(1, data)
        limit -= len(data)


def main() -> None:
    if WAY != "takes-any-test" and "no-such" in os.environ["TESTBED_TEST"]:
        sys.exit(127)
    if WAY == "takes-any-test":
        sys.exit(0)
    if WAY == "never-listens":
        time.sleep(600)
    if WAY == "gives-up":
        print("no licence found", file=sys.stderr)
        sys.exit(3)
    if WAY == "refuses":
        print("this stack has no such mechanism", file=sys.stderr)
        sys.exit(127)
    if WAY == "refuses-late":
        connection()
        sys.exit(127)
    if WAY == "dies":
        copy(connection(), 100_000)
        os.kill(os.getpid(), signal.SIGSEGV)
    if WAY == "floods":
        sock = connection()
        for number in range(2000):
            os.write(2, b"%08d %s\n" % (number, b"x" * 4000))
        copy(sock, 1 << 40)
    if WAY == "closes-output":
        sock = connection()
        say("CONNECTED")
        os.close(1)
        while sock.recv(65536):
            pass
    if WAY == "stays":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        sock = connection()
        copy(sock, 1 << 40)
        sock.close()
        os.close(1)
        time.sleep(600)
    if WAY == "lies":
        copy(connection(), 1 << 40)
        Path(os.environ["TESTBED_FACTS"]).write_text('{"subflows": 2}')
    if WAY == "denies":
        copy(connection(), 1 << 40)
        Path(os.environ["TESTBED_FACTS"]).write_text('{"in_force": {"congestion_control": "its own"}}')


main()
