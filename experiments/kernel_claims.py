"""What is asked of every version of Linux: the claims of the thread, and those on Linux, that a kernel can decide.

Chosen by who acts: a kernel places options, judges mappings, falls back, resets, announces addresses (S1 to S5, S9,
S10, S12, S14 to S17, S19 to S24, S28, S29, L1 to L6, N1 to N13 of it). What needs minutes of traffic for a number that
no version changes in kind (goodput of thin mappings, room by packet size) is left to ``claims``.
"""

from __future__ import annotations

import dataclasses

from experiments.fallback_integrity import fallback_integrity
from testbed.orchestrator.spec import Experiment, Variant

KERNEL_CLAIMS = (
    "linux_mechanisms",
    "address_announcements",
    "first_data_ack",
    "mapping_forms",
    "stray_mappings",
    "unmapped_data",
    "failed_checksums",
    "kernel_fallbacks",
    "eight_segments",
    "bare_acks",
    "hold_time",
    "half_close",
)
"""The group ``kernel`` of the catalog."""
_REPETITIONS = 3
"""Of what happens every time: the overlaps are made by a middlebox, not by chance."""


def kernel_fallbacks() -> Experiment:
    """Of ``fallback_integrity`` the cases where overlaps are made rather than waited for, between kernels alone."""
    whole = fallback_integrity()
    chosen = [each for each in whole.variants if each.name.startswith("forced-") and not _has_ours(each)]
    return dataclasses.replace(_only(whole, chosen), name="kernel_fallbacks", repetitions=_REPETITIONS)


def of_the_kernel(experiment: Experiment) -> Experiment:
    """Without what no kernel takes part in, and what is for the simulator alone: the rest is of this version."""
    chosen = [each for each in experiment.variants if each.only_on != "sim" and _has_a_kernel(each)]
    return _only(experiment, chosen)


def _only(experiment: Experiment, variants: list[Variant]) -> Experiment:
    names = {variant.name for variant in variants}
    expectations = tuple(each for each in experiment.expectations if each.speaks_of <= names)
    return dataclasses.replace(
        experiment,
        variants=tuple(variants),
        expectations=expectations,
        claims=tuple(claim for claim in experiment.claims if claim.id in {each.claim for each in expectations}),
        grid=experiment.grid.only(names) if experiment.grid is not None else None,
    )


def _implementations(variant: Variant) -> set[str]:
    return {end.implementation for flow in variant.flows for end in (flow.client, flow.server)}


def _has_a_kernel(variant: Variant) -> bool:
    return any(name.startswith("linux") for name in _implementations(variant))


def _has_ours(variant: Variant) -> bool:
    return any(name.startswith("userspace") for name in _implementations(variant))
