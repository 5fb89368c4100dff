"""V5: the coupled congestion control of the SIGCOMM 2020 tutorial: two bottlenecks, a TCP on each for 20 s.

Two paths of 20 Mbit/s with round trips of 20 and 80 ms, queues of 40 and 160 packets. MPTCP runs for 50 s, a TCP on
the upper path from 10 to 30 s, one on the lower path from 20 to 40 s. With one subflow a path, Reno and OLIA alike go
40, 30, 20, 30, 40 Mbit/s. With four subflows a path, Reno leaves the TCPs a fifth, and OLIA about a half.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, RENO, SECOND
from testbed.orchestrator.spec import Backend, Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.model import Host, Link, Path, Router, Topology, symmetric

RATE_BIT_S = 20 * MBIT
PAYLOAD_SHARE = 1428 / 1514
"""Of a full frame with timestamps and a mapping."""
UPPER = LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=10 * MS, queue=QueueLimit(packets=40))
LOWER = LinkProfile(rate_bit_s=RATE_BIT_S, delay_ns=40 * MS, queue=QueueLimit(packets=160))
TCP_NS = 20 * SECOND
UPPER_START_NS, LOWER_START_NS = 10 * SECOND, 20 * SECOND


def network() -> Topology:
    """The tutorial's network; the server has four addresses, so that a full mesh makes four subflows a bottleneck."""
    exits = tuple(f"exit{number}" for number in range(1, 5))
    return Topology(
        name="coupled_shift",
        summary="Two bottlenecks, each shared with a TCP of its own for a while.",
        hosts=(
            Host("client", "client"),
            Host("server", "server"),
            Host("upper_client"),
            Host("upper_server"),
            Host("lower_client"),
            Host("lower_server"),
        ),
        routers=(Router("r1"), Router("r2"), Router("r3")),
        links=(
            Link(name="access1", a="client", b="r1"),
            Link(name="access2", a="client", b="r2"),
            symmetric("upper", "r1", "r3", UPPER),
            symmetric("lower", "r2", "r3", LOWER),
            *(Link(name=name, a="r3", b="server") for name in exits),
            Link(name="upper_in", a="upper_client", b="r1"),
            Link(name="upper_out", a="r3", b="upper_server"),
            Link(name="lower_in", a="lower_client", b="r2"),
            Link(name="lower_out", a="r3", b="lower_server"),
        ),
        paths=tuple(
            Path(f"{way}{number}", (access, way, name))
            for number, name in enumerate(exits, start=1)
            for way, access in (("upper", "access1"), ("lower", "access2"))
        ),
    )


def v5_coupled_shift() -> Experiment:
    """LIA, OLIA and Reno, one and four subflows a path; on real packets our OLIA against a TCP of the kernel."""
    return Experiment(
        name="v5-coupled-shift",
        question="Does a multipath transfer leave a TCP its half of a bottleneck, and regain it afterwards?",
        variants=(
            _variant("lia-1", "lia", 1, "sim"),
            _variant("olia-1", "olia", 1, "sim"),
            _variant("reno-1", RENO, 1, "sim"),
            _variant("olia-4", "olia", 4, "sim"),
            _variant("reno-4", RENO, 4, "sim"),
            _variant("olia-1-against-linux", "olia", 1, "mininet"),
        ),
        repetitions=2,
        duration_ns=50 * SECOND,
        claims=(CLAIMS["V5"],),
        expectations=tuple(_expectations()),
    )


def _variant(name: str, control: str, subflows_a_path: int, backend: Backend) -> Variant:
    main = Endpoint(implementation="userspace", congestion_control=control)
    tcp = Endpoint(implementation="userspace-tcp" if backend == "sim" else "linux-tcp", congestion_control=RENO)
    bulk = Bulk(direction="upload")
    return Variant(
        name=name,
        summary=f"{control}, {subflows_a_path} subflow(s) a path; the TCPs are {tcp.implementation} with Reno.",
        topology=network(),
        flows=(
            Flow(application=bulk, client=main, server=main, duration_ns=None if backend == "sim" else LOWER_START_NS),
            *(
                Flow(
                    name=way,
                    application=bulk,
                    client=tcp,
                    server=tcp,
                    client_host=f"{way}_client",
                    server_host=f"{way}_server",
                    start_ns=start_ns,
                    duration_ns=TCP_NS if backend == "sim" else LOWER_START_NS - UPPER_START_NS,
                )
                for way, start_ns in (("upper", UPPER_START_NS), ("lower", LOWER_START_NS))
                if backend == "sim" or way == "upper"
            ),
        ),
        path_manager=PathManager(mode="fullmesh" if subflows_a_path > 1 else "subflow"),
        only_on=backend,
        factors=(("congestion control", control), ("subflows a path", str(subflows_a_path))),
    )


LEVEL_BIT_S = RATE_BIT_S * PAYLOAD_SHARE
"""What one bottleneck carries."""

PHASES: Mapping[str, tuple[tuple[str, float, float], ...]] = {
    RENO: (
        ("[4s..10s]", 1.75, 2.0),
        ("[14s..20s]", 1.38, 1.6),
        ("[24s..30s]", 1.0, 1.38),
        ("[34s..40s]", 1.38, 1.75),
        ("[44s..50s]", 1.75, 2.0),
    ),
    "lia": (
        ("[4s..10s]", 1.75, 2.0),
        ("[14s..20s]", 1.0, 1.6),
        ("[24s..30s]", 0.5, 1.0),
        ("[34s..40s]", 1.0, 1.75),
        ("[44s..50s]", 1.75, 2.0),
    ),
    "olia": (
        ("[4s..10s]", 1.75, 2.0),
        ("[14s..20s]", 1.0, 1.6),
        ("[24s..30s]", 0.5, 1.0),
    ),
}
"""Of one subflow a path: part of the run, and bounds of the goodput in bottlenecks: disjoint from phase to phase, so
that the order is the tutorial's. Half a bottleneck is 0.5. The later TCP has a round trip of 80 to 176 ms and needs
longer than its 20 s for its half, so that Reno keeps more than 1.0 of two. The coupled ones give a shared path away as
far as another one is free (the fixed point there is none of it: Khalili et al., CoNEXT 2012), so they have less than
1.5; with a TCP on each path, half a bottleneck at least (RFC 6356, goal 1)."""
REGAINED = "[34s..40s]"
"""After the TCP on the upper path has gone. What OLIA regains is chance, so the best and the worst trial are told apart
(see :func:`_chance_of_olia`)."""


def _expectations() -> Iterator[Expectation]:
    for control, phases in PHASES.items():
        for number, (part, low, high) in enumerate(phases, start=1):
            yield _sampled(
                f"{control}-1",
                f"main.server{part}",
                low * LEVEL_BIT_S,
                high * LEVEL_BIT_S * 1.01,
                f"phase {number} of 40, 30, 20, 30, 40 Mbit/s: {_TCPS[number - 1]}",
                f"{control}, one subflow a path, {_TCPS[number - 1]}: {{value}}",
            )
    yield from _chance_of_olia()
    shared = "[15s..30s]"
    yield _sampled(
        "reno-4",
        f"upper.server{shared}",
        0.1 * LEVEL_BIT_S,
        0.35 * LEVEL_BIT_S,
        "one of five uncoupled windows: about a fifth",
        "four subflows a path of Reno leave the TCP on the upper path {value}",
    )
    yield _sampled(
        "olia-4",
        f"upper.server{shared}",
        0.5 * LEVEL_BIT_S,
        LEVEL_BIT_S,
        "coupled: all subflows together take at most what one TCP would",
        "four subflows a path of OLIA leave the TCP on the upper path {value}",
    )
    yield Expectation(
        variant="olia-1-against-linux",
        flow="upper",
        metric="goodput_bit_s",
        at_least=0.4 * LEVEL_BIT_S,
        because="the kernel's TCP gets its half, or more, beside our OLIA",
        claim="V5",
        says="beside our OLIA this kernel's TCP on the upper path has {value} over 10 s",
    )


def _chance_of_olia() -> Iterator[Expectation]:
    """OLIA halves down to one segment where there are several paths, and a path at one segment grows by alpha only when
    it counts as the best, by what it carried without a loss: at one segment a round trip, and a delayed ACK, that takes
    longer than the phase. Peng et al. (ToN 2016) call it unresponsive. Whether it fell that far is chance."""
    subject = f"main.server{REGAINED}"
    best = _sampled(
        "olia-1",
        subject,
        LEVEL_BIT_S,
        1.75 * LEVEL_BIT_S,
        "with a window above one segment it comes back",
        "olia, one subflow a path, a TCP on the lower path alone, best trial: {value}",
    )
    yield dataclasses.replace(best, statistic="max", under="OLIA above one segment")
    yield Expectation(
        variant="olia-1",
        metric=f"sampled:goodput@{subject}",
        statistic="min",
        at_most=0.75 * LEVEL_BIT_S,
        because="with a window of one segment it leaves the free upper path empty",
        claim="V5",
        speaks="against",
        under="OLIA at one segment",
        says="olia, one subflow a path, a TCP on the lower path alone, worst trial: {value}, the upper path left free",
    )


_TCPS = ("no TCP", "a TCP on the upper path", "a TCP on each path", "a TCP on the lower path", "no TCP again")


def _sampled(variant: str, subject: str, at_least: float, at_most: float, because: str, says: str) -> Expectation:
    return Expectation(
        variant=variant,
        metric=f"sampled:goodput@{subject}",
        at_least=at_least,
        at_most=at_most,
        because=because,
        claim="V5",
        says=says,
    )
