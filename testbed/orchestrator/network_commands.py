"""A network plan as the commands that would build it: for ``--dry-run``, the command log, and error messages.

Each command is (node, words); the node None is the machine itself. They are complete: typed in this order they build
the same network, with the namespaces named under ``/run/netns``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from testbed.orchestrator import netem
from testbed.orchestrator.network_plan import EMULATOR, Interface, Neighbour, NetworkPlan, ShapedLink, Splice, Veth
from testbed.orchestrator.routing import Route, Rule

Command = tuple[str | None, tuple[str, ...]]


def commands(plan: NetworkPlan, seed: int | None = None) -> Iterator[Command]:
    """All commands in the order in which they are carried out; ``seed`` is the trial's."""
    yield from build(plan)
    for shaped in plan.shaped:
        for argv in qdisc_commands(shaped, seed):
            yield EMULATOR, argv
    if any(shaped.realisation == "relay" for shaped in plan.shaped):
        yield EMULATOR, ("python", "-m", "testbed.emulation")


def build(plan: NetworkPlan) -> Iterator[Command]:
    """Those for which no program is started: netlink, /proc and ioctl do the same."""
    for node in plan.nodes:
        yield None, ("ip", "netns", "add", node.name)
    for node in plan.nodes:
        for key, value in node.sysctls.items():
            yield node.name, ("sysctl", "-w", f"{key}={value}")
        yield node.name, ("ip", "link", "set", "lo", "up")
    for veth in plan.veths:
        yield None, veth_argv(veth)
    for end in plan.interfaces():
        yield from _interface(end)
    for neighbour in plan.neighbours:
        yield neighbour.node, neighbour_argv(neighbour)
    for rule in plan.rules:
        yield rule.node, rule_argv(rule)
    for route in plan.routes:
        yield route.node, route_argv(plan, route)
    for node in plan.nodes:
        if node.path_manager is not None:
            yield node.name, ("ip", "mptcp", "endpoint", "flush")
            yield node.name, tuple(node.path_manager.limits.argv())
            for endpoint in node.path_manager.endpoints:
                yield node.name, tuple(endpoint.argv())
    for shaped in plan.shaped:
        yield from bridge_commands(shaped)
    for splice in plan.splices:
        yield from splice_commands(splice)


def veth_argv(veth: Veth) -> tuple[str, ...]:
    """``ip link add`` with both ends in their namespaces."""
    return ("ip", "link", "add", *_end(veth.a), "type", "veth", "peer", *_end(veth.b))


def address_argv(interface: Interface, number: int) -> tuple[str, ...]:
    """The ``number``-th address of an interface."""
    address = interface.addresses[number]
    quiet = ("nodad",) if address.version == 6 else ()
    return ("ip", "address", "add", str(address), "dev", interface.name, *quiet)


def neighbour_argv(neighbour: Neighbour) -> tuple[str, ...]:
    """A permanent neighbour."""
    where = ("dev", neighbour.interface.name, "nud", "permanent")
    return ("ip", "neighbour", "replace", str(neighbour.address), "lladdr", neighbour.mac, *where)


def rule_argv(rule: Rule) -> tuple[str, ...]:
    """A rule for one source address."""
    words = ("rule", "add", "from", str(rule.source), "lookup", str(rule.table), "priority", str(rule.priority))
    return ("ip", f"-{rule.source.version}", *words)


def route_argv(plan: NetworkPlan, route: Route) -> tuple[str, ...]:
    """A route of the main or of another table."""
    via = ("via", str(route.via)) if route.via is not None else ()
    table = ("table", str(route.table)) if route.table is not None else ()
    prefix = str(route.prefix) if route.prefix.prefixlen else "default"
    device = plan.interface(route.node, route.link).name
    return ("ip", f"-{route.prefix.version}", "route", "add", prefix, *via, "dev", device, *table)


def bridge_commands(shaped: ShapedLink) -> Iterator[Command]:
    """The bridge between the two sides of a link that qdiscs realise; nothing for a relay."""
    if shaped.bridge is not None:
        index = ("index", str(shaped.bridge_index))
        yield EMULATOR, ("ip", "link", "add", shaped.bridge, *index, "up", "type", "bridge")
        for side in (shaped.a_side, shaped.b_side):
            yield EMULATOR, ("ip", "link", "set", side.name, "master", shaped.bridge)


def splice_commands(splice: Splice) -> Iterator[Command]:
    """The bridge on which a wire goes on to another machine; the private link's interface was put there before."""
    node = splice.end.node
    yield node, ("ip", "link", "add", splice.bridge, "index", str(splice.bridge_index), "up", "type", "bridge")
    for port in (splice.end.name, splice.trunk):
        yield node, ("ip", "link", "set", port, "master", splice.bridge)
    yield node, ("ip", "link", "set", splice.trunk, "up")


def qdisc_commands(shaped: ShapedLink, seed: int | None = None) -> tuple[tuple[str, ...], ...]:
    """The qdiscs of both directions, each on the emulator's interface that faces the receiver.

    ``seed`` is the trial's; without one netem draws its own.
    """
    if shaped.realisation != "qdisc":
        return ()
    link = shaped.link
    forward, backward = netem.for_direction(link.changes, "forward"), netem.for_direction(link.changes, "backward")
    seeds = [qdisc_seed(shaped, seed, direction) for direction in ("forward", "backward")]
    return (
        *netem.qdisc_commands(shaped.b_side.name, link.forward, forward, seed=seeds[0]),
        *netem.qdisc_commands(shaped.a_side.name, link.backward, backward, seed=seeds[1]),
    )


def reseed_commands(shaped: ShapedLink, seed: int | None) -> tuple[tuple[str, ...], ...]:
    """What makes netem of both directions begin its sequence again; see ``netem.reseed_commands``."""
    if shaped.realisation != "qdisc":
        return ()
    link = shaped.link
    return tuple(
        argv
        for direction, profile, side in (
            ("forward", link.forward, shaped.b_side),
            ("backward", link.backward, shaped.a_side),
        )
        for argv in netem.reseed_commands(
            side.name,
            profile,
            netem.for_direction(link.changes, "forward" if direction == "forward" else "backward"),
            seed=qdisc_seed(shaped, seed, direction),
        )
    )


def qdisc_seed(shaped: ShapedLink, seed: int | None, direction: str) -> int | None:
    """What netem of one direction is given at the start; a scheduled change derives its own from it."""
    if seed is None or not shaped.seeded:
        return None
    return derived_seed(seed, f"link {shaped.link.name} {direction}")


def derived_seed(seed: int, name: str) -> int:
    """63 bits from SHA-256, so that one more link does not change the chance of the others."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1


def _interface(end: Interface) -> Iterator[Command]:
    yield end.node, ("ip", "link", "set", end.name, "up")
    if end.offloads is not None:
        yield end.node, tuple(end.offloads.argv(end.name))
    for number in range(len(end.addresses)):
        yield end.node, address_argv(end, number)


def _end(end: Interface) -> tuple[str, ...]:
    segments = ("gso_max_segs", str(end.gso_max_segs)) if end.gso_max_segs is not None else ()
    words = ("name", end.name, "netns", end.node, "index", str(end.index), "address", end.mac)
    return (*words, "mtu", str(end.mtu_bytes), *segments)
