"""Match expressions as text: what is read is written, and what is wrong is shown."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from topologies import match
from topologies.match import (
    COUNTS,
    SIGNS,
    WORDS,
    All,
    AnyOf,
    Carries,
    Chance,
    Compared,
    Counted,
    Host,
    Match,
    Not,
    Port,
    Subflow,
    Time,
    Word,
    canonical,
    describe,
    parse,
)
from topologies.words import WordError

NUMBERS = st.integers(1, 10**6)

SINGLE: st.SearchStrategy[Match] = st.one_of(
    st.sampled_from(WORDS).map(Word),
    st.builds(Carries, st.integers(0, 255)),
    st.builds(Compared, st.sampled_from(tuple(match.NUMBERS)), st.sampled_from(SIGNS), st.integers(0, 65535)),
    st.builds(Subflow, NUMBERS),
    st.builds(Host, st.sampled_from(("from", "to")), st.ip_addresses().map(str).filter(lambda text: "%" not in text)),
    st.builds(Port, st.integers(0, 65535)),
    st.builds(Time, st.sampled_from(("after", "before")), st.integers(0, 10**12)),
    st.builds(Chance, st.floats(0, 1)),
)


def _larger(parts: st.SearchStrategy[Match]) -> st.SearchStrategy[Match]:
    several = st.lists(parts, min_size=2, max_size=4).map(tuple)
    counts = st.one_of(
        st.tuples(st.just("nth"), st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)),
        st.tuples(st.sampled_from(("first", "every")), st.tuples(NUMBERS)),
    )
    return st.one_of(
        parts.map(Not),
        several.map(All),
        several.map(AnyOf),
        st.builds(lambda operand, count: Counted(operand, *count), parts, counts),
    )


EXPRESSIONS = st.recursive(SINGLE, _larger, max_leaves=12)
PIECES = st.sampled_from(
    (*WORDS, *match.WITH_VALUE, *COUNTS, *SIGNS, "and", "or", "not", "(", ")", ",", "3", "3+7", "2s", "5%", '"', "0")
)


@given(EXPRESSIONS)
def test_what_is_written_is_read_as_the_same_value(value: Match) -> None:
    text = describe(value)
    assert parse(text) == value
    assert canonical(text) == text


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join)))
@example("(" * 10_000)
@example("not " * 10_000)
@example("data nth " + "9" * 5000)
@example("from " + "1" * 5000)
@example("after 1e9s")
@example("subflow ²")
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    try:
        value = parse(text)
    except WordError as error:
        assert 0 <= error.start <= error.end
        assert str(error).count("\n") == 2
        assert text[error.start : error.end].strip() == text[error.start : error.end]
    else:
        assert parse(describe(value)) == value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("payload>0", "payload > 0"),
        ("payload==0", "payload = 0"),
        ("((data) and (syn or ack))", "data and (syn or ack)"),
        ("(a_word_in_brackets)".replace("a_word_in_brackets", "data nth 3"), "data nth 3"),
        ("(data nth 7+3) first 2", "(data nth 3+7) first 2"),
        ("not (data and syn) or not not ack", "not (data and syn) or not not ack"),
        ("data and (syn and ack) or tcp.rst", "data and syn and ack or tcp.rst"),
        ("third-ack and mptcp/dss", "third_ack and mptcp.dss"),
        ("from FD00:1:0::1 and after 2000ms", "from fd00:1::1 and after 2s"),
        ("chance 0.5%", "chance 0.5%"),
        ("reset_reason==6 or sack_blocks>=1", "reset_reason = 6 or sack_blocks >= 1"),
    ],
)
def test_a_match_has_one_text(text: str, written: str) -> None:
    assert canonical(text) == written


def test_every_word_is_explained_and_every_explained_text_is_read() -> None:
    explained = match.meanings()
    for text, meaning in explained.items():
        assert meaning
        assert canonical(text) == text
    assert set(WORDS) <= set(explained)
    assert {text.split()[0] for text in explained} >= set(match.WITH_VALUE)


def test_operators_bind_as_they_are_documented() -> None:
    assert parse("not syn and ack or data") == AnyOf((All((Not(Word("syn")), Word("ack"))), Word("data")))
    assert parse("syn or data nth 3") == Counted(AnyOf((Word("syn"), Word("data"))), "nth", (3,))
    assert parse("syn or (data nth 3)") == AnyOf((Word("syn"), Counted(Word("data"), "nth", (3,))))


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("mptcp.ad_addr", "^^^^^^^^^^^^^", "did you mean mptcp.add_addr"),
        ("data and", "data and ^", "syn"),
        ("(data or syn", "(data or syn ^", "')'"),
        ("data syn", "data ^^^", "and, or, nth"),
        ("payload 3", "payload ^", ">="),
        ("payload > many", "payload > ^^^^", "a whole number"),
        ("payload > 65536", "payload > ^^^^^", "to 65535"),
        ("reset_reasons = 6", "^^^^^^^^^^^^^", "did you mean reset_reason"),
        ("dss.ack_octets 8", "dss.ack_octets ^", ">="),
        ("subflow 0", "subflow ^", "from 1"),
        ("data nth 0", "data nth ^", "from 1"),
        ("data first 2+3", "data first ^^^", "one number"),
        ("data nth 3 nth 4", "data nth 3 ^^^", "(data nth 3) nth"),
        ("from 10.0.1", "from ^^^^^^", "10.0.1.1"),
        ("after 2", "after ^", "such as"),
        ("chance 105%", "chance ^^^^", "100%"),
        ("", "^", "syn"),
        ("   ", "^", "syn"),
    ],
)
def test_an_error_shows_the_word_and_what_could_stand_there(text: str, place: str, hint: str) -> None:
    with pytest.raises(WordError) as caught:
        parse(text)
    reason, _, carets = str(caught.value).split("\n")
    assert hint in reason
    assert carets.rstrip() == "  " + "".join("^" if sign == "^" else " " for sign in place)


def test_an_error_travels_between_processes() -> None:
    with pytest.raises(WordError) as caught:
        parse("data nth x")
    copy: Any = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)


def test_a_value_made_in_code_is_checked_too() -> None:
    for wrong in (lambda: Word("sin"), lambda: Host("from", "10.0.1"), lambda: Counted(Word("syn"), "nth", (0,))):
        with pytest.raises(WordError):
            wrong()
