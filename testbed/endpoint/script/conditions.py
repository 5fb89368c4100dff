"""Conditions and sums in a script: ``data_acked >= 800 or reset.sf1``, ``now - begun``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal, get_args

from testbed.endpoint.script.actions import Comparison, Condition, Name, Term
from testbed.endpoint.script.names import NameOfNothing, check, subflow_number
from testbed.endpoint.script.words import Words

Operator = Literal[">=", "<=", "==", "!=", ">", "<"]
_MEANING: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def condition(words: Words, kept: AbstractSet[str]) -> Condition:
    """``A and B or C``: ``and`` binds closer. A bare name means at least 1, a name and a number at least that."""
    alternatives: list[tuple[Comparison, ...]] = []
    while True:
        together = [_comparison(words, kept)]
        while words.took("and"):
            together.append(_comparison(words, kept))
        alternatives.append(tuple(together))
        if not words.took("or"):
            return tuple(alternatives)


def _comparison(words: Words, kept: AbstractSet[str]) -> Comparison:
    name = _name(words, kept)
    sign: Operator = ">="
    if words.peek() in _MEANING:
        word = words.take("a comparison")
        sign = next(each for each in get_args(Operator) if each == word)
    elif not words.is_number():
        return Comparison(name, ">=", 1)
    return Comparison(name, sign, words.whole("what it is compared with"))


def _name(words: Words, kept: AbstractSet[str]) -> Name:
    """``acked.sf1``, or ``acked sf1`` as one says it."""
    text = words.take("a name")
    if subflow_number(words.peek()) is not None:
        text = f"{text}.{words.take('a subflow')}"
    try:
        check(text, kept)
    except NameOfNothing as error:
        raise words.error(str(error)) from None
    return Name(text)


def term(words: Words, kept: AbstractSet[str]) -> Term:
    """Names and numbers with + and - between them."""
    parts: list[tuple[int, Name | int]] = []
    sign = 1
    while True:
        parts.append((sign, words.whole("a number") if words.is_number() else _name(words, kept)))
        if words.took("+"):
            sign = 1
        elif words.took("-"):
            sign = -1
        else:
            return tuple(parts)


def holds(wanted: Condition, value: Callable[[str], int | None]) -> bool:
    """Whether it is so now; what has no value fulfils nothing."""
    return any(all(_is_true(each, value(each.name.text)) for each in together) for together in wanted)


def _is_true(comparison: Comparison, value: int | None) -> bool:
    return value is not None and _MEANING[comparison.operator](value, comparison.number)


def total(parts: Term, value: Callable[[str], int | None]) -> int | None:
    """The sum; None when a part has no value."""
    values = [(sign, part if isinstance(part, int) else value(part.text)) for sign, part in parts]
    known = [sign * each for sign, each in values if each is not None]
    return sum(known) if len(known) == len(values) else None
