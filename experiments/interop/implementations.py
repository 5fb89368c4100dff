"""Who can stand in a row and a column of the matrix: a word of the command line -> what an endpoint is told."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.ingredients import RENO
from testbed.orchestrator.interop import InteropImplementation
from testbed.orchestrator.spec import Endpoint, SpecificationError

PROFILES = ("linux", "mptcp.org", "ios", "rfc8684", "rfc2018", "split-segment", "dense")
"""Of our own stack, those that keep to RFC 8684; every name that ``testbed list policies`` has works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One of them."""

    name: str
    summary: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    speaks_mptcp: bool = True
    url: str = ""
    kernel: str = ""
    """Word of the kernel that it is of, booted as a virtual machine; empty: that of the machine that runs the cell, or
    none at all."""
    obstacle: str = ""
    """Why it cannot stand in any cell; empty: it can."""

    @property
    def word(self) -> str:
        """In the name of a variant."""
        return re.sub(r"[^a-z0-9._-]", "-", self.name.replace(":", ".").lower())

    def shown(self) -> InteropImplementation:
        """As the run keeps it."""
        return InteropImplementation(name=self.name, summary=self.summary, url=self.url)


_ENDS: tuple[Implementation, ...] = (
    Implementation(
        name="linux",
        summary="MPTCP of the kernel that the run was carried out on",
        endpoint=Endpoint(implementation="linux", congestion_control=RENO),
        url="https://www.mptcp.dev",
    ),
    Implementation(
        name="linux-tcp",
        summary="plain TCP of that kernel",
        endpoint=Endpoint(implementation="linux-tcp", congestion_control=RENO),
        speaks_mptcp=False,
        url="https://www.kernel.org",
    ),
    Implementation(
        name="userspace",
        summary="MPTCP of our own stack, with the options as Linux places them",
        endpoint=Endpoint(implementation="userspace", congestion_control=RENO),
    ),
    Implementation(
        name="userspace-tcp",
        summary="plain TCP of our own stack",
        endpoint=Endpoint(implementation="userspace-tcp", congestion_control=RENO),
        speaks_mptcp=False,
    ),
)
NAMED: Mapping[str, Implementation] = {each.name: each for each in _ENDS}
OF_A_KERNEL = ("linux", "linux-tcp")
"""Those that ``@KERNEL`` can follow."""


def implementation(name: str, adapters: Mapping[str, Endpoint] | None = None) -> Implementation:
    """The implementation of that name: one of :data:`NAMED`, ``userspace:PROFILE``, ``linux@KERNEL``, or an adapter.

    Raises SpecificationError that lists near names.
    """
    if adapters and name in adapters:
        return Implementation(name=name, summary="started through its adapter", endpoint=adapters[name])
    word, _, profile = name.partition(":")
    if word == "userspace" and profile:
        try:
            endpoint = dataclasses.replace(NAMED["userspace"].endpoint, profile=profile)
        except ValueError as error:
            raise SpecificationError(f"implementation {name}: {error}") from None
        return Implementation(name=name, summary=f"our own stack with the option policy {profile}", endpoint=endpoint)
    if name in NAMED:
        return NAMED[name]
    word, _, kernel = name.partition("@")
    if word in OF_A_KERNEL and kernel:
        summary = f"{NAMED[word].summary.partition(' of ')[0]} of Linux {kernel}, in a virtual machine"
        return dataclasses.replace(NAMED[word], name=name, summary=summary, kernel=kernel)
    known = [*NAMED, *(f"userspace:{each}" for each in PROFILES), *(adapters or ())]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    raise SpecificationError(f"there is no implementation {name!r}; near: {', '.join(near)} (adapters: --adapter)")
