"""Two runs against each other: which trials count, what may be compared, what is found, and how it is told."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest
from compared_runs import experiment, make

from analysis.comparison.contrast import adjudicate, contrast
from analysis.comparison.runs import (
    Comparison,
    NothingToCompare,
    Unlike,
    compare_runs,
    compare_variants,
    machine_fingerprint,
    unlikeness,
)
from analysis.measured import Measured, Measurements
from analysis.report.compare_figure import ratio_axis
from analysis.report.compare_page import gather, notes
from analysis.report.compare_words import times
from analysis.report.compare_write import COMPARE_FILES, render
from analysis.runs import Run, load
from testbed.record.measure import parse_measure

MACHINE = {"architecture": "x86_64", "processor": "AMD EPYC", "cores": 2, "virtualised": True, "clock_source": "tsc"}
KERNEL = {"release": "6.18.44", "version": "#1 SMP"}
EMULATED = {"backend": "mininet", "machine": MACHINE, "kernel": KERNEL}


def carried(factor: float = 1.0, noise: int = 0, **more: Any) -> Callable[..., Mapping[str, Any]]:
    """A goodput that a seed scatters by 30 % and the run by 1 %; times ``factor``."""

    def numbers(_variant: str, _repetition: int, seed: int) -> Mapping[str, Any]:
        shared, own = random.Random(seed), random.Random(seed + 1 + noise)
        rate = 1e7 * shared.uniform(0.7, 1.3) * own.uniform(0.99, 1.01)
        return {"goodput_bit_s": rate * factor, "completion_time_ns": int(8e16 / rate / factor), **more}

    return numbers


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    base = tmp_path_factory.mktemp("runs")
    two = experiment(("mptcp", "tcp"), 8)
    counted = {"counters": {("client", "MPTcpExtMPFailRx"): 2}, "retransmits": 0}
    return {
        "old": make(base / "old", carried(**counted), two),
        "new": make(base / "new", carried(0.95, noise=1, **counted), two, verdicts={2: ("INVALID", "link too slow")}),
        "same": make(base / "same", carried(noise=1), two, document={"source": {"commit": "f" * 40, "dirty": False}}),
        "elsewhere": make(base / "elsewhere", carried(noise=2), experiment(("mptcp", "tcp"), 8, seed=99)),
        "begun": make(base / "begun", carried(noise=4, **counted), two, stop_after=3),
        "longer": make(base / "longer", carried(noise=3), experiment(("mptcp",), 8, duration_ns=5 * 10**9)),
        "emulated": make(base / "emulated", carried(), experiment(("mptcp",), 6), document=EMULATED),
    }


@pytest.fixture(scope="module")
def runs(paths: Mapping[str, Path]) -> Mapping[str, Run]:
    return {name: load(path) for name, path in paths.items()}


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {one.series: one.verdict for one in comparison.contrasts}


def compared(*words: object) -> Any:
    return command_line.testbed("compare", *map(str, words))


def test_pairs_of_one_seed_show_five_percent_where_seeds_scatter_by_thirty(runs: Mapping[str, Run]) -> None:
    found = compare_runs(runs["old"], runs["new"])
    assert verdicts(found)["mptcp main goodput_bit_s"] == "slower"
    assert verdicts(found)["tcp main completion_time_ns"] == "slower"
    goodput = next(one for one in found.contrasts if one.series == "mptcp main goodput_bit_s")
    assert goodput.ratio is not None
    assert goodput.ratio.estimate == pytest.approx(0.95, abs=0.01)
    as_groups = compare_runs(runs["old"], runs["new"], paired=False)
    assert verdicts(as_groups)["mptcp main goodput_bit_s"] == "no change found"


def test_a_trial_that_is_not_valid_costs_its_pair_and_the_reason_is_said(runs: Mapping[str, Run]) -> None:
    found = compare_runs(runs["old"], runs["new"])
    pair = next(pair for pair in found.pairs if pair.name == "mptcp")
    assert (pair.planned, pair.valid, pair.n) == ((8, 8), (8, 7), 7)
    assert pair.lost == ("trial 2 of the candidate is INVALID: link too slow",)
    assert next(one for one in found.contrasts if one.series == "mptcp main goodput_bit_s").n == 7


def test_a_run_compared_with_itself_has_no_change_and_is_called_the_same(paths: Mapping[str, Path]) -> None:
    found = compared(paths["old"], paths["old"])
    assert found.returncode == 0, found.stderr
    assert "the same run twice" in found.stdout
    assert "slower" not in found.stdout


def test_two_runs_of_the_same_thing_raise_no_alarm(runs: Mapping[str, Run]) -> None:
    for other in ("same", "elsewhere"):
        found = compare_runs(runs["old"], runs[other])
        assert found.compared
        assert not found.changes, verdicts(found)
    assert not any(pair.paired for pair in found.pairs)
    assert any("no seed in common" in note for note in notes(found))


def test_a_run_that_is_not_complete_is_compared_as_far_as_it_goes(paths: Mapping[str, Path]) -> None:
    found = compared(paths["old"], paths["begun"])
    assert found.returncode == 3
    assert "6 trials of the candidate did not run" in found.stdout
    assert "The candidate is not complete" in found.stdout
    assert "2 pairs, and it takes 6" in found.stdout
    assert "Run both with the same --seed and with --repeat 6 or more." in found.stdout
    assert "range 0." in found.stdout
    assert "Nothing can be said" in found.stdout  # although 0 retransmits in two pairs are the same


def test_values_that_are_all_the_same_need_no_test(tmp_path: Path) -> None:
    asked = experiment(("mptcp",), 2)
    paths = [
        make(tmp_path / name, carried(retransmits=retransmits), asked) for name, retransmits in (("a", 1), ("b", 1))
    ]
    found = compared(*paths)
    assert found.returncode == 0
    assert "No change found" in found.stdout


def test_other_specifications_are_told_and_compared_only_by_name(runs: Mapping[str, Run]) -> None:
    with pytest.raises(NothingToCompare, match=r"duration_ns: 10000000000 -> 5000000000.*--variants mptcp"):
        compare_runs(runs["old"], runs["longer"])
    found = compare_runs(runs["old"], runs["longer"], variants=["mptcp"])
    assert any("specified differently: duration_ns" in note for note in notes(found))
    with pytest.raises(NothingToCompare, match="has no variant 'nobody'; it has mptcp, tcp"):
        compare_runs(runs["old"], runs["new"], variants=["nobody"])
    crossed = compare_runs(runs["old"], runs["new"], variants=[("tcp", "mptcp")])
    assert [pair.name for pair in crossed.pairs] == ["mptcp against tcp"]


def test_variants_of_one_run_are_pairs_too(paths: Mapping[str, Path], runs: Mapping[str, Run]) -> None:
    found = compare_variants(runs["old"], "tcp", "mptcp")
    assert found.pairs[0].paired
    assert set(verdicts(found).values()) == {"no change found"}
    assert {found.contrasts[0].paired, found.same_run, found.of_variants} == {True}
    by_name = compared(paths["old"], "--variants", "tcp,mptcp")
    by_reference = compared(paths["old"], "--reference", "tcp")
    assert by_name.stdout == by_reference.stdout
    assert "mptcp against tcp" in by_name.stdout
    as_groups = compared(paths["old"], "--variants", "tcp,mptcp", "--unpaired", "--json")
    assert {one["paired"] for one in json.loads(as_groups.stdout)["series"]} == {False}


def test_the_simulators_runs_know_no_machine_and_all_others_do(
    paths: Mapping[str, Path], runs: Mapping[str, Run], tmp_path: Path
) -> None:
    assert unlikeness(runs["old"], runs["same"]) == ()
    with pytest.raises(Unlike, match="backend: sim in the reference, mininet in the candidate"):
        compare_runs(runs["old"], runs["emulated"])
    other = {**EMULATED, "machine": {**MACHINE, "cores": 64}, "kernel": {**KERNEL, "release": "6.1.0"}}
    path = make(tmp_path, carried(), experiment(("mptcp",), 6), document=other)
    refused = compared(paths["emulated"], path)
    assert refused.returncode == 3
    assert "cores: 2 in the reference, 64 in the candidate" in refused.stderr
    assert "kernel release: 6.18.44 in the reference, 6.1.0 in the candidate" in refused.stderr
    assert "--unlike" in refused.stderr
    assert compared(paths["emulated"], path, "--unlike").returncode == 0


def test_the_fingerprint_is_of_the_machine_and_of_nothing_else(runs: Mapping[str, Run]) -> None:
    document = dict(runs["emulated"].document)
    ours = machine_fingerprint(document)
    assert len(ours) == 12
    assert machine_fingerprint({**document, "seed": 5, "source": {"commit": "0"}}) == ours
    assert machine_fingerprint({**document, "machine": {**MACHINE, "cores": 4}}) != ours
    assert machine_fingerprint({**document, "kernel": {**KERNEL, "release": "7.0"}}) != ours
    simulated = [{**document, "backend": "sim", "machine": {"cores": cores}} for cores in (1, 2)]
    assert machine_fingerprint(simulated[0]) == machine_fingerprint(simulated[1])


def test_what_is_faster_here_and_worse_there_is_said_to_be_both(tmp_path: Path) -> None:
    asked = experiment(("mptcp",), 8)
    first = make(tmp_path / "a", carried(latency_p50_ns=5_000_000), asked)
    second = make(tmp_path / "b", carried(1.2, noise=1, latency_p50_ns=9_000_000), asked)
    said = compared(first, second)
    assert said.returncode == 1
    assert (
        "slower in some and faster in other series: 1 of 4 series changed for the worse, 2 for the better"
        in said.stdout
    )
    assert "latency, median: 80" in said.stdout
    assert "For the better: goodput: 2" in said.stdout


def test_ratios_near_one_have_as_many_decimals_as_tell_them_from_it() -> None:
    shown = [times(ratio).replace("\u202f", " ") for ratio in (0.971, 1.00034, 1.0000001, 2.5, 123.4, 1.0)]
    assert shown == ["0.971 ×", "1.0003 ×", "1.000 ×", "2.500 ×", "123 ×", "1.000 ×"]


def test_what_was_asked_for_is_shown_though_nothing_changed(paths: Mapping[str, Path]) -> None:
    assert "MPTcpExtMPFailRx" not in compared(paths["old"], paths["old"]).stdout
    assert (
        "MPTcpExtMPFailRx" in compared(paths["old"], paths["old"], "--metric", "counter:MPTcpExtMPFailRx@client").stdout
    )


def in_machine(release: str, sysctl: str, **ran_on: str) -> dict[str, Any]:
    """run.json of a run in a virtual machine with this kernel."""
    booted = {"backend": f"vm:{release}", "clock": "virtual", "shift": "0", "acceleration": "tcg", "cpus": "1"}
    return {
        **EMULATED,
        "kernel": {"release": release, "version": f"#1 {release}"},
        "machine": {**MACHINE, "clock_source": "tsc" if release == "6.1" else "hpet"},
        "sysctls": {"machine": {"net.mptcp.stale_loss_cnt": "4", "net.core.rmem_max": sysctl}},
        "ran_on": {**booted, **ran_on},
    }


def test_virtual_machines_that_differ_in_the_kernel_alone_are_alike_and_the_kernels_are_named(tmp_path: Path) -> None:
    asked = experiment(("mptcp",), 6)
    documents = {
        "old": in_machine("6.1", "212992"),
        "new": in_machine("6.12", "4194304"),
        "slower": in_machine("6.12", "212992", shift="3"),
        "same": in_machine("6.1", "4194304"),
        "host": EMULATED,
    }
    paths = {name: make(tmp_path / name, carried(), asked, document=each) for name, each in documents.items()}
    runs = {name: load(path) for name, path in paths.items()}

    assert unlikeness(runs["old"], runs["new"]) == ()
    found = compared(paths["old"], paths["new"])
    assert found.returncode == 0, found.stderr
    assert "Linux 6.12 against Linux 6.1" in found.stdout
    assert "alike but for the kernel" in found.stdout
    assert "sysctl net.core.rmem_max: 212992 in the reference, 4194304 in the candidate" in found.stdout
    assert machine_fingerprint(documents["new"]) != machine_fingerprint(documents["old"])

    assert unlikeness(runs["old"], runs["slower"]) == ("machine's shift: 0 in the reference, 3 in the candidate",)
    assert machine_fingerprint(documents["new"]) != machine_fingerprint(documents["slower"])
    assert unlikeness(runs["old"], runs["same"]) == (
        "sysctl net.core.rmem_max: 212992 in the reference, 4194304 in the candidate",
    )
    assert any(reason.startswith("kernel release") for reason in unlikeness(runs["old"], runs["host"]))


def test_numbers_of_unlike_sources_are_said_to_be(runs: Mapping[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    of = Measurements.of

    def by(self: Measurements, text: str, variant: str, flow: str) -> Measured:
        return dataclasses.replace(of(self, text, variant, flow), source="kernel" if variant == "tcp" else "ledger")

    monkeypatch.setattr(Measurements, "of", by)
    found = compare_variants(runs["old"], "tcp", "mptcp", metrics=["goodput_bit_s"])
    assert found.contrasts[0].note == "reference by kernel, candidate by ledger"
    assert found.contrasts[0].reason.endswith(found.contrasts[0].note)


def test_counters_are_rates_and_what_never_happened_is_left_out(runs: Mapping[str, Run]) -> None:
    found = compare_runs(runs["old"], runs["new"])
    kinds = {one.metric: one.kind for one in found.contrasts}
    assert kinds["counter:MPTcpExtMPFailRx@client"] == "rate"
    assert kinds["retransmits"] == "rate"
    assert verdicts(found)["mptcp main retransmits"] == "no change found"  # 0 in all trials
    assert "longest_stall_ns" not in kinds  # neither has it
    only_one = compare_runs(runs["old"], runs["same"])  # the other has no counters
    assert not any(one.metric.startswith("counter:") for one in only_one.contrasts)


def test_a_metric_that_one_lacks_is_not_comparable_and_says_whose(runs: Mapping[str, Run]) -> None:
    found = compare_runs(runs["old"], runs["same"], metrics=["retransmits"])
    assert verdicts(found)["mptcp main retransmits"] == "not comparable"
    assert "candidate: retransmits was not measured" in found.contrasts[0].reason


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["OLD", "NEW"], 1, "slower: 4 of"),
        (["OLD", "NEW", "--fail-on", "never"], 0, "slower: 4 of"),
        (["OLD", "SAME", "--fail-on", "change"], 0, "No change found"),
        (["OLD", "NEW", "--smallest", "30%"], 0, "No change found"),
        (["NEW", "--reference", "OLD", "-q"], 1, ""),
        (["OLD", "NEW", "--metric", "latency_p50_ns"], 3, "Nothing can be said"),
        (["OLD", "NEW", "--metric", "goodput"], 2, "--metric 'goodput' is no number"),
        (["OLD", "/nowhere"], 2, "/nowhere"),
        (["OLD"], 2, "it has mptcp, tcp"),
        (["OLD", "--reference", "nobody"], 2, "neither a run directory nor a variant"),
        (["OLD", "NEW", "SAME"], 2, "two runs"),
        (["OLD", "--variants", "tcp,nobody"], 2, "has no variant 'nobody'; it has mptcp, tcp"),
        (["OLD", "--variants", "tcp,tcp"], 2, "a variant is named twice"),
        (["OLD", "NEW", "--variants", "mptcp=nobody"], 2, "has no variant 'nobody'"),
        (["OLD", "NEW", "--variants", "mptcp=mptcp", "--fail-on", "never"], 0, "slower"),
        (["OLD", "NEW", "--smallest", "many"], 2, "a share such as 2%"),
    ],
)
def test_the_command_ends_with_the_code_of_what_it_found(
    paths: Mapping[str, Path], words: Sequence[str], code: int, told: str
) -> None:
    named = [str(paths[word.lower()]) if word.lower() in paths else word for word in words]
    found = compared(*named)
    assert found.returncode == code, found.stderr
    assert told in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_files_for_people_and_programs_say_the_same(paths: Mapping[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    found = compared(paths["old"], paths["new"], "--out", out, "--json")
    assert found.returncode == 1
    assert sorted(path.name for path in out.iterdir()) == sorted(COMPARE_FILES)
    document = json.loads(found.stdout)
    assert document == json.loads((out / "compare.json").read_text())
    assert document["counts"]["regressions"] == 4
    assert document["answer"] in (out / "compare.md").read_text()
    assert document["answer"] in (out / "compare.html").read_text()
    rows = list(csv.DictReader(io.StringIO((out / "compare.csv").read_text())))
    assert [row["series"] for row in rows] == [row["series"] for row in document["series"]]
    for row, other in zip(rows, document["series"], strict=True):
        assert row["verdict"] == other["verdict"]
        assert row["p"] == "" or (row["n"] and row["test"])  # never a bare p
    again = [(out / name).read_bytes() for name in COMPARE_FILES]
    compared(paths["old"], paths["new"], "--out", out)
    assert [(out / name).read_bytes() for name in COMPARE_FILES] == again


def test_a_place_that_cannot_be_written_is_one_line(paths: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = compared(paths["old"], paths["new"], "--out", tmp_path / "file" / "out")
    assert found.returncode == 3
    assert found.stderr.count("\n") == 1


def many_series(runs: Mapping[str, Run], n: int) -> Comparison:
    generator = np.random.default_rng(1)
    drawn = generator.lognormal(0, 0.03, (n, 2, 20))
    drawn[: n // 20, 1] *= 0.9
    made = [
        contrast(
            f"mptcp {number} goodput_bit_s",
            *pair,
            variant="mptcp",
            flow=str(number),
            metric="goodput_bit_s",
            unit="bit/s",
            better="largest",
            kind="rate" if number % 4 == 0 else "ratio",
        )
        for number, pair in enumerate((drawn * 1e3).round().tolist())
    ]
    base = compare_runs(runs["old"], runs["same"], variants=["mptcp"], metrics=["goodput_bit_s"])
    return Comparison(
        base.reference, base.candidate, False, False, (), base.pairs, adjudicate(made), (), base.fdr, base.smallest
    )


def test_four_hundred_series_fit_a_page_and_few_changes_are_false(runs: Mapping[str, Run]) -> None:
    found = many_series(runs, 400)
    texts = render(found, ["testbed", "compare"])
    assert 20 <= len(found.changes) <= 22  # one in twenty may be false
    assert texts["compare.html"].count("<tr>") > 400
    assert len(texts["compare.html"]) < 400_000


def test_the_axis_holds_every_estimate_and_has_one_in_its_middle(runs: Mapping[str, Run]) -> None:
    for factor in (1.0, 1.01, 0.9, 3.0, 1 / 50):
        series = adjudicate([contrast("a", [100.0 + n for n in range(8)], [factor * (100.3 + n) for n in range(8)])])
        axis = ratio_axis(series, 0.02)
        assert axis.share(1.0) == pytest.approx(0.5)
        assert axis.low <= factor <= axis.high
        shares = [share for share, _ in axis.shown_ticks()]
        assert all(later - earlier > 0.1 for earlier, later in pairwise(shares))
    assert len(gather(many_series(runs, 40), ["x"]).figure) == 14


def test_a_link_that_is_five_percent_slower_is_found_in_the_simulator(tmp_path: Path) -> None:
    wishes = ["--variant", "userspace-tcp", "--repeat", "6", "--jobs", "1", "--messages", "--set", "path1.loss=0.3%"]
    wishes += ["--set", "traffic.size=300kB", "--set", "capture=false", "--set", "ledger=false"]
    made = {}
    for name, rate in (("old", "10mbit"), ("new", "9.5mbit")):
        command_line.testbed("run", "quickstart", *wishes, "--set", f"path1.rate={rate}", "--out", str(tmp_path / name))
        made[name] = next((tmp_path / name).glob("quickstart/*"))
    refused = compared(made["old"], made["new"])
    assert refused.returncode == 3
    assert "topology.links.path1.forward.rate_bit_s: 10000000 -> 9500000" in refused.stderr
    found = compared(
        made["old"], made["new"], "--variants", "userspace-tcp", "--metric", "goodput_bit_s", "--metric", "fate:tcp"
    )
    assert found.returncode == 1, found.stdout
    assert "userspace-tcp is slower" in found.stdout


def test_the_howto_names_only_what_there_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto" / "compare-two-runs.md").read_text()
    help_text = compared("--help").stdout + command_line.testbed("run", "--help").stdout
    options = set(re.findall(r"(?<![\w-])--[a-z]+", text))
    assert options
    assert [option for option in sorted(options) if option not in help_text] == []
    for metric in re.findall(r"--metric ([a-z][\w:@/]+)", text):
        parse_measure(metric)
    for name in COMPARE_FILES:
        assert name in text
