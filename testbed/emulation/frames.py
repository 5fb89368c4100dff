"""What the relay needs to know about a frame: is it impaired, whose is it, and how to mark or damage one.

All functions take a frame as the packet socket gives it: struct virtio_net_hdr, Ethernet header, the rest.
Sources: RFC 1071 (checksum), RFC 3168 (ECN), RFC 4861 (neighbour discovery), include/uapi/linux/virtio_net.h.
"""

from __future__ import annotations

from testbed.emulation.packet_socket import NEEDS_CSUM, VNET_BYTES, VNET_HEADER

ETHERNET = VNET_BYTES
ETHERTYPE = ETHERNET + 12
NETWORK = ETHERNET + 14

_LOCAL_CONTROL_BLOCK = bytes((224, 0, 0))
_ICMPV6 = 58
_WITH_PORTS = (6, 17)
"""TCP and UDP: the ports come first."""
_CE = 3
_NEIGHBOUR_TYPES = range(133, 138)
"""Router and neighbour solicitation and advertisement, redirect."""

Buffer = bytes | bytearray | memoryview


def is_impaired(frame: Buffer) -> bool:
    """Whether the link's loss, queue and rate apply: to IPv4 and IPv6, except what keeps the link itself going.

    ARP, neighbour discovery and link-local multicast (IGMP, MLD: 224.0.0.0/24, ff02::/16) only take the delay. Losing
    an address resolution would stall a flow for a second, which says nothing about the path; and the kernel sends
    these when it likes, so if they took draws, the n-th packet of a flow would not be the n-th of the model any more.
    """
    if frame[ETHERTYPE] == 0x08:
        return frame[ETHERTYPE + 1] == 0x00 and frame[NETWORK + 16 : NETWORK + 19] != _LOCAL_CONTROL_BLOCK
    if frame[ETHERTYPE] == 0x86 and frame[ETHERTYPE + 1] == 0xDD and len(frame) > NETWORK + 40:
        if frame[NETWORK + 24] == 0xFF and frame[NETWORK + 25] & 0x0F == 2:
            return False
        return frame[NETWORK + 6] != _ICMPV6 or frame[NETWORK + 40] not in _NEIGHBOUR_TYPES
    return False


def ecn_of(frame: Buffer) -> int:
    """The ECN field of an IPv4 or IPv6 packet."""
    if frame[NETWORK] >> 4 == 6:
        return frame[NETWORK + 1] >> 4 & 3
    return frame[NETWORK + 1] & 3


def flow_of(frame: bytes) -> bytes:
    """What is equal for the packets of one flow: addresses, protocol, and the ports if they are there."""
    if frame[NETWORK] >> 4 == 6:
        addresses, protocol, transport = frame[NETWORK + 8 : NETWORK + 40], frame[NETWORK + 6], NETWORK + 40
        is_whole = True
    else:
        addresses, protocol = frame[NETWORK + 12 : NETWORK + 20], frame[NETWORK + 9]
        transport = NETWORK + (frame[NETWORK] & 0x0F) * 4
        is_whole = not (frame[NETWORK + 6] & 0x3F or frame[NETWORK + 7])  # the other fragments have no ports
    ports = frame[transport : transport + 4] if is_whole and protocol in _WITH_PORTS else b""
    return b"".join((addresses, bytes((protocol,)), ports))


def marked_ce(frame: Buffer) -> bytes:
    """The packet with CE in its ECN field (RFC 3168), and the IPv4 header's checksum right."""
    result = bytearray(frame)
    if result[NETWORK] >> 4 == 6:
        result[NETWORK + 1] |= _CE << 4
        return bytes(result)
    result[NETWORK + 1] |= _CE
    end = NETWORK + (result[NETWORK] & 0x0F) * 4
    result[NETWORK + 10 : NETWORK + 12] = b"\0\0"
    result[NETWORK + 10 : NETWORK + 12] = (0xFFFF - ones_complement_sum(result[NETWORK:end])).to_bytes(2, "big")
    return bytes(result)


def ones_complement_sum(data: Buffer) -> int:
    """Sum of 16-bit words modulo 65535 (65535 itself appears as 0)."""
    value = int.from_bytes(data, "big")
    return (value << 8 if len(data) & 1 else value) % 65535


def completed(frame: Buffer) -> bytearray:
    """The frame with its checksum filled in where the kernel had left that to the device; not for super-segments."""
    result = bytearray(frame)
    flags, gso_type, header_bytes, gso_size, start, offset = VNET_HEADER.unpack_from(result)
    if flags & NEEDS_CSUM:
        # The field already holds the sum of the pseudo header, so summing over it completes the whole.
        begin = ETHERNET + start
        checksum = 0xFFFF - ones_complement_sum(result[begin:])
        result[begin + offset : begin + offset + 2] = checksum.to_bytes(2, "big")
        VNET_HEADER.pack_into(result, 0, flags & ~NEEDS_CSUM, gso_type, header_bytes, gso_size, 0, 0)
    return result


def corrupted(frame: Buffer, corrupt_at: float) -> bytes:
    """The frame with one bit flipped, past the IP addresses, after its checksum has been completed.

    ``corrupt_at`` in [0, 1) chooses the bit. A receiver that checks its checksums discards the packet.
    """
    result = completed(frame)
    first = NETWORK + (40 if result[NETWORK] >> 4 == 6 else 20)
    bits = 8 * (len(result) - first)
    if bits > 0:
        bit = int(corrupt_at * bits)
        result[first + bit // 8] ^= 0x80 >> bit % 8
    # The receiver must not take the sender's word for the checksum.
    VNET_HEADER.pack_into(result, 0, 0, 0, 0, 0, 0, 0)
    return bytes(result)
