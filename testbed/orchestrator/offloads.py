"""Offloads of an interface, read and set through the ethtool ioctl in the namespace of the calling thread.

With segmentation offloads on, a veth pair carries super-segments of up to 64 KB that no wire would; an experiment whose
packets must be MTU-sized turns them off. Sources: ethtool(8), linux/ethtool.h, netdevice(7), net/ethtool/ioctl.c.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from testbed.orchestrator.errors import InvalidTrial

SIOCETHTOOL = 0x8946

_COMMANDS: Mapping[str, tuple[int, int]] = {
    "tx": (0x16, 0x17),
    "tso": (0x1E, 0x1F),
    "gso": (0x23, 0x24),
    "gro": (0x2B, 0x2C),
}
"""ethtool's short name -> (get, set) command of struct ethtool_value."""

_VALUE = struct.Struct("=II")
_REQUEST = struct.Struct("16sP16x")


@dataclass(frozen=True, slots=True)
class Offloads:
    """Which of them are on, in ethtool's short names."""

    tso: bool = True
    """TCP segmentation by the (virtual) device."""
    gso: bool = True
    """Generic segmentation: super-segments travel down the stack."""
    gro: bool = True
    """Generic receive offload: segments are merged on arrival."""
    tx: bool = True
    """Checksums are left to the device; captures then show unfinished ones."""

    def argv(self, interface: str) -> list[str]:
        """The equivalent command."""
        words = [
            word for name in ("tso", "gso", "gro", "tx") for word in (name, "on" if getattr(self, name) else "off")
        ]
        return ["ethtool", "-K", interface, *words]


class OffloadError(InvalidTrial):
    """The device did not take the setting."""


def control_socket() -> socket.socket:
    """A socket for the ioctl, bound to the namespace of the calling thread; the caller closes it."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def read(control: socket.socket, interface: str) -> Offloads:
    """What ``interface`` has on. Raises OSError(ENODEV) when there is no such interface."""
    return Offloads(**{name: bool(_ioctl(control, interface, get, 0)) for name, (get, _) in _COMMANDS.items()})


def write(control: socket.socket, interface: str, wanted: Offloads) -> None:
    """Set what differs and read it back. Raises OffloadError when the device keeps its own mind."""
    before = read(control, interface)
    if before == wanted:
        return
    for name, (_, set_) in _COMMANDS.items():
        if getattr(before, name) != getattr(wanted, name):
            _ioctl(control, interface, set_, int(getattr(wanted, name)))
    held = read(control, interface)
    if held != wanted:
        raise OffloadError(f"offloads of {interface} were set to {wanted} and are {held}")


def _ioctl(control: socket.socket, interface: str, command: int, value: int) -> int:
    buffer = array("B", _VALUE.pack(command, value))
    address, _ = buffer.buffer_info()
    fcntl.ioctl(control.fileno(), SIOCETHTOOL, _REQUEST.pack(interface.encode(), address))
    return int(_VALUE.unpack(buffer.tobytes())[1])
