"""What every middlebox value is: a frozen dataclass with a text form and a JSON form.

A class below sets the class attributes, reads its own text after the keyword, and writes it. Its fields are text,
integers, floats, booleans or tuples of these, so that ``dataclasses.asdict`` is its JSON; matches are kept as their
canonical text. ``kind`` is the last field: the word that tells the classes apart in JSON.
"""

from __future__ import annotations

from typing import Any, ClassVar

from topologies import match
from topologies.words import WordError, Words

MiddleboxError = WordError
"""A middlebox that does not make sense; the message shows the word, or names the field."""


class Middlebox:
    """Base of all."""

    __slots__ = ()

    keyword: ClassVar[str]
    """First word of its text."""
    usage: ClassVar[str]
    """Its text with what can stand in it: ``drop EXPR``."""
    summary: ClassVar[str]
    """What it does, in one line."""
    example: ClassVar[str]
    """A text that :func:`catalog.parse` reads."""
    two_way: ClassVar[bool] = False
    """Whether it has to see both directions, and so stands on the link and not in a profile."""

    @classmethod
    def read(cls, words: Words) -> Middlebox:
        """The middlebox whose text goes on after its keyword; what follows is left. Raises MiddleboxError."""
        raise NotImplementedError

    def text(self) -> str:
        """What is read back as this value, keyword first."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """How a specification reads and writes it: as the catalog does, so that only this knows all classes."""
        from pydantic_core import core_schema

        from topologies.middlebox import catalog

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Middlebox) else catalog.from_dict(value),
            serialization=core_schema.plain_serializer_function_ser_schema(catalog.to_dict),
        )


def read_match(words: Words) -> str:
    """The canonical text of the match that begins at the next word. Raises MiddleboxError."""
    return match.read(words).text()


def canonical(field: str, text: str) -> str:
    """The canonical text of a match that is the value of a field. Raises MiddleboxError."""
    try:
        return match.canonical(text)
    except WordError as error:
        raise MiddleboxError(f"{field}: {error.reason}", error.text, error.start, error.end) from None
