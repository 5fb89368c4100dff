"""Every page that the testbed writes, opened in a browser: nothing missing, overlapping or off-screen at three widths.

``pages_*.py`` in this directory name the pages: each has ``PAGES``, a sequence of (name, builder); a builder is given
an empty directory, makes the page as the program makes it and returns its path.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

import bad_pages
import browser
import pytest

pytestmark = pytest.mark.needs_browser

Builder = Callable[[Path], Path]


def _pages() -> list[tuple[str, Builder]]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("pages_*.py"))
    return [page for module in modules for page in importlib.import_module(module).PAGES]


@pytest.fixture(scope="module", autouse=True)
def _browser() -> Iterator[None]:
    yield
    browser.close_shared()


@pytest.mark.parametrize(("name", "build"), [pytest.param(*page, id=page[0]) for page in _pages()])
def test_a_reader_finds_nothing_wrong_with_the_page(name: str, build: Builder, tmp_path: Path) -> None:
    found = browser.problems(build(tmp_path))

    assert not found, "\n".join(found)


def test_a_good_page_has_no_problems(tmp_path: Path) -> None:
    assert browser.problems(bad_pages.write(tmp_path, bad_pages.GOOD)) == []


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return browser.problems(bad_pages.write_all(tmp_path_factory.mktemp("faults")))


@pytest.mark.parametrize("fault", bad_pages.BAD)
def test_each_fault_is_found(fault: str, faults: list[str]) -> None:
    told = bad_pages.BAD[fault][1].replace("{}", f"div#{fault} ")

    assert any(told in problem for problem in faults), faults
