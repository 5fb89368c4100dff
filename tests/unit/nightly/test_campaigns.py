"""A campaign's file: what it says, and what it says wrong, with file, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.nightly import campaign, entries, steps
from testbed.nightly.campaign import Reference
from testbed.orchestrator.spec import SpecificationError

HEAD = 'name = "mine"\nsummary = "Mine"\n'
BUILD = 'reference = { build = "accepted" }\n'
SERIES = '[[series]]\nexperiment = "aggregation"\nmetrics = ["goodput_bit_s"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def resolved(folder: Path, text: str) -> tuple[entries.Entry, ...]:
    path = written(folder, text)
    return entries.resolved(campaign.load(path), path)


@pytest.mark.parametrize("name", ["smoke", "nightly", "weekly"])
def test_the_shipped_campaigns_name_what_there_is(name: str) -> None:
    path = campaign.path_of(name)

    found = campaign.load(path)
    resolved = entries.resolved(found, path)

    assert found.name == name
    assert found.repetitions >= 6, "fewer pairs decide nothing in a night"
    assert sum(len(entry.numbers) for entry in resolved) > 10
    assert (name == "smoke") == all(entry.backend == "sim" for entry in resolved)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("= 3", "is not TOML"),
        (HEAD + BUILD, "series: it is missing; write [[series]]"),
        (HEAD + SERIES, 'reference: it is missing; write [reference] with build = "accepted"'),
        (HEAD + "reference = {}\n" + SERIES, "reference: it has either variant or build"),
        (HEAD + "reference = { build = 'git:' }\n" + SERIES, "reference: build is empty"),
        (HEAD + BUILD + "repititions = 3\n" + SERIES, "repititions: there is no such key; did you mean 'repetitions'"),
        (
            HEAD + BUILD + 'repetitions = "3"\n' + SERIES,
            "repetitions: Input should be a valid integer; write how",
        ),
        (HEAD + BUILD + "repetitions = 0\n" + SERIES, "repetitions: "),
        (HEAD + BUILD + "repetitions = 1001\n" + SERIES, "repetitions: Input should be less than or equal to 1000"),
        (HEAD + BUILD + "confirmation_pairs = 1001\n" + SERIES, "confirmation_pairs: Input should be less than"),
        (HEAD + BUILD + SERIES + "[thresholds]\nsmallest = 0.02", 'write a share in quotes, such as smallest = "2%"'),
        (HEAD + BUILD + "confirmation_pairs = 5\n" + SERIES, "confirmation_pairs: "),
        (
            HEAD + BUILD + 'step_deadline = "2"\n' + SERIES,
            "step_deadline: '2' is not a time: write a number",
        ),
        (
            HEAD + BUILD + SERIES + 'variant = ["x"]',
            "series[0].variant: there is no such key; did you mean 'variants",
        ),
        (HEAD + BUILD + SERIES + 'backend = "vm"', "series[0].backend: Input should be 'sim' or 'mininet'; write"),
        (HEAD + BUILD + SERIES.replace('["goodput_bit_s"]', "[]"), "series[0].metrics: there is none; write measures"),
        (HEAD + BUILD + SERIES + '[thresholds]\nsmallest = "2"', "thresholds.smallest: '2' is not a probability"),
        (HEAD + BUILD + SERIES.replace("aggregation", "agregation"), "series[0].experiment: there is no experiment"),
        (HEAD + BUILD + SERIES.replace("put_bit_s", "put"), "series[0].metrics: 'goodput' is no number of the flows"),
        (
            HEAD + BUILD + SERIES + 'variants = ["userspac"]',
            "series[0].variants: experiment aggregation has no",
        ),
        (HEAD + BUILD + SERIES + 'variants = ["mptcp"]', 'cannot run with backend = "sim"; write backend = "mininet"'),
        (
            HEAD + BUILD + SERIES + 'set.path3.loss = "1%"',
            "series[0].set: path3.loss=1%: experiment aggregation",
        ),
        (HEAD + BUILD + SERIES + 'flow = "cross"', "series[0].flow: userspace-tcp-path1 has no flow 'cross': main"),
        (HEAD + BUILD + SERIES + SERIES, "two entries are called 'aggregation'; give one of them a name of its own"),
        (
            HEAD + 'reference = { variant = "tcp" }\n' + SERIES,
            "series[0] with reference.variant: experiment",
        ),
    ],
)
def test_errors_name_file_key_and_fix(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecificationError) as error:
        resolved(tmp_path, text)

    assert str(error.value).startswith(f"{tmp_path / 'mine.toml'}: "), error.value
    assert said in str(error.value)


def test_a_campaign_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(SpecificationError, match=r"no campaign 'smok'; shipped: smoke; one of your own is a path"):
        campaign.path_of("smok")
    with pytest.raises(SpecificationError, match=r"there is no campaign file mine/own\.toml"):
        campaign.path_of("mine/own.toml")


def test_tables_inside_set_are_keys_with_dots(tmp_path: Path) -> None:
    text = HEAD + BUILD + SERIES + '[series.set]\nduration = "5s"\nledger = true\npath2 = { loss = "1%" }\n'

    (entry,) = resolved(tmp_path, text)

    assert entry.assignments == ("duration=5s", "ledger=true", "path2.loss=1%")
    assert entry.duration_s == 5


def test_a_variant_as_the_reference_is_none_of_the_candidates(tmp_path: Path) -> None:
    text = HEAD + 'reference = { variant = "userspace-tcp-path1" }\n' + SERIES

    (entry,) = resolved(tmp_path, text)

    assert entry.reference == Reference(variant="userspace-tcp-path1")
    assert entry.variants == ("userspace-tcp-path2", "userspace")
    assert entry.variants_of("pair") == ("userspace-tcp-path2", "userspace", "userspace-tcp-path1")
    assert entry.variants_of("control") == ("userspace-tcp-path1",)
    assert entry.numbers[0].name == "aggregation userspace-tcp-path2 main goodput_bit_s vs userspace-tcp-path1"


def test_expected_metrics_are_those_that_the_experiment_speaks_of(tmp_path: Path) -> None:
    (entry,) = resolved(tmp_path, HEAD + BUILD + SERIES.replace('["goodput_bit_s"]', '"expected"'))

    assert {number.metric for number in entry.numbers} == {"goodput_bit_s"}
    assert {number.variant for number in entry.numbers} == {"userspace-tcp-path1", "userspace-tcp-path2", "userspace"}


def test_only_picks_by_the_beginning_or_a_pattern(tmp_path: Path) -> None:
    found = resolved(tmp_path, HEAD + BUILD + SERIES)

    (begun,) = entries.chosen(found, "aggregation userspace-tcp")
    (matched,) = entries.chosen(found, "*path2*")

    assert begun.variants == ("userspace-tcp-path1", "userspace-tcp-path2")
    assert matched.variants == ("userspace-tcp-path2",)
    with pytest.raises(SpecificationError, match="--only nothing: the campaign has no such series; near: aggregation"):
        entries.chosen(found, "nothing")


def test_in_real_time_the_sides_take_turns_and_share_a_seed(tmp_path: Path) -> None:
    text = HEAD + BUILD + "repetitions = 3\n" + SERIES + 'backend = "mininet"\nvariants = ["mptcp"]\n'
    found = resolved(tmp_path, text)

    plan = list(steps.planned(found, 3, (11, 22, 33), {"aggregation@mininet": ("mptcp",)}))

    assert [step.role for step in plan] == [
        *("candidate", "reference", "control"),
        *("reference", "control", "candidate"),
        *("control", "candidate", "reference"),
    ]
    assert [step.seed for step in plan] == [11] * 3 + [22] * 3 + [33] * 3
    assert len({step.name for step in plan}) == 9
    assert all(step.repeat == 1 for step in plan)
    assert [step.by_reference_build for step in plan[:3]] == [False, True, True]


def test_in_virtual_time_each_side_runs_all_its_repetitions_at_once(tmp_path: Path) -> None:
    found = resolved(tmp_path, HEAD + BUILD + SERIES)

    plan = list(steps.planned(found, 3, (11, 22, 33), {"aggregation": ("userspace",)}))

    assert [(step.role, step.repeat, step.seed) for step in plan] == [
        ("candidate", 3, 11),
        ("reference", 3, 11),
        ("control", 3, 11),
    ]
    words = plan[0].words(tmp_path, quick=True)
    assert words[:6] == ["run", "aggregation", "--backend", "sim", "--repeat", "3"]
    assert words[-2:] == ["--variant", "userspace"]


def test_the_seed_changes_with_the_night_and_the_repetition() -> None:
    seeds = {steps.night_seed("smoke", date, number) for date in ("2026-11-01", "2026-11-02") for number in range(3)}

    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert steps.night_seed("smoke", "2026-11-01", 0) in seeds
