"""Mappings on pure ACKs that are repeated until the peer has echoed them (N14)."""

from __future__ import annotations

from testbed.mptcp.echoed_mappings import EchoedMappings
from testbed.mptcp.subflow_view import OutgoingMapping

FIRST = OutgoingMapping(100, 1, 1000)
SECOND = OutgoingMapping(1100, 1001, 1000)


def test_a_mapping_is_due_again_when_its_echo_is_overdue_and_waits_longer_each_time() -> None:
    pending = EchoedMappings()
    assert pending.has_left(FIRST, 0, 200) == 1

    assert pending.due(199, 0) is None
    assert pending.next_timeout() == 200
    assert pending.due(200, 0) is FIRST
    assert pending.has_left(FIRST, 200, 200) == 2
    assert pending.due(599, 0) is None
    assert pending.due(600, 0) is FIRST


def test_an_echo_ends_the_wait_for_its_mapping_alone() -> None:
    pending = EchoedMappings()
    pending.has_left(FIRST, 0, 200)
    pending.has_left(SECOND, 0, 200)

    pending.echoed(FIRST.ssn)
    pending.echoed(77)  # of nothing that is known

    assert pending.due(1000, 0) is SECOND


def test_what_is_data_acked_needs_no_echo() -> None:
    pending = EchoedMappings()
    pending.has_left(FIRST, 0, 200)

    assert pending.due(1000, FIRST.dsn + FIRST.length - 1) is FIRST
    assert pending.due(1000, FIRST.dsn + FIRST.length) is None
    assert pending.next_timeout() is None
