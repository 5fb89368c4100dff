"""Routes of networks that nobody drew: every router's table leads to every link, without loops."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.orchestrator import netlink
from testbed.orchestrator.network_plan import plan_network
from topologies.model import Host, Link, Router, Topology


@st.composite
def networks(draw: st.DrawFn) -> Topology:
    """Routers in a connected graph, each host on one to three of them."""
    count = draw(st.integers(1, 6))
    routers = [f"r{number}" for number in range(count)]
    pairs = [(routers[draw(st.integers(0, number - 1))], routers[number]) for number in range(1, count)]
    pairs += draw(st.lists(st.tuples(st.sampled_from(routers), st.sampled_from(routers)), max_size=4))
    hosts = [Host("client", "client"), Host("server", "server")]
    for host in hosts:
        pairs += [(host.name, router) for router in draw(st.lists(st.sampled_from(routers), min_size=1, max_size=3))]
    links = [Link(name=f"l{number}", a=a, b=b) for number, (a, b) in enumerate(pairs) if a != b]
    return Topology(
        name="any",
        summary="Any.",
        hosts=tuple(hosts),
        routers=tuple(Router(router) for router in routers),
        links=tuple(links),
        families=draw(st.sampled_from([(4,), (6,), (4, 6)])),
    )


@settings(max_examples=60, deadline=None)
@given(networks())
def test_from_everywhere_to_every_address_of_a_host_without_loops(topology: Topology) -> None:
    plan = plan_network(topology)
    table = topology.addresses()
    for (owner, _, family), address in table.items():
        if owner not in ("client", "server"):
            continue
        for start in (node.name for node in topology.nodes if node.name != owner):
            for number in {None, *(rule.table for rule in plan.rules if rule.node == start)}:
                node, steps, own = start, 0, number
                while node != owner:
                    near = [
                        each for each in topology.links_of(node) if address.ip in table[node, each.name, family].network
                    ]
                    found = [
                        (route.prefix.prefixlen, route.link)
                        for route in plan.routes
                        if route.node == node and route.table == own and address.ip in route.prefix
                    ]
                    if own is None:
                        found += [(128, link.name) for link in near]
                    if not found and own is not None:
                        own = None  # no rule's table has it: the main table decides
                        continue
                    assert found, f"{node} has no route to {address}"
                    node, own = topology.link(max(found)[1]).other(node), None
                    steps += 1
                    assert steps <= len(topology.links), "a loop"


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=10))
def test_packed_attributes_are_read_back(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert len(packed) % 4 == 0
    assert list(netlink.each_attribute(packed)) == pairs
    assert netlink.attributes(netlink.nested(7, packed))[7] == packed
