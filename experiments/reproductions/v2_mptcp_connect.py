"""V2: the kernel's selftest of interworking: MPTCP and TCP ends over a lossy, reordering chain, every byte compared.

``tools/testing/selftests/net/mptcp/mptcp_connect.sh`` draws its parameters from the shell's RANDOM, once a run; here
they are drawn from a seed, once a row, by the same rules. It connects four namespaces in a chain; the netem of its
second hop loses and delays what goes to the right, that of the third hop reorders it.

What it asserts is asserted: the streams are equal, and the listener saw the MP_CAPABLE of the SYN and of the third
ACK. Not here: its loopback, peek, fast-open, tproxy and disconnect rounds, which test socket calls, not the wire.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, PLAIN, RENO, SECOND, Stack
from testbed.orchestrator.grid import Fate, Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import (
    Bulk,
    Endpoint,
    Expectation,
    Experiment,
    Flow,
    Implementation,
    PathManager,
    Variant,
)
from topologies.link_profile import LinkProfile, NoLoss, QueueLimit, RandomLoss, Reordering
from topologies.model import Family, Host, Link, Path, Router, Topology

SMALLEST_BYTES = 256 * 1024
LIMIT_BYTES = 8 * 1024 * 1024
"""Of the script's files (``make_file``): MINSIZE and MAXSIZE."""
REAL_LIMIT_BYTES = 1024 * 1024
"""In real time the files are smaller (the script's ``-f``): 8 MiB at 1 % and 49 ms take most of a minute."""
SHELL_RANDOM = 32768
"""bash: RANDOM is below it."""

SEED = 2020
"""Of the draws: the year of the script."""
DRAWS: Mapping[str, int] = {"few": 4, "some": 8, "many": 60}
"""Rows; the first ones are the same."""

ROLES: tuple[tuple[str, str, Fate], ...] = (
    ("MPTCP", "MPTCP", "mptcp"),
    ("MPTCP", "TCP", "fallback"),
    ("TCP", "MPTCP", "tcp"),
)
"""Client, server, what becomes of the connection: the three protocol pairs of the script."""

RATE_BIT_S = 50 * MBIT
"""The script's links have none. Losses keep most transfers below it; a burst is then relayed in time, packet by packet.
The queue has netem's default limit."""

OURS: tuple[Stack, Stack] = ("userspace", "userspace")
REAL_PAIRS: Mapping[int, tuple[tuple[Stack, Stack], ...]] = {
    1: (("linux", "linux"), ("userspace", "linux")),
    2: (("linux", "linux"), ("linux", "userspace")),
}
"""Draw -> who else talks to whom there, in real time: one of either family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What the script draws at its start."""

    index: int
    loss: float
    delay_ns: int
    reorder_delay_ns: int
    reordering: Reordering | None
    client_bytes: int
    server_bytes: int
    connects_right: bool
    """The client is the left end, so that what it sends is lost and reordered; else what the server sends."""

    @property
    def family(self) -> Family:
        """IPv4 and IPv6 in turn."""
        return 4 if self.index % 2 else 6

    @property
    def name(self) -> str:
        """Word in a variant's name."""
        return f"draw{self.index:02}-v{self.family}"

    @property
    def text(self) -> str:
        """The drawn numbers."""
        sender = "client" if self.connects_right else "server"
        delay = (self.delay_ns + self.reorder_delay_ns) / MS
        shuffle = f"{100 * (1 - self.reordering.probability):.0f} % late" if self.reordering else "in order"
        return (
            f"IPv{self.family}, what the {sender} sends: loss {100 * self.loss:.2f} %, {delay:g} ms, {shuffle}; "
            f"{self.client_bytes} and {self.server_bytes} bytes"
        )


def draws(count: int, seed: int) -> tuple[Draw, ...]:
    """``count`` draws; the first ones of a larger count are those of a smaller one."""
    chance = random.Random(seed)
    return tuple(_draw(chance, index) for index in range(1, count + 1))


def _draw(chance: random.Random, index: int) -> Draw:
    delay_ms, hundredths = chance.randrange(50), chance.randrange(101)
    if not hundredths:  # the script makes no netem then, neither for loss nor for delay
        delay_ms = 0
    late_delay_ms = delay_ms // 4
    at_once, correlation = 100 - chance.randrange(10), chance.randrange(100)
    shuffles = late_delay_ms > 0 and at_once < 100 and correlation > 0
    return Draw(
        index=index,
        loss=hundredths / 10_000,
        delay_ns=delay_ms * MS,
        reorder_delay_ns=late_delay_ms * MS,
        reordering=Reordering(probability=at_once / 100, correlation=correlation / 100) if shuffles else None,
        client_bytes=_file_bytes(chance),
        server_bytes=_file_bytes(chance),
        connects_right=index % 4 < 2,
    )


def _file_bytes(chance: random.Random) -> int:
    return (chance.randrange(SHELL_RANDOM) * chance.randrange(SHELL_RANDOM) + SMALLEST_BYTES) % LIMIT_BYTES or 1


def network(draw: Draw) -> Topology:
    """The chain of the script; its two shaped hops shape one direction only."""
    loss = RandomLoss(draw.loss) if draw.loss else NoLoss()
    wire = LinkProfile(rate_bit_s=RATE_BIT_S, queue=QueueLimit(packets=1000))
    lossy = dataclasses.replace(wire, delay_ns=draw.delay_ns, loss=loss)
    shuffling = dataclasses.replace(wire, delay_ns=draw.reorder_delay_ns, reordering=draw.reordering)
    left, right = ("client", "server") if draw.connects_right else ("server", "client")
    links = (
        Link(name="near", a=left, b="r2"),
        Link(name="lossy", a="r2", b="r3", forward=lossy, backward=wire),
        Link(name="shuffling", a="r3", b=right, forward=shuffling, backward=wire),
    )
    way = tuple(link.name for link in links)
    return Topology(
        name="mptcp_connect",
        summary="A chain of four nodes; what goes to the right is lost, delayed and reordered.",
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=(Router("r2"), Router("r3")),
        links=links,
        paths=(Path("chain", way if draw.connects_right else way[::-1]),),
        families=(draw.family,),
    )


def v2_mptcp_connect(draws_kept: Literal["some", "few", "many"] = "some") -> Experiment:
    """Rows: the drawn networks; columns: who talks to whom, with MPTCP at both ends or at one."""
    rows = draws(DRAWS[draws_kept], SEED)
    found = [each for draw in rows for each in _cells(draw)]
    return Experiment(
        name="v2-mptcp-connect",
        question="Does every byte arrive, with MPTCP where both ends speak it, over lossy and reordering paths?",
        variants=tuple(variant for variant, _, _ in found),
        repetitions=1,
        duration_ns=60 * SECOND,
        claims=(CLAIMS["V2"],),
        expectations=tuple(expectation for _, _, expectations in found for expectation in expectations),
        grid=Grid(
            heading="draw",
            rows=tuple(
                GridRow(
                    name=draw.name, text=draw.text, because="mptcp_connect.sh: both files arrive, as MPTCP if asked"
                )
                for draw in rows
            ),
            cells=tuple(cell for _, cell, _ in found),
        ),
    )


def _cells(draw: Draw) -> Iterator[tuple[Variant, GridCell, Sequence[Expectation]]]:
    for pair in (OURS, *REAL_PAIRS.get(draw.index, ())):
        in_real_time = pair != OURS
        for client, server, fate in ROLES:
            ends = _implementation(pair[0], client), _implementation(pair[1], server)
            sizes = [
                min(size, REAL_LIMIT_BYTES) if in_real_time else size for size in (draw.client_bytes, draw.server_bytes)
            ]
            variant = Variant(
                name=f"{draw.name}/{ends[0]}/{ends[1]}",
                summary=f"{draw.text}; {ends[0]} connects to {ends[1]}.",
                topology=network(draw),
                flows=(
                    Flow(
                        application=Bulk(direction="both", size_bytes=sizes[0], reverse_size_bytes=sizes[1]),
                        client=Endpoint(implementation=ends[0], congestion_control=RENO),
                        server=Endpoint(implementation=ends[1], congestion_control=RENO),
                    ),
                ),
                path_manager=PathManager(mode="none"),
                only_on=None if in_real_time else "sim",
                factors=(("draw", draw.name), ("ends", f"{ends[0]}/{ends[1]}")),
            )
            column = GridColumn(pair=f"{pair[0]}/{pair[1]}", role=f"{client} to {server}")
            cell = GridCell(variant=variant.name, row=draw.name, column=column, fates=(fate,))
            yield variant, cell, tuple(_expectations(variant, fate))


def _implementation(stack: Stack, protocol: str) -> Implementation:
    return stack if protocol == "MPTCP" else PLAIN[stack]


def _expectations(variant: Variant, fate: Fate) -> Iterator[Expectation]:
    yield Expectation(
        variant=variant.name,
        metric=f"fate:{fate}",
        statistic="min",
        at_least=1,
        because="MPTCP where both ends offer it, and TCP elsewhere, whatever is lost or late",
        claim="V2",
        says=f"{variant.name}: {_FATE_WORDS[fate]} in every trial ({{n}}), and every byte right (the grid)",
    )
    if fate == "mptcp":
        for counter, words in (
            ("MPTcpExtMPCapableSYNRX", "MP_CAPABLE on the SYN"),
            ("MPTcpExtMPCapableACKRX", "MP_CAPABLE on the third ACK"),
        ):
            yield Expectation(
                variant=variant.name,
                metric=f"counter:{counter}@server",
                statistic="min",
                at_least=1,
                because=f"mptcp_connect.sh: the listener has seen {words}",
            )


_FATE_WORDS = {"mptcp": "MPTCP to the end", "fallback": "TCP after the offer of MPTCP", "tcp": "TCP from the start"}
