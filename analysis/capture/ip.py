"""From the network header of each packet to its TCP header, over IPv4 options and IPv6 extension headers.

Sources: RFC 791, RFC 8200, RFC 2675 (jumbograms), RFC 4302 (AH). The length of the segment is what IP says, never what
the frame has room for (Ethernet pads), but at most what was on the wire (captures cut by hand). A length of 0 is a
super-segment that the length field cannot tell (Linux's BIG TCP): the wire length stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture import reasons
from analysis.capture.octets import Octets, Places

_TCP: Final = 6
_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_DESTINATION_OPTIONS: Final = 60
_EXTENSIONS: Final = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION_OPTIONS)
_JUMBO: Final = 0xC2
"""Option of the hop-by-hop header (RFC 2675 section 2)."""

_IPV4: Final[np.dtype[Any]] = np.dtype(
    {
        "names": ["version", "tos", "length", "fragment", "ttl", "protocol", "ends"],
        "formats": ["u1", "u1", ">u2", ">u2", "u1", "u1", "u8"],
        "offsets": [0, 1, 2, 6, 8, 9, 12],
        "itemsize": 20,
    }
)
_IPV6: Final[np.dtype[Any]] = np.dtype(
    {
        "names": ["class", "length", "following", "hops", "ends"],
        "formats": [">u2", ">u2", "u1", "u1", ("u8", (4,))],
        "offsets": [0, 4, 6, 7, 8],
        "itemsize": 40,
    }
)
_EXTENSION: Final[np.dtype[Any]] = np.dtype(
    [("following", "u1"), ("length", "u1"), ("fragment", ">u2"), ("rest", "V4")]
)
_OPTION: Final[np.dtype[Any]] = np.dtype([("type", "u1"), ("length", "u1"), ("jumbo", ">u4")])


@dataclass(slots=True)
class Located:
    """TCP headers of packets of one version of IP."""

    reason: NDArray[np.int32]
    """TCP, or why it is not."""
    transport: Places
    """Where the TCP header begins."""
    segment: NDArray[np.int64]
    """Octets of TCP header and payload on the wire."""
    ends: NDArray[np.uint64]
    """Addresses, as they are in memory: shape (packets, 1) for IPv4, (packets, 4) for IPv6."""
    ttl: NDArray[np.uint8]
    traffic_class: NDArray[np.uint8]
    fragment: NDArray[np.bool_]
    """The first of several fragments."""


def locate_ipv4(octets: Octets, network: Places, captured: NDArray[Any], wire: NDArray[Any]) -> Located:
    """``captured``, ``wire``: octets from the network header on."""
    header = octets.take(_IPV4, network)
    version = header["version"]
    size = ((version & 0x0F) << 2).astype(np.int64)
    length = header["length"].astype(np.int64)
    told = length != 0
    length = np.minimum(np.where(told, length, wire), wire)
    fragment = header["fragment"] & 0x3FFF
    protocol = header["protocol"]
    reason = np.full(len(network), reasons.TCP, dtype=np.int32)
    plain = (version == 0x45) & (protocol == _TCP) & (fragment == 0) & (captured >= 20) & (length >= 20)
    if not plain.all():
        other = protocol != _TCP
        reason[other] = reasons.PROTOCOL + protocol[other].astype(np.int32)
        reason[fragment & 0x1FFF != 0] = reasons.LATER_FRAGMENT
        reason[(version >> 4 != 4) | (size < 20) | (told & (header["length"] < size))] = reasons.MALFORMED_IP
        reason[(captured < 20) | (reason == reasons.TCP) & (captured < size)] = reasons.CUT_IP
    return Located(
        reason,
        network + size,
        np.maximum(length - size, 0),
        header["ends"].reshape(-1, 1),
        header["ttl"],
        header["tos"],
        fragment == 0x2000,
    )


def locate_ipv6(octets: Octets, network: Places, captured: NDArray[Any], wire: NDArray[Any]) -> Located:
    """``captured``, ``wire``: octets from the network header on."""
    header = octets.take(_IPV6, network)
    told = header["length"]
    length = np.minimum(np.where(told != 0, told.astype(np.int64) + 40, wire), wire)
    following = header["following"].copy()
    word = header["class"]
    size = np.full(len(network), 40, dtype=np.int64)
    reason = np.full(len(network), reasons.TCP, dtype=np.int32)
    first_fragment = np.zeros(len(network), dtype=np.bool_)
    reason[word >> 12 != 6] = reasons.MALFORMED_IP
    reason[captured < 40] = reasons.CUT_IP
    if not ((following == _TCP) & (reason == reasons.TCP)).all():
        rows = np.flatnonzero(np.isin(following, _EXTENSIONS) & (reason == reasons.TCP))
        jumbo = rows[(following[rows] == _HOP_BY_HOP) & (told[rows] == 0)]
        if len(jumbo):
            claimed = _jumbo_lengths(octets, network[jumbo] + 40, captured[jumbo] - 40)
            length[jumbo] = np.where(claimed != 0, np.minimum(claimed + 40, wire[jumbo]), length[jumbo])
        while len(rows):
            rows = _pass_extension(octets, network, captured, length, rows, size, following, reason, first_fragment)
        other = (following != _TCP) & (reason == reasons.TCP)
        reason[other] = reasons.PROTOCOL + following[other].astype(np.int32)
    return Located(
        reason,
        network + size,
        np.maximum(length - size, 0),
        header["ends"],
        header["hops"],
        (word >> 4).astype(np.uint8),
        first_fragment,
    )


def _pass_extension(
    octets: Octets,
    network: Places,
    captured: NDArray[Any],
    length: NDArray[np.int64],
    rows: Places,
    size: NDArray[np.int64],
    following: NDArray[np.uint8],
    reason: NDArray[np.int32],
    first_fragment: NDArray[np.bool_],
) -> Places:
    """Go past one extension header of each of these packets; gives those that have another one."""
    here = size[rows]
    reason[rows[here + 8 > captured[rows]]] = reasons.CUT_IP
    reason[rows[here + 8 > length[rows]]] = reasons.MALFORMED_IP
    rows = rows[reason[rows] == reasons.TCP]
    here = size[rows]
    extension = octets.take(_EXTENSION, network[rows] + here)
    kind = following[rows]
    units = extension["length"].astype(np.int64)
    step = 8 * units + 8
    step[kind == _AUTHENTICATION] = 4 * units[kind == _AUTHENTICATION] + 8
    step[kind == _FRAGMENT] = 8
    place = np.where(kind == _FRAGMENT, extension["fragment"], 0)
    first_fragment[rows[(place & 1 != 0) & (place & 0xFFF8 == 0)]] = True
    reason[rows[place & 0xFFF8 != 0]] = reasons.LATER_FRAGMENT
    following[rows] = extension["following"]
    size[rows] = here + step
    reason[rows[(here + step > length[rows]) & (reason[rows] == reasons.TCP)]] = reasons.MALFORMED_IP
    reason[rows[(here + step > captured[rows]) & (reason[rows] == reasons.TCP)]] = reasons.CUT_IP
    more: NDArray[np.bool_] = np.isin(following[rows], _EXTENSIONS) & (reason[rows] == reasons.TCP)
    return rows[more]


def _jumbo_lengths(octets: Octets, header: Places, captured: NDArray[Any]) -> NDArray[np.int64]:
    """The payload length in the hop-by-hop header of each of these packets; 0 where it has none."""
    claimed = np.zeros(len(header), dtype=np.int64)
    rows = np.flatnonzero(captured >= 8)
    size = np.zeros(len(header), dtype=np.int64)
    size[rows] = 8 * octets.take(_EXTENSION, header[rows])["length"].astype(np.int64) + 8
    stop = np.minimum(size, captured)
    at = np.full(len(header), 2, dtype=np.int64)
    while len(rows):
        rows = rows[at[rows] + 1 < stop[rows]]
        option = octets.take(_OPTION, header[rows] + at[rows])
        padding = option["type"] == 0
        found = (option["type"] == _JUMBO) & (option["length"] == 4) & (at[rows] + 6 <= stop[rows])
        claimed[rows[found]] = option["jumbo"][found]
        at[rows] += np.where(padding, 1, option["length"].astype(np.int64) + 2)
        rows = rows[~found]
    return claimed
