"""Options whose form MPTCP v0 (RFC 6824) had to itself: read in captures, never sent."""

from __future__ import annotations

from typing import ClassVar

from testbed.wire.options import SUBTYPE_ADD_ADDR, SUBTYPE_MP_PRIO, MptcpOption


class AddAddrV0(MptcpOption):
    """ADD_ADDR of MPTCP v0 (RFC 6824 section 3.4.1): no echo, no HMAC."""

    __slots__ = ("address", "address_id", "port")
    fields: ClassVar[tuple[str, ...]] = ("address", "address_id", "port")
    subtype: ClassVar[int] = SUBTYPE_ADD_ADDR

    def __init__(self, address_id: int, address: bytes, port: int | None = None) -> None:
        self.address_id = address_id
        self.address = address
        self.port = port

    @property
    def size(self) -> int:
        """8 or 20, + 2 with a port."""
        return 4 + len(self.address) + (0 if self.port is None else 2)


class MpPrioV0(MptcpOption):
    """MP_PRIO of MPTCP v0 with an address id (RFC 6824 section 3.3.8)."""

    __slots__ = ("address_id", "backup")
    fields: ClassVar[tuple[str, ...]] = ("address_id", "backup")
    subtype: ClassVar[int] = SUBTYPE_MP_PRIO

    def __init__(self, backup: bool, address_id: int) -> None:
        self.backup = backup
        self.address_id = address_id

    @property
    def size(self) -> int:
        """Four octets."""
        return 4
