"""What every version of Linux is asked: nothing without a kernel in it, and nothing that was left out by the way."""

from __future__ import annotations

import pytest

from experiments.catalog import EXPERIMENTS, GROUPS, build
from experiments.kernel_claims import KERNEL_CLAIMS, of_the_kernel
from testbed.orchestrator.spec import Variant


def kernels(variant: Variant) -> bool:
    ends = [end for flow in variant.flows for end in (flow.client, flow.server)]
    return any(end.implementation in ("linux", "linux-tcp") for end in ends)


@pytest.mark.parametrize("name", KERNEL_CLAIMS)
def test_of_a_kernel_is_what_a_kernel_takes_part_in_on_real_time_and_all_of_it(name: str) -> None:
    whole = build(name)

    chosen = of_the_kernel(whole)

    names = {variant.name for variant in chosen.variants}
    assert names == {variant.name for variant in whole.variants if kernels(variant) and variant.only_on != "sim"}
    assert names
    assert {each.variant for each in chosen.expectations} <= names
    lost = [each for each in whole.expectations if each not in chosen.expectations and each.speaks_of <= names]
    assert not lost
    assert {claim.id for claim in chosen.claims} == {each.claim for each in chosen.expectations if each.claim}


def test_the_group_has_the_claims_that_versions_are_known_to_differ_in() -> None:
    assert GROUPS["kernel"] == KERNEL_CLAIMS
    chosen = [of_the_kernel(build(name)) for name in KERNEL_CLAIMS]
    claims = {claim.id for each in chosen for claim in each.claims}

    assert {"N11", "N12", "N10", "S10", "L5", "L6", "S12", "S1"} <= claims
    metrics = {each.metric for experiment in chosen for each in experiment.expectations}
    assert "counter:MPTcpExtAddAddrTxDrop@server" in metrics, "IPv6 with a port and timestamps"


def test_fallbacks_between_kernels_are_those_where_the_overlap_is_made() -> None:
    experiment = EXPERIMENTS["kernel_fallbacks"]()

    assert experiment.grid is not None
    assert {cell.variant for cell in experiment.grid.cells} == {variant.name for variant in experiment.variants}
    assert all(variant.name.startswith("forced-") for variant in experiment.variants)
    plain = [variant for variant in experiment.variants if "/linux-tcp/linux-tcp/" in variant.name]
    assert len(plain) * 2 == len(experiment.variants), "each case has plain TCP beside it"
