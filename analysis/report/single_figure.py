"""One figure of a report as a page of its own, for a picture: the README's is made from a run, not drawn by hand.

python -m analysis.report.single_figure RUN figure-of-costs > figure.html
chromium --headless --window-size=1000,900 --force-device-scale-factor=2 --screenshot=figure.png figure.html
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def single_figure(report: str, name: str) -> str:
    """The figure of that id with the report's own style. Raises KeyError when the report has none."""
    figure = re.search(rf'<figure id="{re.escape(name)}">.*?</figure>', report, re.DOTALL)
    style = re.search(r"<style>.*?</style>", report, re.DOTALL)
    if figure is None or style is None:
        raise KeyError(f"the report has no figure {name!r}")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    tight = "<style>body { padding: 1rem 1.6rem; } figure { margin: 0; }</style>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}\n{style[0]}{tight}</head><body>\n{figure[0]}\n</body></html>\n'
    )


if __name__ == "__main__":
    sys.stdout.write(single_figure((Path(sys.argv[1]) / "report.html").read_text(), sys.argv[2]))
