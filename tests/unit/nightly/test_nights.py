"""Nights in a row: what is told, what is not, and that nothing is lost whatever happens in between."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_nights
import pandas as pd
import pytest
from made_nights import Stack

from analysis.history import History, store
from testbed.nightly import acceptance, conduct, night, telling
from testbed.nightly.conduct import Outcome
from testbed.nightly.estimate import estimate
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.record import RecordError, files

OLD, NEW = "a" * 40, "b" * 40
SERIES = "aggregation userspace main goodput_bit_s"


class Killed(BaseException):
    """As SIGKILL: nothing of ours catches it."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made runs, shared by all nights of this module: the same step of the same build leaves the same run."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, shelf: Path) -> Stack:
    made = Stack(speed={NEW: 0.9}, shelf=shelf)
    made_nights.install(monkeypatch, made)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what is safe after a power cut is the record's own test
    monkeypatch.setattr(conduct, "write_site", lambda history, site, campaign: None)  # has its own tests
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made_nights.write_campaign(tmp_path)
    return tmp_path


def night_of(place: Path, date: str | None, told: list[dict[str, Any]] | None = None, **changes: Any) -> Outcome:
    campaign = place / "tiny.toml"
    heard = told if told is not None else []
    return conduct.carry_out(
        made_nights.prepared(place, campaign, date, **changes), lambda each: heard.append({**each})
    )


def states(outcome: Outcome) -> dict[str, str]:
    return {state.series: state.state for state in outcome.states}


def rows(place: Path) -> pd.DataFrame:
    return History(place / "history").frame()


def test_a_first_night_is_new_and_compares_with_the_commit_that_is_checked_out(stack: Stack, place: Path) -> None:
    outcome = night_of(place, "2026-11-01")

    assert (outcome.code, states(outcome)) == (0, {SERIES: "new"})
    assert [commit for commit, _ in stack.steps] == [OLD, OLD, OLD]
    frame = rows(place)
    assert len(frame) == 6
    assert (frame["candidate"] == frame["reference"]).all()
    assert (frame["control"] == frame["reference"]).all()
    assert frame["seed"].nunique() == 6
    (manifest,) = History(place / "history").manifests()
    assert manifest["reference"]["commit"] == manifest["reference_id"] == OLD
    assert len(manifest["runs"]) == 3
    assert all((place / "history" / run["path"] / "run.json").is_file() for run in manifest["runs"])


def test_a_slower_build_is_told_once_it_is_confirmed_and_stays_told_until_it_is_accepted(
    stack: Stack, place: Path
) -> None:
    for date in ("2026-11-01", "2026-11-02"):
        assert night_of(place, date).code == 0
    stack.candidate = NEW
    outcome = night_of(place, "2026-11-04")  # the night of the 3rd is missing

    assert (outcome.code, states(outcome)) == (1, {SERIES: "regressed"})
    (finding,) = outcome.findings
    assert finding.confirmed
    assert finding.pairs == 20
    (told,) = json.loads((outcome.folder / "alarm.json").read_text())["regressions"]
    assert told["last_before_utc"] == "2026-11-02T00:00:00Z"
    assert told["rerun"]["old_commit"] == OLD
    assert told["rerun"]["ratio"] == pytest.approx(0.9)
    assert told["rerun"]["low"] <= 0.9 <= told["rerun"]["high"] + 1e-9
    assert [line.split()[0] for line in told["reproduce"]] == ["git", "(cd", "git", "(cd", "./tb"]
    assert told["reproduce"][0] == f"git worktree add /tmp/build-{OLD[:12]} {OLD}"
    assert "./tb run aggregation --backend sim --repeat 20 --seed " in told["reproduce"][3]
    text = (outcome.folder / "alarm.md").read_text()
    assert "# 1 confirmed regression: tiny, 2026-11-04" in text
    assert SERIES in text
    assert "-10 %" in text
    kinds = [event.kind for event in History(place / "history").events()]
    assert kinds == ["alarm", "confirmation"]

    assert night_of(place, "2026-11-05").code == 1, "it lasts"
    assert not (place / "nights" / "tiny" / "2026-11-05" / "alarm.json").exists(), "but it is not told anew"

    prepared = made_nights.prepared(place, place / "tiny.toml", "2026-11-06")
    accepted = acceptance.accept(
        History(place / "history"), prepared.campaign, prepared.machine, "all", "the price of a fix"
    )
    assert accepted.commit == NEW
    assert night_of(place, "2026-11-06").code == 0
    manifest = History(place / "history").manifests()[-1]
    assert manifest["reference_id"] == NEW, "later nights are compared with what was accepted"
    assert (rows(place).query("night_utc == '2026-11-06T00:00:00Z'").eval("candidate / reference") == 1).all()


def test_what_the_rerun_does_not_bear_out_is_a_flake_and_not_told(stack: Stack, place: Path) -> None:
    night_of(place, "2026-11-01")
    stack.candidate = NEW
    stack.speed = {}
    measured = stack.carry_out

    def slow_at_first(step: Any, build: Any, folder: Path, **words: Any) -> Any:
        """The machine was busy while the candidate ran, and is not any more."""
        busy = build.commit == NEW and step.role == "candidate"
        return measured(step, stack.build("c" * 40) if busy else build, folder, **words)

    stack.speed = {"c" * 40: 0.9}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.nightly.measuring.carry_out", slow_at_first)
        outcome = night_of(place, "2026-11-02")

    assert outcome.code == 0
    assert states(outcome)[SERIES] not in ("alarm", "regressed")
    (finding,) = outcome.findings
    assert finding.measured
    assert not finding.confirmed
    assert not (outcome.folder / "alarm.json").exists()
    (state,) = outcome.states
    assert (state.flakes.alarms, state.flakes.refuted) == (1, 1)


def test_the_same_build_raises_no_alarm_in_noise(stack: Stack, place: Path) -> None:
    stack.noise, stack.shelf = 0.03, None

    for day in range(1, 4):
        outcome = night_of(place, f"2026-11-{day:02d}")
        assert outcome.code == 0, outcome
        assert not outcome.findings


def test_bytes_that_only_the_candidate_loses_are_told_though_no_number_moved(stack: Stack, place: Path) -> None:
    made_nights.write_campaign(place, pairs=10)
    stack.speed, stack.shelf = {}, None
    night_of(place, "2026-11-01")
    stack.candidate = NEW
    stack.broken = lambda step, repetition: step.role in ("candidate", "new") and repetition % 5 == 3

    outcome = night_of(place, "2026-11-02")

    assert outcome.code == 1
    (finding,) = outcome.findings
    assert (finding.broken_new, finding.broken_old, finding.pairs) == (2, 0, 10)
    assert "broken in 2 of the new, 0 of the old" in (outcome.folder / "alarm.md").read_text()


def test_what_the_reference_cannot_run_is_unsupported_and_nothing_else_is(stack: Stack, place: Path) -> None:
    stack.state = lambda step: ("unsupported", "no such key") if step.by_reference_build else ("measured", "")

    told: list[dict[str, Any]] = []
    outcome = night_of(place, "2026-11-01", told)

    assert outcome.code == 4, "nothing could be compared"
    assert set(rows(place)["verdict"]) == {"UNSUPPORTED"}
    assert set(rows(place)["reason"]) == {"no such key"}
    assert len([each for each in told if each["kind"] == "note" and "UNSUPPORTED" in each["text"]]) == 2


def test_what_could_not_be_measured_is_invalid_never_a_regression(stack: Stack, place: Path) -> None:
    night_of(place, "2026-11-01")
    stack.state = lambda step: ("invalid", "it died") if step.role == "candidate" else ("measured", "")

    outcome = night_of(place, "2026-11-02")

    assert (outcome.code, states(outcome)) == (3, {SERIES: "not measured"})


def test_against_another_variant_the_usual_ratio_is_expected(stack: Stack, place: Path) -> None:
    made_nights.write_campaign(place, reference='variant = "userspace-tcp-path1"')

    night_of(place, "2026-11-01")
    stack.candidate = NEW
    outcome = night_of(place, "2026-11-02")

    assert states(outcome).keys() == {f"{SERIES} vs userspace-tcp-path1"}
    assert outcome.code == 0, "candidate and reference are of one build: both are slower, their ratio is not"
    assert stack.steps == [
        (OLD, "0000-r0-aggregation-pair"),
        (OLD, "0001-r0-aggregation-control"),
        (NEW, "0000-r0-aggregation-pair"),
        (NEW, "0001-r0-aggregation-control"),
    ]
    frame = rows(place)
    assert (frame["control"] == frame["reference"]).all()
    assert (frame["candidate"] != frame["reference"]).all()


# --- whatever happens in between --------------------------------------------------------------------------------------


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Every atomic write of a night's state and of the history is counted, and one of them is the last."""
    plan = {"count": 0, "last": -1}
    write = files.write_atomically

    def counted(path: Path, data: bytes) -> None:
        write(path, data)
        plan["count"] += 1
        if plan["count"] == plan["last"]:
            raise Killed(f"after {path}")

    for module in (night, telling, store):
        monkeypatch.setattr(module, "write_atomically", counted)
    yield plan


@pytest.fixture
def judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same nights and events are judged once: both have names that say what is in them."""
    known: dict[tuple[str, ...], Any] = {}
    judge = conduct.judge

    def remembered(history: History, *words: str, **thresholds: float) -> Any:
        key = tuple(sorted(path.name for path in history.path.rglob("*")))
        if key not in known:
            known[key] = judge(history, *words, **thresholds)
        return known[key]

    monkeypatch.setattr(conduct, "judge", remembered)


def finished(place: Path) -> tuple[Any, ...]:
    """Everything that a night leaves behind for later ones."""
    history = History(place / "history")
    facts = [(event.kind, event.night_utc, event.facts.get("confirmed")) for event in history.events()]
    columns = ["night_utc", "series", "repetition", "candidate", "reference", "control", "verdict"]
    alarm = json.loads((place / "nights" / "tiny" / "2026-11-02" / "alarm.json").read_text())
    return rows(place)[columns].to_dict("records"), facts, [each["series"] for each in alarm["regressions"]]


def test_a_night_that_is_killed_anywhere_goes_on_and_ends_as_if_it_had_not_been(
    stack: Stack, place: Path, writes: dict[str, int], judged_once: None
) -> None:
    night_of(place, "2026-11-01")
    stack.candidate = NEW
    before = place.with_name("before")
    shutil.copytree(place, before)
    writes["count"] = 0
    outcome = night_of(place, "2026-11-02")
    expected, total = finished(place), writes["count"]
    assert outcome.code == 1
    assert total > 12
    processes = len(stack.steps)

    for last in range(1, total + 1):
        place = before.with_name(f"killed-{last}")
        shutil.copytree(before, place)
        writes.update(count=0, last=last)
        with pytest.raises(Killed):
            night_of(place, "2026-11-02")
        writes["last"] = -1
        stack.steps.clear()
        outcome = night_of(place, "2026-11-02")

        assert outcome.code == 1, last
        assert finished(place) == expected, last
        assert len(stack.steps) <= processes
        assert not list(place.rglob("*.partial")), last
        assert History(place / "history").foreign() == []


def test_a_night_that_has_ended_is_not_measured_again(stack: Stack, place: Path) -> None:
    first = night_of(place, "2026-11-01")
    count = len(stack.steps)

    again = night_of(place, "2026-11-01")

    assert (first.again, again.again, again.code) == (False, True, 0)
    assert len(stack.steps) == count
    assert len(rows(place)) == 6


def test_a_night_that_the_history_has_from_elsewhere_is_refused_before_anything_is_measured(
    stack: Stack, place: Path
) -> None:
    night_of(place, "2026-11-01")
    (place / "nights").rename(place / "lost")
    count = len(stack.steps)

    with pytest.raises(SpecificationError, match=r"history has the night of 2026-11-01 already.*--date says which"):
        night_of(place, "2026-11-01")

    assert len(stack.steps) == count


def test_a_night_begun_with_another_build_is_put_aside_and_one_that_is_told_is_not_replaced(
    stack: Stack, place: Path
) -> None:
    stack.state = lambda step: killed(step.role == "control")
    with pytest.raises(Killed):
        night_of(place, "2026-11-01")
    stack.state, stack.candidate, stack.speed = (lambda step: ("measured", "")), NEW, {}
    told: list[dict[str, Any]] = []

    outcome = night_of(place, "2026-11-01", told)

    assert outcome.code == 0
    assert (place / "nights" / "tiny" / "2026-11-01.aside-1" / "steps").is_dir(), "what was measured is kept"
    assert any("begun with another build" in each.get("text", "") for each in told)
    stack.candidate = OLD
    with pytest.raises(SpecificationError, match="a night is measured once; --date says which night this is to be"):
        night_of(place, "2026-11-01")


def test_a_full_disk_ends_in_one_line_and_the_night_goes_on_when_there_is_room(
    stack: Stack, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.write_synced

    def full_in(folder: str) -> Callable[[Path, bytes], None]:
        def write(path: Path, data: bytes) -> None:
            if folder not in str(path):
                return real(path, data)
            path.write_bytes(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

        return write

    night_of(place, "2026-11-01")
    for folder, what in (("steps", "measuring"), ("history/nights", "appending")):
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_synced", full_in(folder))
            with pytest.raises(RecordError, match="no space left") as error:
                night_of(place, "2026-11-02")
        assert "\n" not in str(error.value), what
        assert not list(place.rglob("*.partial")), what
        assert len(rows(place)) == 6, what
        assert History(place / "history").foreign() == [], what
    stack.steps.clear()

    assert night_of(place, "2026-11-02").code == 0
    assert stack.steps == [], "what was measured before the disk was full is kept"
    assert len(rows(place)) == 12


def test_two_at_once_do_not_mix(stack: Stack, place: Path) -> None:
    with (
        night.Lock(place / "nights"),
        pytest.raises(Unsupported, match=f"another testbed nightly .pid {os.getpid()}. is at work"),
    ):
        night_of(place, "2026-11-01")

    assert night_of(place, "2026-11-01").code == 0, "the lock is gone with its holder"


def test_a_clock_that_went_back_measures_nothing(stack: Stack, place: Path) -> None:
    def at(day: int) -> Callable[[], datetime.datetime]:
        return lambda: datetime.datetime(2026, 11, day, 2, 30, tzinfo=datetime.UTC)

    night_of(place, None, now=at(5))
    with pytest.raises(InvalidTrial, match=r"the clock says 2026-11-04, and .* has a night of 2026-11-05; set the"):
        night_of(place, None, now=at(4))

    assert night_of(place, "2026-11-04").code == 0, "a replay says which night it is"
    times = [manifest["night_utc"] for manifest in History(place / "history").manifests()]
    assert times == ["2026-11-04T00:00:00Z", "2026-11-05T02:30:00Z"]


def test_another_machines_nights_are_not_compared(stack: Stack, place: Path) -> None:
    night_of(place, "2026-11-01")
    [path] = (place / "history" / "nights").glob("*.json")
    machine = json.loads(path.read_text())["machine"]
    stack.candidate, stack.speed = NEW, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.nightly.preparation._machine", lambda entries, facts: "another")
        outcome = night_of(place, "2026-11-02")

    assert states(outcome) == {SERIES: "new"}
    assert {manifest["machine"] for manifest in History(place / "history").manifests()} == {machine, "another"}


def test_a_night_left_unfinished_is_mentioned_and_old_runs_are_removed(stack: Stack, place: Path) -> None:
    (place / "tiny.toml").write_text("keep_nights = 1\n" + (place / "tiny.toml").read_text())
    stack.state = lambda step: killed(step.role == "control")
    with pytest.raises(Killed):
        night_of(place, "2026-11-01")
    stack.state = lambda step: ("measured", "")
    told: list[dict[str, Any]] = []

    for day in (2, 3):
        night_of(place, f"2026-11-{day:02d}", told)

    assert any("--date 2026-11-01' goes on with it" in each.get("text", "") for each in told)
    folder = place / "nights" / "tiny"
    assert [(folder / f"2026-11-{day:02d}" / "runs").exists() for day in (1, 2, 3)] == [True, False, True]


def test_accepting_asks_for_a_reason_and_for_a_series_that_there_is(stack: Stack, place: Path) -> None:
    prepared = made_nights.prepared(place, place / "tiny.toml", "2026-11-01")
    history = History(place / "history")

    def accept(series: str, why: str) -> Any:
        return acceptance.accept(history, prepared.campaign, prepared.machine, series, why)

    with pytest.raises(SpecificationError, match="has no night of campaign tiny on this machine"):
        accept("all", "because")
    night_of(place, "2026-11-01")
    with pytest.raises(SpecificationError, match="--accept needs --why"):
        accept(SERIES, " ")
    with pytest.raises(SpecificationError, match=f"the history has no such series; near: {SERIES}"):
        accept("aggregation userspace", "because")
    assert accept(SERIES, "because").commit is None


def test_the_estimate_is_what_earlier_nights_took(stack: Stack, place: Path) -> None:
    prepared = made_nights.prepared(place, place / "tiny.toml", "2026-11-01")
    steps = prepared.steps({"aggregation": ("userspace",)})
    durations = {"aggregation candidate": 30.0, "aggregation reference": 40.0, "aggregation control": 50.0}

    assert estimate(steps, [{"durations_s": durations}]).words == "about 2 minutes"
    assert estimate(steps, []).words.endswith("(a guess: no night here yet)")


def killed(now: bool) -> tuple[str, str]:
    if now:
        raise Killed
    return "measured", ""
