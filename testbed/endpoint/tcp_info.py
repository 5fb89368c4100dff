"""Layouts of what the kernel tells about a TCP or an MPTCP connection. Pure: bytes in, values out.

Sources: include/uapi/linux/tcp.h (struct tcp_info) and include/uapi/linux/mptcp.h (struct mptcp_info); offsets checked
against the type information (BTF) of Linux 6.18. Both structs only ever grow at their end, so a kernel that returns
fewer bytes knows fewer fields: those are None here, never 0.

Names are the kernel's without ``tcpi_`` / ``mptcpi_``. Values are converted to base units: ns, bytes, bit/s.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

UNLIMITED_RATE = 2**64 - 1
"""sk_pacing_rate and sk_max_pacing_rate when nothing is paced; ~0UL in the kernel."""
INFINITE_SSTHRESH = 0x7FFFFFFF
"""TCP_INFINITE_SSTHRESH (include/net/tcp.h): slow start has not ended yet."""

OPTION_TIMESTAMPS, OPTION_SACK, OPTION_WSCALE, OPTION_ECN = 1, 2, 4, 8
"""Bits of tcpi_options (TCPI_OPT_*): what was negotiated."""

TCP_SYN_SENT, TCP_SYN_RECV = 2, 3
"""tcpi_state of a subflow whose handshake goes on; MPTCP_FULL_INFO lists it, too."""
TCP_CLOSE = 7
"""tcpi_state of a subflow that has ended; its addresses are all zero then, its counts are final."""

FLAG_FALLBACK, FLAG_REMOTE_KEY_RECEIVED = 1, 2
"""Bits of mptcpi_flags."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a number lies in a struct and what it means."""

    name: str
    offset: int
    code: str
    """Letter of the struct module: B u8, H u16, I u32, Q u64."""
    unit: str = "1"
    """Of the converted value."""
    factor: int = 1
    """Kernel's number x factor = value in ``unit``."""
    absent: int | None = None
    """The kernel's number that stands for "no value"."""

    @property
    def end(self) -> int:
        """Offset of the first byte behind it."""
        return self.offset + struct.calcsize(self.code)


_US, _MS = 1_000, 1_000_000
_BYTE_S = 8

TCP_INFO_FIELDS: tuple[Field, ...] = (
    Field("state", 0, "B"),
    Field("ca_state", 1, "B"),
    Field("retransmits", 2, "B"),
    Field("probes", 3, "B"),
    Field("backoff", 4, "B"),
    Field("options", 5, "B"),
    Field("rto", 8, "I", "ns", _US),
    Field("ato", 12, "I", "ns", _US),
    Field("snd_mss", 16, "I", "bytes"),
    Field("rcv_mss", 20, "I", "bytes"),
    Field("unacked", 24, "I", "segments"),
    Field("sacked", 28, "I", "segments"),
    Field("lost", 32, "I", "segments"),
    Field("retrans", 36, "I", "segments"),
    Field("last_data_sent", 44, "I", "ns", _MS),
    Field("last_data_recv", 52, "I", "ns", _MS),
    Field("last_ack_recv", 56, "I", "ns", _MS),
    Field("pmtu", 60, "I", "bytes"),
    Field("rcv_ssthresh", 64, "I", "bytes"),
    Field("rtt", 68, "I", "ns", _US),
    Field("rttvar", 72, "I", "ns", _US),
    Field("snd_ssthresh", 76, "I", "segments", 1, INFINITE_SSTHRESH),
    Field("snd_cwnd", 80, "I", "segments"),
    Field("advmss", 84, "I", "bytes"),
    Field("reordering", 88, "I", "segments"),
    Field("rcv_rtt", 92, "I", "ns", _US),
    Field("rcv_space", 96, "I", "bytes"),
    Field("total_retrans", 100, "I", "segments"),
    Field("pacing_rate", 104, "Q", "bit/s", _BYTE_S, UNLIMITED_RATE),
    Field("max_pacing_rate", 112, "Q", "bit/s", _BYTE_S, UNLIMITED_RATE),
    Field("bytes_acked", 120, "Q", "bytes"),
    Field("bytes_received", 128, "Q", "bytes"),
    Field("segs_out", 136, "I", "segments"),
    Field("segs_in", 140, "I", "segments"),
    Field("notsent_bytes", 144, "I", "bytes"),
    Field("min_rtt", 148, "I", "ns", _US, 2**32 - 1),
    Field("data_segs_in", 152, "I", "segments"),
    Field("data_segs_out", 156, "I", "segments"),
    Field("delivery_rate", 160, "Q", "bit/s", _BYTE_S),
    Field("busy_time", 168, "Q", "ns", _US),
    Field("rwnd_limited", 176, "Q", "ns", _US),
    Field("sndbuf_limited", 184, "Q", "ns", _US),
    Field("delivered", 192, "I", "segments"),
    Field("delivered_ce", 196, "I", "segments"),
    Field("bytes_sent", 200, "Q", "bytes"),
    Field("bytes_retrans", 208, "Q", "bytes"),
    Field("dsack_dups", 216, "I", "segments"),
    Field("reord_seen", 220, "I", "events"),
    Field("rcv_ooopack", 224, "I", "segments"),
    Field("snd_wnd", 228, "I", "bytes"),
    Field("rcv_wnd", 232, "I", "bytes"),
    Field("rehash", 236, "I", "events"),
    Field("total_rto", 240, "H", "events"),
    Field("total_rto_recoveries", 242, "H", "events"),
    Field("total_rto_time", 244, "I", "ns", _MS),
)
"""struct tcp_info. Left out: bit-fields, the never-filled fackets and last_ack_sent, AccECN byte counters."""

MPTCP_INFO_FIELDS: tuple[Field, ...] = (
    Field("subflows", 0, "B", "subflows"),
    Field("add_addr_signal", 1, "B", "addresses"),
    Field("add_addr_accepted", 2, "B", "addresses"),
    Field("subflows_max", 3, "B", "subflows"),
    Field("add_addr_signal_max", 4, "B", "addresses"),
    Field("add_addr_accepted_max", 5, "B", "addresses"),
    Field("flags", 8, "I"),
    Field("token", 12, "I"),
    Field("write_seq", 16, "Q", "bytes"),
    Field("snd_una", 24, "Q", "bytes"),
    Field("rcv_nxt", 32, "Q", "bytes"),
    Field("local_addr_used", 40, "B", "addresses"),
    Field("local_addr_max", 41, "B", "addresses"),
    Field("csum_enabled", 42, "B"),
    Field("retransmits", 44, "I", "segments"),
    Field("bytes_retrans", 48, "Q", "bytes"),
    Field("bytes_sent", 56, "Q", "bytes"),
    Field("bytes_received", 64, "Q", "bytes"),
    Field("bytes_acked", 72, "Q", "bytes"),
    Field("subflows_total", 80, "B", "subflows"),
    Field("last_data_sent", 84, "I", "ns", _MS),
    Field("last_data_recv", 88, "I", "ns", _MS),
    Field("last_ack_recv", 92, "I", "ns", _MS),
)
"""struct mptcp_info. ``subflows`` does not count the initial one, ``subflows_total`` does."""

TCP_INFO_BYTES = 280
"""sizeof(struct tcp_info) on Linux 6.18; a larger one of a later kernel is cut, a smaller one gives None."""
MPTCP_INFO_BYTES = 96
"""sizeof(struct mptcp_info) on Linux 6.18; 48 on 6.1."""

Info = Mapping[str, int | None]


def read_tcp_info(data: bytes | memoryview) -> Info:
    """Every field of :data:`TCP_INFO_FIELDS` in its unit; None where this kernel's struct ends before it."""
    return _read(TCP_INFO_FIELDS, data)


def read_mptcp_info(data: bytes | memoryview) -> Info:
    """Every field of :data:`MPTCP_INFO_FIELDS` in its unit; None where this kernel's struct ends before it."""
    return _read(MPTCP_INFO_FIELDS, data)


def _read(fields: tuple[Field, ...], data: bytes | memoryview) -> Info:
    return {field.name: _value(field, data) for field in fields}


def _value(field: Field, data: bytes | memoryview) -> int | None:
    if field.end > len(data):
        return None
    number: int = struct.unpack_from("=" + field.code, data, field.offset)[0]
    return None if number == field.absent else number * field.factor


UNITS_OF_TCP_INFO: Mapping[str, str] = {field.name: field.unit for field in TCP_INFO_FIELDS}
UNITS_OF_MPTCP_INFO: Mapping[str, str] = {field.name: field.unit for field in MPTCP_INFO_FIELDS}
