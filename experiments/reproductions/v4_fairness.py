"""V4: what several subflows take of one bottleneck that a plain TCP shares: LIA, OLIA, BALIA and uncoupled Reno.

RFC 6356 goal 2; Barre et al. (IFIP Networking 2011) had one to three subflows against one TCP on 100 Mbit/s for ten
minutes, five times. Here the bottleneck has 20 Mbit/s, so that half a minute holds as many losses.

In the simulator the rival is our own TCP; on real packets it is the kernel's TCP, with Reno.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import MS, RENO, SECOND
from testbed.orchestrator.spec import Backend, Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant
from topologies.link_profile import LinkProfile
from topologies.shared_bottleneck import shared_bottleneck

ACCESS = LinkProfile(delay_ns=5 * MS)
"""Of all three: no bottleneck of its own."""
SUBFLOWS = (2, 3)
COUPLED = ("lia", "olia", "balia")
CONTROLS = (RENO, *COUPLED)
REAL_DURATION_NS = 18 * SECOND

RIVALS: Mapping[Backend, Endpoint] = {
    "sim": Endpoint(implementation="userspace-tcp", congestion_control=RENO),
    "mininet": Endpoint(implementation="linux-tcp", congestion_control=RENO),
}


def v4_fairness() -> Experiment:
    """One, two and three subflows of each congestion control beside one TCP of 20 Mbit/s."""
    return Experiment(
        name="v4-fairness",
        question="Do coupled subflows take the share of one TCP of a bottleneck, and uncoupled ones more?",
        variants=tuple(_variants()),
        repetitions=2,
        duration_ns=30 * SECOND,
        claims=(CLAIMS["V4"],),
        expectations=tuple(_expectations()),
    )


def _variants() -> Iterator[Variant]:
    yield _variant("sim", "tcp", 1)
    for control in CONTROLS:
        for subflows in SUBFLOWS:
            yield _variant("sim", control, subflows)
    for control in CONTROLS:
        yield _variant("mininet", control, 2)


def _variant(backend: Backend, control: str, subflows: int) -> Variant:
    rival = RIVALS[backend]
    main = rival if control == "tcp" else Endpoint(implementation="userspace", congestion_control=control)
    bulk = Bulk(direction="upload")
    duration_ns = REAL_DURATION_NS if backend == "mininet" else None
    name = "tcp" if control == "tcp" else f"{control}-{subflows}"
    return Variant(
        name=name if backend == "sim" else f"{name}-against-linux",
        summary=f"{name.replace('-', ', ')} subflows, beside one TCP ({rival.implementation}).",
        topology=shared_bottleneck(path1=ACCESS, path2=ACCESS, cross=ACCESS),
        flows=(
            Flow(application=bulk, client=main, server=main, duration_ns=duration_ns),
            Flow(
                name="rival",
                application=bulk,
                client=rival,
                server=rival,
                client_host="rival",
                server_host="rival_server",
                duration_ns=duration_ns,
            ),
        ),
        path_manager=PathManager(
            mode="none" if subflows == 1 else "subflow" if subflows == 2 else "ndiffports", ports=3
        ),
        only_on=backend,
        factors=(("congestion control", control), ("subflows", str(subflows)), ("rival", rival.implementation)),
    )


def _expectations() -> Iterator[Expectation]:
    yield _share("tcp", 0.5, 2.0, "two TCPs share equally; Reno's shares over half a minute differ by less than two")
    for subflows in SUBFLOWS:
        yield _share(
            f"{RENO}-{subflows}",
            0.7 * subflows,
            1.3 * subflows,
            f"uncoupled: {subflows} subflows take about {subflows} shares",
        )
        for control in COUPLED:
            name = f"{control}-{subflows}"
            yield _share(name, 0.6, 1.6, "goal 2 of RFC 6356: together what one TCP takes, chance aside")
            yield Expectation(
                variant=name,
                metric="goodput_bit_s",
                relative_to=(f"{RENO}-{subflows}",),
                at_most=0.95,
                because="coupled subflows take less than uncoupled ones",
                claim="V4",
                says=f"{control} with {subflows} subflows takes {{value:%}} of what uncoupled Reno takes",
            )
    for control in CONTROLS:
        fair = control != RENO
        yield _share(
            f"{control}-2-against-linux",
            0.5 if fair else 1.2,
            2.0 if fair else 3.0,
            "the same beside the kernel's Reno on real packets, for so short that two equal TCPs may differ by two",
        )


def _share(variant: str, at_least: float, at_most: float, because: str) -> Expectation:
    rival = "this kernel's TCP" if variant.endswith("linux") else "our TCP"
    words = variant.removesuffix("-against-linux").replace("-", " with ")
    return Expectation(
        variant=variant,
        metric="goodput_bit_s",
        relative_to_flow="rival",
        at_least=at_least,
        at_most=at_most,
        because=because,
        claim="V4",
        says=f"{words} takes {{value}} what {rival} has beside it",
    )
