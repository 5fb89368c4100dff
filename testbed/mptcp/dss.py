"""The DSS option of a segment, built from offsets, and what may stand in its place (RFC 8684 §3.1, §3.3)."""

from __future__ import annotations

from typing import Final

from testbed.mptcp.subflow_view import NOT_KNOWN, OutgoingMapping
from testbed.wire.options import SUBTYPE_MP_CAPABLE, SUBTYPE_MP_JOIN, Dss, MpCapable, MptcpOption

_MASK32: Final = 0xFFFF_FFFF
_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF


def replaces_dss(option: MptcpOption | None) -> bool:
    """Whether this is an MP_CAPABLE or MP_JOIN, which stands in place of the DSS (RFC 8684 §3.1)."""
    return option is not None and option.subtype in (SUBTYPE_MP_CAPABLE, SUBTYPE_MP_JOIN)


def declares_mapping(option: MptcpOption | None) -> bool:
    """Whether it is the MP_CAPABLE that maps the first data."""
    return isinstance(option, MpCapable) and option.data_length is not None


def ack_dss(data_ack: int, wide: bool) -> Dss:
    """DSS with a DATA_ACK alone."""
    return Dss(data_ack & (_MASK64 if wide else _MASK32), 8 if wide else 4)


def mapping_dss(mapping: OutgoingMapping, data_ack: int, wide_ack: bool, wide_dsn: bool, ssn_offset: int) -> Dss:
    """DSS with a mapping and, if it is known, a DATA_ACK. The infinite mapping has checksum 0 (checklist D14)."""
    checksum = mapping.checksum
    length = mapping.length + 1 if mapping.data_fin else mapping.length
    if not length and checksum is not None:
        checksum = 0
    ack = None if data_ack == NOT_KNOWN else data_ack & (_MASK64 if wide_ack else _MASK32)
    dsn = mapping.dsn & (_MASK64 if wide_dsn else _MASK32)
    return Dss(
        ack,
        8 if wide_ack else 4,
        dsn,
        8 if wide_dsn else 4,
        mapping.ssn - ssn_offset,
        length,
        checksum,
        mapping.data_fin,
    )


def without_data_ack(dss: Dss) -> Dss:
    """The same mapping alone."""
    return Dss(None, dss.ack_octets, dss.dsn, dss.dsn_octets, dss.ssn, dss.length, dss.checksum, dss.data_fin)


def without_mapping(dss: Dss) -> Dss:
    """The same DATA_ACK alone."""
    return Dss(dss.data_ack, dss.ack_octets)
