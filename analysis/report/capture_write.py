"""Directory of an analysis -> report.html, one file that opens anywhere. The same directory gives the same bytes."""

from __future__ import annotations

from pathlib import Path

from analysis.report.capture_contention import CLASSES, MEANINGS
from analysis.report.capture_contention import grouped as in_groups
from analysis.report.capture_directory import REPORT, AnalysisDirectory
from analysis.report.capture_page import CapturePage, gather
from analysis.report.rendering import environment
from analysis.report.wording import share


def write_capture_report(path: Path) -> Path:
    """Write the report of an analysis into its directory, which nobody else reads yet."""
    target = path / REPORT
    target.write_text(render(gather(AnalysisDirectory(path))))
    return target


def render(page: CapturePage) -> str:
    """The page as HTML."""
    pages = environment("bars.css", "capture.css")
    pages.globals.update(
        share=share,
        in_groups=in_groups,
        classes="; ".join(f"{name}: {MEANINGS[name].removeprefix('would fit ')}" for name in CLASSES),
    )
    pages.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return pages.get_template("capture.html.j2").render(page=page)
