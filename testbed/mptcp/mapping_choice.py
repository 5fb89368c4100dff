"""Which mapping a data segment carries under the option policy: its own, none, another's (late), one ahead (S19)."""

from __future__ import annotations

from testbed.mptcp.draft import Draft
from testbed.mptcp.dss import declares_mapping
from testbed.mptcp.late_mappings import LateMappings
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.subflow_view import OutgoingMapping, SubflowView
from testbed.tcp.seam import SegmentPlan
from testbed.wire.segment import FIN


class MappingChoice:
    """One for each subflow; remembers what has to be remembered from segment to segment."""

    def __init__(self, view: SubflowView, policy: OptionPolicy) -> None:
        self.view = view
        self.policy = policy
        self._late = LateMappings(policy.mapping_late_by) if policy.mapping_late_by else None
        self._half_start = -1
        self._half_end = -1
        """Range of a second half (S23) that is still to leave."""

    def limit_length(self, plan: SegmentPlan, own: OutgoingMapping | None) -> None:
        """No segment crosses the end of its mapping, nor of the second half of a split."""
        end = plan.ssn + plan.length
        if own is not None and own.length:
            end = min(end, own.ssn + own.length)
        if self.is_second_half(plan, own):
            end = min(end, self._half_end)
        plan.length = end - plan.ssn

    def is_second_half(self, plan: SegmentPlan, own: OutgoingMapping | None) -> bool:
        """Whether the segment is the half that leaves its room to SACK (S23)."""
        return plan.ssn == self._half_start and own is not None and own.carried_at >= 0 and self.view.data_acked

    def mapping_to_carry(self, plan: SegmentPlan, draft: Draft) -> OutgoingMapping | None:
        """The mapping that this segment carries under the policy; None: none."""
        own = draft.own
        if not plan.length and self.view.infinite_mapping_due(plan.flags & FIN != 0):
            return self.view.mapping_for(plan.ssn, 0)
        if own is None:
            if self._late is not None and not plan.length and self.view.is_last_data(plan.ssn):
                return self._late.oldest()  # no data follows that could carry it
            return None if plan.length else self.view.mapping_due(plan.now)
        if not own.length:  # the infinite mapping rides on all data until the data level withdraws it
            return own
        must = own.must_ride(plan.ssn, plan.length)
        if not self.view.data_acked:
            return own
        if self._late is not None:
            late = self._late.mapping_for(own, plan.ssn, plan.is_retransmission)
            draft.own_fits_later = late is not own
            return late
        if self.is_second_half(plan, own):
            return None
        if self.policy.map_until_echoed and not plan.is_retransmission and own.carried_at >= 0:
            return None
        if self.policy.mapping_every == "segment":
            announced = self.policy.map_on_pure_ack and own.carried_at == own.ssn and not plan.is_retransmission
            return None if announced else own
        return own if must else None

    def announces(self, draft: Draft) -> bool:
        """Whether the data's mapping goes ahead on an ACK of its own."""
        own = draft.own
        return (
            self.policy.map_on_pure_ack
            and own is not None
            and own.length > 0
            and own.carried_at < 0
            and self.view.data_acked
        )

    def has_left(self, draft: Draft, plan: SegmentPlan) -> None:
        """The segment is on its way: note what it carried."""
        mapping = draft.mapping
        is_in = (draft.sent_dss is not None and draft.sent_dss.dsn is not None) or declares_mapping(draft.handshake)
        if mapping is not None and is_in and mapping.carried_at < 0:
            mapping.carried_at = plan.ssn if plan.length else mapping.ssn
        if self.policy.map_until_echoed and mapping is not None and is_in and mapping.length and not plan.length:
            self.view.mapping_announced(mapping, plan.now)
        if self._late is not None:
            if draft.own is not None and plan.length:
                self._late.has_left(plan.ssn, plan.is_retransmission, draft.own, mapping if is_in else None)
            elif mapping is not None and is_in:
                self._late.carried_by_ack(mapping)
            if self._late.oldest() is not None and self.view.is_last_data(plan.ssn + plan.length):
                self.view.ask_for_acks()
        if plan.length:
            if draft.split_start >= 0:
                self._half_start, self._half_end = draft.split_start, draft.split_end
            elif plan.ssn == self._half_start:
                self._half_start = -1
