"""Endpoint processes over the loopback of a fresh namespace: the kernel's own MPTCP and TCP."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from endpoint_pair import COMMAND, RunningEndpoint, StartIn, endpoint, flow, loopback_namespace, start, start_in

from testbed.endpoint.parameters import (
    Application,
    Bulk,
    Endpoint,
    Implementation,
    Program,
    RequestResponse,
    ShortFlows,
    Stream,
)
from testbed.endpoint.protocol import (
    EXIT_CONFIGURATION,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNSUPPORTED,
    Configuration,
    Connected,
    Failure,
    Samples,
    Stop,
)
from testbed.orchestrator import process
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.trial_rows import integrity

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

SECOND_NS = 10**9
MIB = 1 << 20


@pytest.fixture
def namespace() -> Iterator[int]:
    with loopback_namespace() as fd:
        yield fd


@pytest.fixture
def here(namespace: int) -> StartIn:
    return start_in(namespace)


def configuration(application: Application, **changes: object) -> Configuration:
    base = Configuration(
        role="server", flow="main", port=0, application=application, duration_ns=SECOND_NS // 2, seed=5
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@contextmanager
def pair(
    here: StartIn,
    application: Application,
    client: Endpoint | None = None,
    server: Endpoint | None = None,
    begin: bool = True,
    **changes: object,
) -> Iterator[tuple[RunningEndpoint, RunningEndpoint]]:
    family = changes.get("family", 4)
    serving = configuration(application, endpoint=server or Endpoint(), **changes)

    def asking(port: int) -> Configuration:
        address = "::1" if family == 6 else "127.0.0.1"
        return dataclasses.replace(
            serving, role="client", port=port, remote_address=address, endpoint=client or Endpoint()
        )

    with flow(here, serving, here, asking, begin) as both:
        yield both


@pytest.mark.parametrize("implementation", ["linux", "linux-tcp"])
@pytest.mark.parametrize("family", [4, 6])
def test_bytes_of_both_directions_arrive_as_they_were_sent(
    here: StartIn, implementation: Implementation, family: int
) -> None:
    bulk = Bulk(direction="both", size_bytes=16 * MIB, reverse_size_bytes=80 * 1024)
    side = Endpoint(implementation=implementation)
    with pair(here, bulk, side, side, family=family, duration_ns=20 * SECOND_NS) as (client, server):
        c, s = client.result(), server.result()
        assert (client.exit_code(), server.exit_code()) == (EXIT_OK, EXIT_OK)
    assert (c.bytes_sent, s.bytes_received) == (16 * MIB, 16 * MIB)
    assert (s.bytes_sent, c.bytes_received) == (80 * 1024, 80 * 1024)
    assert integrity(c, s) == "ok"
    assert c.first_mismatch is None
    assert s.first_mismatch is None
    for side_result, running in ((c, client), (s, server)):
        assert side_result.complete
        assert side_result.implementation_in_force == implementation
        assert running.connected().implementation_in_force == implementation
        assert side_result.subflows_seen == len(side_result.subflows) == 1
        assert side_result.completion_time_ns is not None
        assert not side_result.fallback
        assert (side_result.mptcp_info is not None) == (implementation == "linux")
    assert s.goodput_bit_s is not None
    assert s.goodput_bit_s > 0


def test_a_transfer_for_a_duration_is_sampled_at_both_ends_and_per_subflow(here: StartIn) -> None:
    with pair(here, Bulk(), sample_interval_ns=50_000_000) as (client, server):
        s, c = server.result(), client.result()
    assert c.bytes_sent == s.bytes_received
    assert integrity(c, s) == "ok"
    seen = {(subject, metric, unit, source) for _, subject, metric, _, unit, source in client.rows()}
    assert {
        ("main.client", "write_rate", "bit/s", "application"),
        ("main.client", "bytes_sent", "bytes", "MPTCP_INFO"),
        ("main.client.subflow0", "rtt", "ns", "MPTCP_FULL_INFO"),
        ("main.client.subflow0", "snd_cwnd", "segments", "MPTCP_FULL_INFO"),
        ("main.client.subflow0", "busy_time", "ns", "MPTCP_FULL_INFO"),
    } <= seen
    rates = [(row[0], row[3]) for row in server.rows() if row[1:3] == ("main.server", "goodput")]
    assert len(rates) >= 5
    before_ns, total_bits = s.start_ns or 0, 0.0
    for time_ns, rate in rates:
        total_bits += rate * (time_ns - before_ns) / 1e9
        before_ns = time_ns
    assert round(total_bits / 8) == s.bytes_received


def test_a_tcp_server_makes_an_mptcp_client_fall_back_and_both_say_so(here: StartIn) -> None:
    with pair(here, Bulk(size_bytes=MIB), server=Endpoint(implementation="linux-tcp")) as (client, server):
        c, s = client.result(), server.result()
    assert (c.implementation_in_force, c.fallback) == ("fallback", True)
    assert (s.implementation_in_force, s.fallback) == ("linux-tcp", False)
    assert integrity(c, s) == "ok"
    assert {source for *_, source in client.rows()} <= {"application", "TCP_INFO"}


def test_a_tcp_client_makes_an_mptcp_server_fall_back(here: StartIn) -> None:
    with pair(here, Bulk(size_bytes=MIB), client=Endpoint(implementation="linux-tcp")) as (client, server):
        assert server.result().implementation_in_force == "fallback"
        assert client.result().implementation_in_force == "linux-tcp"


def test_socket_options_are_in_force_as_read_back(here: StartIn) -> None:
    wanted = Endpoint(
        congestion_control="reno", nodelay=True, send_buffer_bytes=300_000, receive_buffer_bytes=8_000_000, sack=True
    )
    with pair(here, Bulk(size_bytes=MIB), client=wanted) as (client, server):
        in_force, default = client.result().in_force, server.result().in_force
    assert (in_force["congestion_control"], in_force["nodelay"]) == ("reno", True)
    assert (in_force["send_buffer_bytes"], in_force["receive_buffer_bytes"]) == (600_000, 16_000_000)
    assert (in_force["negotiated_sack"], in_force["negotiated_checksum"]) == (True, False)
    assert default["nodelay"] is False


def test_mptcp_that_is_off_is_unsupported_with_that_reason(namespace: int, here: StartIn) -> None:
    process.run(["sysctl", "-w", "net.mptcp.enabled=0"], namespace_fd=namespace)
    with endpoint(here, configuration(Bulk())) as server:
        result = server.result()
        assert server.exit_code() == EXIT_UNSUPPORTED
    assert result.error_kind == "unsupported"
    assert "switched off" in (result.error or "")


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (Endpoint(congestion_control="nosuch"), "nosuch"),
        (Endpoint(timestamps=False), "tcp_timestamps"),
        (Endpoint(checksum=True), "checksum_enabled"),
        (Endpoint(scheduler="nosuch"), "scheduler"),
    ],
)
def test_what_the_host_does_not_give_is_unsupported_by_name(here: StartIn, wanted: Endpoint, word: str) -> None:
    with endpoint(here, configuration(Bulk(), endpoint=wanted)) as server:
        result = server.result()
        assert server.exit_code() == EXIT_UNSUPPORTED
    assert word in (result.error or "")


def test_a_bad_configuration_is_told_and_has_its_own_exit_code(here: StartIn) -> None:
    running = RunningEndpoint(here(COMMAND))
    running.process.stdin.write(b'{"role": "server"}\n')
    event = running.next_event()
    assert isinstance(event, Failure)
    assert event.kind == "configuration"
    assert running.exit_code() == EXIT_CONFIGURATION
    running.process.kill()


def test_stop_ends_a_transfer_early_and_in_order(here: StartIn) -> None:
    with pair(here, Bulk(direction="both"), duration_ns=60 * SECOND_NS) as (client, server):
        for running in (client, server):
            running.until(lambda event: isinstance(event, Samples))
        for running in (client, server):
            running.tell(Stop())
        c, s = client.result(), server.result()
        assert (client.exit_code(), server.exit_code()) == (EXIT_OK, EXIT_OK)
    assert c.stopped
    assert s.stopped
    assert integrity(c, s) == "ok"


@pytest.mark.parametrize(
    "application",
    [Bulk(), Bulk(direction="download"), Bulk(size_bytes=10**12), RequestResponse(), Stream(), Program()],
    ids=lambda application: f"{application.kind}-{getattr(application, 'direction', '')}",
)
def test_a_peer_that_is_killed_is_an_error_and_no_hang(here: StartIn, application: Application) -> None:
    with pair(here, application, duration_ns=60 * SECOND_NS) as (client, server):
        client.until(lambda event: isinstance(event, Connected))
        server.process.kill()
        result = client.result()
        assert client.exit_code() == EXIT_FAILED
    assert result.error_kind == ("program" if isinstance(application, Program) else "peer")
    assert not result.complete


@pytest.mark.parametrize(
    "application",
    [
        Bulk(),
        Bulk(direction="download"),
        Bulk(size_bytes=10**12),
        RequestResponse(),
        RequestResponse(count=10**6),
        Stream(),
        Stream(direction="upload"),
    ],
    ids=lambda application: f"{application.kind}-{getattr(application, 'direction', '')}",
)
def test_a_client_that_is_killed_is_an_error_at_the_server(here: StartIn, application: Application) -> None:
    with pair(here, application, duration_ns=60 * SECOND_NS) as (client, server):
        server.until(lambda event: isinstance(event, Samples))
        client.process.kill()
        result = server.result()
        assert server.exit_code() == EXIT_FAILED
    assert (result.error_kind, result.complete) == ("peer", False)


@pytest.mark.parametrize("application", [RequestResponse(count=10**7), ShortFlows(count=10**6)])
def test_a_count_that_is_not_reached_in_time_is_an_error(here: StartIn, application: Application) -> None:
    with pair(here, application, duration_ns=SECOND_NS // 10) as (client, _):
        result = client.result()
    assert (result.error_kind, result.complete) == ("deadline", False)
    assert 0 < result.transfers < 10**6


def test_silence_that_lasts_until_the_end_is_a_stall_and_no_error(here: StartIn) -> None:
    drain_ns = SECOND_NS // 2
    with pair(here, Bulk(direction="download"), drain_ns=drain_ns) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        server.process.send_signal(signal.SIGSTOP)
        result = client.result()
        assert client.exit_code() == EXIT_OK
    assert (result.complete, result.error, result.completion_time_ns) == (False, None, None)
    assert result.longest_stall_ns is not None
    assert result.longest_stall_ns >= drain_ns
    assert result.longest_stall_start_ns == result.last_byte_ns


def test_nobody_listening_is_an_error(here: StartIn) -> None:
    alone = configuration(Bulk(), role="client", port=1, remote_address="127.0.0.1")
    with endpoint(here, alone) as client:
        start(client)
        result = client.result()
        assert client.exit_code() == EXIT_FAILED
    assert result.error_kind == "connect"
    assert "127.0.0.1 port 1" in (result.error or "")


def test_a_server_without_a_client_ends_with_its_time(here: StartIn) -> None:
    with endpoint(here, configuration(Bulk(), duration_ns=1, drain_ns=1)) as server:
        start(server)
        assert server.result().error_kind == "connect"


def test_a_fixed_size_that_does_not_arrive_in_time_is_an_error_at_both_ends(here: StartIn) -> None:
    big = Bulk(size_bytes=10**13)
    with pair(here, big, duration_ns=SECOND_NS // 10, drain_ns=0) as (client, server):
        kinds = {client.result().error_kind, server.result().error_kind}
    assert "deadline" in kinds
    assert kinds <= {"deadline", "peer"}


def test_closing_its_input_ends_an_endpoint(here: StartIn) -> None:
    with pair(here, Bulk(), duration_ns=60 * SECOND_NS) as (client, _):
        client.until(lambda event: isinstance(event, Connected))
        client.process.stdin.close()
        assert client.result().error_kind == "stopped"


def test_exchanges_have_one_latency_each(here: StartIn) -> None:
    exchanges = RequestResponse(count=20, response_bytes=300_000)
    with pair(here, exchanges, duration_ns=20 * SECOND_NS) as (client, server):
        c, s = client.result(), server.result()
    (latency,) = c.distributions
    assert (latency.metric, len(latency.value_ns), c.transfers, s.transfers) == ("latency", 20, 20, 20)
    assert all(value > 0 for value in latency.value_ns)
    assert (c.bytes_sent, c.bytes_received) == (2000, 6_000_000)
    assert integrity(c, s) == "ok"
    assert c.complete
    assert s.complete


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_every_block_of_a_stream_has_a_delay(here: StartIn, direction: str) -> None:
    stream = Stream(rate_bit_s=8_000_000, block_bytes=10_000, direction=direction)  # type: ignore[arg-type]
    with pair(here, stream, Endpoint(nodelay=True), Endpoint(nodelay=True)) as both:
        results = [running.result() for running in both]
    sender, receiver = results if direction == "upload" else reversed(results)
    (delays,) = receiver.distributions
    assert sender.transfers == receiver.transfers == len(delays.value_ns)
    # A block every 10 ms for half a second; connecting takes some of it, the last one may be due at its very end.
    assert 30 <= len(delays.value_ns) <= 51
    assert all(0 < value < SECOND_NS for value in delays.value_ns)
    assert receiver.bytes_received == 10_000 * len(delays.value_ns)
    assert receiver.longest_stall_ns


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_short_flows_are_counted_and_timed_each(here: StartIn, direction: str) -> None:
    flows = ShortFlows(size_bytes=100_000, count=12, concurrency=4, direction=direction)  # type: ignore[arg-type]
    with pair(here, flows, duration_ns=20 * SECOND_NS) as (client, server):
        c = client.result()
        server.tell(Stop())
        s = server.result()
    (completion,) = c.distributions
    assert (c.transfers, s.transfers, len(completion.value_ns)) == (12, 12, 12)
    assert (c.transfers_failed, s.transfers_failed) == (0, 0)
    moved = c.bytes_received if direction == "download" else s.bytes_received
    assert moved == 12 * 100_000
    assert c.subflows_seen == 12


@pytest.mark.parametrize("implementation", ["linux", "linux-tcp"])
def test_an_unmodified_iperf3_speaks_the_protocol_that_was_asked_for(
    namespace: int, here: StartIn, implementation: Implementation
) -> None:
    side = Endpoint(implementation=implementation)
    with pair(here, Program(), side, side, duration_ns=SECOND_NS) as (client, server):
        c, s = client.result(), server.result()
        assert (client.exit_code(), server.exit_code()) == (EXIT_OK, EXIT_OK)
    assert c.implementation_in_force == s.implementation_in_force == implementation
    assert c.goodput_bit_s is None
    assert (s.goodput_bit_s or 0) > 0
    assert c.program is not None
    assert c.program["exit_code"] == 0
    assert c.bytes_sent >= s.bytes_received > 0
    assert c.bytes_received == s.bytes_sent == 0
    subjects = {row[1] for row in client.rows()}
    assert {"main.client", "main.client.subflow0"} <= subjects
    netstat = process.run(["cat", "/proc/thread-self/net/netstat"], namespace_fd=namespace)
    names, values = [line.split() for line in netstat.splitlines() if line.startswith("MPTcpExt")]
    accepted = int(dict(zip(names, values, strict=True))["MPCapableACKRX"])
    assert accepted == (2 if implementation == "linux" else 0)  # control and data connection


def test_a_program_that_is_not_installed_is_unsupported(here: StartIn) -> None:
    missing = Program(server=("nosuch-program", "{port}"))
    with endpoint(here, configuration(missing)) as server:
        assert "nosuch-program is not installed" in (server.result().error or "")
        assert server.exit_code() == EXIT_UNSUPPORTED


def test_a_program_that_fails_is_an_error_with_its_words(here: StartIn) -> None:
    words = ("sh", "-c", "echo it is {port} >&2; exit 3")
    failing = Program(server=(), client=words)
    alone = configuration(failing, role="client", port=7, remote_address="127.0.0.1")
    with endpoint(here, alone) as client:
        start(client)
        result = client.result()
    assert result.error_kind == "program"
    assert "exit code 3: it is 7" in (result.error or "")


def test_a_program_dies_with_its_endpoint(here: StartIn) -> None:
    sleeping = Program(server=(), client=("setsid", "sleep", "600"))
    alone = configuration(sleeping, role="client", port=7, remote_address="127.0.0.1", duration_ns=60 * SECOND_NS)
    with endpoint(here, dataclasses.replace(alone, endpoint=Endpoint(implementation="linux-tcp"))) as client:
        start(client)
        pid = client.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        (child,) = wait_until(lambda: children.read_text().split(), 10, "the program to start")
        pidfd = os.pidfd_open(int(child))
        client.process.send_signal(signal.SIGKILL)  # this process alone; the program is in another group
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
