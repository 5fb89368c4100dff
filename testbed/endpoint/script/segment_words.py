"""A line that is one segment: ``send sf1 1-100 map 1-100``, ``ack sf1 data_fin``, ``rst sf1 reason 1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.endpoint.script.actions import Map, OptionWords, Say
from testbed.endpoint.script.words import Words
from testbed.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

SEGMENTS: Mapping[str, int] = {
    "send": PSH | ACK,
    "again": PSH | ACK,
    "ack": ACK,
    "fin": FIN | ACK,
    "rst": RST | ACK,
    "fastclose": ACK,
}
"""Verb -> flags of the segment. ``again``: octets that were sent before, at the numbers that they had."""

_LETTERS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "C": CWR}
OPTIONS: Mapping[str, str] = {
    "mp_prio": "[backup]",
    "mp_fail": "OCTET",
    "mp_fastclose": "[bad key]",
    "mp_tcprst": "REASON [transient]",
    "add_addr": "ID ADDRESS [port N] [bad hmac | echo]",
    "remove_addr": "ID ...",
    "sack": "A-B ...",
    "option": "HEX",
}
"""Name -> what stands behind it."""


def say(words: Words, verb: str) -> Say:
    """The segment that the line means."""
    values: dict[str, Any] = {"flags": SEGMENTS[verb], "maps": [], "options": []}
    values["subflow"] = words.subflow()
    if verb in ("send", "again"):
        values["octets"] = words.octets("what is sent")
        values["again"] = verb == "again"
    if verb == "fastclose":
        values["options"].append(OptionWords(name="mp_fastclose", words=_words_of(words, "mp_fastclose")))
    if verb in ("rst", "fastclose"):
        values["dss"] = "none"
    if verb == "rst" and words.took("reason"):
        reason = str(words.whole("the reason of a reset", 0, 15))
        more = ("transient",) if words.took("transient") else ()
        values["options"].append(OptionWords(name="mp_tcprst", words=(reason, *more)))
    while not words.at_end:
        _clause(words, values)
    values["maps"], values["options"] = tuple(values["maps"]), tuple(values["options"])
    return Say(line=words.number, **values)


def _clause(words: Words, values: dict[str, Any]) -> None:
    word = words.peek()
    if words.took("no", "map"):
        pass
    elif words.took("no", "dss"):
        values["dss"] = "none"
    elif words.took("no", "data_ack"):
        values["data_ack"] = "none"
    elif words.took("map"):
        values["maps"].append(_map(words))
    elif words.took("data_ack"):
        values["data_ack"] = words.whole("octets acknowledged")
    elif words.took("data_fin"):
        values["data_fin"] = True
    elif words.took("mp_capable"):
        values["capable"] = True
    elif words.took("spoiled"):
        values["spoiled"] = True
    elif words.took("flags"):
        values["flags"] = _flags(words)
    elif words.took("at"):
        values["at"] = words.whole("a relative sequence number", 0, 2**32 - 1)
    elif words.took("ack"):
        values["ack"] = words.whole("octets acknowledged", 0, 2**32 - 1)
    elif words.took("window"):
        values["window"] = words.whole("a window", 0, 65535)
    elif word in OPTIONS:
        name = words.take("an option")
        values["options"].append(OptionWords(name=name, words=_words_of(words, name)))
    else:
        own = "map, no map, no dss, data_ack, no data_ack, data_fin, mp_capable, spoiled, flags, at, ack, window"
        raise words.error(f"{word!r} is no part of a segment; there are {own} and the options {', '.join(OPTIONS)}")


def _map(words: Words) -> Map:
    values: dict[str, Any] = {"octets": words.octets("what is mapped")}
    while True:
        if words.took("at"):
            values["ssn"] = words.whole("a subflow sequence number", 0, 2**32 - 1)
        elif words.took("dsn"):
            values["dsn_octets"] = int(words.one_of("the width of the DSN", ("4", "8")))
        elif words.took("checksum"):
            values["checksum"] = words.one_of("a checksum", ("ok", "bad", "none"))
        elif words.took("data_fin"):
            values["data_fin"] = True
        else:
            return Map(**values)


def _flags(words: Words) -> int:
    letters = words.take("flags")
    if not set(letters) <= set(_LETTERS):
        raise words.error(f"flags are letters of {''.join(_LETTERS)}, not {letters!r}")
    return sum(_LETTERS[letter] for letter in sorted(set(letters)))


def _words_of(words: Words, name: str) -> tuple[str, ...]:
    """What stands behind the name of an option."""
    if name == "mp_prio":
        return ("backup",) if words.took("backup") else ()
    if name == "mp_fastclose":
        return ("bad",) if words.took("bad", "key") else ()
    if name == "mp_tcprst":
        reason = str(words.whole("a reason", 0, 15))
        return (reason, "transient") if words.took("transient") else (reason,)
    if name == "mp_fail":
        return (str(words.whole("an octet", 1)),)
    if name == "option":
        return (_hex(words),)
    if name == "add_addr":
        return _add_addr(words)
    found: list[str] = []
    what = "octets" if name == "sack" else "an address id"
    while not found or (words.is_octets() if name == "sack" else words.is_number()):
        if name == "sack":
            run = words.octets(what)
            found.append(f"{run.first}-{run.last}")
        else:
            found.append(str(words.whole(what, 0, 255)))
    return tuple(found)


def _add_addr(words: Words) -> tuple[str, ...]:
    found = [str(words.whole("an address id", 0, 255)), words.take("an address")]
    if words.took("port"):
        found.append(f"port={words.whole('a port', 1, 65535)}")
    if words.took("bad", "hmac"):
        found.append("bad")
    elif words.took("echo"):
        found.append("echo")
    return tuple(found)


def _hex(words: Words) -> str:
    text = words.take("the octets of an option")
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        raise words.error(f"an option is written in hexadecimal, kind and length first, not {text!r}") from None
    if len(octets) < 2 or octets[1] != len(octets):
        raise words.error(f"the second octet of an option is its length; {text} has {len(octets)} octets")
    return text
