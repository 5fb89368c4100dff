from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from topologies import catalog
from topologies.drawing import as_svg, as_text
from topologies.layout import arrange
from topologies.link_profile import LinkProfile, RandomLoss
from topologies.model import Host, Link, Path, Router, Topology, symmetric

SVG = "{http://www.w3.org/2000/svg}"

AWKWARD = Topology(
    name="awkward",
    summary="A link past a router, a link between routers of one column, two parallel wires.",
    hosts=(Host("client", "client"), Host("server", "server"), Host("idle")),
    routers=(Router("r1"), Router("r2"), Router("r3")),
    links=(
        Link(name="up1", a="client", b="r1"),
        Link(name="up2", a="client", b="r2"),
        symmetric("between", "r1", "r2", LinkProfile(delay_ns=1_000_000)),
        Link(name="twin1", a="r1", b="r3"),
        Link(name="twin2", a="r1", b="r3"),
        symmetric("past", "r2", "server", LinkProfile(rate_bit_s=5_000_000, loss=RandomLoss(0.01))),
        Link(name="last", a="r3", b="server"),
        symmetric("direct", "client", "server", LinkProfile(delay_ns=2_000_000)),
    ),
    paths=(
        Path("path1", ("up1", "twin1", "last")),
        Path("path2", ("up2", "past")),
        Path("path3", ("direct",)),
    ),
)

EVERY = [*(catalog.build(name) for name in catalog.CATALOG), AWKWARD]


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    return [
        (
            float(rect.get("x", "")),
            float(rect.get("y", "")),
            float(rect.get("width", "")),
            float(rect.get("height", "")),
        )
        for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")
    ]


@pytest.mark.parametrize("topology", EVERY, ids=lambda topology: topology.name)
def test_text_names_every_node_and_link_and_states_the_profiles(topology: Topology) -> None:
    text = as_text(topology, addresses=True)
    for part in (*topology.nodes, *topology.links, *topology.paths):
        assert re.search(rf"\b{part.name}\b", text)
    for address in topology.addresses().values():
        assert str(address) in text


@pytest.mark.parametrize("topology", EVERY, ids=lambda topology: topology.name)
def test_colour_adds_nothing_but_escape_sequences(topology: Topology) -> None:
    coloured = as_text(topology, color=True)
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in re.sub(r"\x1b\[\d+m", "", coloured).splitlines()] == as_text(
        topology
    ).splitlines()


@pytest.mark.parametrize("topology", EVERY, ids=lambda topology: topology.name)
def test_no_line_of_the_picture_ends_in_the_open(topology: Topology) -> None:
    picture = as_text(topology).split("\nPaths\n")[0]
    assert not set(picture) & set("╵╷╴╶")


@pytest.mark.parametrize("topology", EVERY, ids=lambda topology: topology.name)
def test_svg_boxes_are_inside_the_picture_and_do_not_overlap(topology: Topology) -> None:
    svg = as_svg(topology)
    root = ElementTree.fromstring(svg)
    _, _, width, height = (float(value) for value in root.get("viewBox", "").split())
    placed = boxes(svg)
    assert len(placed) == len(topology.nodes) + len(topology.shaped_links())
    for i, (x, y, w, h) in enumerate(placed):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for x2, y2, w2, h2 in placed[:i]:
            assert x + w < x2 or x2 + w2 < x or y + h < y2 or y2 + h2 < y


@pytest.mark.parametrize("topology", EVERY, ids=lambda topology: topology.name)
def test_svg_text_fits_its_box(topology: Topology) -> None:
    for group in ElementTree.fromstring(as_svg(topology)).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None:
            longest = max(len(text.text or "") for text in group.iter(f"{SVG}text"))
            assert longest * 11 * 0.6 <= float(rect.get("width", ""))


def test_svg_names_itself_for_readers_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(as_svg(catalog.build("wifi_cellular"), id_prefix="net"))
    assert root.get("role") == "img"
    ids = {element.get("id"): element.text or "" for element in root.iter() if element.get("id")}
    assert set((root.get("aria-labelledby") or "").split()) == set(ids) == {"net-title", "net-desc"}
    assert "8 s wifi down" in ids["net-desc"]


def test_svg_prefix_begins_every_class_so_that_two_fit_into_one_page() -> None:
    root = ElementTree.fromstring(as_svg(catalog.build("fat_tree"), id_prefix="left"))
    classes = {name for element in root.iter() for name in (element.get("class") or "").split()}
    assert all(name == "left" or name.startswith("left-") for name in classes)
    style = root.find(f"{SVG}style")
    assert style is not None and style.text is not None
    assert "prefers-color-scheme:dark" in style.text
    assert set(re.findall(r"\.([A-Za-z][A-Za-z]*)", re.sub(r"\{[^{}]*\}", " ", style.text))) == {"left"}


def test_svg_refers_to_nothing_outside() -> None:
    svg = as_svg(catalog.build("two_path")).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in svg and "url(" not in svg and "<script" not in svg and "@import" not in svg


def test_svg_refuses_a_prefix_that_cannot_be_a_class() -> None:
    with pytest.raises(ValueError, match="id_prefix '1 a' is not a letter"):
        as_svg(catalog.build("two_path"), id_prefix="1 a")


def test_client_is_leftmost_and_server_rightmost() -> None:
    for topology in EVERY:
        columns = arrange(topology, lambda cell: (1, 1), 1).columns()
        assert topology.client.name in {cell.name for cell in columns[0]}
        assert topology.server.name in {cell.name for cell in columns[-1]}
