"""The kernel really opens the subflows that each path manager mode promises."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.ip_mptcp import PathManagerControl, expected_subflows
from testbed.orchestrator.network_plan import NetworkSettings, plan_network
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import new_run_id
from testbed.orchestrator.spec import PathManager
from topologies import catalog
from topologies.link_profile import LinkProfile
from topologies.model import Family, Topology
from topologies.two_path import two_path

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
TWO_PATH = two_path(LinkProfile(), LinkProfile())


@contextmanager
def connection(lab: MininetLab, path_name: str, family: Family) -> Iterator[socket.socket]:
    """An MPTCP connection whose first subflow takes the named path, after some data in both directions."""
    path = lab.plan.topology.path(path_name)
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    remote = lab.address("server", path.links[-1], family)
    with lab.inside("server"):
        listener = socket.socket(kind, socket.SOCK_STREAM, IPPROTO_MPTCP)
        listener.bind(("" if family == 4 else "::", 5001))  # joins arrive at the other address, too
        listener.listen()
    with lab.inside("client"):
        client = socket.socket(kind, socket.SOCK_STREAM, IPPROTO_MPTCP)
        client.settimeout(20)
        client.bind((lab.address("client", path.links[0], family), 0))
        client.connect((remote, 5001))
    server, _ = listener.accept()
    with listener, client, server:
        client.sendall(b"x")
        server.recv(1)
        server.sendall(b"y")
        client.recv(1)
        yield client


def subflows(client: socket.socket) -> int:
    """mptcpi_subflows counts the additional ones."""
    return client.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)[0] + 1


def assert_subflows(topology: Topology, manager: PathManager, first: str = "path1", **settings: object) -> str:
    family = topology.families[0]
    plan = plan_network(topology, NetworkSettings(realisation="relay", path_manager=manager, **settings))  # type: ignore[arg-type]
    with MininetLab(plan, run_id=new_run_id()) as lab:
        assert lab.check() == ()
        expected = expected_subflows(topology, manager)
        with connection(lab, first, family) as client:
            wait_until(lambda: subflows(client) == expected, 20, f"{expected} subflows", seen=lambda: subflows(client))
            return lab.run("client", ["ss", "-tnH", "state", "established"])


@pytest.mark.parametrize("first", ["path1", "path2"])
@pytest.mark.parametrize("mode", ["none", "signal", "subflow", "fullmesh"])
def test_each_mode_opens_its_subflows_whichever_path_comes_first(mode: str, first: str) -> None:
    assert_subflows(TWO_PATH, PathManager(mode=mode), first)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["signal", "subflow", "fullmesh"])
def test_ipv6_does_the_same(mode: str) -> None:
    assert_subflows(two_path(LinkProfile(), LinkProfile(), (6,)), PathManager(mode=mode))  # type: ignore[arg-type]


def test_an_announced_address_is_joined_over_the_other_path() -> None:
    pairs = assert_subflows(TWO_PATH, PathManager(mode="signal"))
    assert "10.0.1.1:" in pairs
    assert "10.0.3.1:" in pairs  # the client's other address was chosen by the route


def test_several_subflows_between_one_pair_of_addresses() -> None:
    pairs = assert_subflows(TWO_PATH, PathManager(mode="ndiffports", ports=3))
    assert pairs.count("10.0.1.1:") == 3


def test_ports_are_announced_over_ipv6_only_without_timestamps() -> None:
    manager = PathManager(mode="ndiffports", ports=2)
    topology = two_path(LinkProfile(), LinkProfile(), (6,))
    plan = plan_network(topology, NetworkSettings(path_manager=manager))
    with MininetLab(plan, run_id=new_run_id()) as lab:
        assert [finding.code for finding in lab.check()] == ["option_space"]
    assert_subflows(topology, manager, sysctls={"hosts": {"net.ipv4.tcp_timestamps": "0"}})


@pytest.mark.parametrize("backup", ["path1", "path2"])
def test_a_backup_path_is_marked_as_such(backup: str) -> None:
    manager = PathManager(mode="backup", backup_paths=(backup,))
    with MininetLab(plan_network(TWO_PATH, NetworkSettings(path_manager=manager)), run_id=new_run_id()) as lab:
        with connection(lab, "path1", 4) as client:
            wait_until(lambda: subflows(client) == 2, 20, "two subflows")
            endpoints = lab.run("client", ["ip", "-j", "mptcp", "endpoint", "show"])
        assert endpoints.count('"backup":true') == 1


def test_a_client_with_one_address_reaches_both_of_the_server() -> None:
    assert_subflows(catalog.build("dual_homed_server"), PathManager(mode="signal"))


def test_the_kernel_and_ip_agree_on_what_was_set() -> None:
    manager = PathManager(mode="fullmesh", subflows=5)
    plan = plan_network(TWO_PATH, NetworkSettings(path_manager=manager))
    with MininetLab(plan, run_id=new_run_id()) as lab:
        with lab.inside("client"), PathManagerControl() as control:
            assert control.read() == plan.node("client").path_manager
        assert "subflows 5" in lab.run("client", ["ip", "mptcp", "limits", "show"])
        shown = lab.run("client", ["ip", "mptcp", "endpoint", "show"])
        assert [line.strip() for line in shown.splitlines()] == [
            "10.0.1.1 id 1 subflow fullmesh",
            "10.0.3.1 id 2 subflow fullmesh",
        ]
