"""Option contention as a table of texts, for the page and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.contention import ContentionRow, WaitRow, contention
from analysis.report.capture_contention import grouped
from analysis.report.wording import NOT_MEASURED, quantity, share
from analysis.runs import Run

MOST_WORDS = 2
"""Reasons named in a cell, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class ContentionLine:
    """One row of texts."""

    variant: str
    side: str
    kind: str
    segments: str
    contended: str
    wanted: str
    sent: str
    displaced: str
    classes: str
    blame: str
    omitted: str
    header_tax: str
    padding: str
    source: str

    @property
    def is_contended(self) -> bool:
        """Whether SACK blocks were wanted at all: what a short table shows."""
        return self.wanted != "0"


@dataclass(frozen=True, slots=True)
class WaitLine:
    """What contention costs one side, in texts."""

    variant: str
    side: str
    ranges: str
    never: str
    information: str
    """Median and 95th percentile."""
    mapping: str
    address: str
    header_tax: str
    header_tax_useful: str
    mss_loss: str
    source: str


def wait_lines(rows: Sequence[WaitRow]) -> list[WaitLine]:
    """One for each variant, flow, side and source."""
    several = {
        row.variant for row in rows if any(other.flow != row.flow for other in rows if other.variant == row.variant)
    }
    return [_wait_line(row, row.variant in several) for row in rows]


def _wait_line(row: WaitRow, several_flows: bool) -> WaitLine:
    information = mapping = address = NOT_MEASURED
    if row.information_p50_ns is not None and row.information_p95_ns is not None:
        information = f"{quantity(row.information_p50_ns, 'ns')}, {quantity(row.information_p95_ns, 'ns')}"
    if row.map_p95_ns is not None:
        mapping = quantity(row.map_p95_ns, "ns") if row.map_delayed_octets else "none"
    if row.addresses_ns or row.addresses_dropped:
        longest = quantity(max(row.addresses_ns), "ns") if row.addresses_ns else NOT_MEASURED
        address = longest + (f" ({row.addresses_dropped} never sent)" if row.addresses_dropped else "")
    return WaitLine(
        variant=row.variant,
        side=f"{row.flow}.{row.side}" if several_flows else row.side,
        ranges=grouped(row.ranges),
        never=f"{grouped(row.never)} ({share(row.never / row.ranges)})" if row.ranges else NOT_MEASURED,
        information=information,
        mapping=mapping,
        address=address,
        header_tax=share(row.header_tax) if row.header_tax is not None else NOT_MEASURED,
        header_tax_useful=share(row.header_tax_useful) if row.header_tax_useful is not None else NOT_MEASURED,
        mss_loss=share(row.mss_loss) if row.mss_loss is not None else NOT_MEASURED,
        source=row.source,
    )


def contention_lines(run: Run) -> list[ContentionLine]:
    """Rows of data segments and pure ACKs always, of opening and closing ones when something was left out."""
    return lines_of(contention(run))


def lines_of(rows: Sequence[ContentionRow]) -> list[ContentionLine]:
    """The same, of rows that are known."""
    several = {
        row.variant for row in rows if any(other.flow != row.flow for other in rows if other.variant == row.variant)
    }
    return [_line(row, row.variant in several) for row in rows if row.kind in ("data", "pure ACK") or row.omitted]


def _line(row: ContentionRow, several_flows: bool) -> ContentionLine:
    displaced = (
        f"{grouped(row.displaced)} ({share(row.displacement_rate)})" if row.sums["sack_wanted"] else NOT_MEASURED
    )
    return ContentionLine(
        variant=row.variant,
        side=f"{row.flow}.{row.side}" if several_flows else row.side,
        kind=row.kind,
        segments=grouped(row.segments),
        contended=share(row.contended / row.segments),
        wanted=grouped(row.sums["sack_wanted"]),
        sent=grouped(row.sums["sack_sent"]),
        displaced=displaced,
        classes=", ".join(f"{word} {grouped(number)}" for word, number in row.classes().items()) or NOT_MEASURED,
        blame=_words(row.blame),
        omitted=_words(row.omitted),
        header_tax=share(row.header_tax) if row.header_tax is not None else NOT_MEASURED,
        padding=share(row.padding_share) if row.padding_share is not None else NOT_MEASURED,
        source=row.source,
    )


def _words(counts: Sequence[tuple[str, int]]) -> str:
    named = ", ".join(f"{word} ({grouped(number)})" for word, number in counts[:MOST_WORDS])
    return named + (" …" if len(counts) > MOST_WORDS else "") if named else NOT_MEASURED
