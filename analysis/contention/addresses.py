"""Announced addresses: when an ADD_ADDR was on the wire, when it was confirmed, when a subflow used it.

A capture cannot know when the endpoint wanted to send it; the ledger can.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.capture.batch import Batch
from analysis.capture.resolution import Resolution, Subflow
from analysis.contention.tables import ADD_ADDR
from testbed.record.parquet import arrow_table

_MPTCP, _ADD_ADDR = 30, 3
_ECHO = 0x01
_FAMILY_V0 = {4: 4, 6: 16}
"""RFC 6824: the low nibble is the version of IP, and there is no echo."""


@dataclass(slots=True)
class Announcement:
    """One address of one end."""

    address_id: int
    address: bytes
    port: int | None
    sent_ns: int | None = None
    transmissions: int = 0
    echoed_ns: int | None = None


class Announcements:
    """All of a capture. Python runs over ADD_ADDR options only."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._found: dict[tuple[int, int, int, bytes, int | None], Announcement] = {}

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> None:
        """The next batch."""
        rare = batch.rare
        for index in np.flatnonzero((rare.kind == _MPTCP) & (rare.subtype == _ADD_ADDR)).tolist():
            row = int(rare.row[index])
            number = int(subflow[row])
            if number < 0:
                continue
            read = add_addr(rare.octets[index, : rare.size[index]].tobytes())
            if read is None:
                continue
            address_id, address, port, is_echo = read
            sender = int(direction[row]) ^ is_echo
            connection = self._resolution.subflows[number].connection
            key = connection, sender, address_id, address, port
            found = self._found.setdefault(key, Announcement(address_id, address, port))
            time_ns = int(batch.time_ns[row])
            if is_echo:
                found.echoed_ns = time_ns if found.echoed_ns is None else found.echoed_ns
            else:
                found.sent_ns = time_ns if found.sent_ns is None else found.sent_ns
                found.transmissions += 1

    def finish(self) -> pa.Table:
        """Table ``add_addr``."""
        rows = []
        for (connection, sender, *_), found in sorted(self._found.items(), key=lambda item: item[0][:3]):
            syn_ns, established_ns = self._joined(connection, sender, found)
            delay = None
            if established_ns is not None and found.sent_ns is not None:
                delay = established_ns - found.sent_ns
            rows.append(
                {
                    "connection": connection,
                    "direction": sender,
                    "source": "capture",
                    "address_id": found.address_id,
                    "address": str(ipaddress.ip_address(found.address)),
                    "port": found.port,
                    "sent_ns": found.sent_ns,
                    "transmissions": found.transmissions,
                    "echoed_ns": found.echoed_ns,
                    "join_syn_ns": syn_ns,
                    "join_established_ns": established_ns,
                    "join_delay_ns": delay,
                }
            )
        return arrow_table(ADD_ADDR, rows)

    def _joined(self, connection: int, sender: int, found: Announcement) -> tuple[int | None, int | None]:
        """SYN and third packet of the first subflow to that address after the announcement."""
        times = []
        for number in self._resolution.connections[connection].subflows:
            subflow = self._resolution.subflows[number]
            syn_ns = subflow.handshake_ns[0]
            if subflow.how != "join" or syn_ns is None or not _is_at(subflow, sender, found):
                continue
            if found.sent_ns is None or syn_ns >= found.sent_ns:
                times.append((syn_ns, subflow.handshake_ns[2]))
        return min(times, default=(None, None), key=lambda pair: pair[0])


def _is_at(subflow: Subflow, side: int, found: Announcement) -> bool:
    address, port = subflow.opener if side == 0 else subflow.listener
    return address == found.address and found.port in (None, port)


def add_addr(octets: bytes) -> tuple[int, bytes, int | None, bool] | None:
    """(address ID, address, port, whether it is an echo) of an option; None: its length cannot be (RFC 8684 3.4.1)."""
    nibble = octets[2] & 0x0F
    size = len(octets)
    if nibble in _FAMILY_V0:
        length, is_echo, rest = _FAMILY_V0[nibble], False, 0
    else:
        is_echo = bool(nibble & _ECHO)
        rest = 0 if is_echo else 8
        length = 4 if size - 4 - rest in (4, 6) else 16
    port_octets = size - 4 - rest - length
    if port_octets not in (0, 2):
        return None
    end = 4 + length
    port = int.from_bytes(octets[end : end + 2], "big") if port_octets else None
    return octets[3], octets[4:end], port, is_echo
