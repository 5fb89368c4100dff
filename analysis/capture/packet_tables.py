"""The table of packets, declared: one row for each TCP packet, what was on the wire and what it belongs to."""

from __future__ import annotations

from typing import Final

from testbed.record.schema import Column, ColumnType, Table

STATUS_WORDS: Final = ("cut_options", "malformed_options", "cut_header", "bad_option", "fragment")
"""By bit of ``Batch.status``."""
REPEATS: Final = ("", "retransmission", "reinjection")
"""By value of ``Resolved.repeat``."""


def _column(name: str, kind: ColumnType, unit: str, meaning: str, *, null: bool = False) -> Column:
    return Column(name, kind, unit, meaning, null)


def _text(name: str, meaning: str, *, null: bool = False, choices: tuple[str, ...] = ()) -> Column:
    return Column(name, "text", "", meaning, null, choices)


_NO_RESOLUTION = "Null: the packet was not resolved to a subflow."

PACKETS: Final = Table(
    "packets",
    "One row per TCP packet, in the order of the file. Numbers are as on the wire where nothing else is said; what a "
    "packet does not have, or the capture does not show, is null.",
    (
        _column(
            "frame", "int64", "", "Number of the packet in the file, from 1; packets that are not TCP are counted."
        ),
        _column("time_ns", "int64", "ns", "Since the epoch; null: the file does not tell.", null=True),
        _column("interface", "uint16", "", "Interface of the capture (pcapng), from 0."),
        _column("captured_octets", "uint32", "bytes", "Captured of the frame."),
        _column("wire_octets", "uint32", "bytes", "Of the frame on the wire, link header included."),
        _text("source", "Address of the sender."),
        _column("source_port", "uint16", "", "Its port."),
        _text("destination", "Address of the receiver."),
        _column("destination_port", "uint16", "", "Its port."),
        _column("ttl", "uint8", "hops", "IPv4 TTL or IPv6 hop limit."),
        _column("traffic_class", "uint8", "", "IPv4 TOS or IPv6 traffic class: DSCP and ECN."),
        _column("flags", "uint16", "", "The 12 bits from the reserved ones to FIN; null: cut before them.", null=True),
        _column("seq", "uint32", "", "Sequence number; null: cut before it.", null=True),
        _column("ack", "uint32", "", "Acknowledgment number; null without the ACK flag.", null=True),
        _column("window", "uint16", "", "As on the wire, not scaled; null: cut before it.", null=True),
        _column("tcp_header_octets", "uint8", "bytes", "Data offset x 4; null: cut before it.", null=True),
        _column(
            "payload",
            "uint32",
            "bytes",
            "Octets of TCP payload on the wire, captured or not: IP length less headers; null: the TCP header is cut "
            "or malformed.",
            null=True,
        ),
        _text(
            "options",
            "Layout of the option area: name:octets in wire order; of a DSS in brackets DATA_ACK (A4, A8), mapping "
            "(M4, M8), checksum (C), DATA_FIN (F). `cut`: the capture ends in the area; `malformed`: an impossible "
            "length; (bad): a length that the kind does not allow.",
        ),
        _column("tsval", "uint32", "", "TSval; null without the option.", null=True),
        _column("tsecr", "uint32", "", "TSecr; null without the option.", null=True),
        _column("sack_blocks", "uint8", "blocks", "SACK blocks on the packet."),
        _column("dss_flags", "uint8", "", "F, m, M, a, A of the first DSS (16, 8, 4, 2, 1); null without.", null=True),
        _column("data_ack", "uint64", "", "DATA_ACK as on the wire, 32 or 64 bits; null without.", null=True),
        _column("dsn", "uint64", "", "DSN of the mapping as on the wire, 32 or 64 bits; null without.", null=True),
        _column("dss_ssn", "uint32", "", "Relative subflow sequence number of the mapping; null without.", null=True),
        _column("dss_length", "uint16", "bytes", "Data-level length of the mapping; null without.", null=True),
        _column("dss_checksum", "uint16", "", "Checksum of the mapping; null without.", null=True),
        _text(
            "status",
            "What is wrong with the packet, of " + ", ".join(STATUS_WORDS) + "; empty: all there and well formed.",
        ),
        _column("connection", "int32", "", f"Number of the connection, from 0. {_NO_RESOLUTION}", null=True),
        _column("subflow", "int32", "", f"Number of the subflow, from 0. {_NO_RESOLUTION}", null=True),
        _column(
            "direction",
            "uint8",
            "",
            f"0: from the host that opened the connection; 1: to it. {_NO_RESOLUTION}",
            null=True,
        ),
        _column(
            "ssn",
            "int64",
            "bytes",
            "Relative subflow sequence number of the first octet of data (SYN 0), over all wraps; null: not known.",
            null=True,
        ),
        _column(
            "position",
            "uint64",
            "",
            "DSN of the first octet of payload, 64 bits, by the mapping that covers it; plain TCP: its sequence "
            "number, over all wraps. Null: no payload, or not known.",
            null=True,
        ),
        _column(
            "acknowledged",
            "uint64",
            "",
            "DATA_ACK widened to 64 bits; plain TCP: acknowledgment number, over all wraps. Null: none, or not known.",
            null=True,
        ),
        _text(
            "repeat",
            "`retransmission`: octets that this subflow had sent before; `reinjection`: octets that another one had; "
            "empty: neither; null: not resolved.",
            null=True,
            choices=REPEATS,
        ),
    ),
)
