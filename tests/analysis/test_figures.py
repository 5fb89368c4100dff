"""Axes, curves and words of a report: numbers end up where they belong and read as they should."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.changes import changes_of, outages
from analysis.report.findings import find
from analysis.report.panel import MOST_POINTS, Curve, panel
from analysis.report.scale import linear_axis, logarithmic_axis
from analysis.report.svg import element, polyline
from analysis.report.sweep_figure import sweep_figure
from analysis.report.time_figures import curves_of, figure_of
from analysis.report.wording import interval, metric_name, quantity, significant
from analysis.runs import load

positive = st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=20)


@given(positive)
def test_a_linear_axis_holds_every_value_on_round_ticks(values: list[float]) -> None:
    axis = linear_axis(values, "bit/s")
    assert axis.low == 0.0
    assert axis.high >= max(values) * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 8
    assert axis.share(axis.high) == 1.0
    labels = [label for _, label in axis.shown_ticks()]
    assert len(set(labels)) == len(labels)


@given(positive)
def test_a_logarithmic_axis_holds_every_value(values: list[float]) -> None:
    low, high = min(values), max(values) * 30
    axis = logarithmic_axis([low, high], "ns")
    assert axis.low <= low * (1 + 1e-9)
    assert axis.high >= high * (1 - 1e-9)
    assert 0 <= axis.share(low) < axis.share(high) <= 1


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (34_600_000, "bit/s", "34.6\u202fMbit/s"),
        (18_000_000, "bit/s", "18\u202fMbit/s"),
        (18_004_000, "bit/s", "18.0\u202fMbit/s"),
        (1e9, "ns", "1\u202fs"),
        (412_345_678, "ns", "412\u202fms"),
        (1.849, "x", "1.85\u202f×"),
        (None, "ns", "–"),
        (2, "subflows", "2\u202fsubflows"),
        (1_234_567, "segments", "1\u202f234\u202f567\u202fsegments"),
        (0.97, "ratio", "0.970"),
        (-0.25, "ratio", "−0.250"),
        (0, "bytes", "0\u202fB"),
    ],
)
def test_quantities_have_three_digits_and_a_fitting_unit(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_an_interval_has_one_unit_and_enough_digits_to_tell_its_ends_apart() -> None:
    assert interval(34.1e6, 34.9e6, "bit/s") == "34.1 – 34.9\u202fMbit/s"
    assert interval(18.012e6, 18.041e6, "bit/s") == "18.01 – 18.04\u202fMbit/s"
    assert interval(None, 1.0, "ns") == "–"


@given(st.floats(1e-3, 1e12))
def test_three_digits_are_within_half_a_percent(value: float) -> None:
    assert float(significant(value).replace("\u202f", "")) == pytest.approx(value, rel=0.006)


def test_metrics_have_names_for_people() -> None:
    assert metric_name("block_delay_p99_ns") == "block delay, 99th percentile"
    assert metric_name("first_byte_ns") == "first byte"


def test_markup_is_escaped_and_moves_are_exact() -> None:
    assert element("text", "<b>&", x=1.5, text_anchor="end") == '<text x="1.5" text-anchor="end">&lt;b&gt;&amp;</text>'
    assert polyline([[(0.0, 10.0), (0.5, 9.5), (1.0, 10.25)]]) == "M0 10l500 -.5 500 .7"


def drawn(curve: Curve) -> str:
    x_axis, y_axis = linear_axis([0.0, 100.0], "ns"), linear_axis([0.0, 10.0], "ns")
    return str(panel("title", "description", [curve], x_axis, y_axis, 100))


def test_a_gap_in_the_samples_is_a_gap_in_the_line() -> None:
    x = np.array([0.0, 10, 20, 30, 70, 80, 90])
    path = re.search(r'class="line s1"', drawn(Curve("a", x, np.full(7, 5.0), 1)))
    assert path is not None
    data = re.search(r'd="([^"]*)" class="line s1"', drawn(Curve("a", x, np.full(7, 5.0), 1)))
    assert data is not None
    assert data[1].count("M") == 2


def test_many_points_are_thinned_but_the_extremes_stay() -> None:
    y = np.full(10_000, 5.0)
    y[7_777] = 10.0
    data = re.search(r'd="M([^"]*)" class="line s1"', drawn(Curve("a", np.linspace(0, 100, 10_000), y, 1)))
    assert data is not None
    assert len(data[1].split()) <= 2 * MOST_POINTS + 4
    heights = np.cumsum([float(word) for word in re.split(r"[ l]", data[1])[1::2]])
    assert min(heights) == pytest.approx(0.0, abs=0.2)


SECOND = 10**9


def dark(*rows: tuple[str, int, str]) -> list[tuple[str, int, int]]:
    events = [{"kind": "change", "subject": link, "time_ns": at, "detail": what} for link, at, what in rows]
    return [(outage.link, outage.start_ns, outage.end_ns) for outage in outages(changes_of(events), 9 * SECOND)]


def test_outages_are_paired_per_link_and_may_last() -> None:
    rows = [("a", 1, "down"), ("b", 2, "down"), ("a", 3, "up, rate 5mbit"), ("a", 4, "rate 1mbit")]
    assert dark(*rows) == [("a", 1, 3), ("b", 2, 9 * SECOND)]


def test_an_outage_of_one_direction_says_which() -> None:
    assert dark(("a", 1, "forward: down"), ("a", 5, "forward: up, rate 5mbit")) == [("a forward", 1, 5)]


def test_both_directions_one_after_the_other_are_one_outage_and_one_mark() -> None:
    rows = [
        ("a", 10, "backward: down"),
        ("a", 12, "forward: down"),
        ("a", 500, "forward: up"),
        ("a", 503, "backward: up"),
    ]
    assert dark(*rows) == [("a", 10, 500)]
    events = [{"kind": "change", "subject": link, "time_ns": at, "detail": what} for link, at, what in rows]
    assert [change.text for change in changes_of(events)] == ["a down", "a up"]


def test_a_link_of_which_one_direction_stays_dark_is_not_back() -> None:
    assert dark(("a", 1, "down"), ("a", 5, "forward: up"), ("a", 8, "forward: rate 5mbit")) == [("a", 1, 9 * SECOND)]


def test_two_directions_get_a_panel_each_and_the_main_sender_its_round_trip_times() -> None:
    times = np.arange(1, 6, dtype=np.int64) * 100_000_000
    flow = {"flow": "main", "direction": "both", "bytes_sent_upload": 1, "bytes_sent_download": 9}
    series = {
        (0, "main.server", "goodput"): (times, np.full(5, 1e6)),
        (0, "main.client", "goodput"): (times, np.full(5, 9e6)),
        (0, "main.server.subflow0", "rtt"): (times, np.full(5, 2e7)),
        (0, "main.client.subflow0", "rtt"): (times, np.full(5, 1e7)),
    }
    row = {"path": "path1", "first_seen_ns": 100_000_000, "last_seen_ns": 500_000_000}
    curves = curves_of(0, [flow], {(0, "main", "server", 0): row}, series)
    figure = figure_of(curves, "mptcp", 0, (), curves.peak())
    assert [panel.heading for panel in figure.panels] == [
        "Goodput of the upload, Mbit/s",
        "Goodput of the download, Mbit/s",
        "Smoothed round-trip time at the server, ms",
    ]
    assert ("subflow 0 (path1), download", "–", "–", "–", "20\u202fms", "–", "100 – 500\u202fms") in figure.numbers


def test_shares_come_from_bytes_and_means_from_the_time_of_the_whole_flow() -> None:
    times = np.arange(1, 11, dtype=np.int64) * 100_000_000
    flow = {"flow": "main", "direction": "upload"}
    series = {
        (0, "main.server", "goodput"): (times, np.full(10, 8e6)),
        (0, "main.server.subflow0", "bytes_received"): (times, np.linspace(75_000.0, 750_000.0, 10)),
        (0, "main.server.subflow1", "bytes_received"): (times[-2:], np.array([125_000.0, 250_000.0])),  # short and fast
    }
    rows = {row[0]: row[1:4] for row in figure_of(curves_of(0, [flow], {}, series), "mptcp", 0, (), 1e7).numbers}
    assert rows["application"] == ("1\u202fMB", "8\u202fMbit/s", "–")
    assert rows["subflow 0"] == ("750\u202fkB", "6\u202fMbit/s", "75\u202f%")
    assert rows["subflow 1"] == ("250\u202fkB", "2\u202fMbit/s", "25\u202f%")


def test_several_flows_share_a_panel_with_a_line_each() -> None:
    times = np.arange(1, 6, dtype=np.int64) * 100_000_000
    flows = [{"flow": name, "direction": "upload"} for name in ("main", "cross")]
    series = {(0, f"{flow['flow']}.server", "goodput"): (times, np.full(5, 1e6)) for flow in flows}
    figure = figure_of(curves_of(0, flows, {}, series), "mptcp", 0, (), 1e6)
    assert figure.legend == (("s1", "main, application"), ("s2", "cross, application"))


def test_a_sweep_is_found_and_drawn_with_a_line_per_kind_of_flow(tmp_path: Path) -> None:
    run = load(synthetic_run.make_run(tmp_path, synthetic_run.loss_sweep(points=4, repetitions=2)))
    figure = sweep_figure(run.variants, find(run))
    assert figure is not None
    assert (figure.parameter, figure.unit) == ("loss of path1", "%")
    assert [label for _, label in figure.legend] == ["tcp-path1", "tcp-path2", "mptcp"]
    assert [row[0] for row in figure.rows] == ["0 %", "0.1 %", "0.2 %", "0.3 %"]
    assert str(figure.drawing).count("<circle") == 4 * 3 * 2


def test_variants_on_one_network_are_no_sweep(tmp_path: Path) -> None:
    run = load(synthetic_run.make_run(tmp_path, synthetic_run.aggregation(repetitions=1)))
    assert sweep_figure(run.variants, find(run)) is None


def test_a_burst_does_not_flatten_the_rest_and_its_peak_is_told() -> None:
    times = np.arange(1, 101, dtype=np.int64) * 100_000_000
    values = np.full(100, 20e6)
    values[50] = 125e6
    flow = {"flow": "main", "direction": "upload"}
    curves = curves_of(0, [flow], {}, {(0, "main.server", "goodput"): (times, values)})
    assert curves.peak() == pytest.approx(26e6)
    figure = figure_of(curves, "mptcp", 0, (), curves.peak())
    assert figure.panels[0].heading == "Goodput, Mbit/s, cut above 30: peak 125\u202fMbit/s"
