from __future__ import annotations

import re
from pathlib import Path

import pytest

from topologies import catalog
from topologies.drawing import as_text

PAGE = (Path(__file__).parents[3] / "docs" / "topologies.md").read_text(encoding="utf-8")
DRAWINGS = dict(re.findall(r"<!-- drawing of (\w+) -->\n```text\n(.*?)```\n", PAGE, flags=re.S))


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_in_the_documentation_is_what_the_model_draws(name: str) -> None:
    assert DRAWINGS[name] == as_text(catalog.build(name)), "put the output of as_text() into docs/topologies.md"


@pytest.mark.parametrize("name", catalog.CATALOG)
def test_the_documentation_lists_every_topology_and_its_parameters(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    assert catalog.CATALOG[name].summary in row
    assert all(f"`{parameter}`" in row for parameter in catalog.CATALOG[name].parameters() if parameter != "families")
