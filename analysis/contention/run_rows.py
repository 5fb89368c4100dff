"""The contention of a run, from its table ``segments``: one row for each variant, flow, side, source and kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.compute as pc

from analysis.contention.measures import Measures
from analysis.contention.recorded import recorded
from analysis.contention.repacking import AREA_OCTETS, CLASSES, Outcome
from analysis.contention.run_captures import captured_segments
from analysis.contention.sums import GROUPS
from analysis.contention.what_if import policies
from analysis.runs import Run
from testbed.record.delays import Distribution

KINDS: Mapping[str, str] = {"data": "data", "ack": "pure ACK"}
"""Segment of the ledger -> the group that it is counted in; the others are "opening and closing"."""
REST = "opening and closing"

_ADD_ADDR = re.compile(r"\badd_addr:(16|18|28|30)\b")
"""Octets of one that announces (RFC 8684 section 3.4.1); an echo has fewer."""
SUMS = (
    "payload",
    "option_octets",
    "padding_octets",
    "sack_wanted",
    "sack_sent",
    *(f"sack_{word}" for word in CLASSES),
)


@dataclass(frozen=True, slots=True)
class ContentionRow:
    """The segments of one kind that one side built in the valid trials of a variant."""

    variant: str
    flow: str
    side: str
    source: str
    kind: str
    segments: int
    contended: int
    """Segments whose wanted options exceed 40 octets."""
    sums: Mapping[str, int]
    blame: tuple[tuple[str, int], ...]
    """(options any one of which, taken off, would have let a block more in; segments), the most frequent first."""
    omitted: tuple[tuple[str, int], ...]
    """(option other than SACK that waited or was left out, with its class; segments), the most frequent first."""

    @property
    def displaced(self) -> int:
        """SACK blocks wanted and not sent."""
        return self.sums["sack_wanted"] - self.sums["sack_sent"]

    @property
    def displacement_rate(self) -> float | None:
        """Of the SACK blocks wanted; None when none was."""
        wanted = self.sums["sack_wanted"]
        return self.displaced / wanted if wanted else None

    @property
    def header_tax(self) -> float | None:
        """Option octets per payload octet; None without payload."""
        return self.sums["option_octets"] / self.sums["payload"] if self.sums["payload"] else None

    @property
    def padding_share(self) -> float | None:
        """Of the option octets; None without options."""
        octets = self.sums["option_octets"]
        return self.sums["padding_octets"] / octets if octets else None

    def classes(self) -> dict[str, int]:
        """Displaced blocks by class, those that occur."""
        return {word: self.sums[f"sack_{word}"] for word in CLASSES if self.sums[f"sack_{word}"]}


@dataclass(frozen=True, slots=True)
class WaitRow:
    """What the segments of one side cost in time and room, in the valid trials of a variant, subflows together."""

    variant: str
    flow: str
    side: str
    source: str
    ranges: int
    """SACK ranges that were wanted, each as it had grown."""
    never: int
    """... that were acknowledged before any segment reported them."""
    information_p50_ns: int | None
    information_p95_ns: int | None
    map_p95_ns: int | None
    """From the first transmission of an octet to the first mapping that covers it; None: no mappings."""
    map_delayed_octets: int
    map_missing_octets: int
    addresses_ns: tuple[int, ...]
    """How long each ADD_ADDR waited for a segment; of a capture nothing."""
    addresses_dropped: int
    header_tax: float | None
    """Option octets of all segments of the side per payload octet that it sent."""
    header_tax_useful: float | None
    """... per octet that the application at the other end received from it."""
    mss_loss: float | None
    """1 - room for payload / that of plain TCP with the same timestamps; the median of the subflows."""


def contention(run: Run) -> list[ContentionRow]:
    """All rows, in the order of variants, flows, sides and kinds; empty when there is neither ledger nor capture."""
    rows: list[ContentionRow] = []
    for part in parts(run):
        kinds = pc.cast(part.table["segment"], pa.string())
        for kind in (*KINDS.values(), REST):
            if kind == REST:
                mask = pc.invert(pc.is_in(kinds, pa.array(list(KINDS))))
            else:
                mask = pc.is_in(kinds, pa.array([word for word, group in KINDS.items() if group == kind]))
            found = part.table.filter(mask)
            if found.num_rows:
                rows.append(_row(part.variant, part.flow, part.side, part.source, kind, found))
    return rows


PackedRow = tuple[str, str, str, str, str, int, int]
"""(variant, flow, side, source, policy, SACK blocks wanted, displaced under it)."""


def waits(run: Run) -> list[WaitRow]:
    """One row for each variant, flow, side and source."""
    return waits_and_what_if(run, ())[0]


def what_if(run: Run, texts: Sequence[str]) -> list[PackedRow]:
    """The same segments packed under each policy. Raises PolicyError."""
    return waits_and_what_if(run, texts)[1]


def waits_and_what_if(
    run: Run, texts: Sequence[str], trials: Collection[int] | None = None
) -> tuple[list[WaitRow], list[PackedRow]]:
    """Both, from one look at the segments, or at those of some trials. Raises PolicyError."""
    chosen, received = policies(texts), _received(run)
    rhythms = sorted({each.map_every for each in chosen if each.map_every is not None})
    waited: list[WaitRow] = []
    packed: list[PackedRow] = []
    for part in parts(run):
        table = part.table
        if trials is not None:
            table = table.filter(pc.is_in(table["trial"], pa.array(sorted(trials), pa.int64())))
            if not table.num_rows:
                continue
        segments, outcomes, subflows, whose = recorded(table, rhythms)
        measures = Measures(part.source, subflows, outcomes, chosen)
        measures.take(segments)
        waited.append(_wait(replace(part, table=table), received, measures, outcomes, len(whose)))
        for each in chosen:
            wanted, displaced = measures.sums.what_if(measures.sums.groups, outcomes, each)
            packed.append((part.variant, part.flow, part.side, part.source, each.text, wanted, displaced))
    return waited, packed


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one side of one flow in the valid trials of a variant, from one source."""

    variant: str
    flow: str
    side: str
    source: str
    table: pa.Table


_OF_RUN: WeakKeyDictionary[Run, list[Part]] = WeakKeyDictionary()
"""Captures are read once for all tables of a report."""


def parts(run: Run) -> list[Part]:
    """What there is of segments, in the order of variants, flows, sides and sources."""
    if run not in _OF_RUN:
        _OF_RUN[run] = list(_read_parts(run))
    return _OF_RUN[run]


def _read_parts(run: Run) -> Iterator[Part]:
    trials = run.directory.read_table("trials").select(["trial", "variant", "verdict"]).to_pylist()
    valid: dict[str, list[int]] = {name: [] for name in run.variants}
    for row in trials:
        if row["verdict"] == "VALID":
            valid[row["variant"]].append(row["trial"])
    table = run.directory.read_table("segments", encoded=True)
    known = {
        (row["trial"], row["flow"], row["side"])
        for row in table.group_by(["trial", "flow", "side"]).aggregate([]).to_pylist()
    }
    every = [number for numbers in valid.values() for number in numbers]
    table = pa.concat_tables([table, captured_segments(run, every, known)]).unify_dictionaries()
    for variant, numbers in valid.items():
        chosen = table.filter(pc.is_in(table["trial"], pa.array(numbers, pa.int64())))
        if not chosen.num_rows:
            continue
        for flow in _texts(chosen, "flow"):
            for side in ("client", "server"):
                for source in _texts(chosen, "source"):
                    part = _where(chosen, flow=flow, side=side, source=source)
                    if part.num_rows:
                        yield Part(variant, flow, side, source, part)


def _wait(
    part: Part,
    received: Mapping[tuple[int, str, str], int],
    measures: Measures,
    outcomes: Sequence[Outcome],
    subflows: int,
) -> WaitRow:
    information, never = Distribution(), 0
    for delay in measures.information.values():
        delay.finish()
        information.update(delay.delays)
        never += delay.never
    side = 0 if part.side == "client" else 1
    maps = [each for each in (measures.maps.of(number, side) for number in range(subflows)) if each is not None]
    whole = measures.sums.of(measures.sums.groups, outcomes)
    trials = set(part.table["trial"].to_pylist())
    useful = sum(
        octets
        for (trial, flow, by), octets in received.items()
        if (flow, by) == (part.flow, part.side) and trial in trials
    )
    postponed = postponements(part.table)
    losses = sorted(
        1 - net[0] / net[1]
        for (number, by), mss in measures.mss.items()
        if (net := measures.sums.mss_net((2 * number + by) * GROUPS, outcomes, mss)) is not None and net[1] > 0
    )
    return WaitRow(
        variant=part.variant,
        flow=part.flow,
        side=part.side,
        source=part.source,
        ranges=information.total + never,
        never=never,
        information_p50_ns=information.quantile(0.5),
        information_p95_ns=information.quantile(0.95),
        map_p95_ns=max((each.quantiles(0.95)[0] or 0 for each in maps), default=None),
        map_delayed_octets=sum(each.delays_ns.total for each in maps),
        map_missing_octets=sum(each.never for each in maps),
        addresses_ns=tuple(each for each in postponed if each is not None),
        addresses_dropped=sum(each is None for each in postponed),
        header_tax=whole["header_tax"],
        header_tax_useful=whole["option_octets"] / useful if useful else None,
        mss_loss=losses[len(losses) // 2] if losses else None,
    )


def postponements(table: pa.Table) -> list[int | None]:
    """Of each ADD_ADDR that an endpoint wanted to send: from the first segment that it was wanted on to the one that
    carried it, ns; None: none did. Of a capture nothing: what waits is not on record there."""
    wanted, sent = (pc.cast(table[name], pa.string()) for name in ("wanted", "sent"))
    rows = table.filter(pc.or_(_announces(wanted), _announces(sent)))
    rows = rows.filter(pc.not_equal(pc.cast(rows["source"], pa.string()), "capture"))
    since: dict[tuple[int, str, int], int] = {}
    found: list[int | None] = []
    for row in rows.sort_by("time_ns").to_pylist():
        key = row["trial"], row["flow"], row["connection"]
        begun = since.setdefault(key, row["time_ns"])
        if _ADD_ADDR.search(row["sent"]):
            found.append(row["time_ns"] - begun)
            del since[key]
    return found + [None] * len(since)


def _announces(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.match_substring_regex(texts, _ADD_ADDR.pattern)


def _received(run: Run) -> dict[tuple[int, str, str], int]:
    """(trial, flow, sender) -> octets that the application at the other end received."""
    found = {}
    for row in run.directory.read_table("flows").to_pylist():
        for side, column in (("client", "bytes_received_upload"), ("server", "bytes_received_download")):
            found[row["trial"], row["flow"], side] = row[column] or 0
    return found


def _row(variant: str, flow: str, side: str, source: str, kind: str, table: pa.Table) -> ContentionRow:
    return ContentionRow(
        variant=variant,
        flow=flow,
        side=side,
        source=source,
        kind=kind,
        segments=table.num_rows,
        contended=pc.sum(pc.greater(table["wanted_octets"], AREA_OCTETS)).as_py() or 0,
        sums={name: pc.sum(table[name]).as_py() or 0 for name in SUMS},
        blame=_counted(table, "sack_blame", lambda text: [" or ".join(text.split())]),
        omitted=_counted(table, "omitted", str.split),
    )


def _counted(table: pa.Table, column: str, parts: Callable[[str], Iterable[str]]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for item in pc.value_counts(pc.cast(table[column], pa.string())).to_pylist():
        if item["values"]:
            for word in parts(item["values"]):
                counts[word] += item["counts"]
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _where(table: pa.Table, **wanted: str) -> pa.Table:
    for column, text in wanted.items():
        table = table.filter(pc.equal(pc.cast(table[column], pa.string()), text))
    return table


def _texts(table: pa.Table, column: str) -> list[str]:
    return sorted(pc.unique(pc.cast(table[column], pa.string())).to_pylist())
