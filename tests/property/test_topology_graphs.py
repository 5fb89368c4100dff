"""Any network, not only those of the catalogue: routes are shortest, JSON is faithful, drawings are whole."""

from __future__ import annotations

import itertools
import json
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import json_form
from topologies.drawing import as_svg, as_text
from topologies.link_profile import Change, LinkProfile, outage
from topologies.model import Host, Link, Path, Router, Topology, TopologyError

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = st.sampled_from(
    [LinkProfile(), LinkProfile(), LinkProfile(rate_bit_s=20_000_000, delay_ns=10_000_000), LinkProfile(delay_ns=7)]
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """A connected network of up to five routers with up to three paths along shortest routes."""
    routers = [f"r{i}" for i in range(1, draw(st.integers(1, 5)) + 1)]
    ends = [("client", "r1"), (routers[-1], "server"), *itertools.pairwise(routers)]
    nodes = ["client", *routers, "server", "bystander"]
    ends += draw(st.lists(st.tuples(*[st.sampled_from(nodes)] * 2).filter(lambda pair: pair[0] != pair[1]), max_size=6))
    links = []
    for number, (a, b) in enumerate(ends):
        changes = draw(st.sampled_from([(), (), outage(5, 10)]))
        links.append(Link(name=f"l{number}", a=a, b=b, forward=draw(SHAPES), backward=draw(SHAPES), changes=changes))
    draft = Topology(
        name="drawn",
        summary="A network that nobody planned.",
        hosts=(Host("client", "client"), Host("server", "server"), Host("bystander")),
        routers=tuple(map(Router, routers)),
        links=tuple(links),
        families=draw(st.sampled_from([(4,), (6,), (4, 6)])),
    )
    ways = {draft.hops_from("client")["server"]}
    chain = ("l0", *(f"l{2 + i}" for i in range(len(routers) - 1)), "l1")
    ways |= {chain}
    ways |= {(link.name,) for link in links if {link.a, link.b} == {"client", "server"}}
    paths = tuple(Path(f"path{i}", way) for i, way in enumerate(sorted(ways)[:3], start=1))
    return Topology(
        name=draft.name,
        summary=draft.summary,
        hosts=draft.hosts,
        routers=draft.routers,
        links=draft.links,
        paths=paths,
        families=draft.families,
    )


@given(topologies())
def test_topologies_survive_json(topology: Topology) -> None:
    assert json_form.from_dict(json.loads(json.dumps(json_form.to_dict(topology)))) == topology


def test_json_of_another_version_is_refused() -> None:
    with pytest.raises(TopologyError, match="a stored topology has version 1, not 7"):
        json_form.from_dict({"version": 7})


@given(topologies())
def test_hops_are_as_few_as_in_an_exhaustive_search(topology: Topology) -> None:
    routers = {router.name for router in topology.routers}
    for start in ("client", "r1"):
        fewest = {start: 0}
        for _ in topology.nodes:  # Bellman-Ford with unit lengths
            for link in topology.links:
                for near, far in ((link.a, link.b), (link.b, link.a)):
                    if near in fewest and (near == start or near in routers):
                        fewest[far] = min(fewest.get(far, 99), fewest[near] + 1)
        hops = topology.hops_from(start)
        assert {node: len(way) for node, way in hops.items()} == fewest
        for node, way in hops.items():
            at = start
            for name in way:
                at = topology.link(name).other(at)
            assert at == node


@given(topologies())
def test_resolved_leaves_no_shaped_rate_without_a_queue(topology: Topology) -> None:
    resolved = topology.resolved()
    for link in resolved.links:
        for profile in (link.forward, link.backward):
            assert profile.rate_bit_s is None or profile.queue is not None
    assert resolved.resolved() == resolved


@given(topologies())
def test_every_address_is_its_own_and_both_ends_share_the_network(topology: Topology) -> None:
    table = topology.addresses()
    assert len(set(table.values())) == len(table)
    for link in topology.links:
        for family in topology.families:
            assert table[link.a, link.name, family].network == table[link.b, link.name, family].network


@settings(max_examples=60)
@given(topologies())
def test_any_network_can_be_drawn_without_overlap_or_loose_ends(topology: Topology) -> None:
    picture = as_text(topology).split("\nPaths\n")[0]
    assert not set(picture) & set("╵╷╴╶")
    for node in topology.nodes:
        assert f" {node.name} " in picture
    rects = [
        tuple(float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        for rect in ElementTree.fromstring(as_svg(topology)).iter(f"{SVG}rect")
    ]
    assert len(rects) == len(topology.nodes) + len(topology.shaped_links())
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(rects, 2):
        assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y


@given(st.lists(st.integers(0, 1000), max_size=6))
def test_changes_of_a_link_are_kept_in_order_of_time(times: list[int]) -> None:
    link = Link(name="l", a="x", b="y", changes=tuple(Change(at_ns=at, down=True) for at in times))
    assert [change.at_ns for change in link.changes] == sorted(times)
