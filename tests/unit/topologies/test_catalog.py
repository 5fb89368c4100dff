from __future__ import annotations

import itertools

import pytest

from topologies import catalog
from topologies.model import Family, Link, Path, Topology, TopologyError

FAMILIES: tuple[tuple[Family, ...], ...] = ((4,), (6,), (4, 6))

DISJOINT = {"two_path", "three_path", "wifi_cellular", "satellite", "fat_tree", "random_paths"}
SHARED = {
    "shared_bottleneck": {"bottleneck", "exit"},
    "dual_homed_server": {"access"},
    "simult_flows": {"exit"},
}


def common_links(topology: Topology) -> set[str]:
    return {
        link for one, other in itertools.combinations(topology.paths, 2) for link in set(one.links) & set(other.links)
    }


def interfaces(topology: Topology, host: str) -> int:
    return len(topology.links_of(host))


@pytest.mark.parametrize("families", FAMILIES)
@pytest.mark.parametrize("name", catalog.CATALOG)
def test_every_topology_builds_for_each_selection_of_families(name: str, families: tuple[Family, ...]) -> None:
    topology = catalog.build(name, families=families)
    assert topology.name == name
    assert topology.families == families
    assert len(topology.paths) >= 2
    addresses = topology.addresses()
    assert len(set(addresses.values())) == 2 * len(topology.links) * len(families)


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_paths_share_the_links_that_the_catalogue_claims(name: str) -> None:
    assert common_links(catalog.build(name)) == (set() if name in DISJOINT else SHARED[name])


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_each_path_has_a_shaped_link_of_its_own_name(name: str) -> None:
    topology = catalog.build(name)
    shaped = {link.name for link in topology.shaped_links()}
    for path in topology.paths:
        assert path.name in shaped
        assert path.name in path.links


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_links_point_from_client_to_server_along_the_paths(name: str) -> None:
    topology = catalog.build(name)
    for path in topology.paths:
        assert [topology.link(link).a for link in path.links] == list(topology.path_nodes(path)[:-1])


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_shortest_routes_of_the_routers_follow_the_paths(name: str) -> None:
    topology = catalog.build(name)
    for path in topology.paths:
        nodes = topology.path_nodes(path)
        exit_router = nodes[-2]
        for position, node in enumerate(nodes[1:-2], start=1):
            assert topology.hops_from(node)[exit_router] == path.links[position:-1]


def test_dual_homed_server_has_one_client_interface_and_two_at_the_server() -> None:
    topology = catalog.build("dual_homed_server")
    assert (interfaces(topology, "client"), interfaces(topology, "server")) == (1, 2)


def test_the_rival_pair_crosses_the_bottleneck_only() -> None:
    topology = catalog.build("shared_bottleneck")
    assert topology.hops_from("rival")["rival_server"] == ("cross", "bottleneck", "cross_exit")


def test_wifi_goes_dark_and_comes_back() -> None:
    topology = catalog.build("wifi_cellular", outage_start_ns=2_000_000_000, outage_duration_ns=500_000_000)
    assert [(change.at_ns, change.down) for change in topology.link("wifi").changes] == [
        (2_000_000_000, True),
        (2_500_000_000, False),
    ]
    assert not catalog.build("wifi_cellular", outage_duration_ns=0).link("wifi").changes


def test_satellite_fills_more_than_a_megabyte() -> None:
    topology = catalog.build("satellite").resolved()
    queue = topology.link("path2").forward.queue
    assert queue is not None and queue.packets is not None
    assert queue.packets * 1514 >= 20_000_000 * 540 // 8000


@pytest.mark.parametrize("k", [4, 6, 8])
def test_fat_tree_has_k_half_disjoint_paths_over_k_half_squared_cores(k: int) -> None:
    topology = catalog.build("fat_tree", k=k)
    assert len(topology.paths) == k // 2
    assert sum(router.name.startswith("core") for router in topology.routers) == (k // 2) ** 2
    assert not common_links(topology)


def test_an_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(TopologyError, match=r"'twopath'; did you mean two_path"):
        catalog.build("twopath")


def test_an_unknown_parameter_lists_the_near_ones() -> None:
    with pytest.raises(TopologyError, match=r"two_path has no parameter 'familes'; did you mean families"):
        catalog.build("two_path", familes=(4,))


def test_a_path_that_leaves_the_network_is_one_error_naming_it() -> None:
    good = catalog.build("two_path")
    with pytest.raises(TopologyError, match="topology two_path: path path9 uses link nowhere, which is not there"):
        Topology(
            name="two_path",
            summary="broken",
            hosts=good.hosts,
            routers=good.routers,
            links=good.links,
            paths=(Path("path9", ("access1", "nowhere")),),
        )


def test_replacing_a_link_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TopologyError, match="two_path has no link path7; there are access1, path1"):
        catalog.build("two_path").with_link(Link(name="path7", a="r1", b="server"))
