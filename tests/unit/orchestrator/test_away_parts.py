"""What each of two machines builds is together the network of one, and nothing twice."""

from __future__ import annotations

import socket

import pytest

from experiments.quickstart import quickstart
from testbed.emulation.placement import HOSTS_SYSCTL
from testbed.orchestrator import errors, netlink, rtnetlink
from testbed.orchestrator.away import clocks
from testbed.orchestrator.away.exchange import AwayLost, AwayNode, Connection, error_answer, value_of
from testbed.orchestrator.away.parts import LANDING, far_part, near_part
from testbed.orchestrator.away.trunk import check_word
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.network_plan import NetworkPlan, NetworkSettings, plan_network


@pytest.fixture(scope="module")
def plan() -> NetworkPlan:
    topology = quickstart().variants[0].topology
    return plan_network(topology, NetworkSettings(sysctls={"hosts": {HOSTS_SYSCTL: "2"}}))


def test_both_parts_together_are_the_whole_network(plan: NetworkPlan) -> None:
    near, far = near_part(plan, "server"), far_part(plan, "server")
    for name in ("neighbours", "rules", "routes"):
        parts = [*getattr(near, name), *getattr(far, name)]
        assert sorted(map(repr, parts)) == sorted(map(repr, getattr(plan, name)))
        assert all(each.node != "server" for each in getattr(near, name))
    assert {node.name for node in far.nodes if node.kind == "host"} == {"server"}
    assert {node.name for node in near.nodes if node.kind == "host"} == {"client"}
    assert near.shaped == plan.shaped
    assert not far.shaped, "links are realised on one machine"


def test_the_host_that_is_away_has_the_interfaces_that_it_has_on_one_machine(plan: NetworkPlan) -> None:
    far = far_part(plan, "server")
    assert far.interfaces("server") == plan.interfaces("server")
    assert far.node("server").path_manager == plan.node("server").path_manager


def test_its_packets_are_worked_on_where_its_own_machine_says(plan: NetworkPlan) -> None:
    """The mask is of this machine's processors, and a kernel before 6.3 does not know it."""
    own = dict(plan.node("server").sysctls)
    assert own.pop(HOSTS_SYSCTL) == "2"
    assert far_part(plan, "server").node("server").sysctls == own


def test_no_bridge_on_the_way_takes_a_frame_for_its_own(plan: NetworkPlan) -> None:
    """A bridge keeps what is sent to the hardware address of one of its ports."""
    used = {end.mac for end in plan.interfaces()}
    ports = [splice.end for part in (near_part, far_part) for splice in part(plan, "server").splices]
    assert len(ports) == 2 * len(plan.interfaces("server"))
    assert not used & {port.mac for port in ports}


def test_every_wire_has_the_same_number_on_both_machines(plan: NetworkPlan) -> None:
    near, far = near_part(plan, "server").splices, far_part(plan, "server").splices
    assert [(each.number, each.end.link, each.trunk) for each in near] == [
        (each.number, each.end.link, each.trunk) for each in far
    ]
    for part in (near_part(plan, "server"), far_part(plan, "server")):
        for node in part.nodes:
            indexes = [end.index for end in part.interfaces(node.name)]
            indexes += [index for each in part.splices if each.end.node == node.name
                        for index in (each.bridge_index, each.trunk_index)]  # fmt: skip
            assert len(set(indexes)) == len(indexes)
    assert {splice.end.node for splice in far} == {LANDING}


def test_a_vlan_is_made_where_its_card_is_and_put_where_the_wire_ends() -> None:
    message = rtnetlink.new_vlan("trunk1", 18, 1500, device=3, vlan_id=7, namespace_fd=9)
    assert message.body[4:8] == (18).to_bytes(4, "little")
    found = netlink.attributes(message.body[16:])
    assert int.from_bytes(found[rtnetlink.IFLA_LINK], "little") == 3
    info = netlink.attributes(found[rtnetlink.IFLA_LINKINFO])
    assert info[rtnetlink.IFLA_INFO_KIND] == b"vlan\0"
    assert netlink.attributes(info[rtnetlink.IFLA_INFO_DATA])[rtnetlink.IFLA_VLAN_ID] == b"\x07\0"


@pytest.mark.parametrize("word", ["eth1", "vlan:", "vlan:a,b", "wires:", "wires:a,,b", "vlan:../x", "wires:a b"])
def test_what_is_no_private_link_is_refused(word: str) -> None:
    with pytest.raises(InvalidTrial, match="is no private link"):
        check_word(word)


def test_an_error_there_is_the_same_error_here() -> None:
    for error in (Unsupported("no scheduler"), errors.NotReady("late"), InvalidTrial("wrong")):
        with pytest.raises(type(error), match=f"the machine of server: {error}"):
            value_of(error_answer(error), "the machine of server")
    with pytest.raises(InvalidTrial, match="KeyError: 'x'"):
        value_of(error_answer(KeyError("x")), "there")
    assert value_of({"value": 0}, "there") == 0


def test_the_quickest_exchange_bounds_the_error_of_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [1_000]
    waits_ns = iter([900, 40, 700])

    def ask() -> int:
        wait = next(waits_ns)
        now_ns[0] += wait
        return now_ns[0] - wait // 4 + 50_000  # read there in the last quarter of the exchange

    monkeypatch.setattr("time.monotonic_ns", lambda: now_ns[0])
    found = clocks.compare(ask, exchanges=3)
    assert found.bound_ns == 20
    assert abs(found.offset_ns - 50_000) <= found.bound_ns
    later = clocks.Comparison(at_ns=found.at_ns + 10**9, offset_ns=found.offset_ns + 5_000, bound_ns=20)
    assert later.drift_ns(found) == 5_000


@pytest.mark.parametrize(
    ("change", "said"),
    [({"port": "7100"}, "port is a number"), ({"secret": None}, "secret is a text"), ({"extra": 1}, "no extra")],
)
def test_a_request_that_tells_wrongly_of_the_other_machine_is_refused(change: dict[str, object], said: str) -> None:
    good = {"node": "server", "host": "169.254.83.2", "port": 7100, "secret": "s", "trunk": "vlan:eth1"}
    assert AwayNode.of(good).trunk == "vlan:eth1"
    with pytest.raises(ValueError, match=said):
        AwayNode.of({**good, **change})


def test_a_lost_machine_is_the_testbed_s_fault() -> None:
    assert issubclass(AwayLost, InvalidTrial)


def test_after_an_answer_that_did_not_come_in_time_nothing_is_taken_for_the_next_one() -> None:
    ours, theirs = (Connection(end) for end in socket.socketpair())
    ours.socket.settimeout(0.01)
    ours.send({"do": "build"})
    with pytest.raises(AwayLost, match="timed out"):
        ours.receive()
    with pytest.raises(AwayLost):
        theirs.send({"value": "built"})  # late
    with pytest.raises(AwayLost):
        ours.send({"do": "clock"})
    with pytest.raises(AwayLost):
        ours.receive()
    assert theirs.receive() == {"do": "build"}
    with pytest.raises(AwayLost):  # so the other machine ends what it had begun
        theirs.receive()
    theirs.close()
