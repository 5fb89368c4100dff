"""Programs of others as endpoints: good ones in both roles and every application, bad ones with their reasons."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from endpoint_pair import RunningEndpoint, StartIn, endpoint, flow, loopback_namespace, start, start_in
from userspace_lab import Scenario, carry_out

from experiments.catalog import build
from testbed.endpoint.child import descendants
from testbed.endpoint.parameters import (
    Application,
    Bulk,
    Endpoint,
    RequestResponse,
    ShortFlows,
    Stream,
)
from testbed.endpoint.protocol import EXIT_UNSUPPORTED, Configuration, FlowResult, Listening, Ready, Stop
from testbed.orchestrator import overrides
from testbed.orchestrator.adapters import load_adapter, refusal
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.plan import trials
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.spec import PathManager, PathManagerMode
from testbed.orchestrator.trial import run_trial
from testbed.orchestrator.trial_rows import integrity

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

ROOT = Path(__file__).parents[2]
NETCAT = load_adapter(str(ROOT / "docs/examples/adapters/netcat.toml")).endpoint()
OUTSIDER = load_adapter(str(ROOT / "docs/examples/adapters/userspace.toml")).endpoint()
LINUX, TCP = Endpoint(), Endpoint(implementation="linux-tcp")
BAD = ROOT / "tests/support/bad_adapters.py"
KIB = 1024
S = 10**9


IN_A_HURRY = (
    sys.executable,
    "-c",
    "import sys; from testbed.endpoint.adapter import program, transport; "
    "transport.EXIT_S, program.TERMINATION_S = 0.2, 0.1; transport.READY_S = float(sys.argv[1]); "
    "from testbed.endpoint.process import main; sys.exit(main())",
)
"""The endpoint process with shorter deadlines for what an adapter should have done; then READY_S follows."""


def bad(way: str, **wishes: Any) -> Endpoint:
    """An adapter that breaks the contract in one way."""
    command = (sys.executable, "-S", str(BAD), way)
    return Endpoint(implementation="adapter", adapter=f"{way}-tcp", command=command, tcp_only=True, **wishes)


@pytest.fixture(scope="module")
def here() -> Iterator[StartIn]:
    with loopback_namespace() as fd:
        yield start_in(fd)


@contextmanager
def pair(
    here: StartIn, application: Application, client: Endpoint, server: Endpoint, **changes: Any
) -> Iterator[tuple[RunningEndpoint, RunningEndpoint]]:
    common: dict[str, Any] = {"flow": "main", "application": application, "duration_ns": 5 * S, "seed": 5, **changes}

    def asking(port: int) -> Configuration:
        here = "127.0.0.1"
        return Configuration(
            role="client", endpoint=client, port=port, remote_address=here, local_address=here, **common
        )

    with flow(here, Configuration(role="server", endpoint=server, port=0, **common), here, asking) as ends:
        yield ends


def results(here: StartIn, application: Application, client: Endpoint, server: Endpoint, **changes: Any) -> list[Any]:
    """Of client and server."""
    with pair(here, application, client, server, **changes) as ends:
        return [each.result() for each in ends]


SHORT = Bulk(size_bytes=300 * KIB)
HALF_CLOSE, REQUESTS = Bulk(direction="both", size_bytes=300 * KIB, half_close=True), RequestResponse(count=10)


@pytest.mark.parametrize(
    ("application", "ends"),
    [(HALF_CLOSE, (NETCAT, LINUX)), (HALF_CLOSE, (LINUX, NETCAT)), (REQUESTS, (NETCAT, LINUX))],
    ids=["half-close-as-client", "half-close-as-server", "requests"],
)
def test_an_adapter_carries_the_same_bytes_as_any_other_end(
    here: StartIn, application: Application, ends: tuple[Endpoint, Endpoint]
) -> None:
    client, server = results(here, application, *ends)

    for one, other in ((client, server), (server, client)):
        assert one.error is None
        assert one.complete
        assert one.bytes_sent == other.bytes_received
    assert integrity(client, server) == "ok"
    adapter = client if ends[0] is NETCAT else server
    assert adapter.implementation_in_force == "adapter"
    assert (adapter.fallback, adapter.subflows_seen) == (False, 1), "the kernel's own word of its socket"
    assert adapter.in_force["mptcp_socket"] is True
    assert adapter.in_force["scheduler"] is None, "nobody told"


def test_streams_and_short_flows_are_measured_over_an_adapter(here: StartIn) -> None:
    stream, _ = results(here, Stream(rate_bit_s=4_000_000), NETCAT, LINUX, duration_ns=S // 4)
    assert stream.error is None
    assert stream.transfers > 10

    with pair(here, ShortFlows(size_bytes=20 * KIB, count=3), NETCAT, TCP) as (asking, serving):
        client = asking.result()
        serving.tell(Stop())
        server = serving.result()
    assert client.error is None
    assert (client.transfers, client.bytes_received) == (3, 60 * KIB)
    assert server.transfers == 3
    assert client.fallback is True, "the server spoke TCP, and the kernel says so of each socket"


def listening(here: StartIn, way: str, ready_s: float = 10.0, **changes: Any) -> tuple[FlowResult, int]:
    """What becomes of a server that never gets as far as a connection, and the exit code."""
    told: dict[str, Any] = {"application": SHORT, "duration_ns": S, **changes}
    hurried = RunningEndpoint(here([*IN_A_HURRY, str(ready_s)]))
    try:
        hurried.tell(Configuration(role="server", flow="main", port=0, endpoint=bad(way), **told))
        return hurried.result(), hurried.exit_code()
    finally:
        hurried.process.kill()


def test_one_that_refuses_a_test_is_unsupported_and_says_why(here: StartIn) -> None:
    result, code = listening(here, "refuses", test="join")
    assert (result.error_kind, code) == ("unsupported", EXIT_UNSUPPORTED)
    assert result.error == "adapter refuses-tcp does not support the test join: this stack has no such mechanism"
    assert result.subflows_seen is None
    assert result.fallback is None

    (client, server) = results(here, SHORT, TCP, bad("refuses-late"))
    assert server.error_kind == "unsupported"
    assert client.error_kind == "peer"


def test_one_that_ends_or_waits_before_it_listens_is_named(here: StartIn) -> None:
    result, _ = listening(here, "gives-up")
    assert result.error_kind == "program"
    assert result.error == "adapter gives-up-tcp ended with exit code 3: no licence found, before it said LISTENING"

    result, _ = listening(here, "never-listens", ready_s=0.4)
    assert result.error_kind == "program"
    assert result.error == "adapter never-listens-tcp did not say LISTENING within 0.4 s"


def test_what_is_no_program_is_unsupported(here: StartIn) -> None:
    nowhere = Endpoint(implementation="adapter", adapter="nowhere", command=("./nowhere/at-all",))
    told = Configuration(role="server", flow="main", port=0, endpoint=nowhere, application=SHORT, duration_ns=S)
    with endpoint(here, told) as running:
        result = running.result()
    assert result.error_kind == "unsupported"
    assert result.error == "adapter nowhere: there is no program ./nowhere/at-all, or it is not executable"


def test_one_that_dies_in_the_middle_broke_the_connection_and_what_it_had_counts(here: StartIn) -> None:
    _, server = results(here, Bulk(size_bytes=4 << 20), TCP, bad("dies"))
    assert server.error_kind == "peer"
    assert server.error == "the connection broke: adapter dies-tcp was killed by signal 11"
    assert server.bytes_received >= 100_000
    assert server.first_mismatch is None


def test_one_that_floods_its_log_is_read_and_cut(here: StartIn, tmp_path: Path) -> None:
    client, server = results(here, SHORT, TCP, bad("floods"), log_directory=str(tmp_path))
    assert server.error is None
    assert client.complete
    log = (tmp_path / "adapter-main.server" / "stderr.txt").read_bytes()
    assert log.startswith(b"00000000 xxx")
    assert 1 << 20 <= len(log) < (1 << 20) + 100
    assert log.endswith(b" more bytes are left out]\n")


def test_one_that_closes_its_output_early_ended_the_stream_early(here: StartIn) -> None:
    _, server = results(here, SHORT, TCP, bad("closes-output"))
    assert server.error_kind == "peer"
    assert "the peer ended its stream after 0 of 307200 bytes" in (server.error or "")


def test_one_that_does_not_exit_is_ended_with_what_it_started(here: StartIn) -> None:
    serving = RunningEndpoint(here([*IN_A_HURRY, "10"]))
    told = Configuration(
        role="server", flow="main", port=0, endpoint=bad("stays"), application=SHORT, duration_ns=5 * S
    )
    try:
        serving.tell(told)
        port = serving.until(lambda event: isinstance(event, Listening)).port
        asked = dataclasses.replace(told, role="client", port=port, remote_address="127.0.0.1", endpoint=TCP)
        with endpoint(here, asked) as asking:
            asking.until(lambda event: isinstance(event, Ready))
            start(asking, serving)
            wait_until(lambda: len(family(serving)) == 2, 10.0, "the adapter and its child")
            assert asking.result().complete
            result = serving.result()
        assert result.error_kind == "program"
        assert result.error == "adapter stays-tcp did not exit within 0.2 s of the end of both streams"
        wait_until(lambda: family(serving) == [], 10.0, "the end of the adapter and its child")
    finally:
        serving.process.kill()


def test_an_adapter_dies_with_a_killed_endpoint_and_so_does_what_it_started(here: StartIn) -> None:
    with pair(here, Bulk(), TCP, bad("stays")) as (_, serving):
        both = wait_until(
            lambda: found if len(found := family(serving)) == 2 else [], 10.0, "the adapter and its child"
        )
        os.kill(serving.process.pid, signal.SIGKILL)
        serving.process.kill()  # as the lab ends it: with its process group
        wait_until(lambda: not any(alive(pid) for pid in both), 10.0, "the end of the adapter")


def family(running: RunningEndpoint) -> list[int]:
    """What an endpoint has started, and what that has."""
    return descendants(running.process.pid)


def alive(pid: int) -> bool:
    """Whether it runs: one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_wrong_facts_are_an_error_of_the_adapter(here: StartIn) -> None:
    _, server = results(here, SHORT, TCP, bad("lies"))
    assert server.error_kind == "program"
    assert server.error == "adapter lies-tcp: subflows is a list of objects, the first subflow first"


def test_a_wish_that_was_not_fulfilled_is_unsupported(here: StartIn) -> None:
    _, server = results(here, SHORT, TCP, bad("denies", congestion_control="reno"))
    assert server.error_kind == "unsupported"
    assert server.error == "adapter denies-tcp has congestion_control = its own, and reno was asked for"


def test_an_adapter_serves_one_connection_so_it_is_no_server_of_short_flows(here: StartIn) -> None:
    told = Configuration(role="server", flow="main", port=0, endpoint=NETCAT, application=ShortFlows(), duration_ns=S)
    with endpoint(here, told) as running:
        result = running.result()
    assert result.error_kind == "unsupported"
    assert "short flows need a server of many connections" in (result.error or "")


@pytest.mark.parametrize(
    ("client", "server", "mode"),
    [(NETCAT, OUTSIDER, "signal"), (OUTSIDER, NETCAT, "subflow")],
    ids=["netcat-outsider", "outsider-netcat"],
)
def test_the_samples_of_the_howto_speak_mptcp_over_two_paths_in_both_roles(
    client: Endpoint, server: Endpoint, mode: PathManagerMode
) -> None:
    manager = PathManager(mode=mode)
    bulk = Bulk(direction="both", size_bytes=300 * KIB, settle_ns=S // 4)
    report = carry_out(Scenario(client=client, server=server, path_manager=manager, application=bulk))

    assert report.problems() == []
    for end, result in ((client, report.client), (server, report.server)):
        if end is OUTSIDER:
            assert (result.subflows_seen, result.fallback) == (None, None), "nobody told"
        else:
            assert result.subflows_seen >= 2
            assert result.fallback is False
    kernel = "client" if client is NETCAT else "server"
    joins = ("MPJoinSynTx", "MPJoinSynAckRx") if kernel == "client" else ("MPJoinSynRx", "MPJoinAckRx")
    assert all(report.kernel[kernel][f"MPTcpExt{name}"] >= 1 for name in joins), "the kernel under the adapter says so"
    facts = report.client if kernel == "client" else report.server
    assert facts.in_force["congestion_control"], "told by the adapter, or seen"


def test_an_adapter_that_would_pass_any_test_makes_its_trials_unsupported(tmp_path: Path) -> None:
    experiment = overrides.apply(
        build("aggregation"), [f"client.adapter=takes={sys.executable} -S {BAD} takes-any-test"]
    )
    (tmp_path / "logs").mkdir()
    outcome = run_trial(
        experiment, trials(experiment)[0], run_id="test-adapter", directory=tmp_path, qdiscs=QdiscFeatures(),
        progress=lambda phase, expected_s: None,
    )  # fmt: skip
    assert outcome.verdict == "UNSUPPORTED"
    assert outcome.reason.startswith("adapter takes does not tell what it cannot do: asked as client")


def test_the_probe_takes_who_refuses_an_unknown_test_and_nobody_else() -> None:
    assert refusal(NETCAT) is None
    assert refusal(bad("takes-any-test")) == (
        "adapter takes-any-test-tcp does not tell what it cannot do: asked as client for a test that does not exist, "
        "it exits with 0, and has to exit with 127"
    )
    nowhere = Endpoint(implementation="adapter", adapter="nowhere", command=("./nowhere/at-all",))
    assert refusal(nowhere) == "adapter nowhere cannot be started: ./nowhere/at-all is not there"
