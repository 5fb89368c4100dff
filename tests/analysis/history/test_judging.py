"""The verdict over time: what raises an alarm, what bears it out, what ends it, and what is told apart from it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import synthetic_nights as synthetic
from synthetic_nights import Campaign

from analysis.history import History
from analysis.history.judging import confirm, judge


def grown(nights: int, ratio: float = 1.0, **options: float) -> Campaign:
    campaign = Campaign(**options)  # type: ignore[arg-type]
    for night in range(nights):
        campaign.night(night, {"a": ratio, "b": 1.0})
    return campaign


def test_few_nights_are_new_and_then_steady() -> None:
    campaign = grown(4)
    assert {state.state for state in campaign.judged().values()} == {"new"}
    campaign.night(4, {"a": 1.0, "b": 1.0})
    a = campaign.judged()["a"]
    assert a.state == "steady"
    assert a.expected == 1.0
    assert a.since_utc == synthetic.utc(0)
    assert a.words.startswith("No change found; tonight one of ")


def test_the_newest_nights_pairs_raise_an_alarm_at_once_that_a_re_run_bears_out() -> None:
    campaign = grown(10)
    campaign.night(10, {"a": 0.95, "b": 1.0})
    a = campaign.judged()["a"]
    assert a.state == "alarm"
    assert a.alarm is not None and "newest night" in a.alarm.evidence
    assert (a.alarm.since_utc, a.alarm.last_before_utc) == (synthetic.utc(10), synthetic.utc(9))
    assert a.alarm.change.low is not None and a.alarm.change.high is not None
    assert a.alarm.change.low < 0.95 < a.alarm.change.high < 1
    chance = np.random.default_rng(1)
    old, new = (level * np.exp(chance.normal(0, 0.01, 20)) for level in (1e7, 0.95e7))
    (told,) = confirm([a], {"a": (old.tolist(), new.tolist())})
    assert told.confirmed and told.pairs == 20 and told.ratio == pytest.approx(0.95, abs=0.01)
    campaign.note("confirmation", 10, "a", confirmed=True, pairs=20, p=told.p)
    a = campaign.judged()["a"]
    assert a.state == "regressed"
    assert "A re-run of 20 pairs in the night of 2026-09-30 bore it out." in a.words
    assert campaign.judged()["b"].state == "steady"
    for night in range(11, 16):
        campaign.night(night, {"a": 0.95, "b": 1.0})
        a = campaign.judged()["a"]
        assert (a.state, a.since_utc) == ("regressed", synthetic.utc(10))


def test_a_step_that_one_night_cannot_show_is_found_by_its_change_point() -> None:
    campaign = Campaign(pairs=5, cv=0.02)
    found = []
    for night in range(26):
        campaign.night(night, {"a": 1.0 if night < 20 else 0.95})
        found.append(campaign.judged()["a"])
    assert {state.state for state in found[5:20]} == {"steady"}
    alarm = next(state for state in found if state.state == "alarm")
    assert alarm.alarm is not None and alarm.alarm.evidence == ("change point",)
    last = found[-1]
    assert last.state == "alarm" and last.alarm is not None
    assert last.alarm.since_utc == synthetic.utc(20)
    assert last.alarm.before == pytest.approx(1.0, abs=0.01)
    assert last.alarm.change.low is not None and last.alarm.change.high is not None
    assert last.alarm.change.low < 0.95 < last.alarm.change.high < 0.98
    assert [step.direction for step in last.steps] == ["worse"]


def test_one_night_after_a_quiet_past_has_the_interval_of_its_own_pairs() -> None:
    campaign = Campaign(cv=0.0)
    for night in range(8):
        campaign.night(night, {"a": 1.0})
    campaign.night(8, {"a": 0.75}, cv=0.02)
    a = campaign.judged()["a"]
    assert a.alarm is not None and "change point" in a.alarm.evidence
    assert a.alarm.change.low is not None and a.alarm.change.high is not None
    assert a.alarm.change.high - a.alarm.change.low > 0.005


def test_a_refuted_alarm_is_asked_again_when_twice_as_many_nights_bear_it_out() -> None:
    campaign = Campaign(pairs=5, cv=0.02)  # five pairs decide nothing by themselves
    for night in range(23):
        campaign.night(night, {"a": 1.0 if night < 20 else 0.95})
    assert campaign.judged()["a"].state == "alarm"
    campaign.note("confirmation", 22, "a", confirmed=False)
    quiet = campaign.judged()["a"]
    assert quiet.state == "steady"
    assert "An alarm was not borne out by the re-run in the night of 2026-10-12." in quiet.words
    states = []
    for night in range(23, 27):
        campaign.night(night, {"a": 0.95})
        states.append(campaign.judged()["a"].state)
    assert states == ["steady", "steady", "alarm", "alarm"]


def test_a_regression_ends_when_the_level_comes_back() -> None:
    campaign = grown(12)
    for night in range(12, 18):
        campaign.night(night, {"a": 0.95, "b": 1.0})
    campaign.note("confirmation", 12, "a", confirmed=True)
    assert campaign.judged()["a"].state == "regressed"
    for night in range(18, 24):
        campaign.night(night, {"a": 1.0, "b": 1.0})
    a = campaign.judged()["a"]
    assert a.state == "steady"
    assert [step.direction for step in a.steps] == ["worse", "better"]


def test_a_regression_that_no_change_point_shows_lasts_until_most_of_three_nights_are_back() -> None:
    campaign = grown(3)
    campaign.night(3, {"a": 0.96, "b": 1.0})
    campaign.note("confirmation", 3, "a", confirmed=True, p=1e-6)
    a = campaign.judged()["a"]
    assert (a.state, a.since_utc) == ("regressed", synthetic.utc(3))
    for night, expected in ((4, "regressed"), (5, "steady"), (6, "steady")):
        campaign.night(night, {"a": 1.0, "b": 1.0})
        assert campaign.judged()["a"].state == expected, night


def test_an_accepted_level_is_the_usual_one_from_then_on() -> None:
    campaign = grown(12)
    for night in range(12, 18):
        campaign.night(night, {"a": 0.95, "b": 1.0})
    campaign.note("confirmation", 12, "a", confirmed=True)
    campaign.note("acceptance", 17, "a", why="pacing by default")
    a = campaign.judged()["a"]
    assert a.state == "steady"
    assert a.expected == pytest.approx(0.95, abs=0.01)
    campaign.night(18, {"a": 0.9, "b": 1.0})
    assert campaign.judged()["a"].state == "alarm"


def test_an_improvement_is_news_for_a_fortnight_and_raises_no_alarm() -> None:
    campaign = grown(12)
    for night in range(12, 16):
        campaign.night(night, {"a": 1.06, "b": 1.0})
    a = campaign.judged()["a"]
    assert (a.state, a.since_utc, a.alarm) == ("improved", synthetic.utc(12), None)
    assert re.fullmatch(r"\+[56]\.\d\u202f% since the night of 2026-10-02\.", a.words)
    for night in range(16, 30):
        campaign.night(night, {"a": 1.06, "b": 1.0})
    assert campaign.judged()["a"].state == "steady"


def test_smaller_is_better_turns_it_round_and_neither_raises_no_alarm() -> None:
    for better, ratio, expected in (
        ("smallest", 1.06, "alarm"),
        ("smallest", 0.94, "improved"),
        (None, 0.94, "changed"),
    ):
        campaign = Campaign(better=better, metric="completion_time_ns", unit="ns")
        for night in range(16):
            campaign.night(night, {"a": 1.0 if night < 12 else ratio})
        assert campaign.judged()["a"].state == expected


def test_against_another_variant_the_usual_ratio_is_learned() -> None:
    campaign = Campaign(kind="variant")
    for night in range(5):
        assert not campaign.manifests or campaign.judged()["a"].expected is None
        campaign.night(night, {"a": 1.8})
    a = campaign.judged()["a"]
    assert a.state == "steady"
    assert a.expected == pytest.approx(1.8, rel=0.01)
    campaign.night(5, {"a": 1.71})
    a = campaign.judged()["a"]
    assert a.state == "alarm" and a.alarm is not None
    assert a.alarm.before == pytest.approx(1.8, rel=0.01)
    assert a.alarm.change.estimate == pytest.approx(0.95, abs=0.01)


def test_no_step_is_seen_across_a_change_of_the_reference() -> None:
    campaign = grown(12)
    for night in range(12, 24):
        campaign.night(night, {"a": 0.9, "b": 1.1}, reference="deadbeef")
    states = campaign.judged()
    assert not states["a"].steps and not states["b"].steps
    assert {night.segment for night in states["a"].nights} == {0, 1}
    assert states["a"].state == "alarm"  # but against the new reference it is slower


def test_missing_nights_are_gaps_and_unmeasured_ones_are_no_zeros() -> None:
    campaign = Campaign()
    for night in synthetic.nights(14, but=[5, 6, 7]):
        campaign.night(night, {"a": None if night >= 12 else 1.0, "b": 1.0})
    a = campaign.judged()["a"]
    assert a.state == "not measured"
    assert a.since_utc == synthetic.utc(12)
    assert a.words == "No valid pair since the night of 2026-10-02."
    assert len(a.nights) == 11
    assert [night.ratio for night in a.nights[-2:]] == [None, None]
    assert a.flakes.rate == pytest.approx(20 / 110)
    assert not a.steps
    assert campaign.judged()["b"].state == "steady"


def test_an_a_a_pair_that_differs_makes_the_testbed_suspect() -> None:
    campaign = grown(8)
    campaign.night(8, {"a": 1.0, "b": 1.0}, control=1.04)
    a = campaign.judged()["a"]
    assert a.control.suspect.startswith("tonight the reference differs from itself by +")
    assert a.state == "steady"
    drifting = Campaign(pairs=5)
    for night in range(12):
        drifting.night(night, {"a": 1.0}, control=1.03)
    assert "over 12 nights the reference differs from itself by +" in drifting.judged()["a"].control.suspect
    assert grown(12).judged()["a"].control.suspect == ""


def test_counts_are_compared_as_rates_also_when_nights_have_none() -> None:
    campaign = Campaign(metric="counter:MPTcpExtMPJoinNoTokenFound@client", unit="", better="smallest")
    chance = np.random.default_rng(3)
    for night in range(20):
        campaign.night(night, {"a": 1.0})
        for row in campaign.rows[-10:]:
            events = chance.poisson((0.4 if night < 12 else 6.0, 0.4, 0.4))
            row["candidate"], row["reference"], row["control"] = (float(value) for value in events)
    a = campaign.judged()["a"]
    assert a.kind == "rate"
    assert a.state == "alarm" and a.alarm is not None
    assert a.alarm.since_utc == synthetic.utc(12)
    assert not a.control.suspect


def test_zeros_make_a_series_of_differences() -> None:
    campaign = Campaign(metric="longest_stall_ns", unit="ns", better="smallest", level=1e8, drift=0.0)
    for night in range(14):
        campaign.night(night, {"a": 1.0 if night < 10 else 1.5})
        campaign.rows[-1]["reference"] = campaign.rows[-1]["candidate"] = 0.0
    a = campaign.judged()["a"]
    assert a.kind == "difference" and a.expected == 0.0
    assert a.state == "alarm" and a.alarm is not None
    assert a.alarm.after - a.alarm.before == pytest.approx(0.45e8, rel=0.1)


def test_machines_and_campaigns_in_one_history_are_never_mixed(tmp_path: Path) -> None:
    history = History(tmp_path)
    for night in range(8):
        for machine, ratio in (("m1", 1.0), ("m2", 0.9)):
            rows = synthetic.rows(night, {"a": ratio}, pairs=6, machine=machine)
            history.append(rows, synthetic.manifest(night, machine=machine))
    (one,), (two,) = judge(history, "nightly", "m1"), judge(history, "nightly", "m2")
    assert (one.state, two.state) == ("steady", "alarm")
    assert (one.machine, two.machine) == ("m1", "m2")
    assert len(one.nights) == len(two.nights) == 8
    assert judge(history, "nightly", "m3") == judge(history, "weekly", "m1") == ()
    assert judge(history, "nightly", "m2") == (two,)


def test_an_alarm_that_could_not_be_run_again_is_not_borne_out() -> None:
    campaign = grown(10)
    campaign.night(10, {"a": 0.95, "b": 0.95})
    alarms = [state for state in campaign.judged().values() if state.state == "alarm"]
    assert len(alarms) == 2
    first, second = confirm(alarms, {"a": ([], [])})
    assert not first.confirmed and not second.confirmed
    assert (first.verdict, first.ratio, first.pairs) == ("not comparable", None, 0)
