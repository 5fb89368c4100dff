"""The measurements: numbers of a pair, with repetitions, where a test says yes or no."""

from __future__ import annotations

from experiments.interop.question import SUBFLOW, Test, network
from testbed.orchestrator.spec import Bulk

REPETITIONS = 3
"""At least: a number without a spread cannot be compared."""

GOODPUT = Test(
    name="goodput",
    abbreviation="G",
    summary="How much arrives in four seconds over two paths of 10 Mbit/s each; plain TCP has the first of them.",
    source="RFC 6824 section 1 (the goal), NSDI 2012 (the measure)",
    judged="goodput of an upload",
    topology=network(),
    application=Bulk(direction="upload"),
    path_manager=SUBFLOW,
    duration_ns=4_000_000_000,
    measure="goodput_bit_s",
    better="largest",
    repetitions=REPETITIONS,
)

CONTENTION = Test(
    name="contention",
    abbreviation="OC",
    summary="Share of the client's SACK blocks that other options displaced, with data both ways and loss both ways.",
    source="RFC 2018 section 3, RFC 8684 section 3.3: 40 octets for all options",
    judged="SACK blocks wanted and sent by the client, as its packets show them",
    topology=network(boxes=dict.fromkeys(("path1", "path2"), "drop data every 25")),
    application=Bulk(direction="both", size_bytes=1_500_000),
    path_manager=SUBFLOW,
    measure="ledger:displaced_share@client/all",
    better="smallest",
    repetitions=REPETITIONS,
)

MEASUREMENTS: tuple[Test, ...] = (GOODPUT, CONTENTION)
