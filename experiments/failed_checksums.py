"""Data that fail their checksum: what of it reaches the application, by the number of subflows (N10).

A box rewrites payload in the middle of a transfer, octets of the same number, so that nothing but the checksum of the
DSS tells. RFC 8684 section 3.7: with several subflows the one is reset with MP_FAIL; with one, MP_FAIL leaves on an
ACK, and what failed is not DATA_ACKed before the peer has agreed to TCP with an infinite mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.claims import CLAIMS
from experiments.ingredients import MS, RENO, SECOND
from experiments.mechanism import network
from testbed.orchestrator.grid import Fate, Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant

SIZE_BYTES = 2_000_000
"""Some 450 ms of both paths: the box begins while both are at work."""
BEGINS_NS = 300 * MS
REWRITE = f'rewrite-payload "a" "A" on after {BEGINS_NS // MS}ms'
"""One octet of 256: nearly every segment of data is changed."""
WATCHES = (
    "watch mptcp.mp_fail and not tcp.rst and backward as mp-fail-on-ack",
    "watch mptcp.mp_fail and tcp.rst as mp-fail-on-reset",
    "watch reset_reason = 6 as reason-6",
    "watch mptcp.dss.map and dss.length = 0 as infinite",
)

ENDS = {
    "rfc8684": Endpoint(implementation="userspace", receiver="rfc8684", congestion_control=RENO, checksum=True),
    "linux": Endpoint(implementation="linux", congestion_control=RENO, checksum=True),
    "userspace": Endpoint(implementation="userspace", congestion_control=RENO, checksum=True),
}
"""Word in a variant's name -> an end; ``userspace`` has the receiver rules of Linux, but delivers nothing early."""
PAIRS = (
    ("rfc8684", "rfc8684"),
    ("userspace", "userspace"),
    ("linux", "linux"),
    ("rfc8684", "linux"),
    ("linux", "rfc8684"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How many subflows, and on which paths the box stands."""

    name: str
    text: str
    boxes: tuple[bool, bool]
    """On path1, on path2."""
    subflows: int
    fates: tuple[Fate, ...]
    altered: tuple[Fate, ...] = ()
    """Fates with which the box may have changed what arrived."""
    because: str


CASES = (
    Case(
        name="one",
        text="one subflow",
        boxes=(True, False),
        subflows=1,
        fates=("fallback",),
        altered=("fallback",),
        because="RFC 8684 section 3.7: the last subflow goes on as TCP, for which other octets are as good as any",
    ),
    Case(
        name="two-first",
        text="two subflows, the box on the first",
        boxes=(True, False),
        subflows=2,
        fates=("mptcp",),
        because="RFC 8684 section 3.7: the subflow is reset, its data go over the other one",
    ),
    Case(
        name="two-second",
        text="two subflows, the box on the second",
        boxes=(False, True),
        subflows=2,
        fates=("mptcp",),
        because="RFC 8684 section 3.7: the subflow is reset, its data go over the other one",
    ),
    Case(
        name="two-both",
        text="two subflows, the box on both",
        boxes=(True, True),
        subflows=2,
        fates=("reset", "unfinished"),
        because="RFC 8684 section 3.7: data sent again after a reset are not contiguous, so the last one is reset, too",
    ),
)


def failed_checksums() -> Experiment:
    """Uploads with checksums, of the kernel, of our stack, and with one subflow between the two."""
    variants, cells = [], []
    for case in CASES:
        for client, server in PAIRS:
            if "linux" in (client, server) and client != server and case.subflows > 1:
                continue  # the budget of real time; middleboxes has them
            variant = _variant(case, client, server)
            column = GridColumn(pair=f"{client}/{server}", role="client sends")
            variants.append(variant)
            cells.append(
                GridCell(variant=variant.name, row=case.name, column=column, fates=case.fates, altered=case.altered)
            )
    return Experiment(
        name="failed_checksums",
        question="How much of what fails its checksum reaches the application, with one subflow and with two?",
        variants=tuple(variants),
        repetitions=3,
        duration_ns=3 * SECOND,
        any_outcome=True,
        grid=Grid(
            heading="box",
            rows=tuple(GridRow(name=case.name, text=case.text, because=case.because) for case in CASES),
            cells=tuple(cells),
        ),
        claims=(CLAIMS["N10"],),
        expectations=(*_one_subflow(), *_two_subflows()),
    )


def _variant(case: Case, client: str, server: str) -> Variant:
    first, second = ((REWRITE, *WATCHES) if has_box else WATCHES for has_box in case.boxes)
    flow = Flow(
        application=Bulk(direction="upload", size_bytes=SIZE_BYTES),
        client=ENDS[client],
        server=ENDS[server],
        path="path1",
    )
    return Variant(
        name=f"{case.name}/{client}/{server}",
        summary=f"{REWRITE}, {case.text}: {client} to {server}.",
        topology=network(first, second),
        flows=(flow,),
        path_manager=PathManager(mode="none" if case.subflows == 1 else "signal"),
        only_on=None if "linux" in (client, server) else "sim",
        factors=(("box", case.name), ("receiver", server)),
    )


def _one_subflow() -> Iterator[Expectation]:
    """The wrong octets pass, with TCP in force or before that."""
    because = (
        "get_mapping_status() finds the checksum wrong, mptcp_subflow_fail() has an MP_FAIL sent, and "
        "subflow_check_data_avail() makes the data available all the same; so it goes for each mapping until the "
        "infinite mapping of the peer arrives"
    )
    for client in ("linux", "rfc8684"):
        name = f"one/{client}/linux"
        yield _evidence(
            name,
            "first_wrong_upload",
            "one subflow, Linux as receiver: the application got a wrong octet at {value}",
            because,
            low=0,
        )
        yield _evidence(
            name,
            "counter:MPTcpExtDataCsumErr@server",
            "{value} mappings failed, and each was delivered, before the peer had agreed to TCP",
            because,
            low=2,
        )
    held = (
        "RFC 8684 section 3.7: failed data MUST NOT be DATA_ACKed; they and what follows wait for the infinite "
        "mapping, so that only one mapping is ever checked and found wrong"
    )
    for client in ("rfc8684", "linux"):
        yield Expectation(
            variant=f"one/{client}/rfc8684",
            metric="counter:MPTcpExtDataCsumErr@server",
            at_least=1,
            at_most=1,
            says="our receiver holds what failed ({value} mapping) until the peer has agreed to TCP",
            because=held,
        )
    for name in ("one/rfc8684/rfc8684", "one/userspace/userspace", "one/linux/linux"):
        yield Expectation(
            variant=name,
            metric="watched:infinite@path1",
            statistic="min",
            at_least=1,
            says="{value} infinite mappings",
            because="the answer to MP_FAIL (Linux: send_infinite_map)",
        )


def _two_subflows() -> Iterator[Expectation]:
    """The subflow is reset, and no wrong octet passes."""
    because = "allow_infinite_fallback is cleared by the join: the subflow is reset with MP_FAIL and reason 6"
    ours = "RFC 8684 section 3.7: with several subflows, an RST with MP_FAIL"
    for case in CASES:
        if case.subflows == 1:
            continue
        path = "path1" if case.boxes[0] else "path2"
        for stack, why in (("linux", because), ("rfc8684", ours)):
            name = f"{case.name}/{stack}/{stack}"
            for metric, words in (("mp-fail-on-reset", "resets with MP_FAIL"), ("reason-6", "resets with reason 6")):
                yield _evidence(
                    name,
                    f"watched:{metric}@{path}",
                    f"{case.text}: {{value}} {words} on {path}",
                    why,
                    low=1,
                    high=1,
                    is_evidence=stack == "linux",
                )
            if case.boxes != (True, True):
                yield _evidence(
                    name,
                    "completion_time_ns",
                    f"{case.text}: every octet right, after {{value}}",
                    why,
                    high=3 * SECOND,
                    is_evidence=stack == "linux",
                )


def _evidence(
    variant: str,
    metric: str,
    says: str,
    because: str,
    *,
    low: float | None = None,
    high: float | None = None,
    is_evidence: bool = True,
) -> Expectation:
    return Expectation(
        variant=variant,
        metric=metric,
        at_least=low,
        at_most=high,
        statistic="median" if low is not None and high is not None else "max" if low is None else "min",
        claim="N10" if is_evidence else None,
        says=says,
        because=because,
    )
