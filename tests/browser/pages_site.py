"""Pages of the site of a history: the first one, and that of the series to which most happened."""

from __future__ import annotations

from pathlib import Path

import site_history

from analysis.report.site import write_site


def index(folder: Path) -> Path:
    """The first page."""
    write_site(site_history.write(folder), folder / "site")
    return folder / "site" / "index.html"


def series(folder: Path) -> Path:
    """The page of a series with a step, an alarm that was borne out, gaps and a new reference."""
    (page,) = (index(folder).parent / "series").glob("regressed-*.html")
    return page


PAGES = [("site index", index), ("site series", series)]
