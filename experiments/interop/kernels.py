"""Which machine asks which pairs, when kernels stand in the matrix: one for each kernel, two for a pair of kernels.

``linux@6.1`` with itself or with our own stack is asked in a machine that runs 6.1; ``linux@6.1`` with ``linux@6.12``
between two machines; our own stack with itself anywhere, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.interop.implementations import OF_A_KERNEL, Implementation

HERE = ""
"""The place of pairs that need no kernel of a virtual machine, when there is none."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one machine, or one pair of machines, asks."""

    place: str
    """``vm:6.12``, ``vm:6.1+6.12`` (the client's kernel first), or :data:`HERE`."""
    pairs: tuple[tuple[str, str], ...]
    """Names of client and server."""


def with_kernels(names: Sequence[str], kernels: Sequence[str]) -> list[str]:
    """``linux, userspace`` of the kernels 6.1 and 6.12 -> ``linux@6.1, linux@6.12, userspace``."""
    found: list[str] = []
    for name in names:
        found += [f"{name}@{kernel}" for kernel in kernels] if name in OF_A_KERNEL and kernels else [name]
    return list(dict.fromkeys(found))


def kernels_of(ends: Iterable[Implementation]) -> list[str]:
    """Words of the kernels that have to be booted, in order."""
    return list(dict.fromkeys(end.kernel for end in ends if end.kernel))


def parts(
    clients: Sequence[Implementation], servers: Sequence[Implementation]
) -> tuple[list[Part], dict[tuple[str, str], str]]:
    """What is asked where, and of the pairs that no machine can ask, why: names of client and server -> reason.

    A kernel of this machine (``linux``) and one of a virtual machine have no link between them.
    """
    kernels = kernels_of((*clients, *servers))
    anywhere = f"vm:{kernels[0]}" if kernels else HERE
    found: dict[str, list[tuple[str, str]]] = {f"vm:{kernel}": [] for kernel in kernels}
    nowhere: dict[tuple[str, str], str] = {}
    for client in clients:
        for server in servers:
            pair = client.name, server.name
            if kernels and (local := [end.name for end in (client, server) if _is_local(end)]):
                nowhere[pair] = (
                    f"{local[0]}: the kernel of this machine, beside those of virtual machines: name it by --kernels, "
                    "or run the matrix without"
                )
            else:
                found.setdefault(_place(client, server, anywhere), []).append(pair)
    return [Part(place, tuple(pairs)) for place, pairs in found.items() if pairs], nowhere


def _is_local(end: Implementation) -> bool:
    return end.name in OF_A_KERNEL


def _place(client: Implementation, server: Implementation, anywhere: str) -> str:
    kernels = list(dict.fromkeys(end.kernel for end in (client, server) if end.kernel))
    return f"vm:{'+'.join(kernels)}" if kernels else anywhere
