"""Does it help to split a segment for want of option space? S23."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import LOSS, kernel, narrow_paths, ours, pair
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant

SIZE_BYTES = 1_000_000
"""Each way."""
WATCHES = (
    "watch data and tcp.sack as data-with-sack, "
    "watch tcp.rst as resets, "
    "watch data and not mptcp.dss.map and not mptcp.mp_capable as data-without-map"
)
NETWORK = narrow_paths(loss=LOSS, boxes=WATCHES)
POLICIES = ("linux", "split-segment", "thin-maps", "dense-32")
RECEIVERS = {
    "rfc8684": ours("linux", "rfc8684"),
    "linux-rules": ours("linux", "linux"),
}


def split_segment() -> Experiment:
    """The policy at both ends, and towards receivers that never do it."""
    return Experiment(
        name="split_segment",
        question="Does a sender that splits a segment to make room for SACK blocks gain from it?",
        variants=tuple(_variants()),
        repetitions=8,
        duration_ns=30 * SECOND,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        expectations=tuple(_expectations()),
        claims=(CLAIMS["S23"],),
    )


def _variants() -> Iterator[Variant]:
    for policy in POLICIES:
        yield _variant(f"{policy}/both", ours(policy), ours(policy), policy, "sim")
    for word, receiver in RECEIVERS.items():
        yield _variant(f"split-segment/{word}", ours("split-segment"), receiver, "split-segment", "sim")
    yield _variant("split-segment/kernel", ours("split-segment"), kernel(), "split-segment", None)
    yield _variant("linux/kernel", ours("linux"), kernel(), "linux", None)


def _variant(name: str, client: Endpoint, server: Endpoint, policy: str, only_on: str | None) -> Variant:
    return pair(
        name,
        f"Data both ways under loss; the client's policy is {policy}, the server is {name.partition('/')[2]}.",
        NETWORK,
        Bulk(direction="both", size_bytes=SIZE_BYTES),
        client,
        server,
        factors=(("policy", policy), ("server", name.partition("/")[2])),
        only_on=only_on,  # type: ignore[arg-type]
    )


def _expectations() -> Iterator[Expectation]:
    split = "split-segment/both"
    yield Expectation(
        variant=split,
        metric="watched:data-with-sack@path1",
        at_least=10,
        statistic="min",
        because="the second half has no mapping, so 12 + 12 + 12 = 36 octets: one block",
        claim="S23",
        says="{value} data segments carry SACK blocks, none in Linux's layout",
    )
    for receiver in ("both", "rfc8684", "linux-rules", "kernel"):
        for metric, what in (("watched:resets@path1", "resets"), ("fate:fallback", "of the connections fell back")):
            yield Expectation(
                variant=f"split-segment/{receiver}",
                metric=metric,
                at_most=0,
                statistic="max",
                because="the first half's mapping covers both: RFC 8684 §3.3.1 lets the second go without",
                claim="S23",
                says=f"receiver {receiver.replace('both', 'of the same policy')}: {{value}} {what}",
            )
    yield Expectation(
        variant=split,
        metric="goodput_bit_s",
        at_least=0.9,
        relative_to=("linux/both",),
        statistic="mean",
        because="more packets for the same bytes, fewer timeouts",
        claim="S23",
        says="5 % loss, data both ways: {value} the goodput of Linux's layout ({absolute}, {reference})",
    )
    yield Expectation(
        variant=split,
        metric="longest_stall_ns",
        at_most=0.9,
        relative_to=("linux/both",),
        because="holes at the end of a window are told of by data segments, too: fewer timeouts",
        claim="S23",
        says="the longest stall of a transfer is {value} as long ({absolute}, {reference})",
    )
    for reference, bound, speaks, under in (
        ("linux/both", None, "for", ""),
        ("thin-maps/both", 1.1, "against", "beside thin mappings, which make the same room"),
    ):
        yield Expectation(
            variant=split,
            metric="ledger:header_tax@client/all",
            at_least=bound,
            at_most=1.5 if bound is None else None,
            relative_to=(reference,),
            statistic="mean",
            because="a quarter more segments, each with 24 to 40 octets of options",
            claim="S23",
            speaks=speaks,  # type: ignore[arg-type]
            under=under,
            says=f"option octets per payload octet: {{value}} those of {reference.partition('/')[0]}",
        )
