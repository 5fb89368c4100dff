"""After a fallback a connection is TCP: does each byte arrive as it was sent, also when a segment repeats old bytes?

A retransmission that carries old bytes and new ones in one segment (merged small writes, or a middlebox that put them
together) overlaps what the receiver has. TCP takes the new part (RFC 9293 section 3.10.7.4). A receiver that maps what
it gets after a fallback to data sequence numbers can get that wrong, and then bytes are missing in silence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, PLAIN, RENO, SECOND, Stack, on_links
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
from topologies import middlebox
from topologies.link_profile import LinkProfile, NoLoss, RandomLoss
from topologies.model import Topology
from topologies.two_path import two_path

SIZE_BYTES = 60_000
WRITE_BYTES, WRITE_INTERVAL_NS = 100, 3 * MS
"""Small writes leave as small segments (TCP_NODELAY), and retransmissions put several into one."""
LOSS = RandomLoss(0.2)
"""So much that acknowledgments are lost, too, and timeouts send again what has arrived, with new bytes behind it."""

OVERLAP = "duplicate data every 7, coalesce 1400 for 20ms"
"""A copy of a segment and what follows it in one: the first part is old, the second new. In the order of the packets,
so of each direction."""
STRIP = "strip mptcp on syn_ack"

STACKS: tuple[Stack, Stack] = ("userspace", "linux")
ROLES = {"up": ("upload", "client sends"), "down": ("download", "server sends")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a connection comes to be TCP, and how segments come to overlap."""

    name: str
    text: str
    boxes: str = "none"
    """On the link, both directions."""
    each_way: str = "none"
    """Of each direction, in the order of its packets."""
    lossy: bool
    plain_server: bool
    """Whether the server never speaks MPTCP; else both ask for it."""
    fates: tuple[Fate, ...]
    because: str


_FELL_BACK = "RFC 8684 section 3.7: after a fallback it is a TCP connection, and TCP keeps every byte"
_STAYED = "control: with mappings an overlap is no riddle; a SYN lost again and again is tried as TCP (section 3.1)"

CASES = (
    Case(
        name="plain-server",
        text="20% loss, small writes; the server speaks plain TCP",
        lossy=True,
        plain_server=True,
        fates=("fallback",),
        because=_FELL_BACK,
    ),
    Case(
        name="stripped",
        text=f"20% loss, small writes; {STRIP}",
        boxes=STRIP,
        lossy=True,
        plain_server=False,
        fates=("fallback",),
        because=_FELL_BACK,
    ),
    Case(
        name="mptcp",
        text="20% loss, small writes; MPTCP at both ends",
        lossy=True,
        plain_server=False,
        fates=("mptcp", "fallback"),
        because=_STAYED,
    ),
    Case(
        name="forced-plain",
        text=f"small writes, {OVERLAP}; the server speaks plain TCP",
        each_way=OVERLAP,
        lossy=False,
        plain_server=True,
        fates=("fallback",),
        because=_FELL_BACK,
    ),
    Case(
        name="forced-stripped",
        text=f"small writes, {STRIP}, {OVERLAP}",
        boxes=STRIP,
        each_way=OVERLAP,
        lossy=False,
        plain_server=False,
        fates=("fallback",),
        because=_FELL_BACK,
    ),
)


def fallback_integrity() -> Experiment:
    """One path, both directions of the data, and each case with plain TCP at both ends: what it does to everybody."""
    variants, cells = [], []
    for case in CASES:
        for variant, cell in _cells(case):
            variants.append(variant)
            cells.append(cell)
    return Experiment(
        name="fallback_integrity",
        question="Does a connection that fell back to TCP lose bytes, where plain TCP loses none?",
        variants=tuple(variants),
        repetitions=5,
        duration_ns=120 * SECOND,
        retries=2,
        capture=True,
        grid=Grid(
            heading="case",
            rows=tuple(GridRow(name=case.name, text=case.text, because=case.because) for case in CASES),
            cells=tuple(cells),
        ),
        claims=(CLAIMS["N11"],),
        expectations=tuple(_corruption()),
    )


def _corruption() -> Iterator[Expectation]:
    """Where overlaps are made rather than waited for, a Linux client that receives goes wrong each time. (A server
    whose SYN/ACK lost the option has a plain TCP socket, which cannot.)"""
    because = (
        "subflow_check_data_avail() makes up a mapping whose subflow sequence number is that of what is next and whose "
        "data sequence number is that of the segment: the new part of an overlap looks old, what follows is shifted"
    )
    for name, how in (
        ("forced-plain/linux/linux-tcp/down", "before a plain TCP server"),
        ("forced-stripped/linux/linux/down", "behind a box that strips the SYN/ACK"),
    ):
        for metric, low, high, says in (
            ("first_wrong_download", 0, None, f"Linux {how}: the first wrong byte is number {{value}}"),
            ("bytes_received_download", None, SIZE_BYTES - 1, f"Linux {how}: {{value}} of 60 kB came, then no more"),
        ):
            yield Expectation(
                variant=name,
                metric=metric,
                at_least=low,
                at_most=high,
                statistic="max" if low is None else "min",
                claim="N11",
                under="a Linux client receives",
                says=says,
                because=because,
            )
    for name in ("forced-plain/linux-tcp/linux-tcp/down", "forced-plain/userspace/userspace-tcp/down"):
        yield Expectation(
            variant=name,
            metric="completion_time_ns",
            statistic="max",
            at_most=10 * SECOND,
            says="control: 60 kB came, each byte right, within {value}",
            because="TCP takes the new part of a segment that repeats old bytes (RFC 9293 section 3.10.7.4)",
        )


def _cells(case: Case) -> Iterator[tuple[Variant, GridCell]]:
    topology = _network(case)
    for word, (direction, role) in ROLES.items():
        application = Bulk(
            direction=direction,  # type: ignore[arg-type]
            size_bytes=SIZE_BYTES,
            write_bytes=WRITE_BYTES,
            write_interval_ns=WRITE_INTERVAL_NS,
        )
        for pair in _pairs(case):
            flow = Flow(application=application, client=_end(pair[0]), server=_end(pair[1]), path="path1")
            variant = Variant(
                name=f"{case.name}/{pair[0]}/{pair[1]}/{word}",
                summary=f"{case.text}: {pair[0]} to {pair[1]}, {role}.",
                topology=topology,
                flows=(flow,),
                path_manager=PathManager(mode="none"),
            )
            fates: tuple[Fate, ...] = ("tcp",) if pair[0] in PLAIN.values() else case.fates
            column = GridColumn(pair=f"{pair[0]}/{pair[1]}", role=role)
            yield variant, GridCell(variant=variant.name, row=case.name, column=column, fates=fates)


def _pairs(case: Case) -> Iterator[tuple[Implementation, Implementation]]:
    """Client and server; the last two are plain TCP."""
    for client in STACKS:
        for server in STACKS:
            yield client, PLAIN[server] if case.plain_server else server
    for stack in STACKS:
        yield PLAIN[stack], PLAIN[stack]


def _end(implementation: Implementation) -> Endpoint:
    return Endpoint(implementation=implementation, congestion_control=RENO, nodelay=True)


def _network(case: Case) -> Topology:
    path = LinkProfile(rate_bit_s=20 * MBIT, delay_ns=5 * MS)
    topology = two_path(path1=path, path2=path)
    loss = LOSS if case.lossy else NoLoss()
    topology = on_links(topology, ("path1",), loss=loss, middleboxes=middlebox.parse(case.each_way))
    link = dataclasses.replace(topology.link("path1"), middleboxes=middlebox.parse(case.boxes))
    return topology.with_link(link)
