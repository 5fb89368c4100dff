from __future__ import annotations

import pytest

from testbed.endpoint.kernel_state import ConnectionState, Endpoints, SubflowState
from testbed.endpoint.subflow_flags import BACKUP_LOCAL, BACKUP_REMOTE, FULLY_ESTABLISHED
from testbed.endpoint.subflows import SubflowRegistry
from testbed.endpoint.tcp_info import (
    MPTCP_INFO_BYTES,
    TCP_CLOSE,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
    Info,
    read_mptcp_info,
    read_tcp_info,
)

FIRST: Endpoints = ("10.0.1.1", 1000, "10.0.2.2", 5001)
SECOND: Endpoints = ("10.0.3.1", 1001, "10.0.4.2", 5001)
GONE: Endpoints = ("0.0.0.0", 1001, "0.0.0.0", 0)


def info(**values: int | None) -> Info:
    return {**read_tcp_info(bytes(280)), "state": 1, **values}


def state(*subflows: SubflowState, **mptcp: int) -> ConnectionState:
    return ConnectionState("MPTCP_FULL_INFO", {**read_mptcp_info(bytes(MPTCP_INFO_BYTES)), **mptcp}, subflows)


def test_a_subflow_keeps_its_number_whatever_order_the_kernel_lists() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    first, second = SubflowState(1, FIRST, info()), SubflowState(2, SECOND, info())
    assert [subflow.index for subflow in registry.update(state(first), 10)] == [0]
    assert [subflow.index for subflow in registry.update(state(second, first), 20)] == [1]
    assert registry.update(state(first, second), 30) == ()
    assert [subflow.endpoints for subflow in registry.subflows] == [FIRST, SECOND]
    assert [subflow.first_seen_ns for subflow in registry.subflows] == [10, 20]


def test_a_closed_subflow_is_gone_but_its_final_counts_are_kept() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED | BACKUP_LOCAL)
    registry.update(state(SubflowState(1, FIRST, info()), SubflowState(2, SECOND, info(total_retrans=1))), 10)
    closed = SubflowState(2, GONE, info(state=TCP_CLOSE, total_retrans=7))
    (changed,) = registry.update(state(SubflowState(1, FIRST, info()), closed), 20)
    assert (changed.index, changed.present, changed.last_seen_ns) == (1, False, 10)
    assert changed.endpoints == SECOND
    assert registry.total("total_retrans") == 7
    assert registry.update(state(SubflowState(1, FIRST, info())), 30) == ()
    assert registry.total("total_retrans") == 7
    assert changed.event(20).change == "removed"


def test_a_subflow_that_was_never_seen_alive_has_no_addresses_and_is_not_counted() -> None:
    registry = SubflowRegistry(lambda _: None)
    assert registry.update(state(SubflowState(1, GONE, info(state=TCP_CLOSE))), 10) == ()
    assert registry.subflows == ()
    assert registry.total("total_retrans") is None


def test_the_same_addresses_again_are_another_subflow_when_the_kernel_numbers_them() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    registry.update(state(SubflowState(1, FIRST, info())), 10)
    registry.update(state(), 20)
    registry.update(state(SubflowState(2, FIRST, info())), 30)
    assert [subflow.present for subflow in registry.subflows] == [False, True]


def test_without_the_kernels_numbers_addresses_tell_subflows_apart() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    registry.update(state(SubflowState(None, FIRST, info())), 10)
    registry.update(state(SubflowState(None, FIRST, info()), SubflowState(None, SECOND, info())), 20)
    assert [subflow.endpoints for subflow in registry.subflows] == [FIRST, SECOND]


def test_a_total_is_unknown_when_a_kernel_does_not_tell_it() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    registry.update(state(SubflowState(1, FIRST, info(bytes_retrans=None))), 10)
    assert registry.total("bytes_retrans") is None


def test_counts_of_subflows_survive_the_closing_of_the_connection() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    registry.update(state(SubflowState(1, FIRST, info()), subflows_total=2, bytes_sent=5), 10)
    registry.update(state(subflows_total=0, bytes_sent=9), 20)
    assert registry.mptcp_info is not None
    assert (registry.mptcp_info["subflows_total"], registry.mptcp_info["bytes_sent"]) == (2, 9)


INITIAL = SubflowState(1, FIRST, info())


def join(**values: int | None) -> SubflowState:
    return SubflowState(2, SECOND, info(**values))


@pytest.mark.parametrize("handshake", [TCP_SYN_SENT, TCP_SYN_RECV])
def test_a_join_that_is_not_answered_is_not_established(handshake: int) -> None:
    registry = SubflowRegistry(lambda _: None)
    for time_ns in (10, 20, 30):
        registry.update(state(INITIAL, join(state=handshake)), time_ns)
    registry.update(state(INITIAL, SubflowState(2, GONE, info(state=TCP_CLOSE))), 40)
    assert [subflow.endpoints for subflow in registry.subflows] == [FIRST]
    assert registry.total("total_retrans") == 0


@pytest.mark.parametrize("flags", [0, None])
def test_a_join_that_the_server_rejects_after_tcps_handshake_does_not_count(flags: int | None) -> None:
    registry = SubflowRegistry(lambda _: flags)
    assert len(registry.update(state(INITIAL, join()), 10)) == 1
    assert registry.update(state(INITIAL, SubflowState(2, GONE, info(state=TCP_CLOSE))), 20) == ()
    assert len(registry.subflows) == 1


def test_a_join_counts_from_the_fourth_ack_on() -> None:
    flags = {FIRST: 0, SECOND: 0}
    registry = SubflowRegistry(flags.__getitem__)
    registry.update(state(INITIAL, join()), 10)
    registry.update(state(INITIAL, join()), 20)
    assert len(registry.subflows) == 1
    flags[SECOND] = FULLY_ESTABLISHED | BACKUP_REMOTE
    (added,) = registry.update(state(INITIAL, join()), 30)
    assert (added.index, added.first_seen_ns, added.backup) == (1, 30, True)


def test_where_the_flags_cannot_be_read_data_or_a_second_sample_shows_a_join_established() -> None:
    registry = SubflowRegistry(lambda _: None)
    registry.update(state(INITIAL, join(bytes_sent=1)), 10)
    assert len(registry.subflows) == 2
    registry = SubflowRegistry(lambda _: None)
    registry.update(state(INITIAL, join()), 10)
    assert len(registry.subflows) == 1
    registry.update(state(INITIAL, join()), 20)
    assert len(registry.subflows) == 2


def test_a_join_that_moved_data_and_closed_between_two_samples_counts() -> None:
    registry = SubflowRegistry(lambda _: 0)
    registry.update(state(INITIAL, join()), 10)
    (changed,) = registry.update(
        state(INITIAL, SubflowState(2, GONE, info(state=TCP_CLOSE, bytes_received=5, total_retrans=2))), 20
    )
    assert (changed.endpoints, changed.present) == (SECOND, False)
    assert registry.total("total_retrans") == 2


def test_a_connection_that_falls_back_goes_on_with_the_same_subflow() -> None:
    registry = SubflowRegistry(lambda _: FULLY_ESTABLISHED)
    registry.update(state(INITIAL, join()), 10)
    fallen = ConnectionState("TCP_INFO", None, (SubflowState(None, FIRST, info(total_retrans=3)),))
    (gone,) = registry.update(fallen, 20)
    assert (gone.index, gone.present) == (1, False)
    assert [subflow.present for subflow in registry.subflows] == [True, False]
    assert registry.total("total_retrans") == 3
