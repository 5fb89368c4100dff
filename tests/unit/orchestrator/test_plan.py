from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from experiments.catalog import EXPERIMENTS, build
from testbed.orchestrator import plan, spec
from testbed.orchestrator.spec import Endpoint, Experiment, Flow, PathManager, SpecificationError, Variant
from topologies.dual_homed_server import dual_homed_server
from topologies.link_profile import LinkProfile
from topologies.model import Topology
from topologies.shared_bottleneck import shared_bottleneck
from topologies.two_path import two_path


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_experiment_is_a_value_with_a_plan_and_survives_json(name: str) -> None:
    experiment = build(name)

    trials = plan.trials(experiment)

    assert spec.from_json(spec.to_json(experiment)) == experiment
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert len(trials) == sum(plan.repetitions_of(experiment, variant) for variant in experiment.variants)
    assert all(plan.network_settings(experiment, variant) for variant in experiment.variants)


def test_each_repetition_runs_every_variant_once_and_begins_with_another() -> None:
    experiment = build("aggregation")
    names = [variant.name for variant in experiment.variants]

    trials = plan.trials(experiment)

    assert [trial.number for trial in trials] == list(range(3 * len(names)))
    rounds = [[trial.variant for trial in trials if trial.repetition == number] for number in range(3)]
    assert all(sorted(each) == sorted(names) for each in rounds)
    assert [each[0] for each in rounds] == names[:3]


def test_a_variant_may_have_more_repetitions_than_the_others() -> None:
    experiment = build("aggregation")
    first, *others = experiment.variants
    more = dataclasses.replace(first, repetitions=5)

    trials = plan.trials(dataclasses.replace(experiment, variants=(more, *others), repetitions=2))

    counts = Counter(trial.variant for trial in trials)
    assert counts == {first.name: 5} | {each.name: 2 for each in others}
    assert [trial.number for trial in trials] == list(range(len(trials)))


def test_variants_of_a_repetition_share_a_seed_and_repetitions_do_not() -> None:
    trials = plan.trials(build("aggregation"))

    seeds = {number: {trial.seed for trial in trials if trial.repetition == number} for number in range(3)}
    assert all(len(values) == 1 for values in seeds.values())
    assert len(set.union(*seeds.values())) == 3
    assert plan.trial_seed(1, 0) != plan.trial_seed(2, 0)


def _with_flows(*flows: Flow) -> Experiment:
    variant = Variant(name="v", summary="", topology=two_path(), flows=flows)
    return Experiment(name="example", question="well?", variants=(variant,))


def test_settings_per_host_come_from_its_endpoints() -> None:
    experiment = _with_flows(Flow(client=Endpoint(timestamps=False, checksum=True), server=Endpoint(sack=False)))

    settings = plan.network_settings(experiment, experiment.variants[0])

    assert settings.sysctls == {
        "client": {"net.ipv4.tcp_timestamps": "0", "net.mptcp.checksum_enabled": "1"},
        "server": {"net.ipv4.tcp_sack": "0"},
    }


def test_two_flows_that_want_a_host_otherwise_are_an_error_that_names_it() -> None:
    experiment = _with_flows(Flow(client=Endpoint(sack=False)), Flow(name="other", client=Endpoint(sack=True)))

    with pytest.raises(SpecificationError, match=r"tcp_sack of client"):
        plan.network_settings(experiment, experiment.variants[0])


def test_offloads_stay_off_up_to_what_a_relay_carries_packet_by_packet() -> None:
    slow = build("aggregation")
    fast_topology = two_path(*(LinkProfile(rate_bit_s=500_000_000, delay_ns=1_000_000) for _ in range(2)))

    assert plan.offloads(slow, slow.variants[0].topology) == "off"
    assert plan.offloads(slow, fast_topology) == "on"
    assert plan.offloads(dataclasses.replace(slow, offloads="on"), slow.variants[0].topology) == "on"


def test_a_flow_between_other_hosts_takes_the_links_of_its_way() -> None:
    topology = shared_bottleneck()

    assert plan.flow_links(topology, Flow(path="path2")) == ("access2", "exit")
    assert plan.flow_links(topology, Flow(client_host="rival", server_host="rival_server")) == ("cross", "cross_exit")


def test_a_subflow_belongs_to_the_path_of_its_addresses_or_of_the_end_that_tells() -> None:
    topology = two_path()
    single_server = shared_bottleneck()

    assert plan.path_of(topology, "10.0.1.1", "10.0.2.2", 4) == "path1"
    assert plan.path_of(topology, "10.0.3.1", "10.0.2.2", 4) == "path2"  # the client's second address, server's first
    assert plan.path_of(topology, "192.0.2.1", "198.51.100.1", 4) is None
    assert plan.path_of(single_server, "10.0.2.1", "10.0.6.2", 4) == "path2"


@pytest.mark.parametrize(
    ("mode", "topology", "host", "address"),
    [
        ("subflow", two_path(), "client", "10.0.3.1"),
        ("fullmesh", two_path(), "client", "10.0.3.1"),
        ("backup", two_path(), "client", "10.0.3.1"),
        ("signal", two_path(), "server", "10.0.4.2"),
        ("backup", dual_homed_server(), "server", "10.0.5.2"),
    ],
)
def test_who_told_of_an_address_gives_it_up(mode: str, topology: Topology, host: str, address: str) -> None:
    manager = PathManager(mode=mode, withdraw_path="path2", withdraw_at_ns=7)  # type: ignore[arg-type]
    for client, server in (("linux", "userspace"), ("userspace", "linux")):
        flow = Flow(client=Endpoint(implementation=client), server=Endpoint(implementation=server))  # type: ignore[arg-type]
        variant = Variant(name="v", summary="", topology=topology, flows=(flow,), path_manager=manager)

        found = plan.withdrawal(variant, flow)

        assert found is not None
        assert (found.host, str(found.address), found.at_ns) == (host, address, 7)
        of_a_kernel = {"client": client, "server": server}[host] == "linux"
        assert plan.kernel_withdrawal(variant) == (found if of_a_kernel else None)
        told = [plan.own_path_manager(variant, flow, role) for role in ("client", "server")]
        assert [each.withdraw_address for each in told if each is not None] == [None if of_a_kernel else address]
