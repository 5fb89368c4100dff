from __future__ import annotations

import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.ip_mptcp import HostPathManager, expected_subflows, plan_path_manager
from testbed.orchestrator.spec import PathManager
from topologies import catalog
from topologies.link_profile import LinkProfile
from topologies.two_path import disjoint_paths, two_path


def words(host: HostPathManager) -> list[str]:
    return [" ".join(endpoint.argv()[4:]) for endpoint in host.endpoints]


def test_none_allows_nothing() -> None:
    for host in plan_path_manager(two_path(), PathManager(mode="none")).values():
        assert (host.limits.subflows, host.limits.add_addr_accepted, host.endpoints) == (0, 0, ())


def test_signal_lets_the_server_announce_and_the_client_accept() -> None:
    plan = plan_path_manager(two_path(), PathManager(mode="signal"))
    assert words(plan["client"]) == []
    assert words(plan["server"]) == ["10.0.2.2 id 1 signal", "10.0.4.2 id 2 signal"]
    assert plan["client"].limits.add_addr_accepted == 2


def test_subflow_uses_the_clients_addresses() -> None:
    plan = plan_path_manager(two_path(), PathManager(mode="subflow"))
    assert words(plan["client"]) == ["10.0.1.1 id 1 subflow", "10.0.3.1 id 2 subflow"]
    assert words(plan["server"]) == []
    assert plan["client"].limits.add_addr_accepted == 0


def test_a_backup_path_is_flagged_where_it_differs() -> None:
    manager = PathManager(mode="backup", backup_paths=("path2",))
    plan = plan_path_manager(two_path(), manager)
    assert words(plan["client"]) == ["10.0.1.1 id 1 subflow", "10.0.3.1 id 2 subflow backup"]
    single = plan_path_manager(catalog.build("dual_homed_server"), manager)
    assert words(single["client"]) == []
    assert [line.split(" id ")[1] for line in words(single["server"])] == ["1 signal", "2 signal backup"]


def test_an_unknown_backup_path_names_the_known_ones() -> None:
    with pytest.raises(Unsupported, match=r"'path9'.*path1, path2"):
        plan_path_manager(two_path(), PathManager(mode="backup", backup_paths=("path9",)))


def test_ndiffports_announces_further_ports_of_the_first_address() -> None:
    plan = plan_path_manager(two_path(), PathManager(mode="ndiffports", ports=3))
    assert words(plan["server"]) == ["10.0.2.2 id 1 port 10101 signal", "10.0.2.2 id 2 port 10102 signal"]
    with pytest.raises(Unsupported, match="1 to 8"):
        plan_path_manager(two_path(), PathManager(mode="ndiffports", ports=9))


def test_ipv6_endpoints_come_from_an_ipv6_topology() -> None:
    plan = plan_path_manager(two_path(families=(6,)), PathManager(mode="signal"))
    assert words(plan["server"]) == ["fd00:2::2 id 1 signal", "fd00:4::2 id 2 signal"]
    both = plan_path_manager(two_path(families=(4, 6)), PathManager(mode="signal"), family=6)
    assert words(both["server"])[0].startswith("fd00:2::2")


@pytest.mark.parametrize(
    ("mode", "count"), [("none", 1), ("signal", 2), ("subflow", 2), ("fullmesh", 4), ("ndiffports", 2), ("backup", 2)]
)
def test_the_number_of_subflows_is_known_beforehand(mode: str, count: int) -> None:
    assert expected_subflows(two_path(), PathManager(mode=mode)) == count  # type: ignore[arg-type]


def test_more_endpoints_than_the_kernel_holds_are_refused_beforehand() -> None:
    nine = disjoint_paths("nine", "Nine paths.", (LinkProfile(),) * 9)
    with pytest.raises(Unsupported, match="9 endpoints at server"):
        plan_path_manager(nine, PathManager(mode="signal"))


def test_limits_bound_the_number_of_subflows() -> None:
    assert expected_subflows(two_path(), PathManager(mode="fullmesh", subflows=2)) == 3
