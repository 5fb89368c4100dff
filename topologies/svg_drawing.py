"""A topology as one self-contained SVG: no script, no font, no reference to anything outside of it.

It is made to be put into an HTML page as it is. Every class and id begins with the prefix that the caller gives, so
several fit into one page; colours follow ``prefers-color-scheme``; the text is narrow enough to read at 400 pixels.
Widths are computed for a monospaced font, which is the only kind whose width is known without a renderer.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from topologies import captions
from topologies.layout import Cell, Layout, Segment, arrange
from topologies.model import Host, Topology

MARGIN = 10
ROW_GAP = 12
NODE_FONT, LABEL_FONT = 12, 11
LINE_HEIGHT = 15
CHARACTER_WIDTH = 0.605
"""Advance of a monospaced font in units of its size; DejaVu Sans Mono and Menlo are the wide ones at 0.602."""

COMFORTABLE_WIDTH = 470
"""Wider drawings are set tighter: at 400 pixels they would shrink below what can be read."""

_LIGHT = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#0e7490", "#cf222e")
_DARK = ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#39c5cf", "#ff7b72")
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


@dataclass(frozen=True, slots=True)
class _Setting:
    """How tightly the drawing is set."""

    topology: Topology
    tight: bool

    @property
    def gap(self) -> int:
        return 14 if self.tight else 28

    @property
    def padding(self) -> int:
        """Between a box and its text, on either side."""
        return 5 if self.tight else 8

    def lines(self, cell: Cell) -> list[str]:
        """The text of a cell."""
        if cell.kind == "bend":
            return []
        if cell.kind == "node":
            long = len(cell.name) > 7 and "_" in cell.name
            return cell.name.replace("_", "_ ", 1).split() if long else [cell.name]
        label = captions.label(self.topology.link(cell.name))
        return [part for line in label for part in _parts(line)] if self.tight else label

    def size(self, cell: Cell) -> tuple[int, int]:
        """Width and height of the box around a cell."""
        if cell.kind == "bend":
            return 0, 0
        lines = self.lines(cell)
        font = NODE_FONT if cell.kind == "node" else LABEL_FONT
        width = round(max(map(len, lines)) * font * CHARACTER_WIDTH) + 2 * self.padding
        return width, len(lines) * LINE_HEIGHT + (12 if cell.kind == "node" else 8)


def _parts(line: str) -> Iterable[str]:
    first, *rest = line.split(" · ")
    indent = "  " if first[0] in "→←" else ""
    return [first, *(indent + part for part in rest)]


def as_svg(topology: Topology, *, id_prefix: str = "topology") -> str:
    """The drawing with a legend of paths and schedule; ``id_prefix`` begins every class and id.

    Raises ValueError for a prefix that is not a word of ASCII letters, digits, "-" and "_" that begins with a letter.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", id_prefix):
        raise ValueError(f"id_prefix {id_prefix!r} is not a letter followed by letters, digits, '-' or '_'")
    setting = _Setting(topology, tight=False)
    picture, width, height = _picture(setting, id_prefix)
    if width > COMFORTABLE_WIDTH:
        setting = _Setting(topology, tight=True)
        picture, width, height = _picture(setting, id_prefix)
    drawn, width = width, max(width, 350)
    legend, height = _legend(topology, id_prefix, width, height)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{id_prefix}" role="img" viewBox="0 0 {width} {height}"'
            f' width="{round(width * 1.25)}" height="{round(height * 1.25)}"'
            f' aria-labelledby="{id_prefix}-title {id_prefix}-desc">',
            f'<title id="{id_prefix}-title">{escape(topology.name)}</title>',
            f'<desc id="{id_prefix}-desc">{escape(_description(topology))}</desc>',
            f"<style>{_style(id_prefix)}</style>",
            f'<g transform="translate({(width - drawn) // 2} 0)">',
            *picture,
            "</g>",
            *legend,
            "</svg>\n",
        ]
    )


def _description(topology: Topology) -> str:
    paths = [f"{p.name}: {captions.route(topology, p)}, {captions.path_facts(topology, p)}" for p in topology.paths]
    changes = [f"{at} {link} {change}" for at, link, change in captions.schedule_rows(topology)]
    return ". ".join([topology.summary.rstrip("."), *paths, *changes]) + "."


def _style(prefix: str) -> str:
    def colors(values: tuple[str, ...]) -> str:
        rules = [f".{prefix}-p{i}{{--{prefix}-c:{value}}}" for i, value in enumerate(values)]
        return "".join(rules)

    dark = f".{prefix}{{color:#e6edf3;--{prefix}-tint:#21262d;--{prefix}-paper:#0d1117;--{prefix}-mute:#8b949e}}"
    return (
        f".{prefix}{{color-scheme:light dark;color:#1f2328;max-width:100%;height:auto;font-family:{_FONT};"
        f"--{prefix}-tint:#eef1f4;--{prefix}-paper:#ffffff;--{prefix}-mute:#656d76}}"
        f"{colors(_LIGHT)}"
        f".{prefix}-line{{fill:none;stroke:var(--{prefix}-c,currentColor);stroke-width:2}}"
        f".{prefix}-unused{{stroke:var(--{prefix}-mute);stroke-width:1.25}}"
        f".{prefix}-node{{fill:var(--{prefix}-tint);stroke:currentColor;stroke-width:1.25}}"
        f".{prefix}-label{{fill:var(--{prefix}-paper);stroke:var(--{prefix}-c,var(--{prefix}-mute));stroke-width:1}}"
        f".{prefix} text{{fill:currentColor;font-size:{LABEL_FONT}px;white-space:pre}}"
        f".{prefix} text.{prefix}-name{{font-size:{NODE_FONT}px;text-anchor:middle}}"
        f".{prefix} .{prefix}-head{{font-weight:600;fill:var(--{prefix}-c,currentColor)}}"
        f".{prefix} .{prefix}-small{{fill:var(--{prefix}-mute)}}"
        f"@media screen and (prefers-color-scheme:dark){{{dark}{colors(_DARK)}}}"
    )


def _picture(setting: _Setting, prefix: str) -> tuple[list[str], int, int]:
    """The elements, and the width and height that they take with the margin."""
    layout = arrange(setting.topology, lambda cell: ((setting.size(cell)[1] + 1) // 2,) * 2, ROW_GAP)
    columns: list[tuple[int, int]] = []
    left = MARGIN
    for column in layout.columns():
        width = max(setting.size(cell)[0] for cell in column)
        columns.append((left, left + width))
        left += width + setting.gap
    total = left - setting.gap + MARGIN
    center = {cell: sum(columns[cell.column]) // 2 for cell in layout.cells}
    lines = [
        _line(setting, layout, segment, columns, center, prefix)
        for segment in sorted(layout.segments, key=lambda s: bool(s.paths))
    ]
    bends = [
        f'<path class="{_line_class(prefix, cell.paths)}" d="M{left} {layout.y[cell] + MARGIN}H{right}"/>'
        for cell in layout.cells
        if cell.kind == "bend" and layout.goes_on(cell)
        for left, right in [columns[cell.column]]
    ]
    boxes = [_box(setting, cell, center[cell], layout.y[cell] + MARGIN, prefix) for cell in layout.cells]
    height = max(layout.y[cell] + setting.size(cell)[1] // 2 for cell in layout.cells) + 2 * MARGIN
    return [*lines, *bends, *(box for box in boxes if box)], total, height


def _path_class(prefix: str, paths: tuple[int, ...]) -> str:
    return f" {prefix}-p{paths[0] % len(_LIGHT)}" if len(paths) == 1 else ""


def _line_class(prefix: str, paths: tuple[int, ...]) -> str:
    return f"{prefix}-line" + (_path_class(prefix, paths) if paths else f" {prefix}-unused")


def _line(
    setting: _Setting,
    layout: Layout,
    segment: Segment,
    columns: list[tuple[int, int]],
    center: Mapping[Cell, int],
    prefix: str,
) -> str:
    """Level until the column ends, then a curve in the gap, then level to the box."""
    start, end = segment.start, segment.end
    y1, y2 = layout.y[start] + MARGIN, layout.y[end] + MARGIN
    x1, x2 = center[start] + setting.size(start)[0] // 2, center[end] - setting.size(end)[0] // 2
    if start.kind == "bend":
        x1 = columns[start.column][1]
    if end.kind == "bend":
        x2 = columns[end.column][0]
    left, right = columns[start.column][1], columns[end.column][0]
    middle = (left + right) / 2
    curve = f"C{middle:g} {y1} {middle:g} {y2} {right} {y2}"
    return f'<path class="{_line_class(prefix, segment.paths)}" d="M{x1} {y1}H{left}{curve}H{x2}"/>'


def _box(setting: _Setting, cell: Cell, x: int, y: int, prefix: str) -> str:
    if cell.kind == "bend":
        return ""
    width, height = setting.size(cell)
    lines = setting.lines(cell)
    first = y - (len(lines) - 1) * LINE_HEIGHT / 2 + 4
    group = f'<g class="{prefix}-cell{_path_class(prefix, cell.paths)}">'
    rect = f'x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}"'
    if cell.kind == "node":
        is_host = any(isinstance(node, Host) and node.name == cell.name for node in setting.topology.nodes)
        group = f'<g class="{prefix}-cell">'
        shape = f'<rect class="{prefix}-node" {rect} rx="{4 if is_host else height // 2}"/>'
        texts = [
            f'<text class="{prefix}-name" x="{x}" y="{first + i * LINE_HEIGHT:g}">{escape(line)}</text>'
            for i, line in enumerate(lines)
        ]
    else:
        shape = f'<rect class="{prefix}-label" {rect} rx="3"/>'
        texts = [
            f'<text{f" class={chr(34)}{prefix}-head{chr(34)}" if i == 0 else ""} x="{x - width // 2 + setting.padding}"'
            f' y="{first + i * LINE_HEIGHT:g}">{escape(line)}</text>'
            for i, line in enumerate(lines)
        ]
    return "".join([group, shape, *texts, "</g>"])


def _legend(topology: Topology, prefix: str, width: int, top: int) -> tuple[list[str], int]:
    """The rows below the picture, and where they end."""
    room = int((width - 2 * MARGIN) / (LABEL_FONT * CHARACTER_WIDTH))
    elements: list[str] = []
    y = top + 14
    name_room = max((len(path.name) for path in topology.paths), default=0) + 2

    def write(text: str, column: int, css: str) -> None:
        x = MARGIN + round(column * LABEL_FONT * CHARACTER_WIDTH)
        elements.append(f'<text class="{css}" x="{x}" y="{y}">{escape(text)}</text>')

    for index, path in enumerate(topology.paths):
        write(path.name, 0, f"{prefix}-head{_path_class(prefix, (index,))}")
        for line in textwrap.wrap(captions.route(topology, path), room - name_room, break_long_words=False):
            write(line, name_room, f"{prefix}-text")
            y += LINE_HEIGHT
        for line in textwrap.wrap(captions.path_facts(topology, path), room - name_room):
            write(line, name_room, f"{prefix}-small")
            y += LINE_HEIGHT
        y += 3
    for at, link, change in captions.schedule_rows(topology):
        for row, line in enumerate(textwrap.wrap(f"at {at}: {link} {change}", room, subsequent_indent="    ")):
            write(line, 0, f"{prefix}-text" if not row else f"{prefix}-small")
            y += LINE_HEIGHT
    return elements, y - LINE_HEIGHT + MARGIN + 4
