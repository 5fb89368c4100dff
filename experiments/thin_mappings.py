"""Fewer mappings, more room: S28, N2, and N14, whose mappings leave on pure ACKs until they are echoed."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import LOSS, kernel, narrow_paths, ours, pair
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant
from topologies.link_profile import RandomLoss

SIZE_BYTES = 1_000_000
"""Each way."""
WATCHES = (
    "watch data and tcp.sack as data-with-sack, "
    "watch tcp.rst as resets, "
    "watch data and not mptcp.dss.map and not mptcp.mp_capable as data-without-map"
)
NETWORKS = {
    "loss": narrow_paths(loss=LOSS, boxes=WATCHES),
    "loss-2": narrow_paths(loss=RandomLoss(0.02), boxes=WATCHES),
}
WAYS = {"two-way": "both", "one-way": "upload"}


def thin_mappings() -> Experiment:
    """One mapping per segment, per chunk, and per chunk on a pure ACK of its own; both ends ours, and this kernel."""
    return Experiment(
        name="thin_mappings",
        question="What does a sender gain that sends a mapping once for many segments?",
        variants=tuple(_variants()),
        repetitions=8,
        duration_ns=40 * SECOND,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        expectations=tuple(_expectations()),
        claims=tuple(CLAIMS[key] for key in ("S28", "N2", "N14")),
    )


def _variants() -> Iterator[Variant]:
    for network in NETWORKS:
        for way in WAYS if network == "loss" else ("two-way",):
            yield _variant("linux", "linux", ours("linux", "rfc8684"), way, network)
            yield _variant("thin-maps", "rfc8684", ours("thin-maps"), way, network)
            yield _variant("map-echoed", "echoing", ours("map-echoed"), way, network)
    yield _variant("thin-maps", "linux-rules", ours("thin-maps", "linux"), "two-way", "loss")
    for policy in ("linux", "thin-maps"):
        for way in WAYS:
            yield _variant(policy, "kernel", ours(policy), way, "loss", kernel())


def _variant(
    policy: str, receiver: str, client: Endpoint, way: str, network: str, server: Endpoint | None = None
) -> Variant:
    return pair(
        f"{policy}/{receiver}/{way}/{network}",
        f"Mappings as {policy}, receiver {receiver}, {way} data under loss.",
        NETWORKS[network],
        Bulk(direction=WAYS[way], size_bytes=SIZE_BYTES),  # type: ignore[arg-type]
        client,
        server or client,
        factors=(("policy", policy), ("receiver", receiver), ("traffic", way), ("network", network)),
        situation=f"{way}/{network}",
        only_on="sim" if server is None else None,
    )


def _expectations() -> Iterator[Expectation]:
    yield from _accepted()
    yield from _thin_against_linux()
    yield from _echoed_against_thin()


def _accepted() -> Iterator[Expectation]:
    """S28: who takes mappings that are not on every segment."""
    for receiver in ("rfc8684", "linux-rules", "kernel"):
        variant = f"thin-maps/{receiver}/two-way/loss"
        yield Expectation(
            variant=variant,
            metric="watched:data-without-map@path1",
            at_least=10,
            statistic="min",
            because="of a chunk of several segments only the first carries the mapping",
            claim="S28",
            says=f"{{value}} data segments without a mapping to the receiver {receiver}",
        )
        for metric, bound, what in (
            ("watched:resets@path1", 0, "{value} resets"),
            ("counter:MPTcpExtDssFallback@server", 0, "{value} fallbacks for want of a mapping"),
        ):
            yield Expectation(
                variant=variant,
                metric=metric,
                at_most=bound,
                statistic="max",
                because="RFC 8684 §3.3.1: a mapping holds for all of its range, also where segments are lost (E3)",
                claim="S28",
                says=f"receiver {receiver}: {what}",
            )


def _thin_against_linux() -> Iterator[Expectation]:
    """N2: room for SACK, header tax, goodput."""
    thin, linux = "thin-maps/rfc8684/two-way/loss", "linux/linux/two-way/loss"
    yield Expectation(
        variant=thin,
        metric="ledger:displaced_share@client/data",
        at_most=0.95,
        statistic="max",
        because="12 + 12 + 12 = 36: a segment without mapping has room for one block; linux displaces all",
        claim="N2",
        says="{value} of the SACK blocks on data segments displaced, where Linux's layout displaces all",
    )
    yield Expectation(
        variant=thin,
        metric="ledger:header_tax@client/all",
        at_most=0.98,
        relative_to=(linux,),
        statistic="mean",
        because="16 octets less on each segment without a mapping; the SACK blocks take some of them back",
        claim="N2",
        says="option octets per payload octet: {value} those of Linux's layout",
    )
    for way, because in (
        ("two-way", "more holes are told of in time: fewer timeouts"),
        ("one-way", "nothing is gained, nothing lost: who only sends has no blocks to report"),
    ):
        yield Expectation(
            variant=f"thin-maps/rfc8684/{way}/loss",
            metric="goodput_bit_s",
            at_least=1.0 if way == "two-way" else 0.93,
            relative_to=(f"linux/linux/{way}/loss",),
            statistic="mean",
            because=because,
            claim="N2",
            says=f"5 % loss, data {way}: {{value}} the goodput of Linux's layout",
        )
    yield Expectation(
        variant="thin-maps/kernel/two-way/loss",
        metric="counter:MPTcpExtMPRstTx@server",
        at_most=0,
        statistic="max",
        because="get_mapping_status keeps the last mapping of the subflow while it covers what comes",
        claim="N2",
        says="a kernel receiver resets {value} subflows for it",
    )


def _echoed_against_thin() -> Iterator[Expectation]:
    """N14: both are right about what they are for, and pure ACKs pay."""
    echoed, thin = "map-echoed/echoing/two-way/loss", "thin-maps/rfc8684/two-way/loss"
    yield Expectation(
        variant=echoed,
        metric="counter:TestbedMapEchoRx@client",
        at_least=1,
        statistic="min",
        because="every mapping on a pure ACK is echoed",
        claim="N14",
        says="{value} echoes per upload of 1 MB",
    )
    yield Expectation(
        variant=echoed,
        metric="ledger:displaced_share@client/data",
        at_most=0.9,
        relative_to=(thin,),
        statistic="mean",
        because="no data segment but those sent again carries a mapping",
        claim="N14",
        says="data segments displace {value} the share of SACK blocks ({absolute}, {reference})",
    )
    yield Expectation(
        variant=echoed,
        metric="ledger:displaced_share@client/ack",
        at_least=1.2,
        relative_to=(thin,),
        statistic="mean",
        because="a pure ACK with timestamps and mapping is full, and the echo (8 octets) takes the room of a block",
        claim="N14",
        speaks="against",
        says="pure ACKs displace {value} the share ({absolute}, {reference})",
    )
    yield Expectation(
        variant=echoed,
        metric="goodput_bit_s",
        at_most=0.95,
        relative_to=(thin,),
        statistic="mean",
        because="a lost announcement holds up its data for a timeout, however well the data arrived",
        claim="N14",
        speaks="against",
        says="5 % loss, data both ways: {value} the goodput of thin mappings",
    )
    yield Expectation(
        variant=echoed,
        metric="ledger:segments@client/ack",
        at_least=1.5,
        relative_to=(thin,),
        statistic="mean",
        because="an ACK for each chunk, and one for its echo",
        claim="N14",
        speaks="against",
        says="{value} the pure ACKs",
    )
