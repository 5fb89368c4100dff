"""One trial from the empty machine to its rows: build, look, calibrate, run the traffic, collect, judge.

A trial ends VALID, INVALID (the testbed did not do what was asked: the numbers say what) or UNSUPPORTED (this machine
cannot: the reason says what is missing). What a valid trial achieved is for the analysis to judge, not for this file:
also a transfer that broke or lost bytes on a true network is a valid observation.
"""

from __future__ import annotations

import datetime
import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from testbed.emulation import fidelity
from testbed.emulation.calibration import Measurement, ProbedLink, Tolerance, calibrate
from testbed.emulation.placement import HOSTS_SYSCTL, placement
from testbed.emulation.probes import probe_socket
from testbed.emulation.protocol import Report
from testbed.endpoint.protocol import Configuration, FlowResult, Start
from testbed.orchestrator import endpoint_process, trial_rows
from testbed.orchestrator import plan as planning
from testbed.orchestrator.backends.base import plan_network
from testbed.orchestrator.backends.mininet import MininetLab, package_path
from testbed.orchestrator.collectors.trial_collectors import TrialCollectors
from testbed.orchestrator.endpoint_process import Conversation, EndpointFailed, EndpointProcess
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_plan import EMULATOR, NetworkPlan
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.qdisc_schedule import QdiscSchedule, schedule_of
from testbed.orchestrator.spec import Experiment, Flow, ShortFlows, Variant
from testbed.orchestrator.trial_rows import Row
from testbed.record.run_directory import TrialRecord

BASE_PORT = 5001
RESULT_SLACK_S = 15.0

Progress = Callable[[str, float], None]
"""Called with the phase that begins and its expected length in seconds; an empty phase: still at it."""


@dataclass(slots=True)
class Outcome:
    """What became of a trial; ``record`` is what the run directory keeps."""

    verdict: str
    reason: str
    record: TrialRecord

    def with_earlier_attempts(self, reasons: Sequence[str]) -> TrialRecord:
        """The record that also tells of the attempts before this one, which were INVALID."""
        warnings = [
            {
                "trial": self.record.trial,
                "time_ns": 0,
                "kind": "warning",
                "subject": "trial",
                "detail": f"attempt {number} was INVALID: {reason}",
            }
            for number, reason in enumerate(reasons, start=1)
        ]
        tables = dict(self.record.tables)
        tables["events"] = [*warnings, *tables["events"]]
        return TrialRecord(self.record.trial, tables)


@dataclass(slots=True)
class _Observed:
    """Rows gathered on the way; whatever there is when a trial ends early is kept."""

    flows: list[Row] = field(default_factory=list)
    subflows: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    distributions: list[Row] = field(default_factory=list)
    counters: list[Row] = field(default_factory=list)
    links: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    setup_ns: int | None = None
    realisation: str | None = None


def run_trial(
    experiment: Experiment,
    trial: Trial,
    *,
    run_id: str,
    directory: Path,
    qdiscs: QdiscFeatures,
    progress: Progress,
) -> Outcome:
    """Carry out one trial; ``directory`` takes its captures and logs. A stop request unwinds it as an exception."""
    variant = experiment.variant(trial.variant)
    begun_ns = time.monotonic_ns()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    observed = _Observed()
    verdict, reason = "VALID", ""
    try:
        _Carrying(experiment, variant, trial, run_id, directory, progress, observed).out(qdiscs)
        if observed.problems:
            verdict, reason = "INVALID", "; ".join(observed.problems)
    except Unsupported as error:
        verdict, reason = "UNSUPPORTED", str(error)
    except InvalidTrial as error:
        verdict, reason = "INVALID", "; ".join([str(error), *observed.problems])
    except Exception as error:  # a defect of the testbed: this trial does not count, the others may
        (directory / "logs" / "traceback.txt").write_text(traceback.format_exc())
        verdict, reason = "INVALID", f"internal error, see logs/traceback.txt: {type(error).__name__}: {error}"
    base: Row = {
        "trial": trial.number,
        "experiment": experiment.name,
        "variant": trial.variant,
        "repetition": trial.repetition,
        "seed": trial.seed,
        "verdict": verdict,
        "reason": reason,
        "backend": "mininet",
        "started_utc": started,
        "duration_ns": time.monotonic_ns() - begun_ns,
        "setup_ns": observed.setup_ns,
    }
    tables = {
        "trials": [trial_rows.trial_row(base, variant, observed.flows, observed.links, observed.realisation)],
        "flows": observed.flows,
        "subflows": observed.subflows,
        "samples": observed.samples,
        "distributions": observed.distributions,
        "counters": observed.counters,
        "links": observed.links,
        "events": observed.events,
    }
    return Outcome(verdict, reason, TrialRecord(trial.number, tables))


@dataclass(slots=True)
class _Carrying:
    """The steps of one trial, in order."""

    experiment: Experiment
    variant: Variant
    trial: Trial
    run_id: str
    directory: Path
    progress: Progress
    observed: _Observed

    def out(self, qdiscs: QdiscFeatures) -> None:
        """All of them. Raises Unsupported, InvalidTrial."""
        begun_ns = time.monotonic_ns()
        self.progress("build", 0.5)
        settings = planning.network_settings(self.experiment, self.variant)
        plan = plan_network(self.variant.topology, settings, qdiscs)
        relay_cpu = None
        if any(shaped.realisation == "relay" for shaped in plan.shaped):
            placed = placement(os.sched_getaffinity(0))
            relay_cpu = placed.relay_cpu
            if Path("/proc/sys", *HOSTS_SYSCTL.split(".")).exists():  # Linux 6.3 on
                plan = plan_network(self.variant.topology, planning.steered(settings, placed), qdiscs)
        self.observed.realisation = trial_rows.realisation_of(plan)
        with MininetLab(plan, run_id=self.run_id, seed=self.trial.seed, relay_cpu=relay_cpu) as lab:
            try:
                self._in(lab, plan, begun_ns)
            finally:
                log = self.directory / "logs" / "commands.txt"
                log.write_text("".join(f"{command}\n" for command in lab.commands))

    def _in(self, lab: MininetLab, plan: NetworkPlan, begun_ns: int) -> None:
        self.progress("check", 0.3)
        if findings := lab.check():
            raise InvalidTrial("pre-flight: " + "; ".join(str(finding) for finding in findings))
        self.progress("calibrate", 0.6)
        calibrations = self._calibrate(lab, plan)
        with ExitStack() as stack:
            collectors = stack.enter_context(TrialCollectors(self.experiment, self.variant, lab, self.directory))
            conversation, pairs = self._start_endpoints(lab)
            changes = QdiscSchedule(lambda argv: lab.run(EMULATOR, argv), schedule_of(plan, self.trial.seed))
            collectors.before()
            self.observed.setup_ns = time.monotonic_ns() - begun_ns
            self.progress("traffic", self.experiment.duration_ns / 1e9)
            epoch_ns = lab.relay.begin().monotonic_ns if lab.relay is not None else time.monotonic_ns()
            collectors.start(epoch_ns)
            for endpoint, flow in pairs:
                endpoint.say(Start(epoch_monotonic_ns=epoch_ns, start_ns=flow.start_ns))
            self._hear(conversation, lab, changes, epoch_ns)
            self.progress("collect", 0.5)
            report = lab.relay.report() if lab.relay is not None else None
            collected = collectors.finish()
        number = self.trial.number
        self.observed.counters += [{"trial": number, **row} for row in collected.counters]
        self.observed.samples += trial_rows.sample_rows(number, collected.samples)
        self.observed.events += [{"trial": number, **row} for row in (*collected.events, *changes.events)]
        self.observed.links += trial_rows.link_rows(number, plan, calibrations, report)
        if report is not None:
            self.observed.events += trial_rows.change_events(number, report)
            self._judge(report)
        self._take_results(conversation)

    # --- calibration ---

    def _calibrate(self, lab: MininetLab, plan: NetworkPlan) -> dict[tuple[str, str], Row]:
        """Measure every shaped link before the traffic. Raises InvalidTrial with what is out of tolerance."""
        tolerance = Tolerance()
        with ExitStack() as stack:
            probed = []
            for shaped in plan.shaped:
                sockets = []
                for node in (shaped.link.a, shaped.link.b):
                    with lab.inside(node):
                        sockets.append(stack.enter_context(probe_socket(lab.interface(node, shaped.link.name))))
                link = shaped.link
                bucket = shaped.realisation == "qdisc"
                a, b = sockets
                probed.append(ProbedLink(link.name, link.forward, link.backward, a, b, token_bucket=bucket))
            found = calibrate(probed, tolerance) if probed else ()
        rows = {(item.link, item.direction): _calibration_row(item, plan, tolerance) for item in found}
        if wrong := [item.describe() for item in found if not item.is_within]:
            self.observed.links += trial_rows.link_rows(self.trial.number, plan, rows, None)
            raise InvalidTrial("calibration: " + "; ".join(wrong))
        return rows

    def _judge(self, report: Report) -> None:
        """The check after the traffic."""
        for violation in fidelity.violations(report):
            self.observed.problems.append(f"emulation: {violation}")
            where, _, _ = violation.partition(":")
            for row in self.observed.links:
                if f"{row['link']} {row['direction']}" == where:
                    row["check"] = "; ".join(filter(None, [row.get("check"), violation]))

    # --- endpoints ---

    def _start_endpoints(self, lab: MininetLab) -> tuple[Conversation, list[tuple[EndpointProcess, Flow]]]:
        """Servers until they listen, then clients until they are ready."""
        conversation = Conversation()
        pairs: list[tuple[EndpointProcess, Flow]] = []
        ports: dict[str, int] = {}
        try:
            for role in ("server", "client"):
                for index, flow in enumerate(self.variant.flows):
                    port = ports.get(flow.name, BASE_PORT + index)
                    host, configuration = self._configuration(flow, role, port)
                    endpoint = endpoint_process.start(lab, host, configuration, package_path())
                    pairs.append((conversation.add(endpoint), flow))
                for endpoint, flow in pairs:
                    if role == "server":
                        ports[flow.name] = conversation.until_listening(endpoint)
                    elif endpoint.configuration.role == "client":
                        conversation.until_ready(endpoint)
        except EndpointFailed as error:
            if error.result.error_kind == "unsupported":
                raise Unsupported(str(error)) from error
            raise
        return conversation, pairs

    def _configuration(self, flow: Flow, role: str, port: int) -> tuple[str, Configuration]:
        topology = self.variant.topology
        client = flow.client_host or topology.client.name
        server = flow.server_host or topology.server.name
        client_link, server_link = planning.flow_links(topology, flow)
        family = planning.flow_family(topology, flow)
        table = topology.addresses()
        client_address = str(table[client, client_link, family].ip)
        server_address = str(table[server, server_link, family].ip)
        is_client = role == "client"
        left_ns = max(100_000_000, self.experiment.duration_ns - flow.start_ns)
        return client if is_client else server, Configuration(
            role="client" if is_client else "server",
            flow=flow.name,
            family=family,
            # a server listens on every address: a join to another one finds no listener that is bound to the first
            local_address=client_address if is_client else None,
            remote_address=server_address if is_client else client_address,
            port=port,
            endpoint=flow.client if is_client else flow.server,
            application=flow.application,
            duration_ns=min(left_ns, flow.duration_ns or left_ns),
            drain_ns=planning.drain_ns(topology),
            sample_interval_ns=self.experiment.sample_interval_ns,
            seed=self.trial.seed,
        )

    def _hear(self, conversation: Conversation, lab: MininetLab, changes: QdiscSchedule, epoch_ns: int) -> None:
        """Until every endpoint has its result."""

        def on_tick() -> float:
            if lab.relay is not None and not lab.relay.is_running():
                raise InvalidTrial(f"the relay (pid {lab.relay.process.pid}) died during the traffic")
            self.progress("", 0.0)
            return changes.carry_out(epoch_ns)

        deadline_s = (self.experiment.duration_ns + planning.drain_ns(self.variant.topology)) / 1e9 + RESULT_SLACK_S
        conversation.until_results(deadline_s, on_tick)

    # --- results ---

    def _take_results(self, conversation: Conversation) -> None:
        topology, number = self.variant.topology, self.trial.number
        for flow in self.variant.flows:
            ends = [item for item in conversation.endpoints if item.configuration.flow == flow.name]
            results = {item.configuration.role: item.result for item in ends}
            client, server = results["client"], results["server"]
            assert client is not None and server is not None  # until_results() returns no sooner
            self.observed.flows.append(trial_rows.flow_row(number, topology, flow, client, server))
            self.observed.subflows += trial_rows.subflow_rows(number, topology, flow, (client, server))
            self.observed.distributions += trial_rows.distribution_rows(number, flow.name, (client, server))
            for item in ends:
                self.observed.samples += trial_rows.sample_rows(number, item.samples)
                self.observed.events += trial_rows.subflow_events(number, item.name, item.subflows)
            self._judge_results(flow, client, server)

    def _judge_results(self, flow: Flow, client: FlowResult, server: FlowResult) -> None:
        for result in (client, server):
            if result.error_kind == "unsupported":
                raise Unsupported(f"{flow.name}.{result.role}: {result.error}")
            if result.error_kind in ("connect", "program", "configuration", "stopped"):
                self.observed.problems.append(f"{flow.name}.{result.role}: {result.error}")
        expected = self.variant.subflows
        one_connection = flow is self.variant.flows[0] and not isinstance(flow.application, ShortFlows)
        if expected is not None and one_connection and client.subflows_seen != expected:
            fell_back = ", the connection fell back to TCP" if client.fallback or server.fallback else ""
            self.observed.problems.append(
                f"{flow.name}: {client.subflows_seen} subflows were established instead of {expected}{fell_back}"
            )


def _calibration_row(found: Measurement, plan: NetworkPlan, tolerance: Tolerance) -> Row:
    shaped = next(item for item in plan.shaped if item.link.name == found.link)
    profile = shaped.link.forward if found.direction == "forward" else shaped.link.backward
    return {
        "calibrated_rate_bit_s": found.rate_bit_s,
        "expected_rate_bit_s": profile.rate_bit_s,
        "rate_tolerance": tolerance.rate,
        "calibrated_delay_ns": found.delay_median_ns,
        "expected_delay_ns": profile.delay_ns,
        "delay_tolerance_ns": tolerance.delay_ns,
        "calibrated_loss": found.lost / found.probes if found.probes else None,
        "check": "; ".join(found.problems) or None,
    }
