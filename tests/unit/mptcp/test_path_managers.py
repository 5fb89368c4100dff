"""What each path manager wishes for, given addresses and routes."""

from __future__ import annotations

import pytest

from testbed.mptcp.parameters import Parameters
from testbed.mptcp.path_manager.base import Pair, PathManager, PathView
from testbed.mptcp.path_manager.catalog import PATH_MANAGERS, make
from testbed.wire.segment import SocketAddress

PORT = 80


def local(number: int) -> bytes:
    return bytes((10, 0, number, 1))


def remote(number: int, port: int = PORT) -> SocketAddress:
    return SocketAddress(bytes((10, 0, number, 2)), port)


def parallel(one: bytes, other: bytes) -> bool:
    return one[2] == other[2]


def mesh(one: bytes, other: bytes) -> bool:
    return True


def view(
    *,
    client: bool = True,
    locals_: int = 2,
    announced: list[SocketAddress] | None = None,
    routes: object = mesh,
    initial_is_open: bool = True,
    parameters: Parameters | None = None,
) -> PathView:
    return PathView(
        is_client=client,
        initial=Pair(local(0), remote(0)),
        initial_remote_is_open=initial_is_open,
        local_addresses=[local(number) for number in range(locals_)],
        announced_remotes=announced or [],
        can_reach=routes,  # type: ignore[arg-type]
        parameters=parameters or Parameters(),
    )


@pytest.mark.parametrize("name", PATH_MANAGERS)
def test_one_address_at_each_end_needs_nothing(name: str) -> None:
    assert make(name).wanted(view(locals_=1, parameters=Parameters(ports=1))) == []
    assert make(name).announced(view(client=False, locals_=1)) == []


@pytest.mark.parametrize("name", PATH_MANAGERS)
def test_only_the_side_that_opened_the_connection_opens_and_only_the_other_announces(name: str) -> None:
    assert make(name).wanted(view(client=False, announced=[remote(1)])) == []
    assert make(name).announced(view(client=True)) == []


def test_none_wants_nothing() -> None:
    assert make("none").wanted(view(announced=[remote(1)])) == []
    assert make("none").announced(view(client=False)) == []


def test_signal_announces_the_other_addresses_and_uses_those_announced() -> None:
    manager = make("signal")
    assert manager.announced(view(client=False, locals_=3)) == [local(1), local(2)]
    assert manager.wanted(view()) == []
    assert manager.wanted(view(announced=[remote(1)])) == [Pair(local(1), remote(1))]
    assert manager.wanted(view(announced=[remote(1)], routes=parallel)) == [Pair(local(1), remote(1))]


def test_signal_spreads_over_the_local_addresses() -> None:
    pairs = make("signal").wanted(view(locals_=2, announced=[remote(1), remote(2), remote(3)]))
    assert [pair.local for pair in pairs] == [local(1), local(0), local(1)]


def test_signal_leaves_out_what_no_route_reaches() -> None:
    assert make("signal").wanted(view(locals_=2, announced=[remote(5)], routes=parallel)) == []


def test_subflow_joins_the_other_addresses_to_the_first_remote() -> None:
    manager = make("subflow")
    assert manager.wanted(view(locals_=3)) == [Pair(local(1), remote(0)), Pair(local(2), remote(0))]
    assert manager.wanted(view(locals_=3, announced=[remote(1)])) == manager.wanted(view(locals_=3))
    assert manager.wanted(view(locals_=3, initial_is_open=False)) == []
    assert manager.wanted(view(locals_=3, routes=parallel)) == []


def test_fullmesh_wants_every_pair_and_disjoint_ones_first() -> None:
    manager = make("fullmesh")
    pairs = manager.wanted(view(announced=[remote(1)]))
    assert pairs[0] == Pair(local(1), remote(1))
    assert set(pairs) == {Pair(local(1), remote(0)), Pair(local(0), remote(1)), Pair(local(1), remote(1))}
    assert manager.wanted(view(announced=[remote(1)], routes=parallel)) == [Pair(local(1), remote(1))]
    assert manager.announced(view(client=False)) == [local(1)]


def test_fullmesh_minds_a_closed_first_address() -> None:
    pairs = make("fullmesh").wanted(view(announced=[remote(1)], initial_is_open=False))
    assert {pair.remote for pair in pairs} == {remote(1)}


def test_ndiffports_repeats_the_first_pair() -> None:
    wanted = make("ndiffports").wanted(view(parameters=Parameters(ports=3)))
    assert wanted == [Pair(local(0), remote(0))] * 2


def test_ndiffports_uses_announced_ports_only_when_the_first_takes_no_joins() -> None:
    parameters, announced = Parameters(ports=3), [remote(0, 10101)]
    manager = make("ndiffports")
    wanted = manager.wanted(view(locals_=1, announced=announced, parameters=parameters))
    assert wanted == [Pair(local(0), remote(0))] * 2
    closed = view(locals_=1, announced=announced, parameters=parameters, initial_is_open=False)
    assert manager.wanted(closed) == [Pair(local(0), remote(0, 10101))]


def test_backup_marks_the_named_addresses_or_all_but_the_first() -> None:
    manager = make("backup")
    assert manager.is_backup(view(), local(1))
    assert not manager.is_backup(view(), local(0))
    named = Parameters(backup_addresses=(local(2),))
    assert not manager.is_backup(view(parameters=named), local(1))
    assert manager.is_backup(view(parameters=named), local(2))


def test_any_manager_marks_the_named_addresses() -> None:
    manager: PathManager = make("fullmesh")
    assert not manager.is_backup(view(), local(1))
    assert manager.is_backup(view(parameters=Parameters(backup_addresses=(local(1),))), local(1))


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="fullmesh"):
        make("everything")


def test_addresses_of_another_family_are_not_announced() -> None:
    dual = view(client=False)
    dual.local_addresses.append(bytes(16))
    assert make("signal").announced(dual) == [local(1)]
