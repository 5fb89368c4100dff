"""All middleboxes: their texts and their JSON. A further one is a class in a file beside this and a line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from topologies.middlebox import actions
from topologies.middlebox.actions import Delay, Drop, Duplicate, Hold, Mark
from topologies.middlebox.base import Middlebox, MiddleboxError
from topologies.middlebox.flows import Firewall, Nat, RewriteIsn
from topologies.middlebox.headers import ClampMss, ShrinkWindow
from topologies.middlebox.options import StripOption
from topologies.middlebox.payload import Normalise, RewritePayload
from topologies.middlebox.proxy import ProactiveAck
from topologies.middlebox.repacketising import Coalesce, Split
from topologies.middlebox.replay import Replay
from topologies.middlebox.signals import FilterSignals
from topologies.middlebox.watch import Watch
from topologies.words import WordError, Words

CATALOG: tuple[type[Middlebox], ...] = (
    Drop,
    Delay,
    Duplicate,
    Hold,
    Mark,
    Replay,
    StripOption,
    FilterSignals,
    RewriteIsn,
    Nat,
    Firewall,
    ClampMss,
    ShrinkWindow,
    Split,
    Coalesce,
    RewritePayload,
    ProactiveAck,
    Normalise,
    Watch,
)
"""Every middlebox, in the order in which ``testbed list middleboxes`` shows them."""

KEYWORDS: Mapping[str, type[Middlebox]] = {cls.keyword: cls for cls in CATALOG}
"""First word of the text -> class."""
MIDDLEBOX_KINDS: Mapping[str, type[Any]] = {vars(cls)["__dataclass_fields__"]["kind"].default: cls for cls in CATALOG}
"""The word that tells them apart in JSON -> class."""


def parse(text: str) -> tuple[Middlebox, ...]:
    """The middleboxes of a text, separated by commas; ``none``: no middlebox. Raises MiddleboxError."""
    words = Words(text)
    if words.took("none"):
        words.finish()
        return ()
    found = [_read(words)]
    while words.took(","):
        found.append(_read(words))
    words.finish()
    return tuple(found)


def describe(middlebox: Middlebox) -> str:
    """What :func:`parse` reads back."""
    return middlebox.text()


def describe_all(middleboxes: Iterable[Middlebox]) -> str:
    """The text of several, or ``none``."""
    return ", ".join(each.text() for each in middleboxes) or "none"


def to_dict(middlebox: Middlebox) -> dict[str, Any]:
    """JSON-ready."""
    return dataclasses.asdict(middlebox)  # type: ignore[call-overload, no-any-return]


def from_dict(data: Mapping[str, Any]) -> Middlebox:
    """The middlebox that :func:`to_dict` wrote, also before there were expressions. Raises MiddleboxError."""
    kind = data.get("kind")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    if kind == "drop-carrying":
        return actions.of_carrying(data["option"], list(data.get("on", ())), list(data.get("nth", ())))
    if not isinstance(kind, str) or kind not in MIDDLEBOX_KINDS:
        raise MiddleboxError(f"middlebox.kind is one of {', '.join(MIDDLEBOX_KINDS)}, not {kind!r}")
    if kind == "strip-option" and isinstance(values.get("on"), tuple):
        values["on"] = actions.of_classes(list(values["on"])) if values["on"] else ""
    middlebox: Middlebox = MIDDLEBOX_KINDS[kind](**values)
    return middlebox


def _read(words: Words) -> Middlebox:
    place = words.token
    keyword = words.expect(*KEYWORDS)
    try:
        return KEYWORDS[keyword].read(words)
    except WordError as error:
        raise error if error.start >= 0 and error.text == words.text else words.refusal(error.reason, place) from None
