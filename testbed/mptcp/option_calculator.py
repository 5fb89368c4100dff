"""What fits into 40 octets, asked of the code that fills them: a segment is described, the option policy answers.

Nothing is modelled here. A :class:`Question` is the state that a segment calls its options for; it is put to the same
:class:`testbed.mptcp.option_draft.Drafter` that fills the segments of an endpoint, and the ledger says why the rest
stayed out. The table of the option space (:mod:`testbed.mptcp.option_table`) and ``testbed options`` both ask this way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from testbed.mptcp.ledger import COLUMNS, Ledger, name_of
from testbed.mptcp.option_draft import Drafter
from testbed.mptcp.packing import AREA
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.subflow_view import NOT_KNOWN, OutgoingMapping, SubflowView
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import KIND_EOL, KIND_NOP, MptcpOption, Option
from testbed.wire.segment import ACK, RST, SYN

SegmentKind = Literal["syn", "syn-ack", "ack", "data", "rst"]
SEGMENTS: Final[tuple[SegmentKind, ...]] = ("syn", "syn-ack", "ack", "data", "rst")
_FLAGS: Final[dict[SegmentKind, int]] = {"syn": SYN, "syn-ack": SYN | ACK, "ack": ACK, "data": ACK, "rst": RST | ACK}
BY_POLICY: Final = -1
"""Width of a number that the policy chooses; towards a peer that sends 64-bit DSNs, as Linux does."""
_ETHERNET_MSS: Final = 1460
"""1500 octets of IPv4 without options (RFC 6691)."""
_SSN: Final = 1 + _ETHERNET_MSS
"""Of the segment asked about: one came before it."""
_ROW: Final = [name for name, _, _ in COLUMNS]
_MOST_SEGMENTS: Final = 4
"""A policy sends at most two ACKs ahead of data for its signals (RFC 8684 §3), then the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DssForm:
    """Which numbers a DSS has, of which width."""

    ack_octets: int = 0
    """0: no DATA_ACK; 4; 8; BY_POLICY."""
    dsn_octets: int = 0
    """0: no mapping; 4; 8; BY_POLICY."""
    checksum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The options that the state calls for when a segment is built."""

    segment: SegmentKind = "ack"
    timestamps: bool = False
    sack_blocks: int = 0
    dss: DssForm | None = None
    handshake: MptcpOption | None = None
    """MP_CAPABLE or MP_JOIN."""
    signals: tuple[MptcpOption, ...] = ()
    mss: bool = False
    """This and the next three: on SYN and SYN/ACK only."""
    window_scale: bool = False
    sack_permitted: bool = False
    cookie_octets: int = -1
    """Of Fast Open; 0: a request; -1: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """One segment that leaves."""

    segment: str
    options: tuple[Option, ...]
    """In wire order, padding included."""
    used: int
    """Octets taken; without the padding at the end of a dense area."""
    octets: int
    """Of the area."""
    padding: int
    wanted: tuple[tuple[str, int], ...]
    """(name, octets without padding), SACK last."""
    sent: tuple[tuple[str, int], ...]
    sack_wanted: int
    sack_sent: int
    sack_classes: tuple[tuple[str, int], ...]
    """(class, displaced blocks), those that occur."""
    blame: tuple[str, ...]
    """Options any one of which, taken off, would let one block more in."""
    omitted: tuple[tuple[str, str], ...]
    """(option other than SACK that is not on it, class)."""

    @property
    def left(self) -> int:
        """Octets that are still free."""
        return AREA - self.used

    @property
    def pressure(self) -> float:
        """Octets wanted / 40: above 1 the options compete."""
        return sum(size for _, size in self.wanted) / AREA


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a policy makes of a question: usually one segment; more where it sends an ACK ahead of data."""

    segments: tuple[Laid, ...]
    waiting: tuple[str, ...]
    """Signals that are on none of them."""
    given_up: tuple[str, ...]
    """Signals that this policy never sends, because they do not fit even alone."""


def answer(question: Question, policy: OptionPolicy) -> Answer:
    """What leaves, and what does not."""
    policy = _with_widths(question, policy)
    view = _AskedView(question)
    ledger = Ledger()
    drafter = Drafter(view, policy, ledger, 0)
    laid: list[Laid] = []
    while len(laid) < _MOST_SEGMENTS:
        plan = _plan(question)
        draft = drafter.fill(plan)
        drafter.has_left(draft, plan)
        laid.append(_laid(plan, draft.area.used, dict(zip(_ROW, ledger.take_rows()[0], strict=True))))
        if question.segment != "data" or plan.length:
            break
    return Answer(
        segments=tuple(laid),
        waiting=tuple(name_of(option) for option in view.signals),
        given_up=tuple(name_of(option) for option in view.given_up),
    )


def _with_widths(question: Question, policy: OptionPolicy) -> OptionPolicy:
    """The policy, with the widths that the question insists on."""
    dss = question.dss
    if dss is None:
        return policy
    if dss.ack_octets > 0:
        policy = replace(policy, data_ack_width="64" if dss.ack_octets == 8 else "32")
    if dss.dsn_octets > 0:
        policy = replace(policy, dsn_width="64" if dss.dsn_octets == 8 else "32")
    if dss.ack_octets:
        policy = replace(policy, data_ack_on_data=True)
    if not dss.dsn_octets:
        policy = replace(policy, mapping_every="chunk", mapping_late_by=0)
    return policy


def _plan(question: Question) -> SegmentPlan:
    plan = SegmentPlan()
    plan.flags = _FLAGS[question.segment]
    plan.mss = _ETHERNET_MSS
    syn = bool(plan.flags & SYN)
    plan.ssn = 0 if syn else _SSN
    plan.length = _ETHERNET_MSS if question.segment == "data" else 0
    plan.timestamps = (1, 1) if question.timestamps else None
    plan.sack_blocks = tuple((3000 * number, 3000 * number + 1400) for number in range(1, question.sack_blocks + 1))
    if syn:
        plan.mss_option = _ETHERNET_MSS if question.mss else None
        plan.window_scale = 7 if question.window_scale else None
        plan.sack_permitted = question.sack_permitted
        plan.fast_open_cookie = bytes(question.cookie_octets) if question.cookie_octets >= 0 else None
    return plan


def _laid(plan: SegmentPlan, used: int, row: dict[str, object]) -> Laid:
    classes = tuple((word, int(str(row[f"sack_{word}"]))) for word in ("padding", "width", "policy", "hard"))
    return Laid(
        segment=str(row["segment"]),
        options=plan.options,
        used=used,
        octets=plan.option_octets,
        padding=sum(option.size for option in plan.options if option.kind in (KIND_NOP, KIND_EOL)),
        wanted=_pairs(str(row["wanted"])),
        sent=_pairs(str(row["sent"])),
        sack_wanted=int(str(row["sack_wanted"])),
        sack_sent=int(str(row["sack_sent"])),
        sack_classes=tuple((word, number) for word, number in classes if number),
        blame=tuple(str(row["sack_blame"]).split()),
        omitted=tuple(_parted(word) for word in str(row["omitted"]).split()),
    )


def _pairs(text: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, int(size)) for name, size in (_parted(word) for word in text.split()))


def _parted(word: str) -> tuple[str, str]:
    name, _, rest = word.rpartition(":")
    return name, rest


class _AskedView(SubflowView):
    """A subflow whose state calls for exactly what was asked for."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question
        self.given_up: list[MptcpOption] = []
        dss = question.dss
        self.speaks_mptcp = dss is not None or question.handshake is not None or bool(question.signals)
        self.handshake_due = question.handshake is not None
        self.data_acked = True
        self.peer_sends_wide_dsn = True
        self.signals = list(question.signals)
        self._mapping: OutgoingMapping | None = None
        if dss is not None and question.segment == "data":
            checksum = 0 if dss.checksum else None
            if dss.dsn_octets:
                self._mapping = OutgoingMapping(1, _SSN, _ETHERNET_MSS, checksum)
            else:
                # Declared by a segment before this one, so that it need not ride again.
                self._mapping = OutgoingMapping(1, _SSN - _ETHERNET_MSS, 2 * _ETHERNET_MSS, checksum)
                self._mapping.carried_at = _SSN - _ETHERNET_MSS

    def handshake_option(self, plan: SegmentPlan) -> MptcpOption | None:
        return self.question.handshake

    def reset_options(self, plan: SegmentPlan) -> tuple[MptcpOption, ...]:
        return self.question.signals

    def mapping_for(self, ssn: int, length: int) -> OutgoingMapping | None:
        return self._mapping

    def data_ack(self) -> int:
        dss = self.question.dss
        return 1 if dss is not None and dss.ack_octets else NOT_KNOWN

    def bare_data_fin(self) -> int:
        dss = self.question.dss
        return 1 if dss is not None and dss.dsn_octets and self.question.segment == "ack" else NOT_KNOWN

    def bare_data_fin_checksum(self) -> int | None:
        dss = self.question.dss
        return 0 if dss is not None and dss.checksum else None

    def is_last_data(self, end: int) -> bool:
        return False

    def ask_for_acks(self) -> None:
        """Only one segment is asked for."""

    def signal_left(self, option: MptcpOption, now: int) -> None:
        self.signals.remove(option)

    def signal_never_fits(self, option: MptcpOption, now: int) -> None:
        self.signals.remove(option)
        self.given_up.append(option)
