from __future__ import annotations

import pytest

from testbed.orchestrator.network_plan import NetworkPlan, NetworkSettings, plan_network
from testbed.orchestrator.routing import IpAddress
from topologies import catalog
from topologies.link_profile import LinkProfile
from topologies.model import Family
from topologies.two_path import disjoint_paths, two_path


def plan_of(name: str, family: Family) -> NetworkPlan:
    return plan_network(catalog.build(name, families=(family,)), NetworkSettings(realisation="relay"))


def follow(plan: NetworkPlan, start: str, source: IpAddress | None, destination: IpAddress) -> list[str]:
    """The links that a packet takes: what the kernel does with these rules and routes (longest prefix, first table)."""
    topology = plan.topology
    table = topology.addresses()
    owner = {address.ip: node for (node, _, _), address in table.items()}[destination]
    node, trail, own = start, list[str](), True
    while node != owner:
        tables: list[int | None] = [r.table for r in plan.rules if own and r.node == node and r.source == source]
        for number in [*tables, None]:
            found = [
                (route.prefix.prefixlen, route.link)
                for route in plan.routes
                if route.node == node and route.table == number and destination in route.prefix
            ]
            if number is None:
                connected = [(link, table[node, link.name, topology.families[0]]) for link in topology.links_of(node)]
                found += [(a.network.prefixlen, link.name) for link, a in connected if destination in a.network]
            if found:
                break
        assert found, f"{node} has no route to {destination}"
        trail.append(max(found)[1])
        assert len(trail) <= len(topology.links), f"a loop: {trail}"
        node, own = topology.link(trail[-1]).other(node), False
    return trail


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", catalog.CATALOG)
def test_packets_of_a_path_take_its_links_in_both_directions(name: str, family: Family) -> None:
    plan = plan_of(name, family)
    table = plan.topology.addresses()
    for path in plan.topology.paths:
        nodes = plan.topology.path_nodes(path)
        client = table[nodes[0], path.links[0], family].ip
        server = table[nodes[-1], path.links[-1], family].ip
        assert follow(plan, nodes[0], client, server) == list(path.links)
        assert follow(plan, nodes[-1], server, client) == list(reversed(path.links))


@pytest.mark.parametrize("name", ["two_path", "three_path", "wifi_cellular", "satellite", "random_paths", "fat_tree"])
def test_a_subflow_to_an_announced_address_leaves_over_its_own_path(name: str) -> None:
    plan = plan_of(name, 4)
    for path in plan.topology.paths:
        nodes = plan.topology.path_nodes(path)
        server = plan.topology.addresses()[nodes[-1], path.links[-1], 4].ip
        assert follow(plan, nodes[0], None, server) == list(path.links)


def test_every_pair_of_addresses_follows_the_path_of_the_clients_address() -> None:
    plan = plan_network(disjoint_paths("paths", "Four.", (LinkProfile(),) * 4))
    table = plan.topology.addresses()
    for mine in plan.topology.paths:
        client = table["client", mine.links[0], 4].ip
        for theirs in plan.topology.paths:
            server = table["server", theirs.links[-1], 4].ip
            assert follow(plan, "client", client, server) == list(mine.links)
            assert follow(plan, "server", server, client) == list(reversed(mine.links))


def test_a_host_with_one_link_needs_no_rules() -> None:
    plan = plan_of("dual_homed_server", 4)
    assert not [rule for rule in plan.rules if rule.node == "client"]
    assert [rule for rule in plan.rules if rule.node == "server"]


def test_each_family_has_its_own_rules_and_routes() -> None:
    plan = plan_network(two_path(families=(4, 6)))
    assert {rule.source.version for rule in plan.rules} == {4, 6}
    assert len([route for route in plan.routes if route.prefix.version == 4]) == len(plan.routes) / 2
