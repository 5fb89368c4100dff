"""What an expectation can be about: a text such as ``goodput_bit_s`` or ``counter:MPTcpExtMPRstTx@server``.

==================================== ==================================================================================
text                                 number of one trial
==================================== ==================================================================================
``goodput_bit_s``                    a number of the table ``flows``, of the expectation's flow
``counter:NAME@HOST``                how far that counter moved during the traffic (table ``counters``)
``watched:NAME@LINK``                packets that met a watch of that name on that link (table ``middleboxes``)
``observed:NAME``                    what a scripted peer wrote down under that name (table ``observations``)
``ledger:NAME@SIDE/KIND``            of the segments of one kind that one side built (table ``segments``): KIND is
                                     ``data``, ``ack`` (pure ACKs), or ``all``; NAME is one of :data:`LEDGER_MEASURES`
``sampled:METRIC@SUBJECT[2s..4s]``   mean of a time series over a part of the traffic (table ``samples``)
``fate:WORD``                        1 when that became of the connection (``grid.Fate``), else 0
==================================== ==================================================================================

The table lists every source; a new one is a line here and a function in ``analysis/measured.py``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from testbed.record.schema import FLOWS

Source = Literal["flows", "counter", "watched", "observed", "ledger", "sampled", "fate"]
FATES: Final = ("mptcp", "fallback", "tcp", "reset", "unfinished", "no connection")

LEDGER_MEASURES: Mapping[str, tuple[str, str]] = {
    "segments": ("segments", "segments of that kind"),
    "contended_share": ("share", "segments whose wanted options exceed 40 octets, of all"),
    "sack_wanted": ("blocks", "SACK blocks wanted"),
    "sack_sent": ("blocks", "SACK blocks sent"),
    "sack_displaced": ("blocks", "SACK blocks wanted less sent"),
    "displaced_share": ("share", "SACK blocks displaced, of those wanted"),
    "sack_blocks_max": ("blocks", "most SACK blocks on one segment"),
    "option_octets_max": ("bytes", "largest option area"),
    "header_tax": ("ratio", "option octets of all segments of the side per payload octet that it sent"),
    "padding_share": ("share", "NOP and EOL octets, of the option octets"),
    "information_delay_p50_ns": ("ns", "median time from wanting to report a SACK range to the first report"),
    "information_delay_p95_ns": ("ns", "95th percentile of it"),
    "never_reported_share": ("share", "SACK ranges acknowledged before any report, of all that were wanted"),
    "map_delay_p95_ns": ("ns", "95th percentile, over octets, of the time from the octet to its mapping"),
    "map_delayed_share": ("share", "octets of payload whose mapping came on a later segment"),
    "redundant_mapping_share": ("share", "mappings that repeat the one before on their subflow, of all"),
    "add_addr_wait_max_ns": ("ns", "longest wait of an ADD_ADDR for a segment"),
    "omitted_add_addr": ("", "segments from which an ADD_ADDR was left out"),
    "omitted_dss": ("", "segments from which a DSS was left out"),
}
"""NAME of ``ledger:NAME@SIDE/KIND`` -> unit, meaning."""
WHOLE_SIDE: Final = frozenset(
    (
        "header_tax",
        "information_delay_p50_ns",
        "information_delay_p95_ns",
        "never_reported_share",
        "map_delay_p95_ns",
        "map_delayed_share",
        "add_addr_wait_max_ns",
    )
)
"""Those of all segments of the side, whatever KIND: what a data segment had to leave out may leave on an ACK."""

_FLOWS = {column.name: column for column in FLOWS.columns if column.type in ("int64", "float64")}
_FORMS: Mapping[str, re.Pattern[str]] = {
    "counter": re.compile(r"(?P<name>[A-Za-z0-9_.]+)@(?P<at>[a-z0-9._-]+)"),
    "watched": re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)@(?P<at>[a-z0-9._-]+)"),
    "observed": re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)"),
    "ledger": re.compile(r"(?P<name>[a-z0-9_]+)@(?P<at>client|server)/(?P<kind>data|ack|all)"),
    "sampled": re.compile(
        r"(?P<name>[A-Za-z0-9_]+)@(?P<at>[A-Za-z0-9._-]+)\[(?P<begin>[0-9.]+)s\.\.(?P<end>[0-9.]+)s\]"
    ),
    "fate": re.compile(r"(?P<name>[a-z ]+)"),
}
_EXAMPLES: Mapping[str, str] = {
    "counter": "counter:MPTcpExtMPRstTx@server",
    "watched": "watched:reset@path1",
    "observed": "observed:reset_reason.sf1",
    "ledger": "ledger:displaced_share@server/ack",
    "sampled": "sampled:goodput_bit_s@main.server[20s..30s]",
    "fate": "fate:fallback",
}


class MeasureError(ValueError):
    """The text names no measure; the message says what it could be."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure's text, taken apart."""

    text: str
    source: Source
    name: str
    at: str = ""
    """Host, link, side or subject; empty where the source has none."""
    kind: str = ""
    """Of a ledger measure: ``data``, ``ack`` or ``all``."""
    begin_ns: int = 0
    end_ns: int = 0
    """Of a sampled measure."""

    @property
    def unit(self) -> str:
        """Of the number; empty for counts, and for what only the run knows (samples, observations)."""
        if self.source == "flows":
            return _FLOWS[self.name].unit
        if self.source == "ledger":
            return LEDGER_MEASURES[self.name][0]
        return "packets" if self.source == "watched" else ""


def parse_measure(text: str) -> Measure:
    """The measure of that text. Raises MeasureError."""
    if text in _FLOWS:
        return Measure(text, "flows", text)
    word, colon, rest = text.partition(":")
    if not colon or word not in _FORMS:
        sources = ", ".join(f"{source}:..." for source in get_args(Source)[1:])
        near = difflib.get_close_matches(text, _FLOWS, n=3, cutoff=0.5)
        meant = f"; near ones: {', '.join(near)}" if near else ""
        raise MeasureError(f"{text!r} is no number of the flows table, and none of {sources}{meant}")
    match = _FORMS[word].fullmatch(rest)
    if match is None:
        raise MeasureError(f"{text!r} is not of the form {_EXAMPLES[word]}")
    groups = match.groupdict()
    known = {"ledger": tuple(LEDGER_MEASURES), "fate": FATES}.get(word)
    if known is not None and groups["name"] not in known:
        raise MeasureError(f"{text!r}: {groups['name']!r} is none of {', '.join(known)}")
    source: Source = next(each for each in get_args(Source) if each == word)
    begin, end = (round(float(groups.get(key) or 0) * 1e9) for key in ("begin", "end"))
    if source == "sampled" and begin >= end:
        raise MeasureError(f"{text!r}: the part of the traffic is empty")
    return Measure(text, source, groups["name"], groups.get("at") or "", groups.get("kind") or "", begin, end)


def flow_metrics() -> tuple[str, ...]:
    """The numbers of the ``flows`` table."""
    return tuple(_FLOWS)
