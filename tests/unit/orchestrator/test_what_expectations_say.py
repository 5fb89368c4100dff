from __future__ import annotations

import pytest

from testbed.orchestrator.spec import Expectation, SpecificationError


def expectation(says: str) -> Expectation:
    return Expectation(variant="mptcp", metric="goodput_bit_s", at_least=1.0, says=says)


@pytest.mark.parametrize("says", ["", "{value} ({interval}), n = {n}", "{absolute} against {reference}: {value:%}"])
def test_a_sentence_has_the_numbers_of_the_verdict(says: str) -> None:
    assert expectation(says).says == says


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("{values}", "says has {values}, which is none of {value}, {interval}, {n}"),
        ("{value:.3f}", "says has {value:.3f}, which is none of"),
        ("{}", "says has {}, which is none of"),
        ("a { alone", "says 'a { alone': "),
    ],
)
def test_a_sentence_that_could_not_be_filled_in_is_refused_before_anything_runs(says: str, words: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        expectation(says)
    assert words in str(caught.value)
