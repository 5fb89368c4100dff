"""MPTCP's signals, one row each: what MP_CAPABLE, MP_JOIN, ADD_ADDR, REMOVE_ADDR, MP_PRIO, MP_FAIL, MP_TCPRST and
MP_FASTCLOSE said, in both versions (RFC 8684 section 3, RFC 6824 section 3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from analysis.capture import handshake, tables
from analysis.capture.stretch import Stretch
from analysis.capture.writing import table_of

NAMES: Final = {
    0: "MP_CAPABLE",
    1: "MP_JOIN",
    3: "ADD_ADDR",
    4: "REMOVE_ADDR",
    5: "MP_PRIO",
    6: "MP_FAIL",
    7: "MP_FASTCLOSE",
    8: "MP_TCPRST",
}
_DSS: Final = 2
_ADDRESSES: Final = {4: 4, 6: 16}
_HMAC: Final = 8


class Signals:
    """The table ``mptcp_events``, as it grows."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []

    def take(self, stretch: Stretch) -> None:
        """The next stretch."""
        part = table_of(tables.MPTCP_EVENTS, events(stretch))
        if part.num_rows:
            self._parts.append(part)

    def table(self) -> pa.Table:
        """All of them."""
        return pa.concat_tables(self._parts or [table_of(tables.MPTCP_EVENTS, ())])


def events(stretch: Stretch) -> Iterator[dict[str, Any]]:
    """Rows of the table ``mptcp_events``, in the order of packets."""
    batch, rare = stretch.batch, stretch.batch.rare
    chosen = (rare.kind == handshake.KIND_MPTCP) & (rare.subtype != _DSS) & (stretch.stream[rare.row] >= 0)
    chosen &= rare.size > 2  # a damaged one may end before its subtype
    for number in np.flatnonzero(chosen).tolist():
        row = int(rare.row[number])
        octets = rare.octets[number, : rare.size[number]].tobytes()
        stream = int(stretch.stream[row])
        yield {
            "connection": int(stretch.flux[row]) // 2,
            "subflow": stream // 2,
            "direction": stream % 2,
            "frame": int(batch.frame[row]),
            "time_ns": _time(int(batch.time_ns[row])),
            "option": NAMES.get(octets[2] >> 4, f"subtype {octets[2] >> 4}"),
            "octets": octets.hex(),
            **fields(octets),
        }


def fields(octets: bytes) -> dict[str, Any]:
    """What an option of kind 30 other than DSS says; empty where its length does not fit."""
    if len(octets) < 3:
        return {}
    match octets[2] >> 4:
        case 0:
            return _capable(octets)
        case 1:
            return _join(octets)
        case 3:
            return _add_addr(octets)
        case 4:
            return {"address_ids": " ".join(str(octet) for octet in octets[3:])} if len(octets) > 3 else {}
        case 5 if len(octets) in (3, 4):
            said: dict[str, Any] = {"backup": bool(octets[2] & 1)}
            return said | ({"address_ids": str(octets[3])} if len(octets) == 4 else {})
        case 6 if len(octets) == 12:
            return {"dsn": int.from_bytes(octets[4:12], "big")}
        case 7 if len(octets) == 12:
            return {"receiver_key": int.from_bytes(octets[4:12], "big")}
        case 8 if len(octets) == 4:
            return {"transient": bool(octets[2] & 1), "reason": octets[3]}
        case _:
            return {}


def _time(value: int) -> int | None:
    return value if value >= 0 else None


def _capable(octets: bytes) -> dict[str, Any]:
    said = handshake.capable(octets)
    if said is None:
        return {}
    found: dict[str, Any] = {"version": said.version, "checksum": said.checksum}
    if said.sender_key is not None:
        found["sender_key"] = int.from_bytes(said.sender_key, "big")
    if said.receiver_key is not None:
        found["receiver_key"] = int.from_bytes(said.receiver_key, "big")
    if said.data_length is not None:
        found["data_length"] = said.data_length
    return found


def _join(octets: bytes) -> dict[str, Any]:
    said = handshake.join(octets)
    if said is None:
        return {}
    found: dict[str, Any] = {}
    if said.address_id is not None:
        found |= {"address_ids": str(said.address_id), "backup": said.backup}
    if said.token is not None:
        found["token"] = said.token
    if said.nonce is not None:
        found["nonce"] = int.from_bytes(said.nonce, "big")
    if said.hmac is not None:
        found["hmac"] = said.hmac.hex()
    return found


def _add_addr(octets: bytes) -> dict[str, Any]:
    """v0 (RFC 6824 section 3.4.1) has the IP version in the low bits; v1 an echo flag, and an HMAC without it."""
    low = octets[2] & 0x0F
    if len(octets) < 8:
        return {}
    if low in _ADDRESSES:
        hmac, echo, versions = 0, None, [low]
    else:
        echo = bool(low & 1)
        hmac, versions = 0 if echo else _HMAC, [4, 6]
    for version in versions:
        size = _ADDRESSES[version]
        for port in (0, 2):
            if len(octets) != 4 + size + port + hmac:
                continue
            found: dict[str, Any] = {
                "address_ids": str(octets[3]),
                "address": str(ipaddress.ip_address(octets[4 : 4 + size])),
            }
            if port:
                found["port"] = int.from_bytes(octets[4 + size : 6 + size], "big")
            if echo is not None:
                found["echo"] = echo
            if hmac:
                found["hmac"] = octets[-hmac:].hex()
            return found
    return {}
