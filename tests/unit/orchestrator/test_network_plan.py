from __future__ import annotations

import pytest

from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_commands import commands, qdisc_commands, qdisc_seed
from testbed.orchestrator.network_plan import EMULATOR, NetworkSettings, plan_network
from testbed.orchestrator.spec import PathManager
from topologies import catalog
from topologies.link_profile import EveryNth, LinkProfile, RandomLoss
from topologies.model import Host, Link, Topology
from topologies.two_path import two_path

ALL = QdiscFeatures(tbf=True, netem=True, netem_seed=True)
RATE_ONLY = LinkProfile(rate_bit_s=10_000_000)
WITH_DELAY = LinkProfile(rate_bit_s=10_000_000, delay_ns=10_000_000)
LOSSY = LinkProfile(delay_ns=10_000_000, loss=RandomLoss(0.01))


def long_names() -> Topology:
    return Topology(
        name="long",
        summary="Names at their limit.",
        hosts=(Host("client_abcdefgh", "client"), Host("server_abcdefgh", "server")),
        links=tuple(
            Link(name=f"link_abcdefghi{end}", a="client_abcdefgh", b="server_abcdefgh", forward=WITH_DELAY)
            for end in "xy"
        ),
    )


@pytest.mark.parametrize("topology", [*(catalog.build(name) for name in catalog.CATALOG), long_names()], ids=str)
def test_names_fit_the_kernel_and_are_unique_where_they_live(topology: Topology) -> None:
    plan = plan_network(topology)
    for node in plan.nodes:
        here = plan.interfaces(node.name)
        assert all(len(end.name) <= 15 for end in here)
        assert len({end.name for end in here}) == len({end.index for end in here}) == len(here)
    assert len({end.mac for end in plan.interfaces()}) == len(plan.interfaces())


def test_the_two_ends_of_a_pair_never_have_the_same_index() -> None:
    for veth in plan_network(two_path()).veths:
        assert veth.a.index != veth.b.index


def test_the_same_topology_gives_the_same_plan() -> None:
    assert plan_network(two_path()) == plan_network(two_path())


def test_a_plain_link_is_one_pair_and_a_shaped_one_goes_through_the_emulator() -> None:
    plan = plan_network(two_path())
    ends = [(veth.a.node, veth.b.node) for veth in plan.veths]
    assert ("client", "r1") in ends
    assert ("r1", EMULATOR) in ends
    assert ("server", EMULATOR) in ends
    assert ("r1", "server") not in ends


def test_without_shaped_links_there_is_no_emulator() -> None:
    plan = plan_network(two_path(LinkProfile(), LinkProfile()))
    assert EMULATOR not in [node.name for node in plan.nodes]


@pytest.mark.parametrize(
    ("profile", "qdiscs", "realisation"),
    [
        (RATE_ONLY, QdiscFeatures(tbf=True), "qdisc"),
        (WITH_DELAY, QdiscFeatures(tbf=True), "relay"),
        (WITH_DELAY, QdiscFeatures(tbf=True, netem=True), "qdisc"),
        (LOSSY, QdiscFeatures(tbf=True, netem=True), "relay"),  # its losses could not be repeated
        (LOSSY, ALL, "qdisc"),
        (LinkProfile(loss=EveryNth(7)), ALL, "relay"),
        (RATE_ONLY, QdiscFeatures(), "relay"),
    ],
)
def test_auto_takes_the_qdiscs_that_express_the_profile(
    profile: LinkProfile, qdiscs: QdiscFeatures, realisation: str
) -> None:
    for shaped in plan_network(two_path(profile, profile), qdiscs=qdiscs).shaped:
        assert shaped.realisation == realisation
        assert shaped.reason


def test_a_kernel_that_nobody_could_ask_is_not_said_to_lack_anything() -> None:
    unknown = QdiscFeatures(unknown="not known without root")
    assumed = plan_network(two_path(RATE_ONLY, RATE_ONLY), qdiscs=unknown).shaped[0]
    assert (assumed.realisation, assumed.reason) == ("relay", "not known without root: relay assumed")
    asked = plan_network(two_path(LOSSY, LOSSY), NetworkSettings(realisation="netem"), unknown).shaped[0]
    assert asked.realisation == "qdisc"
    assert "not known without root" in asked.reason
    never = LinkProfile(loss=EveryNth(7))
    assert "netem has no loss" in plan_network(two_path(never, never), qdiscs=unknown).shaped[0].reason


def test_netem_gets_a_seed_of_its_own_for_each_link_and_direction() -> None:
    plan = plan_network(two_path(LOSSY, LOSSY), qdiscs=ALL)
    seeds = [qdisc_seed(shaped, 7, direction) for shaped in plan.shaped for direction in ("forward", "backward")]
    assert len(set(seeds)) == 4
    assert all(f"seed {seed}" in " ".join(map(" ".join, qdisc_commands(plan.shaped[0], 7))) for seed in seeds[:2])
    unseeded = plan_network(two_path(WITH_DELAY, WITH_DELAY), qdiscs=QdiscFeatures(tbf=True, netem=True))
    assert "seed" not in " ".join(map(" ".join, qdisc_commands(unseeded.shaped[0], 7)))


def test_an_impairment_that_the_kernel_lacks_is_an_error_before_anything_is_built() -> None:
    with pytest.raises(Unsupported, match=r"path1.*no netem"):
        plan_network(two_path(), NetworkSettings(realisation="netem"), QdiscFeatures(tbf=True))


def test_sysctls_go_to_all_hosts_or_to_one_and_nowhere_else() -> None:
    settings = NetworkSettings(sysctls={"hosts": {"net.x": "1"}, "server": {"net.x": "2"}})
    values = {node.name: node.sysctls.get("net.x") for node in plan_network(two_path(), settings).nodes}
    assert values == {"client": "1", "server": "2", "r1": None, "r2": None, EMULATOR: None}
    with pytest.raises(Unsupported, match="sarver"):
        plan_network(two_path(), NetworkSettings(sysctls={"sarver": {"net.x": "1"}}))


def test_the_dry_run_has_every_address_rule_route_and_endpoint() -> None:
    settings = NetworkSettings(path_manager=PathManager(mode="fullmesh"))
    lines = [f"{node} {' '.join(argv)}" for node, argv in commands(plan_network(two_path(families=(4, 6)), settings))]
    assert "client ip address add 10.0.1.1/24 dev client-eth0" in lines
    assert "client ip address add fd00:1::1/64 dev client-eth0 nodad" in lines
    assert "client ip -4 rule add from 10.0.3.1 lookup 102 priority 1002" in lines
    assert "client ip -4 route add default via 10.0.3.2 dev client-eth1 table 102" in lines
    assert "client ip mptcp endpoint add 10.0.3.1 id 2 subflow fullmesh" in lines
    assert "server ip mptcp endpoint add 10.0.4.2 id 2 signal" in lines
    assert "emulator python -m testbed.emulation" in lines
    assert any(line.startswith("client ethtool -K client-eth0 tso off gso off gro off") for line in lines)


def test_offloads_stay_as_they_are_when_they_are_wanted() -> None:
    plan = plan_network(two_path(), NetworkSettings(offloads="on"))
    assert {(end.offloads, end.gso_max_segs) for end in plan.interfaces()} == {(None, None)}
