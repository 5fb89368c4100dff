"""What the capture engine must find in a packet, in plain Python, one packet at a time.

Written from the RFCs and from the words of ``analysis/capture/batch.py``; options are those of :mod:`testbed.wire`.
Shares nothing with the engine but its constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.capture import batch as b
from analysis.capture.batch import Batch, Flow
from analysis.capture.records import SLACK, Records
from testbed.wire import options as o
from testbed.wire.option_codec import decode_option

KNOWN_KINDS = (2, 3, 4, 5, 8, 34)
NAMES = {2: "mss", 3: "window_scale", 4: "sack_permitted", 5: "sack", 8: "timestamps", 34: "fast_open"}
MPTCP_NAMES = {
    0: "mp_capable", 1: "mp_join", 2: "dss", 3: "add_addr", 4: "remove_addr", 5: "mp_prio", 6: "mp_fail",
    7: "mp_fastclose", 8: "mp_tcprst", 15: "private",
}  # fmt: skip
ETHERTYPES = {
    0x0806: "ARP", 0x8035: "RARP", 0x88CC: "LLDP", 0x8847: "MPLS", 0x8848: "MPLS", 0x8863: "PPPoE", 0x8864: "PPPoE",
    0x888E: "802.1X", 0x88E5: "MACsec",
}  # fmt: skip
PROTOCOLS = {
    0: "IPv6 hop-by-hop header out of place", 1: "ICMP", 2: "IGMP", 4: "IPv4 in IP", 17: "UDP", 41: "IPv6 in IP",
    47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 59: "IPv6 without next header", 88: "EIGRP", 89: "OSPF", 103: "PIM",
    112: "VRRP", 115: "L2TP", 132: "SCTP",
}  # fmt: skip


@dataclass
class Frame:
    """What a capture says of one packet."""

    link: int
    data: bytes
    wire: int
    time_ns: int = 0
    interface: int = 0


class NotTcp(Exception):
    """Why the packet is no row."""


@dataclass
class Row:
    """What the batch must say of one packet: the names are its columns."""

    flow: Flow
    ttl: int
    traffic_class: int
    seq: int = 0
    ack: int = 0
    window: int = 0
    flags: int = 0
    tcp_header_octets: int = 0
    payload: int = 0
    tsval: int = 0
    tsecr: int = 0
    dss_bits: int = 0
    dsn: int = 0
    dsn_octets: int = 0
    data_ack: int = 0
    data_ack_octets: int = 0
    dss_ssn: int = 0
    dss_length: int = 0
    dss_checksum: int = 0
    sack_count: int = 0
    status: int = 0
    items: list[tuple[str, int]] = field(default_factory=list)
    area_octets: int = 0
    padding: int = 0
    text: str = ""
    sack: list[tuple[int, int]] = field(default_factory=list)
    rare: list[bytes] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    """Options of which the first counts and has come."""


def dissect_frame(frame: Frame) -> Row:
    """The row of a packet. Raises NotTcp."""
    wire = max(frame.wire, len(frame.data))
    version, start = _network(frame)
    packet = frame.data[start:]
    return _ip(version, packet, wire - start)


def _need(data: bytes, octets: int, reason: str) -> None:
    if len(data) < octets:
        raise NotTcp(reason)


def _network(frame: Frame) -> tuple[int, int]:
    """(IP version, where the network header begins)."""
    data, link = frame.data, frame.link
    cut = "cut before the network header"
    if link == 1:
        _need(data, 14, cut)
        return _ethertype(data, 12)
    if link == 113:
        _need(data, 16, cut)
        if data[2:4] == b"\x03\x38":
            raise NotTcp("device without ethertypes")
        return _ethertype(data, 14)
    if link == 276:
        _need(data, 20, cut)
        if data[8:10] == b"\x03\x38":
            raise NotTcp("device without ethertypes")
        return _ethertype(data, 0, 20)
    if link in (12, 14, 101):
        _need(data, 1, cut)
        if data[0] >> 4 not in (4, 6):
            raise NotTcp("malformed IP header")
        return data[0] >> 4, 0
    if link in (228, 229):
        return (4 if link == 228 else 6), 0
    if link in (0, 108):
        _need(data, 4, cut)
        family = int.from_bytes(data[:4], "big")
        if family > 0xFFFF:
            family = int.from_bytes(data[:4], "little")
        if family == 2:
            return 4, 4
        if family in (10, 24, 28, 30):
            return 6, 4
        raise NotTcp(f"address family {family & 0xFFFF}")
    if link in (9, 50):
        return _ppp(data, link)
    raise NotTcp(f"link type {link}")


def _ethertype(data: bytes, at: int, network: int | None = None) -> tuple[int, int]:
    network = at + 2 if network is None else network
    kind = int.from_bytes(data[at : at + 2], "big")
    while kind in (0x8100, 0x88A8, 0x9100, 0x9200):
        _need(data, network + 4, "cut before the network header")
        kind = int.from_bytes(data[network + 2 : network + 4], "big")
        network += 4
    if kind == 0x0800:
        return 4, network
    if kind == 0x86DD:
        return 6, network
    if kind <= 1500:
        raise NotTcp("802.2 LLC")
    raise NotTcp(ETHERTYPES.get(kind, f"ethertype 0x{kind:04x}"))


def _ppp(data: bytes, link: int) -> tuple[int, int]:
    cut = "cut before the network header"
    _need(data, 1, cut)
    if link == 50 and data[0] in (0x0F, 0x8F):
        _need(data, 4, cut)
        kind = int.from_bytes(data[2:4], "big")
        if kind not in (0x0800, 0x86DD):
            raise NotTcp(ETHERTYPES.get(kind, f"ethertype 0x{kind:04x}"))
        return (4 if kind == 0x0800 else 6), 4
    at = 2 if data[:2] == b"\xff\x03" else 0
    _need(data, at + 1, cut)
    if data[at] & 1:
        protocol, network = data[at], at + 1
    else:
        _need(data, at + 2, cut)
        protocol, network = int.from_bytes(data[at : at + 2], "big"), at + 2
    if protocol == 0x21:
        return 4, network
    if protocol == 0x57:
        return 6, network
    raise NotTcp(f"PPP protocol 0x{protocol:04x}")


def _ip(version: int, packet: bytes, wire: int) -> Row:
    if version == 4:
        _need(packet, 20, "cut in the IP header")
        size = (packet[0] & 15) * 4
        total = int.from_bytes(packet[2:4], "big")
        if packet[0] >> 4 != 4 or size < 20 or (total and total < size):
            raise NotTcp("malformed IP header")
        place = int.from_bytes(packet[6:8], "big")
        if place & 0x1FFF:
            raise NotTcp("fragment after the first")
        if packet[9] != 6:
            raise NotTcp(PROTOCOLS.get(packet[9], f"IP protocol {packet[9]}"))
        _need(packet, size, "cut in the IP header")
        length = min(total or wire, wire)
        flow = Flow(4, packet[12:16], packet[16:20], 0, 0)
        row = Row(flow, packet[8], packet[1])
        fragment = bool(place & 0x2000)
    else:
        _need(packet, 40, "cut in the IP header")
        if packet[0] >> 4 != 6:
            raise NotTcp("malformed IP header")
        size, length, fragment = _ipv6_extensions(packet, wire)
        flow = Flow(6, packet[8:24], packet[24:40], 0, 0)
        row = Row(flow, packet[7], int.from_bytes(packet[:2], "big") >> 4 & 0xFF)
    if fragment:
        row.status |= b.FRAGMENT
    _tcp(row, packet[size:length], max(length - size, 0))
    return row


def _ipv6_extensions(packet: bytes, wire: int) -> tuple[int, int, bool]:
    """(where TCP begins, length of the packet, whether it is a first fragment)."""
    told = int.from_bytes(packet[4:6], "big")
    length = min(told + 40 if told else wire, wire)
    following = packet[6]
    if following == 0 and not told and len(packet) >= 48:
        end = min(40 + 8 + 8 * packet[41], len(packet))
        at = 42
        while at + 1 < end:
            if packet[at] == 0xC2 and packet[at + 1] == 4 and at + 6 <= end:
                claimed = int.from_bytes(packet[at + 2 : at + 6], "big")
                if claimed:
                    length = min(40 + claimed, wire)
                break
            at += 1 if packet[at] == 0 else 2 + packet[at + 1]
    at, fragment = 40, False
    while following in (0, 43, 44, 51, 60):
        if at + 8 > length:
            raise NotTcp("malformed IP header")
        _need(packet, at + 8, "cut in the IP header")
        step = 8 + 8 * packet[at + 1]
        if following == 51:
            step = 8 + 4 * packet[at + 1]
        elif following == 44:
            step = 8
            place = int.from_bytes(packet[at + 2 : at + 4], "big")
            if place & 0xFFF8:
                raise NotTcp("fragment after the first")
            fragment = fragment or bool(place & 1)
        following = packet[at]
        at += step
        if at > length:
            raise NotTcp("malformed IP header")
        _need(packet, at, "cut in the IP header")
    if following != 6:
        raise NotTcp(PROTOCOLS.get(following, f"IP protocol {following}"))
    return at, length, fragment


def _tcp(row: Row, captured: bytes, segment: int) -> None:
    if segment < 20:
        raise NotTcp("too short for a TCP header")
    if len(captured) < 4:
        raise NotTcp("cut before the TCP ports")

    def number(start: int, octets: int) -> int:
        return int.from_bytes(captured[start : start + octets], "big")

    ends = row.flow
    row.flow = Flow(ends.version, ends.source, ends.destination, number(0, 2), number(2, 2))
    if len(captured) < 20:
        row.status |= b.CUT_HEADER
        return
    row.seq, row.ack, row.window = number(4, 4), number(8, 4), number(14, 2)
    row.flags = number(12, 2) & 0x0FFF
    row.tcp_header_octets = size = (captured[12] >> 4) * 4
    if size < 20 or size > segment:
        row.status |= b.MALFORMED_OPTIONS
        return
    row.payload = segment - size
    row.area_octets = size - 20
    _options(row, captured[20:size])


def _options(row: Row, area: bytes) -> None:
    octets = row.area_octets
    at = 0
    words = []
    cut = len(area) < octets
    malformed = False
    while at < len(area):
        kind = area[at]
        if kind == 0:
            row.items.append(("eol", len(area) - at))
            words.append("eol" if len(area) - at == 1 else f"eol:{len(area) - at}")
            row.padding += len(area) - at
            break
        if kind == 1:
            row.items.append(("nop", 1))
            words.append("nop")
            row.padding += 1
            at += 1
            continue
        malformed = at + 1 >= octets or (at + 1 < len(area) and (area[at + 1] < 2 or at + area[at + 1] > octets))
        if malformed or at + 1 >= len(area) or at + area[at + 1] > len(area):
            break
        size = area[at + 1]
        words.append(_option(row, area[at : at + size]))
        at += size
    if cut:
        row.status |= b.CUT_OPTIONS
        words.append("cut")
    if malformed:
        row.status |= b.MALFORMED_OPTIONS
        words.append("malformed")
    row.text = " ".join(words)


def _v0(octets: bytes) -> bool:
    """A form that RFC 6824 has and RFC 8684 has not."""
    kind, low = octets[2] >> 4, octets[2] & 15
    if kind == 3:
        return (low == 4 and len(octets) in (8, 10)) or (low == 6 and len(octets) in (20, 22))
    return kind == 5 and len(octets) == 4


def _option(row: Row, octets: bytes) -> str:
    kind, size = octets[0], octets[1]
    option = decode_option(octets, 0, kind, size)
    name = NAMES.get(kind, f"kind-{kind}")
    bad = isinstance(option, o.Unknown) and kind in KNOWN_KINDS
    if kind == 30 and size >= 3:
        subtype = octets[2] >> 4
        name = MPTCP_NAMES.get(subtype, f"mptcp-{subtype}")
        bad = isinstance(option, o.Unknown) and subtype < 9 and not _v0(octets)
    elif kind == 30:
        bad = True
    row.items.append((name, size))
    word = f"{name}:{size}"
    if bad:
        row.status |= b.BAD_OPTION
    if isinstance(option, o.Timestamps) and "timestamps" not in row.found:
        row.tsval, row.tsecr = option.val, option.ecr
        row.found.add("timestamps")
    elif isinstance(option, o.Sack) and "sack" not in row.found:
        row.sack = list(option.blocks)
        row.sack_count = len(option.blocks)
        row.found.add("sack")
    elif isinstance(option, o.Dss) and not row.dss_bits:
        _dss(row, option, octets[3])
    else:
        if isinstance(option, o.Dss):
            row.dss_bits |= b.DSS_REPEATED
        row.rare.append(octets)
    if name == "dss" and size >= 4:
        flags = octets[3]
        word += "("
        word += ("A8" if flags & 2 else "A4") if flags & 1 else ""
        word += ("M8" if flags & 8 else "M4") if flags & 4 else ""
        ends = 4 + (0 if not flags & 1 else 8 if flags & 2 else 4) + (8 if flags & 8 else 4) + 8
        word += "C" if flags & 4 and size == ends else ""
        word += ("F" if flags & 0x10 else "") + ")"
    return word + ("(bad)" if bad else "")


def _dss(row: Row, option: o.Dss, flags: int) -> None:
    row.dss_bits |= b.DSS_PRESENT | (flags & 0x1F)
    if option.data_ack is not None:
        row.data_ack, row.data_ack_octets = option.data_ack, option.ack_octets
    if option.dsn is not None:
        row.dsn, row.dsn_octets = option.dsn, option.dsn_octets
        row.dss_ssn, row.dss_length = option.ssn, option.length
        if option.checksum is not None:
            row.dss_checksum = option.checksum
            row.dss_bits |= b.DSS_CHECKSUM


def records_of(frames: Sequence[Frame], filler: int = 0xA5, first_frame: int = 1) -> Records:
    """Frames as a chunk; between and behind them lie octets that must never be looked at."""
    buffer = bytearray()
    offsets = []
    for frame in frames:
        buffer += bytes([filler]) * (len(buffer) % 3 + 1)
        offsets.append(len(buffer))
        buffer += frame.data
    buffer += bytes([filler]) * SLACK
    return Records(
        buffer=np.frombuffer(bytes(buffer), dtype=np.uint8),
        offset=np.array(offsets, dtype=np.int64),
        captured=np.array([len(frame.data) for frame in frames], dtype=np.uint32),
        wire=np.array([frame.wire for frame in frames], dtype=np.uint32),
        time_ns=np.array([frame.time_ns for frame in frames], dtype=np.int64),
        interface=np.array([frame.interface for frame in frames], dtype=np.uint16),
        link=np.array([frame.link for frame in frames], dtype=np.uint16),
        first_frame=first_frame,
    )


DENSE = (
    "ttl", "traffic_class", "seq", "ack", "window", "flags", "tcp_header_octets", "payload", "tsval", "tsecr",
    "dss_bits", "dsn", "dsn_octets", "data_ack", "data_ack_octets", "dss_ssn", "dss_length", "dss_checksum",
    "sack_count", "status",
)  # fmt: skip


def batch_rows(batch: Batch) -> list[dict[str, object]]:
    """A batch as one dictionary for each packet: dense columns, SACK blocks and rare options."""
    rows: list[dict[str, object]] = [
        {name: int(getattr(batch, name)[row]) for name in DENSE} | {"sack": [], "rare": []} for row in range(len(batch))
    ]
    for row, index, left, right in zip(
        batch.sack.row, batch.sack.index, batch.sack.left, batch.sack.right, strict=True
    ):
        blocks = rows[int(row)]["sack"]
        assert isinstance(blocks, list) and len(blocks) == index
        blocks.append((int(left), int(right)))
    rare = batch.rare
    for at, row in enumerate(rare.row):
        octets = rare.octets[at].tobytes()
        assert octets[0] == rare.kind[at] and octets[1] == rare.size[at]
        assert not any(octets[rare.size[at] :])
        assert rare.subtype[at] == (octets[2] >> 4 if octets[0] == 30 and octets[1] >= 3 else 255)
        options = rows[int(row)]["rare"]
        assert isinstance(options, list)
        options.append(octets[: rare.size[at]])
    return rows


def row_values(row: Row) -> dict[str, object]:
    """The same of a row of the reference."""
    return {name: getattr(row, name) for name in (*DENSE, "sack", "rare")}
