"""TCP options as values: RFC 9293, 7323, 2018, 7413 and all of RFC 8684.

Instances are immutable by convention (no ``frozen``: it doubles the cost of making one). ``size`` is the length on the
wire without padding. Sequence numbers are as on the wire: unsigned 32 bits (SSN, SACK edges), 32 or 64 bits (DSN,
DATA_ACK; the ``*_octets`` say which). An option that this module does not know is :class:`Unknown`, kept byte for byte.
"""

from __future__ import annotations

from typing import ClassVar, Final

KIND_EOL: Final = 0
KIND_NOP: Final = 1
KIND_MSS: Final = 2
KIND_WINDOW_SCALE: Final = 3
KIND_SACK_PERMITTED: Final = 4
KIND_SACK: Final = 5
KIND_TIMESTAMPS: Final = 8
KIND_MPTCP: Final = 30
KIND_FAST_OPEN: Final = 34

SUBTYPE_MP_CAPABLE: Final = 0x0
SUBTYPE_MP_JOIN: Final = 0x1
SUBTYPE_DSS: Final = 0x2
SUBTYPE_ADD_ADDR: Final = 0x3
SUBTYPE_REMOVE_ADDR: Final = 0x4
SUBTYPE_MP_PRIO: Final = 0x5
SUBTYPE_MP_FAIL: Final = 0x6
SUBTYPE_MP_FASTCLOSE: Final = 0x7
SUBTYPE_MP_TCPRST: Final = 0x8
SUBTYPE_PRIVATE: Final = 0xF
"""For private use (RFC 8684 §8.2): here :class:`MapEcho`."""

KIND_NAMES: Final = {
    KIND_MSS: "mss",
    KIND_WINDOW_SCALE: "window_scale",
    KIND_SACK_PERMITTED: "sack_permitted",
    KIND_SACK: "sack",
    KIND_TIMESTAMPS: "timestamps",
    KIND_FAST_OPEN: "fast_open",
}
SUBTYPE_NAMES: Final = {
    SUBTYPE_MP_CAPABLE: "mp_capable",
    SUBTYPE_MP_JOIN: "mp_join",
    SUBTYPE_DSS: "dss",
    SUBTYPE_ADD_ADDR: "add_addr",
    SUBTYPE_REMOVE_ADDR: "remove_addr",
    SUBTYPE_MP_PRIO: "mp_prio",
    SUBTYPE_MP_FAIL: "mp_fail",
    SUBTYPE_MP_FASTCLOSE: "mp_fastclose",
    SUBTYPE_MP_TCPRST: "mp_tcprst",
    SUBTYPE_PRIVATE: "private",
}
"""The words of ledgers and captures for options and their layouts; of the subtype for private use nobody knows more."""


class Option:
    """Base of all options; compared by value."""

    __slots__: tuple[str, ...] = ()
    fields: ClassVar[tuple[str, ...]] = ()
    """The attributes that make its value; ``__slots__`` is not there when compiled."""
    kind: ClassVar[int] = -1

    @property
    def size(self) -> int:
        """Octets on the wire, without padding."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    def __hash__(self) -> int:
        return hash((type(self).__name__, *(getattr(self, name) for name in self.fields)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.fields)
        return f"{type(self).__name__}({fields})"


class EndOfOptions(Option):
    """Kind 0; what follows it is zero padding, which the codec gives as more of these, one for each octet."""

    __slots__ = ()
    kind: ClassVar[int] = KIND_EOL

    @property
    def size(self) -> int:
        """One octet."""
        return 1


class NoOperation(Option):
    """Kind 1: padding between options."""

    __slots__ = ()
    kind: ClassVar[int] = KIND_NOP

    @property
    def size(self) -> int:
        """One octet."""
        return 1


NOP: Final = NoOperation()
EOL: Final = EndOfOptions()


class MaximumSegmentSize(Option):
    """Kind 2 (RFC 9293 §3.7.1)."""

    __slots__ = ("mss",)
    fields: ClassVar[tuple[str, ...]] = ("mss",)
    kind: ClassVar[int] = KIND_MSS

    def __init__(self, mss: int) -> None:
        self.mss = mss

    @property
    def size(self) -> int:
        """Four octets."""
        return 4


class WindowScale(Option):
    """Kind 3 (RFC 7323 §2)."""

    __slots__ = ("shift",)
    fields: ClassVar[tuple[str, ...]] = ("shift",)
    kind: ClassVar[int] = KIND_WINDOW_SCALE

    def __init__(self, shift: int) -> None:
        self.shift = shift

    @property
    def size(self) -> int:
        """Three octets."""
        return 3


class SackPermitted(Option):
    """Kind 4 (RFC 2018 §2)."""

    __slots__ = ()
    kind: ClassVar[int] = KIND_SACK_PERMITTED

    @property
    def size(self) -> int:
        """Two octets."""
        return 2


class Sack(Option):
    """Kind 5 (RFC 2018 §3): blocks (left, right edge) as on the wire, the first perhaps a D-SACK (RFC 2883)."""

    __slots__ = ("blocks",)
    fields: ClassVar[tuple[str, ...]] = ("blocks",)
    kind: ClassVar[int] = KIND_SACK

    def __init__(self, blocks: tuple[tuple[int, int], ...]) -> None:
        self.blocks = blocks

    @property
    def size(self) -> int:
        """2 + 8 for each block."""
        return 2 + 8 * len(self.blocks)


class Timestamps(Option):
    """Kind 8 (RFC 7323 §3)."""

    __slots__ = ("ecr", "val")
    fields: ClassVar[tuple[str, ...]] = ("ecr", "val")
    kind: ClassVar[int] = KIND_TIMESTAMPS

    def __init__(self, val: int, ecr: int) -> None:
        self.val = val
        self.ecr = ecr

    @property
    def size(self) -> int:
        """Ten octets."""
        return 10


class FastOpen(Option):
    """Kind 34 (RFC 7413 §2): an empty cookie is a request for one."""

    __slots__ = ("cookie",)
    fields: ClassVar[tuple[str, ...]] = ("cookie",)
    kind: ClassVar[int] = KIND_FAST_OPEN

    def __init__(self, cookie: bytes = b"") -> None:
        self.cookie = cookie

    @property
    def size(self) -> int:
        """2 + the cookie (4 to 16 octets)."""
        return 2 + len(self.cookie)


class Unknown(Option):
    """Any other kind: its octets after the length, kept. Also an MPTCP option of unknown subtype or version."""

    __slots__ = ("body", "number")
    fields: ClassVar[tuple[str, ...]] = ("body", "number")
    kind: ClassVar[int] = -1

    def __init__(self, number: int, body: bytes) -> None:
        self.number = number
        self.body = body

    @property
    def size(self) -> int:
        """Kind, length, body."""
        return 2 + len(self.body)


class MptcpOption(Option):
    """Kind 30; ``subtype`` tells which."""

    __slots__: tuple[str, ...] = ()
    kind: ClassVar[int] = KIND_MPTCP
    subtype: ClassVar[int] = -1


class MpCapable(MptcpOption):
    """MP_CAPABLE (RFC 8684 §3.1): 4, 12, 20, 22 or 24 octets, told by what is present."""

    __slots__ = ("checksum", "data_length", "flags", "receiver_key", "sender_key", "version")
    fields: ClassVar[tuple[str, ...]] = ("checksum", "data_length", "flags", "receiver_key", "sender_key", "version")
    subtype: ClassVar[int] = SUBTYPE_MP_CAPABLE

    FLAG_CHECKSUM: ClassVar[int] = 0x80
    FLAG_EXTENSIBILITY: ClassVar[int] = 0x40
    FLAG_NO_MORE_SUBFLOWS: ClassVar[int] = 0x20
    FLAG_HMAC_SHA256: ClassVar[int] = 0x01

    def __init__(
        self,
        flags: int = 0x01,
        sender_key: int | None = None,
        receiver_key: int | None = None,
        data_length: int | None = None,
        checksum: int | None = None,
        version: int = 1,
    ) -> None:
        self.flags = flags
        self.sender_key = sender_key
        self.receiver_key = receiver_key
        self.data_length = data_length
        self.checksum = checksum
        self.version = version

    @property
    def size(self) -> int:
        """By RFC 8684 figure 4."""
        size = 4
        if self.sender_key is not None:
            size += 8
        if self.receiver_key is not None:
            size += 8
        if self.data_length is not None:
            size += 2
        if self.checksum is not None:
            size += 2
        return size


class MpJoin(MptcpOption):
    """MP_JOIN (RFC 8684 §3.2): SYN (token, nonce), SYN/ACK (64-bit HMAC, nonce), third ACK (160-bit HMAC)."""

    __slots__ = ("address_id", "backup", "hmac", "nonce", "token")
    fields: ClassVar[tuple[str, ...]] = ("address_id", "backup", "hmac", "nonce", "token")
    subtype: ClassVar[int] = SUBTYPE_MP_JOIN

    def __init__(
        self,
        address_id: int = 0,
        backup: bool = False,
        token: int | None = None,
        nonce: int | None = None,
        hmac: bytes | None = None,
    ) -> None:
        self.address_id = address_id
        self.backup = backup
        self.token = token
        self.nonce = nonce
        self.hmac = hmac

    @property
    def size(self) -> int:
        """12 with a token, 16 with a nonce and an HMAC, 24 with an HMAC alone."""
        if self.token is not None:
            return 12
        return 16 if self.nonce is not None else 24


class Dss(MptcpOption):
    """DSS (RFC 8684 §3.3): DATA_ACK, mapping, or both.

    ``dsn`` present: there is a mapping of ``length`` from subflow sequence number ``ssn``; length 0 is the infinite
    mapping. ``checksum`` None: absent. ``data_fin`` counts one octet within ``length``.
    """

    __slots__ = ("ack_octets", "checksum", "data_ack", "data_fin", "dsn", "dsn_octets", "length", "ssn")
    fields: ClassVar[tuple[str, ...]] = (
        "ack_octets",
        "checksum",
        "data_ack",
        "data_fin",
        "dsn",
        "dsn_octets",
        "length",
        "ssn",
    )
    subtype: ClassVar[int] = SUBTYPE_DSS

    def __init__(
        self,
        data_ack: int | None = None,
        ack_octets: int = 8,
        dsn: int | None = None,
        dsn_octets: int = 8,
        ssn: int = 0,
        length: int = 0,
        checksum: int | None = None,
        data_fin: bool = False,
    ) -> None:
        self.data_ack = data_ack
        self.ack_octets = ack_octets
        self.dsn = dsn
        self.dsn_octets = dsn_octets
        self.ssn = ssn
        self.length = length
        self.checksum = checksum
        self.data_fin = data_fin

    @property
    def size(self) -> int:
        """4 to 28."""
        size = 4
        if self.data_ack is not None:
            size += self.ack_octets
        if self.dsn is not None:
            size += self.dsn_octets + (6 if self.checksum is None else 8)
        return size


class AddAddr(MptcpOption):
    """ADD_ADDR (RFC 8684 §3.4.1); ``hmac`` is None exactly in an echo."""

    __slots__ = ("address", "address_id", "hmac", "port")
    fields: ClassVar[tuple[str, ...]] = ("address", "address_id", "hmac", "port")
    subtype: ClassVar[int] = SUBTYPE_ADD_ADDR

    def __init__(self, address_id: int, address: bytes, port: int | None = None, hmac: bytes | None = None) -> None:
        self.address_id = address_id
        self.address = address
        self.port = port
        self.hmac = hmac

    @property
    def echo(self) -> bool:
        """The E flag."""
        return self.hmac is None

    @property
    def size(self) -> int:
        """8 or 20, + 2 with a port, + 8 without E."""
        return 4 + len(self.address) + (0 if self.port is None else 2) + (0 if self.hmac is None else 8)


class RemoveAddr(MptcpOption):
    """REMOVE_ADDR (RFC 8684 §3.4.2): a list of address ids."""

    __slots__ = ("address_ids",)
    fields: ClassVar[tuple[str, ...]] = ("address_ids",)
    subtype: ClassVar[int] = SUBTYPE_REMOVE_ADDR

    def __init__(self, address_ids: tuple[int, ...]) -> None:
        self.address_ids = address_ids

    @property
    def size(self) -> int:
        """3 + one for each id."""
        return 3 + len(self.address_ids)


class MpPrio(MptcpOption):
    """MP_PRIO (RFC 8684 §3.3.8): this subflow's backup flag."""

    __slots__ = ("backup",)
    fields: ClassVar[tuple[str, ...]] = ("backup",)
    subtype: ClassVar[int] = SUBTYPE_MP_PRIO

    def __init__(self, backup: bool) -> None:
        self.backup = backup

    @property
    def size(self) -> int:
        """Three octets."""
        return 3


class MpFail(MptcpOption):
    """MP_FAIL (RFC 8684 §3.7): 64-bit DSN of the start of the segment that failed."""

    __slots__ = ("dsn",)
    fields: ClassVar[tuple[str, ...]] = ("dsn",)
    subtype: ClassVar[int] = SUBTYPE_MP_FAIL

    def __init__(self, dsn: int) -> None:
        self.dsn = dsn

    @property
    def size(self) -> int:
        """Twelve octets."""
        return 12


class MpFastclose(MptcpOption):
    """MP_FASTCLOSE (RFC 8684 §3.5) with the receiver's key."""

    __slots__ = ("receiver_key",)
    fields: ClassVar[tuple[str, ...]] = ("receiver_key",)
    subtype: ClassVar[int] = SUBTYPE_MP_FASTCLOSE

    def __init__(self, receiver_key: int) -> None:
        self.receiver_key = receiver_key

    @property
    def size(self) -> int:
        """Twelve octets."""
        return 12


class MpTcprst(MptcpOption):
    """MP_TCPRST (RFC 8684 §3.6): T flag (transient) and reason."""

    __slots__ = ("reason", "transient")
    fields: ClassVar[tuple[str, ...]] = ("reason", "transient")
    subtype: ClassVar[int] = SUBTYPE_MP_TCPRST

    def __init__(self, reason: int = 0, transient: bool = False) -> None:
        self.reason = reason
        self.transient = transient

    @property
    def size(self) -> int:
        """Four octets."""
        return 4


class MapEcho(MptcpOption):
    """An experiment of this project, of the subtype for private use: the mapping that begins at this relative subflow
    sequence number has arrived on a pure ACK. What the echo is to ADD_ADDR (RFC 8684 §3.4.1)."""

    __slots__ = ("ssn",)
    fields: ClassVar[tuple[str, ...]] = ("ssn",)
    subtype: ClassVar[int] = SUBTYPE_PRIVATE

    MARK: ClassVar[int] = 0x4D
    """Octet after the subtype, since others may use it privately, too."""

    def __init__(self, ssn: int) -> None:
        self.ssn = ssn

    @property
    def size(self) -> int:
        """Kind, length, subtype, mark, SSN."""
        return 8
