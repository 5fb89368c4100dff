"""Middleboxes as values: their texts and their JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies import captions, drawing, json_form, link_profile, link_text
from topologies.link_profile import LinkProfile
from topologies.middlebox import (
    CATALOG,
    MIDDLEBOX_KINDS,
    Delay,
    Drop,
    Duplicate,
    Hold,
    Mark,
    Middlebox,
    MiddleboxError,
    StripOption,
    Watch,
    describe,
    describe_all,
    from_dict,
    parse,
    to_dict,
)
from topologies.model import Link
from topologies.two_path import two_path

MS = 1_000_000
LINK_MODEL = Path(__file__).parents[3] / "docs" / "link-model.md"

EXAMPLES = (
    ("strip mptcp", StripOption("mptcp")),
    ("strip mptcp on syn or syn_ack", StripOption("mptcp", "syn or syn_ack")),
    ("strip tcp.timestamps close", StripOption("tcp.timestamps", gap="close")),
    ("strip mptcp.dss on data close", StripOption("mptcp.dss", "data", "close")),
    ("strip 253 on data first 5", StripOption("253", "data first 5")),
    ("drop mptcp.add_addr", Drop("mptcp.add_addr")),
    ("drop option 253 and ack nth 2+5", Drop("option 253 and ack nth 5+2")),
    ("delay 50ms data every 10", Delay(50 * MS, "data every 10")),
    ("duplicate any", Duplicate("any")),
    ("hold data nth 3 until data nth 6", Hold("data nth 3", "data nth 6")),
    ("hold syn until ack for 500ms", Hold("syn", "ack", 500 * MS)),
    ("mark not-ect forward", Mark("not-ect", "forward")),
    ("watch tcp.rst and reset_reason = 6 as reset-6", Watch("tcp.rst and reset_reason = 6", "reset-6")),
    ("watch data nth 3 as third", Watch("data nth 3", "third")),
)

OLDER = (
    ("strip timestamps close", StripOption("tcp.timestamps", gap="close")),
    ("strip mptcp/dss on data close", StripOption("mptcp.dss", "data", "close")),
    ("strip mptcp on syn+syn-ack", StripOption("mptcp", "syn or syn_ack")),
    ("strip mptcp on third-ack", StripOption("mptcp", "third_ack")),
    ("drop mptcp/add_addr nth 1", Drop("mptcp.add_addr nth 1")),
    ("drop sack", Drop("tcp.sack")),
    ("drop 253 on data nth 2+5", Drop("option 253 and data nth 2+5")),
    ("drop mptcp on third-ack nth 1", Drop("mptcp and third_ack nth 1")),
    ("drop mptcp on ack", Drop("mptcp and not (tcp.syn or third_ack or data)")),
)


@pytest.mark.parametrize(("text", "value"), EXAMPLES, ids=lambda each: str(each))
def test_the_text_of_a_middlebox_is_read_and_written_alike(text: str, value: Middlebox) -> None:
    assert parse(text) == (value,)
    assert describe(value) == text


@pytest.mark.parametrize(("text", "value"), OLDER, ids=lambda each: str(each))
def test_texts_from_before_there_were_expressions_are_still_read(text: str, value: Middlebox) -> None:
    assert parse(text) == (value,)


@pytest.mark.parametrize("cls", CATALOG, ids=lambda cls: str(cls.keyword))
def test_every_middlebox_shows_an_example_that_reads_back_from_text_and_json(cls: type[Middlebox]) -> None:
    (value,) = parse(cls.example)
    assert isinstance(value, cls)
    assert cls.usage.split()[0] == cls.example.split()[0] == cls.keyword
    assert parse(describe(value)) == (value,)
    assert from_dict(json.loads(json.dumps(to_dict(value)))) == value
    assert MIDDLEBOX_KINDS[to_dict(value)["kind"]] is cls
    assert cls.summary
    assert f"| `{cls.keyword} " in LINK_MODEL.read_text(), "a row in the table of middleboxes"


def test_several_middleboxes_are_a_field_of_one_direction() -> None:
    text = "strip mptcp on syn, drop tcp.sack"
    profile = link_text.with_field(LinkProfile(), "middleboxes", text)
    assert [type(each) for each in profile.middleboxes] == [StripOption, Drop]
    assert not profile.is_wire()
    assert f"middleboxes {text}" in link_text.describe(profile)
    assert describe_all(parse(text)) == text
    assert link_profile.from_dict(link_profile.to_dict(profile)) == profile
    assert link_text.with_field(profile, "middleboxes", "none") == LinkProfile()


PIECES = st.one_of(
    st.sampled_from([word for cls in CATALOG for word in (*cls.example.split(), *cls.usage.split(), cls.keyword)]),
    st.sampled_from(
        ("and", "or", "not", "nth", "every", "first", "(", ")", ",", "on", "until", "for", "3", "0", "3+7")
    ),
    st.sampled_from(("5%", "50ms", "0s", "data", "syn", "mptcp.dss", "close", "none", '"', '""', "-1", "99999999999")),
    st.text(max_size=5),
)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join)))
def test_any_text_is_read_or_refused_at_a_word(text: str) -> None:
    try:
        values = parse(text)
    except MiddleboxError as error:
        assert 0 <= error.start <= error.end
        assert error.text == text
        assert str(error).count("\n") == 2
    else:
        assert parse(describe_all(values)) == values
        assert tuple(from_dict(json.loads(json.dumps(to_dict(each)))) for each in values) == values


@pytest.mark.parametrize("cls", CATALOG, ids=lambda cls: str(cls.keyword))
def test_one_that_has_to_see_both_directions_is_refused_in_one_with_the_fix(cls: type[Middlebox]) -> None:
    boxes = parse(cls.example)
    if not cls.two_way:
        assert LinkProfile(middleboxes=boxes).middleboxes == boxes
        return
    with pytest.raises(link_profile.ProfileError, match=r"path1\.middleboxes"):
        LinkProfile(middleboxes=boxes)


def test_middleboxes_of_a_link_shape_it_and_are_stored_with_it() -> None:
    link = Link(name="wire", a="client", b="r1", middleboxes=parse("drop syn nth 1"))
    assert link.is_shaped()
    topology = two_path()
    (first, *_) = topology.links
    changed = topology.with_link(Link(name=first.name, a=first.a, b=first.b, middleboxes=link.middleboxes))
    stored = json.loads(json.dumps(json_form.to_dict(changed)))
    assert json_form.from_dict(stored) == changed
    for each in stored["links"]:
        del each["middleboxes"]  # of before links had them
    assert all(not each.middleboxes for each in json_form.from_dict(stored).links)


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("strip", "strip ^", "tcp.(mss"),
        ("strip nothing", "strip ^^^^^^^", "mptcp"),
        ("strip mptcp/what", "strip ^^^^^^^^^^", "mptcp"),
        ("strip mptcp on sin", "strip mptcp on ^^^", "did you mean syn"),
        ("drop tcp.sack close", "drop tcp.sack ^^^^^", "and, or, nth"),
        ("drop tcp.sack nth x", "drop tcp.sack nth ^", "3+7"),
        ("drop data nth 3 and syn", "drop data nth 3 ^^^", "write (data nth 3) and"),
        ("cut a", "^^^", "drop, delay"),
        ("drop syn,", "drop syn, ^", "drop, delay"),
        ("drop syn, delay data", "drop syn, delay ^^^^", "35ms"),
        ("delay 0s data", "^^^^^", "at least 1ns"),
        ("hold data", "hold data ^", "until"),
        ("hold data until syn fro 1s", "hold data until syn ^^^", "did you mean for"),
        ("watch data", "watch data ^", "as"),
        ("watch data as", "watch data as ^", "a name"),
        ("watch data as Reset", "watch data as ^^^^^", "lower-case"),
        ("mark cee data", "mark ^^^", "did you mean ce"),
        ("none, drop syn", "none^", "the end"),
        ("", "^", "drop"),
    ],
)
def test_a_wrong_text_is_refused_at_the_word(text: str, place: str, hint: str) -> None:
    with pytest.raises(MiddleboxError) as caught:
        parse(text)
    reason, shown, carets = str(caught.value).split("\n")
    assert shown == f"  {text}"
    assert hint in reason
    assert carets.rstrip() == "  " + "".join("^" if sign == "^" else " " for sign in place)


def test_drawings_name_them_and_lists_show_them_in_full() -> None:
    link = two_path().link("path1")
    both = dataclasses.replace(link, middleboxes=parse("drop syn nth 1, strip mptcp on data"))
    assert captions.label(both)[-1] == "middleboxes: drop + strip"
    one = dataclasses.replace(both, forward=dataclasses.replace(link.forward, middleboxes=parse("mark ce any")))
    assert captions.label(one)[-1] == "middleboxes: drop + strip, → mark"
    assert "middleboxes: drop + strip" in drawing.as_text(two_path().with_link(both))
    assert "middleboxes drop syn nth 1, strip mptcp on data" in drawing.as_text(two_path().with_link(both))
    assert "drop + strip" in drawing.as_svg(two_path().with_link(both))


def test_what_was_stored_before_there_were_expressions_is_still_read() -> None:
    old = {"kind": "drop-carrying", "option": "mptcp/dss", "on": ["data"], "nth": [3]}
    assert from_dict(old) == Drop("mptcp.dss and data nth 3")
    assert from_dict({"kind": "drop-carrying", "option": "253", "on": [], "nth": []}) == Drop("option 253")
    old = {"kind": "strip-option", "option": "mptcp", "on": ["syn", "syn-ack"], "gap": "nop"}
    assert from_dict(old) == StripOption("mptcp", "syn or syn_ack")
    assert from_dict(old | {"on": []}) == StripOption("mptcp")
    with pytest.raises(MiddleboxError, match="kind"):
        from_dict({"kind": "no-such"})
