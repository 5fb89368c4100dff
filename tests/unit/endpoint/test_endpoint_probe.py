from __future__ import annotations

import errno

import pytest

from testbed.endpoint.probe import explain, probe, probe_congestion_control, probe_scheduler


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


def test_reno_is_always_there_and_an_invented_one_never() -> None:
    assert probe_congestion_control("reno").available
    verdict = probe_congestion_control("nosuch")
    assert not verdict.available
    assert "reno" in verdict.reason


@pytest.mark.needs_mptcp
def test_an_unknown_scheduler_is_named() -> None:
    verdict = probe_scheduler("nosuch")
    assert not verdict.available
    assert "nosuch" in verdict.reason or "no choice" in verdict.reason
