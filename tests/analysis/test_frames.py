"""Run directories as DataFrames: what the attributes hold, what they say of it, and what is said when there is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic_run

import analysis
from testbed.record import TABLES, RecordError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run.make_run(
        tmp_path_factory.mktemp("runs"), synthetic_run.aggregation(), verdicts={1: ("INVALID", "the rate was off")}
    )


@pytest.fixture
def run(path: Path) -> analysis.Run:
    return analysis.load(path)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_an_attribute_that_says_what_its_columns_mean(run: analysis.Run, name: str) -> None:
    frame, words, told = getattr(run, name), getattr(analysis.Run, name).__doc__, analysis.describe(name)

    assert list(frame.columns) == [column.name for column in TABLES[name].columns] == list(told.index)
    assert frame is getattr(run, name), "read once"
    for column in TABLES[name].columns:
        assert f"    {column.name} (" in words
        assert column.meaning in words
        assert frame.attrs["units"].get(column.name, "") == column.unit == told.loc[column.name, "unit"]
        assert told.loc[column.name, "nullable"] == column.nullable


def test_the_tables_are_listed_with_what_a_row_of_each_is() -> None:
    assert list(analysis.describe().index) == list(TABLES)
    with pytest.raises(RecordError, match=r"no table 'flow'; the tables are trials, flows"):
        analysis.describe("flow")


def test_integers_are_exact_and_what_was_not_measured_is_null(run: analysis.Run) -> None:
    planned = [entry["seed"] for entry in run.document["plan"]]

    assert run.trials["seed"].tolist() == planned
    assert max(planned) > 2**53, "a float64 would have rounded it"
    of_invalid = run.trials.set_index("trial").loc[1]
    assert of_invalid["verdict"] == "INVALID"
    assert run.flows["latency_p50_ns"].isna().all()
    assert run.flows["latency_p50_ns"].dtype == "int64[pyarrow]"


def test_a_table_is_not_replaced_by_mistake(run: analysis.Run) -> None:
    with pytest.raises(AttributeError, match="flows is what was recorded"):
        run.flows = run.flows.head(1)  # type: ignore[misc, assignment]


def test_facts_of_the_trial_stand_beside_each_row_of_any_table(run: analysis.Run) -> None:
    facts = run.trials.set_index("trial")
    for name in ("flows", "samples", "links"):
        joined = run.with_trial(name)
        assert len(joined) == len(getattr(run, name)), "no row more, none less"
        assert list(joined.columns[:5]) == ["trial", "variant", "repetition", "seed", "verdict"]
        assert (joined["seed"] == joined["trial"].map(facts["seed"])).all()
        assert joined.attrs["units"].items() >= getattr(run, name).attrs["units"].items()
    means = run.samples.groupby(["trial", "metric"], as_index=False)["value"].mean()
    assert set(run.with_trial(means, ["variant"])["variant"]) == {"tcp-path1", "mptcp", "tcp-path2"}
    with pytest.raises(RecordError, match="trials has no column 'speed'; it has trial, experiment"):
        run.with_trial("flows", ["speed"])
    with pytest.raises(RecordError, match="needs the column 'trial'"):
        run.with_trial(run.flows.drop(columns="trial"))


def test_a_metric_side_by_side_has_the_values_of_the_samples(run: analysis.Run) -> None:
    wide = run.wide("goodput", subjects="server")

    series = run.series(["goodput"], list(run.trials["trial"]))
    assert wide.shape[1] == len([key for key in series if "server" in key[1]])
    facts = run.trials.set_index("trial")[["variant", "repetition"]]
    for (trial, subject, _), (times, values) in series.items():
        if "server" in subject:
            column = wide[facts.loc[trial, "variant"], facts.loc[trial, "repetition"], subject].dropna()
            assert column.index.asi8.tolist() == times.tolist()
            assert np.array_equal(column.to_numpy(), values)
    assert wide.attrs == {"metric": "goodput", "unit": "bit/s"}
    assert run.wide("goodput", trials=[0]).columns.get_level_values("variant").unique().tolist() == ["tcp-path1"]
    with pytest.raises(RecordError, match=r"no samples of 'goodputs'; the metrics are: .*goodput"):
        run.wide("goodputs")


def test_the_factors_of_a_matrix_join_to_any_table_by_variant(tmp_path: Path) -> None:
    experiment = synthetic_run.aggregation(repetitions=1)
    factors = {"tcp-path1": (("loss", "0%"),), "mptcp": (("loss", "1%"), ("policy", "dense"))}
    variants = [dataclasses.replace(each, factors=factors.get(each.name, ())) for each in experiment.variants]
    experiment = dataclasses.replace(experiment, variants=tuple(variants))

    run = analysis.load(synthetic_run.make_run(tmp_path, experiment))

    joined = run.with_trial("flows").join(run.factors, on="variant").set_index("variant")
    assert joined["loss"].dropna().to_dict() == {"tcp-path1": "0%", "mptcp": "1%"}
    assert joined["policy"].dropna().to_dict() == {"mptcp": "dense"}
    both = analysis.concat({"a": run, "b": run})
    again = both.with_trial("flows").join(both.factors, on=["run", "variant"])
    assert len(again) == 6
    assert again["loss"].dropna().tolist() == joined["loss"].dropna().tolist() * 2


def test_a_run_says_what_it_is(run: analysis.Run) -> None:
    text, page = repr(run), run._repr_html_()

    assert str(run.path) in text
    assert "complete, 9 trials: 8 VALID, 1 INVALID" in text
    assert f"samples {len(run.samples):,}" in text
    assert page.count("<tr>") == len(text.splitlines()) - 1
    assert "aggregation" in page


def test_an_incomplete_run_is_read_as_far_as_it_has_come_and_says_so(tmp_path: Path) -> None:
    path = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), stop_after=4)

    run = analysis.load(path)

    assert not run.is_complete
    assert len(run.flows) == 4
    assert "INCOMPLETE, 4 of 9 trials are in" in repr(run)
    with pytest.raises(RecordError, match="is not complete: 4 of 9 trials are in"):
        analysis.load(path, complete=True)


def test_what_is_no_run_is_told_with_what_was_perhaps_meant(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"holds one run, the newest is {path}"):
        analysis.load(path.parent)
    with pytest.raises(RecordError, match="does not exist"):
        analysis.load(tmp_path / "nowhere")
    with pytest.raises(RecordError, match=r"has no run\.json"):
        analysis.load(tmp_path)
    newer = tmp_path / "newer"
    newer.mkdir()
    document = json.loads((path / "run.json").read_text()) | {"schema_version": 10_000}
    (newer / "run.json").write_text(json.dumps(document))
    with pytest.raises(RecordError, match="schema version 10000, this testbed reads up to"):
        analysis.load(newer)


def test_several_runs_are_one_with_a_column_that_says_whose_row_it_is(path: Path, tmp_path: Path) -> None:
    other = synthetic_run.make_run(tmp_path, synthetic_run.aggregation(), seed=8)

    both = analysis.load_many({"before": path, "after": other})

    assert len(both.flows) == len(both["before"].flows) + len(both["after"].flows)
    pairs = both.with_trial("flows").pivot(index=["variant", "seed"], columns="run", values="goodput_bit_s")
    assert pairs.shape == (9, 2)
    row = both["after"].with_trial("flows").iloc[5]
    assert pairs.loc[(row["variant"], row["seed"]), "after"] == row["goodput_bit_s"]
    assert both.wide("goodput").columns.names == ["run", "variant", "repetition", "subject"]
    assert analysis.concat([both["before"], both["after"]]).flows.shape == both.flows.shape
    assert "before: Run" in repr(both)


def test_runs_that_cannot_be_told_apart_are_refused(path: Path) -> None:
    with pytest.raises(RecordError, match=r"is there twice; give the runs names"):
        analysis.load_many([path, path])
    with pytest.raises(RecordError, match=r"analysis\.load reads one"):
        analysis.load_many(str(path))
    with pytest.raises(RecordError, match="no run was given"):
        analysis.load_many([])
