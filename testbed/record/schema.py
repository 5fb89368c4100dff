"""Every table and column of a run directory, declared once: name, type, unit, meaning, whether it may be absent.

Rows are validated against this (``rows.py``), files are written with it (``parquet.py``) and docs/data-format.md is
generated from it (``documentation.py``). A column that is added, renamed or changes its meaning raises
:data:`SCHEMA_VERSION` and gets a migration (``migrate.py``).

Refuses to know how a value was measured, and what it means for an expectation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SCHEMA_VERSION = 10

ColumnType = Literal["int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64", "bool", "text"]
"""Arrow types; ``text`` is Arrow's ``string``. Integers are exact: no column of integers is ever stored as a float. The
narrow ones are for tables of millions of rows."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``unit`` is empty for text, names and flags."""

    name: str
    type: ColumnType
    unit: str
    meaning: str
    nullable: bool = False
    choices: tuple[str, ...] = ()
    """The only texts allowed; empty: any."""


@dataclass(frozen=True, slots=True)
class Table:
    """One Parquet file of a run directory."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        return {column.name: column for column in self.columns}[name]


def _text(name: str, meaning: str, *, nullable: bool = False, choices: tuple[str, ...] = ()) -> Column:
    return Column(name, "text", "", meaning, nullable, choices)


def _count(name: str, unit: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name, "int64", unit, meaning, nullable)


def _time(name: str, meaning: str, *, nullable: bool = True) -> Column:
    return Column(name, "int64", "ns", meaning, nullable)


def _real(name: str, unit: str, meaning: str, *, nullable: bool = True) -> Column:
    return Column(name, "float64", unit, meaning, nullable)


def _spread(name: str, of: str) -> tuple[Column, ...]:
    """The four order statistics that are kept of a distribution beside its raw values."""
    words = {"p50": "Median", "p95": "95th percentile", "p99": "99th percentile", "max": "Largest"}
    return tuple(_time(f"{name}_{key}_ns", f"{word} {of}.") for key, word in words.items())


_TRIAL = _count("trial", "", "Number of the trial, in order of execution, from 0.")
_DIRECTION = ("forward", "backward")
CLOCKS = ("virtual", "real")
VERDICTS = ("VALID", "INVALID", "UNSUPPORTED")
"""VALID: measured. INVALID: could not be measured. UNSUPPORTED: cannot run here. Never a statement on performance."""

TRIALS = Table(
    "trials",
    "One row per trial that was carried out or refused: what it was, whether it counts, headline metrics.",
    (
        _TRIAL,
        _text("experiment", "Name of the experiment."),
        _text("variant", "Name of the variant."),
        _count("repetition", "", "Which repetition of the variant, from 0."),
        Column("seed", "uint64", "", "Seed of this trial: of its link models and of its payload."),
        _text("verdict", "Whether the trial counts.", choices=VERDICTS),
        _text("reason", "Why it does not count, with numbers; empty when VALID."),
        _text("backend", "What ran it: mininet, sim ..."),
        _text(
            "realisation",
            "How shaped links were made: qdisc, relay, mixed, virtual time; null without any.",
            nullable=True,
        ),
        _text("started_utc", "Start of the trial, ISO 8601, UTC."),
        _time("duration_ns", "Wall time of the whole trial, set-up and tear-down included.", nullable=False),
        _time("setup_ns", "Wall time from the start of the trial to the start of its traffic."),
        _text(
            "clock",
            "Of a run on another machine, whose clock all other times of the run are by: `real`, or `virtual` time of "
            "a guest whose instructions are counted, which says nothing of ours; null on the own machine.",
            nullable=True,
            choices=CLOCKS,
        ),
        _text(
            "host_started_utc",
            "When the machine that asked for the run heard that the trial began, by its own clock, ISO 8601, UTC; null "
            "on the own machine, and where it heard that late (after the connection was lost).",
            nullable=True,
        ),
        _time(
            "host_duration_ns",
            "From then until it heard that the trial was stored, by its own clock; null likewise, and of trials that "
            "ran side by side.",
        ),
        _real("goodput_bit_s", "bit/s", "`flows.goodput_bit_s` of the first flow."),
        _time("completion_time_ns", "`flows.completion_time_ns` of the first flow."),
        _count("subflows", "subflows", "`flows.subflows` of the first flow.", nullable=True),
        _time("longest_stall_ns", "`flows.longest_stall_ns` of the first flow."),
        _time("lateness_p99_ns", "Worst over the links: 99th percentile of how late the emulator released a packet."),
        _real("rate_error", "ratio", "Worst over the links: relative error of the emulator's rate while backlogged."),
        _time(
            "stall_max_ns",
            "Largest time by which a short sleep (5 ms) beside the traffic was too long, beside the calibration where "
            "that was the end; null where nobody looked: on the own machine, on one that is not virtual, in virtual "
            "time.",
        ),
        _time("stall_p99_ns", "99th percentile of the same, over the sleeps."),
        Column(
            "disturbed",
            "bool",
            "",
            "Whether one was too long by more than 20 ms: the machine stood still meanwhile. A mark, no verdict.",
            True,
        ),
    ),
)

FLOWS = Table(
    "flows",
    "One row per trial and flow: what was asked for, what was in force, what the application got.",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("implementation", "Implementation asked for at the client: linux (MPTCP), linux-tcp, userspace ..."),
        _text("server_implementation", "Implementation asked for at the server.", nullable=True),
        _text("application", "Kind of the application.", nullable=True),
        _text("direction", "upload (client to server), download or both; null for programs.", nullable=True),
        _text("client_host", "Host of the client."),
        _text("server_host", "Host of the server."),
        _text("path", "Path of the first subflow, as asked for or derived.", nullable=True),
        _count("family", "", "Address family: 4 or 6.", nullable=True),
        _text("in_force", "Implementation in force after the handshake, read back.", nullable=True),
        _text("congestion_control", "Congestion control in force, read back.", nullable=True),
        _text("scheduler", "MPTCP scheduler in force, read back.", nullable=True),
        _real(
            "goodput_bit_s",
            "bit/s",
            "Application bytes that arrived x 8 / time from the start of the flow to the last byte. A flow that did "
            "not complete: to its end, with a duration at least that. With direction both the bytes of both, over "
            "the longer of the two times.",
        ),
        _real("goodput_upload_bit_s", "bit/s", "The same, client to server."),
        _real("goodput_download_bit_s", "bit/s", "The same, server to client."),
        _count("bytes_sent_upload", "bytes", "Application bytes that the client handed to its socket.", nullable=True),
        _count(
            "bytes_received_upload", "bytes", "Application bytes that the server read from its socket.", nullable=True
        ),
        _count(
            "bytes_sent_download", "bytes", "Application bytes that the server handed to its socket.", nullable=True
        ),
        _count(
            "bytes_received_download", "bytes", "Application bytes that the client read from its socket.", nullable=True
        ),
        _text(
            "integrity",
            "Whether what arrived is what was sent: compared byte by byte where the payload is known beforehand, else "
            "SHA-256 at both ends.",
            choices=("ok", "mismatch", "unchecked"),
        ),
        _count(
            "first_wrong_upload",
            "bytes",
            "Offset of the first byte that the server read and that is not what the client sent; null: none.",
            nullable=True,
        ),
        _count(
            "first_wrong_download",
            "bytes",
            "Offset of the first byte that the client read and that is not what the server sent; null: none.",
            nullable=True,
        ),
        _time("connect_time_ns", "From connect() to the established connection, at the client."),
        _time("first_byte_ns", "First application byte at the receiver, since the start of the traffic."),
        _time("completion_time_ns", "From the start of the flow to its last byte at the receiver."),
        _time(
            "longest_stall_ns",
            "Longest time without an application byte at the receiver; from the connection on when none ever came.",
        ),
        _time("longest_stall_start_ns", "When that stall began, since the start of the traffic."),
        _count("subflows", "subflows", "Subflows established in all, at any time; plain TCP has 1.", nullable=True),
        Column("fallback", "bool", "", "Whether an MPTCP connection fell back to TCP.", True),
        _count("retransmits", "segments", "Segments retransmitted by TCP, all subflows, both ends.", nullable=True),
        _count("bytes_retransmitted", "bytes", "Bytes retransmitted by TCP, all subflows, both ends.", nullable=True),
        _count(
            "operations",
            "",
            "Exchanges, blocks or transfers that were completed; null where the application has none (bulk, program).",
            nullable=True,
        ),
        _count(
            "operations_failed",
            "",
            "Exchanges, blocks or transfers that did not complete by the end of the flow.",
            nullable=True,
        ),
        *_spread("latency", "time from request to whole answer (request-response)"),
        *_spread("block_delay", "time from when a block was due to its arrival (stream)"),
        *_spread("flow_completion", "completion time of one transfer (short flows)"),
        Column(
            "complete", "bool", "", "Whether all that was to be moved was moved, and both ends closed orderly.", True
        ),
        _time("sample_lateness_max_ns", "How late the worst sample of either end was taken."),
        _text("error_kind", "Class of the error, as testbed/endpoint/protocol.py lists them.", nullable=True),
        _text("error", "What went wrong with this flow; null when nothing did.", nullable=True),
    ),
)

SUBFLOWS = Table(
    "subflows",
    "One row per trial, flow, side and subflow.",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("side", "Which end saw it.", choices=("client", "server")),
        _count("index", "", "Number of the subflow at that side, in order of appearance, from 0."),
        _text("local_address", "Address and port at that side."),
        _text("remote_address", "Address and port at the other side."),
        _text("path", "Path of the topology that these addresses belong to.", nullable=True),
        Column("backup", "bool", "", "Whether the subflow carried the backup flag.", True),
        _time("first_seen_ns", "First sample with it, since the start of the traffic."),
        _time("last_seen_ns", "Last sample with it, since the start of the traffic."),
    ),
)

SAMPLES = Table(
    "samples",
    "Time series in tidy form: one row per value.",
    (
        _TRIAL,
        _time("time_ns", "Since the start of the traffic; negative: before it.", nullable=False),
        _text(
            "subject",
            "What was observed: `main.server` (flow and side), `main.client.subflow0`, `main.client.connection1` (the "
            "first further connection of a flow that has several), `machine`.",
        ),
        _text("metric", "Name of the metric; the kernel's field name where it is one."),
        _real("value", "see unit", "The value.", nullable=False),
        _text("unit", "Unit of the value."),
        _text(
            "source",
            "Where it was read: application (kernel for programs), TCP_INFO, MPTCP_INFO, MPTCP_FULL_INFO "
            "(MPTCP_TCPINFO on older kernels), userspace (our own stack), /proc/stat, /proc/loadavg.",
        ),
    ),
)

DISTRIBUTIONS = Table(
    "distributions",
    "Raw values of the distributions whose percentiles stand in `flows`: one row per exchange, block or transfer. One "
    "that was under way at the end of the flow has the time until then (censored: it would have taken longer).",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("metric", "What was timed.", choices=("latency", "block_delay", "flow_completion")),
        _count("index", "", "Number of the exchange, block or transfer, from 0."),
        _time("time_ns", "When it was complete or the flow ended, since the start of the traffic."),
        _time("value_ns", "How long it took, or had taken by the end of the flow.", nullable=False),
    ),
)

COUNTERS = Table(
    "counters",
    "Kernel counters of each host before and after the traffic (/proc/net/netstat, snmp, snmp6), those of a "
    "userspace stack instead of its kernel's of the same names, and those of the emulator's qdiscs.",
    (
        _TRIAL,
        _text("host", "Host whose namespace was read; `emulator` is the node that makes the links."),
        _text(
            "counter",
            "Name of the counter, as nstat(8) prints it: `MPTcpExtMPCapableSYNRX` ...; of a qdisc "
            "`qdisc.<interface>.<kind>.<handle>.<counter>`, as `tc -s qdisc` counts.",
        ),
        _count("before", "", "Value before the traffic; null: this kernel has no such counter.", nullable=True),
        _count("after", "", "Value after the traffic; null likewise.", nullable=True),
    ),
)

LINKS = Table(
    "links",
    "One row per trial, shaped link and direction: what was asked for, what calibration measured, what was counted.",
    (
        _TRIAL,
        _text("link", "Name of the link."),
        _text("direction", "forward is from the link's a to its b.", choices=_DIRECTION),
        _text("realisation", "qdisc (netem or tbf of the kernel), relay or virtual time."),
        _text("profile", "What was asked for, in words: `20mbit, 10ms, queue 34packets`."),
        Column(
            "seed_asked",
            "uint64",
            "",
            "Seed that netem's chance was to begin from, at the start or at the last scheduled change; null: chance "
            "decides nothing here, or the relay or the simulator decides, from the seed of the trial.",
            True,
        ),
        Column(
            "seed_effective",
            "uint64",
            "",
            "Seed that the kernel's netem holds, read back after the traffic; null: no netem, or its kernel or tc "
            "knows of none. Where it is not `seed_asked`, other packets are lost when the trial is repeated.",
            True,
        ),
        _real("calibrated_rate_bit_s", "bit/s", "Rate measured before the traffic."),
        _real(
            "expected_rate_bit_s",
            "bit/s",
            "Rate that the same measurement would find on a perfect link; of a trace, its mean.",
        ),
        _real("rate_tolerance", "ratio", "Largest relative deviation of the rate accepted."),
        _time("calibrated_delay_ns", "One-way delay measured before the traffic."),
        _time("expected_delay_ns", "One-way delay that the same measurement would find on a perfect link; likewise."),
        _time("delay_tolerance_ns", "Largest deviation of the delay accepted."),
        _real("calibrated_loss", "probability", "Share of probes lost before the traffic."),
        _real("expected_loss", "probability", "Mean loss of the profile or its trace, before any scheduled change."),
        _count("packets_arrived", "packets", "Packets that came to the link during the traffic.", nullable=True),
        _count("bytes_arrived", "bytes", "Their bytes, Ethernet header included.", nullable=True),
        _count("packets_delivered", "packets", "Packets that left the link.", nullable=True),
        _count("bytes_delivered", "bytes", "Their bytes, Ethernet header included.", nullable=True),
        _count("dropped_loss", "packets", "Packets dropped by the loss model.", nullable=True),
        _count(
            "dropped_queue",
            "packets",
            "Packets dropped because the queue was full, or by its discipline.",
            nullable=True,
        ),
        _count("dropped_outage", "packets", "Packets dropped during an outage.", nullable=True),
        _count(
            "dropped_middlebox",
            "packets",
            "Packets that a middlebox dropped before they came to the link: not among those arrived.",
            nullable=True,
        ),
        _count("changed_middlebox", "packets", "Packets in whose place another one left a middlebox.", nullable=True),
        _count(
            "marked_ce",
            "packets",
            "Packets that the queue's discipline marked (ECN) instead of dropping.",
            nullable=True,
        ),
        _count("duplicated", "packets", "Packets sent twice.", nullable=True),
        _count("corrupted", "packets", "Packets with a flipped bit.", nullable=True),
        _count("reordered", "packets", "Packets that skipped the delay.", nullable=True),
        _count("queue_max_packets", "packets", "Largest backlog in packets.", nullable=True),
        _count("queue_max_bytes", "bytes", "Largest backlog in bytes.", nullable=True),
        _time("lateness_p50_ns", "Median of how late a packet was released, against the model."),
        _time("lateness_p99_ns", "99th percentile of the same."),
        _time("lateness_p999_ns", "99.9th percentile of the same."),
        _time("lateness_max_ns", "Largest of the same."),
        _real("rate_error", "ratio", "Relative error of the rate while the link was backlogged."),
        _text("check", "Finding of the checks before and after the traffic; null: in tolerance.", nullable=True),
    ),
)

MIDDLEBOXES = Table(
    "middleboxes",
    "One row per trial, link, middlebox and direction that it saw. A packet that came was handed on as it was, or "
    "changed, dropped or delayed.",
    (
        _TRIAL,
        _text("link", "Name of the link."),
        _text(
            "place",
            "Whose it is: of the link (then it sees both directions), or of the profile of one direction.",
            choices=("link", *_DIRECTION),
        ),
        _count("number", "", "Its place in that list, from 1."),
        _text("middlebox", "What it is, in words: `drop mptcp.add_addr nth 1`."),
        _text("direction", "Of the packets counted; forward is from the link's a to its b.", choices=_DIRECTION),
        _count("seen", "packets", "Packets that came."),
        _count("matched", "packets", "Packets that it was about."),
        _count("changed", "packets", "Packets in whose place another one left."),
        _count("dropped", "packets", "Packets in whose place none left."),
        _count(
            "made",
            "packets",
            "Packets that left in this direction beside those that came: copies, pieces, answers to the other one.",
        ),
        _count("delayed", "packets", "Packets that it kept, to let them go later."),
    ),
)

OBSERVATIONS = Table(
    "observations",
    "What scripted peers wrote down: one row per trial, flow and name. How each name comes about is told in "
    "docs/howto/script-a-peer.md.",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("side", "Which end wrote it down.", choices=("client", "server")),
        _text("name", "Name of what was observed: `reset_reason.sf1`, `data_acked`."),
        _real("value", "see unit", "The number; null: it was looked for and did not occur."),
        _text("unit", "Unit of the value; empty for counts and flags."),
    ),
)

EVENTS = Table(
    "events",
    "What happened when: scheduled changes of links, subflows that came and went, stalls of the machine, warnings.",
    (
        _TRIAL,
        _time("time_ns", "Since the start of the traffic; negative: before it.", nullable=False),
        _text(
            "kind",
            "`change` is a scheduled change of a link, at the time it took effect; `note` says how the testbed ran; "
            "`stall` is the end of a time in which the machine stood still (`trials.disturbed`).",
            choices=("change", "subflow-added", "subflow-removed", "note", "stall", "warning"),
        ),
        _text("subject", "The link, subflow or part that it happened to."),
        _text(
            "detail",
            "In words: `down`, `up`, `rate 5mbit, loss 2%`; of one direction `forward: down`; of a subflow its ends.",
        ),
    ),
)

SEGMENTS = Table(
    "segments",
    "One row per segment that an endpoint built: which TCP and MPTCP options its state called for, which left, and why "
    "the others did not. Written when the experiment asks for the ledger; rows of source `capture` are inferred from "
    "the packets at the endpoint's interface, and know of what is wanted only what can be seen there. Classes of what "
    "was left out: `padding` would fit into 40 octets without NOPs, `width` with 32-bit DSN and DATA_ACK besides, "
    "`policy` if what is optional were left out besides, `hard` not even then.",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("side", "Which end built it.", choices=("client", "server")),
        _text(
            "source",
            "Who says so: `ledger` (the endpoint itself), `capture` (inferred from packets), `kernel` (BPF).",
            choices=("ledger", "capture", "kernel"),
        ),
        _count("connection", "", "Number of the connection of that flow at that side, from 0."),
        _time("time_ns", "When the segment left, since the start of the traffic.", nullable=False),
        _count("subflow", "", "Number of the subflow at its end, from 0."),
        _text("segment", "syn, syn-ack, data, ack (without data), fin or rst."),
        Column("retransmission", "bool", "", "Whether data, SYN or FIN left again."),
        _count(
            "ssn",
            "bytes",
            "Relative subflow sequence number of the first octet (the SYN is 0); null: the SYN was not seen.",
            nullable=True,
        ),
        _count("payload", "bytes", "Octets of payload."),
        _text("wanted", "Options wanted, as name:size, in order of priority."),
        _count("wanted_octets", "bytes", "Sum of the sizes wanted, without padding; pressure is this / 40."),
        _text("sent", "Options sent, as name:size, in the order on the wire."),
        _count("option_octets", "bytes", "Octets of the option area, padding included."),
        _count("padding_octets", "bytes", "Its NOP and EOL octets."),
        _count("free_octets", "bytes", "40 less option_octets."),
        _count("sack_wanted", "blocks", "SACK blocks wanted, at most 4."),
        _count("sack_sent", "blocks", "SACK blocks sent."),
        _count("sack_padding", "blocks", "Displaced blocks of class padding."),
        _count("sack_width", "blocks", "Displaced blocks of class width."),
        _count("sack_policy", "blocks", "Displaced blocks of class policy."),
        _count("sack_hard", "blocks", "Displaced blocks of class hard."),
        _text("sack_blame", "Options any one of which, taken off, would have let one block more in."),
        _text(
            "mapping", "own, other (late mapping), repeated, declared (was sent before: not wanted), deferred, none."
        ),
        _text("omitted", "Options other than SACK that wait or were left out, as name:class."),
        _count(
            "mss",
            "bytes",
            "Octets of payload and options that one packet may take; null on SYNs: not known yet.",
            nullable=True,
        ),
        _count(
            "ack", "bytes", "Relative sequence number of the peer that is acknowledged (its SYN is 0).", nullable=True
        ),
        _text(
            "sack_ranges",
            "SACK ranges wanted, as first-end with the numbers of `ack`, in the order of reporting: the first "
            "`sack_sent` of them left. A duplicate that is reported (D-SACK) comes first.",
            nullable=True,
        ),
        _count(
            "mapping_ssn",
            "bytes",
            "Relative subflow sequence number at which the mapping on the segment begins; null: it carries none.",
            nullable=True,
        ),
        _count(
            "mapping_octets", "bytes", "Octets of data that it maps, DATA_FIN not counted; 0: infinite.", nullable=True
        ),
        _count(
            "frame",
            "",
            "Number of the packet in its capture, from 1; null unless the source is `capture`.",
            nullable=True,
        ),
    ),
)

LEDGER_SUMS = Table(
    "ledger_sums",
    "What `segments` would say, summed up for each trial: one row per trial, flow, side, source and kind of segment. "
    "Written instead of `segments` when the experiment has `ledger_form` = `sums` (a matrix of thousands of trials).",
    (
        _TRIAL,
        _text("flow", "Name of the flow."),
        _text("side", "Which end built the segments.", choices=("client", "server")),
        _text("source", "Who says so: as in `segments`.", choices=("ledger", "capture", "kernel")),
        _text("kind", "`data`; `ack`: pure ACKs; `rest`: the others; `all`.", choices=("data", "ack", "rest", "all")),
        _count("segments", "segments", "Segments of that kind."),
        _count("retransmissions", "segments", "... that carried data, SYN or FIN again."),
        _count("contended", "segments", "... whose wanted options exceed 40 octets."),
        _count("payload", "bytes", "Octets of payload."),
        _count("option_octets", "bytes", "Octets of the option areas, padding included."),
        _count("padding_octets", "bytes", "Their NOP and EOL octets."),
        _count("option_octets_max", "bytes", "Largest option area."),
        _count("sack_wanted", "blocks", "SACK blocks wanted."),
        _count("sack_sent", "blocks", "SACK blocks sent."),
        _count("sack_blocks_max", "blocks", "Most SACK blocks on one segment."),
        _count("sack_padding", "blocks", "Displaced blocks of class padding."),
        _count("sack_width", "blocks", "Displaced blocks of class width."),
        _count("sack_policy", "blocks", "Displaced blocks of class policy."),
        _count("sack_hard", "blocks", "Displaced blocks of class hard."),
        _count("mappings", "", "Segments with a mapping."),
        _count("mappings_repeated", "", "... that is the same as the one before on their subflow."),
        _count("omitted_dss", "segments", "Segments from which a DSS was left out altogether."),
        _count("omitted_mapping", "segments", "... from which a mapping was left out, with or without its DSS."),
        _count("omitted_add_addr", "segments", "... from which an ADD_ADDR was left out."),
        _count("sack_ranges", "", "SACK ranges wanted, each as it had grown; with kind `all` only.", nullable=True),
        _count("never_reported", "", "... acknowledged before any report; likewise.", nullable=True),
        _time("information_delay_p50_ns", "From wanting to report a range to the first report, median; likewise."),
        _time("information_delay_p95_ns", "... 95th percentile; likewise."),
        _count(
            "mapped_octets", "bytes", "Octets of payload, sent for the first time, that got a mapping.", nullable=True
        ),
        _count("map_delayed_octets", "bytes", "... on a later segment; likewise.", nullable=True),
        _count("map_missing_octets", "bytes", "Octets that never got one; likewise.", nullable=True),
        _time("map_delay_p95_ns", "From an octet to its mapping, 95th percentile over octets; likewise."),
        _time("add_addr_wait_max_ns", "Longest wait of an ADD_ADDR for a segment; null: none was sent."),
        _count("add_addr_never", "", "ADD_ADDRs that were wanted and never sent; with `all` only.", nullable=True),
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        TRIALS,
        FLOWS,
        SUBFLOWS,
        SAMPLES,
        DISTRIBUTIONS,
        COUNTERS,
        LINKS,
        MIDDLEBOXES,
        OBSERVATIONS,
        EVENTS,
        SEGMENTS,
        LEDGER_SUMS,
    )
}
"""Name -> table."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """One key of run.json. ``by`` says who supplies it: the caller of ``RunDirectory.create`` or the directory."""

    name: str
    type: type | tuple[type, ...]
    meaning: str
    required: bool = True
    by: Literal["caller", "directory"] = "caller"


RUN_KEYS: tuple[RunKey, ...] = (
    RunKey("schema_version", int, "Version of this format.", by="directory"),
    RunKey("state", str, "`running` or `complete`.", by="directory"),
    RunKey("started_utc", str, "When the directory was made, ISO 8601, UTC.", by="directory"),
    RunKey("finished_utc", str, "When it became complete.", required=False, by="directory"),
    RunKey("digest", str, "SHA-256 of the canonical JSON of the resolved experiment.", by="directory"),
    RunKey("files", dict, "Relative path -> SHA-256 of every file, set when complete.", required=False, by="directory"),
    RunKey("experiment", dict, "The resolved experiment: every variant, flow, link profile and expectation."),
    RunKey("plan", list, "Objects with `trial`, `variant`, `repetition`, `seed`, in order of execution."),
    RunKey("seed", int, "Seed of the run, from which the trials' seeds derive."),
    RunKey("backend", str, "What ran it."),
    RunKey("command", list, "Words of the command that made the run."),
    RunKey(
        "ran_on",
        dict,
        "Where another machine ran it, as texts: `backend` as asked for, `host`, `clock` (`trials.clock`), and of a "
        "machine that was booted for it what was booted; `capabilities`: JSON of what was found there, null where it "
        "could not be.",
        required=False,
    ),
    RunKey(
        "away",
        dict,
        "When a node lived on yet another machine: `node`, and of that machine `source`, `versions`, `machine`, "
        "`kernel` and `sysctls` as below.",
        required=False,
    ),
    RunKey("overrides", dict, "Key -> text set on the command line.", required=False),
    RunKey("source", dict, "`commit` (text or null) and `dirty` (flag, or null when unknown) of the testbed."),
    RunKey("versions", dict, "Name -> version: the testbed, Python, libraries, tools."),
    RunKey("machine", dict, "Name -> value: processor, cores, memory, virtualisation ..."),
    RunKey("kernel", dict, "Name -> value: release, version, features that matter (MPTCP, netem)."),
    RunKey("sysctls", dict, "Host or `machine` -> (name -> value), read back."),
    RunKey("notes", list, "Texts that a reader of the report has to know.", required=False),
)
"""Keys of run.json, in the order in which they are written."""
