"""Break one thing in a lab that is in order, and the lint names it and how to mend it; the fix mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.network_plan import NetworkSettings, plan_network
from testbed.orchestrator.run_identity import new_run_id
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]


@pytest.fixture
def lab() -> Iterator[MininetLab]:
    settings = NetworkSettings(path_manager=PathManager(mode="fullmesh"))
    plan = plan_network(two_path(LinkProfile(), LinkProfile(), (4, 6)), settings)
    with MininetLab(plan, run_id=new_run_id()) as made:
        yield made


def test_a_lab_in_order_has_no_findings(lab: MininetLab) -> None:
    assert lab.check() == ()


@pytest.mark.parametrize(
    ("node", "damage", "code", "says"),
    [
        ("client", "ip rule delete from 10.0.3.1 lookup 102", "rule", "10.0.3.1"),
        ("client", "ip -6 rule delete from fd00:3::1 lookup 102", "rule", "fd00:3::1"),
        ("client", "ip route delete default table 102", "route", "table 102"),
        ("client", "ip route delete 10.0.4.0/24", "route", "10.0.4.0/24"),
        ("r2", "ip address delete 10.0.4.1/24 dev r2-eth1", "address", "10.0.4.1/24"),
        ("server", "ip route delete 10.0.3.0/24 table 102", "route", "table 102"),
        ("client", "ip mptcp endpoint delete id 2", "endpoint", "10.0.3.1"),
        ("client", "ip mptcp limits set subflows 0 add_addr_accepted 0", "limits", "subflows 0"),
        ("server", "ip mptcp limits set subflows 0", "limits", "subflows 0"),
        ("client", "sysctl -qw net.mptcp.enabled=0", "mptcp", "switched off"),
        ("server", "sysctl -qw net.ipv4.conf.all.rp_filter=1", "rp_filter", "strict"),
        ("server", "sysctl -qw net.ipv4.conf.server-eth1.rp_filter=1", "rp_filter", "server-eth1"),
        ("r1", "sysctl -qw net.ipv4.ip_forward=0", "forwarding", "ip_forward is 0"),
        ("client", "ethtool -K client-eth0 tso on gso on", "offload", "client-eth0"),
        ("client", "ip link set client-eth1 gso_max_segs 64", "offload", "64 segments"),
        ("r2", "ip link set r2-eth0 mtu 1400", "mtu", "1400"),
        ("r2", "ip link set r2-eth1 down", "interface", "r2-eth1 is down"),
        ("r2", "ip link delete r2-eth1", "interface", "r2-eth1 is missing"),
    ],
)
def test_what_leaves_only_one_subflow_is_found(lab: MininetLab, node: str, damage: str, code: str, says: str) -> None:
    lab.run(node, shlex.split(damage))
    findings = [finding for finding in lab.check(probe_paths=False) if finding.node == node and finding.code == code]
    assert findings, "nothing was found"
    assert any(says in finding.text for finding in findings)
    assert all(finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("node", "damage"),
    [
        ("client", "ip rule delete from 10.0.3.1 lookup 102"),
        ("client", "ip route delete default table 102"),
        ("client", "ip mptcp endpoint delete id 2"),
        ("server", "ip mptcp limits set subflows 0"),
        ("client", "sysctl -qw net.mptcp.enabled=0"),
        ("server", "sysctl -qw net.ipv4.conf.all.rp_filter=1"),
        ("client", "ethtool -K client-eth0 tso on gso on"),
        ("r2", "ip link set r2-eth0 mtu 1400"),
        ("r1", "sysctl -qw net.ipv4.ip_forward=0"),
    ],
)
def test_the_fix_that_is_offered_mends_it(lab: MininetLab, node: str, damage: str) -> None:
    lab.run(node, shlex.split(damage))
    findings = lab.check(probe_paths=False)
    assert findings
    for finding in findings:
        lab.run(finding.node, shlex.split(finding.fix))
    assert lab.check() == ()


def test_a_path_that_does_not_pass_packets_is_found_by_the_probe(lab: MininetLab) -> None:
    lab.run("r2", ["nft", "add table inet wall"])
    lab.run("r2", ["nft", "add chain inet wall forward { type filter hook forward priority 0 ; policy drop ; }"])
    assert {finding.code for finding in lab.check()} == {"path"}
    assert lab.check(probe_paths=False) == ()
    assert {finding.text.split(":")[0] for finding in lab.check()} == {"path2"}


def test_packets_too_large_for_the_path_are_found_by_the_probe(lab: MininetLab) -> None:
    lab.run("r1", ["ip", "link", "set", "r1-eth1", "mtu", "1300"])
    assert {"mtu", "path"} <= {finding.code for finding in lab.check()}
