"""Run directories with invented but realistic numbers, so that analysis and reports can be tested without a backend.

The shapes are those of a real run: slow start, a sawtooth per path, noise, an outage with its stall and recovery, an
INVALID and an UNSUPPORTED trial. Everything follows from the seed.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed.orchestrator.grid import Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, Stream, Variant, digest, to_json
from testbed.record import RunDirectory, TrialRecord
from topologies import drawing
from topologies.link_profile import LinkProfile, NoLoss, RandomLoss, outage
from topologies.link_text import describe, describe_change
from topologies.model import Link, Topology
from topologies.two_path import two_path

SECOND = 1_000_000_000
STEP = SECOND // 10
TCP = Endpoint(implementation="linux-tcp")

Rows = dict[str, list[dict[str, Any]]]


def aggregation(repetitions: int = 3) -> Experiment:
    network = two_path()
    return Experiment(
        name="aggregation",
        question="Does MPTCP over two paths of 20 Mbit/s carry more than TCP over the better one?",
        variants=(
            Variant(name="tcp-path1", summary="TCP over path1", topology=network, flows=(tcp("path1"),), subflows=1),
            Variant(name="tcp-path2", summary="TCP over path2", topology=network, flows=(tcp("path2"),), subflows=1),
            Variant(name="mptcp", summary="MPTCP over both paths", topology=network, flows=(Flow(),), subflows=2),
        ),
        repetitions=repetitions,
        expectations=(
            Expectation(
                variant="mptcp",
                metric="goodput_bit_s",
                at_least=1.8,
                relative_to=("tcp-path1", "tcp-path2"),
                because="two equal paths hold twice the better one; a tenth is left for the start and the headers",
            ),
            Expectation(variant="mptcp", metric="subflows", at_least=2, at_most=2, statistic="min"),
        ),
    )


def handover(repetitions: int = 3) -> Experiment:
    network = two_path()
    link = dataclasses.replace(network.link("path1"), changes=outage(4 * SECOND, 4 * SECOND))
    network = network.with_link(link)
    stream = Stream(rate_bit_s=4_000_000)
    return Experiment(
        name="handover",
        question="How long does a stream stall when the path under it goes dark, and does it recover?",
        variants=(
            Variant(name="tcp", summary="TCP over path1", topology=network, flows=(tcp("path1", stream),)),
            Variant(name="mptcp", summary="MPTCP", topology=network, flows=(Flow(application=stream),)),
            Variant(
                name="mptcp-redundant",
                summary="MPTCP with a scheduler that this kernel lacks",
                topology=network,
                flows=(Flow(application=stream, client=Endpoint(scheduler="redundant")),),
            ),
        ),
        repetitions=repetitions,
        expectations=(
            Expectation(
                variant="mptcp", metric="longest_stall_ns", at_most=1e9, statistic="max", because="one RTO and a bit"
            ),
            Expectation(variant="mptcp", metric="block_delay_p99_ns", at_most=200e6, because="a viewer's patience"),
            Expectation(variant="mptcp-redundant", metric="longest_stall_ns", at_most=50e6),
        ),
    )


def loss_sweep(points: int = 20, repetitions: int = 3) -> Experiment:
    """Three variants per point: 60 scenarios with the default."""
    variants = []
    for point in range(points):
        percent = round(0.1 * point, 2)
        loss = RandomLoss(percent / 100) if point else NoLoss()
        network = two_path(LinkProfile(rate_bit_s=20_000_000, delay_ns=10_000_000, loss=loss))
        for name, flow in (("tcp-path1", tcp("path1")), ("tcp-path2", tcp("path2")), ("mptcp", Flow())):
            variants.append(
                Variant(name=f"{name}-loss-{percent}", summary=f"{percent} % loss", topology=network, flows=(flow,))
            )
    return Experiment(
        name="loss_sweep",
        question="At which loss does MPTCP lose its gain?",
        variants=tuple(variants),
        repetitions=repetitions,
    )


def grid() -> Experiment:
    """One variant in each of three rows."""
    experiment = aggregation(repetitions=1)
    cells = tuple(
        GridCell(
            variant=variant.name,
            row=row,
            column=GridColumn(pair="linux/linux", role="client sends"),
            fates=("mptcp",),
            altered=(),
        )
        for variant, row in zip(experiment.variants, ("strip", "drop", "split"), strict=True)
    )
    rows = tuple(GridRow(name=name, text=name, because="it is so") for name in ("strip", "drop", "split"))
    return dataclasses.replace(
        experiment, grid=Grid(heading="middlebox", rows=rows, cells=cells), expectations=(), duration_ns=10**10
    )


def ended(trial: int, tables: Rows) -> None:
    """What a grid asks of a flow: it came to its end as MPTCP, in trial 2 as plain TCP. For ``make_run(alter=...)``."""
    values: dict[str, Any] = {"bytes_sent_download": 0, "bytes_received_download": 0, "complete": True}
    fell_back = {"fallback": True, "in_force": "fallback"} if trial == 2 else {"in_force": "mptcp"}
    if "flows" in tables:
        tables["flows"][0] |= {**values, "implementation": "linux", **fell_back}


def tcp(path: str, application: Any = None) -> Flow:
    return Flow(application=application or Bulk(), client=TCP, server=TCP, path=path)


def run_json(experiment: Experiment) -> dict[str, Any]:
    plan = []
    for repetition in range(experiment.repetitions):
        for variant in experiment.variants:
            plan.append(
                {
                    "trial": len(plan),
                    "variant": variant.name,
                    "repetition": repetition,
                    "seed": random.Random(f"{experiment.seed} {repetition}").getrandbits(64),
                }
            )
    return {
        "experiment": to_json(experiment),
        "plan": plan,
        "seed": experiment.seed,
        "backend": "mininet",
        "command": ["testbed", "run", experiment.name, "--backend", "mininet", "--seed", str(experiment.seed)],
        "overrides": {"duration": "10s"},
        "source": {"commit": "7e3c51f0a9b44d0c8a5b8f6d2f7be3d1c9a0e412", "dirty": True},
        "versions": {"testbed": "0.1.0", "python": "3.11.2", "mininet": "2.3.0.dev6", "iproute2": "6.1.0"},
        "machine": {"processor": "AMD EPYC 7B13", "cores": 2, "memory_bytes": 8_200_000_000, "virtualisation": "kvm"},
        "kernel": {"release": "6.18.44", "mptcp": True, "netem": False},
        "sysctls": {
            "machine": {"net.core.rmem_max": "212992"},
            "client": {"net.mptcp.enabled": "1", "net.ipv4.tcp_congestion_control": "cubic"},
            "server": {"net.mptcp.enabled": "1", "net.ipv4.tcp_congestion_control": "cubic"},
        },
        "notes": ["netem is not in this kernel; links were realised by the relay."],
    }


def make_run(
    parent: Path,
    experiment: Experiment,
    *,
    verdicts: Mapping[int, tuple[str, str]] | None = None,
    stop_after: int | None = None,
    seed: int = 7,
    alter: Callable[[int, Rows], None] | None = None,
    document: Mapping[str, Any] | None = None,
) -> Path:
    """A run directory of ``experiment``; ``verdicts``: trial -> (verdict, reason) of those that are not VALID.

    ``alter`` may change the rows of a trial before they are stored, ``document`` has other keys of run.json.
    """
    document = run_json(experiment) | dict(document or {})
    run = RunDirectory.create(parent, experiment.name, digest(experiment), document)
    for number, variant in enumerate(experiment.variants):
        network = variant.topology.resolved()
        run.write_file(f"drawings/{variant.name}.svg", drawing.as_svg(network, id_prefix=f"v{number}"))
        run.write_file(f"drawings/{variant.name}.txt", drawing.as_text(network))
    for entry in document["plan"][:stop_after]:
        verdict, reason = (verdicts or {}).get(entry["trial"], ("VALID", ""))
        variant = experiment.variant(entry["variant"])
        rng = random.Random(f"{seed} {entry['trial']}")
        tables = trial_tables(experiment, variant, entry, verdict, reason, rng)
        if alter is not None:
            alter(entry["trial"], tables)
        folder = run.begin_trial(entry["trial"])
        (folder / "logs" / "client.txt").write_text("connected\n")
        run.store_trial(TrialRecord(entry["trial"], tables))
    if stop_after is None:
        run.complete()
    run.close()
    return run.path


def trial_tables(
    experiment: Experiment, variant: Variant, entry: Mapping[str, Any], verdict: str, reason: str, rng: random.Random
) -> Rows:
    trial = entry["trial"]
    row = {
        "trial": trial,
        "experiment": experiment.name,
        "variant": variant.name,
        "repetition": entry["repetition"],
        "seed": entry["seed"],
        "verdict": verdict,
        "reason": reason,
        "backend": "mininet",
        "realisation": "relay",
        "started_utc": f"2026-01-01T12:{trial // 4 % 60:02}:{15 * (trial % 4):02}.000Z",
        "duration_ns": 12 * SECOND + rng.randrange(SECOND),
        "setup_ns": 640_000_000 + rng.randrange(90_000_000),
    }
    if verdict == "UNSUPPORTED":
        return {"trials": [row | {"duration_ns": 31_000_000, "setup_ns": None}]}
    tables: Rows = {"samples": [], "subflows": [], "events": [], "counters": [], "links": [], "distributions": []}
    flow = variant.flows[0]
    paths = [path.name for path in variant.topology.paths]
    used = [flow.path or "path1"] if flow.client.implementation == "linux-tcp" else paths
    rates = traffic(experiment, variant.topology, flow, used, rng)
    add_series(tables, trial, flow, used, rates, variant.topology, rng)
    add_links(tables, trial, variant.topology, rates, used, rng)
    add_counters(tables, trial, len(used), rng)
    add_events(tables, trial, variant.topology)
    result = flow_row(tables, trial, flow, used, rates, rng)
    tables["flows"] = [result]
    headline = ("goodput_bit_s", "completion_time_ns", "subflows", "longest_stall_ns")
    row |= {name: result.get(name) for name in headline}
    row |= {"lateness_p99_ns": rng.randrange(60_000, 240_000), "rate_error": rng.uniform(0.0002, 0.004)}
    return tables | {"trials": [row]}


def traffic(
    experiment: Experiment, network: Topology, flow: Flow, used: list[str], rng: random.Random
) -> dict[str, list[float]]:
    """Path -> bit/s that arrive, per 100 ms."""
    steps = experiment.duration_ns // STEP
    dark = [change.at_ns for change in network.link(used[0]).changes if change.down is not None]
    dark_from, dark_to = dark if dark else (10**18, 10**18)
    rates: dict[str, list[float]] = {}
    wanted = flow.application.rate_bit_s if isinstance(flow.application, Stream) else None
    for order, path in enumerate(used):
        link = network.link(path)
        share = 0.947 * (link.forward.rate_bit_s or 1e9)
        if isinstance(link.forward.loss, RandomLoss):  # Mathis et al., CCR 1997
            share = min(share, 1.22 * 1448 * 8e9 / (2 * link.forward.delay_ns * link.forward.loss.probability**0.5))
            share *= rng.uniform(0.85, 1.0)
        series = []
        for step in range(steps):
            now = step * STEP
            ramp = min(1.0, max(0.0, (now - order * 0.06e9) / (0.5e9 + link.forward.delay_ns * 20)))
            rate = share * ramp * rng.uniform(0.985, 1.0)
            if wanted is not None:
                first = order == 0 or len(used) == 1
                rate = wanted * rng.uniform(0.97, 1.03) if first else 0.0
            if order == 0 and dark_from <= now < dark_to + (1.3e9 if len(used) == 1 else 0.6e9):
                rate = 0.0
            elif wanted and order == 1 and dark_from + 0.4e9 <= now < dark_to + 0.6e9:
                rate = wanted * rng.uniform(0.97, 1.03) * (2.2 if now < dark_from + 0.8e9 else 1)
            series.append(rate)
        rates[path] = series
    return rates


def add_series(
    tables: Rows,
    trial: int,
    flow: Flow,
    used: list[str],
    rates: Mapping[str, list[float]],
    network: Topology,
    rng: random.Random,
) -> None:
    def add(time_ns: int, subject: str, metric: str, value: float, unit: str, source: str) -> None:
        tables["samples"].append(
            {
                "trial": trial,
                "time_ns": time_ns,
                "subject": subject,
                "metric": metric,
                "value": value,
                "unit": unit,
                "source": source,
            }
        )

    download = getattr(flow.application, "direction", "upload") == "download"
    receiver, sender = ("client", "server") if download else ("server", "client")
    source = "TCP_INFO" if flow.client.implementation == "linux-tcp" else "MPTCP_FULL_INFO"
    totals = dict.fromkeys(used, 0.0)
    for step in range(len(rates[used[0]])):
        now = (step + 1) * STEP
        add(now, f"main.{receiver}", "goodput", sum(rates[path][step] for path in used), "bit/s", "application")
        add(now, "machine", "cpu_busy", rng.uniform(0.2, 0.4), "1", "/proc/stat")
        for index, path in enumerate(used):
            totals[path] += rates[path][step] * STEP / 8e9
            window = 40 + 30 * ((step + 13 * index) % 35) / 35
            base = 2 * network.link(path).forward.delay_ns
            for side in (sender, receiver):
                subject = f"main.{side}.subflow{index}"
                if side == receiver:
                    add(now, subject, "bytes_received", totals[path], "bytes", source)
                else:
                    add(now, subject, "bytes_acked", totals[path], "bytes", source)
                    add(now, subject, "snd_cwnd", int(window), "segments", source)
                    queueing = max(0.0, window - 42) * 0.6e6
                    add(now, subject, "rtt", base + queueing + rng.uniform(0, 2e6), "ns", source)
    for index, path in enumerate(used):
        number = used.index(path) + 1
        for side in ("client", "server"):
            ends = [f"10.0.{2 * number - 1}.1:40{index}01", f"10.0.{2 * number}.2:5001"]
            tables["subflows"].append(
                {
                    "trial": trial,
                    "flow": "main",
                    "side": side,
                    "index": index,
                    "local_address": ends[side == "server"],
                    "remote_address": ends[side == "client"],
                    "path": path,
                    "backup": False,
                    "first_seen_ns": STEP,
                    "last_seen_ns": 10 * SECOND,
                }
            )


def flow_row(
    tables: Rows, trial: int, flow: Flow, used: list[str], rates: Mapping[str, list[float]], rng: random.Random
) -> dict[str, Any]:
    total = [sum(rates[path][step] for path in used) for step in range(len(rates[used[0]]))]
    received = int(sum(total) * STEP / 8e9)
    goodput = received * 8e9 / (len(total) * STEP)
    longest, start = longest_zero(total)
    kind = flow.application.kind
    download = getattr(flow.application, "direction", "upload") == "download"
    row: dict[str, Any] = {
        "trial": trial,
        "flow": flow.name,
        "implementation": flow.client.implementation,
        "server_implementation": flow.server.implementation,
        "application": kind,
        "direction": "download" if download else "upload",
        "client_host": "client",
        "server_host": "server",
        "path": used[0],
        "family": 4,
        "in_force": flow.client.implementation,
        "congestion_control": "cubic",
        "goodput_bit_s": goodput,
        f"goodput_{'download' if download else 'upload'}_bit_s": goodput,
        f"bytes_sent_{'download' if download else 'upload'}": received,
        f"bytes_received_{'download' if download else 'upload'}": received,
        "integrity": "ok",
        "connect_time_ns": 20_400_000 + rng.randrange(800_000),
        "completion_time_ns": len(total) * STEP + rng.randrange(90_000_000),
        "longest_stall_ns": (longest * STEP or 3_000_000) + rng.randrange(20_000_000),
        "longest_stall_start_ns": start * STEP,
        "subflows": len(used),
        "fallback": False,
        "retransmits": rng.randrange(30, 120) * len(used),
        "bytes_retransmitted": rng.randrange(40_000, 170_000) * len(used),
    }
    if kind == "stream":
        delays = list(block_delays(total, rng))
        ordered = sorted(delays)
        row |= {
            "block_delay_p50_ns": ordered[len(ordered) // 2],
            "block_delay_p95_ns": ordered[int(0.95 * len(ordered))],
            "block_delay_p99_ns": ordered[int(0.99 * len(ordered))],
            "block_delay_max_ns": ordered[-1],
            "operations": len(delays),
        }
        tables["distributions"] += [
            {
                "trial": trial,
                "flow": flow.name,
                "metric": "block_delay",
                "index": index,
                "time_ns": index * 16_384_000 + delay,
                "value_ns": delay,
            }
            for index, delay in enumerate(delays)
        ]
    return row


def block_delays(total: list[float], rng: random.Random) -> Iterator[int]:
    dark = [step for step, rate in enumerate(total) if rate == 0.0 and step > 8]
    for index in range(int(len(total) * STEP / 16_384_000)):
        step = min(len(total) - 1, index * 16_384_000 // STEP)
        waiting = (dark[-1] + 1 - step) * STEP if dark and dark[0] <= step <= dark[-1] else 0
        yield int(10_600_000 + rng.expovariate(1 / 900_000) + waiting)


def longest_zero(total: list[float]) -> tuple[int, int]:
    best, best_start, run = 0, 0, 0
    for step, rate in enumerate(total):
        run = run + 1 if rate == 0.0 and step > 8 else 0
        if run > best:
            best, best_start = run, step - run + 1
    return best, best_start


def add_links(
    tables: Rows, trial: int, network: Topology, rates: Mapping[str, list[float]], used: list[str], rng: random.Random
) -> None:
    for link in network.resolved().shaped_links():
        for direction in ("forward", "backward"):
            tables["links"].append(link_row(trial, link, direction, sum(rates.get(link.name, [0.0])), rng))


def link_row(trial: int, link: Link, direction: str, rate_sum: float, rng: random.Random) -> dict[str, Any]:
    profile: LinkProfile = getattr(link, direction)
    packets = int(rate_sum * STEP / 8e9 / (1448 if direction == "forward" else 2896)) + 40
    drops = int(packets * 0.003) if direction == "forward" else 0
    return {
        "trial": trial,
        "link": link.name,
        "direction": direction,
        "realisation": "relay",
        "profile": describe(profile),
        "calibrated_rate_bit_s": (profile.rate_bit_s or 0) * rng.uniform(0.997, 1.002),
        "expected_rate_bit_s": float(profile.rate_bit_s or 0),
        "rate_tolerance": 0.02,
        "calibrated_delay_ns": profile.delay_ns + rng.randrange(20_000, 160_000),
        "expected_delay_ns": profile.delay_ns,
        "delay_tolerance_ns": 1_000_000,
        "calibrated_loss": 0.0,
        "expected_loss": 0.0,
        "packets_arrived": packets,
        "bytes_arrived": packets * 1514,
        "packets_delivered": packets - drops,
        "bytes_delivered": (packets - drops) * 1514,
        "dropped_loss": 0,
        "dropped_queue": drops,
        "dropped_outage": rng.randrange(20, 60) if link.changes else 0,
        "dropped_middlebox": 0,
        "changed_middlebox": 0,
        "marked_ce": 0,
        "duplicated": 0,
        "corrupted": 0,
        "reordered": 0,
        "queue_max_packets": 34,
        "queue_max_bytes": 51_476,
        "lateness_p50_ns": rng.randrange(8_000, 20_000),
        "lateness_p99_ns": rng.randrange(60_000, 240_000),
        "lateness_p999_ns": rng.randrange(240_000, 600_000),
        "lateness_max_ns": rng.randrange(600_000, 2_000_000),
        "rate_error": rng.uniform(0.0002, 0.004),
    }


def add_counters(tables: Rows, trial: int, subflows: int, rng: random.Random) -> None:
    mptcp = subflows > 1
    moved = {
        "MPTcpExtMPCapableSYNTX": int(mptcp),
        "MPTcpExtMPJoinSynTx": subflows - 1,
        "MPTcpExtMPJoinSynAckRx": subflows - 1,
        "MPTcpExtAddAddr": subflows - 1,
        "MPTcpExtMPTCPRetrans": rng.randrange(4, 30) if mptcp else 0,
        "TcpExtTCPSACKReorder": rng.randrange(2, 40),
        "TcpExtTCPLossProbes": rng.randrange(0, 6),
        "TcpRetransSegs": rng.randrange(30, 240),
        "TcpInSegs": rng.randrange(9_000, 20_000),
        "IpInReceives": rng.randrange(9_000, 20_000),
        "MPTcpExtDssFallback": None,
    }
    for host in ("client", "server"):
        for counter, growth in moved.items():
            before = None if growth is None else rng.randrange(5)
            after = None if growth is None or before is None else before + growth
            tables["counters"].append(
                {"trial": trial, "host": host, "counter": counter, "before": before, "after": after}
            )


def add_events(tables: Rows, trial: int, network: Topology) -> None:
    for link in network.links:
        for change in link.changes:
            tables["events"].append(
                {
                    "trial": trial,
                    "time_ns": change.at_ns + 210_000,
                    "kind": "change",
                    "subject": link.name,
                    "detail": describe_change(change),
                }
            )
