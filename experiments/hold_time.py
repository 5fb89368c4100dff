"""Does holding data without a mapping save subflows, at what cost? N1: hold times against late mappings."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import kernel, narrow_paths, ours, pair
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant
from topologies.link_profile import Reordering

SIZE_BYTES = 1_000_000
"""Some 400 ms of both paths."""
HOLDS = {
    "0": "rules.hold_unmapped=0",
    "20ms": "rules.hold_unmapped=20ms",
    "60ms": "rules.hold_unmapped=60ms",
    "400ms": "rules.hold_unmapped=400ms",
    "window": "rules.hold_unmapped=window",
}
"""Word -> rule. A round trip is 20 ms without queues, a queue of a path holds some 50 ms more, and 400 ms are twice the
least retransmission timeout."""
LATE = {"on-time": 0, "late-2": 2, "late-8": 8}
"""Word -> segments by which the mapping follows its data."""
WATCHES = "watch backward and tcp.rst and reset_reason = 6 as reset-6"
NETWORKS = {
    "quiet": narrow_paths(boxes=WATCHES),
    "reordering": narrow_paths(reordering=Reordering(0.02), boxes=WATCHES),
}
OCTETS_HELD = 1460
"""Most octets of payload of a segment."""


def hold_time() -> Experiment:
    """A sender whose mappings come late, receivers that wait for them and that do not, and this kernel's."""
    return Experiment(
        name="hold_time",
        question="How long does a receiver have to hold data without a mapping, and what does it cost?",
        variants=tuple(_variants()),
        repetitions=3,
        duration_ns=20 * SECOND,
        any_outcome=True,
        expectations=tuple(_expectations()),
        claims=(CLAIMS["N1"],),
    )


def _variants() -> Iterator[Variant]:
    for network in NETWORKS:
        for late in LATE:
            for hold in HOLDS if late != "on-time" else ("0",):
                receiver = ours("linux", "holding", policies=(HOLDS[hold],))
                yield _variant(f"hold-{hold}/{late}/{network}", hold, late, network, receiver)
    for late in LATE:
        yield _variant(f"kernel/{late}/quiet", "0", late, "quiet", kernel())


def _variant(name: str, hold: str, late: str, network: str, server: Endpoint) -> Variant:
    if LATE[late]:
        client = ours("late-map", policies=(f"options.mapping_late_by={LATE[late]}",))
    else:
        client = ours("late-map", policies=("options.mapping_late_by=0",))
    return pair(
        name,
        f"Mappings {LATE[late]} segments late, {network}; a receiver that holds for {hold}.",
        NETWORKS[network],
        Bulk(size_bytes=SIZE_BYTES),
        client,
        server,
        factors=(("hold", hold), ("mappings", late), ("network", network)),
        situation=f"{late}/{network}",
        only_on="sim" if server.is_userspace else None,
    )


def _expectations() -> Iterator[Expectation]:
    for variant in ("hold-0/late-2/quiet", "hold-0/late-8/quiet"):
        yield Expectation(
            variant=variant,
            metric="watched:reset-6@path1",
            at_least=1,
            statistic="min",
            because="in-order data without a mapping at once count as options lost to a middlebox (RFC 8684 §3.7)",
            claim="N1",
            says=f"no hold, mappings {LATE[_late(variant)]} late: {{value}} resets with reason 6 on the first subflow",
        )
    for late in ("late-2", "late-8"):
        yield Expectation(
            variant=f"kernel/{late}/quiet",
            metric="counter:MPTcpExtDssFallback@server",
            at_least=1,
            statistic="min",
            because="Linux holds nothing; with one subflow so far it falls back in silence instead (E1)",
            claim="N1",
            says=f"this kernel, mappings {LATE[late]} late: {{value}} fallback to TCP, and no second subflow",
        )
    for hold, late, network, survives, under in (
        ("20ms", "late-2", "quiet", False, "a hold time of a round trip without queues"),
        ("60ms", "late-2", "quiet", True, "a hold time of a round trip with full queues"),
        ("60ms", "late-2", "reordering", True, "a hold time of a round trip with full queues"),
        ("60ms", "late-8", "quiet", False, "mappings later than a window of data"),
        ("window", "late-2", "quiet", True, "a hold of a receive window"),
        ("window", "late-8", "quiet", True, "a hold of a receive window"),
        ("window", "late-8", "reordering", True, "a hold of a receive window"),
    ):
        yield Expectation(
            variant=f"hold-{hold}/{late}/{network}",
            metric="counter:MPTcpExtMPRstTx@server",
            at_most=0 if survives else None,
            at_least=None if survives else 1,
            statistic="max" if survives else "min",
            because="a mapping k segments late comes when k more segments have left: at once in a burst, a round trip "
            "later at the end of a window, and after a timeout when the window is smaller than k",
            claim="N1",
            speaks="for" if survives else "against",
            under=under,
            says=f"hold {hold}, mappings {LATE[late]} late, {network}: {{value}} subflows reset",
        )
    yield Expectation(
        variant="hold-60ms/late-2/quiet",
        metric="goodput_bit_s",
        at_least=0.85,
        relative_to=("hold-0/on-time/quiet",),
        because="what is held is DATA_ACKed later, and costs no retransmission",
        claim="N1",
        under="a hold time of a round trip with full queues",
        says="hold 60ms, mappings 2 late: {value} the goodput of mappings in time",
    )
    for late in ("late-2", "late-8"):
        yield Expectation(
            variant=f"hold-window/{late}/quiet",
            metric="counter:TestbedUnmappedPeak@server",
            at_most=2 * LATE[late] * OCTETS_HELD,
            statistic="max",
            because="no more than what leaves before its mapping, on each of two subflows",
            claim="N1",
            under="a hold of a receive window",
            says=f"mappings {LATE[late]} late: at most {{value}} octets are held on both subflows together",
        )


def _late(variant: str) -> str:
    return variant.split("/")[1]
