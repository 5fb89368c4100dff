"""What a level of a matrix' first factor costs: pairs of one situation, intervals over situations, what broke."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from analysis.matrix import RESETS, SMALLEST_MATRIX, Matrix, Trial, counted, matrix_of
from analysis.report.matrix_section import matrix_section
from analysis.report.single_figure import single_figure
from analysis.report.write import write_report
from analysis.runs import load
from experiments.option_contention import option_contention
from testbed.orchestrator import overrides, runner

LOSSES = ("loss 0", "loss 1 %")


def trial(level: str, loss: str, goodput: float, **values: object) -> Trial:
    base = Trial(
        level=level,
        situation=(("loss", loss),),
        repetition=0,
        fate="mptcp",
        goodput_bit_s=goodput,
        duplicates=0,
        timeouts=0,
        resets=0,
        data_segments=1000,
        ledger={
            "segments": 1500,
            "payload": 1_000_000,
            "option_octets": 40_000,
            "sack_wanted": 100,
            "sack_sent": 60,
            "sack_ranges": 10,
            "never_reported": 1,
            "map_delayed_octets": 0,
            "mapped_octets": 1_000_000,
        },
        acks={"sack_wanted": 40, "sack_sent": 30},
        delays_ns=(1000,),
    )
    return dataclasses.replace(base, **values)  # type: ignore[arg-type]


def matrix(*trials: Trial) -> Matrix:
    return Matrix(("policy", "loss"), {"policy": ("linux", "dense"), "loss": LOSSES}, trials)


def test_goodput_is_compared_within_a_situation_and_averaged_over_them_geometrically() -> None:
    found = matrix(
        trial("linux", LOSSES[0], 10e6),
        trial("dense", LOSSES[0], 20e6),
        trial("linux", LOSSES[1], 4e6),
        trial("dense", LOSSES[1], 2e6),
    )
    linux, dense = found.costs()
    assert linux.goodput is not None and linux.goodput.estimate == 1
    assert dense.goodput is not None and dense.goodput.estimate == pytest.approx(1.0), "twice and half"
    assert (dense.goodput.low, dense.goodput.high) == (pytest.approx(0.5), pytest.approx(2.0))


def test_the_interval_is_over_situations_however_many_repetitions_there_are() -> None:
    losses = tuple(f"loss {number} %" for number in range(8))
    trials = [
        dataclasses.replace(trial(level, loss, goodput * (1 + number / 100)), repetition=repetition)
        for number, loss in enumerate(losses)
        for repetition in range(5)
        for level, goodput in (("linux", 10e6), ("dense", 11e6 * (1 + number / 100)))
    ]
    found = Matrix(("policy", "loss"), {"policy": ("linux", "dense"), "loss": losses}, trials).costs()[1].goodput
    assert found is not None and found.n == 8 and found.low is not None and found.high is not None
    assert 1.1 < found.low < found.estimate < found.high < 1.1 * 1.07
    assert math.isclose(found.estimate, 1.1 * math.exp(sum(math.log(1 + n / 100) for n in range(8)) / 8))


def test_what_did_not_stay_mptcp_is_counted_and_enters_no_other_number() -> None:
    fallen = trial("dense", LOSSES[0], 99e6, fate="fallback", duplicates=500, resets=3)
    stayed = trial("dense", LOSSES[1], 3e6, duplicates=2)
    dense = matrix(trial("linux", LOSSES[0], 1e6), trial("linux", LOSSES[1], 3e6), fallen, stayed).costs()[1]
    assert dense.fates == {"fallback": 1, "mptcp": 1} and dense.resets == 1.5
    assert dense.goodput is not None and dense.goodput.estimate == pytest.approx(1.0) and dense.goodput.n == 1
    assert dense.displaced_on_acks == pytest.approx(0.25)
    assert dense.duplicates == pytest.approx(2.0) and dense.displaced == pytest.approx(0.4)


def test_a_count_that_the_kernel_of_one_trial_lacks_is_not_known_instead_of_less() -> None:
    known = trial("linux", LOSSES[0], 1e6, timeouts=4, resets=2)
    lacking = trial("linux", LOSSES[1], 1e6, timeouts=4, resets=None)
    section = matrix_section(matrix(known, lacking, trial("dense", LOSSES[0], 1e6)))
    linux, dense = matrix(known, lacking, trial("dense", LOSSES[0], 1e6)).costs()
    assert (linux.resets, linux.timeouts, dense.resets) == (None, 4, 0)
    assert section.rows[0].cells[section.heads.index("resets")] == "–"


@pytest.mark.parametrize(
    ("stack", "counters", "moved"),
    [
        ("linux", {"client": 2, "server": 3}, 5),
        ("linux", {"client": 2}, None),
        ("linux", {}, None),
        ("userspace", {"server": 3}, 3),  # our stack writes down what it has counted
    ],
)
def test_what_no_kernel_counts_is_null_and_what_our_stack_did_not_count_is_0(
    stack: str, counters: dict[str, int], moved: int | None
) -> None:
    flow = {"trial": 1, "implementation": stack, "server_implementation": "linux"}
    flow |= {"client_host": "client", "server_host": "server"}
    known = {(1, host, RESETS[0]): growth for host, growth in counters.items()}
    assert counted(known, flow, RESETS, simulated=False) == moved
    assert counted(known, flow, RESETS, simulated=True) == sum(counters.values())


def test_the_section_says_which_receivers_bear_what_and_draws_every_level() -> None:
    broken = trial("dense", LOSSES[1], 0.0, fate="reset")
    section = matrix_section(matrix(trial("linux", LOSSES[0], 1e6), trial("dense", LOSSES[0], 2e6), broken))
    assert "dense (MPTCP in 1 of 2 trials)" in section.answers[-1]
    assert section.answers[0].startswith("Too few situations"), "a range of one or two is no difference"
    assert [row.level for row in section.rows] == ["linux", "dense"]
    assert "loss 1 %: –" in section.rows[1].goodput, "what was not measured is told as that"


def test_a_run_of_the_matrix_answers_on_its_first_screen(tmp_path: Path) -> None:
    """Twelve real trials in virtual time, with the ledger as sums; the report has the table and nothing per variant."""
    experiment = option_contention("quick")
    names = [variant.name for variant in experiment.variants if variant.name.endswith("-2w-ts-loss2-v4")]
    chosen = [name for name in names if name.split("/")[0] in ("linux", "dense-32", "thin-maps", "late-map")]
    assert len(chosen) == SMALLEST_MATRIX
    experiment = overrides.apply(
        overrides.only_variants(experiment, chosen), ["repetitions=1", "duration=250ms", "sample_interval=250ms"]
    )
    directory = runner.run(runner.RunRequest(experiment=experiment, parent=tmp_path, backend="sim"), lambda _: None)
    found = matrix_of(load(directory.path))
    assert found is not None and found.reference == "linux" and len(found.trials) == 12
    of = {cost.level: cost for cost in found.costs(receiver="holding")}
    assert of["linux"].displaced is not None and of["dense-32"].displaced is not None
    assert of["dense-32"].displaced < of["linux"].displaced, "where SACK blocks fit beside the mapping, more leave"
    assert (of["dense-32"].header_tax or 1) < (of["linux"].header_tax or 0)
    late = {cost.level: cost for cost in found.costs(receiver="linux")}["late-map"]
    assert late.fates.get("mptcp", 0) == 0, "Linux waits for no mapping"
    assert directory.read_table("segments").num_rows == 0 < directory.read_table("ledger_sums").num_rows
    write_report(directory.path)
    page = (directory.path / "report.html").read_text()
    assert page.index("Which policy costs what") < page.index("What was run")


def test_the_figure_of_a_report_stands_on_a_page_of_its_own() -> None:
    report = '<html><style>p {}</style><p>text</p><figure id="one"><svg/></figure><figure id="two"></figure></html>'
    page = single_figure(report, "one")
    assert "<svg/>" in page and "p {}" in page and "text" not in page and "two" not in page
    with pytest.raises(KeyError):
        single_figure(report, "three")
