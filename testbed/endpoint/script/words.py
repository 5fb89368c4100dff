"""One line of a script, read word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed.endpoint.script.actions import Octets
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.names import subflow_number

_OCTETS = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s)")
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


class Words:
    """The words of line ``number`` that are still to be read."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self._words = text.replace(",", " ").split()
        self._next = 0

    def error(self, message: str) -> ScriptError:
        """What to raise."""
        return ScriptError(self.number, message)

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return self._next >= len(self._words)

    def peek(self) -> str:
        """The next word; empty at the end."""
        return "" if self.at_end else self._words[self._next]

    def take(self, what: str) -> str:
        """The next word, which is ``what``."""
        if self.at_end:
            raise self.error(f"{what} is missing at the end")
        self._next += 1
        return self._words[self._next - 1]

    def took(self, *phrase: str) -> bool:
        """Whether these words come next; then they are read."""
        if tuple(self._words[self._next : self._next + len(phrase)]) != phrase:
            return False
        self._next += len(phrase)
        return True

    def took_any(self, phrases: Sequence[str]) -> str | None:
        """Which of these phrases comes next; then it is read."""
        return next((phrase for phrase in phrases if self.took(*phrase.split())), None)

    def is_number(self) -> bool:
        """Whether a whole number comes next."""
        return self.peek().isdecimal()

    def is_octets(self) -> bool:
        """Whether ``1-100`` or ``7`` comes next."""
        return _OCTETS.fullmatch(self.peek()) is not None

    def whole(self, what: str, low: int = 0, high: int = 2**64 - 1) -> int:
        """A whole number, decimal or 0x..."""
        word = self.take(what)
        try:
            value = int(word, 0)
        except ValueError:
            raise self.error(f"{what} is a whole number, not {word!r}") from None
        if not low <= value <= high:
            raise self.error(f"{what} is {low} to {high}, not {word}")
        return value

    def octets(self, what: str) -> Octets:
        """``1-100``, or ``7`` for one octet."""
        word = self.take(what)
        found = _OCTETS.fullmatch(word)
        if found is None:
            raise self.error(f"{what} are octets such as 1-100, not {word!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last:
            raise self.error(f"{what}: octets are counted from 1, the last is not before the first, and this is {word}")
        return Octets(first, last)

    def time(self, what: str) -> int:
        """ns."""
        word = self.take(what)
        found = _TIME.fullmatch(word)
        if found is None:
            raise self.error(f"{what} is a time such as 20ms, not {word!r}")
        return round(float(found[1]) * _UNITS[found[2]])

    def subflow(self) -> int:
        """Number of ``sf2``."""
        word = self.take("a subflow, such as sf1,")
        number = subflow_number(word)
        if number is None:
            raise self.error(f"a subflow is sf1, sf2 and so on, not {word!r}")
        return number

    def one_of(self, what: str, known: Sequence[str]) -> str:
        """One of these words."""
        word = self.take(what)
        if word not in known:
            raise self.error(f"{what} is one of {', '.join(known)}, not {word!r}")
        return word

    def end(self) -> None:
        """Nothing may be left."""
        if not self.at_end:
            raise self.error(f"{self.peek()!r} is not understood here")
