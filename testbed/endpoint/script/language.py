"""Lines of a script -> actions. Raises ScriptError with the number of the line; nothing is checked only when it runs
that can be checked before.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from testbed.endpoint.script.actions import (
    ALTERATIONS,
    Action,
    Handshake,
    Keep,
    Program,
    Say,
    Set,
    Wait,
)
from testbed.endpoint.script.conditions import condition, term
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.names import NameOfNothing, check_own
from testbed.endpoint.script.segment_words import SEGMENTS, say
from testbed.endpoint.script.words import Words

HANDSHAKE_NS = 5_000_000_000
"""How long a handshake may take, unless the line says it."""
CONDITION_NS = 2_000_000_000
"""How long a condition is waited for, likewise."""
SHORTEST_MSS, LONGEST_MSS = 88, 65495
"""Linux refuses less (TCP_MIN_MSS in net/tcp.h); an IPv4 packet holds no more."""


def parse(lines: Sequence[str]) -> Program:
    """The script of these lines; ``#`` begins a comment, empty lines mean nothing."""
    actions: list[Action] = []
    kept: set[str] = set()
    begun: set[int] = set()
    for number, text in enumerate(lines, start=1):
        words = Words(number, text.partition("#")[0])
        if words.at_end:
            continue
        action = _action(words, kept)
        words.end()
        if isinstance(action, Keep):
            kept.add(action.name)
        if isinstance(action, Handshake):
            if action.subflow in begun:
                raise words.error(f"sf{action.subflow} has begun before")
            if action.joins != bool(begun):
                raise words.error("the first subflow is opened or accepted, and every further one joins")
            begun.add(action.subflow)
        if isinstance(action, Say) and action.subflow not in begun:
            raise words.error(f"sf{action.subflow} has not begun: open, accept or join it first")
        actions.append(action)
    if not begun:
        raise ScriptError(len(lines), "the script begins no subflow: it needs 'open sf1' or 'accept sf1'")
    return Program(tuple(actions), tuple(lines))


def _action(words: Words, kept: set[str]) -> Action:
    verb = words.take("a verb")
    if verb in SEGMENTS:
        return say(words, verb)
    if verb in _VERBS:
        return _VERBS[verb](words, kept)
    known = [*_VERBS, *SEGMENTS]
    near = difflib.get_close_matches(verb, known, n=3, cutoff=0.5) or known
    raise words.error(f"a line does not begin with {verb!r}; near: {', '.join(near)}")


def _open(words: Words, kept: set[str]) -> Action:
    return _handshake(words, opens=True, joins=False)


def _accept(words: Words, kept: set[str]) -> Action:
    joins = words.took("join")
    return _handshake(words, opens=False, joins=joins)


def _join(words: Words, kept: set[str]) -> Action:
    return _handshake(words, opens=True, joins=True)


def _handshake(words: Words, opens: bool, joins: bool) -> Handshake:
    subflow = words.subflow()
    altered = set()
    path: str | None = None
    flags: int | None = None
    address_id: int | None = None
    version, within_ns = 1, HANDSHAKE_NS
    while not words.at_end:
        if (alteration := words.took_any(ALTERATIONS)) is not None:
            altered.add(next(each for each in ALTERATIONS if each == alteration))
        elif opens and words.took("on"):
            path = words.take("the name of a path")
        elif words.took("flags") and not joins:
            flags = words.whole("the flags of MP_CAPABLE", 0, 255)
        elif words.took("version") and not joins:
            version = words.whole("the version of MPTCP", 0, 15)
        elif words.took("id") and joins:
            address_id = words.whole("an address id", 0, 255)
        elif words.took("within"):
            within_ns = words.time("how long it may take")
        else:
            more = f"on PATH, flags N, version N, id N, within TIME, {', '.join(ALTERATIONS)}"
            raise words.error(f"{words.peek() or 'this'!r} is no part of a handshake: {more}")
    return Handshake(
        line=words.number,
        subflow=subflow,
        opens=opens,
        joins=joins,
        path=path,
        altered=frozenset(altered),
        capable_flags=flags,
        version=version,
        address_id=address_id,
        within_ns=within_ns,
    )


def _wait(words: Words, kept: set[str]) -> Action:
    if not words.took("until"):
        return Wait(line=words.number, duration_ns=words.time("how long to wait"))
    wanted = condition(words, kept)
    duration_ns = words.time("how long to wait") if words.took("for") else CONDITION_NS
    return Wait(line=words.number, duration_ns=duration_ns, condition=wanted)


def _at(words: Words, kept: set[str]) -> Action:
    return Wait(line=words.number, duration_ns=words.time("the time since the start"), since_start=True)


def _observe(words: Words, kept: set[str]) -> Action:
    return _keep(words, kept, observed=True)


def _let(words: Words, kept: set[str]) -> Action:
    return _keep(words, kept, observed=False)


def _keep(words: Words, kept: set[str], observed: bool) -> Keep:
    name = words.take("a name")
    try:
        check_own(name)
    except NameOfNothing as error:
        raise words.error(str(error)) from None
    if not words.took("="):
        raise words.error(f"write {name} = and what it is to be")
    return Keep(line=words.number, name=name, term=term(words, kept), observed=observed)


def _set(words: Words, kept: set[str]) -> Action:
    name = words.one_of("a setting", tuple(SETTINGS))
    return Set(line=words.number, name=name, value=SETTINGS[name](words))


def _switch(words: Words) -> bool:
    return words.one_of("a switch", ("on", "off")) == "on"


def _width(words: Words) -> int:
    return int(words.one_of("a number of octets", ("4", "8")))


def _unless_none(low: int, high: int) -> Callable[[Words], int | None]:
    return lambda words: None if words.took("none") else words.whole("a number", low, high)


SETTINGS: Mapping[str, Callable[[Words], str | int | bool | None]] = {
    "timestamps": _switch,
    "sack": _switch,
    "checksum": _switch,
    "mss": _unless_none(SHORTEST_MSS, LONGEST_MSS),
    "window": lambda words: words.whole("a window", 0, 65535),
    "window_scale": _unless_none(0, 14),
    "answers": lambda words: words.one_of("what data is answered with", ("none", "tcp", "dss")),
    "data_ack": _width,
    "dsn": _width,
    "ending": lambda words: words.one_of("what comes after the script", ("reset", "silent")),
}
"""Name as in Settings -> reader of its value."""

_VERBS: Mapping[str, Callable[[Words, set[str]], Action]] = {
    "open": _open,
    "accept": _accept,
    "join": _join,
    "wait": _wait,
    "at": _at,
    "observe": _observe,
    "let": _let,
    "set": _set,
}
