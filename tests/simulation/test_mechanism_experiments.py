"""Experiments on mechanisms in virtual time: what they watch is there, and each number is as its reason says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from experiments import linux_mechanisms
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
        elif measure.source == "counter":
            rows = [row for row in tables["counters"] if (row["host"], row["counter"]) == (measure.at, measure.name)]
            found[measure.text] = sum(row["after"] for row in rows)
        else:
            found[measure.text] = tables["flows"][0][measure.name]
    return found


@pytest.mark.parametrize("variant", ["missing/one/userspace", "missing/two/userspace", "add-addr/ts/userspace"])
def test_our_stack_does_in_each_situation_what_is_said_of_it(variant: str, tmp_path: Path) -> None:
    experiment = linux_mechanisms.linux_mechanisms()
    found = numbers(experiment, variant, tmp_path)
    for expectation in experiment.expectations:
        if expectation.variant == variant:
            value = found[expectation.metric]
            assert expectation.at_least is None or value >= expectation.at_least, expectation.metric
            assert expectation.at_most is None or value <= expectation.at_most, expectation.metric


def test_what_an_expectation_reads_is_watched_in_its_variant() -> None:
    experiment = linux_mechanisms.linux_mechanisms()
    for variant in experiment.variants:
        names = {box.name for link in variant.topology.links for box in link.middleboxes if isinstance(box, Watch)}
        read = {
            parse_measure(expectation.metric).name
            for expectation in experiment.expectations
            if expectation.variant == variant.name and expectation.metric.startswith("watched:")
        }
        assert read <= names, variant.name


def test_only_kernels_are_evidence() -> None:
    for expectation in linux_mechanisms.linux_mechanisms().expectations:
        assert expectation.claim is None or expectation.variant.endswith("/linux")
