from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.parameters import Bulk, Endpoint, ParameterError, Program, ShortFlows, Stream
from testbed.endpoint.protocol import (
    Configuration,
    Connected,
    Distribution,
    Event,
    Failure,
    FlowResult,
    Listening,
    Ready,
    Samples,
    Start,
    Stop,
    SubflowResult,
    SubflowSeen,
    command_from_line,
    configuration_from_dict,
    event_from_line,
    to_line,
)

RESULT = FlowResult(
    role="server",
    flow="main",
    implementation="linux",
    implementation_in_force="fallback",
    fallback=True,
    complete=False,
    stopped=False,
    error="why",
    error_kind="peer",
    distributions=(
        Distribution(metric="latency", time_ns=(1, 2), value_ns=(3, 4), p50_ns=3, p95_ns=4, p99_ns=4, max_ns=4),
    ),
    subflows=(
        SubflowResult(
            index=0,
            local_address="10.0.0.1",
            local_port=1,
            remote_address="10.0.0.2",
            remote_port=2,
            backup=None,
            first_seen_ns=5,
            last_seen_ns=6,
            tcp_info={"rtt": 7, "rcv_wnd": None},
        ),
    ),
    mptcp_info={"write_seq": 2**64 - 1},
    in_force={"congestion_control": "reno", "nodelay": True},
)
EVENTS: list[Event] = [
    Listening(port=5001),
    Ready(),
    Connected(
        time_ns=1,
        implementation_in_force="linux",
        local_address="::1",
        local_port=1,
        remote_address="::1",
        remote_port=2,
        connect_time_ns=None,
    ),
    SubflowSeen(
        time_ns=1,
        change="removed",
        index=3,
        local_address="::1",
        local_port=1,
        remote_address="::1",
        remote_port=2,
        backup=True,
    ),
    Failure(kind="connect", message="no"),
    RESULT,
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_line(event: Event) -> None:
    line = to_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert event_from_line(line) == event


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62),
            st.text(),
            st.text(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(),
            st.text(),
        )
    )
)
def test_samples_come_back_from_their_line(rows: list[tuple[int, str, str, float, str, str]]) -> None:
    samples = Samples(rows=tuple(rows))
    assert event_from_line(to_line(samples)) == samples


@pytest.mark.parametrize("application", [Bulk(size_bytes=5), Stream(), ShortFlows(count=2), Program()])
def test_a_configuration_comes_back_from_its_line(application: Bulk | Stream | ShortFlows | Program) -> None:
    configuration = Configuration(
        role="client",
        flow="main",
        remote_address="10.0.0.2",
        endpoint=Endpoint(congestion_control="reno"),
        application=application,
        duration_ns=1,
    )
    assert configuration_from_dict(json.loads(to_line(configuration))) == configuration


@pytest.mark.parametrize("command", [Start(epoch_monotonic_ns=5), Start(epoch_monotonic_ns=5, start_ns=0), Stop()])
def test_a_command_comes_back_from_its_line(command: Start | Stop) -> None:
    assert command_from_line(to_line(command)) == command


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"command": "go"}', b'{"command": "start"}', b"start"])
def test_what_is_no_command_is_refused_with_the_line(line: bytes) -> None:
    with pytest.raises(ParameterError, match=r"not a command|commands are"):
        command_from_line(line)


@pytest.mark.parametrize("line", ["{}", "[]", '{"event": "party"}', '{"event": 1}'])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        event_from_line(line)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "peer"}, "role"),
        ({"remote_address": None}, "remote_address"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"duration_ns": 0}, "duration_ns"),
        ({"sample_interval_ns": 10}, "sample_interval_ns"),
        ({"familly": 4}, "familly"),
        ({"application": {"kind": "bulk", "size": 1}}, "size"),
        ({"application": {"kind": "ftp"}}, "ftp"),
        ({"endpoint": {"cc": "reno"}}, "cc"),
        ({"duration_ns": "5s"}, "wrong type"),
    ],
)
def test_a_bad_configuration_is_refused_by_name(change: dict[str, object], message: str) -> None:
    good = Configuration(role="client", flow="main", remote_address="::1", application=Bulk(), duration_ns=1)
    with pytest.raises(ParameterError, match=message):
        configuration_from_dict({**dataclasses.asdict(good), **change})
