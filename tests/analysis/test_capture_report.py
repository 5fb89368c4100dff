from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import hand_made_analysis as made
import pytest

from analysis.report.capture_directory import AnalysisDirectory, is_analysis
from analysis.report.capture_page import gather
from analysis.report.capture_trace import MOST_IN_CLOSE_UP
from analysis.report.capture_write import write_capture_report


class _Page(HTMLParser):
    """Checks nesting, collects what the tests look at."""

    VOID = frozenset({"meta", "br", "link", "input", "img", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tables = self.captions = 0
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if str(values.get("href", "")).startswith("#"):
            self.references.append(str(values["href"])[1:])
        if tag == "svg" and values.get("role") == "img":
            self.images.append(values)
        self.tables += tag == "table"
        self.captions += tag == "caption"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.make(tmp_path_factory.mktemp("analysis") / "made.analysis", warnings=["made.pcap: damaged at octet 7"])


@pytest.fixture(scope="module")
def text(directory: Path) -> str:
    return write_capture_report(directory).read_text()


def test_the_page_is_one_well_formed_file_without_scripts_and_remote_parts(text: str) -> None:
    page = _Page(text)

    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert "@import" not in text


def test_every_figure_is_an_image_with_title_and_description(text: str) -> None:
    images = re.findall(r"<svg role=\"img\".*?</title><desc>(.*?)</desc>", text)

    assert len(images) == len(_Page(text).images) == text.count('role="img"') == 4
    assert all(images)


def test_tables_have_captions_and_stand_beside_the_figures(text: str) -> None:
    page = _Page(text)

    assert page.tables == page.captions >= 5


def test_the_same_directory_gives_the_same_bytes(directory: Path, text: str) -> None:
    assert write_capture_report(directory).read_text() == text


def test_a_small_direction_and_a_small_connection_are_told_but_not_all_drawn(directory: Path) -> None:
    page = gather(AnalysisDirectory(directory))

    assert [(drawn.number, [name for name, _, _ in drawn.ways]) for drawn in page.drawn] == [
        (0, ["client to server"]),
        (1, ["server to client"]),
    ]
    assert page.not_drawn == 0


def test_data_sequence_numbers_that_wrap_go_on(directory: Path) -> None:
    (_, sequence, _), *_ = gather(AnalysisDirectory(directory)).drawn[0].ways

    assert sequence is not None
    assert sequence.heading == "Position in the data, MB"
    assert "positions 0\u202fB to 1.26\u202fMB" in sequence.drawing


def test_repeats_are_counted_and_marked_by_subflow(directory: Path) -> None:
    (_, sequence, _), *_ = gather(AnalysisDirectory(directory)).drawn[0].ways

    assert sequence is not None
    assert sequence.marks == (("retransmission", "9 retransmissions"), ("reinjection", "9 reinjections"))
    assert sequence.drawing.count("<use") == 18
    assert ("acked", "acknowledged") in sequence.legend


def test_the_close_up_is_around_repeats_and_bounded(directory: Path) -> None:
    (_, sequence, _), *_ = gather(AnalysisDirectory(directory)).drawn[0].ways

    assert sequence is not None
    assert 0 < sequence.close.count("M") <= 2 * MOST_IN_CLOSE_UP
    assert sequence.close.count("<use") >= 1


def test_throughput_is_by_subflow_and_a_bin_without_packets_is_zero(directory: Path) -> None:
    (_, _, rates), *_ = gather(AnalysisDirectory(directory)).drawn[0].ways

    assert rates is not None
    assert [label for _, label in rates.legend] == [
        "new data of the connection",
        "0: 10.0.1.1:4000 > 10.0.2.1:80",
        "1: 10.0.3.1:4001 > 10.0.4.1:80",
    ]
    assert rates.rows[1][1:] == ("612\u202fkB", "585\u202fkB", "26.6\u202fkB", "0\u202fB")
    assert "steps of 50.0\u202fms" in rates.heading or "steps of 50\u202fms" in rates.heading


def test_the_budget_of_options_is_that_of_the_layouts(directory: Path) -> None:
    page = gather(AnalysisDirectory(directory))

    assert page.budget is not None
    data = next(row for row in page.budget.rows if "data" in row.label)
    assert data.texts()[1:] == ("10", "26", "0", "0", "4", "0", "100\u202f%")


def test_protocol_and_ends_are_said(directory: Path) -> None:
    page = gather(AnalysisDirectory(directory))

    assert page.connections.rows[0][:2] == ("0 MPTCP v1", "10.0.1.1:4000 > 10.0.2.1:80")
    assert page.connections.rows[1][0] == "1 TCP"
    assert page.connections.rows[1][3] == "to client"
    assert page.headline.startswith("1 MPTCP connection and 1 TCP connection")


def test_warnings_stand_at_the_top(text: str) -> None:
    assert text.index("made.pcap: damaged at octet 7") < text.index("<main>")


def test_what_was_written_is_linked(directory: Path, text: str) -> None:
    for path in directory.glob("*.parquet"):
        assert f'href="{path.name}"' in text


def test_an_analysis_is_told_from_other_directories(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text("[]")

    assert is_analysis(directory)
    assert not is_analysis(tmp_path)
    assert not is_analysis(tmp_path / "none")
