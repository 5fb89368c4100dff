"""From the link header of each packet to its network header: where it begins, and which protocol it is.

Link types as in draft-ietf-opsawg-pcaplinktype. What is behind an encapsulation that is not a VLAN tag (MPLS, PPPoE,
tunnels) is not looked at; the packet is counted with that reason.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture import reasons
from analysis.capture.octets import Octets, Places

Codes = NDArray[np.int32]

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_PPP: Final = 9
LINK_PPP_HDLC: Final = 50
LINK_RAW: Final = (12, 14, 101)
"""LINKTYPE_RAW is 101; 12 and 14 are what some systems wrote for it."""
LINK_LOOP: Final = 108
LINK_LINUX_SLL: Final = 113
LINK_IPV4: Final = 228
LINK_IPV6: Final = 229
LINK_LINUX_SLL2: Final = 276

_VLAN_TAGS: Final = (0x8100, 0x88A8, 0x9100, 0x9200)
"""802.1Q, 802.1ad, and what was used for outer tags before 802.1ad."""
_LARGEST_LENGTH: Final = 1500
"""Up to this an Ethernet type field is an 802.3 length, and 802.2 LLC follows."""
_ARPHRD_NETLINK: Final = 824
"""Its protocol field is a netlink family."""
_FAMILY_IPV4: Final = 2
_FAMILIES_IPV6: Final = (10, 24, 28, 30)
"""AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin."""

_U1: Final[np.dtype[Any]] = np.dtype("u1")
_U2: Final[np.dtype[Any]] = np.dtype(">u2")
_U4: Final[np.dtype[Any]] = np.dtype(">u4")


def locate_network(octets: Octets, offset: Places, end: Places, link: NDArray[Any]) -> tuple[Places, Codes]:
    """(where each network header begins, its ethertype or the reason why there is none).

    ``offset``, ``end``: of the captured octets of each packet.
    """
    if not len(offset):
        return offset, np.empty(0, dtype=np.int32)
    first = int(link[0])
    if (link == first).all():
        return _of_one_link(octets, offset, end, first)
    network = offset.copy()
    codes = np.empty(len(offset), dtype=np.int32)
    for one in np.unique(link):
        rows = np.flatnonzero(link == one)
        network[rows], codes[rows] = _of_one_link(octets, offset[rows], end[rows], int(one))
    return network, codes


def _of_one_link(octets: Octets, offset: Places, end: Places, link: int) -> tuple[Places, Codes]:
    if link == LINK_ETHERNET:
        return _ethertype(octets, offset + 14, offset + 12, end)
    if link == LINK_LINUX_SLL:
        return _cooked(octets, offset + 16, offset + 14, offset + 2, end)
    if link == LINK_LINUX_SLL2:
        return _cooked(octets, offset + 20, offset, offset + 8, end)
    if link in LINK_RAW:
        return _raw(octets, offset, end)
    if link in (LINK_IPV4, LINK_IPV6):
        kind = reasons.ETHERTYPE_IPV4 if link == LINK_IPV4 else reasons.ETHERTYPE_IPV6
        return offset, np.full(len(offset), kind, dtype=np.int32)
    if link in (LINK_NULL, LINK_LOOP):
        return _loopback(octets, offset, end)
    if link in (LINK_PPP, LINK_PPP_HDLC):
        return _ppp(octets, offset, end, link)
    return offset, np.full(len(offset), reasons.LINK_TYPE + (link & 0xFFFF), dtype=np.int32)


def _ethertype(octets: Octets, network: Places, at: Places, end: Places) -> tuple[Places, Codes]:
    """From an ethertype at ``at``, past VLAN tags, which stand in front of the network header."""
    codes = octets.take(_U2, at).astype(np.int32)
    codes[network > end] = reasons.CUT_LINK
    if (codes == reasons.ETHERTYPE_IPV4).all():
        return network, codes
    rows = np.flatnonzero(np.isin(codes, _VLAN_TAGS))
    while len(rows):
        inner = network[rows] + 4
        network[rows] = inner
        found = octets.take(_U2, inner - 2).astype(np.int32)
        found[inner > end[rows]] = reasons.CUT_LINK
        codes[rows] = found
        rows = rows[np.isin(found, _VLAN_TAGS)]
    codes[codes <= _LARGEST_LENGTH] = reasons.LLC
    return network, codes


def _cooked(octets: Octets, network: Places, at: Places, device: Places, end: Places) -> tuple[Places, Codes]:
    """Linux cooked captures: the protocol is an ethertype, except with devices that have none."""
    kept = network.copy()
    network, codes = _ethertype(octets, network, at, end)
    codes[(octets.take(_U2, device) == _ARPHRD_NETLINK) & (kept <= end)] = reasons.NOT_ETHERTYPE
    return network, codes


def _raw(octets: Octets, offset: Places, end: Places) -> tuple[Places, Codes]:
    version = octets.take(_U1, offset) >> 4
    codes = np.full(len(offset), reasons.MALFORMED_IP, dtype=np.int32)
    codes[version == 4] = reasons.ETHERTYPE_IPV4
    codes[version == 6] = reasons.ETHERTYPE_IPV6
    codes[offset >= end] = reasons.CUT_LINK
    return offset, codes


def _loopback(octets: Octets, offset: Places, end: Places) -> tuple[Places, Codes]:
    """BSD: the address family in four octets, of NULL in the order of the machine that captured."""
    family = octets.take(_U4, offset).astype(np.uint32)
    swapped = family > 0xFFFF
    family[swapped] = family[swapped].byteswap()
    codes = (reasons.FAMILY + (family & 0xFFFF)).astype(np.int32)
    codes[family == _FAMILY_IPV4] = reasons.ETHERTYPE_IPV4
    codes[np.isin(family, _FAMILIES_IPV6)] = reasons.ETHERTYPE_IPV6
    network = offset + 4
    codes[network > end] = reasons.CUT_LINK
    return network, codes


def _ppp(octets: Octets, offset: Places, end: Places, link: int) -> tuple[Places, Codes]:
    """RFC 1661 section 2, RFC 1662 section 3.1: address and control (ff 03) may be left out, and the first octet of
    the protocol, of which the last is odd and the others even."""
    at = offset + 2 * ((octets.take(_U2, offset) == 0xFF03) & (offset + 2 <= end))
    cisco = np.zeros(len(offset), dtype=np.bool_)
    if link == LINK_PPP_HDLC:
        cisco = np.isin(octets.take(_U1, offset), (0x0F, 0x8F))
        at[cisco] += 2
    number = octets.take(_U2, at).astype(np.int32)
    short = (number & 0x0100 != 0) & ~cisco
    number[short] >>= 8
    network = at + 2 - short
    codes = number + reasons.PPP_PROTOCOL
    codes[number == 0x0021] = reasons.ETHERTYPE_IPV4
    codes[number == 0x0057] = reasons.ETHERTYPE_IPV6
    codes[cisco] = number[cisco]
    codes[network > end] = reasons.CUT_LINK
    return network, codes
