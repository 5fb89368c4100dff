"""One trial from the empty machine to its rows: build, look, calibrate, run the traffic, collect, judge.

A trial ends VALID, INVALID (the testbed did not do what was asked: the numbers say what) or UNSUPPORTED (this machine
cannot: the reason says what is missing). What a valid trial achieved is for the analysis to judge, not for this file:
also a transfer that broke or lost bytes on a true network is a valid observation.

INVALID has two sources. A disturbance is the testbed's own doing (calibration, fidelity, relay, readiness): such one
may be carried out again. A problem is what the endpoints did (a number of subflows, a fallback, an error): trying that
again would select results.
"""

from __future__ import annotations

import datetime
import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from testbed.emulation import fidelity
from testbed.emulation.placement import HOSTS_SYSCTL, claimed_placement
from testbed.endpoint.protocol import FlowResult, Role, Start
from testbed.orchestrator import (
    adapters,
    endpoint_process,
    network_commands,
    qdisc_check,
    qdisc_schedule,
    trial_links,
    trial_rows,
)
from testbed.orchestrator import plan as planning
from testbed.orchestrator.away.machine import AwayMachine
from testbed.orchestrator.backends.base import plan_network
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.collectors.jitter import looking_for_stalls
from testbed.orchestrator.collectors.kernel_ledger_rows import FlowEnd, KernelRows
from testbed.orchestrator.collectors.trial_collectors import KERNEL_LEDGER, TrialCollectors
from testbed.orchestrator.emulator import RelayError
from testbed.orchestrator.endpoint_process import Conversation, EndpointFailed, EndpointProcess
from testbed.orchestrator.errors import InvalidTrial, NotReady, Unsupported
from testbed.orchestrator.lint import OPTION_SPACE
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_plan import EMULATOR, NetworkPlan
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.qdisc_schedule import QdiscSchedule, schedule_of
from testbed.orchestrator.spec import Experiment, Flow, Variant
from testbed.orchestrator.trial_rows import Row
from testbed.orchestrator.withdrawals import Withdrawals
from testbed.record.run_directory import TrialRecord

RESULT_SLACK_S = 15.0

Progress = Callable[[str, float], None]
"""Called with the phase that begins and its expected length in seconds; an empty phase: still at it."""


@dataclass(slots=True)
class Outcome:
    """What became of a trial; ``record`` is what the run directory keeps."""

    verdict: str
    reason: str
    record: TrialRecord
    disturbed: bool = False
    """INVALID by the testbed itself, whatever the endpoints did: only then may it be carried out again."""

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


class _EndpointProblem(InvalidTrial):
    """An endpoint died or had no result in time."""


class _AllHeard(InvalidTrial):
    """Whoever can still say something has said it."""


@dataclass(frozen=True, slots=True)
class _Traffic:
    """What a trial has while its traffic runs."""

    lab: MininetLab
    plan: NetworkPlan
    calibrations: trial_links.Calibrations
    collectors: TrialCollectors
    conversation: Conversation
    changes: QdiscSchedule
    withdrawals: Withdrawals
    before_ns: int
    """CLOCK_MONOTONIC, before the counters were read for the first time."""
    epoch_ns: int


@dataclass(slots=True)
class _Observed:
    """Rows gathered on the way; whatever there is when a trial ends early is kept."""

    flows: list[Row] = field(default_factory=list)
    subflows: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    distributions: list[Row] = field(default_factory=list)
    counters: list[Row] = field(default_factory=list)
    links: list[Row] = field(default_factory=list)
    middleboxes: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    segments: list[Row] = field(default_factory=list)
    observations: list[Row] = field(default_factory=list)
    disturbances: list[str] = field(default_factory=list)
    """What the testbed did not do as asked."""
    problems: list[str] = field(default_factory=list)
    """What the endpoints did that makes the trial another one than asked for."""
    setup_ns: int | None = None
    realisation: str | None = None
    stalls: Row = field(default_factory=dict)
    """Columns of ``trials``: whether the machine stood still."""


def run_trial(
    experiment: Experiment,
    trial: Trial,
    *,
    run_id: str,
    directory: Path,
    qdiscs: QdiscFeatures,
    progress: Progress,
    watch_stalls: bool = False,
    away: AwayMachine | None = None,
) -> Outcome:
    """Carry out one trial; ``directory`` takes its captures and logs. A stop request unwinds it as an exception.

    ``watch_stalls``: look whether the machine stands still meanwhile (collectors/jitter.py).
    ``away``: the machine on which a node of the topology lives.
    """
    variant = experiment.variant(trial.variant)
    begun_ns = time.monotonic_ns()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    observed = _Observed()
    verdict, reason = "VALID", ""
    try:
        try:
            _Carrying(experiment, variant, trial, run_id, directory, progress, observed, watch_stalls, away).out(qdiscs)
        except (EndpointFailed, _EndpointProblem) as error:
            observed.problems.insert(0, str(error))
        except InvalidTrial as error:
            observed.disturbances.insert(0, str(error))
        if reasons := [*observed.disturbances, *observed.problems]:
            verdict, reason = "INVALID", "; ".join(reasons)
    except Unsupported as error:
        verdict, reason = "UNSUPPORTED", str(error)
    except Exception as error:  # a defect of the testbed: this trial does not count, the others may
        (directory / "logs" / "traceback.txt").write_text(traceback.format_exc())
        verdict, reason = "INVALID", f"internal error, see logs/traceback.txt: {type(error).__name__}: {error}"
    carried = trial_rows.Carried(
        backend="mininet",
        verdict=verdict,
        reason=reason,
        started_utc=started,
        duration_ns=time.monotonic_ns() - begun_ns,
        setup_ns=observed.setup_ns,
        realisation=observed.realisation,
    )
    tables = {
        "trials": [trial_rows.trial_row(experiment, trial, carried, observed.flows, observed.links) | observed.stalls],
        "flows": observed.flows,
        "subflows": observed.subflows,
        "samples": observed.samples,
        "distributions": observed.distributions,
        "counters": observed.counters,
        "links": observed.links,
        "middleboxes": observed.middleboxes,
        "events": observed.events,
        "observations": observed.observations,
        **trial_rows.ledger_tables(experiment, observed.segments),
    }
    disturbed = verdict == "INVALID" and bool(observed.disturbances)
    return Outcome(verdict, reason, TrialRecord(trial.number, tables), disturbed)


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
    watch_stalls: bool
    away: AwayMachine | None = None

    def out(self, qdiscs: QdiscFeatures) -> None:
        """All of them. Raises Unsupported, InvalidTrial."""
        begun_ns = time.monotonic_ns()
        self.progress("build", 0.5)
        for flow in self.variant.flows:
            for endpoint in (flow.client, flow.server):
                if endpoint.is_adapter and (why := adapters.refusal(endpoint)) is not None:
                    raise Unsupported(why)
        settings = planning.network_settings(self.experiment, self.variant)
        plan = plan_network(self.variant.topology, settings, qdiscs)
        self.observed.realisation = trial_rows.realisation_of(plan)
        with ExitStack() as stack:
            placed, steered = None, False
            if self.observed.realisation in ("relay", "mixed"):
                placed = stack.enter_context(claimed_placement(os.sched_getaffinity(0)))
                steered = Path("/proc/sys", *HOSTS_SYSCTL.split(".")).exists()  # Linux 6.3 on
                if steered:
                    plan = plan_network(self.variant.topology, planning.steered(settings, placed), qdiscs)
            cpu = placed.relay_cpu if placed is not None else None
            lab = stack.enter_context(self._lab(plan, qdiscs, cpu))
            if lab.relay is not None:
                self._note("relay", trial_links.how_it_ran(lab.relay.ready, placed, steered))
            try:
                self._in(lab, plan, begun_ns)
            finally:
                log = self.directory / "logs" / "commands.txt"
                log.write_text("".join(f"{command}\n" for command in lab.commands))

    def _lab(self, plan: NetworkPlan, qdiscs: QdiscFeatures, cpu: int | None) -> MininetLab:
        if self.away is None:
            return MininetLab(plan, run_id=self.run_id, seed=self.trial.seed, relay_cpu=cpu)
        from testbed.orchestrator.away.lab import Divided, DividedLab

        divided = Divided(
            machine=self.away,
            experiment=self.experiment,
            variant=self.variant,
            qdiscs=qdiscs,
            watch_stalls=self.watch_stalls,
        )
        return DividedLab(plan, divided, run_id=self.run_id, seed=self.trial.seed, relay_cpu=cpu)

    def _note(self, subject: str, detail: str) -> None:
        row = {"trial": self.trial.number, "time_ns": 0, "kind": "note", "subject": subject, "detail": detail}
        self.observed.events.append(row)

    def _in(self, lab: MininetLab, plan: NetworkPlan, begun_ns: int) -> None:
        self.progress("check", 0.3)
        findings = lab.check()
        if self.experiment.outcome_is_result:  # an announcement that does not fit may be what it is about
            for finding in findings:
                if finding.code == OPTION_SPACE:
                    self._note("option space", str(finding))
            findings = tuple(finding for finding in findings if finding.code != OPTION_SPACE)
        if findings:
            raise InvalidTrial("pre-flight: " + "; ".join(str(finding) for finding in findings))
        self.progress("calibrate", 0.6)
        with looking_for_stalls(self.watch_stalls) as seen:
            calibrations, wrong = trial_links.measured(lab, plan)
        self.observed.links += trial_rows.link_rows(self.trial.number, plan, calibrations, None)
        if wrong:
            for jitter in seen:  # there will be no traffic to look beside
                self.observed.stalls = jitter.columns()
                wrong.append(jitter.in_words())
            raise InvalidTrial("calibration: " + "; ".join(wrong))
        with ExitStack() as stack:
            collectors = stack.enter_context(
                TrialCollectors(self.experiment, self.variant, lab, self.directory, watch_stalls=self.watch_stalls)
            )
            conversation, pairs = self._start_endpoints(lab)
            changes = QdiscSchedule(
                lambda: lab.start(EMULATOR, qdisc_schedule.BATCH, interactive=True),
                lambda argv: lab.note(EMULATOR, argv, " ".join(qdisc_schedule.BATCH)),
                schedule_of(plan, self.trial.seed),
            )
            changes.prepare()
            withdrawals = Withdrawals(planning.kernel_withdrawal(self.variant), lab.remove_endpoint)
            before_ns = time.monotonic_ns()
            collectors.before()
            for shaped in plan.shaped:
                for argv in network_commands.reseed_commands(shaped, self.trial.seed):
                    lab.run(EMULATOR, argv)
            self.observed.setup_ns = time.monotonic_ns() - begun_ns
            self.progress("traffic", self.experiment.duration_ns / 1e9)
            epoch_ns = lab.relay.begin().monotonic_ns if lab.relay is not None else time.monotonic_ns()
            traffic = _Traffic(
                lab, plan, calibrations, collectors, conversation, changes, withdrawals, before_ns, epoch_ns
            )
            failure: InvalidTrial | None = None
            try:
                collectors.start(epoch_ns)
                for endpoint, flow in pairs:
                    there_ns = lab.clock_ns(endpoint.host, epoch_ns)
                    endpoint.say(Start(epoch_monotonic_ns=there_ns, start_ns=flow.start_ns))
                self._hear(traffic)
            except InvalidTrial as error:
                failure = error
                _hear_last_words(conversation)
            self.progress("collect", 0.5)
            for gather in (self._take_collected, self._take_links, self._take_results, self._take_away):
                try:
                    gather(traffic)
                except InvalidTrial as error:  # the rest is kept all the same
                    self.observed.disturbances.append(str(error))
        if failure is not None:
            raise failure

    def _take_collected(self, traffic: _Traffic) -> None:
        number, observed = self.trial.number, self.observed
        events = (*traffic.changes.events, *traffic.withdrawals.events)
        observed.events += [{"trial": number, **row} for row in events]
        collected = traffic.collectors.finish()
        observed.disturbances += collected.problems
        observed.counters += [{"trial": number, **row} for row in collected.counters]
        observed.samples += trial_rows.sample_rows(number, collected.samples)
        observed.events += [{"trial": number, **row} for row in collected.events]
        observed.stalls = collected.stalls

    def _take_links(self, traffic: _Traffic) -> None:
        """The check after the traffic, of both realisations."""
        number, observed, lab = self.trial.number, self.observed, traffic.lab
        problems = list(traffic.changes.problems)
        if lab.relay is not None and lab.relay.is_running():
            report = lab.relay.report()
            observed.links = trial_rows.link_rows(number, traffic.plan, traffic.calibrations, report)
            observed.middleboxes += trial_rows.middlebox_rows(number, report)
            observed.events += trial_rows.change_events(number, report)
            problems += fidelity.violations(report)
        rows, found = qdisc_check.check(
            traffic.plan,
            observed.counters,
            done=traffic.changes.done,
            lead_ns=traffic.epoch_ns - traffic.before_ns,
            elapsed_ns=time.monotonic_ns() - traffic.before_ns,
            seed=self.trial.seed,
            show=lambda interface: lab.run(EMULATOR, ("tc", "-j", "qdisc", "show", "dev", interface)),
        )
        for row in observed.links:
            row |= rows.get((row["link"], row["direction"]), {})
        problems += found
        trial_links.mark(observed.links, problems)
        observed.disturbances += [f"emulation: {problem}" for problem in problems]

    def _take_away(self, traffic: _Traffic) -> None:
        notes, problems = traffic.lab.check_away()
        for note in notes:
            self._note("the other machine", note)
        self.observed.disturbances += problems

    # --- endpoints ---

    def _start_endpoints(self, lab: MininetLab) -> tuple[Conversation, list[tuple[EndpointProcess, Flow]]]:
        """Servers until they listen, then clients until they are ready."""
        conversation = Conversation()
        pairs: list[tuple[EndpointProcess, Flow]] = []
        ports: dict[str, int] = {}
        try:
            roles: tuple[Role, ...] = ("server", "client")
            for role in roles:
                for index, flow in enumerate(self.variant.flows):
                    port = ports.get(flow.name, planning.BASE_PORT + index)
                    configuration = planning.endpoint_configuration(
                        self.experiment, self.variant, flow, role, seed=self.trial.seed, port=port
                    )
                    if configuration.endpoint.is_adapter:
                        logs = str((self.directory / "logs").absolute())
                        configuration = replace(configuration, log_directory=logs)
                    host = planning.host_of(self.variant, flow, role)
                    endpoint = endpoint_process.start(lab, host, configuration)
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
        except NotReady:
            raise
        except InvalidTrial as error:
            raise _EndpointProblem(str(error)) from error
        return conversation, pairs

    def _hear(self, traffic: _Traffic) -> None:
        """Until every endpoint has its result. Raises RelayError for the network, _EndpointProblem for an endpoint."""
        relay = traffic.lab.relay

        def on_tick() -> float:
            if relay is not None and not relay.is_running():
                raise RelayError(f"the relay (pid {relay.process.pid}) died during the traffic")
            self.progress("", 0.0)
            try:
                return min(each.carry_out(traffic.epoch_ns) for each in (traffic.changes, traffic.withdrawals))
            except InvalidTrial as error:
                raise RelayError(f"a scheduled change was not carried out: {error}") from error

        deadline_s = (self.experiment.duration_ns + planning.drain_ns(self.variant.topology)) / 1e9 + RESULT_SLACK_S
        try:
            traffic.conversation.until_results(deadline_s, on_tick)
        except RelayError:
            raise
        except InvalidTrial as error:
            raise _EndpointProblem(str(error)) from error

    # --- results ---

    def _take_results(self, traffic: _Traffic) -> None:
        """What each end has said; after an early end perhaps not everyone has a result."""
        topology, number = self.variant.topology, self.trial.number
        for flow in self.variant.flows:
            ends = [item for item in traffic.conversation.endpoints if item.configuration.flow == flow.name]
            for item in ends:
                self.observed.samples += trial_rows.sample_rows(number, item.samples)
                self.observed.events += trial_rows.subflow_events(number, item.name, item.subflows)
                role = item.configuration.role
                self.observed.segments += trial_rows.segment_rows(number, flow.name, role, item.ledger)
            there = {item.configuration.role: item.result for item in ends if item.result is not None}
            if not there:
                continue
            client, server = (there.get(role) or _no_result(flow, role) for role in ("client", "server"))
            row = trial_rows.flow_row(number, topology, flow, client, server)
            self.observed.flows.append(row | _unknown(set(there)))
            self.observed.subflows += trial_rows.subflow_rows(number, topology, flow, list(there.values()))
            for result in there.values():
                self.observed.observations += trial_rows.observation_rows(number, flow.name, result)
            self.observed.distributions += trial_rows.distribution_rows(number, flow.name, list(there.values()))
            if len(there) == 2:
                self._judge_results(flow, client, server)
        ends = traffic.conversation.endpoints
        self._take_kernel_segments(traffic)
        own = [(item.host, item.result.counters) for item in ends if item.result is not None and item.result.counters]
        self.observed.counters = trial_rows.with_userspace_counters(number, self.observed.counters, own)

    def _take_kernel_segments(self, traffic: _Traffic) -> None:
        tags = {host: tag for tag, host in enumerate(traffic.collectors.kernel_hosts)}
        if not tags:
            return
        ends = [
            FlowEnd(item.configuration.flow, item.configuration.role, tags[item.host], item.configuration.port)
            for item in traffic.conversation.endpoints
            if not item.configuration.endpoint.is_userspace
        ]
        kernel = KernelRows(ends, traffic.epoch_ns)
        rows = kernel.rows(traffic.collectors.kernel_segments())
        self.observed.segments += [{"trial": self.trial.number, **row} for row in rows]
        if kernel.unassigned:
            self._note(KERNEL_LEDGER, f"{kernel.unassigned} segments of no flow are left out")

    def _judge_results(self, flow: Flow, client: FlowResult, server: FlowResult) -> None:
        kinds = planning.invalidating_errors(self.experiment)
        for result in (client, server):
            if result.error_kind == "unsupported":
                raise Unsupported(f"{flow.name}.{result.role}: {result.error}")
            if result.error_kind in kinds:
                self.observed.problems.append(f"{flow.name}.{result.role}: {result.error}")
        expected = planning.expected_subflows(self.variant) if not self.experiment.outcome_is_result else None
        if expected is not None and flow is self.variant.flows[0]:
            self.observed.problems += subflow_problems(flow, client, server, expected)


def subflow_problems(flow: Flow, client: FlowResult, server: FlowResult, expected: int) -> list[str]:
    """Whether the connection was the one asked for: as many subflows at both ends, and MPTCP if both asked for it.

    An adapter need not tell how many it had; then the other end's word is all there is.
    """
    problems = []
    asked_for_mptcp = not flow.client.is_plain_tcp and not flow.server.is_plain_tcp
    if asked_for_mptcp and (client.fallback or server.fallback):
        problems.append(f"{flow.name}: both ends asked for MPTCP and the connection fell back to TCP")
    if client.subflows_seen not in (expected, None):
        problems.append(f"{flow.name}: {client.subflows_seen} established subflows instead of {expected}")
    elif client.subflows_seen is None and server.subflows_seen not in (expected, None):
        problems.append(f"{flow.name}: {server.subflows_seen} established subflows at the server instead of {expected}")
    elif server.subflows_seen is not None and server.subflows_seen != expected:
        problems.append(
            f"{flow.name}: the client had {expected} subflows established, the server only {server.subflows_seen}"
            if server.subflows_seen < expected
            else f"{flow.name}: the server had {server.subflows_seen} subflows established instead of {expected}"
        )
    return problems


def _hear_last_words(conversation: Conversation) -> None:
    """After an early end: ask everyone to stop and hear the results of those that live."""
    silent_ticks = 0

    def on_tick() -> float:
        nonlocal silent_ticks
        left = [item for item in conversation.endpoints if item.result is None]
        silent_ticks = silent_ticks + 1 if all(item.process.exit_code is not None for item in left) else 0
        if silent_ticks > 1:  # what the dead had said before was read in the tick between
            raise _AllHeard
        return 0.05

    with suppress(InvalidTrial):  # the trial is INVALID already, and who said nothing gets a row that tells so
        conversation.until_results(0.0, on_tick)


def _no_result(flow: Flow, role: Literal["client", "server"]) -> FlowResult:
    asked = flow.client if role == "client" else flow.server
    return FlowResult(
        role=role,
        flow=flow.name,
        implementation=asked.implementation,
        implementation_in_force=None,
        fallback=False,
        complete=False,
        stopped=False,
        error="it ended without a result",
    )


def _unknown(there: set[str]) -> Row:
    """The columns of ``flows`` that only an end without a result could have told."""
    columns = {
        "client": ("bytes_sent_upload", "bytes_received_download", "subflows", "fallback"),
        "server": ("bytes_sent_download", "bytes_received_upload", "fallback"),
    }
    return {name: None for role, names in columns.items() if role not in there for name in names}
