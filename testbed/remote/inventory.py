"""``hosts.toml``: the machines that the user has, each with the host key by which it is known.

::

    [hosts.lab]
    hostname = "192.0.2.7"
    user = "me"
    key = "~/.ssh/lab"
    host_key = "ssh-ed25519 AAAA..."

``./hosts.toml`` comes before ``~/.config/mptcp-testbed/hosts.toml``. A name that neither has is looked up in
``~/.ssh/config``, as far as paramiko reads that. There is no key for a password, on purpose.
"""

from __future__ import annotations

import dataclasses
import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.remote.place import parse_place
from testbed.remote.target import DIRECTORY, SSH_PORT, Target, split_host_key

FILE = "hosts.toml"
_MOST_JUMPS = 4


class Entry(BaseModel):
    """One machine of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    hostname: str | None = Field(None, min_length=1)
    port: int = Field(SSH_PORT, ge=1, le=65535)
    user: str | None = Field(None, min_length=1)
    key: str | None = Field(None, min_length=1)
    host_key: str | None = None
    clock: Literal["real", "virtual"] = "real"
    directory: str = Field(DIRECTORY, pattern=r"^(~/|/)[^\r\n]+$")
    jump: str | None = Field(None, min_length=1)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hosts: dict[str, Entry]


def inventory_files() -> tuple[Path, ...]:
    """Where hosts are looked for, the first to name one decides."""
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(FILE), configuration / "mptcp-testbed" / FILE


def read_inventory(path: Path) -> Mapping[str, Entry]:
    """The machines of one file, none when there is no file. Raises SpecificationError: file, key and fix."""
    try:
        document = _Document.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecificationError(f"{path}: {where}: {_advice(first['type'], first['msg'], where)}") from None
    for name, entry in document.hosts.items():
        if entry.host_key is not None:
            try:
                split_host_key(entry.host_key)
            except SpecificationError as error:
                raise SpecificationError(f"{path}: hosts.{name}.host_key: {error}") from None
    return document.hosts


def _advice(kind: str, message: str, where: str) -> str:
    if kind != "extra_forbidden":
        return message
    if where.count(".") < 2:
        return "there is no such key; machines are tables [hosts.NAME]"
    if where.endswith(".password"):
        return "passwords do not belong into files: use a key (ssh-keygen, ssh-copy-id) or the agent (ssh-add)"
    return f"there is no such key; the keys are {', '.join(Entry.model_fields)}"


def resolve(name: str, *, user: str | None = None, port: int | None = None, jumps: int = 0) -> Target:
    """The machine of that name, or address. ``user`` and ``port`` outrank what the files say.

    Raises SpecificationError for a file that is wrong, Unsupported for what of ssh_config cannot be followed.
    """
    if jumps > _MOST_JUMPS:
        raise SpecificationError(f"host {name}: more than {_MOST_JUMPS} jumps, or they lead in a circle")
    for path in inventory_files():
        if entry := read_inventory(path).get(name):
            return _of_entry(name, entry, user, port, jumps)
    return _of_ssh_config(name, user, port, jumps)


def of_configuration(
    name: str, found: Mapping[str, str | list[str]], *, host_key: str | None = None, jump: Target | None = None
) -> Target:
    """What ssh_config(5) says of a host, as ``paramiko.SSHConfig.lookup`` gives it (``vagrant ssh-config``, too)."""

    def word(key: str) -> str | None:
        value = found.get(key)
        return value if isinstance(value, str) else None

    keys = [Path(key).expanduser() for key in found.get("identityfile", [])]
    return Target(
        name=name,
        host=word("hostname") or name,
        port=int(word("port") or SSH_PORT),
        user=word("user") or getpass.getuser(),
        key=next((key for key in keys if key.is_file()), None),
        host_key=host_key,
        jump=jump,
    )


def _of_entry(name: str, entry: Entry, user: str | None, port: int | None, jumps: int) -> Target:
    return Target(
        name=name,
        host=entry.hostname or name,
        port=port or entry.port,
        user=user or entry.user or getpass.getuser(),
        key=Path(entry.key).expanduser() if entry.key else None,
        host_key=entry.host_key,
        clock=entry.clock,
        directory=entry.directory,
        jump=_named(entry.jump, jumps) if entry.jump else None,
    )


def _of_ssh_config(name: str, user: str | None, port: int | None, jumps: int) -> Target:
    import paramiko

    path = Path.home() / ".ssh" / "config"
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = paramiko.SSHConfig.from_text(text).lookup(name)
    except (OSError, UnicodeDecodeError, paramiko.SSHException) as error:
        raise SpecificationError(f"{path}: cannot be read: {error}") from None
    except ImportError as error:  # "Match exec" starts programs, by a library that is not ours
        raise Unsupported(f"{path}: {error}; describe {name} in {FILE} instead") from None
    if found.get("proxycommand"):
        raise Unsupported(f"{path}: {name} has a ProxyCommand; use ProxyJump, or describe it in {FILE} (key jump)")
    jump = found.get("proxyjump")
    through = _named(jump, jumps) if isinstance(jump, str) and jump != "none" else None
    target = of_configuration(name, found, jump=through)
    return dataclasses.replace(target, user=user or target.user, port=port or target.port)


def _named(jump: str, jumps: int) -> Target:
    place = parse_place(jump)
    return resolve(place.host, user=place.user, port=place.port, jumps=jumps + 1)
