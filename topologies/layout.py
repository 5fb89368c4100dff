"""Where the parts of a drawing stand: columns from the client (left) to the server (right), one lane per path.

A shaped link has a label, and the label is a cell of the layout like a node, in a column of its own between the columns
of nodes; so labels cannot overlap. What belongs to one path alone stands in the lane of that path, what several share
in the middle of their lanes, what no path uses in lanes beside them. Widths and heights are the drawer's business;
it hands in the vertical size of each cell in its own unit.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from topologies.model import Link, Path, Topology

Kind = Literal["node", "link", "bend"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A node, the label of a link, or a place where a line only passes (``bend``)."""

    kind: Kind
    name: str
    """Of the node or the link."""
    column: int
    paths: tuple[int, ...]
    """The indices of the paths that use it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a link, from the right side of one cell to the left side of a cell in a column further right."""

    link: str
    start: Cell
    end: Cell
    paths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells with their vertical centres; columns are numbered 0, 1, 2 ... without a hole."""

    cells: tuple[Cell, ...]
    segments: tuple[Segment, ...]
    y: Mapping[Cell, int]

    def goes_on(self, cell: Cell) -> bool:
        """Whether anything leaves the cell on its right side; not so where a link joins two ends of one column."""
        return any(segment.start == cell for segment in self.segments)

    def columns(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells of each column, top to bottom."""
        count = 1 + max(cell.column for cell in self.cells)
        ordered = sorted(self.cells, key=lambda cell: self.y[cell])
        return tuple(tuple(cell for cell in ordered if cell.column == column) for column in range(count))


def arrange(topology: Topology, extent: Callable[[Cell], tuple[int, int]], gap: int) -> Layout:
    """Place everything; ``extent``: the room that a cell takes above and below its centre; ``gap``: between cells."""
    layer = _layers(topology)
    nodes = {
        node.name: Cell("node", node.name, 2 * layer[node.name], _users(topology, node=node.name))
        for node in topology.nodes
    }
    chains = {link.name: _chain(topology, link, nodes, layer) for link in topology.links}
    kept = {cell.column for cell in nodes.values()}
    kept |= {cell.column for chain in chains.values() for cell in chain if cell.kind == "link" or cell.name[0] == "="}
    number = {column: index for index, column in enumerate(sorted(kept))}

    def renumbered(cell: Cell) -> Cell:
        return Cell(cell.kind, cell.name.lstrip("="), number[cell.column], cell.paths)

    nodes = {name: renumbered(cell) for name, cell in nodes.items()}
    chains = {name: [renumbered(cell) for cell in chain if cell.column in kept] for name, chain in chains.items()}
    segments = tuple(s for link in topology.links for s in _segments(topology, link, nodes, chains[link.name]))
    cells = tuple(dict.fromkeys([*nodes.values(), *(cell for chain in chains.values() for cell in chain)]))
    return Layout(cells, segments, _heights(cells, _lanes(topology, nodes, chains, layer), extent, gap))


def _users(topology: Topology, node: str = "", link: str = "") -> tuple[int, ...]:
    return tuple(
        index for index, path in enumerate(topology.paths) if link in path.links or node in topology.path_nodes(path)
    )


def _layers(topology: Topology) -> dict[str, int]:
    """Node -> distance from the client: along the longest path that visits it, else between client and server."""
    layer = {topology.client.name: 0}
    for _ in topology.nodes:
        for path in topology.paths:
            for before, after in itertools.pairwise(topology.path_nodes(path)):
                layer[after] = min(max(layer.get(after, 0), layer[before] + 1), len(topology.nodes))
    from_client, from_server = _distances(topology, topology.client.name), _distances(topology, topology.server.name)
    last = max(layer.values()) or from_client.get(topology.server.name, 1)
    layer.setdefault(topology.server.name, last)
    for router in topology.routers:
        if router.name not in layer:
            near, far = from_client.get(router.name, 0), from_server.get(router.name, 0)
            layer[router.name] = round(last * near / max(1, near + far))
    for host in topology.hosts:
        if host.name not in layer:
            beside = [layer[n] for link in topology.links_of(host.name) if (n := link.other(host.name)) in layer]
            at = beside[0] if beside else 0
            layer[host.name] = max(0, at - 1) if 2 * at <= last else at + 1
    return layer


def _distances(topology: Topology, start: str) -> dict[str, int]:
    distance = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for link in topology.links_of(node):
            if (far := link.other(node)) not in distance:
                distance[far] = distance[node] + 1
                queue.append(far)
    return distance


def _ends(link: Link, layer: Mapping[str, int]) -> tuple[str, str]:
    return (link.a, link.b) if layer[link.a] <= layer[link.b] else (link.b, link.a)


def _chain(topology: Topology, link: Link, nodes: Mapping[str, Cell], layer: Mapping[str, int]) -> list[Cell]:
    """The cells between the ends of a link. A bend whose name begins with "=" is needed to tell lines apart."""
    left, right = _ends(link, layer)
    users = _users(topology, link=link.name)
    parallel = [other for other in topology.links if {other.a, other.b} == {link.a, link.b}]
    first = nodes[left].column + 1
    columns = range(first, max(nodes[right].column, first + 1))
    if link.is_shaped():
        head = Cell("link", link.name, first, users)
    else:
        apart = len(parallel) > 1 or layer[left] == layer[right]
        head = Cell("bend", "=" * apart + link.name, first, users)
    return [head, *(Cell("bend", link.name, column, users) for column in columns[1:])]


def _segments(topology: Topology, link: Link, nodes: Mapping[str, Cell], chain: list[Cell]) -> list[Segment]:
    left, right = sorted((nodes[link.a], nodes[link.b]), key=lambda cell: cell.column)
    users = _users(topology, link=link.name)
    if left.column == right.column:  # both ends reach the cell beside them
        return [Segment(link.name, end, chain[0], users) for end in (left, right)]
    return [Segment(link.name, a, b, users) for a, b in itertools.pairwise([left, *chain, right])]


def _lanes(
    topology: Topology, nodes: Mapping[str, Cell], chains: Mapping[str, list[Cell]], layer: Mapping[str, int]
) -> list[tuple[Cell, ...]]:
    """The cells of each lane, in the order of the lanes from top to bottom."""
    lanes: list[tuple[float, list[Cell]]] = []
    for index, path in enumerate(topology.paths):
        lanes.append((float(index), _path_cells(topology, path, nodes, chains)))
    placed = {cell for _, lane in lanes for cell in lane}
    for link in topology.links:
        ends = [nodes[name] for name in _ends(link, layer)]
        if all(cell in placed for cell in (*ends, *chains[link.name])):
            continue
        lane = _grown(topology, link, nodes, chains, layer, placed)
        beside = [max(cell.paths) for name in _neighbours(topology, lane) if (cell := nodes[name]).paths]
        lanes.append((max(beside, default=len(topology.paths)) + 0.5, lane))
        placed.update(lane)
    lanes += [(len(topology.paths) + 1.0, [cell]) for cell in nodes.values() if cell not in placed]
    return [tuple(lane) for _, lane in sorted(lanes, key=lambda entry: entry[0])]


def _path_cells(
    topology: Topology, path: Path, nodes: Mapping[str, Cell], chains: Mapping[str, list[Cell]]
) -> list[Cell]:
    return [nodes[name] for name in topology.path_nodes(path)] + [c for name in path.links for c in chains[name]]


def _grown(
    topology: Topology,
    link: Link,
    nodes: Mapping[str, Cell],
    chains: Mapping[str, list[Cell]],
    layer: Mapping[str, int],
    placed: set[Cell],
) -> list[Cell]:
    """A lane that begins with ``link`` and goes on to both sides through nodes that have no lane yet."""
    lane: list[Cell] = [cell for cell in chains[link.name] if cell not in placed]
    for end, sign in zip(_ends(link, layer), (-1, 1), strict=True):
        node: str | None = end
        while node is not None and nodes[node] not in placed and nodes[node] not in lane:
            lane.append(nodes[node])
            onward = [
                other
                for other in topology.links_of(node)
                if sign * (layer[other.other(node)] - layer[node]) > 0 and not set(chains[other.name]) & placed
            ]
            if onward:
                lane += chains[onward[0].name]
            node = onward[0].other(node) if onward else None
    return lane


def _neighbours(topology: Topology, lane: Iterable[Cell]) -> set[str]:
    """The nodes at the ends of the links that a lane touches."""
    names = {cell.name for cell in lane}
    links = [link for link in topology.links if {link.name, link.a, link.b} & names]
    return {end for link in links for end in (link.a, link.b)}


def _heights(
    cells: tuple[Cell, ...], lanes: list[tuple[Cell, ...]], extent: Callable[[Cell], tuple[int, int]], gap: int
) -> dict[Cell, int]:
    lanes_of: dict[Cell, list[int]] = {cell: [] for cell in cells}
    for index, lane in enumerate(lanes):
        for cell in dict.fromkeys(lane):
            lanes_of[cell].append(index)
    bottom: dict[int, int] = {}
    lane_y: list[int] = []
    for index, lane in enumerate(lanes):
        alone = [cell for cell in lane if lanes_of[cell] == [index]]
        needed = [bottom[cell.column] + gap + extent(cell)[0] for cell in alone if cell.column in bottom]
        lane_y.append(max([*needed, lane_y[-1] if lane_y else 0]))
        for cell in alone:
            bottom[cell.column] = lane_y[index] + extent(cell)[1]
    y = {cell: round(sum(lane_y[i] for i in lanes_of[cell]) / len(lanes_of[cell])) for cell in cells}
    for column in {cell.column for cell in cells}:
        reached: int | None = None
        for cell in sorted((cell for cell in cells if cell.column == column), key=lambda cell: y[cell]):
            up, down = extent(cell)
            if reached is not None:
                y[cell] = max(y[cell], reached + gap + up)
            reached = y[cell] + down
    top = min(y[cell] - extent(cell)[0] for cell in cells)
    return {cell: value - top for cell, value in y.items()}
