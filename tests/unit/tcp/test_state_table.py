"""The state table itself, without any segment (RFC 9293 figure 5)."""

from __future__ import annotations

import pytest
from tcp_pair import CLIENT, SERVER, make

from testbed.tcp.control_block import IllegalTransition
from testbed.tcp.state import EVENTS, TRANSITIONS, Event, State


def test_every_state_has_its_row_and_can_be_left_for_closed() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(State.CLOSED in targets for state, targets in TRANSITIONS.items() if state is not State.CLOSED)


def test_no_state_leads_back_to_an_earlier_phase() -> None:
    synchronized = {state for state in State if state >= State.ESTABLISHED}
    for state in synchronized:
        assert TRANSITIONS[state] <= synchronized | {State.CLOSED}


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_a_step_is_either_in_the_table_or_refused(before: State, after: State) -> None:
    tcp = make(CLIENT, SERVER)
    tcp.state = before
    if after in TRANSITIONS[before] or after is before:
        tcp.move(after)
        assert tcp.state is after
    else:
        with pytest.raises(IllegalTransition):
            tcp.move(after)


def test_events_are_told_in_their_order_and_once() -> None:
    tcp = make(CLIENT, SERVER)
    for event in (Event.CLOSED, Event.PEER_CLOSED, Event.READABLE, Event.READABLE):
        tcp.tell(event)

    assert [tcp.next_event() for _ in range(4)] == [Event.READABLE, Event.PEER_CLOSED, Event.CLOSED, None]
    assert len({int(event) for event in EVENTS}) == len(EVENTS)
