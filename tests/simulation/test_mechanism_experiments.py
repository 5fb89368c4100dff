"""Experiments on mechanisms in virtual time: what they watch is there, and each number is as its reason says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from experiments.catalog import build
from testbed.orchestrator import overrides, plan, sim_trial
from testbed.orchestrator.spec import Experiment
from testbed.record.measure import parse_measure
from topologies.middlebox import Watch


def numbers(experiment: Experiment, variant: str, folder: Path) -> dict[str, float]:
    """Measure -> what one trial has for it: watches, counters of our own stack, numbers of the flow."""
    made = dataclasses.replace(overrides.only_variants(experiment, [variant]), capture=False)
    (folder / "logs").mkdir(parents=True)
    outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
    assert outcome.verdict == "VALID", outcome.reason
    tables = outcome.record.tables
    found = {}
    for expectation in made.expectations:
        measure = parse_measure(expectation.metric)
        if measure.source == "watched":
            ending = f" as {measure.name}"
            rows = [row for row in tables["middleboxes"] if row["link"] == measure.at]
            counted = [row["matched"] for row in rows if row["middlebox"].endswith(ending)]
            assert counted, f"nothing watches {measure.name}"
            found[measure.text] = sum(counted)
        elif measure.source == "observed":
            (value,) = [row["value"] for row in tables["observations"] if row["name"] == measure.name]
            found[measure.text] = value
        elif measure.source == "counter":
            rows = [row for row in tables["counters"] if (row["host"], row["counter"]) == (measure.at, measure.name)]
            found[measure.text] = sum(row["after"] for row in rows)
        else:
            found[measure.text] = tables["flows"][0][measure.name]
    return found


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("linux_mechanisms", "missing/one/userspace"),
        ("linux_mechanisms", "missing/two/userspace"),
        ("first_data_ack", "no-data-ack/older-text"),
        ("stray_mappings", "flood/bounded"),
        ("unmapped_data", "fill/two/small-window"),
        ("unmapped_data", "never/two/discarding"),
        ("mapping_forms", "joined-apart/two/rfc8684"),
        ("mapping_forms", "reinforcing-beyond/one/holding"),
    ],
)
def test_our_stack_does_in_each_situation_what_is_said_of_it(name: str, variant: str, tmp_path: Path) -> None:
    experiment = build(name)
    found = numbers(experiment, variant, tmp_path)
    assert found
    for expectation in experiment.expectations:
        if expectation.variant == variant:
            value = found[expectation.metric]
            assert expectation.at_least is None or value >= expectation.at_least, expectation.metric
            assert expectation.at_most is None or value <= expectation.at_most, expectation.metric


def test_what_an_expectation_reads_is_watched_in_its_variant() -> None:
    experiment = build("linux_mechanisms")
    for variant in experiment.variants:
        names = {box.name for link in variant.topology.links for box in link.middleboxes if isinstance(box, Watch)}
        read = {
            parse_measure(expectation.metric).name
            for expectation in experiment.expectations
            if expectation.variant == variant.name and expectation.metric.startswith("watched:")
        }
        assert read <= names, variant.name


def test_only_kernels_are_evidence() -> None:
    for expectation in build("linux_mechanisms").expectations:
        assert expectation.claim is None or expectation.variant.endswith("/linux")


@pytest.mark.parametrize("name", ["first_data_ack", "stray_mappings", "unmapped_data", "mapping_forms"])
def test_every_script_meets_the_kernel_and_is_evidence_of_every_claim_named(name: str) -> None:
    experiment = build(name)
    asked = {variant.name for variant in experiment.variants if variant.name.endswith("/linux")}
    assert len(asked) >= 5
    assert {claim.id for claim in experiment.claims} == {each.claim for each in experiment.expectations if each.claim}
    for variant in asked:
        assert any(each.variant == variant for each in experiment.expectations), variant
