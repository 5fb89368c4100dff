"""MP_CAPABLE in both roles: what each packet of the first handshake says and what it means (RFC 8684 §3.1, app. B).

Pure decisions on values; :mod:`testbed.mptcp.signalling` acts on them.
"""

from __future__ import annotations

from typing import Final

from testbed.mptcp.parameters import Parameters
from testbed.wire.options import MpCapable, MptcpOption

VERSION: Final = 1
"""The highest and only version spoken here (B1): RFC 8684's."""

_ALGORITHMS: Final = 0x1F
"""Flags D to H: which cryptographic algorithm (RFC 8684 §3.1)."""


def capable_of(options: tuple[MptcpOption, ...]) -> MpCapable | None:
    """The segment's MP_CAPABLE; of several, the first."""
    for option in options:
        if isinstance(option, MpCapable):
            return option
    return None


def offer(parameters: Parameters) -> MpCapable:
    """The SYN's: version and flags, no key (figure 4, length 4)."""
    return MpCapable(_flags(parameters.checksum, parameters))


def answer(parameters: Parameters, checksum: bool, key: int) -> MpCapable:
    """The SYN/ACK's: the responder's key, exactly one algorithm (length 12)."""
    return MpCapable(_flags(checksum, parameters), sender_key=key)


def confirmation(parameters: Parameters, checksum: bool, sender_key: int, receiver_key: int) -> MpCapable:
    """The third ACK's: both keys, the A flag as agreed (length 20)."""
    return MpCapable(_flags(checksum, parameters), sender_key=sender_key, receiver_key=receiver_key)


def _flags(checksum: bool, parameters: Parameters) -> int:
    flags = MpCapable.FLAG_HMAC_SHA256  # B19: H alone; B is 0 (B17)
    if checksum:
        flags |= MpCapable.FLAG_CHECKSUM
    if parameters.no_more_subflows:
        flags |= MpCapable.FLAG_NO_MORE_SUBFLOWS
    return flags


def offer_is_usable(option: MpCapable | None, parameters: Parameters) -> bool:
    """Whether a SYN's MP_CAPABLE can be answered with one (else TCP: K1, B20).

    A higher version is answered with ours (B1); a lower one is not spoken (B2); B set means a meaning of the option
    that we do not know (B17); without H no algorithm is common (B19); an A that is refused makes it invalid (B16).
    """
    if option is None or option.version < VERSION or option.sender_key is not None:
        return False
    if option.flags & MpCapable.FLAG_EXTENSIBILITY or not option.flags & MpCapable.FLAG_HMAC_SHA256:
        return False
    return not (option.flags & MpCapable.FLAG_CHECKSUM and parameters.refuse_checksum)


def answer_is_usable(option: MpCapable | None, parameters: Parameters) -> bool:
    """Whether a SYN/ACK's MP_CAPABLE agrees to what we offered: version at most ours and spoken here, B clear, the
    algorithm H and no other (the responder sets exactly one of those offered, B19), a key, no refused checksum."""
    if option is None or option.version != VERSION or option.sender_key is None or option.receiver_key is not None:
        return False
    if option.flags & MpCapable.FLAG_EXTENSIBILITY:
        return False
    if option.flags & _ALGORITHMS != MpCapable.FLAG_HMAC_SHA256:
        return False
    return not (option.flags & MpCapable.FLAG_CHECKSUM and parameters.refuse_checksum)


def confirmation_is_usable(option: MpCapable | None, local_key: int, checksum: bool) -> bool:
    """Whether the third ACK (or the first data, which repeats it) completes the handshake of the responder.

    It must return our key: anything else means that someone has tampered (B14). Its A flag states the decision; one
    that denies an agreed checksum contradicts the handshake likewise (B16).
    """
    if option is None or option.version != VERSION or option.sender_key is None or option.receiver_key != local_key:
        return False
    return not (checksum and not option.flags & MpCapable.FLAG_CHECKSUM)


def checksum_asked(option: MpCapable) -> bool:
    """The A flag."""
    return bool(option.flags & MpCapable.FLAG_CHECKSUM)


def refuses_more_subflows(option: MpCapable) -> bool:
    """The C flag: no further subflows to this address and port (B18)."""
    return bool(option.flags & MpCapable.FLAG_NO_MORE_SUBFLOWS)
