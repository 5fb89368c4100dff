"""The option area of a TCP header <-> a tuple of options, exactly, NOPs and padding included.

Any area decodes (RFC 9293 MUST-5 to MUST-7): a kind that is not known is kept as :class:`Unknown`; so is a known kind
whose length or content its RFC does not allow, which is the same as ignoring it; a length that cannot be (below 2, or
beyond the area) ends the decoding, and what came before stands. Reserved bits are written as 0 and not looked at.
"""

from __future__ import annotations

import struct
from typing import Final

from testbed.wire.options import (
    EOL,
    KIND_EOL,
    KIND_FAST_OPEN,
    KIND_MPTCP,
    KIND_MSS,
    KIND_NOP,
    KIND_SACK,
    KIND_SACK_PERMITTED,
    KIND_TIMESTAMPS,
    KIND_WINDOW_SCALE,
    NOP,
    SUBTYPE_ADD_ADDR,
    SUBTYPE_DSS,
    SUBTYPE_MP_CAPABLE,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_JOIN,
    SUBTYPE_MP_PRIO,
    SUBTYPE_MP_TCPRST,
    SUBTYPE_PRIVATE,
    SUBTYPE_REMOVE_ADDR,
    AddAddr,
    Dss,
    EndOfOptions,
    FastOpen,
    MapEcho,
    MaximumSegmentSize,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MpTcprst,
    NoOperation,
    Option,
    RemoveAddr,
    Sack,
    SackPermitted,
    Timestamps,
    Unknown,
    WindowScale,
)

AREA_LIMIT: Final = 40
"""Octets: a data offset of 15 words less the fixed header (RFC 9293 §3.1)."""

_ALIGNED_TIMESTAMPS: Final = b"\x01\x01\x08\x0a"
"""NOP, NOP, kind 8, length 10: RFC 7323 appendix A."""
_TWO_WORDS: Final = struct.Struct("!II")
_TIMESTAMPS: Final = struct.Struct("!BBII")

# DSS flags (RFC 8684 figure 9), in the octet after the subtype.
_DSS_ACK: Final = 0x01
_DSS_ACK_8: Final = 0x02
_DSS_MAPPING: Final = 0x04
_DSS_DSN_8: Final = 0x08
_DSS_DATA_FIN: Final = 0x10

_ADD_ADDR_ECHO: Final = 0x01
_BACKUP: Final = 0x01
_RST_TRANSIENT: Final = 0x01
_FAST_OPEN_COOKIE_SIZES: Final = (0, 4, 6, 8, 10, 12, 14, 16)


def _dss_layouts() -> dict[int, struct.Struct]:
    """By ``length << 4 | flags without DATA_FIN``: the fields after the flags."""
    layouts = {}
    for flags in range(16):
        # a and m are ignored without A and M (RFC 8684 §3.3)
        fields = "!"
        if flags & _DSS_ACK:
            fields += "Q" if flags & _DSS_ACK_8 else "I"
        if flags & _DSS_MAPPING:
            fields += ("Q" if flags & _DSS_DSN_8 else "I") + "IH"
            with_checksum = struct.Struct(fields + "H")
            layouts[(4 + with_checksum.size) << 4 | flags] = with_checksum
        plain = struct.Struct(fields)
        layouts[(4 + plain.size) << 4 | flags] = plain
    return layouts


_DSS_LAYOUTS: Final = _dss_layouts()


def decode_options(area: bytes) -> tuple[Option, ...]:
    """The options of an area of any content and size."""
    options: list[Option] = []
    at = 0
    end = len(area)
    if area[:4] == _ALIGNED_TIMESTAMPS and end >= 12:
        val, ecr = _TWO_WORDS.unpack_from(area, 4)
        options = [NOP, NOP, Timestamps(val, ecr)]
        at = 12
    while at < end:
        kind = area[at]
        if kind == KIND_NOP:
            options.append(NOP)
            at += 1
            continue
        if kind == KIND_EOL:
            options.extend([EOL] * (end - at))
            break
        if at + 1 >= end:
            break
        length = area[at + 1]
        if length < 2 or at + length > end:
            break
        options.append(decode_option(area, at, kind, length))
        at += length
    return tuple(options)


def decode_option(area: bytes, at: int, kind: int, length: int) -> Option:
    """The option at ``at``, all of whose ``length`` octets are there."""
    return _decode_mptcp(area, at, length) if kind == KIND_MPTCP else _decode_other(area, at, kind, length)


def _decode_other(area: bytes, at: int, kind: int, length: int) -> Option:
    if kind == KIND_SACK:
        if length >= 10 and length & 7 == 2:
            blocks: list[tuple[int, int]] = []
            for block in range(at + 2, at + length, 8):
                left, right = _TWO_WORDS.unpack_from(area, block)
                blocks.append((left, right))
            return Sack(tuple(blocks))
    elif kind == KIND_TIMESTAMPS:
        if length == 10:
            val, ecr = _TWO_WORDS.unpack_from(area, at + 2)
            return Timestamps(val, ecr)
    elif kind == KIND_MSS:
        if length == 4:
            return MaximumSegmentSize(area[at + 2] << 8 | area[at + 3])
    elif kind == KIND_WINDOW_SCALE:
        if length == 3:
            return WindowScale(area[at + 2])
    elif kind == KIND_SACK_PERMITTED:
        if length == 2:
            return SackPermitted()
    elif kind == KIND_FAST_OPEN and length - 2 in _FAST_OPEN_COOKIE_SIZES:
        return FastOpen(area[at + 2 : at + length])
    return Unknown(kind, area[at + 2 : at + length])


def _decode_mptcp(area: bytes, at: int, length: int) -> Option:
    """Option of kind 30 at ``at``; Unknown where RFC 8684 gives its subtype and length no meaning."""
    if length >= 3:
        subtype = area[at + 2] >> 4
        if subtype == SUBTYPE_DSS and length >= 4:
            flags = area[at + 3] & 0x1F
            layout = _DSS_LAYOUTS.get(length << 4 | (flags & 0x0F))
            if layout is not None:
                return _decode_dss(flags, layout.unpack_from(area, at + 4))
        option = _decode_signal(area[at : at + length], subtype, length)
        if option is not None:
            return option
    return Unknown(KIND_MPTCP, area[at + 2 : at + length])


def _decode_dss(flags: int, fields: tuple[int, ...]) -> Dss:
    data_ack: int | None = None
    at = 0
    if flags & _DSS_ACK:
        data_ack = fields[0]
        at = 1
    ack_octets = 4 if flags & (_DSS_ACK | _DSS_ACK_8) == _DSS_ACK else 8
    if not flags & _DSS_MAPPING:
        return Dss(data_ack, ack_octets, None, 8, 0, 0, None, flags & _DSS_DATA_FIN != 0)
    return Dss(
        data_ack,
        ack_octets,
        fields[at],
        8 if flags & _DSS_DSN_8 else 4,
        fields[at + 1],
        fields[at + 2],
        fields[at + 3] if len(fields) > at + 3 else None,
        flags & _DSS_DATA_FIN != 0,
    )


def _number(data: bytes, start: int, octets: int) -> int:
    return int.from_bytes(data[start : start + octets], "big")


def _decode_signal(data: bytes, subtype: int, length: int) -> Option | None:
    """An MPTCP option other than DSS; None where subtype, length and flags do not agree."""
    if subtype == SUBTYPE_MP_CAPABLE:
        return _decode_mp_capable(data, length)
    if subtype == SUBTYPE_MP_JOIN:
        return _decode_mp_join(data, length)
    if subtype == SUBTYPE_ADD_ADDR:
        return _decode_add_addr(data, length)
    if subtype == SUBTYPE_REMOVE_ADDR and length >= 4:
        return RemoveAddr(tuple(data[3:]))
    if subtype == SUBTYPE_MP_PRIO and length == 3:
        return MpPrio(data[2] & _BACKUP != 0)
    if subtype == SUBTYPE_MP_FAIL and length == 12:
        return MpFail(_number(data, 4, 8))
    if subtype == SUBTYPE_MP_FASTCLOSE and length == 12:
        return MpFastclose(_number(data, 4, 8))
    if subtype == SUBTYPE_MP_TCPRST and length == 4:
        return MpTcprst(data[3], data[2] & _RST_TRANSIENT != 0)
    if subtype == SUBTYPE_PRIVATE and length == 8 and data[3] == MapEcho.MARK:
        return MapEcho(_number(data, 4, 4))
    return None


def _decode_mp_capable(data: bytes, length: int) -> MpCapable | None:
    """By length (RFC 8684 figure 4); whether the version is one we speak is for the handshake to say."""
    if length not in (4, 12, 20, 22, 24):
        return None
    return MpCapable(
        flags=data[3],
        sender_key=_number(data, 4, 8) if length >= 12 else None,
        receiver_key=_number(data, 12, 8) if length >= 20 else None,
        data_length=_number(data, 20, 2) if length >= 22 else None,
        checksum=_number(data, 22, 2) if length == 24 else None,
        version=data[2] & 0x0F,
    )


def _decode_mp_join(data: bytes, length: int) -> MpJoin | None:
    if length == 24:
        return MpJoin(hmac=data[4:24])
    backup = data[2] & _BACKUP != 0
    if length == 12:
        return MpJoin(data[3], backup, token=_number(data, 4, 4), nonce=_number(data, 8, 4))
    if length == 16:
        return MpJoin(data[3], backup, nonce=_number(data, 12, 4), hmac=data[4:12])
    return None


def _decode_add_addr(data: bytes, length: int) -> AddAddr | None:
    """The lengths of an echo and of an advertisement never coincide within one family."""
    octets = length - 4
    hmac_octets = 0 if data[2] & _ADD_ADDR_ECHO else 8
    for address_octets in (4, 16):
        for port_octets in (0, 2):
            if octets == address_octets + port_octets + hmac_octets:
                end = 4 + address_octets
                return AddAddr(
                    data[3],
                    data[4:end],
                    _number(data, end, 2) if port_octets else None,
                    data[end + port_octets :] if hmac_octets else None,
                )
    return None


def encode_options(options: tuple[Option, ...]) -> bytes:
    """The area, padded with zero octets to a multiple of four. Raises ValueError when it exceeds 40 octets."""
    count = len(options)
    at = 0
    area = b""
    if count >= 3 and options[0] is NOP and options[1] is NOP:
        third = options[2]
        if isinstance(third, Timestamps):
            area = _ALIGNED_TIMESTAMPS + _TWO_WORDS.pack(third.val, third.ecr)
            at = 3
    while at < count:
        option = options[at]
        if isinstance(option, Dss):
            area += _encode_dss(option)
        elif option is NOP:
            area += b"\x01"
        else:
            area += encode_option(option)
        at += 1
    if len(area) & 3:
        area += bytes(-len(area) & 3)
    if len(area) > AREA_LIMIT:
        raise ValueError(f"{len(area)} octets of options, at most {AREA_LIMIT} fit")
    return area


def encode_option(option: Option) -> bytes:
    """One option, without padding."""
    if isinstance(option, Dss):
        return _encode_dss(option)
    if isinstance(option, NoOperation):
        return b"\x01"
    if isinstance(option, EndOfOptions):
        return b"\x00"
    if isinstance(option, Timestamps):
        return _TIMESTAMPS.pack(KIND_TIMESTAMPS, 10, option.val, option.ecr)
    if isinstance(option, Sack):
        words = [edge for block in option.blocks for edge in block]
        return struct.pack(f"!BB{len(words)}I", KIND_SACK, 2 + 8 * len(option.blocks), *words)
    if isinstance(option, MaximumSegmentSize):
        return struct.pack("!BBH", KIND_MSS, 4, option.mss)
    if isinstance(option, WindowScale):
        return bytes((KIND_WINDOW_SCALE, 3, option.shift))
    if isinstance(option, SackPermitted):
        return bytes((KIND_SACK_PERMITTED, 2))
    if isinstance(option, FastOpen):
        return bytes((KIND_FAST_OPEN, 2 + len(option.cookie))) + option.cookie
    if isinstance(option, Unknown):
        return bytes((option.number, 2 + len(option.body))) + option.body
    return _encode_signal(option)


def _encode_dss(option: Dss) -> bytes:
    flags = _DSS_DATA_FIN if option.data_fin else 0
    length = 4
    data_ack = option.data_ack
    if data_ack is not None:
        length += option.ack_octets
        flags |= _DSS_ACK | _DSS_ACK_8 if option.ack_octets == 8 else _DSS_ACK
    dsn = option.dsn
    if dsn is None:
        if data_ack is None:
            return bytes((KIND_MPTCP, 4, SUBTYPE_DSS << 4, flags))
        return bytes((KIND_MPTCP, length, SUBTYPE_DSS << 4, flags)) + data_ack.to_bytes(option.ack_octets, "big")
    checksum = option.checksum
    length += option.dsn_octets + (6 if checksum is None else 8)
    flags |= _DSS_MAPPING | _DSS_DSN_8 if option.dsn_octets == 8 else _DSS_MAPPING
    layout = _DSS_LAYOUTS[length << 4 | (flags & 0x0F)]
    head = bytes((KIND_MPTCP, length, SUBTYPE_DSS << 4, flags))
    if data_ack is None:
        if checksum is None:
            return head + layout.pack(dsn, option.ssn, option.length)
        return head + layout.pack(dsn, option.ssn, option.length, checksum)
    if checksum is None:
        return head + layout.pack(data_ack, dsn, option.ssn, option.length)
    return head + layout.pack(data_ack, dsn, option.ssn, option.length, checksum)


def _encode_signal(option: Option) -> bytes:
    """An MPTCP option other than DSS."""
    if isinstance(option, MpCapable):
        subtype, flags, body = SUBTYPE_MP_CAPABLE, option.version, _mp_capable_body(option)
    elif isinstance(option, MpJoin):
        subtype, flags, body = SUBTYPE_MP_JOIN, 0, _mp_join_body(option)
        if option.backup and option.nonce is not None:
            flags = _BACKUP
    elif isinstance(option, AddAddr):
        subtype, flags = SUBTYPE_ADD_ADDR, _ADD_ADDR_ECHO if option.hmac is None else 0
        port = b"" if option.port is None else option.port.to_bytes(2, "big")
        body = bytes((option.address_id,)) + option.address + port + (option.hmac or b"")
    elif isinstance(option, RemoveAddr):
        subtype, flags, body = SUBTYPE_REMOVE_ADDR, 0, bytes(option.address_ids)
    elif isinstance(option, MpPrio):
        subtype, flags, body = SUBTYPE_MP_PRIO, _BACKUP if option.backup else 0, b""
    elif isinstance(option, MpFail):
        subtype, flags, body = SUBTYPE_MP_FAIL, 0, b"\0" + option.dsn.to_bytes(8, "big")
    elif isinstance(option, MpFastclose):
        subtype, flags, body = SUBTYPE_MP_FASTCLOSE, 0, b"\0" + option.receiver_key.to_bytes(8, "big")
    elif isinstance(option, MpTcprst):
        subtype, flags, body = SUBTYPE_MP_TCPRST, _RST_TRANSIENT if option.transient else 0, bytes((option.reason,))
    elif isinstance(option, MapEcho):
        subtype, flags, body = SUBTYPE_PRIVATE, 0, bytes((MapEcho.MARK,)) + option.ssn.to_bytes(4, "big")
    else:
        raise TypeError(f"no wire form for {option!r}")
    return bytes((KIND_MPTCP, 3 + len(body), subtype << 4 | flags)) + body


def _mp_capable_body(option: MpCapable) -> bytes:
    body = bytes((option.flags,))
    for number, octets in (
        (option.sender_key, 8),
        (option.receiver_key, 8),
        (option.data_length, 2),
        (option.checksum, 2),
    ):
        if number is not None:
            body += number.to_bytes(octets, "big")
    return body


def _mp_join_body(option: MpJoin) -> bytes:
    hmac = option.hmac
    if option.nonce is None:
        if hmac is None:
            raise TypeError("MP_JOIN without nonce and without HMAC")
        return b"\0" + hmac
    first = hmac if option.token is None else option.token.to_bytes(4, "big")
    if first is None:
        raise TypeError("MP_JOIN without token and without HMAC")
    return bytes((option.address_id,)) + first + option.nonce.to_bytes(4, "big")
