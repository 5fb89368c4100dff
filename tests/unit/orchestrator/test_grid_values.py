"""Grids as values, and the two experiments that have one."""

from __future__ import annotations

import dataclasses

import pytest

from experiments import fallback_integrity, middleboxes
from experiments.catalog import build
from testbed.endpoint.parameters import PLAIN_TCP
from testbed.orchestrator import overrides, plan, spec
from testbed.orchestrator.grid import Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Experiment, Flow, SpecificationError, Variant
from topologies import middlebox
from topologies.two_path import two_path

COLUMN = GridColumn(pair="linux/linux", role="client sends")
CELL = GridCell(variant="v", row="r", column=COLUMN, fates=("mptcp",))
ROW = GridRow(name="r", text="a box", because="so it is")


def _experiment(*cells: GridCell) -> Experiment:
    variant = Variant(name="v", summary="", topology=two_path(), flows=(Flow(),))
    grid = Grid(heading="box", rows=(ROW,), cells=cells)
    return Experiment(name="example", question="well?", variants=(variant,), grid=grid)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (dataclasses.replace(CELL, variant="other"), "'other', which is no variant"),
        (dataclasses.replace(CELL, row="other"), "a row 'other' that the grid has not"),
        (dataclasses.replace(CELL, fates=()), "names what may happen"),
        (dataclasses.replace(CELL, altered=("fallback",)), "what may alter bytes is among it"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused_by_name(cell: GridCell, words: str) -> None:
    with pytest.raises(SpecificationError, match=words):
        _experiment(cell)


def test_a_place_has_one_cell() -> None:
    with pytest.raises(SpecificationError, match="distinct"):
        _experiment(CELL, CELL)


def test_how_a_connection_of_a_grid_ends_does_not_make_a_trial_invalid() -> None:
    with_grid = _experiment(CELL)
    assert "connect" not in plan.invalidating_errors(with_grid)
    assert "connect" in plan.invalidating_errors(dataclasses.replace(with_grid, grid=None))


def test_some_variants_keep_their_cells_and_rows() -> None:
    names = ["strip-syn/userspace/userspace/up", "nat/userspace-tcp"]
    grid = overrides.only_variants(build("middleboxes"), names).grid
    assert grid is not None
    assert [cell.variant for cell in grid.cells] == names
    assert [row.name for row in grid.rows] == ["strip-syn", "nat"]


def test_every_middlebox_of_the_catalog_has_a_setting_and_stands_in_the_grid() -> None:
    assert list(middleboxes.SETTINGS.keys()) and set(middleboxes.SETTINGS) == {
        kind.keyword for kind in middlebox.CATALOG if kind is not middlebox.Watch
    }, "a watch does nothing that a connection could survive"
    rows = {setting.name for setting in middleboxes.settings()}
    grid = middleboxes.middleboxes().grid
    assert grid is not None
    assert {row.name for row in grid.rows} == rows
    assert all(len({cell.column for cell in grid.cells if cell.row == name}) == 10 for name in rows)


@pytest.mark.parametrize("keyword", list(middleboxes.SETTINGS))
def test_a_setting_has_a_box_of_its_kind_and_a_reason(keyword: str) -> None:
    assert middleboxes.SETTINGS[keyword]
    for setting in middleboxes.SETTINGS[keyword]:
        (box,) = middlebox.parse(setting.text)
        assert box.keyword == keyword
        assert setting.because
        assert setting.links


@pytest.mark.parametrize("name", ["middleboxes", "fallback_integrity"])
def test_every_variant_is_in_the_grid_and_is_judged_beside_plain_tcp(name: str) -> None:
    experiment = build(name)
    assert experiment.grid is not None
    assert {cell.variant for cell in experiment.grid.cells} == {variant.name for variant in experiment.variants}
    assert spec.from_json(spec.to_json(experiment)) == experiment
    for row in experiment.grid.rows:
        cells = [cell for cell in experiment.grid.cells if cell.row == row.name]
        plain = [cell for cell in cells if _is_plain(experiment.variant(cell.variant))]
        assert {experiment.variant(cell.variant).flows[0].client.implementation for cell in plain} == set(PLAIN_TCP)
        assert len(plain) < len(cells)


def _is_plain(variant: Variant) -> bool:
    (flow,) = variant.flows
    return flow.client.is_plain_tcp and flow.server.is_plain_tcp


def test_after_a_fallback_no_cell_lets_bytes_differ() -> None:
    grid = fallback_integrity.fallback_integrity().grid
    assert grid is not None
    assert not any(cell.altered for cell in grid.cells)
    assert {fate for cell in grid.cells for fate in cell.fates} == {"fallback", "mptcp", "tcp"}
