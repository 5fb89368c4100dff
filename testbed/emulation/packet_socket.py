"""An AF_PACKET socket on one interface: whole frames in and out, GSO super-segments included.

With PACKET_VNET_HDR each frame is preceded by a struct virtio_net_hdr that carries what the kernel knows about it:
whether its checksum is still to be completed, and the segment size if it is a super-segment. Frames cross unchanged,
so a partial checksum stays partial and a super-segment stays one.

Sources: packet(7); Linux include/uapi/linux/{if_packet,virtio_net}.h; net/packet/af_packet.c.

A VLAN tag that the sender's device left out of band is not part of the frame here, so tagged traffic is not supported.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

VNET_HEADER = struct.Struct("=BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; in host byte order on an AF_PACKET socket."""
VNET_BYTES = VNET_HEADER.size
NEEDS_CSUM = 1
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80

ETH_P_ALL = 3
LARGEST_FRAME_BYTES = VNET_BYTES + 18 + 65_575
"""A super-segment of 64 KiB with its headers; a frame that fills this (BIG TCP) has been cut off."""

RECEIVE_BUFFER_BYTES = 64 << 20

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_PACKET_MR_PROMISC = 1
_SO_RCVBUFFORCE = 33
_SIOCGSTAMPNS = 0x8907
_TIMESPEC = struct.Struct("=qq")


class InterfaceError(OSError):
    """The interface cannot be attached to; the message names it and the reason."""


class PacketSocket:
    """Non-blocking, promiscuous, blind to what this host sends through the interface."""

    __slots__ = ("_socket", "_stamp", "dropped", "fileno_", "interface", "receive_into", "send")

    def __init__(self, interface: str) -> None:
        try:
            # Protocol 0 receives nothing, so the options are in force before the first frame.
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            raw.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            raw.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            membership = struct.pack("=iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
            raw.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
            self._stamp = bytearray(_TIMESPEC.size)
            with contextlib.suppress(FileNotFoundError):  # nothing received yet, but it turns the stamping on
                fcntl.ioctl(raw.fileno(), _SIOCGSTAMPNS, self._stamp)
            raw.bind((interface, ETH_P_ALL))
        except OSError as error:
            raise InterfaceError(f"interface {interface}: cannot attach: {error.strerror or error}") from error
        self._socket = raw
        self.interface = interface
        self.dropped = 0
        """Frames that the kernel dropped because this socket's buffer was full, as of :meth:`read_statistics`."""
        self.fileno_ = raw.fileno()
        self.receive_into = raw.recv_into
        """``(buffer) -> length``; raises BlockingIOError when nothing is there."""
        self.send = raw.send

    def fileno(self) -> int:
        """For select."""
        return self.fileno_

    def stamp_ns(self) -> int:
        """When the kernel received the frame read last, CLOCK_REALTIME ns."""
        fcntl.ioctl(self.fileno_, _SIOCGSTAMPNS, self._stamp)
        seconds, nanoseconds = _TIMESPEC.unpack(self._stamp)
        return int(seconds * 10**9 + nanoseconds)

    def read_statistics(self) -> int:
        """Add the kernel's drop count, which it resets, to :attr:`dropped` and return that."""
        _, drops = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += drops
        return self.dropped

    def close(self) -> None:
        """Leave the interface."""
        self._socket.close()
