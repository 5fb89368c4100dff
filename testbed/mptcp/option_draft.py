"""The long way to the options of a segment: every candidate, every policy, and what the ledger has to know.

:class:`Drafter` makes a :class:`testbed.mptcp.draft.Draft` without side effects (TCP may ask and not send) and carries
it out when the segment has left.
"""

from __future__ import annotations

from typing import Final

from testbed.mptcp.compatibility import may_join
from testbed.mptcp.draft import Draft
from testbed.mptcp.dss import ack_dss, mapping_dss, replaces_dss, without_data_ack, without_mapping
from testbed.mptcp.ledger import Ledger
from testbed.mptcp.mapping_choice import MappingChoice
from testbed.mptcp.packing import AREA, TIMESTAMPS_SIZE, Area, lay_out_syn
from testbed.mptcp.parameters import Candidate, OptionPolicy
from testbed.mptcp.subflow_view import NOT_KNOWN, OutgoingMapping, SubflowView
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import (
    SUBTYPE_ADD_ADDR,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_FASTCLOSE,
    SUBTYPE_MP_PRIO,
    SUBTYPE_PRIVATE,
    SUBTYPE_REMOVE_ADDR,
    Dss,
    MptcpOption,
)
from testbed.wire.segment import FIN, RST, SYN

_SIGNALS: dict[Candidate, int] = {
    "add_addr": SUBTYPE_ADD_ADDR,
    "remove_addr": SUBTYPE_REMOVE_ADDR,
    "mp_prio": SUBTYPE_MP_PRIO,
    "mp_fail": SUBTYPE_MP_FAIL,
}
_SACK_FIRST: tuple[Candidate, ...] = ("timestamps", "sack", "dss")
_MOST_ACKS_IN_A_ROW: Final = 2
"""RFC 8684 §3: no more than two acknowledgements in a row only for signalling (checklist A2)."""


class Drafter:
    """Makes drafts for one subflow and remembers what its policies need from segment to segment."""

    def __init__(self, view: SubflowView, policy: OptionPolicy, ledger: Ledger | None, subflow_number: int) -> None:
        self.view = view
        self.policy = policy
        self.ledger = ledger
        self.subflow_number = subflow_number
        self._is_aligned = policy.packing == "aligned"
        self.choice = MappingChoice(view, policy)
        self._acks_in_a_row = 0
        self._last_data_ack = NOT_KNOWN

    def acks_wide(self) -> bool:
        """Whether a DATA_ACK has 64 bits now (checklist D15)."""
        width = self.policy.data_ack_width
        return width == "64" or (width == "match" and self.view.peer_sends_wide_dsn)

    # --- the decision ---

    def fill(self, plan: SegmentPlan) -> Draft:
        """Decide, and write the answer into the plan."""
        if plan.flags & SYN:
            return self._fill_syn(plan)
        if plan.flags & RST:
            return self._fill_reset(plan)
        available = plan.length
        draft = self._established(plan, self._plan_dss(plan), timestamps=True)
        if available and self._goes_as_ack_first(draft, plan):
            plan.length = 0
            announced = draft.own if self.choice.announces(draft) else None
            draft = self._established(plan, self._plan_dss(plan, announced), timestamps=True)
            draft.is_ack_first = True
        elif plan.sack_blocks and draft.area.sack is None:
            draft = self._make_room_for_sack(draft, plan)
        draft.area.lay_out(plan)
        return draft

    def _fill_syn(self, plan: SegmentPlan) -> Draft:
        draft = Draft(Area(self._is_aligned), plan)
        option = self.view.handshake_option(plan) if self.view.speaks_mptcp else None
        draft.wanted_handshake = draft.handshake = option
        if lay_out_syn(plan, option, True, self._is_aligned):
            pass
        elif lay_out_syn(plan, option, False, self._is_aligned):
            # RFC 8684 appendix B.1: a Fast Open cookie and MP_CAPABLE in one SYN/ACK leave no room for timestamps.
            plan.timestamps = None
        else:
            draft.handshake = None
            if not lay_out_syn(plan, None, True, self._is_aligned):
                plan.fast_open_cookie = None
                lay_out_syn(plan, None, True, self._is_aligned)
        draft.area.used = plan.option_octets
        return draft

    def _fill_reset(self, plan: SegmentPlan) -> Draft:
        """Timestamps need not be on an RST (RFC 7323 §3.2), so that its reasons always fit."""
        draft = Draft(Area(self._is_aligned), plan)
        draft.wanted_signals = list(self.view.reset_options(plan))
        for option in draft.wanted_signals:
            if may_join(option, draft.area.mptcp) and draft.area.take(option):
                draft.signals.append(option)
        draft.area.lay_out(plan)
        return draft

    def _plan_dss(self, plan: SegmentPlan, announced: OutgoingMapping | None = None) -> Draft:
        """What a segment after the handshake wants of MPTCP: its mapping, its DSS or handshake option, the signals."""
        draft = Draft(Area(self._is_aligned), plan)
        view = self.view
        if not view.speaks_mptcp:
            return draft
        if plan.length:
            draft.own = view.mapping_for(plan.ssn, plan.length)
            self.choice.limit_length(plan, draft.own)
        if view.handshake_due:
            draft.wanted_handshake = draft.handshake = view.handshake_option(plan)
        draft.wanted_signals = list(view.signals)
        draft.mapping = announced if announced is not None else self.choice.mapping_to_carry(plan, draft)
        if not replaces_dss(draft.handshake):
            self._want_dss(plan, draft)
        return draft

    def _want_dss(self, plan: SegmentPlan, draft: Draft) -> None:
        """Build the DSS that the state calls for."""
        view = self.view
        mapping = draft.mapping
        data_ack = view.data_ack()
        if data_ack != NOT_KNOWN and plan.length and not self.policy.data_ack_on_data:
            # Data alone would never acknowledge anything: every second segment's worth does (as RFC 9293 SHLD-19).
            owed = data_ack - self._last_data_ack if self._last_data_ack != NOT_KNOWN else 0
            if self._last_data_ack != NOT_KNOWN and owed < 2 * plan.mss:
                data_ack = NOT_KNOWN
        draft.repeats_data_ack = data_ack == self._last_data_ack
        draft.repeats_mapping = mapping is not None and mapping.carried_at >= 0
        if mapping is not None:
            wide = self.policy.dsn_width == "64" or view.wide_dsn_required
            draft.dss = mapping_dss(mapping, data_ack, self.acks_wide(), wide, view.ssn_offset)
            return
        fin = view.bare_data_fin() if not plan.length else NOT_KNOWN
        if fin != NOT_KNOWN:
            wide = self.policy.dsn_width == "64" or view.wide_dsn_required
            declared = OutgoingMapping(fin, 0, 0, view.bare_data_fin_checksum(), True)
            draft.dss = mapping_dss(declared, data_ack, self.acks_wide(), wide, 0)
        elif data_ack != NOT_KNOWN:
            draft.dss = ack_dss(data_ack, self.acks_wide())

    def _established(self, plan: SegmentPlan, draft: Draft, timestamps: bool) -> Draft:
        """Take the candidates in the order of the priority."""
        area = draft.area
        fastclose = next((option for option in draft.wanted_signals if option.subtype == SUBTYPE_MP_FASTCLOSE), None)
        order = self.policy.priority
        if self.choice.is_second_half(plan, draft.own):
            order = _SACK_FIRST
        reserve = self._reserve(plan, draft)
        alone = self._leaves_alone(plan, draft)
        for candidate in order:
            if candidate == "timestamps":
                if timestamps and plan.timestamps is not None:
                    area.take_timestamps(plan.timestamps[0], plan.timestamps[1])
                if fastclose is not None and area.take(fastclose):
                    draft.signals.append(fastclose)
            elif candidate == "handshake":
                if draft.handshake is not None and may_join(draft.handshake, area.mptcp):
                    area.take(draft.handshake)
            elif candidate == "dss":
                if draft.dss is not None and alone is None and may_join(draft.dss, area.mptcp):
                    self._take_dss(plan, draft)
                reserve = 0
            elif candidate == "sack":
                self._take_signal(plan, draft, SUBTYPE_PRIVATE, reserve)
                self._take_sack(plan, draft, reserve)
            else:
                self._take_signal(plan, draft, _SIGNALS[candidate], reserve)
        if not plan.length:
            self._let_out_address(plan, draft)
        return draft

    def _reserve(self, plan: SegmentPlan, draft: Draft) -> int:
        """Octets that candidates ahead of the DSS must leave to it: the mapping that has to ride on this segment."""
        own = draft.own
        if draft.dss is None or self.policy.dss_may_be_left_out:
            return 0
        if not plan.length:
            return draft.area.cost(draft.dss.size)
        if own is None or draft.mapping is not own:
            return 0
        is_last_chance = plan.ssn + plan.length >= own.ssn + own.length
        must = is_last_chance if own.carried_at < 0 else own.must_ride(plan.ssn, plan.length)
        if must or not self.view.data_acked:
            return draft.area.cost(without_data_ack(draft.dss).size)
        return 0

    def _leaves_alone(self, plan: SegmentPlan, draft: Draft) -> MptcpOption | None:
        """The ADD_ADDR that takes a pure ACK for itself, as on Linux."""
        if plan.length or draft.handshake is not None or not self.policy.add_addr_displaces_dss:
            return None
        return first_of(draft.wanted_signals, SUBTYPE_ADD_ADDR)

    def _take_dss(self, plan: SegmentPlan, draft: Draft) -> None:
        """The DSS as wanted; else with the mapping alone; else, when the mapping may wait, the DATA_ACK alone."""
        area = draft.area
        dss = draft.dss
        assert dss is not None
        smaller: Dss | None = dss
        if not area.take(dss):
            smaller = None
            if not self.policy.dss_may_be_left_out and dss.dsn is not None and dss.data_ack is not None:
                smaller = next(
                    (less for less in (without_data_ack(dss), without_mapping(dss)) if area.take(less)), None
                )
        draft.sent_dss = smaller

    def _take_sack(self, plan: SegmentPlan, draft: Draft, reserve: int) -> None:
        if not plan.sack_blocks:
            return
        area = draft.area
        area.used += reserve
        area.take_sack(plan.sack_blocks, min(len(plan.sack_blocks), self.policy.sack_limit))
        area.used -= reserve

    def _take_signal(self, plan: SegmentPlan, draft: Draft, subtype: int, reserve: int) -> None:
        """The oldest signal of that kind, if it may ride here and fits."""
        option = first_of(draft.wanted_signals, subtype)
        if option is None or not may_join(option, draft.area.mptcp):
            return
        if plan.length and subtype == SUBTYPE_ADD_ADDR and not self.policy.add_addr_on_data:
            return
        area = draft.area
        if draft.handshake is not None and draft.handshake not in area.mptcp:
            return
        if area.fits(option.size) and area.used + area.cost(option.size) + reserve <= AREA:
            area.take(option)
            draft.signals.append(option)

    def _let_out_address(self, plan: SegmentPlan, draft: Draft) -> None:
        """A pure ACK is where an ADD_ADDR leaves: without the DSS if need be, and if the policy says so without
        timestamps; one that does not fit even so is given up."""
        option = first_of(draft.wanted_signals, SUBTYPE_ADD_ADDR)
        area = draft.area
        if option is None or option in draft.signals or draft.handshake is not None or draft.signals:
            return
        stamps = TIMESTAMPS_SIZE if plan.timestamps is not None else 0
        room = AREA - (area.cost(stamps) if stamps else 0)
        if area.cost(option.size) > room:
            if not (self.policy.drop_timestamps_for_add_addr and stamps):
                draft.never_fit.append(option)
                return
            stamps = 0
        draft.area = alone = Area(self._is_aligned)
        if stamps and plan.timestamps is not None:
            alone.take_timestamps(plan.timestamps[0], plan.timestamps[1])
        alone.take(option)
        draft.signals.append(option)
        draft.sent_dss = None
        self._take_sack(plan, draft, 0)

    # --- policies that need two segments ---

    def _goes_as_ack_first(self, draft: Draft, plan: SegmentPlan) -> bool:
        """Whether a pure ACK leaves ahead of this data: for its mapping (S19), or for signals that do not fit on it."""
        if plan.is_retransmission or draft.handshake is not None or plan.flags & FIN:
            return False
        if self.choice.announces(draft):
            return True
        waits = len(draft.signals) < len(draft.wanted_signals)
        return waits and self._acks_in_a_row < _MOST_ACKS_IN_A_ROW

    def _make_room_for_sack(self, draft: Draft, plan: SegmentPlan) -> Draft:
        """No SACK block fits: leave the timestamps out of this packet, or split it (S23), if the policy says so."""
        if self.policy.sack_limit == 0:
            return draft
        if self.policy.drop_timestamps_for_sack and plan.timestamps is not None:
            without = self._established(plan, self._plan_dss(plan), timestamps=False)
            if without.area.sack is not None:
                return without
        carries = draft.sent_dss is not None and draft.sent_dss.dsn is not None
        may_split = self.policy.split_for_sack and carries and not plan.is_retransmission
        if may_split and plan.length > 1 and draft.own is not None and draft.own.length:
            packet = min(plan.length, plan.mss - ((draft.area.used + 3) & ~3))
            draft.split_start = plan.ssn + packet // 2
            draft.split_end = plan.ssn + packet
            plan.length = packet // 2
        return draft

    # --- it has left ---

    def has_left(self, draft: Draft, plan: SegmentPlan) -> None:
        """Strike off what went, remember what the policies need, record."""
        view = self.view
        if self.ledger is not None:
            self.ledger.record(self.subflow_number, plan, draft)
        if draft.handshake is not None:
            view.handshake_left(draft.handshake, plan.now)
        if plan.flags & (SYN | RST):
            return
        self.choice.has_left(draft, plan)
        if draft.sent_dss is not None and draft.sent_dss.data_ack is not None:
            self._last_data_ack = view.data_ack()
        if plan.length:
            self._acks_in_a_row = 0
        elif draft.is_ack_first:
            self._acks_in_a_row += 1
        for option in draft.signals:
            view.signal_left(option, plan.now)
        for option in draft.never_fit:
            view.signal_never_fits(option, plan.now)


def first_of(options: list[MptcpOption], subtype: int) -> MptcpOption | None:
    """The oldest option of that subtype."""
    for option in options:
        if option.subtype == subtype:
            return option
    return None
