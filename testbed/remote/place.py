"""What ``--backend`` says of another machine: ``ssh:[USER@]HOST[:PORT][/sim]`` and ``vagrant[:MACHINE][/sim]``.

Real kernels (mininet) are what one goes to another machine for, so they are what runs there unless ``/sim`` is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from testbed.orchestrator.spec import SpecificationError

_HOST = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)"
_PLACE = re.compile(_HOST + r"(?::(?P<port>[0-9]{1,5}))?")
_MACHINE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """``[USER@]HOST[:PORT]``."""

    host: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A whole ``--backend``."""

    text: str
    kind: Literal["ssh", "vagrant"]
    place: Place | None
    """None: the primary machine of the Vagrantfile."""
    backend: Literal["mininet", "sim"]
    """What runs there."""


def parse_place(text: str) -> Place:
    """Raises SpecificationError. No name that begins with a dash, or that a shell could read otherwise, passes."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise SpecificationError(f"{text!r} is no machine: it is [USER@]HOST[:PORT], with IPv6 as [::1]")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise SpecificationError(f"{text!r}: there is no port {port}")
    return Place(match["host"].strip("[]"), match["user"], port)


def parse_backend(text: str) -> Elsewhere:
    """Raises SpecificationError that says what is meant."""
    kind, _, rest = text.partition(":")
    if "/" in kind:  # vagrant/sim
        kind, _, rest = text.partition("/")
        rest = f"/{rest}"
    name, slash, backend = rest.partition("/")
    if slash and backend not in ("sim", "mininet"):
        raise SpecificationError(f"--backend {text}: what runs there is /mininet or /sim, not /{backend}")
    there: Literal["mininet", "sim"] = "sim" if backend == "sim" else "mininet"
    if kind == "vagrant":
        if name and not _MACHINE.fullmatch(name):
            raise SpecificationError(f"--backend {text}: {name!r} is no name of a machine in the Vagrantfile")
        return Elsewhere(text, "vagrant", Place(name) if name else None, there)
    if kind != "ssh" or not name:
        raise SpecificationError(f"--backend {text}: it is ssh:HOST or vagrant[:MACHINE], with /sim for the simulator")
    try:
        return Elsewhere(text, "ssh", parse_place(name), there)
    except SpecificationError as error:
        raise SpecificationError(f"--backend {text}: {error}") from None
