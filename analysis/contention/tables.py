"""The tables of option contention that an analysis of captures writes (Parquet), column by column."""

from __future__ import annotations

from typing import Literal

from testbed.record.schema import Column, Table

KIND_GROUPS = ("data", "pure ACK", "opening and closing")
ALL = "all"


def _count(name: str, unit: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, "int64", unit, meaning, nullable)


def _real(name: str, meaning: str) -> Column:
    return Column(name, "float64", "ratio", meaning, True)


_SOURCE = Column(
    "source",
    "text",
    "",
    "Who says so: `ledger` (the endpoint itself), `capture` (inferred from packets), `kernel` (BPF).",
    choices=("ledger", "capture", "kernel"),
)
_WHO = (
    _count("connection", "", "Number of the connection in the analysis, from 0."),
    _count("subflow", "", "Number of the subflow in the analysis, from 0."),
    _count("direction", "", "Of the segments: 0 from the host that opened the connection, 1 to it."),
    Column("side", "text", "", "The host that sent them: client opened the connection.", choices=("client", "server")),
    _SOURCE,
    Column(
        "segment",
        "text",
        "",
        "Kind of the segments: data, pure ACK, opening and closing (SYN, FIN without data, RST), or all of them.",
        choices=(*KIND_GROUPS, ALL),
    ),
)

CONTENTION = Table(
    "contention",
    "One row per subflow, direction and kind of segment, of each side at whose interface the capture stands: how far "
    "what was wanted exceeds the 40 octets of TCP options, and what it costs. Delays and MSS stand in the rows of all "
    "kinds.",
    (
        *_WHO,
        _count("segments", "segments", "Segments sent."),
        _count("contended", "segments", "Segments whose wanted options exceed 40 octets."),
        _real("pressure_p50", "Median of the pressure: octets wanted / 40."),
        _real("pressure_p95", "95th percentile of it."),
        _real("pressure_max", "Largest."),
        _count("payload", "bytes", "Octets of payload."),
        _count("new_payload", "bytes", "Octets of payload on segments that were no retransmission."),
        _count("option_octets", "bytes", "Octets of option areas, padding included."),
        _count("padding_octets", "bytes", "NOP and EOL octets of them."),
        _count("free_octets", "bytes", "Octets of the areas that were left: 40 less option_octets, summed."),
        _count("timestamps_octets", "bytes", "Octets of timestamps, without padding."),
        _count("dss_octets", "bytes", "Octets of DSS, likewise."),
        _count("sack_octets", "bytes", "Octets of SACK, likewise."),
        _count("other_octets", "bytes", "Octets of all other options, likewise."),
        _count("sack_wanted", "blocks", "SACK blocks wanted."),
        _count("sack_sent", "blocks", "SACK blocks sent."),
        _count("sack_displaced", "blocks", "Wanted less sent."),
        _count("sack_padding", "blocks", "Displaced blocks that would fit into 40 octets without NOPs."),
        _count("sack_width", "blocks", "... with 32-bit DSN and DATA_ACK besides."),
        _count("sack_policy", "blocks", "... if what is optional were left out besides, or that there was room for."),
        _count("sack_hard", "blocks", "Displaced blocks that would not fit even then."),
        _real("displacement_rate", "sack_displaced / sack_wanted; null when none was wanted."),
        Column(
            "blame",
            "text",
            "",
            "Options any one of which, taken off, would have let a block more in, as `timestamps or dss:SEGMENTS`, the "
            "most frequent first.",
        ),
        _real("header_tax", "option_octets / payload."),
        _real("padding_share", "padding_octets / option_octets."),
        _count("sack_ranges", "", "SACK ranges that were wanted, each as it had grown.", nullable=True),
        _count(
            "information_delay_p50_ns",
            "ns",
            "Median time from the first segment that wanted to report a range to the first that did.",
            nullable=True,
        ),
        _count("information_delay_p95_ns", "ns", "95th percentile of it.", nullable=True),
        _count("never_reported", "", "Ranges that were acknowledged before any segment reported them.", nullable=True),
        _count(
            "map_delay_p50_ns",
            "ns",
            "Median over octets of payload: from the first transmission to the first mapping that covers the octet.",
            nullable=True,
        ),
        _count("map_delay_p95_ns", "ns", "95th percentile of it.", nullable=True),
        _count("map_delay_p95_segments", "segments", "The same in data segments of the subflow.", nullable=True),
        _count("map_delayed_octets", "bytes", "Octets whose mapping came on a later segment.", nullable=True),
        _count("map_missing_octets", "bytes", "Octets whose mapping never came.", nullable=True),
        _count("mss", "bytes", "Octets of payload and options that one packet may take.", nullable=True),
        _count("mss_net", "bytes", "Of them left to payload beside the options of most data segments.", nullable=True),
        _real("mss_loss", "1 - mss_net / what plain TCP with the same timestamps has."),
    ),
)

WHAT_IF = Table(
    "what_if",
    "The same segments with the same wants, packed under other policies: one row per policy, subflow, direction and "
    "kind of segment. A first-order answer: another policy would have changed the trace itself.",
    (
        Column("policy", "text", "", "Words of the policy, joined by commas (`testbed analyze --help`)."),
        *_WHO,
        _count("sack_wanted", "blocks", "SACK blocks wanted."),
        _count("sack_displaced", "blocks", "SACK blocks that would not have been sent."),
        _real("displacement_rate", "sack_displaced / sack_wanted; null when none was wanted."),
    ),
)

ADD_ADDR = Table(
    "add_addr",
    "One row per address that was announced: when the announcement was on the wire, when it was confirmed, when a "
    "subflow over it was established.",
    (
        _count("connection", "", "Number of the connection in the analysis, from 0."),
        _count("direction", "", "Of the announcement: 0 from the host that opened the connection, 1 to it."),
        _SOURCE,
        _count("address_id", "", "Address ID."),
        Column("address", "text", "", "The address."),
        _count("port", "", "The port, if one was announced.", nullable=True),
        _count("requested_ns", "ns", "When the endpoint wanted to send it; unknown to a capture.", nullable=True),
        _count("sent_ns", "ns", "When it was first seen on the wire.", nullable=True),
        _count("transmissions", "", "How often it was seen."),
        _count("echoed_ns", "ns", "When its echo was first seen.", nullable=True),
        _count("join_syn_ns", "ns", "First SYN of a subflow over that address after it.", nullable=True),
        _count("join_established_ns", "ns", "Third packet of that subflow's handshake.", nullable=True),
        _count("postponed_ns", "ns", "sent_ns - requested_ns.", nullable=True),
        _count("join_delay_ns", "ns", "join_established_ns - sent_ns.", nullable=True),
    ),
)

TABLES = (CONTENTION, WHAT_IF, ADD_ADDR)
Group = Literal["data", "pure ACK", "opening and closing"]
