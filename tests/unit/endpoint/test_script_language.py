"""Lines of a script: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.endpoint.parameters import Endpoint, ParameterError, Script
from testbed.endpoint.script.actions import ALTERATIONS, Comparison, Handshake, Keep, Map, Name, Octets, Say, Set, Wait
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.language import SETTINGS, parse
from testbed.endpoint.script.names import OF_CONNECTION, OF_SUBFLOW
from testbed.endpoint.script.segment_words import OPTIONS, SEGMENTS
from testbed.wire.segment import ACK, PSH, SYN

OPEN = "open sf1"


def second(line: str) -> object:
    """The action of a line behind the handshake."""
    return parse((OPEN, line)).actions[1]


def test_a_segment_is_octets_with_mappings_and_options() -> None:
    said = second("send sf1 1-100 map 1-50 checksum bad map 51-100 at 51 dsn 4 data_fin no data_ack mp_prio backup")

    assert isinstance(said, Say)
    assert (said.octets, said.flags, said.data_ack) == (Octets(1, 100), PSH | ACK, "none")
    assert said.maps == (
        Map(octets=Octets(1, 50), checksum="bad"),
        Map(octets=Octets(51, 100), ssn=51, dsn_octets=4, data_fin=True),
    )
    assert [(option.name, option.words) for option in said.options] == [("mp_prio", ("backup",))]


def test_comments_and_empty_lines_mean_nothing_but_lines_are_counted() -> None:
    program = parse(("# a client", "", "open sf1  # at once", "wait 20ms"))

    assert [action.line for action in program.actions] == [3, 4]
    assert program.actions[1] == Wait(line=4, duration_ns=20_000_000)


def test_and_binds_closer_than_or_and_a_subflow_may_stand_behind_its_name() -> None:
    wait = second("wait until data_acked 800 and acked sf1 400 or reset.sf1 for 1.5s")

    assert isinstance(wait, Wait) and wait.duration_ns == 1_500_000_000
    assert wait.condition == (
        (Comparison(Name("data_acked"), ">=", 800), Comparison(Name("acked.sf1"), ">=", 400)),
        (Comparison(Name("reset.sf1"), ">=", 1),),
    )


def test_a_kept_value_can_be_used_in_later_lines() -> None:
    kept = parse((OPEN, "let begun = now", "observe took = now - begun + 1")).actions[2]

    assert kept == Keep(line=3, name="took", term=((1, Name("now")), (-1, Name("begun")), (1, 1)), observed=True)


def test_handshakes_say_what_is_altered() -> None:
    join = second("join sf2 on path2 id 7 backup bad hmac within 300ms")

    assert isinstance(join, Handshake)
    assert (join.opens, join.joins, join.path, join.address_id, join.within_ns) == (True, True, "path2", 7, 300_000_000)
    assert join.altered == {"backup", "bad hmac"}


def test_settings_and_flags_are_read() -> None:
    assert second("set data_ack 4") == Set(line=2, name="data_ack", value=4)
    said = second("ack sf1 flags SA")
    assert isinstance(said, Say) and said.flags == SYN | ACK


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "needs 'open sf1'"),
        (("sned sf1 1-100",), "near: send"),
        (("send sf1 1-100",), "line 1: sf1 has not begun"),
        ((OPEN, OPEN), "line 2: sf1 has begun before"),
        ((OPEN, "open sf2"), "every further one joins"),
        ((OPEN, "send sf1 100-1"), "the last is not before the first"),
        ((OPEN, "send sf1 1-100 mpa 1-100"), "'mpa' is no part of a segment"),
        ((OPEN, "wait until reste sf1"), "near: reset.sf1"),
        ((OPEN, "wait 20"), "a time such as 20ms"),
        ((OPEN, "observe data_acked = 5"), "is observed by itself"),
        ((OPEN, "set timestamps maybe"), "one of on, off"),
        ((OPEN, "ack sf1 option 1e0500"), "its length"),
        ((OPEN, "ack sf1 add_addr 3"), "an address is missing"),
        ((OPEN, "rst sf1 reason 16"), "0 to 15"),
    ],
)
def test_a_line_that_means_nothing_is_told_with_its_number_and_what_could_be_there(
    lines: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ScriptError, match=words) as told:
        parse(lines)
    assert str(told.value).startswith("line ")


def test_a_script_is_checked_when_it_is_made() -> None:
    with pytest.raises(ParameterError, match="the script: line 2: sf2 has not begun"):
        Script(lines=(OPEN, "ack sf2"))


def test_a_scripted_end_has_no_other_parameters() -> None:
    with pytest.raises(ParameterError, match="timestamps is nothing that a script has"):
        Endpoint(implementation="script", timestamps=True)


def test_the_guide_tells_every_name_that_is_observed_and_every_word_of_the_language() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "howto" / "script-a-peer.md").read_text()
    rows = [f"| `{name}` | {unit} | {meaning} |" for name, (unit, meaning) in OF_CONNECTION.items()]
    rows += [f"| `{name}.sf1` | {unit} | {meaning} |" for name, (unit, meaning) in OF_SUBFLOW.items()]

    assert [row for row in rows if row not in guide] == []
    words = [*ALTERATIONS, *OPTIONS, *SEGMENTS, *SETTINGS]
    assert [word for word in words if f"`{word}" not in guide] == []
