"""A real sshd on loopback, of a test alone: own host key, port, authorized key and work directory; ended by pid.

It runs in the foreground as a child of the test, so nothing of the machine's configuration, users or services is
touched. Who logs in is the user that runs the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from testbed.orchestrator.process import PR_SET_PDEATHSIG
from testbed.orchestrator.run_identity import start_ticks
from testbed.remote.target import Target

_libc = ctypes.CDLL(None)

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd of root refuses to start without it; the distribution makes it when the service starts, which it need not."""


def new_key(path: Path) -> str:
    """A key pair: the private half in ``path``, the public one as in a .pub file."""
    key = Ed25519PrivateKey.generate()
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@dataclass(frozen=True)
class Server:
    """One that runs."""

    directory: Path
    port: int
    key: Path
    host_key: str
    pid: int

    @property
    def work(self) -> Path:
        """Where the testbed works 'there'."""
        return self.directory / "there"

    def target(self, **changes: object) -> Target:
        """How it is reached."""
        values: dict[str, object] = {
            "name": "lab",
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key": self.key,
            "host_key": self.host_key,
            "directory": str(self.work),
        }
        return Target(**(values | changes))  # type: ignore[arg-type]

    def inventory(self, **changes: object) -> str:
        """The same as hosts.toml."""
        target = self.target()
        values: dict[str, object] = {
            "hostname": target.host,
            "port": target.port,
            "user": target.user,
            "key": str(target.key),
            "host_key": target.host_key,
            "directory": target.directory,
        }
        words = [f"{key} = {value!r}" for key, value in (values | changes).items()]
        return "\n".join(["[hosts.lab]", *words, ""])

    def cut_connections(self) -> int:
        """Kill the server's side of every connection, as a dead line would end it; the listener stays. How many."""
        children = _children(self.pid)
        for child in children:
            for pid in (*_children(child), child):
                with contextlib.suppress(ProcessLookupError):
                    if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                        os.kill(pid, signal.SIGKILL)
        return len(children)


@contextlib.contextmanager
def running(directory: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """One on a free port."""
    directory.mkdir(parents=True, exist_ok=True)
    host_key = new_key(directory / "host_key")
    (directory / "authorized_keys").write_text(new_key(directory / "user_key") + "\n")
    port = _free_port()
    home = directory / "home"  # of its own: the real one's shell may read settings that take longer than the command
    home.mkdir(exist_ok=True)
    words = " ".join(f'"{name}={value}"' for name, value in {"HOME": home, **(environment or {})}.items())
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host_key",
        "AuthorizedKeysFile": directory / "authorized_keys",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # the directories above are pytest's
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AllowUsers": getpass.getuser(),
        "LogLevel": "ERROR",
        "SetEnv": words,
    }
    configuration = directory / "sshd_config"
    configuration.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    with _privilege_separation(), (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [program(), "-D", "-e", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_the_tests,
        )
        try:
            _answers(process, port, directory / "sshd.log")
            server = Server(directory, port, directory / "user_key", host_key, process.pid)
            yield server
            server.cut_connections()
        finally:
            process.terminate()
            process.wait(10)
            _end_jobs(directory)


def programs(folder: Path, scripts: dict[str, str]) -> Path:
    """Programs that stand in for those of the machine, for the PATH of a server."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def program() -> str:
    """sshd wants to be called by its absolute path."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    assert found is not None
    return found


@contextlib.contextmanager
def _privilege_separation() -> Iterator[None]:
    if os.geteuid() == 0 and not PRIVILEGE_SEPARATION.exists():
        PRIVILEGE_SEPARATION.mkdir(0o755)  # stays: another test's server may rely on it by now
    yield


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"sshd ended with {process.returncode}: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.settimeout(5)
            if probe.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not answer: {log.read_text()}")


def _end_with_the_tests() -> None:
    """Also when they are killed (prctl(2))."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_jobs(directory: Path) -> None:
    """What was started detached outlives its server; of a test that failed it must not outlive the test."""
    for file in directory.rglob("pid"):
        pid, began, shell, _ = map(int, file.read_text().split())
        if start_ticks(pid) == began:
            os.killpg(shell, signal.SIGKILL)  # it leads the session that was made for the job


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []


def other_host_key(directory: Path) -> str:
    """One that no server of ours has."""
    return new_key(directory / "another_host_key")
