"""Experiment -> trials in the order of execution. Pure: the same experiment has the same plan everywhere.

Variants are interleaved: each repetition runs every variant once, and begins one variant later than the one before it,
so that a machine that grows warmer or busier favours none. All variants of one repetition share a seed: the links of
two variants then lose the same packets, and their trials can be compared as a pair. Variants of a named situation share
seeds among themselves alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from testbed.emulation.placement import HOSTS_SYSCTL, Placement
from testbed.endpoint.parameters import PathManagerSettings
from testbed.endpoint.protocol import Configuration, ErrorKind, Role
from testbed.orchestrator import ip_mptcp
from testbed.orchestrator.network_plan import NetworkSettings
from testbed.orchestrator.spec import Endpoint, Experiment, Flow, ShortFlows, SpecificationError, Variant
from testbed.orchestrator.withdrawals import Withdrawal
from topologies.model import Family, Path, Topology

RELAY_PER_PACKET_BIT_S = 250_000_000
"""Up to this sum of the paths' rates one relay process keeps up packet by packet (benchmarks/emulation.py): offloads
can stay off, and every packet on the wire has the size of the MTU."""


BASE_PORT = 5001
"""Of the first flow's server; the next flow has the next one."""

SEND_BUFFER_BYTES = 4 * 2**20
"""The kernel's default limit (net.ipv4.tcp_wmem)."""
DRAIN_NS = 5 * 10**9
LONGEST_DRAIN_NS = 25 * 10**9


@dataclass(frozen=True, slots=True)
class Trial:
    """One seeded run of one variant."""

    number: int
    variant: str
    repetition: int
    seed: int

    def as_row(self) -> dict[str, Any]:
        """An entry of run.json's plan."""
        return {"trial": self.number, "variant": self.variant, "repetition": self.repetition, "seed": self.seed}


def trials(experiment: Experiment) -> tuple[Trial, ...]:
    """Every trial, numbered in order of execution."""
    ordered: list[Trial] = []
    count = len(experiment.variants)
    for repetition in range(max(repetitions_of(experiment, variant) for variant in experiment.variants)):
        for position in range(count):
            variant = experiment.variants[(position + repetition) % count]
            if repetition >= repetitions_of(experiment, variant):
                continue
            seed = trial_seed(experiment.seed, repetition, variant.situation)
            ordered.append(Trial(len(ordered), variant.name, repetition, seed))
    return tuple(ordered)


def repetitions_of(experiment: Experiment, variant: Variant) -> int:
    """How often a variant is carried out."""
    return max(experiment.repetitions, variant.repetitions or 1)


def trial_seed(seed: int, repetition: int, situation: str = "") -> int:
    """63 bits; distinct repetitions, seeds and situations have unrelated ones."""
    text = f"trial {seed} {repetition}" + (f" {situation}" if situation else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def network_settings(experiment: Experiment, variant: Variant) -> NetworkSettings:
    """How this variant's network is to be made real. Raises SpecificationError when two flows want a host otherwise."""
    sysctls: dict[str, dict[str, str]] = {}
    for flow in variant.flows:
        for host, endpoint in (
            (flow.client_host or variant.topology.client.name, flow.client),
            (flow.server_host or variant.topology.server.name, flow.server),
        ):
            for name, value in host_sysctls(endpoint).items():
                known = sysctls.setdefault(host, {}).setdefault(name, value)
                if known != value:
                    raise SpecificationError(
                        f"variant {variant.name}: two flows want {name} of {host} to be {known} and {value}"
                    )
    return NetworkSettings(
        realisation=experiment.realisation,
        offloads=offloads(experiment, variant.topology),
        sysctls=sysctls,
        path_manager=variant.path_manager,
        family=flow_family(variant.topology, variant.flows[0]),
    )


def steered(settings: NetworkSettings, placed: Placement) -> NetworkSettings:
    """The settings with the hosts' network stacks kept off the relay's CPU."""
    mask = {HOSTS_SYSCTL: placed.hosts_mask}
    groups = {group: {**settings.sysctls.get(group, {}), **mask} for group in ("hosts", "routers")}
    return replace(settings, sysctls={**settings.sysctls, **groups})


def drain_ns(topology: Topology) -> int:
    """How long after its duration a flow may still deliver what is under way: a send buffer over the slowest path."""
    rates = [rate for path in topology.paths if (rate := path_rate_bit_s(topology, path)) is not None]
    return DRAIN_NS + (min(LONGEST_DRAIN_NS, SEND_BUFFER_BYTES * 8 * 10**9 // min(rates)) if rates else 0)


def host_sysctls(endpoint: Endpoint) -> dict[str, str]:
    """Settings that the kernel has per host, not per socket; a userspace endpoint has them for itself.

    An adapter's host gets them like the kernel's own, because it may be one around the kernel; but the name of a
    scheduler may be one that only the adapter knows.
    """
    if endpoint.is_userspace:
        return {}
    wanted = {
        "net.mptcp.checksum_enabled": endpoint.checksum,
        "net.ipv4.tcp_timestamps": endpoint.timestamps,
        "net.ipv4.tcp_sack": endpoint.sack,
        "net.mptcp.scheduler": None if endpoint.is_adapter else endpoint.scheduler,
    }
    return {
        name: value if isinstance(value, str) else str(int(value))
        for name, value in wanted.items()
        if value is not None
    }


def offloads(experiment: Experiment, topology: Topology) -> Any:
    """``on`` or ``off``; see :data:`RELAY_PER_PACKET_BIT_S`."""
    if experiment.offloads != "auto":
        return experiment.offloads
    rates = [path_rate_bit_s(topology, path) for path in topology.paths]
    total = sum(rate for rate in rates if rate is not None)
    return "off" if total <= RELAY_PER_PACKET_BIT_S else "on"


def path_rate_bit_s(topology: Topology, path: Path) -> int | None:
    """The lowest rate along a path, either direction; None: unlimited."""
    links = [topology.link(name) for name in path.links]
    rates = [profile.rate_bit_s for link in links for profile in (link.forward, link.backward) if profile.rate_bit_s]
    return min(rates) if rates else None


def expected_subflows(variant: Variant) -> int | None:
    """Subflows that the first flow must have had in all; None: not checked.

    What the variant states, or what its path manager opens between two MPTCP ends; plain TCP has one. A new connection
    per transfer, and conversations between other hosts, are not checked unless the variant states a number.
    """
    if variant.subflows is not None:
        return variant.subflows or None
    flow = variant.flows[0]
    if isinstance(flow.application, ShortFlows) or flow.client_host is not None or flow.server_host is not None:
        return None
    if flow.client.is_script or flow.server.is_script:
        return None
    if flow.client.is_plain_tcp or flow.server.is_plain_tcp:
        return 1
    if variant.path_manager.mode == "ndiffports" and flow.server.is_userspace and not flow.client.is_userspace:
        # a kernel client joins ports that are announced, and our server announces none; an adapter joins what it likes
        return None if flow.client.is_adapter else 1
    return ip_mptcp.expected_subflows(variant.topology, variant.path_manager)


def invalidating_errors(experiment: Experiment) -> tuple[ErrorKind, ...]:
    """Errors of an endpoint with which nothing was measured. A grid asks whether there is a connection at all."""
    kinds: tuple[ErrorKind, ...] = ("program", "configuration", "stopped")
    return kinds if experiment.outcome_is_result else ("connect", *kinds)


def flow_family(topology: Topology, flow: Flow) -> Family:
    """The address family of a flow."""
    return flow.family or topology.families[0]


def flow_links(topology: Topology, flow: Flow) -> tuple[str, str]:
    """(link of the client, link of the server) whose addresses the first subflow joins. Raises SpecificationError."""
    client = flow.client_host or topology.client.name
    server = flow.server_host or topology.server.name
    if client == topology.client.name and server == topology.server.name and topology.paths:
        path = topology.path(flow.path) if flow.path else topology.paths[0]
        return path.links[0], path.links[-1]
    way: Sequence[str] = topology.hops_from(client).get(server, ())
    if not way:
        raise SpecificationError(f"flow {flow.name}: no way from {client} to {server} in topology {topology.name}")
    return way[0], way[-1]


def endpoint_configuration(
    experiment: Experiment, variant: Variant, flow: Flow, role: Role, *, seed: int, port: int
) -> Configuration:
    """What the endpoint process of one side is told."""
    topology = variant.topology
    client_link, server_link = flow_links(topology, flow)
    family = flow_family(topology, flow)
    endpoint = flow.client if role == "client" else flow.server
    table = topology.addresses()
    client = str(table[host_of(variant, flow, "client"), client_link, family].ip)
    server = str(table[host_of(variant, flow, "server"), server_link, family].ip)
    left_ns = experiment.duration_ns - flow.start_ns
    return Configuration(
        role=role,
        flow=flow.name,
        family=family,
        # a server listens on every address: a join to another one finds no listener that is bound to the first
        local_address=client if role == "client" else None,
        remote_address=server if role == "client" else client,
        paths=flow_paths(variant, flow, role) if endpoint.is_script or endpoint.is_adapter else (),
        port=port,
        endpoint=endpoint,
        path_manager=own_path_manager(variant, flow, role),
        super_segments=offloads(experiment, topology) == "on",
        application=flow.application,
        duration_ns=min(left_ns, flow.duration_ns or left_ns),
        drain_ns=drain_ns(topology),
        sample_interval_ns=experiment.sample_interval_ns,
        ledger=experiment.ledger,
        seed=seed,
        test=flow.test,
    )


def flow_paths(variant: Variant, flow: Flow, role: Role) -> tuple[tuple[str, str, str], ...]:
    """Name, own address and the other end's on every path between the two hosts, the flow's own first."""
    topology, family = variant.topology, flow_family(variant.topology, flow)
    table = topology.addresses()
    ends = [("main", *flow_links(topology, flow))]
    if flow.client_host is None and flow.server_host is None and topology.paths:
        first = flow.path or topology.paths[0].name
        ordered = sorted(topology.paths, key=lambda path: path.name != first)
        ends = [(path.name, path.links[0], path.links[-1]) for path in ordered]
    found = []
    for name, client_link, server_link in ends:
        client = str(table[host_of(variant, flow, "client"), client_link, family].ip)
        server = str(table[host_of(variant, flow, "server"), server_link, family].ip)
        found.append((name, client, server) if role == "client" else (name, server, client))
    return tuple(found)


def own_path_manager(variant: Variant, flow: Flow, role: Role) -> PathManagerSettings | None:
    """What the endpoint's own path manager is told; None for a kernel, whose host is told (ip_mptcp.py)."""
    endpoint = flow.client if role == "client" else flow.server
    if not endpoint.is_userspace and not endpoint.is_adapter:
        return None
    manager, topology = variant.path_manager, variant.topology
    host, family = host_of(variant, flow, role), flow_family(topology, flow)
    table = topology.addresses()
    ends = [topology.path(name).links[0 if role == "client" else -1] for name in manager.backup_paths]
    reserve = [str(table[host, link, family].ip) for link in ends if (host, link, family) in table]
    mode: str = manager.mode
    if mode == "backup":  # as ip_mptcp does it: one subflow a path, from the client's addresses if it has several
        mode = "subflow" if len(topology.links_of(topology.client.name)) > 1 else "signal"
    return PathManagerSettings(
        mode=mode,
        subflows=0 if manager.mode == "none" else manager.subflows,
        ports=manager.ports,
        backup_addresses=tuple(reserve) if manager.mode == "backup" else (),
        withdraw_address=str(gone.address) if (gone := withdrawal(variant, flow)) and gone.host == host else None,
        withdraw_at_ns=manager.withdraw_at_ns,
    )


def withdrawal(variant: Variant, flow: Flow) -> Withdrawal | None:
    """The address that is given up in the middle of the traffic, and by whom; None: none."""
    manager, topology = variant.path_manager, variant.topology
    if manager.withdraw_path is None:
        return None
    role: Role = "server" if manager.mode == "signal" else "client"
    if manager.mode == "backup" and len(topology.links_of(topology.client.name)) == 1:
        role = "server"
    host, link = host_of(variant, flow, role), topology.path(manager.withdraw_path).links[0 if role == "client" else -1]
    address = topology.addresses()[host, link, flow_family(topology, flow)].ip
    return Withdrawal(host, address, manager.withdraw_at_ns)


def kernel_withdrawal(variant: Variant) -> Withdrawal | None:
    """The same, where it is the kernel's path manager that has to be told."""
    found = withdrawal(variant, variant.flows[0])
    return found if found is not None and found.host in kernel_hosts(variant) else None


def host_of(variant: Variant, flow: Flow, role: Role) -> str:
    """The host on which that side of a flow runs."""
    if role == "client":
        return flow.client_host or variant.topology.client.name
    return flow.server_host or variant.topology.server.name


def kernel_hosts(variant: Variant) -> tuple[str, ...]:
    """The hosts on which the kernel's stack is an end of a flow, in the order of the topology."""
    roles: tuple[Role, ...] = ("client", "server")
    ends = {
        host_of(variant, flow, role)
        for flow in variant.flows
        for role in roles
        if not (flow.client if role == "client" else flow.server).is_userspace
    }
    return tuple(host.name for host in variant.topology.hosts if host.name in ends)


def path_of(topology: Topology, client_address: str, server_address: str, family: Family) -> str | None:
    """The path that a subflow between these addresses takes; None when they are of none.

    Both ends tell, or, when no path joins just this pair, the end that has several addresses: routes lead from there
    (``routing.py``).
    """
    table = topology.addresses()
    ends = {
        path.name: (
            str(table[topology.client.name, path.links[0], family].ip),
            str(table[topology.server.name, path.links[-1], family].ip),
        )
        for path in topology.paths
    }
    pair = (client_address, server_address)
    exact = [name for name, own in ends.items() if own == pair]
    by_client = [name for name, own in ends.items() if own[0] == pair[0]]
    by_server = [name for name, own in ends.items() if own[1] == pair[1]]
    return next((names[0] for names in (exact, by_client, by_server) if len(names) == 1), None)
