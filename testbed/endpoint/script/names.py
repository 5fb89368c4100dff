"""What a scripted peer can observe: every name with its meaning and unit. Those of subflows end in ``.sf1`` and so on.

A number that never came to be (the reason of a reset that was not heard) is null, and fulfils no condition.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Set

OF_CONNECTION: Mapping[str, tuple[str, str]] = {
    "now": ("ns", "time since the start of the script"),
    "mptcp": ("", "1 when the other end's MP_CAPABLE has told its key"),
    "data_acked": ("bytes", "octets of our data that a DATA_ACK has covered; a DATA_FIN counts as one"),
    "data_ack_octets": ("bytes", "width of the last DATA_ACK: 4 or 8"),
    "received": ("bytes", "octets of the other end's data that have arrived in order"),
    "wrong_octet": ("", "the first of them that is not what the other end was to send"),
    "data_fin": ("", "1 when the other end's DATA_FIN has come"),
    "fastclose": ("", "segments with MP_FASTCLOSE"),
    "mp_fail": ("", "segments with MP_FAIL"),
    "mp_fail_octet": ("", "octet of our data that the last MP_FAIL named"),
    "mp_prio": ("", "segments with MP_PRIO"),
    "add_addr": ("", "segments with ADD_ADDR that are no echo"),
    "add_addr_echo": ("", "segments with an echo of ADD_ADDR"),
    "remove_addr": ("", "segments with REMOVE_ADDR"),
    "infinite_maps": ("", "segments with an infinite mapping"),
    "private_options": ("", "segments with an MPTCP option of unknown subtype"),
    "resets": ("", "segments with RST, on any subflow"),
    "strays": ("", "segments of no subflow of the script"),
    "timeouts": ("", "waits whose condition did not come true in time"),
}
"""Name -> unit, meaning."""

OF_SUBFLOW: Mapping[str, tuple[str, str]] = {
    "syn": ("", "SYNs and SYN/ACKs heard"),
    "established": ("", "1 when the handshake is through at this end"),
    "mptcp": ("", "1 when the other end's part of the handshake carried MPTCP"),
    "reset": ("", "1 when an RST has come"),
    "resets": ("", "RSTs heard"),
    "reset_reason": ("", "reason of the first MP_TCPRST"),
    "reset_transient": ("", "its T flag"),
    "reset_time": ("ns", "when the first RST came, since the start of the script"),
    "acked": ("bytes", "octets of our payload that were acknowledged on the subflow"),
    "segments": ("", "segments heard"),
    "data_segments": ("", "segments with payload"),
    "octets": ("bytes", "of payload, repeated ones included"),
    "received": ("bytes", "octets of payload in order"),
    "repeated": ("", "segments whose sequence numbers had all been heard"),
    "acks": ("", "segments without payload, SYN, FIN and RST"),
    "bare_acks": ("", "those of them without any MPTCP option"),
    "bare_data": ("", "segments with payload and without any MPTCP option"),
    "data_acks": ("", "segments with a DATA_ACK"),
    "maps": ("", "segments with a mapping of data"),
    "checksums": ("", "mappings with a checksum"),
    "sack_blocks": ("", "SACK blocks on the last segment"),
    "sack_blocks_max": ("", "most SACK blocks on a segment"),
    "option_octets_max": ("bytes", "largest option area"),
    "fin": ("", "1 when the FIN has come"),
    "window": ("bytes", "the last window, scaled"),
    "last": ("ns", "when the last segment came, since the start of the script"),
}
"""Name -> unit, meaning."""

_SUBFLOW = re.compile(r"sf([1-9][0-9]?)")
_OWN = re.compile(r"[a-z][a-z0-9_]*(\.sf[1-9][0-9]?)?")


class NameOfNothing(ValueError):
    """No such observation; the message lists near ones."""


def subflow_number(word: str) -> int | None:
    """``sf2`` -> 2; None when it is no subflow."""
    found = _SUBFLOW.fullmatch(word)
    return int(found[1]) if found else None


def check(text: str, kept: Set[str]) -> None:
    """Whether there is something of that name. Raises NameOfNothing."""
    name, _, subflow = text.partition(".")
    known = OF_SUBFLOW if subflow else OF_CONNECTION
    if text in kept or (name in known and (not subflow or subflow_number(subflow) is not None)):
        return
    names = [*OF_CONNECTION, *(f"{each}.{subflow or 'sf1'}" for each in OF_SUBFLOW), *kept]
    near = difflib.get_close_matches(text, names, n=4, cutoff=0.4)
    raise NameOfNothing(f"nothing is observed under {text!r}" + (f"; near: {', '.join(near)}" if near else ""))


def check_own(text: str) -> None:
    """Whether a script may keep a value under that name. Raises NameOfNothing."""
    name, _, subflow = text.partition(".")
    if not _OWN.fullmatch(text):
        raise NameOfNothing(f"a name is lower-case letters, digits and '_', not {text!r}")
    if name in (OF_SUBFLOW if subflow else OF_CONNECTION):
        raise NameOfNothing(f"{text} is observed by itself: keep the value under another name")


def unit_of(text: str) -> str:
    """Of the value; empty for counts, and for what a script names itself."""
    name, _, subflow = text.partition(".")
    return (OF_SUBFLOW if subflow else OF_CONNECTION).get(name, ("", ""))[0]
