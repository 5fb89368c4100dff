"""What a run says of the machine that it was carried out on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from experiments.quickstart import quickstart
from testbed.orchestrator import features, runner
from testbed.orchestrator.runner import RunRequest
from testbed.orchestrator.spec import Experiment

KERNEL_ENDS = ("linux/linux",)
OWN_ENDS = ("userspace/userspace",)


def request(
    variants: tuple[str, ...], *, ledger: bool = True, backend: Literal["sim", "mininet"] = "mininet"
) -> RunRequest:
    experiment: Experiment = quickstart()
    chosen = tuple(variant for variant in experiment.variants if variant.name in variants)
    assert chosen
    experiment = dataclasses.replace(experiment, variants=chosen, ledger=ledger, expectations=())
    return RunRequest(experiment, Path(), backend=backend)


@pytest.fixture(autouse=True)
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's ledger is not to be had."""
    answer = dataclasses.replace(features.root(), available=False, detail="this kernel has no BPF")
    monkeypatch.setattr(features, "kernel_ledger", lambda: answer)


def test_a_ledger_that_cannot_be_had_of_the_kernels_ends_is_noted_with_its_reason() -> None:
    (note,) = runner._notes(request(KERNEL_ENDS))
    assert note == "The option ledger has no rows of the kernel's ends: this kernel has no BPF"


@pytest.mark.parametrize(
    "asked",
    [request(OWN_ENDS), request(KERNEL_ENDS, ledger=False), request(KERNEL_ENDS, backend="sim")],
    ids=["no kernel is an end", "nobody asked for it", "simulated"],
)
def test_nothing_is_noted_where_no_kernels_ledger_is_wanted(asked: RunRequest) -> None:
    assert runner._notes(asked) == []


def test_nothing_is_noted_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = dataclasses.replace(features.root(), available=True)
    monkeypatch.setattr(features, "kernel_ledger", lambda: answer)
    assert runner._notes(request(KERNEL_ENDS)) == []
