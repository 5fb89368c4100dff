"""An observer at the entry of a link: it changes nothing, and counts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from topologies.middlebox.base import Middlebox, MiddleboxError, canonical, read_match
from topologies.words import Words

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
"""As in ``watched:NAME@LINK`` (testbed/record/measure.py)."""


@dataclass(frozen=True, slots=True)
class Watch(Middlebox):
    """Counts the packets that match, under a name; all pass untouched."""

    match: str
    name: str
    """What an expectation calls it: ``watched:NAME@LINK``. Watches of one name on one link are added up."""
    kind: Literal["watch"] = field(default="watch", kw_only=True)

    keyword: ClassVar[str] = "watch"
    usage: ClassVar[str] = "watch EXPR as NAME"
    summary: ClassVar[str] = "changes nothing: counts what matches, for expectations on watched:NAME@LINK"
    example: ClassVar[str] = "watch tcp.rst and reset_reason = 6 as middlebox-resets"

    def __post_init__(self) -> None:
        object.__setattr__(self, "match", canonical("watch", self.match))
        _checked(self.name)

    @classmethod
    def read(cls, words: Words) -> Watch:
        """As Middlebox."""
        expression = read_match(words)
        words.expect("as")
        return cls(expression, words.quantity(_checked, "a name, such as resets"))

    def text(self) -> str:
        """As Middlebox."""
        return f"watch {self.match} as {self.name}"


def _checked(name: str) -> str:
    """Raises MiddleboxError."""
    if not _NAME.fullmatch(name):
        raise MiddleboxError(f"a watch has a lower-case name of letters, digits, - and _, not {name!r}")
    return name
