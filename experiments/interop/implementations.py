"""Who can stand in a row and a column of the matrix: a word of the command line -> what an endpoint is told."""

from __future__ import annotations

import dataclasses
import difflib
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
    obstacle: str = ""
    """Why it cannot stand in any cell; empty: it can."""

    @property
    def word(self) -> str:
        """In the name of a variant."""
        return self.name.replace(":", ".").replace("@", "-")

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


def implementation(name: str, adapters: Mapping[str, Endpoint] | None = None) -> Implementation:
    """The implementation of that name: one of :data:`NAMED`, ``userspace:PROFILE``, ``linux@RELEASE``, or an adapter.

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
    word, _, release = name.partition("@")
    if word in ("linux", "linux-tcp") and release:
        return Implementation(
            name=name,
            summary=f"{NAMED[word].summary.partition(' of ')[0]} of Linux {release}, in a virtual machine",
            speaks_mptcp=NAMED[word].speaks_mptcp,
            obstacle=f"{name}: virtual machines are not part of this version",
        )
    known = [*NAMED, *(f"userspace:{each}" for each in PROFILES), *(adapters or ())]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    raise SpecificationError(f"there is no implementation {name!r}; near: {', '.join(near)} (adapters: --adapter)")
