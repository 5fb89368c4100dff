"""What a TCP connection can be told, as one frozen value. Times in ns, sizes in octets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Defaults are those of the RFCs where they say SHOULD, and of Linux where they leave it open (said in each)."""

    mtu: int = 1500
    """Of the interface; the MSS offered is mtu - 40 (IPv4) or - 60 (IPv6) (RFC 9293 §3.7.1)."""
    black_hole_detection: bool = False
    """Try smaller segments when full ones time out again and again (RFC 4821 §7.7). Off as Linux's tcp_mtu_probing:
    an outage looks the same, and the small size would stay for 10 minutes."""
    timestamps: bool = True
    require_timestamps: bool = True
    """Drop a segment without timestamps once they are agreed upon (RFC 7323 §3.2: SHOULD); Linux takes it."""
    sack: bool = True
    dsack: bool = True
    window_scale: int | None = None
    """Shift to offer; None: the smallest that can express the receive buffer (at most 14)."""
    window_scaling: bool = True
    ecn: bool = False
    fast_open: bool = False
    nagle: bool = True
    minshall: bool = True
    """Nagle as Linux has it (tcp_minshall_check): only one *small* segment may be unacknowledged, so that the tail of a
    write follows its full segments at once. False: as RFC 9293 §3.7.4 has it, any unacknowledged data holds it."""
    delayed_ack_ns: int = 40 * MS
    """RFC 9293 MUST-58: below 500 ms; 40 ms is Linux's minimum. 0: acknowledge every segment at once."""
    recovery: Literal["rack", "rfc6675", "newreno"] = "rack"
    prr: bool = True
    limited_transmit: bool = True
    frto: bool = True
    tail_loss_probe: bool = True
    initial_rto_ns: int = SECOND
    min_rto_ns: int = 200 * MS
    """RFC 6298 (2.4) says 1 s; Linux, with its finer clock, 200 ms."""
    max_rto_ns: int = 120 * SECOND
    initial_window: int | None = None
    """Octets; None: RFC 6928."""
    syn_retries: int = 7
    """RFC 9293 MUST-23: R2 for a SYN at least 3 minutes; 1+2+4+...+64 s and 120 s (max_rto) make 247 s."""
    retries: int = 15
    """R2 for data, in retransmissions (Linux tcp_retries2)."""
    user_timeout_ns: int | None = None
    keepalive_ns: int | None = None
    """Idle time before the first probe; None: off (RFC 9293 MUST-25). At least 2 h unless an experiment says less."""
    keepalive_interval_ns: int = 75 * SECOND
    keepalive_probes: int = 9
    msl_ns: int = 30 * SECOND
    """Half of TIME_WAIT; RFC 9293 says 2 minutes, Linux 30 s."""
    send_buffer: int = 4 << 20
    receive_buffer: int = 4 << 20
    super_segment: int = 0
    """Largest payload of one segment handed to the driver (GSO); 0: one MSS."""
    out_of_order_limit: int = 4096
    """Segments that wait for a hole; beyond it the newest is dropped (and counted)."""
