"""Which MPTCP options may stand in one segment.

RFC 8684 forbids little; Linux (net/mptcp/options.c, mptcp_write_options) forbids more, and a peer that shares its
parser reads only such combinations. The table here is what is allowed; all else excludes each other.
"""

from __future__ import annotations

from typing import Final

from testbed.wire.options import (
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
    MptcpOption,
)

_TOGETHER: Final = frozenset(
    {
        (SUBTYPE_MP_CAPABLE, SUBTYPE_REMOVE_ADDR),
        (SUBTYPE_MP_JOIN, SUBTYPE_REMOVE_ADDR),
        (SUBTYPE_MP_JOIN, SUBTYPE_MP_PRIO),
        (SUBTYPE_DSS, SUBTYPE_ADD_ADDR),  # Linux avoids it, and accepts it
        (SUBTYPE_DSS, SUBTYPE_REMOVE_ADDR),
        (SUBTYPE_DSS, SUBTYPE_MP_PRIO),
        (SUBTYPE_DSS, SUBTYPE_MP_FAIL),
        (SUBTYPE_DSS, SUBTYPE_PRIVATE),
        (SUBTYPE_ADD_ADDR, SUBTYPE_MP_PRIO),
        (SUBTYPE_REMOVE_ADDR, SUBTYPE_MP_PRIO),
        (SUBTYPE_MP_FAIL, SUBTYPE_MP_TCPRST),
        (SUBTYPE_MP_FASTCLOSE, SUBTYPE_MP_TCPRST),
    }
)
"""Pairs of subtypes, smaller first."""


def may_share(first: int, second: int) -> bool:
    """Whether options of these two subtypes may stand in one segment; two of one subtype never do."""
    return ((first, second) if first < second else (second, first)) in _TOGETHER


def may_join(option: MptcpOption, others: list[MptcpOption]) -> bool:
    """Whether ``option`` may be added to a segment that carries ``others``."""
    return all(may_share(option.subtype, other.subtype) for other in others)
