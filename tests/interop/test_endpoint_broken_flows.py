"""Flows that die on the way, over the loopback of a fresh namespace: nothing that was lost may look fast."""

from __future__ import annotations

import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from endpoint_pair import RunningEndpoint, endpoint, flow, loopback_namespace, start, start_in

from testbed.endpoint.parameters import Application, Bulk, RequestResponse, ShortFlows, Stream
from testbed.endpoint.protocol import Configuration, FlowResult, Ready, Samples
from testbed.orchestrator import process
from testbed.orchestrator.namespaces import inside

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

MS = 1_000_000
SECOND_NS = 10**9
EARLY = "tcp flags & syn == syn"
MID = "tcp flags & syn == 0"


@pytest.fixture
def namespace() -> Iterator[int]:
    with loopback_namespace() as fd:
        yield fd


@contextmanager
def pair(
    namespace: int, application: Application, duration_ns: int = SECOND_NS // 2, drain_ns: int = SECOND_NS // 2
) -> Iterator[tuple[RunningEndpoint, RunningEndpoint]]:
    def configuration(port: int) -> Configuration:
        return Configuration(
            role="client" if port else "server",
            flow="main",
            remote_address="127.0.0.1" if port else None,
            port=port,
            application=application,
            duration_ns=duration_ns,
            drain_ns=drain_ns,
            sample_interval_ns=20 * MS,
            seed=5,
        )

    here = start_in(namespace)
    with flow(here, configuration(0), here, configuration) as both:
        yield both


def freeze(running: RunningEndpoint) -> None:
    """Its process does nothing more, its kernel goes on."""
    running.process.send_signal(signal.SIGSTOP)


def test_goodput_of_a_flow_that_dies_is_over_its_whole_time(namespace: int) -> None:
    with pair(namespace, Bulk(direction="download")) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        freeze(server)
        result = client.result()
    assert not result.complete
    assert result.last_byte_ns is not None
    assert result.goodput_time_ns is not None
    assert result.goodput_time_ns >= SECOND_NS > result.last_byte_ns
    assert result.goodput_bit_s == 8e9 * result.bytes_received / result.goodput_time_ns


def test_a_connection_that_breaks_early_does_not_keep_the_rate_it_had(namespace: int) -> None:
    with pair(namespace, Bulk(direction="download"), duration_ns=60 * SECOND_NS) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        server.process.kill()
        result = client.result()
    assert result.error_kind == "peer"
    assert result.goodput_time_ns == 60 * SECOND_NS


@pytest.mark.parametrize("application", [Bulk(direction="download"), Stream()], ids=["bulk", "stream"])
def test_a_receiver_that_never_gets_a_byte_had_one_long_stall_and_no_goodput(
    namespace: int, application: Application
) -> None:
    with silent_server(namespace) as port:
        result = alone(namespace, application, port)
    assert (result.bytes_received, result.goodput_bit_s, result.complete) == (0, 0.0, False)
    assert result.longest_stall_start_ns is not None
    assert result.longest_stall_ns is not None
    assert result.longest_stall_start_ns <= (result.connect_time_ns or 0) + 100 * MS
    assert result.longest_stall_start_ns + result.longest_stall_ns >= SECOND_NS // 2
    if isinstance(application, Stream):
        (delays,) = result.distributions
        assert result.transfers == 0
        assert result.transfers_failed == len(delays.value_ns) > 0
        assert (delays.max_ns or 0) >= result.longest_stall_ns


def test_blocks_that_never_arrive_are_counted_and_delayed_until_the_end(namespace: int) -> None:
    stream = Stream(rate_bit_s=8_000_000, block_bytes=10_000)
    with pair(namespace, stream) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        freeze(server)
        result = client.result()
    (delays,) = result.distributions
    assert result.transfers > 0
    assert result.transfers_failed > 0
    assert len(delays.value_ns) == result.transfers + result.transfers_failed
    assert 49 <= len(delays.value_ns) <= 51  # one each 10 ms for half a second; connecting takes some of it
    lost = delays.value_ns[result.transfers :]
    assert min(lost) >= SECOND_NS // 2  # the drain
    assert {before - after for before, after in pairwise(lost)} <= {10 * MS}


def test_a_request_that_is_never_answered_counts_with_the_time_it_waited(namespace: int) -> None:
    with pair(namespace, RequestResponse(interval_ns=20 * MS)) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        freeze(server)
        result = client.result()
    (latencies,) = result.distributions
    assert (result.transfers_failed, result.complete) == (1, False)
    assert len(latencies.value_ns) == result.transfers + 1
    assert latencies.max_ns == latencies.value_ns[-1] >= SECOND_NS // 2


def test_short_flows_that_all_break_are_the_peers_fault_and_none_is_fast(namespace: int) -> None:
    flows = ShortFlows(concurrency=2)
    with silent_server(namespace, hangs_up=True) as port:
        assert alone(namespace, flows, port).error_kind == "peer"
    nobody = alone(namespace, flows, 1)
    assert (nobody.error_kind, nobody.goodput_bit_s) == ("connect", None)


def test_short_flows_under_way_at_the_end_count_with_their_time_until_then(namespace: int) -> None:
    with silent_server(namespace) as port:
        result = alone(namespace, ShortFlows(concurrency=2), port)
    (completions,) = result.distributions
    assert (result.transfers, result.transfers_failed, len(completions.value_ns)) == (0, 2, 2)
    assert min(completions.value_ns) >= SECOND_NS // 4  # the drain
    assert result.goodput_bit_s == 0.0


@pytest.mark.parametrize("rule", [EARLY, MID])
def test_an_unasked_fallback_is_seen_and_is_one_subflow(namespace: int, rule: str) -> None:
    nft(namespace, f"{rule} reset tcp option mptcp")  # as some middleboxes do
    with pair(namespace, Bulk()) as (client, server):
        c, s = client.result(), server.result()
    assert c.implementation == s.implementation == "linux"
    assert c.fallback or s.fallback
    assert c.subflows_seen == s.subflows_seen == 1


def test_a_fallback_in_the_middle_of_a_transfer_is_seen_and_is_one_subflow(namespace: int) -> None:
    """With checksums a changed byte on the only subflow ends MPTCP there and then: MP_FAIL and an infinite mapping."""
    process.run(["sysctl", "-w", "net.mptcp.checksum_enabled=1"], namespace_fd=namespace)
    with pair(namespace, Bulk()) as (client, server):
        client.until(lambda event: isinstance(event, Samples))
        to_server = f"tcp dport {client.connected().remote_port} meta length > 1100"
        nft(namespace, f"{to_server} @ih,8000,8 set 65")
        c, s = client.result(), server.result()
    netstat = process.run(["cat", "/proc/thread-self/net/netstat"], namespace_fd=namespace)
    names, values = [line.split() for line in netstat.splitlines() if line.startswith("MPTcpExt")]
    # The kernel falls back nearly always; with data out of order it may not. One end may be reset before it sees it.
    assert (c.fallback or s.fallback) == (dict(zip(names, values, strict=True))["InfiniteMapTx"] != "0")
    assert c.subflows_seen == s.subflows_seen == 1


@contextmanager
def silent_server(namespace: int, hangs_up: bool = False) -> Iterator[int]:
    """A port whose kernel takes connections and that never says a word; ``hangs_up``: it ends each at once."""
    with inside(namespace):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def hang_up() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # it was shut down
                return
            sock.close()

    thread = threading.Thread(target=hang_up)
    if hangs_up:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        if hangs_up:
            thread.join()
        listener.close()


def nft(namespace: int, rule: str) -> None:
    """Do this to what leaves."""
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    chain = "add table inet box; add chain inet box out { type filter hook output priority 0; }; "
    process.run(["nft", f"{chain} add rule inet box out {rule}"], namespace_fd=namespace)


def alone(namespace: int, application: Application, port: int) -> FlowResult:
    """What a client says that is told to talk to a port."""
    configuration = Configuration(
        role="client",
        flow="main",
        remote_address="127.0.0.1",
        port=port,
        application=application,
        duration_ns=SECOND_NS // 4,
        drain_ns=SECOND_NS // 4,
        seed=5,
    )
    with endpoint(start_in(namespace), configuration) as client:
        client.until(lambda event: isinstance(event, Ready))  # its clock shall not run while it still starts
        start(client)
        return client.result()
