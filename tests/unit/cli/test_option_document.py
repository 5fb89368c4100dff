from __future__ import annotations

from pathlib import Path

from testbed.cli.option_document import option_space

DOCUMENT = Path(__file__).parents[3] / "docs" / "option-space.md"


def test_the_document_of_the_option_space_is_current() -> None:
    assert DOCUMENT.read_text() == option_space(), "python -m testbed.cli.option_document > docs/option-space.md"
