"""What ``testbed matrix`` asks, as a value: the implementations that were named, the tests, how often."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError

if TYPE_CHECKING:
    from experiments.interop import Implementation
    from testbed.orchestrator.adapters import Adapter
    from testbed.orchestrator.spec import Experiment

IN_VIRTUAL_TIME = ("userspace", "userspace:rfc8684", "userspace:mptcp.org", "userspace-tcp")
"""What is compared in the simulator when nothing else is said."""
RETRIES = 3
"""Of a trial that the testbed itself disturbed: with one trial to a cell, each that is lost is a hole in the grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """As they were typed."""

    implementations: str = ""
    clients: str = ""
    servers: str = ""
    tests: str = ""
    adapters: Sequence[str] = ()
    kernels: Sequence[str] = ()
    """``linux`` and ``linux-tcp`` stand for one of each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who is asked what."""

    rows: tuple[Implementation, ...]
    columns: tuple[Implementation, ...]
    tests: Sequence[str]
    repeat: int
    seed: int
    capture: bool
    in_simulator: bool = False

    def experiment(self, pairs: Collection[tuple[str, str]] | None = None) -> Experiment:
        """All of it, or of these pairs of client and server. Raises Unsupported when not one cell can be asked."""
        from experiments import interop

        try:
            return interop.build(
                self.rows,
                self.columns,
                interop.chosen_tests(self.tests or ["tests", "measurements"]),
                repetitions=self.repeat,
                seed=self.seed,
                capture=self.capture,
                retries=1 if self.in_simulator else RETRIES,
                pairs=pairs,
            )
        except interop.NothingToAskError as error:
            raise Unsupported(str(error)) from None


def asked(words: Words, backend: str, *, repeat: int, seed: int, capture: bool) -> Asked:
    """``backend``: ``sim`` for any simulator, ``mininet``, or that of another machine; empty: machines of the kernels.

    Raises SpecificationError that lists near names.
    """
    from experiments.interop import DEFAULT_IMPLEMENTATIONS
    from experiments.interop.kernels import with_kernels

    adapters = _loaded(words.adapters)
    usual = [*(IN_VIRTUAL_TIME if backend == "sim" else DEFAULT_IMPLEMENTATIONS), *adapters]
    rows = with_kernels(split(words.clients) or split(words.implementations) or usual, words.kernels)
    columns = with_kernels(split(words.servers) or split(words.implementations) or usual, words.kernels)
    known = {name: _implementation(name, adapters, backend) for name in dict.fromkeys([*rows, *columns])}
    clients, servers = (tuple(known[name] for name in dict.fromkeys(names)) for names in (rows, columns))
    _check_kernels(clients, servers, backend)
    return Asked(
        rows=clients,
        columns=servers,
        tests=split(words.tests),
        repeat=repeat,
        seed=seed,
        capture=capture,
        in_simulator=backend == "sim",
    )


def split(text: str) -> list[str]:
    """Names with commas between."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if text and not words:
        raise SpecificationError(f"{text!r} names nothing: write names with commas between, or leave the option out")
    return words


def has_kernels(words: Words) -> bool:
    """Whether somebody named a kernel of a virtual machine."""
    return bool(words.kernels) or any("@" in text for text in (words.implementations, words.clients, words.servers))


def _loaded(texts: Sequence[str]) -> Mapping[str, Adapter]:
    from testbed.orchestrator.adapters import load_adapter

    loaded = [load_adapter(text) for text in texts]
    adapters = {each.name: each for each in loaded}
    if len(adapters) < len(loaded):
        raise SpecificationError(
            f"two of the {len(loaded)} adapters have the same name; the names are "
            f"{', '.join(each.name for each in loaded)}: give one another name (NAME=COMMAND, or 'name' in its file)"
        )
    return adapters


def _implementation(name: str, adapters: Mapping[str, Adapter], backend: str) -> Implementation:
    from experiments import interop

    ends = {each.name: each.endpoint() for each in adapters.values()}
    found = interop.implementation(name, ends)
    if name in adapters:
        about = adapters[name]
        found = dataclasses.replace(found, summary=about.summary or found.summary, url=about.url or "")
    return found if found.obstacle else dataclasses.replace(found, obstacle=_obstacle(found, backend))


def _check_kernels(clients: Iterable[Implementation], servers: Iterable[Implementation], backend: str) -> None:
    """A named kernel is booted for it, so the place is said already: of a pair the client's is the first. Raises
    SpecificationError."""
    from experiments.interop.kernels import kernels_of

    if not backend or backend == "sim":
        return
    kind, _, rest = backend.partition(":")
    word = rest.removesuffix("/mininet")
    booted = [word] if "/" in word else word.split("+")
    for ends, there, side in ((clients, booted[0], "client"), (servers, booted[-1], "server")):
        for kernel in kernels_of(ends):
            if kind != "vm" or kernel not in (there, word):
                raise SpecificationError(
                    f"linux@{kernel}: --backend {backend} has another kernel at the {side}; leave --backend away, and "
                    "it is booted"
                )


def _obstacle(found: Implementation, backend: str) -> str:
    """Why an implementation cannot run on that backend; empty: it can, or only the run will tell."""
    from testbed.orchestrator import features

    end = found.endpoint
    if backend == "sim":
        return "" if end.is_userspace else f"{found.name}: needs real kernels (--backend mininet)"
    if backend == "mininet" and end.implementation == "linux":
        feature = features.mptcp()
        return "" if feature.available else f"{found.name}: {feature.detail}; {feature.remedy}"
    return ""
