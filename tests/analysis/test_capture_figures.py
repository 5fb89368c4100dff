from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from analysis.report.capture_bars import Bar, Part, bars
from analysis.report.capture_budget import budget_figure, budget_rows, grouped, items_of, parts_of
from analysis.report.capture_contention import contention_lines, displacement_figure, policy_figure, policy_lines
from analysis.report.capture_outline import COLUMNS, MOST_MARKS, Outline
from analysis.report.capture_sequence import Packet, SequenceFigure, css_of, sequence_figure, span_axis
from analysis.report.panel import STYLES
from analysis.report.scale import linear_axis

NAMES = {0: "0: a > b", 1: "1: c > d"}
SVG = "{http://www.w3.org/2000/svg}"


def _ints(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def _figure(
    outline: Outline, packets: list[Packet] | None = None, scope: tuple[int, int] | None = None
) -> SequenceFigure:
    return sequence_figure("connection 0", outline, NAMES, outline.first_ns, packets or [], scope)


def _drawn(text: str) -> ET.Element:
    return ET.fromstring(str(text).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_a_million_packets_are_a_small_drawing() -> None:
    outline = Outline(0, 10_000_000_000)
    random = np.random.default_rng(1)
    time_ns = np.sort(random.integers(0, 10_000_000_000, 1_000_000))
    start = np.arange(1_000_000, dtype=np.int64) * 1400
    for subflow in (0, 1):
        of_it = np.arange(1_000_000) % 2 == subflow
        outline.take(subflow, time_ns[of_it], start[of_it], start[of_it] + 1400)
        outline.repeated("retransmission", subflow, time_ns[of_it][:20_000], start[of_it][:20_000])
    outline.acks(time_ns, start)

    figure = _figure(outline)

    assert len(figure.drawing) < 60_000
    assert outline.counts == {"retransmission": 40_000, "reinjection": 0}


def test_the_outline_keeps_the_extremes_of_each_column() -> None:
    outline = Outline(0, COLUMNS * 10)
    outline.take(0, _ints(0, 5, 9, 3590), _ints(300, 100, 700, 0), _ints(400, 200, 800, 50))

    lane = outline.lanes[0]

    assert (lane.low[0], lane.high[0]) == (100, 800)
    assert lane.runs() == [(0, 1), (COLUMNS - 1, COLUMNS)]
    assert outline.top == 800


def test_times_outside_are_put_on_the_edge() -> None:
    outline = Outline(1000, 2000)
    outline.take(0, _ints(0, 5000), _ints(0, 10), _ints(10, 20))

    assert outline.lanes[0].runs() == [(0, 1), (COLUMNS - 1, COLUMNS)]


def test_marks_that_cannot_be_told_apart_share_a_place_and_are_all_counted() -> None:
    outline = Outline(0, 1_000_000)
    outline.take(0, _ints(0, 1_000_000), _ints(0, 999_000), _ints(1000, 1_000_000))
    outline.repeated("reinjection", 0, np.full(500, 500_000), np.full(500, 500_000))
    outline.repeated("retransmission", 0, np.arange(0, 1_000_000, 100), np.arange(0, 1_000_000, 100))

    marks = outline.thinned()

    assert sum(kind == "reinjection" for kind, *_ in marks) == 1
    assert 30 <= sum(kind == "retransmission" for kind, *_ in marks) <= MOST_MARKS
    assert outline.counts == {"reinjection": 500, "retransmission": 10_000}


def test_the_acknowledged_line_only_rises() -> None:
    outline = Outline(0, COLUMNS)
    outline.acks(_ints(0, 10, 20, 30), _ints(5, 50, 20, 60))

    assert outline.ack_steps() == [(0, 5), (10, 50), (30, 60)]


def test_the_figure_tells_subflows_by_colour_and_dash_and_repeats_by_shape() -> None:
    outline = Outline(0, 1_000_000)
    outline.take(0, _ints(0, 500_000), _ints(0, 1400), _ints(1400, 2800))
    outline.take(1, _ints(900_000), _ints(2800), _ints(4200))
    outline.repeated("reinjection", 1, _ints(900_000), _ints(0))

    figure = _figure(outline)
    drawing = _drawn(figure.drawing)

    assert drawing.get("role") == "img"
    assert drawing.findtext(f"{SVG}title") == "Sequence over time: connection 0"
    assert "1 reinjection" in (drawing.findtext(f"{SVG}desc") or "")
    assert {path.get("class") for path in drawing.iter(f"{SVG}path")} == {"lane s1", "lane s2"}
    assert [(use.get("href"), use.get("class")) for use in drawing.iter(f"{SVG}use")] == [("#reinjection", "s2")]
    assert figure.marks == (("reinjection", "1 reinjection"),)
    assert figure.legend == (("s1", "0: a > b"), ("s2", "1: c > d"))


def test_the_path_of_a_lane_stays_within_the_figure() -> None:
    outline = Outline(0, 1_000_000)
    outline.take(0, np.arange(0, 1_000_000, 1000), np.arange(1000) * 1400, np.arange(1000) * 1400 + 1400)

    path = next(_drawn(_figure(outline).drawing).iter(f"{SVG}path")).get("d") or ""
    across = [float(value) for value in re.findall(r"[MH](-?[\d.]+)", path)]

    assert 0 <= min(across) <= max(across) <= 1000
    assert path.endswith("z")


def test_a_close_up_shows_each_segment() -> None:
    outline = Outline(0, 1_000_000)
    outline.take(0, _ints(0), _ints(0), _ints(9000))
    packets = [
        Packet(0, 400_000 + 1000 * n, 1400 * n, 1400 * n + 1400, "retransmission" if n == 3 else "") for n in range(6)
    ]

    figure = _figure(outline, packets, (390_000, 420_000))

    path = next(_drawn(figure.close).iter(f"{SVG}path")).get("d") or ""
    assert path.count("M") == 6
    assert str(figure.close).count("<use") == 1
    assert "6 segments, 1 of them sent again" in figure.close
    assert "30.0\u202fµs at" in figure.close_heading or "30\u202fµs at" in figure.close_heading


def test_more_subflows_than_styles_begin_again() -> None:
    assert css_of(0) == css_of(STYLES)


def test_an_axis_of_times_begins_and_ends_where_they_do() -> None:
    axis = span_axis(737_000_000, 742_500_000)

    assert (axis.low, axis.high) == (737_000_000, 742_500_000)
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert len(axis.ticks) >= 3


@pytest.mark.parametrize(
    ("layout", "octets"),
    [
        ("nop nop timestamps:10 dss:26(A8 D8) nop nop", (10, 26, 0, 0, 4, 0)),
        ("nop nop timestamps:10 nop nop sack:18 dss:8(A4)", (10, 8, 18, 0, 4, 0)),
        ("", (0, 0, 0, 0, 0, 40)),
        ("mss:4 sack_permitted:2 timestamps:10 nop window_scale:3 mp_capable:4", (10, 0, 0, 13, 1, 16)),
        ("timestamps:10 eol eol", (10, 0, 0, 0, 2, 28)),
        ("add_addr:16 kind-253:6", (0, 0, 0, 22, 0, 18)),
    ],
)
def test_every_octet_of_a_layout_is_in_one_part(layout: str, octets: tuple[int, ...]) -> None:
    parts = parts_of({"layout": layout, "option_octets": 40 - octets[-1], "padding_octets": octets[-2]})

    assert tuple(parts.values()) == octets
    assert sum(parts.values()) == 40


def test_of_layouts_too_many_to_be_kept_apart_all_but_the_padding_is_other() -> None:
    parts = parts_of({"layout": "others in 24 (3 padding)", "option_octets": 24, "padding_octets": 3})

    assert parts == {"timestamps": 0, "dss": 0, "sack": 0, "other": 21, "padding": 3, "free": 16}


def test_a_form_in_brackets_is_part_of_its_option() -> None:
    assert items_of("dss:26(A8 D8) nop") == [("dss", 26), ("nop", 1)]


def test_the_budget_is_the_mean_of_the_segments() -> None:
    kinds = (
        (0, 0, "data", "nop nop timestamps:10 dss:26 nop nop", 3, 40, 4),
        (0, 0, "data", "nop nop timestamps:10 dss:12", 1, 24, 2),
        (0, 0, "syn", "mss:4", 1, 4, 0),
        (1, 1, "ack", "", 2, 0, 0),
    )
    names = ("subflow", "direction", "segment", "layout", "segments", "option_octets", "padding_octets")
    layouts = [dict(zip(names, values, strict=True)) for values in kinds]
    rows = budget_rows(grouped(layouts, {(0, 0): "to server", (1, 1): "to client"}))

    assert [row.label for row in rows] == ["to client, ACKs", "to server, data"]
    data = rows[1]
    assert (data.mean("dss"), data.mean("padding"), data.mean("free")) == (22.5, 3.5, 4.0)
    assert data.texts() == ("4", "10", "22.5", "0", "0", "3.5", "4", "90\u202f%")
    figure = budget_figure(rows)
    assert "to server, data: timestamps 10, DSS 22.5" in figure.drawing


def test_bars_stand_side_by_side_and_names_only_where_there_is_room() -> None:
    axis = linear_axis([40.0], "octets", count=4)
    drawing = _drawn(bars("t", "d", [Bar("a", "", (Part("long name", 30, "p-a"), Part("name", 1, "p-b")))], axis))

    rects = [(rect.get("x"), rect.get("width")) for rect in drawing.iter(f"{SVG}rect")]
    assert rects == [("0%", "75%"), ("75%", "2.5%")]
    assert [text.text for text in drawing.iter(f"{SVG}text") if (text.get("class") or "").startswith("on-")] == [
        "long name"
    ]


def _contention(**values: int | str) -> dict[str, int | str]:
    zero: dict[str, int | str] = dict.fromkeys(
        (
            "segments", "contended", "payload", "option_octets", "padding_octets", "sack_wanted", "sack_sent",
            "sack_padding", "sack_width", "sack_policy", "sack_hard",
        ), 0,
    )  # fmt: skip
    return {"subflow": 0, "direction": 0, "segment": "data", "source": "capture", **zero, **values}


def test_contention_is_added_up_by_group_and_never_over_sources() -> None:
    rows = [
        _contention(segments=10, sack_wanted=8, sack_sent=2, sack_width=6, payload=1000, option_octets=40),
        _contention(subflow=1, segments=10, sack_wanted=2, sack_hard=2),
        _contention(source="kernel", segments=5, sack_wanted=1, sack_sent=1),
        _contention(segment="syn", segments=1),
    ]
    lines = contention_lines(rows, {(0, 0): "to server", (1, 0): "to server"})

    assert [(line.label, line.source, line.displaced) for line in lines] == [
        ("to server, data", "capture", 8),
        ("to server, data", "kernel", 0),
    ]
    assert lines[0].rate == pytest.approx(0.8)
    assert "width 6, hard 2" in lines[0].texts()
    figure = displacement_figure(lines)
    assert figure is not None
    assert [css for css, _ in figure.legend] == ["c-sent", "c-width", "c-hard"]
    assert "8 of 10 displaced" in figure.drawing


def test_without_wants_there_is_no_figure() -> None:
    assert displacement_figure(contention_lines([_contention(segments=3)], {(0, 0): "x"})) is None
    assert policy_figure(policy_lines([])) is None


def test_policies_are_added_up_over_subflows_in_their_order() -> None:
    rows = [
        {"policy": policy, "segment": segment, "sack_wanted": 10, "sack_displaced": displaced}
        for policy, segment, displaced in (
            ("linux", "data", 8),
            ("linux", "all", 8),
            ("dense", "data", 4),
            ("linux", "pure ACK", 6),
        )
    ]
    lines = policy_lines(rows)

    assert [(line.policy, line.wanted, line.displaced) for line in lines] == [("linux", 20, 14), ("dense", 10, 4)]
    figure = policy_figure(lines)
    assert figure is not None
    assert "linux: 70" in figure.drawing
