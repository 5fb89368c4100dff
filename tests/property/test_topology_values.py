"""Whatever is valid survives being written and read; whatever is not is one error that names the text."""

from __future__ import annotations

import dataclasses
import json
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from topologies import link_text, quantity
from topologies.link_profile import (
    Change,
    DropList,
    EveryNth,
    GilbertElliott,
    Jitter,
    LinkProfile,
    Loss,
    NoLoss,
    ProfileError,
    QueueLimit,
    RandomLoss,
    Reordering,
    change_from_dict,
    from_dict,
    to_dict,
)
from topologies.link_text import FIELDS, format_field, with_field
from topologies.quantity import QuantityError
from topologies.queue_discipline import CoDel, FqCoDel, Pie, Red

WHOLE = st.integers(min_value=0, max_value=10**18)
PROBABILITY = st.floats(min_value=0, max_value=1)
POSITIVE = st.floats(min_value=0, max_value=1, exclude_min=True)

LOSS: st.SearchStrategy[Loss] = st.one_of(
    st.just(NoLoss()),
    st.builds(RandomLoss, POSITIVE, PROBABILITY),
    st.builds(GilbertElliott, POSITIVE, PROBABILITY, PROBABILITY, PROBABILITY),
    st.builds(EveryNth, st.integers(1, 10**9), st.integers(0, 10**9)),
    st.builds(DropList, st.lists(st.integers(1, 10**6), max_size=8).map(tuple)),
)
JITTER = st.builds(
    Jitter,
    st.integers(1, 10**12),
    st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
    PROBABILITY,
    st.booleans(),
)
TIME = st.integers(1, 10**12)
DISCIPLINE = st.one_of(
    st.none(),
    st.builds(CoDel, TIME, TIME, st.booleans()),
    st.builds(FqCoDel, TIME, TIME, st.integers(1, 65536), st.integers(256, 10**6), st.booleans()),
    st.builds(Pie, TIME, TIME, TIME, st.booleans()),
    st.builds(
        Red,
        st.integers(1, 999),
        st.integers(1000, 10**9),
        POSITIVE,
        POSITIVE,
        st.sampled_from(["packets", "bytes"]),
        st.booleans(),
    ),
)
QUEUE = st.one_of(
    st.builds(QueueLimit, packets=st.integers(1, 10**6), discipline=DISCIPLINE),
    st.builds(QueueLimit, size_bytes=st.integers(1514, 10**12), discipline=DISCIPLINE),
)
RATE = st.integers(1000, 10**13)
PROFILE = st.builds(
    LinkProfile,
    rate_bit_s=st.none() | RATE,
    queue=st.none() | QUEUE,
    delay_ns=st.integers(1, 10**12),
    jitter=st.none() | JITTER,
    loss=LOSS,
    reordering=st.none() | st.builds(Reordering, POSITIVE, st.integers(1, 100), PROBABILITY),
    duplication=PROBABILITY,
    corruption=PROBABILITY,
)
CHANGE = st.builds(
    Change,
    at_ns=WHOLE,
    direction=st.sampled_from(["both", "forward", "backward"]),
    down=st.none() | st.booleans(),
    rate_bit_s=st.none() | RATE,
    delay_ns=st.none() | st.integers(1, 10**12),
    loss=st.none() | LOSS,
)


@given(WHOLE)
def test_quantities_survive_their_text(value: int) -> None:
    assert quantity.parse_rate(quantity.format_rate(value)) == value
    assert quantity.parse_time(quantity.format_time(value)) == value
    assert quantity.parse_size(quantity.format_size(value)) == value


@given(PROBABILITY)
def test_probabilities_survive_their_text(value: float) -> None:
    assert quantity.parse_probability(quantity.format_probability(value)) == value


@given(PROFILE)
def test_profiles_survive_json(profile: LinkProfile) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(profile)))) == profile


@given(CHANGE)
def test_changes_survive_json(change: Change) -> None:
    assert change_from_dict(json.loads(json.dumps(to_dict(change)))) == change


@given(PROFILE)
def test_every_field_of_a_profile_survives_its_text(profile: LinkProfile) -> None:
    rebuilt = LinkProfile(delay_ns=1)
    for name, (attribute, _) in FIELDS.items():
        rebuilt = with_field(rebuilt, name, format_field(name, getattr(profile, attribute)))
    assert rebuilt == profile


@given(PROFILE, st.integers(0, 10**10))
def test_resolved_leaves_no_implicit_queue_and_changes_nothing_else(profile: LinkProfile, round_trip_ns: int) -> None:
    resolved = profile.resolved(round_trip_ns)
    assert (resolved.queue is None) == (profile.rate_bit_s is None and profile.queue is None)
    assert dataclasses.replace(resolved, queue=profile.queue) == profile
    assert resolved.resolved(2 * round_trip_ns) == resolved


@given(RATE, st.integers(0, 10**10))
def test_the_default_queue_holds_a_bandwidth_delay_product(rate_bit_s: int, round_trip_ns: int) -> None:
    queue = LinkProfile(rate_bit_s=rate_bit_s).resolved(round_trip_ns).queue
    assert queue is not None and queue.packets is not None
    assert queue.packets >= 20
    assert queue.packets * 1514 * 8 * 10**9 >= rate_bit_s * round_trip_ns - 8 * 10**9


PARSERS = {
    "rate": (quantity.parse_rate, "20mbit"),
    "time": (quantity.parse_time, "35ms"),
    "size": (quantity.parse_size, "64KiB"),
    "probability": (quantity.parse_probability, "0.5%"),
    "packet count": (quantity.parse_packets, "100packets"),
    "loss": (link_text.parse_loss, "ge(1%,30%)"),
    "queue limit": (link_text.parse_queue, "bdp"),
}


@pytest.mark.parametrize("kind", PARSERS)
@given(text=st.text(alphabet=string.printable, max_size=12))
def test_malformed_text_is_one_error_that_names_it_and_the_accepted_forms(kind: str, text: str) -> None:
    parse, example = PARSERS[kind]
    try:
        parse(text)
    except quantity.OutOfRangeError as error:
        assert "above 100%" in str(error)
    except QuantityError as error:
        message = str(error)
        assert repr(text) in message
        assert example in message or "finer" in message
        assert "\n" not in message
    except ProfileError as error:
        assert str(error)
    else:
        assume(False)


@pytest.mark.parametrize("text", ["50", "10 Mbps", "1e3ms", "-5ms", "5 ms ms", "ms", "", "5,5ms", "0x10ms", "nanms"])
@pytest.mark.parametrize("kind", ["rate", "time", "size"])
def test_numbers_without_a_known_unit_are_refused(kind: str, text: str) -> None:
    parse, example = PARSERS[kind]
    with pytest.raises(QuantityError, match=f"is not a {kind}: write a number and a unit .*{example}"):
        parse(text)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("delay", "0.5ns", "finer than the base unit"),
        ("loss", "150%", "'150%' is not a probability: it is above 100%"),
        ("rate", "999bit", "rate_bit_s is at least 1000"),
        ("queue", "0packets", "queue.packets is at least 1"),
        ("queue", "100B", "queue.size_bytes is at least 1514"),
        ("jitter", "5ms cauchy", "jitter.distribution is one of uniform, normal"),
        ("reordering", "25% gap 0", "reordering.gap is at least 1"),
        ("loss", "every(0)", "loss.n is at least 1"),
        ("loss", "list(0)", "loss.packets counts from 1"),
        ("loss", "ge(0%,0%)", "the state would never change"),
    ],
)
def test_values_out_of_range_name_the_field_and_the_range(name: str, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        with_field(LinkProfile(delay_ns=1), name, text)


@pytest.mark.parametrize("value", [1.5e6, "20mbit", True])
def test_a_rate_that_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="rate_bit_s is an integer in base units"):
        LinkProfile(rate_bit_s=value)  # type: ignore[arg-type]
