"""The codec of the compiled build: machine integers (mypyc's i64) and librt's reads and writes of words.

What all traffic is made of (NOP, timestamps, SACK, DSS) is done here, everything else by the functions that the plain
codec uses, too. Uncompiled it works, slowly, so that its tests run anywhere librt is.
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i64_be, write_i16_be, write_i32_be
from mypy_extensions import i16, i32, i64

from testbed.wire.errors import ChecksumError, DecodeError
from testbed.wire.option_codec import AREA_LIMIT, decode_option, encode_option
from testbed.wire.options import EOL, NOP, Dss, NoOperation, Option, Sack, Timestamps
from testbed.wire.segment import Segment
from testbed.wire.struct_codec import (
    IPV4_OCTETS,
    TCP_OCTETS,
    known_addresses,
    locate_ipv4,
    locate_ipv6,
    network_header,
    remember_addresses,
)

_KIND_MPTCP: Final[i64] = 30
_KIND_SACK: Final[i64] = 5
_KIND_TIMESTAMPS: Final[i64] = 8

_ACK: Final[i64] = 0x01
_ACK_8: Final[i64] = 0x02
_MAPPING: Final[i64] = 0x04
_DSN_8: Final[i64] = 0x08
_DATA_FIN: Final[i64] = 0x10

_TWO_TO_64: Final = 1 << 64


def encode(segment: Segment, identification: int = 0) -> bytes:
    """As :func:`testbed.wire.struct_codec.encode`."""
    payload = segment.payload
    source = segment.source.host
    destination = segment.destination.host
    area = encode_options(segment.options) if segment.options else b""
    octets = TCP_OCTETS + len(area) + len(payload)
    network = network_header(source, destination, octets, segment.ecn, identification)
    # the header with a checksum of 0, then with the checksum over it
    total = _sum(source, 0, len(source)) + _sum(destination, 0, len(destination)) + octets + 6
    bare = _tcp_header(segment, len(area), 0)
    total += _sum(bare, 0, TCP_OCTETS) + _sum(area, 0, len(area)) + _sum(payload, 0, len(payload))
    return network + _tcp_header(segment, len(area), 0xFFFF - _folded(total)) + area + payload


def offload_headers(segment: Segment, identification: int = 0) -> bytes:
    """As :func:`testbed.wire.struct_codec.offload_headers`."""
    source = segment.source.host
    destination = segment.destination.host
    area = encode_options(segment.options) if segment.options else b""
    octets = TCP_OCTETS + len(area) + len(segment.payload)
    partial = _folded(_sum(source, 0, len(source)) + _sum(destination, 0, len(destination)) + octets + 6)
    return (
        network_header(source, destination, octets, segment.ecn, identification)
        + _tcp_header(segment, len(area), partial)
        + area
    )


def _folded(total: i64) -> i64:
    """To 16 bits, with end-around carry (RFC 1071 §4.1)."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _sum(data: bytes, start: i64, end: i64) -> i64:
    """Sum of 16-bit words, not folded: 65535 octets of words of 32 bits stay far below 2^63."""
    total: i64 = 0
    at = start
    while at + 16 <= end:
        first = read_i64_be(data, at)
        second = read_i64_be(data, at + 8)
        total += (first & 0xFFFFFFFF) + ((first >> 32) & 0xFFFFFFFF)
        total += (second & 0xFFFFFFFF) + ((second >> 32) & 0xFFFFFFFF)
        at += 16
    while at + 4 <= end:
        total += i64(read_i32_be(data, at)) & 0xFFFFFFFF
        at += 4
    if at + 2 <= end:
        total += i64(read_i16_be(data, at)) & 0xFFFF
        at += 2
    if at < end:
        total += i64(data[at]) << 8
    return total


def _write_16(writer: BytesWriter, value: i64) -> None:
    write_i16_be(writer, i16(((value + 0x8000) & 0xFFFF) - 0x8000))


def _write_32(writer: BytesWriter, value: i64) -> None:
    write_i32_be(writer, i32(((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000))


def _write_64(writer: BytesWriter, value: int) -> None:
    _write_32(writer, i64((value >> 32) & 0xFFFFFFFF))
    _write_32(writer, i64(value & 0xFFFFFFFF))


def _tcp_header(segment: Segment, option_octets: int, checksum: i64) -> bytes:
    writer = BytesWriter()
    _write_16(writer, i64(segment.source.port))
    _write_16(writer, i64(segment.destination.port))
    _write_32(writer, i64(segment.seq))
    _write_32(writer, i64(segment.ack))
    _write_16(writer, i64((TCP_OCTETS + option_octets) << 10 | segment.flags))
    _write_16(writer, i64(segment.window))
    _write_16(writer, checksum)
    _write_16(writer, i64(segment.urgent))
    return writer.getvalue()


def encode_options(options: tuple[Option, ...]) -> bytes:
    """As :func:`testbed.wire.option_codec.encode_options`."""
    writer = BytesWriter()
    for option in options:
        if isinstance(option, NoOperation):
            writer.append(1)
        elif isinstance(option, Timestamps):
            _write_16(writer, 0x080A)
            _write_32(writer, i64(option.val))
            _write_32(writer, i64(option.ecr))
        elif isinstance(option, Dss):
            _write_dss(writer, option)
        else:
            writer.write(encode_option(option))
    size = i64(len(writer))
    while size & 3:
        writer.append(0)
        size += 1
    if size > AREA_LIMIT:
        raise ValueError(f"{size} octets of options, at most {AREA_LIMIT} fit")
    return writer.getvalue()


def _write_dss(writer: BytesWriter, option: Dss) -> None:
    flags: i64 = _DATA_FIN if option.data_fin else 0
    length: i64 = 4
    data_ack = option.data_ack
    dsn = option.dsn
    checksum = option.checksum
    if data_ack is not None:
        length += i64(option.ack_octets)
        flags |= _ACK | _ACK_8 if option.ack_octets == 8 else _ACK
    if dsn is not None:
        length += i64(option.dsn_octets) + (6 if checksum is None else 8)
        flags |= _MAPPING | _DSN_8 if option.dsn_octets == 8 else _MAPPING
    _write_32(writer, _KIND_MPTCP << 24 | length << 16 | 0x2000 | flags)
    if data_ack is not None:
        if option.ack_octets == 8:
            _write_64(writer, data_ack)
        else:
            _write_32(writer, i64(data_ack & 0xFFFFFFFF))
    if dsn is not None:
        if option.dsn_octets == 8:
            _write_64(writer, dsn)
        else:
            _write_32(writer, i64(dsn & 0xFFFFFFFF))
        _write_32(writer, i64(option.ssn))
        _write_16(writer, i64(option.length))
        if checksum is not None:
            _write_16(writer, i64(checksum))


def _read_32(data: bytes, at: i64) -> int:
    return int(i64(read_i32_be(data, at)) & 0xFFFFFFFF)


def _read_64(data: bytes, at: i64) -> int:
    value = read_i64_be(data, at)
    return int(value) if value >= 0 else int(value) + _TWO_TO_64


def decode(packet: bytes, start: int = 0, verify: bool = True) -> Segment:
    """As :func:`testbed.wire.struct_codec.decode`."""
    end = len(packet)
    if end - start < IPV4_OCTETS + TCP_OCTETS:
        raise DecodeError(f"{end - start} octets are no TCP packet")
    version = packet[start] >> 4
    if version == 4:
        transport, end = locate_ipv4(packet, start, end, verify)
        ecn = packet[start + 1] & 3
        hosts_start = start + 12
        host_octets = 4
    elif version == 6:
        transport, end = locate_ipv6(packet, start, end)
        ecn = packet[start + 1] >> 4 & 3
        hosts_start = start + 8
        host_octets = 16
    else:
        raise DecodeError(f"IP version {version}")
    if end - transport < TCP_OCTETS:
        raise DecodeError(f"{end - transport} octets are no TCP header")
    at = i64(transport)
    offset_octets = int((i64(packet[transport + 12]) >> 4) << 2)
    data = transport + offset_octets
    if offset_octets < TCP_OCTETS or data > end:
        raise DecodeError(f"data offset {offset_octets >> 2} in {end - transport} octets")
    hosts_end = hosts_start + 2 * host_octets
    if verify:
        total = _sum(packet, hosts_start, hosts_end) + i64(end - transport) + 6 + _sum(packet, at, end)
        if total % 0xFFFF != 0:
            raise ChecksumError("TCP checksum")
    key = packet[hosts_start:hosts_end] + packet[transport : transport + 4]
    addresses = known_addresses.get(key)
    if addresses is None:
        addresses = remember_addresses(key, host_octets)
    options: tuple[Option, ...] = ()
    if offset_octets > TCP_OCTETS:
        options = decode_options(packet[transport + TCP_OCTETS : data])
    return Segment(
        addresses[0],
        addresses[1],
        _read_32(packet, at + 4),
        _read_32(packet, at + 8),
        packet[transport + 13],
        int(i64(read_i16_be(packet, at + 14)) & 0xFFFF),
        options,
        packet[data:end],
        int(i64(read_i16_be(packet, at + 18)) & 0xFFFF),
        ecn,
    )


def decode_options(area: bytes) -> tuple[Option, ...]:
    """As :func:`testbed.wire.option_codec.decode_options`."""
    options: list[Option] = []
    at: i64 = 0
    end: i64 = len(area)
    while at < end:
        kind: i64 = area[at]
        if kind == 1:
            options.append(NOP)
            at += 1
            continue
        if kind == 0:
            while at < end:
                options.append(EOL)
                at += 1
            break
        if at + 1 >= end:
            break
        length: i64 = area[at + 1]
        if length < 2 or at + length > end:
            break
        if kind == _KIND_TIMESTAMPS and length == 10:
            options.append(Timestamps(_read_32(area, at + 2), _read_32(area, at + 6)))
        elif kind == _KIND_MPTCP and length >= 4 and area[at + 2] >> 4 == 2:
            dss = _decode_dss(area, at, length)
            options.append(decode_option(area, int(at), 30, int(length)) if dss is None else dss)
        elif kind == _KIND_SACK and length == 10:
            options.append(Sack(((_read_32(area, at + 2), _read_32(area, at + 6)),)))
        else:
            options.append(decode_option(area, int(at), int(kind), int(length)))
        at += length
    return tuple(options)


def _decode_dss(area: bytes, at: i64, length: i64) -> Dss | None:
    """None where length and flags do not agree."""
    flags: i64 = area[at + 3]
    ack_octets: i64 = 0
    if flags & _ACK:
        ack_octets = 8 if flags & _ACK_8 else 4
    dsn_octets: i64 = 0
    expected = 4 + ack_octets
    if flags & _MAPPING:
        dsn_octets = 8 if flags & _DSN_8 else 4
        expected += dsn_octets + 6
    has_checksum = length == expected + 2 and dsn_octets != 0
    if length != expected and not has_checksum:
        return None
    data_ack: int | None = None
    if ack_octets == 8:
        data_ack = _read_64(area, at + 4)
    elif ack_octets == 4:
        data_ack = _read_32(area, at + 4)
    data_fin = flags & _DATA_FIN != 0
    if dsn_octets == 0:
        return Dss(data_ack, 4 if ack_octets == 4 else 8, None, 8, 0, 0, None, data_fin)
    place = at + 4 + ack_octets
    dsn = _read_64(area, place) if dsn_octets == 8 else _read_32(area, place)
    place += dsn_octets
    return Dss(
        data_ack,
        4 if ack_octets == 4 else 8,
        dsn,
        int(dsn_octets),
        _read_32(area, place),
        int(i64(read_i16_be(area, place + 4)) & 0xFFFF),
        int(i64(read_i16_be(area, place + 6)) & 0xFFFF) if has_checksum else None,
        data_fin,
    )
