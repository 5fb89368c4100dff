"""The tutorial runs: each of its blocks, in order, and what is shown is what comes out."""

from __future__ import annotations

from pathlib import Path

import tutorial

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "analyse-with-pandas.md"


def test_the_blocks_of_the_tutorial_show_what_it_says(tmp_path: Path) -> None:
    written = PAGE.read_text()

    assert tutorial.rewritten(written, tmp_path) == written, f"python tests/support/tutorial.py {PAGE}"


def test_an_output_that_is_not_what_comes_out_is_noticed(tmp_path: Path) -> None:
    skipped = "<!-- needs nothing_like_it -->\n\n```python\n1 / 0\n```\n\n```text\nkept\n```\n"
    page = f"One.\n\n```python\n1 + 1\n```\n\n```text\n3\n```\n\nTwo.\n\n{skipped}"

    assert tutorial.rewritten(page, tmp_path) == page.replace("\n3\n", "\n2\n")
