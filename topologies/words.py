"""Texts of words, read with an error at the exact word: what match expressions and middleboxes are written in.

A word is a run of characters without blanks; brackets, commas and comparison signs are words of their own, and
``"a text in quotes"`` is one. An error shows the text with a caret line under the word, and what could stand there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|>=|<=|==|!=|[<>=(),]|[^\s<>=!(),"]+|\S', re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class WordError(ValueError):
    """A text, or a value made in code (then without a place), that does not make sense."""

    def __init__(self, reason: str, text: str = "", start: int = -1, end: int = -1) -> None:
        super().__init__(reason, text, start, end)
        self.reason = reason
        self.text = text
        self.start = start
        """Where the wrong word begins in ``text``; -1: no text."""
        self.end = end

    def __str__(self) -> str:
        if self.start < 0:
            return self.reason
        shown = "".join(char if char.isprintable() else " " for char in self.text)
        return f"{self.reason}\n  {shown}\n  {' ' * self.start}{'^' * max(1, self.end - self.start)}"


class Token(NamedTuple):
    """A word and its place."""

    word: str
    start: int
    end: int


class Words:
    """A text, word for word, and how far it has been read."""

    __slots__ = ("_position", "_tokens", "_tried", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tried: list[str] = []
        """What was looked for at this place and not found: it could stand here."""
        self._tokens = [Token(found[0], *found.span()) for found in _TOKEN.finditer(text)]
        self._position = 0

    @property
    def word(self) -> str:
        """The next word; empty at the end."""
        return self.token.word

    @property
    def token(self) -> Token:
        """The next word with its place."""
        if self._position < len(self._tokens):
            return self._tokens[self._position]
        end = len(self.text.rstrip())
        place = end + 1 if self._tokens else 0
        return Token("", place, place)

    def take(self) -> str:
        """The next word, which is read by this."""
        word = self.word
        self._position += 1
        self._tried.clear()
        return word

    def took(self, *words: str) -> str:
        """The next word, read, if it is one of these; else nothing is read, and it is empty."""
        if self.word and self.word in words:
            return self.take()
        self._tried += words
        return ""

    def expect(self, *words: str) -> str:
        """The next word, which has to be one of these. Raises WordError."""
        if not self.word or self.word not in words:
            raise self.error(words)
        return self.take()

    def error(self, expected: Iterable[str] = ()) -> WordError:
        """What is wrong with the next word: it is none of these, and of those that were looked for here."""
        found = self.token
        known = list(dict.fromkeys((*self._tried, *expected)))
        named = [word for word in known if re.fullmatch(r"[\w.-]+", word)]
        near = difflib.get_close_matches(found.word, named, n=3, cutoff=0.6) if found.word else []
        hint = f"did you mean {' or '.join(near)}?" if near else f"here can stand {_listed(known)}"
        return self.refusal(f"{found.word!r} is not understood: {hint}" if found.word else f"the end: {hint}", found)

    def refusal(self, reason: str, place: Token | None = None) -> WordError:
        """The error that says ``reason`` at the next word, or at ``place``."""
        found = place or self.token
        return WordError(reason, self.text, found.start, found.end)

    def number(self, least: int, most: int | None = None) -> int:
        """A whole number within the limits. Raises WordError."""
        found = self.token
        limits = f"a whole number from {least}" + (f" to {most}" if most is not None else "")
        if not (found.word.isascii() and found.word.isdecimal() and len(found.word) < 20):
            raise self.error((limits,))
        value = int(found.word)
        if value < least or (most is not None and value > most):
            raise self.refusal(f"{found.word} is out of range: here can stand {limits}")
        self.take()
        return value

    def quantity(self, parse: Callable[[str], T], example: str) -> T:
        """What ``parse`` makes of the next word. Raises WordError where it raises ValueError."""
        if not self.word:
            raise self.error((example,))
        try:
            value = parse(self.word)
        except ValueError as error:
            raise self.refusal(str(error)) from None
        self.take()
        return value

    def quoted(self) -> str:
        r"""A text in quotes; within it ``\"``, ``\\``, ``\n``, ``\r`` and ``\t``. Raises WordError."""
        word = self.word
        if len(word) < 2 or word[0] != '"':
            raise (
                self.refusal("the quotation has no end")
                if word == '"'
                else self.error(('a text in quotes, "like this"',))
            )
        self.take()
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), word[1:-1], flags=re.DOTALL)

    def finish(self) -> None:
        """Nothing may follow. Raises WordError."""
        if self.word:
            raise self.error(("the end",))


def quote(text: str) -> str:
    """``text`` in quotes, as :meth:`Words.quoted` reads it."""
    for sign, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(sign, escape)
    return f'"{text}"'


def _listed(words: list[str]) -> str:
    """``"a, tcp.(syn fin) or b"``: words with the same beginning together."""
    groups: dict[str, list[str]] = {}
    for word in words:
        head, dot, tail = word.partition(".")
        word = word if word[0].isalnum() else f"'{word}'"
        groups.setdefault(head + dot if tail and dot else word, []).append(tail)
    parts = [f"{head}({' '.join(tails)})" if len(tails) > 1 else head + tails[0] for head, tails in groups.items()]
    return " or ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else "nothing more"
