"""What ``--backend`` says of another machine: ``ssh:[USER@]HOST[:PORT]``, ``vagrant[:MACHINE]`` or ``vm:KERNEL``, each
with ``/sim`` or without.

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
_FILES = ("deb:", "bz:", "bzimage:")
"""With one of these in front, a kernel is a file, whose name may have a plus (as versions of packages do)."""


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
    kind: Literal["ssh", "vagrant", "vm"]
    place: Place | None
    """None: the primary machine of the Vagrantfile, or a machine that is booted for the run."""
    backend: Literal["mininet", "sim"]
    """What runs there."""
    kernels: tuple[str, ...] = ()
    """Of ``vm``: what is booted; two: the client's machine and the server's."""


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
    if kind == "vm":
        return _parse_machine(text, rest)
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
        raise SpecificationError(
            f"--backend {text}: it is ssh:HOST, vagrant[:MACHINE] or vm:KERNEL, with /sim for the simulator"
        )
    try:
        return Elsewhere(text, "ssh", parse_place(name), there)
    except SpecificationError as error:
        raise SpecificationError(f"--backend {text}: {error}") from None


def _parse_machine(text: str, rest: str) -> Elsewhere:
    """A kernel may be a path or a package, which have slashes (and anything else) of their own."""
    name = rest.removesuffix("/sim").removesuffix("/mininet")
    there: Literal["mininet", "sim"] = "sim" if rest.endswith("/sim") else "mininet"
    is_file = "/" in name or name.startswith(_FILES)
    kernels = (name,) if is_file else tuple(name.split("+"))
    if not all(kernels) or len(kernels) > 2:
        raise SpecificationError(
            f"--backend {text}: it is vm:KERNEL (6.12, newest, the path of a bzImage, a fetched name), or "
            "vm:A+B with the kernel of the client and that of the server"
        )
    if len(kernels) == 2 and there == "sim":
        raise SpecificationError(f"--backend {text}: two machines are for real kernels; leave /sim away")
    return Elsewhere(text, "vm", None, there, tuple(_kernel_word(kernel) for kernel in kernels))


def _kernel_word(word: str) -> str:
    """A bare path is that of a bzImage."""
    return f"bzimage:{word}" if "/" in word and ":" not in word.partition("/")[0] else word
