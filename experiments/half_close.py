"""An end that has closed its direction and downloads under loss: do its ACKs have room for SACK? N6."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import kernel, narrow_paths, ours, pair
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant
from topologies.link_profile import RandomLoss
from topologies.model import Topology

UPLOAD_BYTES, DOWNLOAD_BYTES = 200_000, 1_500_000
"""The client ends first, in the midst of its download."""
WATCHES = (
    "watch forward and ack and mptcp.dss.fin as fin-acks, "
    "watch forward and ack and mptcp.dss.fin and tcp.sack as fin-acks-with-sack, "
    "watch forward and ack and tcp.sack and not mptcp.dss.fin as other-acks-with-sack"
)
LOSS = narrow_paths(loss=RandomLoss(0.03), boxes=WATCHES)


def half_close() -> Experiment:
    """The first data of the client end while those of the server go on."""
    return Experiment(
        name="half_close",
        question="How long do the ACKs of an end that has closed its direction carry no SACK block?",
        variants=tuple(_variants()),
        repetitions=6,
        duration_ns=30 * SECOND,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        expectations=tuple(_expectations()),
        claims=(CLAIMS["N6"],),
    )


def _variants() -> Iterator[Variant]:
    for name, end in (
        ("linux/ts", ours()),
        ("linux/no-ts", ours(timestamps=False)),
        ("dense-32/ts", ours("dense-32")),
        ("dense/ts", ours("dense")),
        ("kernel/ts", kernel()),
    ):
        yield _variant(name, LOSS, end)


def _variant(name: str, topology: Topology, end: Endpoint) -> Variant:
    return pair(
        name,
        f"{name}: upload of 200 kB, then download alone, under 3 % loss.",
        topology,
        Bulk(direction="both", size_bytes=UPLOAD_BYTES, reverse_size_bytes=DOWNLOAD_BYTES),
        end,
        end,
        only_on="sim" if end.is_userspace else None,
    )


def _expectations() -> Iterator[Expectation]:
    for name in ("linux/ts", "dense/ts", "kernel/ts"):
        yield Expectation(
            variant=name,
            metric="watched:fin-acks-with-sack@path1",
            at_most=0,
            statistic="max",
            because="a DATA_FIN has a mapping: 26 octets with a DATA_ACK of 64 bits, 36 to 40 with the timestamps",
            claim="N6",
            under="timestamps and 64-bit numbers",
            says=f"{name}: {{value}} ACKs with DATA_FIN carry a SACK block",
        )
    yield Expectation(
        variant="linux/ts",
        metric="watched:fin-acks@path1",
        at_least=1,
        at_most=100,
        statistic="mean",
        because="each ACK repeats the DATA_FIN until it is DATA_ACKed, which any data of the server does: a round trip",
        claim="N6",
        under="timestamps and 64-bit numbers",
        says="that lasts a round trip: {value} ACKs of the download on a path",
    )
    for name, metric in (("linux/no-ts", "without timestamps"), ("dense-32/ts", "dense 32-bit options")):
        yield Expectation(
            variant=name,
            metric="watched:fin-acks-with-sack@path1",
            at_least=0.5,
            statistic="mean",
            because="28 + 12 = 40 without timestamps; 10 + 18 + 10 = 38 dense with 32 bits",
            claim="N6",
            speaks="against",
            under=metric,
            says=f"{metric}: {{value}} ACKs with DATA_FIN carry SACK blocks",
        )
    yield Expectation(
        variant="linux/ts",
        metric="watched:other-acks-with-sack@path1",
        at_least=50,
        statistic="min",
        because="before and after, an ACK (12 + 12) has room for a block: the download does have holes",
        claim="N6",
        under="timestamps and 64-bit numbers",
        says="{value} ACKs without DATA_FIN do",
    )
