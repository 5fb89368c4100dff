"""One trial in virtual time: hosts with our own stack, the link model, the same applications, the same rows.

Everything that a trial of real namespaces records is recorded here, too, but nothing has to be calibrated: the links
*are* the model. What the captures and tables say depends on the specification and the seed alone.
"""

from __future__ import annotations

import datetime
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.endpoint.applications.catalog import make_application
from testbed.endpoint.collector import collect_seldom
from testbed.endpoint.protocol import Configuration, Event, FlowResult, Role, Samples, Start, SubflowSeen
from testbed.endpoint.script.host import ScriptHost, ScriptTransport
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.sockets import Unsupported as EndpointUnsupported
from testbed.endpoint.userspace.host import StackHost
from testbed.endpoint.userspace.parameters import stack_parameters
from testbed.endpoint.userspace.transport import StackTransport
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.stack import Stack
from testbed.net.capture import Capture
from testbed.net.chance import stream
from testbed.net.network import HostNode, Network
from testbed.net.simulator import Simulator
from testbed.orchestrator import plan as planning
from testbed.orchestrator import trial_rows
from testbed.orchestrator.backends import sim_network
from testbed.orchestrator.backends.virtual_clock import VirtualClock
from testbed.orchestrator.collectors.capture import file_name
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.plan import Trial
from testbed.orchestrator.spec import Experiment, Flow, Script, Variant
from testbed.orchestrator.trial import Outcome, Progress, subflow_problems
from testbed.orchestrator.trial_rows import Row
from testbed.record.run_directory import TrialRecord
from topologies.link_text import describe, describe_change
from topologies.model import Topology

REALISATION = "virtual time"
SLICE_NS = 50_000_000
"""Virtual time between two looks whether everybody is done, and two signs of life."""
PHASE_NS = 10_000_000
"""Clients start up to this much later than told, by chance."""
LINGER_NS = 1_000_000_000
"""After the results: so long the connections may take to close, so that captures have their ends."""


@dataclass(slots=True)
class _Side:
    """One side of one flow."""

    flow: Flow
    role: Role
    session: Session
    application: FlowApplication
    transport: StackTransport | ScriptTransport
    host: str
    events: list[Event] = field(default_factory=list)
    result: FlowResult | None = None

    @property
    def name(self) -> str:
        return f"{self.flow.name}.{self.role}"


@dataclass(slots=True)
class Simulation:
    """A network with everything that lives on it."""

    simulator: Simulator
    network: Network
    topology: Topology
    stacks: Mapping[str, StackHost | ScriptHost]
    sides: Sequence[_Side]


def why_not(variant: Variant) -> str | None:
    """Why a variant cannot run in virtual time; None: it can."""
    if variant.only_on == "mininet":
        return "it is for --backend mininet"
    for flow in variant.flows:
        for endpoint in (flow.client, flow.server):
            if endpoint.is_adapter:
                return f"adapter {endpoint.adapter} is a program on real time and real packets: --backend mininet"
            if not endpoint.is_userspace:
                return f"{endpoint.implementation} needs --backend mininet"
        if flow.application.kind == "program":
            return "unmodified programs need --backend mininet"
    return None


def run_trial(experiment: Experiment, trial: Trial, directory: Path, progress: Progress) -> Outcome:
    """Carry out a trial. Raises nothing: what went wrong is in the verdict. Files go to ``captures/`` and ``logs/``."""
    variant = experiment.variant(trial.variant)
    begun_ns = time.monotonic_ns()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    tables: dict[str, list[Row]] = {}
    verdict, reason, setup_ns = "VALID", "", 0
    try:
        simulation = prepare(experiment, variant, trial)
        setup_ns = time.monotonic_ns() - begun_ns
        carry_out(simulation, experiment, progress)
        tables, problems = tables_of(simulation, experiment, variant, trial)
        write_captures(simulation, directory / "captures")
        if problems:
            verdict, reason = "INVALID", "; ".join(problems)
    except (Unsupported, EndpointUnsupported) as error:
        verdict, reason = "UNSUPPORTED", str(error)
    except Exception as error:  # a defect of the testbed: this trial does not count, the others may
        (directory / "logs" / "traceback.txt").write_text(traceback.format_exc())
        verdict, reason = "INVALID", f"internal error, see logs/traceback.txt: {type(error).__name__}: {error}"
    links = tables.get("links", [])
    carried = trial_rows.Carried(
        backend="sim",
        verdict=verdict,
        reason=reason,
        started_utc=started,
        duration_ns=time.monotonic_ns() - begun_ns,
        setup_ns=setup_ns,
        realisation=REALISATION if links else None,
    )
    row = trial_rows.trial_row(experiment, trial, carried, tables.get("flows", []), links)
    return Outcome(verdict, reason, TrialRecord(trial.number, {"trials": [row], **tables}))


def prepare(experiment: Experiment, variant: Variant, trial: Trial) -> Simulation:
    """Network, stacks, and both sides of every flow, ready to start at time 0. Raises Unsupported."""
    if (obstacle := why_not(variant)) is not None:
        raise Unsupported(obstacle)
    topology = variant.topology.resolved()
    simulator = Simulator()
    clocks = {host.name: VirtualClock(simulator) for host in topology.hosts}
    reach = _Reach(topology)
    scripted = {
        planning.host_of(variant, flow, "client" if flow.client.is_script else "server")
        for flow in variant.flows
        if isinstance(flow.application, Script)
    }
    stacks: dict[str, StackHost | ScriptHost] = {}
    for host in topology.hosts:
        addresses, chance = _addresses(variant, topology, host.name), stream(trial.seed, "stack", host.name)
        clock = clocks[host.name]
        if host.name in scripted:
            stacks[host.name] = ScriptHost(addresses, chance, clock)
        else:
            stacks[host.name] = StackHost(Stack(addresses, Parameters(), chance, can_reach=reach.of(host.name)), clock)
    network, nodes = sim_network.build(topology, simulator, stacks, trial.seed)
    reach.network = network
    for name, clock in clocks.items():
        clock.flush = nodes[name].flush
    if experiment.capture:
        for interface in sim_network.interfaces(topology):
            nodes[interface.host].captures[interface.link] = Capture()
    sides = _sides(experiment, variant, trial, stacks)
    for side in sides:
        start_ns = side.flow.start_ns + (_phase_ns(trial, side.flow) if side.role == "client" else 0)
        side.session.begin(Start(epoch_monotonic_ns=0, start_ns=start_ns), side.application)
    return Simulation(simulator, network, topology, stacks, sides)


def carry_out(simulation: Simulation, experiment: Experiment, progress: Progress) -> None:
    """Run until every side has its result, and then until the connections are closed."""
    collect_seldom()
    progress("traffic", 0.0)
    simulator, sides = simulation.simulator, simulation.sides
    for side in sides:
        partner = next((each for each in sides if each.flow is side.flow and each is not side), None)
        side.session.on_over = _finisher(simulator, simulation.network.hosts, side, partner)
    deadline_ns = experiment.duration_ns + planning.drain_ns(simulation.topology) + LINGER_NS
    while simulator.now_ns < deadline_ns and not all(side.session.over for side in sides):
        simulator.run(simulator.now_ns + SLICE_NS)
        progress("", 0.0)
    for side in sides:
        if not side.session.over:
            side.session.fail("deadline", "it did not end within the flow's time")
    end_ns = simulator.now_ns + LINGER_NS
    while simulator.now_ns < end_ns and simulator.next_event_ns() is not None:
        simulator.run(min(end_ns, simulator.now_ns + SLICE_NS))


def _finisher(
    simulator: Simulator, nodes: Mapping[str, HostNode], side: _Side, partner: _Side | None
) -> Callable[[], None]:
    """What happens when a side is over: its result, and its end of the connections is closed, as a process's is. The
    end of a script ends its partner, too."""

    def finish() -> None:
        side.result = side.session.result(side.application)
        side.application.close()
        nodes[side.host].flush()
        if partner is not None and isinstance(side.transport, ScriptTransport):
            partner.session.stop()

    def over() -> None:
        simulator.call_at(simulator.now_ns, finish)

    return over


def _phase_ns(trial: Trial, flow: Flow) -> int:
    """How much later than told a client starts, as a process would: without it flows that compete would meet in the
    same phase in every repetition, and one of them always find the queue full (Floyd and Jacobson 1992)."""
    return stream(trial.seed, "phase", flow.name).randrange(PHASE_NS)


class _Reach:
    """Which pairs of addresses the routes join; asked by the stacks' path managers."""

    def __init__(self, topology: Topology) -> None:
        self.network: Network | None = None
        self._topology = topology

    def of(self, host: str) -> Any:
        """The predicate of one host."""

        def can_reach(local: bytes, remote: bytes) -> bool:
            return self.network is not None and self.network.reaches(host, local, remote)

        return can_reach


def _addresses(variant: Variant, topology: Topology, host: str) -> list[bytes]:
    """The addresses that a host's connections may use: of the flows' families, and of links that are on a path."""
    families = dict.fromkeys(planning.flow_family(topology, flow) for flow in variant.flows)
    used = {name for path in topology.paths for name in path.links}
    named = host in (topology.client.name, topology.server.name) and bool(used)
    table = topology.addresses()
    return [
        table[host, link.name, family].ip.packed
        for family in families
        for link in topology.links_of(host)
        if link.name in used or not named
    ]


def _sides(
    experiment: Experiment, variant: Variant, trial: Trial, stacks: Mapping[str, StackHost | ScriptHost]
) -> list[_Side]:
    """Servers first: a client never comes too early."""
    sides = []
    roles: tuple[Role, ...] = ("server", "client")
    for role in roles:
        for index, flow in enumerate(variant.flows):
            configuration = planning.endpoint_configuration(
                experiment, variant, flow, role, seed=trial.seed, port=planning.BASE_PORT + index
            )
            name = planning.host_of(variant, flow, role)
            host = stacks[name]
            transport, asked_for = _transport(host, configuration, experiment.ledger)
            events: list[Event] = []
            session = Session(configuration, host.clock, transport, events.append)
            session.in_force.update(asked_for)
            application = make_application(session)
            application.prepare()
            sides.append(_Side(flow, role, session, application, transport, name, events))
    return sides


def _transport(
    host: StackHost | ScriptHost, configuration: Configuration, ledger: bool
) -> tuple[StackTransport | ScriptTransport, dict[str, str | int | bool | None]]:
    """Of one side, and what is known of it before there is a connection."""
    if isinstance(host, ScriptHost):
        return ScriptTransport(host, configuration), {}
    parameters = stack_parameters(configuration.endpoint, configuration.path_manager, record_ledger=ledger)
    return StackTransport(host, configuration, parameters), _asked_for(parameters)


def _asked_for(parameters: Parameters) -> dict[str, str | int | bool | None]:
    """Known before there is a connection."""
    return {
        "checksum": parameters.checksum,
        "timestamps": parameters.tcp.timestamps,
        "sack": parameters.tcp.sack,
        "scheduler": parameters.scheduler if parameters.enabled else None,
    }


def tables_of(
    simulation: Simulation, experiment: Experiment, variant: Variant, trial: Trial
) -> tuple[dict[str, list[Row]], list[str]]:
    """Rows of every table but ``trials``, and what was not as asked for."""
    number, topology = trial.number, variant.topology
    tables: dict[str, list[Row]] = {
        name: [] for name in ("flows", "subflows", "samples", "distributions", "counters", "events", "observations")
    }
    problems: list[str] = []
    segments: list[Row] = []
    for side in simulation.sides:
        for event in side.events:
            if isinstance(event, Samples):
                tables["samples"] += trial_rows.sample_rows(number, event.rows)
        seen = [event for event in side.events if isinstance(event, SubflowSeen)]
        tables["events"] += trial_rows.subflow_events(number, side.name, seen)
        ledger = side.transport.take_ledger(0)
        segments += trial_rows.segment_rows(number, side.flow.name, side.role, ledger)
    tables |= trial_rows.ledger_tables(experiment, segments)
    for flow in variant.flows:
        results = {side.role: side.result for side in simulation.sides if side.flow is flow and side.result is not None}
        client, server = results["client"], results["server"]
        tables["flows"].append(trial_rows.flow_row(number, topology, flow, client, server))
        tables["subflows"] += trial_rows.subflow_rows(number, topology, flow, [server, client])
        for result in (server, client):
            tables["observations"] += trial_rows.observation_rows(number, flow.name, result)
        tables["distributions"] += trial_rows.distribution_rows(number, flow.name, [server, client])
        problems += _problems(experiment, variant, flow, client, server)
    for host, stack in simulation.stacks.items():
        if isinstance(stack, ScriptHost):
            continue
        for counter, value in stack.stack.counters.as_dict().items():
            tables["counters"].append({"trial": number, "host": host, "counter": counter, "before": 0, "after": value})
    tables["links"] = _link_rows(number, simulation)
    tables["middleboxes"] = _middlebox_rows(number, simulation)
    tables["events"] += _change_events(number, simulation.topology, simulation.simulator.now_ns)
    return tables, problems


def _problems(
    experiment: Experiment, variant: Variant, flow: Flow, client: FlowResult, server: FlowResult
) -> list[str]:
    problems = []
    kinds = planning.invalidating_errors(experiment)
    for result in (client, server):
        if result.error_kind == "unsupported":
            raise Unsupported(f"{flow.name}.{result.role}: {result.error}")
        if result.error_kind in kinds:
            problems.append(f"{flow.name}.{result.role}: {result.error}")
    expected = planning.expected_subflows(variant) if not experiment.outcome_is_result else None
    if expected is not None and flow is variant.flows[0]:
        problems += subflow_problems(flow, client, server, expected)
    return problems


def _link_rows(trial: int, simulation: Simulation) -> list[Row]:
    """Both directions of every shaped link, with what the model counted."""
    rows = []
    for link in simulation.topology.shaped_links():
        for direction, node in (("forward", link.a), ("backward", link.b)):
            simulated = simulation.network.links[link.name, node]
            model, gate, way = simulated.direction, simulated.gate, simulated.way
            counters = model.counters
            rows.append(
                {
                    "trial": trial,
                    "link": link.name,
                    "direction": direction,
                    "realisation": REALISATION,
                    "profile": describe(model.profile),
                    "packets_arrived": counters.arrived_packets,
                    "bytes_arrived": counters.arrived_bytes,
                    "packets_delivered": counters.delivered_packets,
                    "bytes_delivered": counters.delivered_bytes,
                    "dropped_loss": counters.dropped_loss,
                    "dropped_queue": counters.dropped_overflow,
                    "dropped_outage": counters.dropped_outage,
                    "dropped_middlebox": 0 if gate is None else gate.chain.dropped(way),
                    "changed_middlebox": 0 if gate is None else gate.chain.changed(way),
                    "marked_ce": counters.marked_ce,
                    "duplicated": counters.duplicated,
                    "corrupted": counters.corrupted,
                    "reordered": counters.reordered,
                    "queue_max_packets": model.line.max_packets,
                    "queue_max_bytes": model.line.max_bytes,
                }
            )
    return rows


def _middlebox_rows(trial: int, simulation: Simulation) -> list[Row]:
    """What each middlebox of each link did."""
    rows: list[Row] = []
    for link in simulation.topology.shaped_links():
        gate = simulation.network.links[link.name, link.a].gate
        if gate is not None:
            rows += [{"trial": trial, "link": link.name, **row} for row in gate.chain.rows()]
    return rows


def _change_events(trial: int, topology: Topology, end_ns: int) -> list[Row]:
    """Scheduled changes that came before the end."""
    rows = []
    for link in topology.links:
        for change in link.changes:
            if change.at_ns <= end_ns:
                words = describe_change(change)
                detail = words if change.direction == "both" else f"{change.direction}: {words}"
                rows.append(
                    {"trial": trial, "time_ns": change.at_ns, "kind": "change", "subject": link.name, "detail": detail}
                )
    return rows


def write_captures(simulation: Simulation, directory: Path) -> None:
    """A file for each interface of a host, named as a real capture is."""
    for interface in sim_network.interfaces(simulation.topology):
        node: HostNode = simulation.network.hosts[interface.host]
        if interface.link in node.captures:
            path = directory / file_name(interface.host, interface.name)
            path.write_bytes(node.captures[interface.link].content())
