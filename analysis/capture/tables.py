"""The tables that an analysis of a capture leaves, declared: column, type, unit, meaning. docs/data-format.md has them.

``direction`` 0 is from the host that opened the connection to the one that accepted it, 1 is back. Times are those of
the capture. What is not known is null, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.record.schema import Column, ColumnType, Table


def _column(name: str, kind: ColumnType, unit: str, meaning: str, *, null: bool = False) -> Column:
    return Column(name, kind, unit, meaning, null)


def _count(name: str, unit: str, meaning: str, *, null: bool = False) -> Column:
    return _column(name, "int64", unit, meaning, null=null)


def _text(name: str, meaning: str, *, choices: tuple[str, ...] = (), null: bool = False) -> Column:
    return Column(name, "text", "", meaning, null, choices)


def _time(name: str, meaning: str) -> Column:
    return _column(name, "int64", "ns", meaning, null=True)


def _flag(name: str, meaning: str, *, null: bool = False) -> Column:
    return _column(name, "bool", "", meaning, null=null)


def _spread(name: str, of: str) -> tuple[Column, ...]:
    return (
        _count(f"{name}_samples", "", f"Samples of {of}."),
        _time(f"{name}_min_ns", f"Smallest {of}."),
        _time(f"{name}_p50_ns", f"Median {of}, to 0.2 %."),
        _time(f"{name}_p95_ns", f"95th percentile of {of}, to 0.2 %."),
        _time(f"{name}_max_ns", f"Largest {of}."),
    )


_CONNECTION = _count("connection", "", "Number of the connection in the capture, from 0.")
_SUBFLOW = _count("subflow", "", "Number of the subflow in the capture, from 0; tshark's `tcp.stream`.")
_DIRECTION = _count("direction", "", "0: from the host that opened the connection; 1: to it.")
_PLACE = (_CONNECTION, _SUBFLOW, _DIRECTION)
_FRAME = _count("frame", "", "Number of the packet in the capture, from 1.")
_WHEN = _time("time_ns", "Since the epoch.")

_REPEATS = (
    _count("retransmitted_segments", "segments", "Segments with an octet that the subflow had sent before."),
    _count("retransmitted_octets", "bytes", "Those octets, each time they left again; by interval arithmetic."),
    _count(
        "reinjected_segments",
        "segments",
        "Segments with an octet whose DSN another subflow had sent before (tshark's `mptcp.reinjection_of`); "
        "retransmissions of what had been reinjected elsewhere are among them.",
    ),
    _count(
        "reinjected_octets",
        "bytes",
        "Octets that left on this subflow for the first time, and on another one before.",
    ),
)
_OPTIONS = (
    _count("option_octets", "bytes", "Octets of TCP options of all segments, padding included."),
    _count("padding_octets", "bytes", "NOP and EOL octets among them."),
    _column("header_tax", "float64", "ratio", "option_octets / payload_octets; null without payload.", null=True),
    _column(
        "header_tax_useful", "float64", "ratio", "option_octets / goodput_octets; null without goodput.", null=True
    ),
)
_RATES = (
    _column("throughput_bit_s", "float64", "bit/s", "payload_octets x 8 / (last_ns - first_ns).", null=True),
    _column("goodput_bit_s", "float64", "bit/s", "goodput_octets x 8 / (last_ns - first_ns).", null=True),
)

CONNECTIONS = Table(
    "connections",
    "One row per connection and direction. A connection is an MPTCP connection with all its subflows, or a plain TCP "
    "one.",
    (
        _CONNECTION,
        _DIRECTION,
        _flag("mptcp", "Whether data have DSNs; false: plain TCP, or fallen back during the handshake."),
        _count("version", "", "Of MPTCP; null: plain TCP, or MP_CAPABLE is not in the capture.", null=True),
        _text("source", "Address and port of the sending end of the first subflow."),
        _text("destination", "Address and port of its receiving end."),
        _count("subflows", "subflows", "Subflows, also those that were refused."),
        _text("inferred", "What was inferred because a handshake is not in the capture; empty: nothing."),
        _text(
            "fallback",
            "`handshake`: MPTCP was asked for and TCP came of it; `infinite`: an infinite mapping ended MPTCP; "
            "`unmapped`: data without a mapping ended it; empty: no fallback.",
            choices=("", "handshake", "infinite", "unmapped"),
        ),
        _flag("checksum", "Whether DSS checksums are in use; null: not known, or plain TCP.", null=True),
        _column("token", "uint64", "", "Token of the sending host.", null=True),
        _column("idsn", "uint64", "", "Initial DSN of this direction, by the key.", null=True),
        _time("first_ns", "First packet of the connection, either direction."),
        _time("last_ns", "Last packet of the connection, either direction."),
        _count("packets", "packets", "Packets of this direction."),
        _count("payload_octets", "bytes", "Octets of TCP payload, repetitions included."),
        _count(
            "goodput_octets",
            "bytes",
            "Union of the DSN intervals that were sent, exact to the octet; plain TCP and what followed a fallback: "
            "union of the sequence intervals. SYN, FIN and DATA_FIN do not count.",
        ),
        _count(
            "acked_octets",
            "bytes",
            "Octets up to the highest DATA_ACK (plain TCP: ACK), DATA_FIN not counted; null: no such "
            "acknowledgment, or the beginning is not in the capture.",
            null=True,
        ),
        _count(
            "unmapped_octets",
            "bytes",
            "Octets of MPTCP subflows that no mapping was seen for. They count as goodput only after a fallback.",
        ),
        *_REPEATS,
        _count(
            "out_of_order_segments",
            "segments",
            "Segments whose first DSN is below the next expected one (RFC 4737 section 3.3), duplicates not counted.",
        ),
        _count("out_of_order_octets", "bytes", "New octets in them."),
        _count("out_of_order_extent_octets", "bytes", "How far below the next expected DSN the worst one began."),
        _text(
            "capture_at",
            "Where the capture stands for this direction, by the times of the handshakes or as given: `sender`, "
            "`receiver`, `between`; null: not known.",
            choices=("sender", "receiver", "between"),
            null=True,
        ),
        _count(
            "head_of_line_octets",
            "bytes",
            "Octets that waited at the receiver for DSNs before them; null unless the capture stands there.",
            null=True,
        ),
        _time("head_of_line_p50_ns", "Median over all octets of how long they waited, to 0.2 %; null likewise."),
        _time("head_of_line_p95_ns", "95th percentile likewise."),
        _time("head_of_line_p99_ns", "99th percentile likewise."),
        _time("head_of_line_max_ns", "Longest."),
        _time("head_of_line_mean_ns", "Mean."),
        *_OPTIONS,
        *_RATES,
    ),
)

SUBFLOWS = Table(
    "subflows",
    "One row per subflow and direction. A 4-tuple that is used again by a new SYN is a new subflow.",
    (
        *_PLACE,
        _text(
            "how",
            "`initial`: by MP_CAPABLE; `join`: by MP_JOIN; `tcp`: without MPTCP; `inferred`: MPTCP whose handshake is "
            "not in the capture.",
            choices=("initial", "join", "tcp", "inferred"),
        ),
        _count("ip_version", "", "4 or 6."),
        _text("source", "Address and port of the sending end."),
        _text("destination", "Address and port of the receiving end."),
        _flag("opener", "Whether the sending end opened this subflow; null: its SYN is not in the capture.", null=True),
        _count("first_frame", "", "First packet of the subflow, either direction."),
        _time("first_ns", "Its time."),
        _time("last_ns", "Last packet, either direction."),
        _count("isn", "", "Initial sequence number of this direction.", null=True),
        _count("mss", "bytes", "MSS option that the sending end sent.", null=True),
        _count("window_shift", "bits", "Window scale option that it sent.", null=True),
        _flag("sack_permitted", "Whether it sent SACK-permitted; null: its SYN is not in the capture.", null=True),
        _flag("timestamps", "Whether segments of the subflow carry timestamps."),
        _count("address_id", "", "Address ID of the sending end; null: not known.", null=True),
        _flag("backup", "B bit of the MP_JOIN that the sending end sent; null: none.", null=True),
        _time("syn_rtt_ns", "From the SYN to the SYN/ACK that answers it, as the capture saw it."),
        _time("third_rtt_ns", "From the SYN/ACK to the opener's next segment, as the capture saw it."),
        _count("packets", "packets", "Packets."),
        _count("wire_octets", "bytes", "Octets of the frames, link header included."),
        _count("payload_octets", "bytes", "Octets of TCP payload, repetitions included."),
        _count("data_segments", "segments", "Segments with payload."),
        _count("pure_acks", "segments", "Segments with ACK and without payload, SYN, FIN and RST."),
        _count("syns", "segments", "SYN and SYN/ACK segments; above 1: repeated."),
        _count("fins", "segments", "FIN segments; above 1: repeated."),
        _count("resets", "segments", "RST segments."),
        _count("sequence_octets", "bytes", "Union of the sequence intervals with payload."),
        _count("mapped_octets", "bytes", "Union of the DSN intervals that this subflow sent; plain TCP: as above."),
        _count(
            "goodput_octets",
            "bytes",
            "Octets that this subflow was the first to send: they add up to the connection's.",
        ),
        _count("unmapped_octets", "bytes", "Octets that no mapping was seen for; 0 for plain TCP."),
        _count(
            "acked_octets", "bytes", "Octets up to the highest ACK; null: none, or the SYN is not there.", null=True
        ),
        *_REPEATS,
        _count(
            "out_of_order_segments",
            "segments",
            "Segments whose first octet is below the next expected sequence number (RFC 4737 section 3.3), duplicates "
            "not counted.",
        ),
        _count("out_of_order_octets", "bytes", "New octets in them."),
        _count("out_of_order_extent_octets", "bytes", "How far below the next expected the worst one began."),
        _count("dsn_out_of_order_segments", "segments", "The same by DSN within the connection."),
        _count("dsn_out_of_order_octets", "bytes", "New octets in them."),
        *_spread("rtt", "the time from a segment, sent once, to the ACK that ends behind it (Karn's rule)"),
        *_spread("rtt_timestamp", "the time from a TSval with data to the first advancing ACK that echoes it"),
        *_OPTIONS,
        *_RATES,
    ),
)

MAPPINGS = Table(
    "mappings",
    "One row per run of segments of a subflow that carry the same mapping; one that comes again later is a new row.",
    (
        *_PLACE,
        _FRAME,
        _WHEN,
        _column("dsn", "uint64", "", "Data sequence number, 64 bits; null: its upper half is not known.", null=True),
        _count("dsn_octets", "bytes", "8 or 4: width on the wire; 0: MP_CAPABLE with data, which carries none."),
        _count("ssn", "bytes", "Relative subflow sequence number, widened; the SYN is 0."),
        _count("length", "bytes", "Octets of data, the DATA_FIN not counted; 0 with DATA_FIN: nothing else is mapped."),
        _flag("infinite", "Whether the mapping has no end (length 0 on the wire)."),
        _flag("data_fin", "Whether it ends with a DATA_FIN."),
        _count("checksum", "", "Checksum on the wire.", null=True),
        _count("segments", "segments", "Segments of the run."),
    ),
)

SACK = Table(
    "sack",
    "One row per SACK block.",
    (
        *_PLACE,
        _FRAME,
        _WHEN,
        _count("index", "", "Of the block in its option, from 0."),
        _count("ack", "bytes", "ACK of the segment, relative to the ISN of the data acknowledged."),
        _count("left", "bytes", "Left edge, likewise."),
        _count("right", "bytes", "Right edge, likewise."),
        _flag(
            "duplicate",
            "Whether the block reports a duplicate (RFC 2883 section 4: below the ACK, or within the next).",
        ),
    ),
)

MPTCP_EVENTS = Table(
    "mptcp_events",
    "One row per MPTCP option other than DSS.",
    (
        *_PLACE,
        _FRAME,
        _WHEN,
        _text("option", "MP_CAPABLE, MP_JOIN, ADD_ADDR, REMOVE_ADDR, MP_PRIO, MP_FAIL, MP_FASTCLOSE, MP_TCPRST."),
        _text("octets", "The whole option as on the wire, hexadecimal."),
        _count("version", "", "MP_CAPABLE: version of MPTCP.", null=True),
        _flag("checksum", "MP_CAPABLE: whether DSS checksums are asked for.", null=True),
        _column("sender_key", "uint64", "", "MP_CAPABLE.", null=True),
        _column("receiver_key", "uint64", "", "MP_CAPABLE, MP_FASTCLOSE.", null=True),
        _count("data_length", "bytes", "MP_CAPABLE with data: octets mapped.", null=True),
        _text("address_ids", "MP_JOIN, ADD_ADDR, MP_PRIO (v0): the ID; REMOVE_ADDR: all.", null=True),
        _flag("backup", "MP_JOIN, MP_PRIO.", null=True),
        _column("token", "uint64", "", "MP_JOIN.", null=True),
        _column("nonce", "uint64", "", "MP_JOIN.", null=True),
        _text("hmac", "MP_JOIN, ADD_ADDR: hexadecimal.", null=True),
        _text("address", "ADD_ADDR.", null=True),
        _count("port", "", "ADD_ADDR.", null=True),
        _flag("echo", "ADD_ADDR v1; null for v0, which has none.", null=True),
        _column("dsn", "uint64", "", "MP_FAIL.", null=True),
        _flag("transient", "MP_TCPRST: T flag.", null=True),
        _count("reason", "", "MP_TCPRST: reason code.", null=True),
    ),
)

SERIES = Table(
    "series",
    "Sums over time: one row per subflow, direction and bin in which there was a packet. A bin without a row had none.",
    (
        *_PLACE,
        _time("time_ns", "Begin of the bin, since the epoch."),
        _count("bin_ns", "ns", "Width of the bin: 1, 2 or 5 times a power of ten, at most 1000 bins in the capture."),
        _count("packets", "packets", "Packets."),
        _count("wire_octets", "bytes", "Octets of the frames."),
        _count("payload_octets", "bytes", "Octets of payload, repetitions included."),
        _count("new_octets", "bytes", "Octets that the connection had not sent before: goodput."),
        _count("retransmitted_octets", "bytes", "Octets that the subflow had sent before."),
        _count("reinjected_octets", "bytes", "Octets new to this subflow that another had sent before."),
    ),
)

ONE_WAY = Table(
    "one_way",
    "One row per subflow, direction and pair of places that were both captured: each packet of one place found again "
    "at the other (same ends, sequence and acknowledgment numbers, flags, payload, timestamps, DSS). Assumes that "
    "nothing between them rewrites these (no NAT). The clocks of the two captures are taken as they are.",
    (
        *_PLACE,
        _text("near", "The capture at the sender's side of the two, by the times themselves."),
        _text("far", "The other one."),
        _count("paired", "packets", "Packets found at both."),
        _count("lost", "packets", "Packets at the near place that never came to the far one."),
        _count("lost_octets", "bytes", "Their payload."),
        _count("extra", "packets", "Packets at the far place that had not passed the near one (as captured)."),
        _time("delay_min_ns", "Smallest delay from near to far; may be negative when clocks differ."),
        _time("delay_p50_ns", "Median, to 0.2 % of its distance from the smallest."),
        _time("delay_p95_ns", "95th percentile likewise."),
        _time("delay_max_ns", "Largest."),
        _time("delay_mean_ns", "Mean."),
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table for table in (CONNECTIONS, SUBFLOWS, SERIES, ONE_WAY, MAPPINGS, SACK, MPTCP_EVENTS)
}
"""Name -> table, in the order of docs/data-format.md."""
