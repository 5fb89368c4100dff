"""A variant that is for one backend is left out of the other, with the expectations that need it."""

import dataclasses

import pytest

from experiments.ingredients import mptcp, symmetric_paths
from testbed.orchestrator import runner, sim_runner
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import Expectation, Experiment, from_json, to_json


def both() -> Experiment:
    """One variant for each backend, and one for either."""
    either = mptcp("either", "x", symmetric_paths(), stacks=("userspace", "userspace"))
    real = dataclasses.replace(either, name="real", only_on="mininet")
    virtual = dataclasses.replace(either, name="virtual", only_on="sim")
    return Experiment(
        name="both",
        question="What runs?",
        variants=(either, real, virtual),
        expectations=(
            Expectation(variant="either", metric="subflows", at_least=2),
            Expectation(variant="virtual", metric="goodput_bit_s", at_least=1, relative_to=("either",)),
        ),
    )


def test_the_simulator_leaves_out_what_is_for_real_packets() -> None:
    kept, left_out = sim_runner.runnable(both())
    assert [variant.name for variant in kept.variants] == ["either", "virtual"]
    assert left_out == {"real": "it is for --backend mininet"}


def test_real_packets_leave_out_what_is_for_the_simulator_and_its_expectations() -> None:
    kept = runner.for_real_time(both())
    assert [variant.name for variant in kept.variants] == ["either", "real"]
    assert [item.variant for item in kept.expectations] == ["either"]


def test_nothing_left_is_unsupported() -> None:
    experiment = both()
    alone = dataclasses.replace(experiment, variants=experiment.variants[2:], expectations=())
    with pytest.raises(Unsupported, match="--backend sim"):
        runner.for_real_time(alone)


def test_the_backend_is_kept_in_a_run_directory() -> None:
    assert from_json(to_json(both())) == both()
