"""What endpoints and relay said -> rows of the run directory's tables. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.emulation.protocol import DirectionReport, Report
from testbed.endpoint.protocol import FlowResult, LedgerRow, SampleRow, SubflowSeen
from testbed.mptcp.ledger import COLUMNS
from testbed.orchestrator import plan as planning
from testbed.orchestrator.network_plan import NetworkPlan
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Bulk, Experiment, Flow, Program, Script, ShortFlows, Stream
from testbed.record.ledger_sums import ledger_sums
from topologies import link_profile, link_text
from topologies.model import Topology

Row = dict[str, Any]


def flow_row(trial: int, topology: Topology, flow: Flow, client: FlowResult, server: FlowResult) -> Row:
    """The row of ``flows``."""
    direction = flow_direction(flow)
    upload, download = direction in ("upload", "both"), direction in ("download", "both", "exchange")
    if direction == "program":  # which side received is only known from what it has to say
        upload, download = server.goodput_bit_s is not None, client.goodput_bit_s is not None
    receivers = [side for side, used in ((server, upload), (client, download)) if used] or [client]
    stall = max(receivers, key=lambda side: side.longest_stall_ns or 0)
    unconnected = isinstance(flow.application, Program) and not flow.application.server  # there is no server process
    ends = (client,) if unconnected else (client, server)
    told = server if flow.client.is_script else client  # a script has no connection that could be looked at
    row: Row = {
        "trial": trial,
        "flow": flow.name,
        "implementation": flow.client.adapter or flow.client.implementation,
        "server_implementation": flow.server.adapter or flow.server.implementation,
        "application": flow.application.kind,
        "direction": direction if direction in ("upload", "download", "both") else None,
        "client_host": flow.client_host or topology.client.name,
        "server_host": flow.server_host or topology.server.name,
        "path": flow.path or (topology.paths[0].name if flow.client_host is None and topology.paths else None),
        "family": planning.flow_family(topology, flow),
        "in_force": told.implementation_in_force,
        "congestion_control": _text(told.in_force.get("congestion_control")),
        "scheduler": _text(told.in_force.get("scheduler")),
        "goodput_bit_s": goodput(receivers),
        "goodput_upload_bit_s": server.goodput_bit_s if upload else None,
        "goodput_download_bit_s": client.goodput_bit_s if download else None,
        "bytes_sent_upload": client.bytes_sent,
        "bytes_received_upload": server.bytes_received,
        "bytes_sent_download": server.bytes_sent,
        "bytes_received_download": client.bytes_received,
        "integrity": integrity(client, server),
        "first_wrong_upload": server.first_mismatch,
        "first_wrong_download": client.first_mismatch,
        "connect_time_ns": client.connect_time_ns,
        "first_byte_ns": _least(side.first_byte_ns for side in receivers),
        "completion_time_ns": _completion_ns(receivers),
        "longest_stall_ns": stall.longest_stall_ns,
        "longest_stall_start_ns": stall.longest_stall_start_ns,
        "subflows": _first_known([told.subflows_seen, client.subflows_seen, server.subflows_seen]),
        "fallback": _either([client.fallback, server.fallback]),
        "retransmits": _total([side.retransmits for side in ends]),
        "bytes_retransmitted": _total([side.bytes_retrans for side in ends]),
        **_operations(flow, client, server),
        "complete": client.complete and server.complete,
        "sample_lateness_max_ns": max(client.sample_lateness_max_ns, server.sample_lateness_max_ns),
        "error_kind": client.error_kind or server.error_kind,
        "error": error_of(client, server),
    }
    for side in (server, client):
        for distribution in side.distributions:
            for key in ("p50", "p95", "p99", "max"):
                row[f"{distribution.metric}_{key}_ns"] = getattr(distribution, f"{key}_ns")
    return row


def flow_direction(flow: Flow) -> str:
    """``upload``, ``download``, ``both``; ``exchange`` for requests and answers, ``program`` for the unknown."""
    application = flow.application
    if isinstance(application, Bulk | Stream | ShortFlows):
        return application.direction
    if isinstance(application, Script):  # from the script to who is asked
        return "upload" if flow.client.is_script else "download"
    return "exchange" if application.kind == "request-response" else "program"


def goodput(receivers: Sequence[FlowResult]) -> float | None:
    """Bytes of all receivers x 8 / the longest of their times; null when one of them has none."""
    known = [(side, side.goodput_bit_s, side.goodput_time_ns) for side in receivers]
    if len(known) == 1:
        return known[0][1]
    if any(rate is None or time_ns is None for _, rate, time_ns in known):
        return None
    return 8e9 * sum(side.bytes_received for side in receivers) / max(time_ns or 0 for *_, time_ns in known)


def integrity(client: FlowResult, server: FlowResult) -> str:
    """Whether what one end received is what the other sent: compared with the known payload, else SHA-256 at both ends.

    ``unchecked``: a direction that carried bytes has neither, or not all of it arrived and a side knows that. Who has
    read the end of a stream that was longer does not know it.
    """
    if any(side.first_mismatch is not None or side.error_kind == "integrity" for side in (client, server)):
        return "mismatch"
    complete = client.complete and server.complete
    verdicts = {_compared(*ends, complete) for ends in ((client, server), (server, client))}
    return next((word for word in ("mismatch", "unchecked", "ok") if word in verdicts), "unchecked")


def error_of(client: FlowResult, server: FlowResult) -> str | None:
    """What went wrong, whose words first; null when nothing did."""
    words = [f"{side.role}: {side.error}" for side in (client, server) if side.error is not None]
    return "; ".join(words) or None


def subflow_rows(trial: int, topology: Topology, flow: Flow, results: Sequence[FlowResult]) -> Iterator[Row]:
    """Rows of ``subflows``, with the path that the addresses belong to."""
    family = planning.flow_family(topology, flow)
    for result in results:
        for subflow in result.subflows:
            ends = (subflow.local_address, subflow.remote_address)
            client, server = ends if result.role == "client" else ends[::-1]
            yield {
                "trial": trial,
                "flow": flow.name,
                "side": result.role,
                "index": subflow.index,
                "local_address": _endpoint(subflow.local_address, subflow.local_port),
                "remote_address": _endpoint(subflow.remote_address, subflow.remote_port),
                "path": planning.path_of(topology, client, server, family) if flow.client_host is None else None,
                "backup": subflow.backup,
                "first_seen_ns": subflow.first_seen_ns,
                "last_seen_ns": subflow.last_seen_ns,
            }


def subflow_events(trial: int, name: str, seen: Sequence[SubflowSeen]) -> Iterator[Row]:
    """Rows of ``events``: subflows that came and went, as the endpoint ``name`` saw it."""
    for event in seen:
        local = _endpoint(event.local_address, event.local_port)
        yield {
            "trial": trial,
            "time_ns": event.time_ns,
            "kind": f"subflow-{event.change}",
            "subject": f"{name}.subflow{event.index}",
            "detail": f"{local} - {_endpoint(event.remote_address, event.remote_port)}",
        }


def distribution_rows(trial: int, flow: str, results: Sequence[FlowResult]) -> Iterator[Row]:
    """Rows of ``distributions``."""
    for result in results:
        for distribution in result.distributions:
            pairs = zip(distribution.time_ns, distribution.value_ns, strict=True)
            for index, (time_ns, value_ns) in enumerate(pairs):
                yield {
                    "trial": trial,
                    "flow": flow,
                    "metric": distribution.metric,
                    "index": index,
                    "time_ns": time_ns,
                    "value_ns": value_ns,
                }


def segment_rows(trial: int, flow: str, side: str, rows: Sequence[LedgerRow]) -> Iterator[Row]:
    """Rows of ``segments`` from a userspace endpoint's ledger."""
    names = ("connection", *(name for name, _, _ in COLUMNS))
    for row in rows:
        yield {
            "trial": trial,
            "flow": flow,
            "side": side,
            "source": "ledger",
            **dict(zip(names, row, strict=True)),
        }


def ledger_tables(experiment: Experiment, segments: Sequence[Row]) -> dict[str, list[Row]]:
    """The ledger of a trial in the form that the experiment asks for."""
    if experiment.ledger_form == "sums":
        return {"ledger_sums": list(ledger_sums(segments))}
    return {"segments": list(segments)}


def with_userspace_counters(
    trial: int, kernel: Sequence[Row], own: Sequence[tuple[str, Mapping[str, int]]]
) -> list[Row]:
    """The rows of ``counters`` with those of userspace stacks, by host; they replace the kernel's of the same name."""
    sums: dict[tuple[str, str], int] = {}
    for host, counters in own:
        for name, value in counters.items():
            sums[host, name] = sums.get((host, name), 0) + value
    rows = [row for row in kernel if (row["host"], row["counter"]) not in sums]
    return rows + [
        {"trial": trial, "host": host, "counter": name, "before": 0, "after": value}
        for (host, name), value in sorted(sums.items())
    ]


def observation_rows(trial: int, flow: str, result: FlowResult) -> Iterator[Row]:
    """Rows of ``observations``."""
    for name, value, unit in result.observations:
        yield {"trial": trial, "flow": flow, "side": result.role, "name": name, "value": value, "unit": unit}


def sample_rows(trial: int, rows: Sequence[SampleRow]) -> Iterator[Row]:
    """Rows of ``samples``."""
    names = ("time_ns", "subject", "metric", "value", "unit", "source")
    for row in rows:
        yield {"trial": trial, **dict(zip(names, row, strict=True))}


def link_rows(
    trial: int, plan: NetworkPlan, calibrations: Mapping[tuple[str, str], Row], report: Report | None
) -> list[Row]:
    """Rows of ``links``: both directions of every shaped link."""
    rows = []
    for shaped in plan.shaped:
        for direction in ("forward", "backward"):
            profile: link_profile.LinkProfile = getattr(shaped.link, direction)
            row: Row = {
                "trial": trial,
                "link": shaped.link.name,
                "direction": direction,
                "realisation": shaped.realisation,
                "profile": link_text.describe(profile),
                **calibrations.get((shaped.link.name, direction), {}),
            }
            if report is not None and shaped.realisation == "relay":
                row |= _counted(getattr(report.link(shaped.link.name), direction))
            rows.append(row)
    return rows


def middlebox_rows(trial: int, report: Report) -> Iterator[Row]:
    """Rows of ``middleboxes``."""
    for link in report.links:
        for box in link.middleboxes:
            yield {"trial": trial, "link": link.name, **dataclasses.asdict(box)}


def change_events(trial: int, report: Report) -> Iterator[Row]:
    """Rows of ``events``: scheduled changes that the relay carried out."""
    for link in report.links:
        for change in link.changes:
            yield {
                "trial": trial,
                "time_ns": change.at_ns,
                "kind": "change",
                "subject": link.name,
                "detail": change.what,
            }


@dataclass(frozen=True, slots=True)
class Carried:
    """What every backend has to say of a trial that it has carried out, or refused."""

    backend: str
    verdict: str
    reason: str
    started_utc: str
    duration_ns: int
    setup_ns: int | None
    realisation: str | None


def trial_row(
    experiment: Experiment, trial: Trial, carried: Carried, flows: Sequence[Row], links: Sequence[Row]
) -> Row:
    """The row of ``trials``: what it was, how it ended, the headline metrics."""
    variant = experiment.variant(trial.variant)
    row: Row = {
        "trial": trial.number,
        "experiment": experiment.name,
        "variant": trial.variant,
        "repetition": trial.repetition,
        "seed": trial.seed,
        **dataclasses.asdict(carried),
    }
    first = next((flow for flow in flows if flow["flow"] == variant.flows[0].name), None)
    if first is not None:
        for name in ("goodput_bit_s", "completion_time_ns", "subflows", "longest_stall_ns"):
            row[name] = first.get(name)
    lateness = [link["lateness_p99_ns"] for link in links if link.get("lateness_p99_ns") is not None]
    errors = [link["rate_error"] for link in links if link.get("rate_error") is not None]
    row["lateness_p99_ns"] = max(lateness, default=None)
    row["rate_error"] = max(errors, key=abs, default=None)
    return row


def realisation_of(plan: NetworkPlan) -> str | None:
    """How the shaped links were made, in one word; null when there is none."""
    kinds: set[str] = {shaped.realisation for shaped in plan.shaped}
    return None if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"


def _counted(report: DirectionReport) -> Row:
    return {
        "packets_arrived": report.arrived_packets,
        "bytes_arrived": report.arrived_bytes,
        "packets_delivered": report.delivered_packets,
        "bytes_delivered": report.delivered_bytes,
        "dropped_loss": report.dropped_loss,
        "dropped_queue": report.dropped_overflow,
        "dropped_outage": report.dropped_outage,
        "dropped_middlebox": report.dropped_middlebox,
        "changed_middlebox": report.changed_middlebox,
        "marked_ce": report.marked_ce,
        "duplicated": report.duplicated,
        "corrupted": report.corrupted,
        "reordered": report.reordered,
        "queue_max_packets": report.queue_max_packets,
        "queue_max_bytes": report.queue_max_bytes,
        **_lateness(report),
        "rate_error": report.rate_error,
    }


def _lateness(report: DirectionReport) -> Row:
    """Null where nothing was released: no packet was never late."""
    if not report.delivered_packets:
        return {}
    return {
        "lateness_p50_ns": report.late_p50_ns,
        "lateness_p99_ns": report.late_p99_ns,
        "lateness_p999_ns": report.late_p999_ns,
        "lateness_max_ns": report.late_max_ns,
    }


def _completion_ns(receivers: Sequence[FlowResult]) -> int | None:
    """From the start of the flow to the last byte at the last receiver; null when one did not get everything."""
    times = [
        side.last_byte_ns - side.start_ns
        for side in receivers
        if side.complete and side.last_byte_ns is not None and side.start_ns is not None
    ]
    return max(times) if len(times) == len(receivers) else None


def _compared(sender: FlowResult, receiver: FlowResult, complete: bool) -> str | None:
    """Integrity of one direction; None when it carried nothing. A side that is complete claims to have everything."""
    if not sender.bytes_sent and not receiver.bytes_received:
        return None
    if sender.sent_known and receiver.received_compared:
        is_right = receiver.first_mismatch is None
    elif sender.sha256_sent is None or receiver.sha256_received is None:
        return "unchecked"
    else:
        is_right = sender.sha256_sent == receiver.sha256_received
    if sender.bytes_sent == receiver.bytes_received:
        return "ok" if is_right else "mismatch"
    told_all = complete or receiver.peer_ended
    return "mismatch" if told_all or receiver.bytes_received > sender.bytes_sent else "unchecked"


def _operations(flow: Flow, client: FlowResult, server: FlowResult) -> Row:
    """Counted where they are complete: at the receiver of a stream, else at the client; null without operations."""
    if isinstance(flow.application, Bulk | Program | Script):
        return {"operations": None, "operations_failed": None}
    upload = isinstance(flow.application, Stream) and flow.application.direction == "upload"
    side = server if upload else client
    return {"operations": side.transfers, "operations_failed": side.transfers_failed}


def _least(values: Iterator[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _total(values: Sequence[int | None]) -> int | None:
    """Null when one is not known: a part of a sum is no sum."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _first_known(values: Sequence[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)


def _either(values: Sequence[bool | None]) -> bool | None:
    """Whether it was so at an end that tells; null when neither does."""
    known = [value for value in values if value is not None]
    return any(known) if known else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
