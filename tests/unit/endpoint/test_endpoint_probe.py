from __future__ import annotations

import errno

import pytest

from testbed.endpoint.probe import explain, probe


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EINVAL, "too old"),
        (errno.EPROTONOSUPPORT, "without MPTCP"),
        (errno.ENOPROTOOPT, "switched off"),
        (errno.EAFNOSUPPORT, "IPv6"),
        (errno.EMFILE, "EMFILE"),
    ],
)
def test_each_reason_is_told_apart_and_has_a_remedy(number: int, word: str) -> None:
    verdict = explain(number, family=6)
    assert not verdict.available
    assert word in verdict.reason
    assert verdict.remedy


def test_tcp_is_there() -> None:
    assert probe("linux-tcp").available
