"""Scripts against every receiver: what a scripted peer says, who hears it, and what is found of each.

A case is a script of a few segments; the receivers are this kernel and our stack by the rules of three. What is found
is exact, since the script says each octet: a number that differs means that the receiver does something else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import MS, SECOND
from testbed.orchestrator.claim import Speaks
from testbed.orchestrator.spec import Endpoint, Expectation, Experiment, Flow, PathManager, Script, Variant
from topologies import middlebox
from topologies.link_profile import LinkProfile
from topologies.model import Topology
from topologies.two_path import two_path

SCRIPT = Endpoint(implementation="script")
RECEIVERS: Mapping[str, Endpoint] = {
    "linux": Endpoint(implementation="linux"),
    "linux-rules": Endpoint(implementation="userspace", receiver="linux"),
    "rfc8684": Endpoint(implementation="userspace", receiver="rfc8684"),
    "holding": Endpoint(implementation="userspace", receiver="holding"),
}
"""Who is asked: this kernel, and our stack by the rules of three."""
IN_WORDS: Mapping[str, str] = {
    "linux": "Linux",
    "linux-rules": "our stack with Linux's rules",
    "rfc8684": "our stack with the RFC's rules",
    "holding": "our stack with holding rules",
    "discarding": "our stack with discarding rules",
    "bounded": "our stack with room for 16 mappings",
    "older-text": "our stack with the text before change 1",
    "small-window": "our stack with a window of 8 KiB",
}

BEGINNING = ("open sf1", "send sf1 1-100 map 1-100", "wait until data_acked 100")
"""The connection is fully established: whatever comes then is no matter of the handshake."""
JOINED = (*BEGINNING, "join sf2 on path2")
PAUSE = "wait 30ms"
"""Longer than a round trip: what came before has been judged."""

KERNEL = ("linux",)
LINUX = ("linux", "linux-rules")
OURS = ("rfc8684", "holding")

RECEIVED = "bytes_received_upload"
DATA_ACKED = "observed:data_acked"
REASON = "observed:reset_reason.sf1"
TRANSIENT = "observed:reset_transient.sf1"
RESETS = "observed:resets.sf1"

Evidence = tuple[tuple[str, Speaks], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A number of a case at some receivers, with its reason."""

    metric: str
    low: float | None = None
    high: float | None = None
    at: tuple[str, ...] = tuple(RECEIVERS)
    """The receivers of which it is so."""
    claims: Evidence = ()
    under: str = ""
    says: str
    """``{who}`` is the receiver."""
    because: str

    def of(self, variant: str, receiver: str) -> Iterator[Expectation]:
        """For each claim that it is evidence of, or once."""
        claims: tuple[tuple[str | None, Speaks], ...] = self.claims or ((None, "for"),)
        for claim, speaks in claims:
            yield Expectation(
                variant=variant,
                metric=self.metric,
                at_least=self.low,
                at_most=self.high,
                statistic="min" if self.high is None else "max" if self.low is None else "median",
                claim=claim,
                speaks=speaks,
                under=self.under.replace("{who}", IN_WORDS[receiver]) if claim else "",
                says=self.says.replace("{who}", IN_WORDS[receiver]),
                because=self.because,
            )


def exactly(
    metric: str,
    number: float,
    says: str,
    because: str,
    claims: Evidence = (),
    at: tuple[str, ...] = tuple(RECEIVERS),
    under: str = "",
) -> Found:
    """The number is this one."""
    return Found(metric=metric, low=number, high=number, says=says, because=because, claims=claims, at=at, under=under)


def answer(octets: int) -> tuple[str, ...]:
    """Wait for so many octets at the data level, or for a reset."""
    return (f"wait until data_acked {octets} or reset sf1 for 600ms", "wait 50ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A script and what is found."""

    name: str
    summary: str
    lines: tuple[str, ...]
    found: tuple[Found, ...] = ()
    script_is: Literal["client", "server"] = "client"
    other_sends_bytes: int = 0
    """By the application of the receiver that is asked."""
    receivers: Mapping[str, Endpoint] = field(default_factory=lambda: RECEIVERS)
    boxes: str = "none"
    """Middleboxes on the first path."""

    def variants(self) -> Iterator[tuple[Variant, str]]:
        """One for each receiver, and its name."""
        for name, endpoint in self.receivers.items():
            client, server = (SCRIPT, endpoint) if self.script_is == "client" else (endpoint, SCRIPT)
            application = Script(lines=self.lines, partner_sends_bytes=self.other_sends_bytes, partner_closes="never")
            variant = Variant(
                name=f"{self.name}/{name}",
                summary=f"{self.summary} To {IN_WORDS.get(name, name)}.",
                topology=self._network(),
                flows=(Flow(application=application, client=client, server=server),),
                path_manager=PathManager(mode="subflow"),
                only_on=None if endpoint.implementation == "linux" else "sim",
                factors=(("case", self.name), ("receiver", name)),
            )
            yield variant, name

    def _network(self) -> Topology:
        """Two paths of 10 ms without a rate: nothing is lost, and what is sent first arrives first."""
        wire = LinkProfile(delay_ns=10 * MS)
        topology = two_path(path1=wire, path2=wire)
        link = dataclasses.replace(topology.link("path1"), middleboxes=middlebox.parse(self.boxes))
        return topology.with_link(link)


def experiment(
    name: str, question: str, claims: tuple[str, ...], cases: Iterable[Case], seconds: int = 8
) -> Experiment:
    """All cases at all receivers."""
    pairs = [(case, variant, receiver) for case in cases for variant, receiver in case.variants()]
    return Experiment(
        name=name,
        question=question,
        variants=tuple(variant for _, variant, _ in pairs),
        repetitions=2,
        duration_ns=seconds * SECOND,
        retries=2,
        any_outcome=True,
        capture=True,
        claims=tuple(CLAIMS[each] for each in claims),
        expectations=tuple(
            expectation
            for case, variant, receiver in pairs
            for found in case.found
            if receiver in found.at
            for expectation in found.of(variant.name, receiver)
        ),
    )
