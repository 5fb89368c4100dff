"""An AF_PACKET socket on one interface that wakes us for our ports only; whole frames with a virtio header, both ways.

The socket is bound to ETH_P_ALL and deaf to what this host sends (PACKET_IGNORE_OUTGOING): one socket serves IPv4 and
IPv6, and also hears what an nftables ingress rule would hide from a socket that is bound to ETH_P_IP. A classic BPF
program in the kernel (port_filter.py) sorts out what is not for us.

Sources: packet(7), socket(7) SO_ATTACH_FILTER, linux/{if_packet,virtio_net,filter}.h; net/packet/af_packet.c.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence

from testbed.endpoint.attached.port_filter import PortRange, port_filter

VNET_HEADER = struct.Struct("=BBHHHH")
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; in host byte order on an AF_PACKET socket."""
VNET_BYTES = VNET_HEADER.size
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_ECN = 0, 1, 4, 0x80

ETHERNET_BYTES = 14
LARGEST_FRAME_BYTES = VNET_BYTES + ETHERNET_BYTES + 65_535 + 40
"""A super-segment of 64 KiB with its headers."""

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 6, 15, 23
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 26, 33, 32
_RECEIVE_BUFFER_BYTES = 32 << 20
_SEND_BUFFER_BYTES = 4 << 20


class AttachError(OSError):
    """The interface cannot be attached to; the message names it and the reason."""


class PacketPort:
    """Non-blocking."""

    __slots__ = ("_socket", "dropped", "index", "name", "receive", "send_parts")

    def __init__(self, name: str, ports: Sequence[PortRange]) -> None:
        try:
            # Protocol 0 receives nothing, so the options are in force before the first frame.
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            raise AttachError(error.errno, _explain(name, error)) from error
        try:
            raw.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            raw.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
            self._socket = raw
            self.listen_to(ports)
            raw.bind((name, _ETH_P_ALL))
            self.index = socket.if_nametoindex(name)
        except OSError as error:
            raw.close()
            raise AttachError(error.errno, _explain(name, error)) from error
        self.name = name
        self.dropped = 0
        """Frames that the kernel dropped because this socket's buffer was full, as of :meth:`read_statistics`."""
        self.receive = raw.recv
        """``(most) -> frame``; raises BlockingIOError when nothing is there."""
        self.send_parts = raw.sendmsg
        """``(buffers)``: one frame, virtio header first."""

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def listen_to(self, ports: Sequence[PortRange]) -> None:
        """From now on hear these ports."""
        program = port_filter(ports)
        buffer = ctypes.create_string_buffer(program)
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HL", len(program) // 8, ctypes.addressof(buffer)),
        )

    def read_statistics(self) -> int:
        """Add the kernel's drop count, which it resets, to :attr:`dropped` and return that."""
        _, drops = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.dropped += drops
        return self.dropped

    def close(self) -> None:
        """Leave the interface."""
        self._socket.close()


def _explain(name: str, error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"interface {name}: AF_PACKET sockets need CAP_NET_RAW: run as root"
    if error.errno == errno.EAFNOSUPPORT:
        return f"interface {name}: this kernel has no AF_PACKET sockets (CONFIG_PACKET)"
    return f"interface {name}: cannot attach: {error.strerror or error}"
