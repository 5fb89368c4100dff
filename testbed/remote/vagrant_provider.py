"""Machines of the Vagrantfile: ``vagrant up`` starts them, and they stay up until the user halts them.

Vagrant's own SSH settings switch the check of the host key off. Here it is read once over ``vagrant ssh``, for each
machine that Vagrant makes, and pinned from then on.

Source: Vagrant's machine-readable output, ``timestamp,target,type,data``; a comma in data is %!(VAGRANT_COMMA).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import paramiko

from testbed.orchestrator import environment, process
from testbed.orchestrator.errors import CommandFailed, InvalidTrial, NotReady, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.record import files
from testbed.remote.inventory import of_configuration
from testbed.remote.provider import Say
from testbed.remote.target import Target, split_host_key

UP_S = 3600.0
"""A first start downloads the box and makes the environment; without KVM the machine itself is slow."""
ASK_S = 120.0
HOST_KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"
_GRACE_S = 60.0
"""Vagrant takes down what it was doing when it is interrupted."""


class VagrantProvider:
    """One machine; ``None``: the one that ``vagrant up`` starts by itself."""

    ends_with_the_run = False

    def __init__(self, machine: str | None, root: Path = environment.ROOT) -> None:
        self._wanted = machine
        self._root = root
        self._log = ""

    def up(self, say: Say) -> Target:
        """Start it unless it runs. Raises Unsupported when Vagrant is missing or fails, with its last words."""
        if not (self._root / "Vagrantfile").is_file():
            raise Unsupported(f"there is no Vagrantfile in {self._root}")
        states = self._states()
        machine = self._machine(states)
        if states[machine]["state"] != "running":
            say(f"vagrant up {machine} (minutes the first time)")
            self._vagrant("up", machine, "--no-color", deadline_s=UP_S)
            states = self._states()
        configuration = paramiko.SSHConfig.from_text(self._vagrant("ssh-config", machine))
        target = of_configuration(f"vagrant:{machine}", configuration.lookup(_only_host(configuration)))
        return replace(target, host_key=self._host_key(machine, states[machine].get("provider-name", "")))

    def down(self) -> None:
        """``vagrant halt``."""
        states = self._states()
        machine = self._machine(states)
        if states[machine]["state"] == "running":
            self._vagrant("halt", machine, "--no-color", deadline_s=UP_S)

    def why_gone(self) -> str | None:
        """It is not ours: whether it is gone, or the connection, cannot be told from here."""
        return None

    def logs(self) -> str:
        """What Vagrant said last."""
        return self._log

    # --- inside ---

    def _states(self) -> Mapping[str, Mapping[str, str]]:
        """Machine -> ``state``, ``provider-name`` and what else is said of it, in the order of the Vagrantfile."""
        found: dict[str, dict[str, str]] = {}
        for line in self._vagrant("status", "--machine-readable").splitlines():
            row = line.split(",", 3)
            if len(row) == 4 and row[1]:
                found.setdefault(row[1], {})[row[2]] = row[3]
        states = {name: facts for name, facts in found.items() if "state" in facts}
        if not states:
            raise Unsupported(f"the Vagrantfile in {self._root} defines no machine that 'vagrant status' knows")
        return states

    def _machine(self, states: Mapping[str, Mapping[str, str]]) -> str:
        """The one asked for; else one that runs, else the first."""
        if self._wanted is None:
            running = [name for name, facts in states.items() if facts["state"] == "running"]
            return (running or list(states))[0]
        if self._wanted not in states:
            raise SpecificationError(
                f"--backend vagrant:{self._wanted}: the Vagrantfile has no such machine; it has {', '.join(states)}"
            )
        return self._wanted

    def _host_key(self, machine: str, provider: str) -> str:
        """The pinned one; read now when this machine has none yet."""
        pinned, identity = self._pin_file(machine), self._identity(machine, provider)
        try:
            stored = json.loads(pinned.read_bytes())
            if stored["identity"] == identity:
                return str(stored["host_key"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass
        said = self._vagrant("ssh", machine, "--no-tty", "-c", f"cat {HOST_KEY_FILE}")
        key = next((line for line in said.splitlines() if line.startswith("ssh-")), "")
        try:
            split_host_key(key)
        except SpecificationError as error:
            raise InvalidTrial(f"vagrant:{machine}: {HOST_KEY_FILE} there is no host key: {error}") from None
        pinned.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine, "root": str(self._root), "identity": identity, "host_key": key}
        files.write_atomically(pinned, json.dumps(document, indent=1).encode() + b"\n")
        return key

    def _identity(self, machine: str, provider: str) -> str:
        """What changes when the machine is made anew: the id that Vagrant keeps of it."""
        data = Path(os.environ.get("VAGRANT_DOTFILE_PATH") or self._root / ".vagrant")
        try:
            return (data / "machines" / machine / provider / "id").read_text().strip()
        except OSError:
            return ""

    def _pin_file(self, machine: str) -> Path:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        digest = hashlib.sha256(f"{self._root}\0{machine}".encode()).hexdigest()[:16]
        return state / "mptcp-testbed" / "vagrant" / f"{machine}-{digest}.json"

    def _vagrant(self, *words: str, deadline_s: float = ASK_S) -> str:
        """Its standard output. Output goes to files: what Vagrant starts may keep a pipe open."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            settings = {"VAGRANT_CWD": str(self._root), "VAGRANT_CHECKPOINT_DISABLE": "1"}
            argv: Sequence[str] = ("vagrant", *words)
            vagrant = process.start(argv, environment=settings, stdout=out, stderr=err)
            try:
                return vagrant.succeed(deadline_s)
            except CommandFailed:
                raise Unsupported(f"'vagrant {' '.join(words)}' fails: {_why(out, err)}") from None
            except NotReady as error:
                raise Unsupported(f"{error}; 'vagrant {words[0]}' by hand tells more") from None
            finally:
                vagrant.stop(_GRACE_S)
                self._log = out.read_text(errors="replace") + err.read_text(errors="replace")


def _why(out: Path, err: Path) -> str:
    """The first line of the error: machine-readable output has it as a row, the other stands on standard error."""
    rows = (line.split(",", 4) for line in out.read_text(errors="replace").splitlines())
    told = [row[4] for row in rows if row[2:4] == ["ui", "error"] and len(row) == 5]
    lines = [*"".join(told).split("\\n"), *err.read_text(errors="replace").splitlines()]
    first = next((line.strip() for line in lines if line.strip()), "it does not say why")
    return first.replace("%!(VAGRANT_COMMA)", ",")


def _only_host(configuration: paramiko.SSHConfig) -> str:
    names = [name for name in configuration.get_hostnames() if name != "*"]
    if len(names) != 1:
        raise InvalidTrial(f"'vagrant ssh-config' tells of {len(names)} machines instead of one")
    return str(names[0])
