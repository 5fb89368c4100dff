"""The networks of a run as they were drawn when it was made, fit to stand in one page together."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass

from markupsafe import Markup

from analysis.runs import Run
from testbed.record import drawing_stem


@dataclass(frozen=True, slots=True)
class Drawing:
    """One network: its name, the variants on it, its SVG and its text (empty: none stored)."""

    name: str
    variants: tuple[str, ...]
    svg: Markup
    text: str


def drawings(run: Run) -> list[Drawing]:
    """One per distinct network, as stored: ``drawings/<variant>`` of its first variant, or ``drawings/<topology>``."""
    folder = run.path / "drawings"
    networks: dict[str, list[str]] = defaultdict(list)
    for name, variant in run.variants.items():
        networks[json.dumps(variant["topology"], sort_keys=True)].append(name)
    found = []
    for number, variants in enumerate(networks.values()):
        topology = run.variants[variants[0]]["topology"]["name"]
        names = (drawing_stem(variants[0]).removeprefix("drawings/"), topology)
        stems = [stem for stem in names if (folder / f"{stem}.svg").is_file()]
        image = _inline((folder / f"{stems[0]}.svg").read_text(), number) if stems else Markup("")
        text = folder / f"{stems[0] if stems else topology}.txt"
        found.append(Drawing(topology, tuple(variants), image, text.read_text() if text.is_file() else ""))
    return found


_ID = re.compile(r'\bid="([^"]+)"')
_ACTIVE = re.compile(r"<script\b.*?</script>|\son\w+=(\"[^\"]*\"|'[^']*')|<\?.*?\?>|<!.*?>", re.DOTALL | re.IGNORECASE)


def _inline(text: str, number: int) -> Markup:
    """A stored SVG made fit to stand in a page: nothing active, ids that are unique in the page."""
    text = _ACTIVE.sub("", text).replace("@media (prefers-color-scheme", "@media screen and (prefers-color-scheme")
    for name in set(_ID.findall(text)):
        unique = f"drawing{number}-{name}"
        text = text.replace(f'id="{name}"', f'id="{unique}"').replace(f"#{name})", f"#{unique})")
        text = text.replace(f'href="#{name}"', f'href="#{unique}"').replace(f'="{name}"', f'="{unique}"')
        text = re.sub(rf'(aria-\w+="(?:[^"]* )?){re.escape(name)}(?=[ "])', rf"\g<1>{unique}", text)
    return Markup(text[text.index("<svg") :] if "<svg" in text else "")
