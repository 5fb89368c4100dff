"""Before the traffic: what in the network, as it really is, would leave a connection with fewer subflows?

The most frequent report about MPTCP is "only one subflow". Its causes are few and all of them can be seen beforehand:
rules, routes, endpoints, limits, reverse path filtering, MPTCP switched off, offloads, MTU, an interface that is
down, a path that does not pass packets. Everything is read from the kernel, nothing from what was asked for; each
finding says how to mend it.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from testbed.orchestrator import network_commands, offloads, path_expectation, probe, rtnetlink, sysctl
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.ip_mptcp import HostPathManager, PathManagerControl
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_plan import Interface, NetworkNode, NetworkPlan
from testbed.orchestrator.probe import Echo
from topologies.model import Path

OPTION_SPACE = "option_space"
"""Code of an announcement that is never sent since it does not fit: of what was asked of the stack, not of the lab."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    code: str
    """``interface``, ``address``, ``rule``, ``route``, ``way``, ``sysctl``, ``rp_filter``, ``forwarding``, ``mptcp``,
    ``endpoint``, ``limits``, ``option_space``, ``offload``, ``mtu``, ``path`` or ``relay``."""
    node: str
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.node}: {self.text} (fix: {self.fix})"


class Network(Protocol):
    """What is looked at."""

    def fd(self, node: str) -> int:
        """The descriptor of a node's namespace."""

    def inside(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is in the node's namespace for the block."""

    def netlink(self, node: str) -> Netlink:
        """A connection to the node's routing netlink."""


def check(plan: NetworkPlan, network: Network, *, probe_paths: bool = True) -> tuple[Finding, ...]:
    """All findings; none means that every planned subflow can come up.

    With ``probe_paths`` an echo is sent along each path, which takes as long as the slowest round trip and needs the
    relay.
    """
    findings: list[Finding] = []
    for node in plan.nodes:
        findings += _interfaces(plan, network, node.name)
        with network.inside(node.name):
            findings += _sysctls(plan, node)
            findings += _path_manager(plan, node)
            findings += _offloads(plan, node.name)
    findings += _rules(plan, network)
    findings += _routes(plan, network)
    findings += _ways(plan, network)
    if probe_paths:
        findings += _paths(plan, network)
    return tuple(dict.fromkeys(findings))


def _interfaces(plan: NetworkPlan, network: Network, node: str) -> Iterator[Finding]:
    connection = network.netlink(node)
    found = {each.name: each for each in rtnetlink.interfaces(connection)}
    held = {(index, address) for index, address in rtnetlink.addresses(connection)}
    for planned in plan.interfaces(node):
        name = planned.name
        here = found.get(name)
        if here is None:
            yield Finding(code="interface", node=node, text=f"interface {name} is missing", fix="build the lab anew")
            continue
        if not here.up:
            why = f"interface {name} is down, or its peer is"
            yield Finding(code="interface", node=node, text=why, fix=f"ip link set {name} up")
        if here.mtu != planned.mtu_bytes:
            text = f"interface {name} has MTU {here.mtu} instead of {planned.mtu_bytes}"
            yield Finding(code="mtu", node=node, text=text, fix=f"ip link set {name} mtu {planned.mtu_bytes}")
        if planned.gso_max_segs is not None and here.gso_max_segs != planned.gso_max_segs:
            text = f"{name} may send {here.gso_max_segs} segments at once, so packets are not MTU-sized"
            fix = f"ip link set {name} gso_max_segs {planned.gso_max_segs}"
            yield Finding(code="offload", node=node, text=text, fix=fix)
        for number, address in enumerate(planned.addresses):
            if (here.index, address) not in held:
                text = f"address {address} is missing on {name}"
                fix = shlex.join(network_commands.address_argv(planned, number))
                yield Finding(code="address", node=node, text=text, fix=fix)


def _sysctls(plan: NetworkPlan, node: NetworkNode) -> Iterator[Finding]:
    """Called inside the node's namespace."""
    yield from _reverse_path_filter(plan, node)
    for key, wanted in node.sysctls.items():
        held = sysctl.read(key)
        if held != " ".join(wanted.split()) and "rp_filter" not in key:
            code = "forwarding" if key.endswith(("ip_forward", "forwarding")) else "sysctl"
            text = f"{key} is {held} instead of {wanted}"
            yield Finding(code=code, node=node.name, text=text, fix=f"sysctl -w {key}={wanted}")
    if node.path_manager is not None and plan.settings.path_manager.mode != "none":
        try:
            enabled = sysctl.read("net.mptcp.enabled")
        except Unsupported:
            text = "this kernel has no MPTCP"
            yield Finding(code="mptcp", node=node.name, text=text, fix="boot a kernel with CONFIG_MPTCP (5.6 or later)")
            return
        if enabled != "1":
            text = "MPTCP is switched off (net.mptcp.enabled is 0)"
            yield Finding(code="mptcp", node=node.name, text=text, fix="sysctl -w net.mptcp.enabled=1")


def _reverse_path_filter(plan: NetworkPlan, node: NetworkNode) -> Iterator[Finding]:
    """The larger of ``all`` and the interface's own counts (ip-sysctl.rst); 1 is strict, 2 only wants any route."""
    if node.kind in ("emulator", "away"):
        return
    for key in ["all", *(end.name for end in plan.interfaces(node.name))]:
        name = f"net.ipv4.conf.{key}.rp_filter"
        try:
            strict = sysctl.read(name) == "1"
        except Unsupported:
            continue  # the interface is missing, which is a finding of its own
        if strict:
            text = f"strict reverse path filtering ({name}=1) drops packets that arrive over another path"
            yield Finding(code="rp_filter", node=node.name, text=text, fix=f"sysctl -w {name}=0")


def _path_manager(plan: NetworkPlan, node: NetworkNode) -> Iterator[Finding]:
    """Called inside the node's namespace."""
    if node.path_manager is None:
        return
    wanted = node.path_manager
    with PathManagerControl() as control:
        held = control.read()
    if held.limits != wanted.limits:
        text = (
            f"limits are subflows {held.limits.subflows}, add_addr_accepted {held.limits.add_addr_accepted} instead of"
            f" {wanted.limits.subflows}, {wanted.limits.add_addr_accepted}"
        )
        yield Finding(code="limits", node=node.name, text=text, fix=shlex.join(wanted.limits.argv()))
    for endpoint in wanted.endpoints:
        if endpoint not in held.endpoints:
            text = f"endpoint {endpoint.address} ({' '.join(endpoint.flags)}) is missing or has other flags"
            yield Finding(code="endpoint", node=node.name, text=text, fix=shlex.join(endpoint.argv()))
    yield from _option_space(node.name, held)
    for endpoint in held.endpoints:
        if endpoint.address not in {each.address for each in wanted.endpoints}:
            text = f"endpoint {endpoint.address} is there unasked"
            yield Finding(
                code="endpoint", node=node.name, text=text, fix=f"ip mptcp endpoint delete id {endpoint.endpoint_id}"
            )


def _option_space(node: str, held: HostPathManager) -> Iterator[Finding]:
    """ADD_ADDR with an IPv6 address and a port takes 32 of the 40 option bytes, timestamps 12: it is never sent."""
    announced = [each for each in held.endpoints if each.address.version == 6 and each.port and "signal" in each.flags]
    if announced and sysctl.read("net.ipv4.tcp_timestamps") != "0":
        text = (
            f"{announced[0].address} port {announced[0].port} cannot be announced: with timestamps the options are full"
        )
        yield Finding(code=OPTION_SPACE, node=node, text=text, fix="sysctl -w net.ipv4.tcp_timestamps=0")


def _offloads(plan: NetworkPlan, node: str) -> Iterator[Finding]:
    """Called inside the node's namespace."""
    with offloads.control_socket() as control:
        for planned in plan.interfaces(node):
            if planned.offloads is None:
                continue
            try:
                held = offloads.read(control, planned.name)
            except OSError:
                continue  # the interface is missing, which is a finding of its own
            if held != planned.offloads:
                text = f"offloads of {planned.name} are {held} instead of {planned.offloads}"
                yield Finding(code="offload", node=node, text=text, fix=shlex.join(planned.offloads.argv(planned.name)))


def _rules(plan: NetworkPlan, network: Network) -> Iterator[Finding]:
    held = {
        node.name: {
            (rule.source, rule.table)
            for family in (socket.AF_INET, socket.AF_INET6)
            for rule in rtnetlink.source_rules(network.netlink(node.name), family)
        }
        for node in plan.nodes
        if node.kind == "host"
    }
    for rule in plan.rules:
        if (rule.source, rule.table) not in held[rule.node]:
            text = f"no rule sends packets from {rule.source} to table {rule.table}"
            yield Finding(code="rule", node=rule.node, text=text, fix=shlex.join(network_commands.rule_argv(rule)))


def _routes(plan: NetworkPlan, network: Network) -> Iterator[Finding]:
    """Is every planned route in its table?"""
    held = {
        node.name: set(rtnetlink.routes(network.netlink(node.name)))
        for node in plan.nodes
        if node.kind in ("host", "router")
    }
    indexes = {(end.node, end.link): end.index for end in plan.interfaces()}
    for route in plan.routes:
        wanted = rtnetlink.ObservedRoute(
            prefix=route.prefix,
            index=indexes[route.node, route.link],
            via=route.via,
            table=route.table or rtnetlink.RT_TABLE_MAIN,
        )
        if wanted not in held[route.node]:
            text = f"no route to {route.prefix} over {route.link} in table {route.table or 'main'}"
            fix = shlex.join(network_commands.route_argv(plan, route))
            yield Finding(code="route", node=route.node, text=text, fix=fix)


def _ways(plan: NetworkPlan, network: Network) -> Iterator[Finding]:
    """Along each path, both directions, at each node here: does the kernel send it over the next link of the path?"""
    topology = plan.topology
    stacks = {node.name for node in plan.nodes if node.kind in ("host", "router")}
    table = topology.addresses()
    for path in topology.paths:
        nodes = topology.path_nodes(path)
        for family in topology.families:
            here = table[nodes[0], path.links[0], family].ip
            there = table[nodes[-1], path.links[-1], family].ip
            hops = list(zip(nodes[:-1], path.links, strict=True))
            back = list(zip(reversed(nodes[1:]), reversed(path.links), strict=True))
            for steps, source, destination in ((hops, here, there), (back, there, here)):
                for position, (node, link) in enumerate(steps):
                    if node not in stacks:
                        continue
                    planned = plan.interface(node, link)
                    index = rtnetlink.route_to(network.netlink(node), destination, source if position == 0 else None)
                    if index != planned.index:
                        yield _wrong_way(plan, path, planned, source, destination, index)


def _wrong_way(
    plan: NetworkPlan,
    path: Path,
    planned: Interface,
    source: probe.IpAddress,
    destination: probe.IpAddress,
    index: int | None,
) -> Finding:
    names = {end.index: end.name for end in plan.interfaces(planned.node)}
    instead = f"leaves through {names.get(index, f'interface {index}')}" if index is not None else "has no route"
    text = f"{path.name}: a packet from {source} to {destination} {instead} instead of through {planned.name}"
    routes = [
        shlex.join(network_commands.route_argv(plan, route))
        for route in plan.routes
        if route.node == planned.node and route.link == planned.link and destination in route.prefix
    ]
    fix = "; ".join(routes) or "see the other findings of this node"
    return Finding(code="way", node=planned.node, text=text, fix=fix)


def _paths(plan: NetworkPlan, network: Network) -> Iterator[Finding]:
    topology = plan.topology
    if not topology.paths:
        return
    table, client = topology.addresses(), topology.client.name
    names: dict[Echo, str] = {}
    for path in topology.paths:
        expected = path_expectation.expect(topology, path, plan.settings.mtu_bytes)
        if expected.tries == 0:
            continue  # it loses everything, and is meant to
        for family in topology.families:
            echo = Echo(
                source=table[client, path.links[0], family].ip,
                destination=table[topology.server.name, path.links[-1], family].ip,
                packet_bytes=plan.settings.mtu_bytes,
                retry_s=expected.retry_s,
                deadline_s=expected.deadline_s,
            )
            names[echo] = path.name
    for echo, why in probe.echoes(network.fd(client), list(names)).items():
        if why is not None:
            text = f"{names[echo]}: {echo.packet_bytes} bytes from {echo.source} to {echo.destination}: {why}"
            fix = "see the other findings; for a shaped link, whether its relay runs"
            yield Finding(code="path", node=client, text=text, fix=fix)
