"""One plan, two machines: what each of them builds. Pure.

The node that is away is built there as it would be here: the same veth ends with the same names, indexes, hardware
addresses and offloads. Its veths only end elsewhere: here in a namespace that takes the node's place and has nothing
but these ends, there in one that takes the place of everything else. In both, a bridge joins each end to the private
link. So the stack under test meets the very interface that it meets on one machine, checksums and segment sizes
included (a VLAN of a network card would have the card's), and what is measured here (``calibration``) is the whole
shaped link.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from testbed.emulation.placement import HOSTS_SYSCTL
from testbed.orchestrator.network_plan import (
    INDEXES_PER_LINK,
    Interface,
    NetworkNode,
    NetworkPlan,
    Splice,
    Veth,
)

LANDING = "landing"
"""There: the namespace in which the veths of the node end."""
QUIET: Mapping[str, str] = {"net.ipv6.conf.default.disable_ipv6": "1"}
"""Of a namespace that only passes frames on: it sends none of its own."""

_LANDING_OFFSET, _BRIDGE_OFFSET, _TRUNK_OFFSET = 6, 7, 8
"""After the indexes that network_plan gives to a link."""


def near_part(plan: NetworkPlan, node: str) -> NetworkPlan:
    """What is built here when ``node`` lives on another machine."""
    return replace(
        plan,
        nodes=tuple(NetworkNode(name=node, kind="away", sysctls=QUIET) if each.name == node else each
                    for each in plan.nodes),
        veths=tuple(Veth(a=_bare(plan, veth.a, node), b=_bare(plan, veth.b, node)) for veth in plan.veths),
        neighbours=tuple(each for each in plan.neighbours if each.node != node),
        rules=tuple(each for each in plan.rules if each.node != node),
        routes=tuple(each for each in plan.routes if each.node != node),
        splices=tuple(_splice(plan, end, _bare(plan, end, node)) for end in plan.interfaces(node)),
    )  # fmt: skip


def far_part(plan: NetworkPlan, node: str) -> NetworkPlan:
    """What is built on the machine of ``node``. Where its packets are worked on is for that machine to say."""
    there = plan.node(node)
    ends = plan.interfaces(node)
    landings = {end.link: _landing(plan, end) for end in ends}
    own = {name: value for name, value in there.sysctls.items() if name != HOSTS_SYSCTL}
    return replace(
        plan,
        nodes=(replace(there, sysctls=own), NetworkNode(name=LANDING, kind="away", sysctls=QUIET)),
        veths=tuple(Veth(a=end, b=landings[end.link]) for end in ends),
        neighbours=tuple(each for each in plan.neighbours if each.node == node),
        rules=tuple(each for each in plan.rules if each.node == node),
        routes=tuple(each for each in plan.routes if each.node == node),
        shaped=(),
        splices=tuple(_splice(plan, end, landings[end.link]) for end in ends),
    )


def _bare(plan: NetworkPlan, end: Interface, node: str) -> Interface:
    """The node's end without what makes it the node's: a bridge keeps frames to the hardware address of a port."""
    return replace(end, addresses=(), mac=_mac(_number(plan, end), 13)) if end.node == node else end


def _mac(number: int, end: int) -> str:
    """As network_plan makes them, where 1, 2, 10 and 11 are taken."""
    return f"02:00:{number >> 8:02x}:{number & 255:02x}:00:{end:02x}"


def _landing(plan: NetworkPlan, end: Interface) -> Interface:
    number = _number(plan, end)
    return replace(
        end,
        node=LANDING,
        name=f"landing{number}",
        index=INDEXES_PER_LINK * number + _LANDING_OFFSET,
        mac=_mac(number, 12),
        addresses=(),
    )


def _splice(plan: NetworkPlan, planned: Interface, end: Interface) -> Splice:
    number = _number(plan, planned)
    return Splice(
        end=end,
        number=number,
        bridge=f"splice{number}",
        bridge_index=INDEXES_PER_LINK * number + _BRIDGE_OFFSET,
        trunk=f"trunk{number}",
        trunk_index=INDEXES_PER_LINK * number + _TRUNK_OFFSET,
    )


def _number(plan: NetworkPlan, end: Interface) -> int:
    return 1 + [link.name for link in plan.topology.links].index(end.link)
