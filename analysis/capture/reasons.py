"""Why a packet is no row of the batch: one number for each reason, so that they can be counted by the million.

Below 2^16 the number is an ethertype: the link layer's way to say what follows it.
"""

from __future__ import annotations

from typing import Final

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD

TCP: Final = -1
"""No reason: the packet is a row."""

PROTOCOL: Final = 0x1_0000
"""+ IP protocol number."""
LINK_TYPE: Final = 0x2_0000
"""+ LINKTYPE that this reader does not know."""
PPP_PROTOCOL: Final = 0x3_0000
"""+ PPP protocol."""
FAMILY: Final = 0x4_0000
"""+ address family of a BSD loopback header (the lower 16 bits)."""
CUT_LINK: Final = 0x5_0000
CUT_IP: Final = 0x5_0001
CUT_TCP: Final = 0x5_0002
MALFORMED_IP: Final = 0x5_0003
MALFORMED_TCP: Final = 0x5_0004
LATER_FRAGMENT: Final = 0x5_0005
LLC: Final = 0x5_0006
NOT_ETHERTYPE: Final = 0x5_0007

_WORDS: Final = {
    CUT_LINK: "cut before the network header",
    CUT_IP: "cut in the IP header",
    CUT_TCP: "cut before the TCP ports",
    MALFORMED_IP: "malformed IP header",
    MALFORMED_TCP: "too short for a TCP header",
    LATER_FRAGMENT: "fragment after the first",
    LLC: "802.2 LLC",
    NOT_ETHERTYPE: "device without ethertypes",
}
_ETHERTYPES: Final = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x88CC: "LLDP",
    0x8847: "MPLS",
    0x8848: "MPLS",
    0x8863: "PPPoE",
    0x8864: "PPPoE",
    0x888E: "802.1X",
    0x88E5: "MACsec",
}
_PROTOCOLS: Final = {
    0: "IPv6 hop-by-hop header out of place",
    1: "ICMP",
    2: "IGMP",
    4: "IPv4 in IP",
    17: "UDP",
    41: "IPv6 in IP",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    59: "IPv6 without next header",
    88: "EIGRP",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
    132: "SCTP",
}


def reason_in_words(code: int) -> str:
    """For people and as a key of ``Counts.not_tcp``."""
    word = _WORDS.get(code)
    if word is not None:
        return word
    number = code & 0xFFFF
    if code >= FAMILY:
        return f"address family {number}"
    if code >= PPP_PROTOCOL:
        return f"PPP protocol 0x{number:04x}"
    if code >= LINK_TYPE:
        return f"link type {number}"
    if code >= PROTOCOL:
        return _PROTOCOLS.get(number, f"IP protocol {number}")
    return _ETHERTYPES.get(number, f"ethertype 0x{number:04x}")
