"""Where the octets of a run went, and what another packing would do: from segments and from their sums alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_run import aggregation, make_run

from analysis.contention import contention, waits, waits_and_what_if, what_if
from analysis.contention.option_areas import OptionAreas, option_areas
from analysis.contention.run_sums import summed_contention
from analysis.contention.what_if import WHAT_IF
from analysis.report import contention_section
from analysis.report.contention_table import wait_lines
from analysis.runs import Run, load
from testbed.record.ledger_sums import ledger_sums

Rows = list[dict[str, Any]]
AREA = 40


def segment(trial: int, number: int, side: str, source: str = "ledger", **values: Any) -> dict[str, Any]:
    return {
        "trial": trial, "flow": "main", "side": side, "source": source, "connection": 0, "time_ns": 1000 * number,
        "subflow": 0, "segment": "data", "retransmission": False, "ssn": 1 + 1000 * number, "payload": 1000,
        "wanted": "timestamps:10 dss:26", "wanted_octets": 36, "sent": "timestamps:10 dss:26", "option_octets": 40,
        "padding_octets": 4, "free_octets": 0, "sack_wanted": 0, "sack_sent": 0, "sack_padding": 0, "sack_width": 0,
        "sack_policy": 0, "sack_hard": 0, "sack_blame": "", "mapping": "own", "omitted": "", "mss": 1448, "ack": 1,
        "mapping_ssn": 1 + 1000 * number, "mapping_octets": 1000, "sack_ranges": None, **values,
    }  # fmt: skip


def ack(trial: int, number: int, side: str, sent: int, source: str = "ledger") -> dict[str, Any]:
    """Two blocks wanted."""
    blocks = f" sack:{2 + 8 * sent}" if sent else ""
    taken = {0: 24, 1: 36}[sent]
    return segment(
        trial, number, side, source, segment="ack", payload=0, ssn=1, wanted="timestamps:10 dss:12 sack:18",
        wanted_octets=40, sent=f"timestamps:10 dss:12{blocks}", option_octets=taken,
        padding_octets=taken - 22 - (2 + 8 * sent) * bool(sent), free_octets=AREA - taken, sack_wanted=2,
        sack_sent=sent, sack_padding=2 - sent, sack_blame="timestamps", mapping="none", mapping_ssn=None,
        mapping_octets=None, sack_ranges="5001-6001 7001-8001",
    )  # fmt: skip


def rows_of(trial: int, source: str = "ledger") -> Rows:
    data = [segment(trial, number, "client", source) for number in range(6)]
    return [*data, *(ack(trial, 10 + number, "server", number % 2, source) for number in range(4))]


def run_of(folder: Path, *, sums: bool = False, sources: tuple[str, ...] = ("ledger",)) -> Run:
    """Of variant mptcp the ledger, as segments or as their sums."""
    experiment = aggregation(2)
    names = [variant.name for variant in experiment.variants]

    def alter(trial: int, tables: dict[str, Rows]) -> None:
        if names[trial % len(names)] == "mptcp":
            rows = [row for source in sources for row in rows_of(trial, source)]
            tables.update({"ledger_sums": ledger_sums(rows)} if sums else {"segments": rows})

    return load(make_run(folder, experiment, alter=alter))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("summed"), sums=True)


def key(area: OptionAreas) -> tuple[str, ...]:
    return area.variant, area.flow, area.side, area.source, area.kind


def test_the_parts_of_the_option_areas_are_those_of_the_segments(kept: Run) -> None:
    data, acks = option_areas(kept)

    assert (key(data), data.segments) == (("mptcp", "main", "client", "ledger", "data"), 12)
    expected = {"timestamps": 120, "dss": 312, "sack": 0, "other": 0, "padding": 48, "free": 0}
    assert data.octets == expected
    assert (key(acks)[2:], acks.segments) == (("server", "ledger", "pure ACK"), 8)
    assert acks.octets == {"timestamps": 80, "dss": 96, "sack": 40, "other": 0, "padding": 24, "free": 80}


def test_parts_add_up_to_forty_octets_a_segment_whatever_was_kept(kept: Run, summed: Run) -> None:
    for area in (*option_areas(kept), *option_areas(summed)):
        assert sum(area.octets.values()) == AREA * area.segments


def test_sums_tell_the_same_as_the_segments_that_they_were_made_of(kept: Run, summed: Run) -> None:
    for area, known in zip(option_areas(summed), option_areas(kept), strict=True):
        assert (key(area), area.segments) == (key(known), known.segments)
        assert not area.is_detailed
        for part in ("padding", "free"):
            assert area.octets[part] == known.octets[part]
    for row, known_row in zip(summed_contention(summed), contention(kept), strict=True):
        assert (row.variant, row.side, row.source, row.kind) == (
            known_row.variant, known_row.side, known_row.source, known_row.kind,
        )  # fmt: skip
        assert (row.segments, row.contended, row.sums) == (known_row.segments, known_row.contended, known_row.sums)


def test_one_look_at_the_segments_gives_what_two_give(kept: Run) -> None:
    assert waits_and_what_if(kept, WHAT_IF) == (waits(kept), what_if(kept, WHAT_IF))


def test_the_section_of_a_run_with_segments_has_every_part(kept: Run) -> None:
    section = contention_section.contention_section(kept)

    assert section is not None
    (budget,) = section.budgets
    assert [row.label for row in budget.rows] == ["mptcp, client, data", "mptcp, server, ACKs"]
    assert budget.rows[0].texts() == ("12", "10", "26", "0", "0", "4", "0", "100\u202f%")
    (displacement,) = section.displacements
    assert "12 of 16 displaced, 75\u202f%" in displacement.figure.drawing
    (found,) = section.what_ifs
    assert found.variant == "mptcp"
    shares = dict(zip((policy for policy, _ in found.policies), found.rows[0][1], strict=True))
    assert shares["dense"] == "0\u202f%", "22 + 18 octets are 40"
    assert shares["no-timestamps"] == "0\u202f%"


def test_of_sums_other_policies_are_not_made_up(summed: Run) -> None:
    section = contention_section.contention_section(summed)

    assert section is not None and section.budgets and section.displacements
    assert section.what_ifs == ()
    assert section.waits == ()
    assert [line.classes for line in section.lines if line.kind == "pure ACK"] == ["padding 12"]


def test_sources_have_figures_of_their_own_and_are_never_added_up(tmp_path: Path) -> None:
    section = contention_section.contention_section(run_of(tmp_path, sources=("ledger", "kernel")))

    assert section is not None
    sources = ["read from the kernel (BPF)", "the endpoint’s own ledger"]
    assert sorted(budget.source for budget in section.budgets) == sorted(sources)
    assert sorted(found.source for found in section.displacements) == sorted(sources)
    assert sorted(found.source for found in section.what_ifs) == sorted(sources)
    assert {row.segments for budget in section.budgets for row in budget.rows} == {12, 8}


def test_figures_show_what_displaced_most_and_say_how_much_they_leave_out(
    kept: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention_section, "MOST_BARS", 1)

    section = contention_section.contention_section(kept)

    assert section is not None
    (budget,) = section.budgets
    assert [row.label for row in budget.figure.rows] == ["mptcp, server, ACKs"]
    assert (len(budget.rows), budget.left_out) == (2, 1)


@pytest.mark.parametrize(("most", "trials"), [(20, None), (19, 1), (10, 1), (9, 0)])
def test_of_too_many_segments_the_first_repetitions_are_looked_at_and_the_report_says_so(
    kept: Run, monkeypatch: pytest.MonkeyPatch, most: int, trials: int | None
) -> None:
    monkeypatch.setattr(contention_section, "MOST_SEGMENTS", most)

    section = contention_section.contention_section(kept)

    assert section is not None
    assert section.sampled == ("" if trials is None else f"{trials} of 6 valid trials")
    assert bool(section.what_ifs) == bool(section.waits) == (trials != 0)
    assert [row.segments for row in section.budgets[0].rows] == [12, 8], "what is only counted is of all of them"
    looked_at = {None: None, 1: {2}, 0: set[int]()}[trials]
    waited = wait_lines(waits_and_what_if(kept, (), looked_at)[0])
    assert [line.ranges for line in section.waits] == [line.ranges for line in waited]


def test_without_a_ledger_there_is_no_section(tmp_path: Path) -> None:
    assert contention_section.contention_section(load(make_run(tmp_path, aggregation(1)))) is None
