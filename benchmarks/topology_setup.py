"""How much faster a lab stands, and is gone, than with stock Mininet: the ratio, measured in the same run.

    sudo python -m benchmarks.topology_setup [--rounds N]

Both sides make the same network: the same nodes, veth pairs, addresses, rules and routes, forwarding and rp_filter,
without switches and controllers. Rounds alternate between the two; the median of each is compared. In favour of stock
Mininet, all of a node's configuration is one ``cmd()`` line (its users write one per command), its one-time
``fixLimits()`` is left out, and it sets neither neighbours nor offloads nor MPTCP limits and reads nothing back. Ours
counts planning and the Mininet objects.

``bare`` is stock Mininet with addresses only: what it costs before anything is routed. Ours always does all.

Stop is the time until the call returns; what the kernel still has to free then goes on in the background on both
sides. The columns "freed" show when a wire into the client's namespace was gone, seen from outside.

Everything runs in an isolated worker (``testbed.orchestrator.isolation``).
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from testbed.orchestrator import rtnetlink
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.backends.mininet_objects import Mininet
from testbed.orchestrator.isolation import Messages, run_isolated
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_commands import route_argv, rule_argv
from testbed.orchestrator.network_plan import NetworkNode, NetworkPlan, plan_network
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import new_run_id
from topologies.link_profile import LinkProfile
from topologies.model import Host, Link, Router, Topology
from topologies.two_path import disjoint_paths

BUILD_TARGET, STOP_TARGET = 6.0, 20.0
WATCH = "watch0"
LONGEST_LINE = 3800


@dataclass(frozen=True, slots=True)
class Times:
    """One round of one side, in seconds."""

    build: float
    stop: float
    freed: float


def star(nodes: int) -> Topology:
    """Hosts around one router, ``nodes`` in all."""
    hosts = (Host("client", "client"), Host("server", "server"), *(Host(f"h{number}") for number in range(nodes - 3)))
    links = tuple(Link(name=f"link{number}", a=host.name, b="r1") for number, host in enumerate(hosts))
    return Topology(name="star", summary="A star.", hosts=hosts, routers=(Router("r1"),), links=links)


def paths(count: int) -> Topology:
    """Disjoint paths of plain wires."""
    return disjoint_paths("paths", "Wires.", (LinkProfile(),) * count)


TOPOLOGIES: dict[str, Callable[[], Topology]] = {
    "2 paths": lambda: paths(2),
    "8 paths": lambda: paths(8),
    "50 nodes": lambda: star(50),
}


def ours(topology: Topology) -> Times:
    began = time.perf_counter()
    lab = MininetLab(plan_network(topology), run_id="benchmark")
    lab.__enter__()
    assert len(lab.net.links) == len(topology.links)
    built = time.perf_counter()
    with watched(lab.namespace_fd("client")) as gone:
        stopping = time.perf_counter()
        lab.__exit__(None, None, None)
        stopped = time.perf_counter()
        gone()
    return Times(built - began, stopped - stopping, time.perf_counter() - stopping)


def bare(topology: Topology) -> Times:
    """Stock Mininet with addresses and nothing else: no rules, no routes, no sysctls."""
    return stock(topology, routing=False)


def stock(topology: Topology, routing: bool = True) -> Times:
    plan = plan_network(topology)  # only read for names and addresses; not counted
    began = time.perf_counter()
    net = Mininet(switch=None, controller=None)
    build_stock(net, plan, routing)
    built = time.perf_counter()
    fd = os.open(f"/proc/{net['client'].pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with watched(fd) as gone:
        os.close(fd)
        stopping = time.perf_counter()
        net.stop()
        stopped = time.perf_counter()
        gone()
    return Times(built - began, stopped - stopping, time.perf_counter() - stopping)


def build_stock(net: Any, plan: NetworkPlan, routing: bool) -> None:
    for node in plan.nodes:
        net.addHost(node.name, ip=None)
    for veth in plan.veths:
        net.addLink(veth.a.node, veth.b.node, intfName1=veth.a.name, intfName2=veth.b.name)
    net.build()
    for node in plan.nodes:
        commands = [
            f"ip address add {address} dev {end.name}; ip link set {end.name} up"
            for end in plan.interfaces(node.name)
            for address in end.addresses
        ]
        if routing:
            commands += routing_commands(plan, node)
        for line in lines(commands):
            said = net[node.name].cmd(line)
            if said.strip():
                raise RuntimeError(f"stock Mininet, {node.name}: {said}")


def routing_commands(plan: NetworkPlan, node: NetworkNode) -> list[str]:
    commands = [f"sysctl -qw net.ipv4.ip_forward={int(node.kind == 'router')} net.ipv4.conf.all.rp_filter=0"]
    commands += [" ".join(rule_argv(rule)) for rule in plan.rules if rule.node == node.name]
    return [*commands, *(" ".join(route_argv(plan, route)) for route in plan.routes if route.node == node.name)]


def lines(commands: list[str]) -> Iterator[str]:
    """As few lines as a terminal takes (N_TTY_BUF_SIZE is 4096)."""
    line = ""
    for command in commands:
        if len(line) + len(command) > LONGEST_LINE:
            yield line
            line = ""
        line += f"{command}; "
    yield line


@contextmanager
def watched(namespace_fd: int) -> Iterator[Callable[[], None]]:
    """A veth pair into that namespace; the yielded function waits until it is gone, and the namespace with it."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    near = rtnetlink.NewInterface(namespace_fd=here, name=WATCH, index=900, mac=bytes((2, 1, 0, 0, 0, 1)), mtu=1500)
    far = rtnetlink.NewInterface(
        namespace_fd=namespace_fd, name=WATCH, index=901, mac=bytes((2, 1, 0, 0, 0, 2)), mtu=1500
    )
    with Netlink() as connection:
        connection.send([rtnetlink.new_veth(near, far)])
        os.close(here)

        def gone() -> None:
            names = [each.name for each in rtnetlink.interfaces(connection)]
            if WATCH in names:
                wait_until(
                    lambda: all(each.name != WATCH for each in rtnetlink.interfaces(connection)),
                    60,
                    "the kernel to free",
                )

        yield gone


def measure(messages: Messages, rounds: int) -> None:
    Mininet.inited = True  # its fixLimits() changes the whole machine; once per process, so not counted
    for name, make in TOPOLOGIES.items():
        results: dict[str, list[Times]] = {"stock": [], "bare": [], "ours": []}
        for number in range(rounds + 1):
            for side, run in (("stock", stock), ("bare", bare), ("ours", ours)):
                gc.collect()
                times = run(make())
                if number:  # the first round warms caches
                    results[side].append(times)
        row = {
            side: {field: statistics.median(getattr(times, field) for times in taken) for field in Times.__slots__}
            for side, taken in results.items()
        }
        messages.send("row", name=name, **row)


def show(message: Any) -> None:
    stock_times, bare_times, our_times = message["stock"], message["bare"], message["ours"]
    build, stop = stock_times["build"] / our_times["build"], stock_times["stop"] / our_times["stop"]
    bare_build = bare_times["build"] / our_times["build"]
    met = "met" if min(build, bare_build) >= BUILD_TARGET and stop >= STOP_TARGET else "MISSED"
    print(
        f"{message['name']:<9}"
        f"{bare_times['build'] * 1e3:>9.1f}{stock_times['build'] * 1e3:>9.1f}{our_times['build'] * 1e3:>8.1f}"
        f"{bare_build:>7.1f}x{build:>7.1f}x"
        f"{stock_times['stop'] * 1e3:>9.1f}{our_times['stop'] * 1e3:>8.2f}{stop:>7.0f}x"
        f"{stock_times['freed'] * 1e3:>9.1f}{our_times['freed'] * 1e3:>8.1f}  {met}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Topology set-up against stock Mininet.")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds of each side (default: %(default)s)")
    rounds = parser.parse_args().rounds
    print(
        f"median of {rounds} alternating rounds, milliseconds; targets: build {BUILD_TARGET:g}x, stop {STOP_TARGET:g}x"
    )
    print(f"{'':<9}{'build':>9}{'':>33}{'stop':>9}{'':>16}{'freed':>9}")
    print(
        f"{'':<9}{'bare':>9}{'stock':>9}{'ours':>8}{'/bare':>8}{'/stock':>8}"
        f"{'stock':>9}{'ours':>8}{'ratio':>8}{'stock':>9}{'ours':>8}"
    )
    run_isolated(lambda messages: measure(messages, rounds), run_id=new_run_id(), on_message=show)


if __name__ == "__main__":
    main()
