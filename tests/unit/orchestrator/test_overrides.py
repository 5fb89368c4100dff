from __future__ import annotations

import json

import pytest

from experiments.quickstart import quickstart
from testbed.endpoint.parameters import Stream
from testbed.orchestrator import overrides
from testbed.orchestrator.spec import Bulk, Endpoint, Experiment, Flow, SpecificationError, Variant, from_json, to_json
from topologies.link_profile import Change, EveryNth, NoLoss, RandomLoss
from topologies.middlebox import Drop, Mark, StripOption
from topologies.two_path import two_path


def _experiment() -> Experiment:
    tcp = Flow(client=Endpoint(implementation="linux-tcp"), path="path1")
    cross = Flow(name="cross", start_ns=5)
    return Experiment(
        name="example",
        question="does it?",
        variants=(
            Variant(name="tcp", summary="one path", topology=two_path(), flows=(tcp,)),
            Variant(name="mptcp", summary="both", topology=two_path(), flows=(Flow(), cross)),
            Variant(name="mptcp-0.5", summary="both", topology=two_path(), flows=(Flow(),)),
        ),
    )


def test_a_link_field_changes_in_both_directions_of_every_variant() -> None:
    changed = overrides.apply(_experiment(), ["path2.loss=2%"])

    for variant in changed.variants:
        link = variant.topology.link("path2")
        assert link.forward.loss == link.backward.loss == RandomLoss(0.02)
        assert variant.topology.link("path1").forward.loss == NoLoss()


def test_a_direction_and_a_variant_narrow_it() -> None:
    changed = overrides.apply(_experiment(), ["mptcp.path1.forward.loss=every(100)"])

    link = changed.variant("mptcp").topology.link("path1")
    assert link.forward.loss == EveryNth(100)
    assert link.backward.loss == NoLoss()
    assert changed.variant("tcp") == _experiment().variant("tcp")


def test_units_are_read_and_names_carry_none() -> None:
    changed = overrides.apply(
        _experiment(), ["duration=20s", "client.send_buffer=64KiB", "traffic.size=16MiB", "path1.rate=5mbit"]
    )

    flow = changed.variant("tcp").flows[0]
    assert changed.duration_ns == 20 * 10**9
    assert flow.client.send_buffer_bytes == 65536
    assert flow.application == Bulk(size_bytes=16 * 2**20)
    assert changed.variant("tcp").topology.link("path1").forward.rate_bit_s == 5_000_000


def test_the_kind_of_traffic_and_then_its_fields_can_be_chosen() -> None:
    changed = overrides.apply(_experiment(), ["traffic=stream", "traffic.rate=1mbit"])

    assert changed.variant("mptcp").flows[0].application == Stream(rate_bit_s=1_000_000)


def test_a_second_flow_is_reached_by_its_name() -> None:
    changed = overrides.apply(_experiment(), ["cross.start=2s", "cross.client.nodelay=yes"])

    first, cross = changed.variant("mptcp").flows
    assert (cross.start_ns, cross.client.nodelay) == (2 * 10**9, True)
    assert (first.start_ns, first.client.nodelay) == (0, False)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("path2.los=2%", ("'path2.los'", "path2.loss")),
        ("durration=2s", ("'durration'", "duration")),
        ("mptcp.path3.loss=2%", ("'path3.loss'", "path1.loss")),
        ("duration=20", ("'20'", "20mbit", "unit")),
        ("duration", ("KEY=VALUE",)),
        ("path1.loss=200%", ("200%", "100%")),
        ("path_manager.mode=mesh", ("fullmesh", "signal")),
        ("repetitions=many", ("integer",)),
        ("repetitions=0", ("repetitions", "at least 1")),
        ("client.implementation=windows", ("linux-tcp",)),
        ("traffic=video", ("bulk", "stream")),
        ("capture=perhaps", ("true or false",)),
        ("families=5", ("4, 6",)),
        ("family=6", ("topology two_path", "4")),
        ("path_manager.subflows=-1", ("0 to 8",)),
        ("path_manager.backup_paths=cellulr", ("cellulr", "path1")),
        ("path_manager.withdraw_path=path3", ("path3", "path1")),
        ("mptcp.traffic.pause_after=0B", ("pause_after_bytes", "above 0")),
        ("mptcp.traffic.half_close=true", ("direction 'both'",)),
        ("main.start=100s", ("after the end",)),
        ("main.duration=0s", ("above 0",)),
        ("client_host=server", ("server",)),
        ("path1.changes=20s down", ("path1", "duration")),
        ("path1.changes=down", ("'6s down'",)),
        ("mptcp-0.5.path1.lss=1%", ("path1.loss",)),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_the_fix(assignment: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SpecificationError) as caught:
        overrides.apply(_experiment(), [assignment])

    message = str(caught.value)
    assert "\n" not in message
    assert assignment.partition("=")[0].split(".")[-1] in message
    if assignment != "duration=20":
        assert all(word in message for word in words), message
    else:
        assert "'20'" in message and "ms" in message


def test_families_and_schedules_can_be_set() -> None:
    changed = overrides.apply(
        _experiment(), ["families=6", "path1.changes=2s down, 4s up, 5s forward rate 5mbit", "family=6"]
    )

    topology = changed.variant("tcp").topology
    assert topology.families == (6,)
    assert topology.link("path1").changes == (
        Change(at_ns=2 * 10**9, down=True),
        Change(at_ns=4 * 10**9, down=False),
        Change(at_ns=5 * 10**9, direction="forward", rate_bit_s=5_000_000),
    )


def test_middleboxes_of_a_link_see_both_directions_and_those_of_a_direction_that_one() -> None:
    changed = overrides.apply(
        _experiment(),
        ["path1.middleboxes=drop mptcp.add_addr nth 1, mark ce data", "path1.backward.middleboxes=strip mptcp on syn"],
    )
    for variant in changed.variants:
        link = variant.topology.link("path1")
        assert link.middleboxes == (Drop("mptcp.add_addr nth 1"), Mark("ce", "data"))
        assert link.forward.middleboxes == ()
        assert link.backward.middleboxes == (StripOption("mptcp", "syn"),)
    assert from_json(json.loads(json.dumps(to_json(changed)))) == changed
    back = overrides.apply(changed, ["path1.middleboxes=none", "path1.backward.middleboxes=none"])
    assert back == _experiment()


@pytest.mark.parametrize("key", ["path1.middleboxes", "mptcp.path2.forward.middleboxes"])
def test_a_wrong_word_of_a_middlebox_is_shown_in_its_place(key: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        overrides.apply(_experiment(), [f"{key}=drop mptcp.ad_addr nth 1"])
    first, text, carets = str(caught.value).split("\n")
    assert first.startswith(f"--set {key}=drop mptcp.ad_addr nth 1: ")
    assert "did you mean mptcp.add_addr" in first
    assert text[carets.index("^") : carets.rindex("^") + 1] == "mptcp.ad_addr"


def test_every_listed_key_is_accepted_or_refuses_only_the_value() -> None:
    experiment = _experiment()
    for key in overrides.keys(experiment):
        try:
            overrides.apply(experiment, [f"{key}=?"])
        except SpecificationError as error:
            assert "has no key" not in str(error)


def test_a_profile_is_a_key_of_userspace_ends_alone() -> None:
    changed = overrides.apply(quickstart(), ["client.profile=dense", "server.receiver=holding"])
    ends = {variant.name: variant.flows[0] for variant in changed.variants}
    assert ends["userspace/linux"].client.profile == "dense"
    assert ends["userspace/linux"].server.receiver is None
    assert ends["userspace/userspace"].server.receiver == "holding"
    assert ends["linux/linux"].client.profile is None
    with pytest.raises(SpecificationError, match="rfc8684"):
        overrides.apply(quickstart(), ["client.profile=densest"])


def test_a_variant_with_a_slash_in_its_name_can_be_addressed() -> None:
    changed = overrides.apply(quickstart(), ["userspace/userspace.client.scheduler=redundant"])
    assert changed.variant("userspace/userspace").flows[0].client.scheduler == "redundant"
    assert changed.variant("userspace/linux").flows[0].client.scheduler is None


@pytest.mark.parametrize("assignment", ["client.congestion_control=lia", "client.scheduler=round-robin"])
def test_what_one_variant_refuses_and_another_takes_is_told_with_how_to_limit_it(assignment: str) -> None:
    with pytest.raises(SpecificationError, match=r"userspace-tcp.*; for one variant: --set ") as caught:
        overrides.apply(quickstart(), [assignment])
    advised = str(caught.value).rpartition("--set ")[2]
    assert overrides.apply(quickstart(), [advised]) != quickstart()


def test_what_no_variant_takes_is_not_to_be_limited_to_one() -> None:
    with pytest.raises(SpecificationError) as caught:
        overrides.apply(quickstart(), ["client.nodelay=perhaps"])
    assert "for one variant" not in str(caught.value)


@pytest.mark.parametrize("key", ["client.profile", "linux/linux.server.receiver"])
def test_a_key_of_userspace_ends_says_so_where_all_are_kernels(key: str) -> None:
    kernels = overrides.only_variants(quickstart(), ["linux/linux"])
    with pytest.raises(SpecificationError, match=r"set (client|server)\.implementation=userspace first"):
        overrides.apply(kernels, [f"{key}=linux"])
