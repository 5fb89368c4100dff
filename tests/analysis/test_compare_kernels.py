"""Runs of one experiment on several kernels: union joins, each against the first, what differs, and how it is told."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from compared_runs import experiment, make
from kernel_runs import COUNTERS, in_machine

from analysis.comparison.kernels import KernelComparison, compare_kernels, labels
from analysis.report.compare_kernels_write import render, write_kernels_comparison
from analysis.runs import Run, load
from testbed.orchestrator.spec import Expectation, Experiment

FACTORS = {"6.1": 1.0, "6.12": 1.06, "bz": 0.9}
ABILITIES: Mapping[str, Mapping[str, Any]] = {
    "6.1": {"mptcp_full_info_bytes": None, "netem_seed": False},
    "6.12": {"counters": [*COUNTERS, "MPJoinSynTx"], "sysctls": {"enabled": "1", "scheduler": "default"}},
    "bz": {"counters": None},
}


def numbers(kernel: str) -> Callable[..., Mapping[str, Any]]:
    """Goodput by the kernel for mptcp alone; a value that only some kernels have; a counter that one lacks."""

    def found(variant: str, _repetition: int, seed: int) -> Mapping[str, Any]:
        rng = random.Random(seed)
        factor = FACTORS[kernel] if variant == "mptcp" else 1.0
        counters = {("client", "MPTcpExtRmAddr"): 2} | ({("client", "MPTcpExtNew"): 9} if kernel == "6.12" else {})
        return {
            "goodput_bit_s": 1e7 * factor * rng.uniform(0.999, 1.001),
            "implementation": "linux",
            "counters": counters,
            **({"block_delay_p50_ns": 7_000_000} if kernel != "bz" else {}),
        }

    return found


def asked(repetitions: int) -> Experiment:
    bound = Expectation(variant="mptcp", metric="goodput_bit_s", at_least=9.5e6, because="it is what it carries")
    return dataclasses.replace(experiment(("mptcp", "tcp"), repetitions), expectations=(bound,))


def made(directory: Path, kernel: str, word: str, repetitions: int = 6, **more: Any) -> Run:
    document = in_machine(word, f"{kernel}.0-test", ABILITIES[kernel])
    return load(make(directory, numbers(kernel), asked(repetitions), document=document, **more))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> KernelComparison:
    base = tmp_path_factory.mktemp("kernels")
    words = {"6.1": "6.1", "6.12": "6.12", "bz": "bzimage:/boot/bzImage"}
    runs = [
        made(
            base / kernel,
            kernel,
            word,
            verdicts=dict.fromkeys((0, 1), ("INVALID", "too slow")) if kernel == "6.12" else {},
        )
        for kernel, word in words.items()
    ]
    return compare_kernels(runs, [("7.3", "its console ends with: panic")])


def test_each_kernel_is_measured_by_itself_and_judged_against_the_first(three: KernelComparison) -> None:
    goodput = next(each for each in three.measures if (each.variant, each.metric) == ("mptcp", "goodput_bit_s"))
    values = [cell.value.estimate / 1e7 if cell.value else None for cell in goodput.cells]
    assert values == pytest.approx([1.0, 1.06, 0.9], abs=0.002)
    assert [cell.value.n if cell.value else 0 for cell in goodput.cells] == [6, 5, 6]
    assert [cell.contrast and cell.contrast.verdict for cell in goodput.cells] == [None, "not comparable", "slower"]


def test_what_one_kernel_lacks_is_a_hole_with_a_reason_and_no_zero(three: KernelComparison) -> None:
    rows = {(each.variant, each.metric): each for each in three.measures}
    delay = rows["mptcp", "block_delay_p50_ns"]
    assert [cell.value is None for cell in delay.cells] == [False, False, True]
    assert "was not measured" in delay.cells[2].missing
    counter = rows["mptcp", "counter:MPTcpExtNew@client"]
    assert [cell.value.estimate if cell.value else None for cell in counter.cells] == [None, 9.0, None]
    assert "no counter of that name" in counter.cells[0].missing


def test_an_expectation_that_the_kernels_meet_differently_is_marked(three: KernelComparison) -> None:
    (row,) = three.expected
    assert [verdict and verdict.outcome for verdict in row.verdicts] == ["met", "met", "FAILED"]
    assert row.differs


def test_abilities_join_on_their_union_and_not_known_differs_from_not_there(three: KernelComparison) -> None:
    found = {each.name: each.values for each in three.abilities}
    assert found["counter MPJoinSynTx"] == (False, True, None)
    assert found[f"counter {COUNTERS[0]}"] == (True, True, None)
    assert found["sysctl net.mptcp.scheduler"] == (False, "default", False)
    assert found["sysctl net.mptcp.stale_loss_cnt"] == ("4", False, "4")
    assert found["mptcp_full_info_bytes"] == (None, None, None)
    assert [each.name for each in three.abilities] == [
        each.name for each in sorted(three.abilities, key=lambda each: (each.name.startswith("counter"), each.name))
    ]


def test_the_page_says_first_what_failed_where_then_each_kernel_then_who_has_no_run(three: KernelComparison) -> None:
    page = render(three, ["testbed", "vm", "run", "x", "--kernels", "6.1,6.12"])
    assert list(page) == ["compare.html", "compare.md", "compare.csv", "compare.json"]
    text = page["compare.md"]
    order = [
        "**The expectation FAILED on bzImage.**",
        "- 6.12 against 6.1. 5 pairs of trials cannot show that anything changed",
        "Largest differences: mptcp, goodput 6",
        "- bzImage against 6.1. It is slower: 1 of",
        "- 7.3: its console ends with: panic",
        "testbed vm run x --kernels 6.1,6.12",
    ]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "| sysctl net.mptcp.scheduler | not there | default | not there |" in text
    assert "| counter MPJoinSynTx | not there | yes | – |" in text
    assert "virtual time, an instruction takes 1 ns, 1 processor (tcg), 1536 MiB" in text


def test_programs_get_every_measure_of_every_kernel(three: KernelComparison) -> None:
    texts = render(three, ["testbed"])
    rows = list(csv.DictReader(io.StringIO(texts["compare.csv"])))
    assert len(rows) == 3 * len(three.measures)
    slow = next(r for r in rows if (r["variant"], r["metric"], r["kernel"]) == ("mptcp", "goodput_bit_s", "bzImage"))
    assert float(slow["ratio"]) == pytest.approx(0.9, abs=0.002)
    assert (slow["verdict"], slow["regression"], slow["unit"]) == ("slower", "True", "bit/s")
    document = json.loads(texts["compare.json"])
    assert [each["kernel"] for each in document["kernels"]] == ["6.1", "6.12", "bzImage"]
    assert [each["exit_code"] for each in document["kernels"]] == [0, 3, 1]
    assert document["without_a_run"] == [{"kernel": "7.3", "reason": "its console ends with: panic"}]
    assert [each["outcomes"]["bzImage"]["outcome"] for each in document["expectations"]] == ["FAILED"]


def test_the_pairs_have_pages_of_their_own_below_and_the_links_lead_there(
    three: KernelComparison, tmp_path: Path
) -> None:
    html = write_kernels_comparison(three, tmp_path / "out", ["testbed"])[0].read_text()
    below = sorted(path.parent.name for path in (tmp_path / "out").glob("*/compare.html"))
    assert below == ["1-6.12-against-6.1", "2-bzImage-against-6.1"]
    assert all(f'href="{name}/compare.html"' in html for name in below)
    again = render(three, ["testbed"])
    assert {name: (tmp_path / "out" / name).read_text() for name in again} == again


def test_machines_that_are_otherwise_unlike_are_shown_and_not_compared(tmp_path: Path) -> None:
    first = made(tmp_path / "a", "6.1", "6.1", 1)
    document = in_machine("6.12", "6.12.0-test", {})
    document["ran_on"] = {**document["ran_on"], "shift": "3"}
    other = load(make(tmp_path / "b", numbers("6.12"), asked(1), document=document))
    found = compare_kernels([first, other])
    assert not found.comparisons
    text = render(found, ["testbed"])["compare.md"]
    assert "6.12 against 6.1. Not compared." in text
    assert "machine's shift: 0 in the reference, 3 in the candidate" in text
    assert "10.6\u202fMbit/s" in text


def test_kernels_of_one_name_are_told_apart(tmp_path: Path) -> None:
    words = ["newest", "bzimage:/a/bzImage", "bzimage:/b/bzImage", "bzimage:/c/bzImage"]
    releases = ["6.1", "6.12", "bz", "bz"]
    runs = [
        made(tmp_path / str(number), kernel, word, 1)
        for number, (kernel, word) in enumerate(zip(releases, words, strict=True))
    ]
    assert labels(runs) == [
        "6.1",
        "bzImage (6.12.0-test)",
        "bzImage (bz.0-test) #1",
        "bzImage (bz.0-test) #2",
    ]
