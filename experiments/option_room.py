"""What fits beside the timestamps, and what it costs that something does not: S7 to S9, S24 to S26, N5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import LOSS, REORDERING, kernel, narrow_paths, ours, pair
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant

WATCHES = (
    "watch data and tcp.timestamps and tcp.sack and mptcp.dss.map as all-three, "
    "watch data and not mptcp.dss.map and not mptcp.mp_capable as unmapped, "
    "watch data and tcp.timestamps and mptcp.dss.map and option_octets = 40 as full"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """One way to fill 40 octets."""

    profile: str
    words: str
    policies: tuple[str, ...] = ()
    checksum: bool | None = None


PACKERS = {
    "linux": Packer(profile="linux", words="64-bit numbers, padded, as Linux"),
    "dense": Packer(profile="dense", words="64-bit numbers without padding"),
    "dense-32": Packer(profile="dense-32", words="32-bit numbers without padding"),
    "dense-no-ack": Packer(
        profile="dense",
        policies=("options.data_ack_on_data=false",),
        words="64-bit DSN without DATA_ACK and without padding: the 18 octets of S7",
    ),
    "sack-first": Packer(profile="rfc2018", words="SACK before the mapping, which waits"),
    "thin-maps": Packer(profile="thin-maps", words="one mapping for eight packets"),
    "mptcp.org": Packer(profile="mptcp.org", words="32-bit numbers, padded, as the multipath-tcp.org kernel"),
    "ios": Packer(profile="ios", words="as XNU"),
    "checksum": Packer(profile="linux", checksum=True, words="as Linux, with checksums"),
}
STAMPS = {"ts": None, "no-ts": False}
WAYS = {"two-way": "both", "one-way": "upload"}
SIZE_BYTES = 1_000_000
"""Each way: some 700 segments, of which some 35 are lost."""
NETWORKS = {
    "loss": narrow_paths(loss=LOSS, boxes=WATCHES),
    "reordering": narrow_paths(reordering=REORDERING, boxes=WATCHES),
}


def option_room() -> Experiment:
    """Packers, with and without timestamps, in one direction and in both, under loss and under reordering."""
    return Experiment(
        name="option_room",
        question="What fits beside timestamps and mapping, and what does it cost that something does not?",
        variants=tuple(_variants()),
        repetitions=8,
        duration_ns=30 * SECOND,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        expectations=tuple(_expectations()),
        claims=tuple(CLAIMS[key] for key in ("S7", "S8", "S9", "S24", "S25", "S26", "N5")),
    )


def _variants() -> Iterator[Variant]:
    for packer in PACKERS:
        yield _ours(packer, "ts", "two-way", "loss")
    for way, network in (("one-way", "loss"), ("two-way", "reordering"), ("one-way", "reordering")):
        for packer in ("linux", "dense-32"):
            yield _ours(packer, "ts", way, network)
    for way, network in (("two-way", "loss"), ("one-way", "loss"), ("two-way", "reordering")):
        yield _ours("linux", "no-ts", way, network)
    for way in WAYS:
        for stamps in STAMPS:
            yield _variant("kernel", "Linux at both ends", kernel(STAMPS[stamps]), stamps, way, "loss")


def _ours(name: str, stamps: str, way: str, network: str) -> Variant:
    packer = PACKERS[name]
    end = ours(packer.profile, policies=packer.policies, timestamps=STAMPS[stamps], checksum=packer.checksum)
    return _variant(name, packer.words, end, stamps, way, network)


def _variant(name: str, words: str, end: Endpoint, stamps: str, way: str, network: str) -> Variant:
    is_ours = end.implementation == "userspace"
    return pair(
        f"{name}/{stamps}/{way}/{network}",
        f"{words}; {'timestamps' if stamps == 'ts' else 'no timestamps'}, {way} data, {network}.",
        NETWORKS[network],
        Bulk(direction=WAYS[way], size_bytes=SIZE_BYTES),  # type: ignore[arg-type]
        end,
        end,
        factors=(("packer", name), ("timestamps", stamps), ("traffic", way), ("network", network)),
        situation=f"{way}/{network}",
        only_on="sim" if is_ours else None,
    )


_MAIN = "ts/two-way/loss"
_ROOMLESS = "64-bit numbers, or padding to words"
_ROOMY = "no padding, and 32-bit numbers or no DATA_ACK"


def _expectations() -> Iterator[Expectation]:
    yield from _of_room()
    yield from _of_order()
    yield from _of_delay()
    yield from _of_cost()


def _of_room() -> Iterator[Expectation]:
    """S7 and S25: arithmetic, as it shows on the wire."""
    for packer in ("linux", "dense", "mptcp.org", "kernel"):
        yield Expectation(
            variant=f"{packer}/{_MAIN}",
            metric="watched:all-three@path1",
            at_most=0,
            statistic="max",
            because="12 + 28 = 40 padded, 10 + 26 + 10 = 46 dense, 12 + 20 + 12 = 44 with 32 bits and padding",
            claim="S7",
            under=_ROOMLESS,
            says=f"{packer}: {{value}} data segments with timestamps, a SACK block and a mapping",
        )
    for packer, octets in (("dense-32", "10 + 18 + 10 = 38"), ("dense-no-ack", "10 + 18 + 10 = 38")):
        yield Expectation(
            variant=f"{packer}/{_MAIN}",
            metric="watched:all-three@path1",
            at_least=1,
            statistic="min",
            because=f"{octets}: exactly the 18 octets of which the message speaks",
            claim="S7",
            speaks="against",
            under=_ROOMY,
            says=f"{packer}: {{value}} data segments per trial and path carry all three",
        )
    yield Expectation(
        variant=f"linux/{_MAIN}",
        metric="ledger:option_octets_max@client/data",
        at_least=40,
        statistic="min",
        because="12 + 28 = 40: not an octet is left for what else is wanted",
        claim="S25",
        speaks="against",
        under="64-bit numbers and data both ways",
        says="timestamps and DSS with 64-bit numbers take {value}, so nothing else leaves with them",
    )
    yield Expectation(
        variant=f"mptcp.org/{_MAIN}",
        metric="ledger:option_octets_max@client/data",
        at_most=36,
        statistic="max",
        because="12 + 20 padded",
        claim="S25",
        under="32-bit numbers",
        says="with 32-bit numbers at most {value} of 40 are in use on data segments",
    )
    yield Expectation(
        variant="linux/ts/one-way/loss",
        metric="ledger:contended_share@client/data",
        at_most=0,
        statistic="max",
        because="who only sends has no SACK blocks to report",
        claim="S25",
        under="data one way",
        says="data one way: {value} of the data segments want more than 40 octets",
    )
    yield Expectation(
        variant=f"linux/{_MAIN}",
        metric="ledger:omitted_dss@client/data",
        at_most=0,
        statistic="max",
        because="12 + 28 is 40, not 41: no DSS is ever left out for the timestamps",
        claim="S25",
        under="whether they fit at all",
        says="{value} DSS were left out for want of room",
    )


def _of_order() -> Iterator[Expectation]:
    """S24 and S9: who gives way."""
    for packer in ("linux", "mptcp.org", "ios", "kernel"):
        yield Expectation(
            variant=f"{packer}/{_MAIN}",
            metric="watched:unmapped@path1",
            at_most=0,
            statistic="max",
            because="DSS before SACK in mptcp_established_options, mptcp_options_write and CHECK_OPTLEN's order",
            claim="S24",
            says=f"{packer}: {{value}} data segments left without their mapping",
        )
    for packer in ("linux", "kernel"):
        yield Expectation(
            variant=f"{packer}/{_MAIN}",
            metric="ledger:displaced_share@client/data",
            at_least=0.99,
            statistic="min",
            because="a data segment is full with timestamps and DSS, and is an ACK for RFC 2018, too",
            claim="S9",
            says=f"{packer}: {{value}} of the SACK blocks that data segments wanted did not leave",
        )
    yield Expectation(
        variant="linux/no-ts/two-way/loss",
        metric="ledger:displaced_share@client/data",
        at_least=0.05,
        because="without timestamps one block fits beside 28 octets of DSS, more do not",
        claim="S9",
        says="even without timestamps {value} of them did not",
    )


def _of_delay() -> Iterator[Expectation]:
    """S8: which of the two waits."""
    yield Expectation(
        variant=f"linux/{_MAIN}",
        metric="ledger:information_delay_p95_ns@client/all",
        at_least=300_000,
        statistic="mean",
        because="a block that a data segment leaves out waits for the next pure ACK: a packet takes 1.2 ms here",
        claim="S8",
        says="DSS first: 95 % of the SACK ranges are told within {value}, not at once",
    )
    yield Expectation(
        variant=f"sack-first/{_MAIN}",
        metric="ledger:map_delayed_share@client/all",
        at_least=0.02,
        because="the mapping of a chunk waits for a segment without blocks",
        claim="S8",
        says="SACK first: {value} of the octets go ahead of their mapping",
    )
    for metric, what in (("information_delay_p95_ns", "SACK ranges wait {value}"), ("map_delayed_share", "{value}")):
        yield Expectation(
            variant=f"dense-32/{_MAIN}",
            metric=f"ledger:{metric}@client/all",
            at_most=0,
            because="10 + 18 + 10 = 38: mapping and newest block leave together",
            claim="S8",
            speaks="against",
            under=_ROOMY,
            says=f"dense 32-bit options: {what}"
            + (" at the 95th percentile" if "delay_p95" in metric else " of the octets go ahead of their mapping"),
        )


def _of_cost() -> Iterator[Expectation]:
    """N5 and S26 (and the cost in S9): goodput against a packer whose data segments have room for a block."""
    cost = "recovery at the end of a window learns of a hole only from pure ACKs, and more often waits for a timeout"
    for claim, speaks in (("N5", "for"), ("S26", "against"), ("S9", "for")):
        yield Expectation(
            variant=f"linux/{_MAIN}",
            metric="goodput_bit_s",
            at_most=0.97,
            relative_to=(f"dense-32/{_MAIN}",),
            statistic="mean",
            because=cost,
            claim=claim,
            speaks=speaks,  # type: ignore[arg-type]
            under="" if claim == "S9" else "data both ways under loss",
            says="5 % loss, data both ways: {value} the goodput of dense 32-bit options ({absolute}, {reference})",
        )
    for claim, speaks in (("N5", "for"), ("S26", "against")):
        yield Expectation(
            variant=f"linux/{_MAIN}",
            metric="longest_stall_ns",
            at_least=1.5,
            relative_to=(f"dense-32/{_MAIN}",),
            because=cost,
            claim=claim,
            speaks=speaks,  # type: ignore[arg-type]
            under="data both ways under loss",
            says="the longest stall of a transfer is {value} as long ({absolute}, {reference}): a timeout",
        )
    for claim in ("N5", "S26"):
        yield Expectation(
            variant="linux/ts/one-way/loss",
            metric="goodput_bit_s",
            at_least=0.93,
            relative_to=("dense-32/ts/one-way/loss",),
            statistic="mean",
            because="who only sends has no holes to report, and pure ACKs have room for a block",
            claim=claim,
            under="data one way" if claim == "S26" else "",
            says="5 % loss, data one way: {value} the goodput of dense 32-bit options",
        )
        yield Expectation(
            variant="linux/ts/two-way/reordering",
            metric="goodput_bit_s",
            at_least=0.95,
            relative_to=("dense-32/ts/two-way/reordering",),
            statistic="mean",
            because="RACK waits for what is late, and pure ACKs tell of it in time",
            claim=claim,
            speaks="against" if claim == "N5" else "for",
            under="reordering without loss",
            says="2 % reordering, data both ways: {value} the goodput of dense 32-bit options",
        )
