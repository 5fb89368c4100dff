"""The site: every series told with its state, every link leads somewhere, what has not changed is not written again."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import site_history
import synthetic_nights as synthetic

from analysis.history import History
from analysis.report.site import write_site
from analysis.report.site_scale import DateAxis, date_axis, gaps, ratio_axis, seconds
from testbed.record import RecordError


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(site_history.write(folder), folder / "site")
    return folder / "site"


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def page(site: Path, word: str) -> str:
    (path,) = (site / "series").glob(f"{word}-*.html")
    return path.read_text()


def test_every_series_stands_on_the_first_page_worst_first_and_leads_to_its_own(site: Path) -> None:
    text = (site / "index.html").read_text()
    states = re.findall(r'<tr class="group">.*?<span class="word \w+">\S+ ([a-z ]+)</span>', text, re.DOTALL)
    assert states == ["alarm", "regressed", "not measured", "improved", "new", "steady", "new"]
    linked = {name for name in Links(text).found if name.startswith("series/")}
    assert len(linked) == len(site_history.SERIES) + 1
    assert "Of 11 series, 1 regressed, 1 in alarm, 1 not measured" in text


def test_every_link_leads_to_a_file_and_runs_that_were_removed_are_said_to_be(site: Path) -> None:
    for path in site.rglob("*.html"):
        for link in Links(path.read_text()).found:
            name = link.partition("#")[0]
            assert not name.startswith(("/", "http")), link
            assert not name or (path.parent / name).exists(), (path.name, link)
    text = page(site, "regressed")
    assert 'runs/aggregation/night-59">night-59</a>' in text
    assert "night-3 (removed)" in text


def test_the_page_of_a_series_tells_state_steps_events_gaps_and_control(site: Path) -> None:
    text = page(site, "regressed")
    for told in (
        "▼ Regressed",
        "A re-run of 20 pairs in the night of 2026-11-04 bore it out.",
        "2026-11-03",
        "▼ worse",
        "nights missing",
        "no valid pair",
        "the reference changed",
        "A/A control",
        "testbed nightly nightly",
        "Seed of the newest night: 1059.",
    ):
        assert told in text, told
    assert "larger buffers on purpose" in page(site, "noisy")
    assert "The testbed is suspect: tonight the reference differs from itself by" in page(site, "suspect")
    assert "<script" not in text


def test_the_csv_has_every_night_and_no_zero_for_what_was_not_measured(site: Path) -> None:
    (path,) = (site / "series").glob("unmeasured-*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == site_history.NIGHTS - len(site_history.MISSED)
    assert [row["ratio"] for row in rows[-3:]] == ["", "", ""]
    assert all(0.9 < float(row["ratio"]) < 1.1 for row in rows[:10])
    assert rows[-1]["reference_id"] == "deadbeef"


def test_the_summary_is_a_badge_with_every_series_beside(site: Path) -> None:
    summary = json.loads((site / "summary.json").read_text())
    assert (summary["schemaVersion"], summary["label"], summary["color"]) == (1, "nightly", "red")
    nightly, weekly = summary["campaigns"]
    assert nightly["states"] == {
        "alarm": 1,
        "regressed": 1,
        "not measured": 1,
        "improved": 1,
        "new": 1,
        "steady": 5,
    }
    assert nightly["suspect_controls"] == 1
    assert (weekly["machine"], weekly["nights"]) == ("other", 4)
    for series in nightly["series"]:
        assert (site / series["page"]).is_file()
        assert (series["ratio"] is None) == (series["state"] == "not measured")


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for night in range(6):
        history.append(synthetic.rows(night, {"a": 1.0}), synthetic.manifest(night))
    first = {path: path.stat().st_mtime_ns for path in write_site(history, tmp_path / "site")}
    assert {path: path.stat().st_mtime_ns for path in write_site(history, tmp_path / "site")} == first
    history.append(synthetic.rows(6, {"a": 1.0}), synthetic.manifest(6))
    again = {path: path.stat().st_mtime_ns for path in write_site(history, tmp_path / "site")}
    assert again.keys() == first.keys()
    assert not any(again[path] == first[path] for path in first)
    assert not list((tmp_path / "site").rglob("*.partial"))


def test_a_history_without_nights_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="has no night yet"):
        write_site(History(tmp_path), tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_dates_lie_at_midnights_and_gaps_are_found_by_the_usual_distance() -> None:
    nights = [synthetic.utc(night) for night in synthetic.nights(60, but=[22, 23, 41])]
    axis = date_axis(nights)
    assert isinstance(axis, DateAxis)
    assert 3 <= len(axis.ticks) <= 6
    assert all(tick % 86_400 == 0 for tick in axis.ticks)
    assert [axis.label(tick) for tick in axis.ticks][-1] == "18 Nov"
    assert 0 < axis.share(seconds(nights[0])) < axis.share(seconds(nights[-1])) < 1
    assert gaps(nights) == [(synthetic.utc(21), synthetic.utc(24)), (synthetic.utc(40), synthetic.utc(42))]
    assert date_axis([synthetic.utc(0)]).ticks


def test_a_quiet_series_does_not_fill_its_scale_with_noise() -> None:
    axis = ratio_axis([0.0001, -0.0002], "ratio", "bit/s")
    assert axis.low <= -0.01 and axis.high >= 0.01
