"""Traces as values: both formats read, wrong ones refused at their place, content and digest kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from topologies import json_form, traces
from topologies.link_profile import (
    Change,
    LinkProfile,
    NoLoss,
    ProfileError,
    QueueLimit,
    RandomLoss,
    from_dict,
    to_dict,
)
from topologies.link_text import describe, format_field, parse_changes, with_field
from topologies.traces import Opportunities, Steps, TraceError, from_bytes, generator
from topologies.two_path import two_path

MS = 10**6
S = 10**9


def shape(text: str) -> Opportunities | Steps:
    return from_bytes("t", text.encode()).shape()


def refused(text: str) -> str:
    with pytest.raises(TraceError) as error:
        shape(text)
    return str(error.value)


def test_deliveries_are_read_and_last_as_long_as_their_last_time() -> None:
    assert shape("0\n0\n7\r\n10\n") == Opportunities((0, 0, 7 * MS, 10 * MS))
    assert from_bytes("t", b"12\n").means().rate_bit_s == 1_009_000  # 1514 bytes in 12 ms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0\n1\n\n3\n", "t:3:1: an empty line"),
        ("0\n2\n1\n", "t:3:1: 1 comes after 2"),
        ("0\n1.5\n", "t:2:1: '1.5' is not a time in whole milliseconds"),
        ("0\n-1\n", "t:2:1: '-1' is not a time"),
        ("0\n0\n", "t:2:1: the last time is 0"),
    ],
)
def test_a_wrong_line_of_deliveries_is_named(text: str, said: str) -> None:
    assert refused(text).startswith(said)


def test_units_stand_in_the_header_or_in_the_cells() -> None:
    expected = Steps(2 * S, ((0, 5_000_000), (S, 0)), ((0, 35 * MS), (S, 40 * MS)), ((0, 0.005), (S, 0.01)))
    for text in (
        "time,rate,delay,loss\n0s,5mbit,35ms,0.5%\n1s,0bit,40ms,1%\n",
        "# made by hand\n\ntime_s,rate_mbit,delay_ms,loss_percent\n0,5,35,0.5\n1,0,40,1.0\n",
        "time [ms], rate (Mbit/s), delay [us], loss [%]\n0, 5, 35000, 0.5\n1000, 0, 40000, 1\n",
        "loss_probability,delay_ns,time_us,rate_bit_s\r\n0.005,35000000,0,5000000\r\n0.01,40000000,1000000,0\r\n",
    ):
        assert shape(text) == expected


def test_the_last_row_lasts_as_long_as_the_one_before_it_or_until_the_end_that_is_told() -> None:
    assert shape("time_s,rate_mbit\n0,1\n2,2\n5,3\n") == Steps(
        8 * S, ((0, 10**6), (2 * S, 2 * 10**6), (5 * S, 3 * 10**6))
    )
    told = shape("time_s,rate_mbit\n0,1\n2,2\n5,\n")
    assert told == Steps(5 * S, ((0, 10**6), (2 * S, 2 * 10**6)))


def test_a_column_that_does_not_change_makes_no_steps() -> None:
    assert shape("time_s,rate_mbit,delay_ms\n0,1,5\n1,2,5\n") == Steps(
        2 * S, ((0, 10**6), (S, 2 * 10**6)), ((0, 5 * MS),)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t:1:1: the file is empty"),
        ("time_s,speed\n", "t:1:8: 'speed' is not a column; there are time, rate, delay, loss"),
        ("time_s,rate_ms\n", "t:1:8: 'ms' is not a unit of rate"),
        ("time_s,delay_ms,delay_s\n", "t:1:1: two columns are called delay"),
        ("rate_mbit\n", "t:1:1: the header names time and at least one of"),
        ("time_s,rate_mbit\n", "t:1:1: there is a header but no row"),
        ("time_s,rate_mbit\n0,\n", "t:2:1: there is a header but no row"),
        ("time_s,rate_mbit\n0,1\n1\n", "t:3:1: 1 cells, and the header names 2 columns"),
        ("time_s,rate_mbit\n0,1\n2,\n3,1\n", "t:3:3: '' is not a rate, such as 20mbit"),
        ("time_s,rate_mbit\n1,1\n", "t:2:1: the first row is not at time 0"),
        ("time_s,rate_mbit\n0,1\n0,1\n", "t:3:1: times grow"),
        ("time_s,rate\n0,  5\n", "t:2:5: '5' has no unit of rate"),
        ("time_s,rate_mbit\n0,5mbit\n", "t:2:3: '5mbit' has a unit, and so has the header"),
        ("time_s,rate_bit\n0,20\n", "t:2:3: '20' is less than 1kbit"),
        ("time_s,rate_mbit,loss_percent\n0,1,120\n", "t:2:5: '120' is not a loss: it is above 100%"),
        ("time_s,delay_ms\n0,-1\n", "t:2:3: '-1' is not a delay"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(text: str, said: str) -> None:
    assert refused(text).startswith(said)


def test_what_would_stand_still_for_ever_is_refused() -> None:
    with pytest.raises(TraceError, match="its rate is 0 all the time"):
        from_bytes("t", b"time_s,rate_mbit\n0,0\n1,0\n")
    dead_end = b"time_s,rate_mbit\n0,1\n1,0\n"
    assert from_bytes("t", dead_end).means().rate_bit_s == 500_000
    with pytest.raises(TraceError, match="the link would stay dead for ever"):
        from_bytes("t", dead_end, "hold")
    with pytest.raises(TraceError, match="leave out 'hold'"):
        from_bytes("t", b"1\n", "hold")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(TraceError, match="byte 1 is not UTF-8"):
        from_bytes("t", b"1\xff\n")


# --- as a field of a link ---------------------------------------------------------------------------------------------


def test_a_trace_takes_the_place_of_what_it_tells_and_leaves_its_means() -> None:
    base = LinkProfile(rate_bit_s=10**6, delay_ns=5 * MS, loss=RandomLoss(0.5))
    walk = with_field(base, "trace", "walk_wifi")
    means = traces.load("walk_wifi").means()
    assert (walk.rate_bit_s, walk.delay_ns) == (means.rate_bit_s, means.delay_ns)
    assert walk.loss == RandomLoss(means.loss or 0.0)
    lte = with_field(base, "trace", "lte_down")  # deliveries tell no delay and no loss
    assert (lte.delay_ns, lte.loss) == (base.delay_ns, base.loss)
    assert lte.resolved(100 * MS).queue == QueueLimit(packets=-(-(lte.rate_bit_s or 0) // 10 // (8 * 1514)))
    still = with_field(walk, "trace", "none")
    assert still == walk.untraced() == dataclasses.replace(walk, trace=None)


def test_a_value_beside_a_trace_that_tells_it_is_refused_with_the_fix() -> None:
    walk = LinkProfile(trace=traces.load("walk_wifi"))
    with pytest.raises(ProfileError, match=r"rate_bit_s is told by the trace walk_wifi: leave it out, .*trace=none"):
        with_field(walk, "rate", "5mbit")
    with pytest.raises(ProfileError, match="loss is told by the trace walk_wifi and cannot be changed beside it"):
        Change(at_ns=0, loss=NoLoss()).applied_to(walk)
    (darkness,) = parse_changes("3s down")
    assert darkness.applied_to(walk) == walk


@pytest.mark.parametrize("name", list(traces.SHIPPED))
def test_what_is_printed_is_read_back(name: str) -> None:
    profile = LinkProfile(trace=traces.load(name))
    text = format_field("trace", profile.trace)
    assert with_field(LinkProfile(), "trace", text) == profile
    assert text in describe(profile)
    assert from_dict(json.loads(json.dumps(to_dict(profile)))) == profile
    topology = two_path(path1=profile)
    assert json_form.from_dict(json.loads(json.dumps(json_form.to_dict(topology)))) == topology


def test_a_file_is_a_trace_and_its_content_travels(tmp_path: Path) -> None:
    file = tmp_path / "my office.csv"
    file.write_text("time_s,rate_mbit\n0,1\n1,2\n")
    made = with_field(LinkProfile(), "trace", f"{file} hold")
    assert made.trace is not None
    assert (made.trace.name, made.trace.at_end) == (str(file), "hold")
    text = made.trace.text()
    assert traces.parse(text) == made.trace
    stored = json.dumps(to_dict(made))
    file.write_text("time_s,rate_mbit\n0,1\n1,3\n")
    with pytest.raises(TraceError, match="its SHA-256 begins with"):
        traces.parse(text)
    file.unlink()
    assert from_dict(json.loads(stored)) == made
    with pytest.raises(TraceError, match=r"its SHA-256 is .*: it is another one"):
        from_dict(json.loads(stored.replace(made.trace.sha256, "0" * 64)))
    with pytest.raises(TraceError, match="its stored content is damaged"):
        dataclasses.replace(made.trace, content="!")


def test_an_unknown_name_brings_the_near_ones() -> None:
    with pytest.raises(TraceError, match=r"no shipped trace of that name, and no file: .*did you mean walk_wifi"):
        traces.parse("wlak_wifi")


def test_the_generator_makes_the_shipped_files_byte_for_byte(tmp_path: Path) -> None:
    assert generator.main([str(tmp_path)]) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in traces.catalog.DATA.iterdir()}
    assert {Path(name).stem for name in made} == set(traces.SHIPPED)
    for name in traces.SHIPPED:
        assert traces.load(name).shape().period_ns in (20 * S, 60 * S)
