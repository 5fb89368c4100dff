"""Jinja's environment of every page: strict about names, careful with markup, one style for all.

A page extends ``base.html.j2`` (head, style, closing line) and fills its blocks; what several pages show alike
(legends, tables of numbers, links to files) is a macro there or in a file of its own.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.report.wording import count

_LOADER = PackageLoader("analysis.report")


def environment(*styles: str) -> Environment:
    """With ``style``: report.css and the further style sheets of these names."""
    made = Environment(
        loader=_LOADER,
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheets = [_LOADER.get_source(made, name)[0] for name in ("report.css", *styles)]
    made.globals.update(count=count, style=Markup("".join(sheets)))
    made.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return made
