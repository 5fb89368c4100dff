"""Which MP_CAPABLE is taken, which is ignored."""

from __future__ import annotations

import pytest

from testbed.mptcp import handshake
from testbed.mptcp.parameters import Parameters
from testbed.wire.options import MpCapable

PLAIN = Parameters()
A, B, C, H = 0x80, 0x40, 0x20, 0x01


def test_the_forms_have_the_lengths_of_figure_4() -> None:
    assert handshake.offer(PLAIN).size == 4
    assert handshake.answer(PLAIN, False, 7).size == 12
    assert handshake.confirmation(PLAIN, False, 1, 2).size == 20


@pytest.mark.parametrize(
    ("flags", "version", "usable"),
    [
        (H, 1, True),
        (A | H, 1, True),
        (C | H, 1, True),
        (H | 0x1E, 1, True),  # offers more algorithms, H among them
        (0, 1, False),
        (A, 1, False),
        (0x1E, 1, False),
        (B | H, 1, False),
        (H, 0, False),
        (H, 2, True),  # answered with version 1
    ],
)
def test_an_offer_is_judged_by_flags_and_version(flags: int, version: int, usable: bool) -> None:
    assert handshake.offer_is_usable(MpCapable(flags, version=version), PLAIN) is usable


@pytest.mark.parametrize(
    ("flags", "version", "usable"),
    [
        (H, 1, True),
        (A | H, 1, True),
        (C | H, 1, True),
        (H | 0x02, 1, False),  # more than one algorithm
        (0, 1, False),
        (B | H, 1, False),
        (H, 2, False),
        (H, 0, False),
    ],
)
def test_an_answer_is_judged_by_flags_and_version(flags: int, version: int, usable: bool) -> None:
    assert handshake.answer_is_usable(MpCapable(flags, sender_key=5, version=version), PLAIN) is usable


def test_an_answer_needs_one_key_and_an_offer_none() -> None:
    assert not handshake.answer_is_usable(MpCapable(), PLAIN)
    assert not handshake.answer_is_usable(MpCapable(sender_key=1, receiver_key=2), PLAIN)
    assert not handshake.answer_is_usable(None, PLAIN)
    assert not handshake.offer_is_usable(MpCapable(sender_key=1), PLAIN)
    assert not handshake.offer_is_usable(None, PLAIN)


def test_a_refused_checksum_makes_the_option_invalid() -> None:
    refusing = Parameters(refuse_checksum=True)
    assert not handshake.offer_is_usable(MpCapable(A | H), refusing)
    assert not handshake.answer_is_usable(MpCapable(A | H, sender_key=1), refusing)
    assert handshake.offer_is_usable(MpCapable(H), refusing)


def test_the_confirmation_must_return_our_key() -> None:
    assert handshake.confirmation_is_usable(MpCapable(H, 1, 2), 2, False)
    assert not handshake.confirmation_is_usable(MpCapable(H, 1, 3), 2, False)
    assert not handshake.confirmation_is_usable(MpCapable(H, 2), 2, False)
    assert not handshake.confirmation_is_usable(None, 2, False)


def test_the_confirmation_may_not_deny_an_agreed_checksum() -> None:
    assert not handshake.confirmation_is_usable(MpCapable(H, 1, 2), 2, True)
    assert handshake.confirmation_is_usable(MpCapable(A | H, 1, 2), 2, True)
