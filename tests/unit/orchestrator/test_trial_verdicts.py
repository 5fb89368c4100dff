"""Which connections are the ones asked for."""

from __future__ import annotations

from testbed.endpoint.protocol import FlowResult, Role
from testbed.orchestrator.spec import Bulk, Endpoint, Flow
from testbed.orchestrator.trial import subflow_problems

MPTCP, TCP = Endpoint(implementation="linux"), Endpoint(implementation="linux-tcp")


def result(role: Role, subflows: int, fallback: bool = False) -> FlowResult:
    return FlowResult(
        role=role,
        flow="main",
        implementation="linux",
        implementation_in_force="fallback" if fallback else "linux",
        fallback=fallback,
        complete=True,
        stopped=False,
        subflows_seen=subflows,
    )


def flow(client: Endpoint = MPTCP, server: Endpoint = MPTCP) -> Flow:
    return Flow(name="main", client=client, server=server, application=Bulk(size_bytes=1))


def test_as_many_subflows_as_planned_at_both_ends_are_no_problem() -> None:
    assert subflow_problems(flow(), result("client", 2), result("server", 2), 2) == []


def test_another_number_at_either_end_is_a_problem_with_the_numbers() -> None:
    (fewer,) = subflow_problems(flow(), result("client", 1), result("server", 1), 2)
    assert fewer == "main: 1 established subflows instead of 2"
    (server,) = subflow_problems(flow(), result("client", 2), result("server", 1), 2)
    assert server == "main: the client had 2 subflows established, the server only 1"
    assert subflow_problems(flow(), result("client", 2), result("server", 3), 2)


def test_a_fallback_is_a_problem_when_both_ends_asked_for_mptcp() -> None:
    fell_back = result("client", 1, fallback=True), result("server", 1, fallback=True)
    assert subflow_problems(flow(), *fell_back, 1) == [
        "main: both ends asked for MPTCP and the connection fell back to TCP"
    ]
    assert subflow_problems(flow(client=TCP), *fell_back, 1) == []
