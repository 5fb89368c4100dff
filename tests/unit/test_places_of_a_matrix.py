"""Which machine asks which pairs of a matrix of kernels."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.interop import build, chosen_tests, implementation
from experiments.interop.kernels import HERE, parts, with_kernels
from testbed.orchestrator.spec import SpecificationError

NAMES = ["linux@6.1", "linux@6.12", "linux@7.3", "linux-tcp@6.1", "linux", "userspace", "userspace:rfc8684"]


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.lists(st.sampled_from(NAMES), min_size=1))
def test_every_pair_is_asked_once_where_its_kernels_are_or_there_is_a_reason(
    rows: list[str], columns: list[str]
) -> None:
    clients, servers = ([implementation(name) for name in dict.fromkeys(names)] for names in (rows, columns))

    chosen, nowhere = parts(clients, servers)

    asked = Counter(pair for part in chosen for pair in part.pairs)
    assert set(asked.values()) <= {1}
    assert asked.keys() | nowhere.keys() == {(client.name, server.name) for client in clients for server in servers}
    assert not asked.keys() & nowhere.keys()
    assert len({part.place for part in chosen}) == len(chosen)
    for part in chosen:
        booted = part.place.removeprefix("vm:").split("+") if part.place != HERE else []
        for client, server in part.pairs:
            kernels = [name.partition("@")[2] for name in (client, server) if "@" in name]
            assert set(kernels) <= set(booted)
            if len(booted) == 2:
                assert kernels == booted, "the client's kernel is the first"


def test_with_kernels_to_boot_the_kernel_of_this_machine_has_no_link_to_them() -> None:
    ends = [implementation(name) for name in ("linux", "linux@6.12", "userspace")]

    chosen, nowhere = parts(ends, ends)

    assert [part.place for part in chosen] == ["vm:6.12"]
    assert all("linux" in pair for pair in nowhere)
    assert all(reason.startswith("linux: the kernel of this machine") for reason in nowhere.values())


def test_kernels_multiply_what_is_of_a_kernel_alone() -> None:
    assert with_kernels(["linux", "userspace", "linux-tcp"], ["6.1", "newest"]) == [
        "linux@6.1",
        "linux@newest",
        "userspace",
        "linux-tcp@6.1",
        "linux-tcp@newest",
    ]
    assert with_kernels(["linux", "linux@7.3"], ["7.3"]) == ["linux@7.3"]


@pytest.mark.parametrize("name", ["linux@bzimage:/boot/bzImage-5.4+x", "linux-tcp@deb:/A_b.deb"])
def test_any_word_for_a_kernel_can_stand_in_a_matrix(name: str) -> None:
    end = implementation(name)

    experiment = build([end], tests=chosen_tests(["handshake"]))

    assert (end.speaks_mptcp, end.endpoint.implementation) == (name.startswith("linux@"), name.partition("@")[0])
    assert len(experiment.variants) == 1


def test_only_the_pairs_that_are_asked_here_have_cells() -> None:
    ends = [implementation(name) for name in ("linux@6.1", "userspace", "userspace:rfc8684")]

    experiment = build(ends, tests=chosen_tests(["join"]), pairs=[("linux@6.1", "userspace")])

    assert experiment.interop is not None
    assert [(cell.client, cell.server) for cell in experiment.interop.cells] == [("linux@6.1", "userspace")]
    assert [end.name for end in experiment.interop.servers] == ["userspace"]


def test_what_is_of_no_kernel_takes_none() -> None:
    with pytest.raises(SpecificationError, match=r"no implementation 'userspace@6\.12'"):
        implementation("userspace@6.12")
