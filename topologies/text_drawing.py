"""A topology for a terminal: boxes and lines, then what the picture has no room for.

Lines that share a vertical trunk all meet: a trunk is shared only when every end on its left is linked to every end on
its right. Otherwise each left end gets a trunk of its own, and crossing lines do not meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from topologies import captions
from topologies.layout import Cell, Layout, Segment, arrange
from topologies.model import Host, Topology

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_LINES = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"
_ROUND = {"┌": "╭", "┐": "╮", "└": "╰", "┘": "╯"}
_COLORS = ("34", "33", "32", "35", "36", "31")
"""ANSI foreground colours of path 1, 2, ..."""


class Canvas:
    """Characters at (x, y); lines are kept as sets of directions, so that they join where they meet."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], int] = {}
        self._text: dict[tuple[int, int], str] = {}
        self._color: dict[tuple[int, int], str] = {}

    def line(self, x: int, y: int, directions: int, color: str = "") -> None:
        """Add directions to the line character at a place; where two colours meet there is none."""
        known = (x, y) in self._lines
        self._lines[x, y] = self._lines.get((x, y), 0) | directions
        self._color[x, y] = color if not known or self._color.get((x, y)) == color else ""

    def horizontal(self, y: int, start: int, stop: int, color: str = "") -> None:
        """A line from the middle of ``start`` to the middle of ``stop``."""
        for x in range(start, stop + 1):
            self.line(x, y, LEFT * (x > start) | RIGHT * (x < stop), color)

    def vertical(self, x: int, start: int, stop: int, color: str = "") -> None:
        """A line from the middle of one row to the middle of another, in either order."""
        start, stop = sorted((start, stop))
        for y in range(start, stop + 1):
            self.line(x, y, UP * (y > start) | DOWN * (y < stop), color)

    def write(self, x: int, y: int, text: str, color: str = "") -> None:
        """Text over whatever is there."""
        for offset, character in enumerate(text):
            self._text[x + offset, y] = character
            self._color[x + offset, y] = color

    def soften(self, x: int, y: int) -> None:
        """Make the corner at this place a round one."""
        self._text[x, y] = _ROUND[_LINES[self._lines[x, y]]]

    def rows(self, color: bool) -> list[str]:
        """The picture, without trailing blanks."""
        places = self._lines.keys() | self._text.keys()
        height, width = max(y for _, y in places) + 1, max(x for x, _ in places) + 1
        rows = []
        for y in range(height):
            row, current = "", ""
            for x in range(width):
                wanted = self._color.get((x, y), "") if color else ""
                if wanted != current:
                    row += "\x1b[0m" * bool(current) + f"\x1b[{wanted}m" * bool(wanted)
                    current = wanted
                row += self._text.get((x, y)) or _LINES[self._lines.get((x, y), 0)]
            rows.append(row.rstrip() + "\x1b[0m" * bool(current))
        return rows


def as_text(topology: Topology, color: bool = False, *, addresses: bool = False) -> str:
    """The drawing and its lists, as lines joined by newlines; ``color`` uses ANSI colours, one per path."""
    lines = [f"{topology.name}: {topology.summary}", "", *_picture(topology, color), ""]
    paths = [(p.name, captions.route(topology, p), captions.path_facts(topology, p)) for p in topology.paths]
    lines += _table("Paths", paths)
    lines += _table("Links", captions.link_rows(topology))
    if wires := captions.wires(topology):
        lines.append(f"  wire: {wires}")
    lines += _table("Schedule", captions.schedule_rows(topology))
    if addresses:
        lines += _table("Addresses", captions.address_rows(topology))
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    body = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]
    return [title, *body] if rows else []


def _label(topology: Topology, cell: Cell) -> list[str]:
    return captions.label(topology.link(cell.name))


def _extent(topology: Topology, cell: Cell) -> tuple[int, int]:
    if cell.kind == "node":
        return 1, 1
    return (1, len(_label(topology, cell)) - 2) if cell.kind == "link" else (0, 0)


def _width(topology: Topology, cell: Cell) -> int:
    if cell.kind == "node":
        return len(cell.name) + 4
    return max(map(len, _label(topology, cell))) + 4 if cell.kind == "link" else 1


def _color(paths: tuple[int, ...]) -> str:
    return _COLORS[paths[0] % len(_COLORS)] if len(paths) == 1 else ""


def _picture(topology: Topology, color: bool) -> list[str]:
    layout = arrange(topology, lambda cell: _extent(topology, cell), gap=1)
    canvas = Canvas()
    left, right = 0, 0
    x: dict[Cell, tuple[int, int]] = {}
    for number, column in enumerate(layout.columns()):
        width = max(_width(topology, cell) for cell in column)
        trunks = _trunks([s for s in layout.segments if s.end.column == number], layout)
        left = right + 2 * len({id(trunk) for trunk in trunks.values()}) + 1 if number else 0
        right = left + width + 1
        for cell in column:
            own = _width(topology, cell) if cell.kind == "node" else width
            x[cell] = (left + (width - own) // 2, left + (width - own) // 2 + own - 1)
        _connect(canvas, layout, trunks, x, left)
        for cell in column:
            _draw(canvas, topology, cell, x[cell], layout.y[cell])
            if cell.kind != "node":
                first, last = x[cell]
                end = last + 1 if layout.goes_on(cell) else first + (cell.kind == "link")
                if end > first:
                    canvas.horizontal(layout.y[cell], first - 1, end, _color(cell.paths))
    return canvas.rows(color)


def _draw(canvas: Canvas, topology: Topology, cell: Cell, x: tuple[int, int], y: int) -> None:
    start, stop = x
    color = _color(cell.paths)
    if cell.kind == "link":
        for row, text in enumerate(_label(topology, cell), start=y - 1):
            padded = f" {text} " if row == y else text
            canvas.write(start + 1 + (row != y), row, padded, color)
    if cell.kind == "node":
        for row in (y - 1, y + 1):
            canvas.horizontal(row, start, stop, color)
        for side in (start, stop):
            canvas.vertical(side, y - 1, y + 1, color)
            if not isinstance({node.name: node for node in topology.nodes}[cell.name], Host):
                canvas.soften(side, y - 1)
                canvas.soften(side, y + 1)
        canvas.write(start + 2, y, cell.name, color)


def _trunks(segments: list[Segment], layout: Layout) -> dict[Segment, list[Segment]]:
    """Segment -> all segments with which it shares a vertical line, itself included; straight ones are not there."""
    groups: list[list[Segment]] = []
    for segment in segments:
        touching = [g for g in groups if any(s.start == segment.start or s.end == segment.end for s in g)]
        merged = [s for group in touching for s in group] + [segment]
        groups = [group for group in groups if group not in touching] + [merged]
    trunks: dict[Segment, list[Segment]] = {}
    for group in groups:
        starts, ends = dict.fromkeys(s.start for s in group), {s.end for s in group}
        if len(starts) * len(ends) == len(group):
            parts = [group]
        else:
            parts = [[s for s in group if s.start == start] for start in starts]
        for part in parts:
            if len({layout.y[cell] for s in part for cell in (s.start, s.end)}) > 1:
                trunks |= dict.fromkeys(part, part)
    return trunks


def _connect(
    canvas: Canvas, layout: Layout, trunks: dict[Segment, list[Segment]], x: dict[Cell, tuple[int, int]], left: int
) -> None:
    parts = list({id(part): part for part in trunks.values()}.values())
    trunk_x = {s: left - 2 * (len(parts) - index) for index, part in enumerate(parts) for s in part}
    for segment in _arriving(layout, x, left):
        start, stop = x[segment.start][1], x[segment.end][0]
        y1, y2 = layout.y[segment.start], layout.y[segment.end]
        color = _color(segment.paths)
        trunk = trunk_x.get(segment)
        if segment.end.kind == "bend" and not layout.goes_on(segment.end):
            # The bend joins two ends of one column: nothing is drawn beyond the trunk at which they meet.
            partner = next(s for s in layout.segments if s.end == segment.end and s != segment)
            met = [place for place in (trunk, trunk_x.get(partner)) if place is not None]
            stop = max(met)
            y2 = layout.y[partner.start] if trunk == trunk_x.get(partner) else y2
        if trunk is None:
            canvas.horizontal(y1, start, stop, color)
            continue
        canvas.horizontal(y1, start, trunk, color)
        canvas.vertical(trunk, y1, y2, color)
        canvas.horizontal(y2, trunk, stop, color)


def _arriving(layout: Layout, x: dict[Cell, tuple[int, int]], left: int) -> Iterable[Segment]:
    return (s for s in layout.segments if s.end in x and x[s.end][0] >= left and s.start in x)
