"""The words of ``testbed options``: ``timestamps dss:ack8,dsn8 sack:3 add_addr:v6,port`` -> a question."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace

from testbed.mptcp.option_calculator import BY_POLICY, SEGMENTS, DssForm, Question, SegmentKind
from testbed.wire.options import (
    AddAddr,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MptcpOption,
    MpTcprst,
    RemoveAddr,
)

WORDS: dict[str, str] = {
    "timestamps": "10 octets",
    "sack:N": "N blocks, 1 to 4; without N: 4",
    "dss:FORM": "ack4 or ack8, dsn4 or dsn8, csum; ack and dsn: as wide as the profile has them; without FORM: both",
    "add_addr:FORM": "v4 or v6, port, echo",
    "remove_addr:N": "N addresses",
    "mp_prio, mp_fail, mp_fastclose, mp_tcprst": "the last on an RST only",
    "mp_capable:FORM": "syn, syn-ack, ack, data; csum; without FORM: that of the segment",
    "mp_join:FORM": "syn, syn-ack, ack",
    "mss, window_scale, sack_permitted": "on a SYN only",
    "fast_open:N": "a cookie of N octets, 4 to 16; 0: a request; without N: 8",
}
"""What there is, for the help and for errors."""

ALIASES = {"ts": "timestamps", "ws": "window_scale", "wscale": "window_scale", "sackok": "sack_permitted"}
SYN_WORDS = frozenset({"mss", "window_scale", "sack_permitted", "fast_open"})
SIGNALS = frozenset({"add_addr", "remove_addr", "mp_prio", "mp_fail", "mp_fastclose", "mp_tcprst"})
NAMES = ("timestamps", "sack", "dss", "mp_capable", "mp_join", *sorted(SIGNALS), *sorted(SYN_WORDS))


class WordError(ValueError):
    """A word that says nothing, with what could have been meant."""


@dataclass(slots=True)
class _Word:
    text: str
    name: str
    details: list[str] = field(default_factory=list)

    def take(self, *allowed: str) -> str | None:
        """The one of the allowed details that was given; WordError for two of them."""
        found = [detail for detail in self.details if detail in allowed]
        if len(found) > 1:
            raise WordError(f"{self.text}: {found[0]} and {found[1]} exclude each other")
        if found:
            self.details.remove(found[0])
        return found[0] if found else None

    def number(self, default: int, least: int, most: int) -> int:
        """The number that is the only detail."""
        if not self.details:
            return default
        text = self.details.pop(0)
        if not text.isdecimal() or not least <= int(text) <= most:
            raise WordError(f"{self.text}: {text!r} is not a number from {least} to {most}")
        return int(text)

    def done(self, *known: str) -> None:
        """WordError when details are left that nobody knows."""
        if self.details:
            near = difflib.get_close_matches(self.details[0], known, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            there = f"there are {', '.join(known)}" if known else "nothing goes there"
            raise WordError(f"{self.text}: {self.details[0]!r} is not known, {there}{hint}")


def question(words: list[str], segment: SegmentKind | None = None) -> Question:
    """What the words ask for; the segment follows from them unless it is given. Raises WordError."""
    parsed = [_parse(word) for word in words]
    names = [word.name for word in parsed]
    for name in names:
        if names.count(name) > 1:
            raise WordError(f"{name}: once is enough, a segment has at most one")
    kind = segment or _segment_of(parsed)
    asked = Question(segment=kind)
    for word in parsed:
        _check_place(word, kind)
        asked = _added(asked, word)
    if asked.handshake is not None and asked.dss is not None:
        raise WordError(
            f"{'mp_capable' if isinstance(asked.handshake, MpCapable) else 'mp_join'} stands in place of dss"
        )
    return asked


def _parse(text: str) -> _Word:
    name, _, rest = text.strip().lower().replace("-", "_").partition(":")
    name = ALIASES.get(name, name)
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.4) or NAMES
        raise WordError(f"there is no option {name!r}; near ones: {', '.join(near)}")
    details = [
        detail for detail in rest.replace("syn_ack", "syn-ack").replace("synack", "syn-ack").split(",") if detail
    ]
    return _Word(text, name, details)


def _segment_of(words: list[_Word]) -> SegmentKind:
    """A SYN when something is there that stands on a SYN only; data when a mapping or data is; else a pure ACK."""
    for word in words:
        if word.name in ("mp_capable", "mp_join"):
            for kind in SEGMENTS:
                if kind in word.details:
                    return kind
    names = {word.name for word in words}
    if names & SYN_WORDS or names & {"mp_capable", "mp_join"}:
        return "syn"
    if "mp_tcprst" in names:
        return "rst"
    dss = next((word for word in words if word.name == "dss"), None)
    maps = dss is not None and (not dss.details or any(detail.startswith("dsn") for detail in dss.details))
    return "data" if maps else "ack"


def _check_place(word: _Word, kind: SegmentKind) -> None:
    is_syn = kind in ("syn", "syn-ack")
    if word.name in SYN_WORDS and not is_syn:
        raise WordError(f"{word.text}: stands on a SYN only, not on a segment of kind {kind}")
    if (word.name in SIGNALS or word.name in ("sack", "dss")) and is_syn:
        raise WordError(f"{word.text}: never stands on a SYN")
    if kind == "rst" and word.name not in ("mp_fail", "mp_fastclose", "mp_tcprst"):
        raise WordError(f"{word.text}: an RST carries mp_fastclose or mp_fail, and mp_tcprst")
    if word.name == "mp_tcprst" and kind != "rst":
        raise WordError(f"{word.text}: stands on an RST only")


def _added(asked: Question, word: _Word) -> Question:
    match word.name:
        case "timestamps":
            word.done()
            return replace(asked, timestamps=True)
        case "sack":
            blocks = word.number(4, 1, 4)
            word.done()
            return replace(asked, sack_blocks=blocks)
        case "dss":
            return replace(asked, dss=_dss(word))
        case "mp_capable" | "mp_join":
            return replace(asked, handshake=_handshake(word, asked.segment))
        case "mss":
            word.done()
            return replace(asked, mss=True)
        case "window_scale":
            word.done()
            return replace(asked, window_scale=True)
        case "sack_permitted":
            word.done()
            return replace(asked, sack_permitted=True)
        case "fast_open":
            octets = word.number(8, 0, 16)
            if 0 < octets < 4:
                raise WordError(f"{word.text}: a cookie has 4 to 16 octets (RFC 7413)")
            word.done()
            return replace(asked, cookie_octets=octets)
    return replace(asked, signals=(*asked.signals, _signal(word)))


def _dss(word: _Word) -> DssForm:
    if not word.details:
        return DssForm(ack_octets=BY_POLICY, dsn_octets=BY_POLICY)
    octets = {None: 0, "ack": BY_POLICY, "ack4": 4, "ack8": 8, "dsn": BY_POLICY, "dsn4": 4, "dsn8": 8}
    ack, dsn = word.take("ack", "ack4", "ack8"), word.take("dsn", "dsn4", "dsn8")
    checksum = word.take("csum", "checksum") is not None
    word.done("ack4", "ack8", "dsn4", "dsn8", "csum")
    if checksum and not dsn:
        raise WordError(f"{word.text}: a checksum belongs to a mapping, such as dsn8")
    return DssForm(ack_octets=octets[ack], dsn_octets=octets[dsn], checksum=checksum)


def _handshake(word: _Word, segment: SegmentKind) -> MptcpOption:
    if word.name == "mp_join":
        form = word.take("syn", "syn-ack", "ack") or segment
        word.done("syn", "syn-ack", "ack")
        _same(word, form, segment)
        if form == "syn":
            return MpJoin(token=1, nonce=1)
        return MpJoin(nonce=1, hmac=bytes(8)) if form == "syn-ack" else MpJoin(hmac=bytes(20))
    form = word.take("syn", "syn-ack", "ack", "data") or segment
    checksum = word.take("csum", "checksum") is not None
    word.done("syn", "syn-ack", "ack", "data", "csum")
    _same(word, form, segment)
    if checksum and form != "data":
        raise WordError(f"{word.text}: the checksum is on the MP_CAPABLE that maps data")
    if form == "syn":
        return MpCapable()
    if form == "syn-ack":
        return MpCapable(sender_key=1)
    length = 1400 if form == "data" else None
    return MpCapable(sender_key=1, receiver_key=1, data_length=length, checksum=0 if checksum else None)


def _same(word: _Word, form: str, segment: str) -> None:
    if form != segment and not (word.name == "mp_join" and segment == "data" and form == "ack"):
        raise WordError(f"{word.text}: this form is not that of a segment of kind {segment}")


def _signal(word: _Word) -> MptcpOption:
    if word.name == "add_addr":
        family, port, echo = word.take("v4", "v6"), word.take("port"), word.take("echo")
        word.done("v4", "v6", "port", "echo")
        return AddAddr(1, bytes(16 if family == "v6" else 4), 1 if port else None, None if echo else bytes(8))
    if word.name == "remove_addr":
        count = word.number(1, 1, 8)
        word.done()
        return RemoveAddr(tuple(range(1, count + 1)))
    word.done()
    plain = {"mp_prio": MpPrio(True), "mp_fail": MpFail(1), "mp_fastclose": MpFastclose(1)}
    return plain[word.name] if word.name in plain else MpTcprst()
