"""The small tables of an analysis as texts, for the page and for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.capture_budget import AREA
from analysis.report.capture_contention import ALL, ContentionLine
from analysis.report.capture_contention import grouped as in_groups
from analysis.report.wording import NOT_MEASURED, count, interval, quantity, share

MOST_ROWS = 40
"""Of a table in the page; the rest is in the Parquet file."""
WAYS = ("client to server", "server to client")
SHORT_WAYS = ("to server", "to client")
"""Direction -> words; the client is who opened the connection."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts; ``left_out`` rows are in the Parquet file only."""

    caption: str
    heads: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[str, ...], ...]
    file: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """The two rows of a connection."""

    ways: tuple[Row, Row]

    @property
    def number(self) -> int:
        """In the capture."""
        return int(self.ways[0]["connection"])

    @property
    def ends(self) -> str:
        """``client > server``."""
        return f"{self.ways[0]['source']} > {self.ways[0]['destination']}"

    @property
    def first_ns(self) -> int:
        """First packet."""
        return int(self.ways[0]["first_ns"] or 0)

    @property
    def span_ns(self) -> int:
        """From the first packet to the last."""
        return int(self.ways[0]["last_ns"] or 0) - self.first_ns

    @property
    def octets(self) -> int:
        """Of data, both directions."""
        return sum(int(row["goodput_octets"]) for row in self.ways)

    @property
    def family(self) -> str:
        """``MPTCP`` or ``TCP``."""
        return "MPTCP" if self.ways[0]["mptcp"] or self.ways[1]["mptcp"] else "TCP"

    @property
    def protocol(self) -> str:
        """The same with its version, and what became of it."""
        version = self.ways[0]["version"]
        words = self.family if version is None or self.family == "TCP" else f"{self.family} v{version}"
        fallback = self.ways[0]["fallback"] or self.ways[1]["fallback"]
        return f"{words}, fell back ({fallback})" if fallback else words

    @property
    def inferred(self) -> str:
        """What was inferred; empty: nothing."""
        return str(self.ways[0]["inferred"])


def connections_of(rows: Sequence[Row]) -> list[Connection]:
    """Rows of the table ``connections``, two by two."""
    found: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        found[row["connection"]][row["direction"]] = row
    return [Connection((ways[0], ways[1])) for _, ways in sorted(found.items())]


def group_labels(connections: Sequence[Connection], subflows: Sequence[Row]) -> dict[tuple[int, int], str]:
    """(subflow, direction) -> the group in which its segments are counted: MPTCP or TCP, and the direction."""
    families = {connection.number: connection.family for connection in connections}
    several = len(set(families.values())) > 1
    return {
        (row["subflow"], row["direction"]): (f"{families[row['connection']]}, " if several else "")
        + WAYS[row["direction"]]
        for row in subflows
    }


def headline(connections: Sequence[Connection], lines: Sequence[ContentionLine]) -> str:
    """The capture in one line."""
    multipath = sum(connection.family == "MPTCP" for connection in connections)
    plain = len(connections) - multipath
    parts = [count(multipath, "MPTCP connection")] * bool(multipath) + [count(plain, "TCP connection")] * bool(plain)
    text = " and ".join(parts)
    wanted = sum(line.sums["sack_wanted"] for line in lines)
    displaced = sum(line.displaced for line in lines)
    if wanted:
        return f"{text}: {share(displaced / wanted)} of the SACK blocks wanted found no room"
    return f"{text}: no SACK block was wanted" if lines else text


def gather_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(file, what it holds) of each file."""
    facts = []
    for item in manifest["files"]:
        counts = item["counts"]
        others = ", ".join(f"{word} {in_groups(number)}" for word, number in counts["not_tcp"].items())
        words = f"{in_groups(counts['packets'])} packets, {in_groups(counts['tcp'])} of TCP"
        words += f"; not TCP: {others}" if others else ""
        words += f"; {in_groups(counts['incomplete'])} with incomplete headers" if counts["incomplete"] else ""
        if counts["first_time_ns"] is not None:
            words += f"; {quantity(counts['last_time_ns'] - counts['first_time_ns'], 'ns')}"
        facts.append((item["name"], words))
    facts += [(name, "the same traffic at another place") for name in manifest["others"]]
    return facts


PLACES = {"opener": "the client", "listener": "the server", "between": "a place between the ends"}
"""Where a capture stands -> words."""


def subflow_name(row: Row) -> str:
    """``0: 10.0.1.1:4242 > 10.0.2.1:80``."""
    return f"{row['subflow']}: {row['source']} > {row['destination']}"


def connection_table(connections: Sequence[Connection]) -> TextTable:
    """One row for each direction that carried data."""
    heads = (
        "connection", "client > server", "subflows", "direction", "data", "goodput", "retransmitted",
        "reinjected", "out of order", "held back, 95 %",
    )  # fmt: skip
    texts = []
    for connection in connections:
        about = (
            f"{connection.number} {connection.protocol}{', inferred' if connection.inferred else ''}",
            connection.ends,
            str(connection.ways[0]["subflows"]),
        )
        shown = [row for row in connection.ways if row["goodput_octets"]] or connection.ways[:1]
        texts += [
            (
                *about,
                SHORT_WAYS[row["direction"]],
                quantity(row["goodput_octets"], "bytes"),
                quantity(row["goodput_bit_s"], "bit/s"),
                quantity(row["retransmitted_octets"], "bytes"),
                quantity(row["reinjected_octets"], "bytes"),
                in_groups(row["out_of_order_segments"]),
                quantity(row["head_of_line_p95_ns"], "ns"),
            )
            for row in shown
        ]
    numeric = frozenset(heads) - {"connection", "client > server", "direction"}
    return _cut("Connections, one row for each direction with data", heads, numeric, texts, "connections.parquet")


def subflow_table(rows: Sequence[Row]) -> TextTable:
    """One row for each subflow and direction."""
    heads = (
        "subflow", "connection", "sender > receiver", "opened", "packets", "payload", "retransmitted", "reinjected",
        "RTT, least – 95 %", "MSS", "header tax",
    )  # fmt: skip
    texts = [
        (
            str(row["subflow"]),
            str(row["connection"]),
            f"{row['source']} > {row['destination']}",
            row["how"] + (", backup" if row["backup"] else ""),
            in_groups(row["packets"]),
            quantity(row["payload_octets"], "bytes"),
            quantity(row["retransmitted_octets"], "bytes"),
            quantity(row["reinjected_octets"], "bytes"),
            interval(row["rtt_min_ns"], row["rtt_p95_ns"], "ns"),
            _number(row["mss"]),
            share(row["header_tax"]),
        )
        for row in sorted(rows, key=lambda row: (row["subflow"], row["direction"]))
    ]
    numeric = frozenset(heads) - {"sender > receiver", "opened"}
    return _cut("Subflows, one row for each direction", heads, numeric, texts, "subflows.parquet")


def one_way_table(rows: Sequence[Row]) -> TextTable:
    """Delays between two places that were both captured."""
    heads = (
        "subflow", "direction", "from", "to", "paired", "lost", "least", "median", "95 %", "largest",
    )  # fmt: skip
    texts = [
        (
            str(row["subflow"]),
            SHORT_WAYS[row["direction"]],
            short_names(row["near"]),
            short_names(row["far"]),
            in_groups(row["paired"]),
            f"{in_groups(row['lost'])} ({share(row['lost'] / (row['paired'] + row['lost']))})"
            if row["paired"] + row["lost"]
            else NOT_MEASURED,
            *(quantity(row[f"delay_{name}_ns"], "ns") for name in ("min", "p50", "p95", "max")),
        )
        for row in rows
    ]
    numeric = frozenset(heads) - {"direction", "from", "to"}
    caption = "One-way delay of the packets found at both places; the clocks are taken as they are"
    return _cut(caption, heads, numeric, texts, "one_way.parquet")


def short_names(files: str) -> str:
    """``/a/x.pcap + /a/y.pcap`` -> ``x.pcap + y.pcap``."""
    return " + ".join(name.rpartition("/")[2] for name in files.split(" + "))


def delay_table(rows: Sequence[Row]) -> TextTable:
    """What the contention of each subflow and direction cost, from the rows of ``contention`` of all segments."""
    heads = (
        "subflow", "segments of", "pressure, median – 95 %", "SACK ranges", "reported after, median", "95 %",
        "never reported", "mapping after, 95 %", "MSS loss", "source",
    )  # fmt: skip
    texts = [
        (
            str(row["subflow"]),
            row["side"],
            interval(row["pressure_p50"], row["pressure_p95"], "ratio"),
            _number(row["sack_ranges"]),
            quantity(row["information_delay_p50_ns"], "ns"),
            quantity(row["information_delay_p95_ns"], "ns"),
            _number(row["never_reported"]),
            quantity(row["map_delay_p95_ns"], "ns"),
            share(row["mss_loss"]),
            row["source"],
        )
        for row in rows
        if row["segment"] == ALL
    ]
    numeric = frozenset(heads) - {"segments of", "source"}
    return _cut("What it cost: delays of what could not be said at once", heads, numeric, texts, "contention.parquet")


def address_table(rows: Sequence[Row]) -> TextTable:
    """Addresses that were announced."""
    heads = ("connection", "announced to", "address", "times seen", "echo after", "subflow over it after")
    texts = [
        (
            str(row["connection"]),
            SHORT_WAYS[row["direction"]].removeprefix("to "),
            f"{row['address']}{'' if row['port'] is None else ', port ' + str(row['port'])} (ID {row['address_id']})",
            str(row["transmissions"]),
            quantity(_after(row["echoed_ns"], row["sent_ns"]), "ns"),
            quantity(row["join_delay_ns"], "ns"),
        )
        for row in rows
    ]
    numeric = frozenset(("times seen", "echo after", "subflow over it after"))
    return _cut("Addresses announced by ADD_ADDR", heads, numeric, texts, "add_addr.parquet")


def _after(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


def _number(value: int | None) -> str:
    return NOT_MEASURED if value is None else in_groups(value)


def layout_table(rows: Sequence[Row]) -> TextTable:
    """Option layouts by how many segments had them."""
    heads = ("segments", "share", "on", "options in the order on the wire", "octets", "padding", "free")
    counts: dict[tuple[str, str, int, int], int] = defaultdict(int)
    for row in rows:
        counts[row["layout"], row["segment"], row["option_octets"], row["padding_octets"]] += row["segments"]
    whole = sum(counts.values())
    texts = [
        (
            in_groups(number),
            share(number / whole),
            segment,
            layout or "none",
            str(octets),
            str(padding),
            str(AREA - octets),
        )
        for (layout, segment, octets, padding), number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    numeric = frozenset(heads) - {"on", "options in the order on the wire"}
    return _cut("Option layouts, the most frequent first", heads, numeric, texts, "layouts.parquet")


def _cut(
    caption: str, heads: tuple[str, ...], numeric: frozenset[str], rows: Sequence[tuple[str, ...]], file: str
) -> TextTable:
    shown = tuple(rows[:MOST_ROWS])
    return TextTable(caption, heads, numeric, shown, file, len(rows) - len(shown))
