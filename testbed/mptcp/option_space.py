"""The 40 octets of options of one subflow's segments: what is wanted, what fits, what waits.

:class:`SubflowOptions` is the option policy that a subflow gives to its TCP. For each segment it knows the candidates
(timestamps, handshake, DSS, SACK, signals), takes them in the order of the policy's ``priority`` as far as they fit,
and leaves the rest for a later segment. The ordinary segment (timestamps, DSS, perhaps SACK) goes a short way; all
else, and everything when the ledger is kept, goes through :mod:`testbed.mptcp.option_draft`.
"""

from __future__ import annotations

from typing import Final

from testbed.mptcp.draft import Draft
from testbed.mptcp.dss import mapping_dss
from testbed.mptcp.ledger import Ledger
from testbed.mptcp.option_draft import Drafter
from testbed.mptcp.packing import AREA, padded, sack_blocks_that_fit
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.subflow_view import NOT_KNOWN, OutgoingMapping, SubflowView
from testbed.tcp import seam
from testbed.wire.options import NOP, Dss, Option, Sack, Timestamps
from testbed.wire.segment import FIN, RST, SYN, Segment

_MASK32: Final = 0xFFFF_FFFF
_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
_NO_STAMPS: Final = (-1, -1)


class SubflowOptions(seam.OptionPolicy):
    """The option policy of one subflow."""

    def __init__(
        self, view: SubflowView, policy: OptionPolicy, ledger: Ledger | None = None, subflow_number: int = 0
    ) -> None:
        self.view = view
        self.policy = policy
        self._drafter = Drafter(view, policy, ledger, subflow_number)
        self._draft: Draft | None = None
        """What the last :meth:`fill` decided the long way; None: the short way."""
        self._mapping: OutgoingMapping | None = None
        """The mapping that the last short :meth:`fill` put in."""
        self._is_plain = is_plain(policy) and ledger is None
        self._is_aligned = policy.packing == "aligned"
        self._every_segment = policy.mapping_every == "segment"
        self._wide_dsn = policy.dsn_width == "64"
        self._ack_width = policy.data_ack_width
        self._sack_limit = policy.sack_limit
        self._area_mapping: OutgoingMapping | None = None
        """What the area below was made of."""
        self._area_length = 0
        self._area_data_fin = False
        self._area_data_ack = NOT_KNOWN
        self._area_peer_is_wide = False
        self._area_stamps: tuple[int, int] | None = None
        self._area: tuple[Option, ...] = ()
        self._area_octets = 0
        self._stamps = _NO_STAMPS
        self._timestamps: tuple[Option, ...] = ()
        """The timestamps of the last segment with their padding: they change once a millisecond at most."""

    def fill(self, plan: seam.SegmentPlan) -> None:
        """Answer for a segment that may leave (see :class:`testbed.tcp.seam.OptionPolicy`)."""
        view = self.view
        if (
            not self._is_plain
            or plan.flags & (SYN | RST)
            or view.signals
            or view.handshake_due
            or not view.speaks_mptcp
        ):
            self._draft = self._drafter.fill(plan)
            return
        self._draft = None
        self._mapping = None
        length = plan.length
        mapping: OutgoingMapping | None = None
        if length:
            ssn = plan.ssn
            mapping = view.mapping_for(ssn, length)
            if mapping is None or not mapping.length:
                self._draft = self._drafter.fill(plan)
                return
            left = mapping.ssn + mapping.length - ssn
            if left < length:
                plan.length = length = left
            if self._every_segment or not view.data_acked or mapping.must_ride(ssn, length):
                self._mapping = mapping
            else:
                mapping = None
        elif view.bare_data_fin() != NOT_KNOWN or view.infinite_mapping_due(plan.flags & FIN != 0):
            self._draft = self._drafter.fill(plan)
            return
        data_ack = view.data_ack()
        if mapping is None:
            self._write(plan, self._data_ack_alone(data_ack))
            return
        # The packets of one chunk that leave at once carry the same area: it is made once.
        if (
            mapping is self._area_mapping
            and data_ack == self._area_data_ack
            and plan.timestamps is self._area_stamps
            and not plan.sack_blocks
            and view.peer_sends_wide_dsn is self._area_peer_is_wide
            and mapping.length == self._area_length
            and mapping.data_fin == self._area_data_fin
        ):
            plan.options = self._area
            plan.option_octets = self._area_octets
            return
        wide_dsn = self._wide_dsn or view.wide_dsn_required
        self._write(plan, mapping_dss(mapping, data_ack, self._acks_are_wide(), wide_dsn, view.ssn_offset))
        if not plan.sack_blocks:
            self._area_mapping = mapping
            self._area_length = mapping.length
            self._area_data_fin = mapping.data_fin
            self._area_data_ack = data_ack
            self._area_peer_is_wide = view.peer_sends_wide_dsn
            self._area_stamps = plan.timestamps
            self._area = plan.options
            self._area_octets = plan.option_octets

    def _acks_are_wide(self) -> bool:
        """Whether a DATA_ACK has 64 bits now (checklist D15)."""
        return self._ack_width == "64" or (self._ack_width == "match" and self.view.peer_sends_wide_dsn)

    def _data_ack_alone(self, data_ack: int) -> Dss | None:
        if data_ack == NOT_KNOWN:
            return None
        if self._acks_are_wide():
            return Dss(data_ack & _MASK64)
        return Dss(data_ack & _MASK32, 4)

    def _write(self, plan: seam.SegmentPlan, dss: Dss | None) -> None:
        """Timestamps, as many SACK blocks as still fit, DSS."""
        aligned = self._is_aligned
        stamps = plan.timestamps
        if stamps is None:
            options: tuple[Option, ...] = ()
            used = 0
        else:
            if stamps != self._stamps:
                self._stamps = stamps
                stamp = Timestamps(stamps[0], stamps[1])
                self._timestamps = (NOP, NOP, stamp) if aligned else (stamp,)
            options = self._timestamps
            used = 12 if aligned else 10
        size = 0 if dss is None else dss.size
        used += (size + 3) & ~3 if aligned else size
        if plan.sack_blocks:
            wanted = min(len(plan.sack_blocks), self._sack_limit)
            count = sack_blocks_that_fit(AREA - used, wanted, aligned)
            if count:
                sack = Sack(plan.sack_blocks[:count])
                options = (*options, NOP, NOP, sack) if aligned else (*options, sack)
                used += (4 if aligned else 2) + 8 * count
        # Aligned, the padding belongs to the DSS and is in ``used``; dense, it is the area's. Sizes here are even.
        padding = -(size if aligned else used) & 3
        if dss is None:
            plan.options = (*options, NOP, NOP) if padding else options
        elif padding:
            plan.options = (*options, dss, NOP, NOP)
        else:
            plan.options = (*options, dss)
        plan.option_octets = (used + 3) & ~3

    def is_signal(self, segment: Segment) -> bool:
        """Whether an ACK that looks like a duplicate came for the sake of MPTCP (A1)."""
        return self.view.is_signal(segment)

    def proves_reset(self, segment: Segment) -> bool:
        """Whether a RST carries what only the peer knows."""
        return self.view.proves_reset(segment)

    def has_left(self, plan: seam.SegmentPlan) -> None:
        """The segment of the last :meth:`fill` is on its way."""
        draft = self._draft
        if draft is not None:
            self._draft = None
            self._drafter.has_left(draft, plan)
        else:
            mapping = self._mapping
            if mapping is not None and mapping.carried_at < 0:
                mapping.carried_at = plan.ssn

    def data_option_octets(self, timestamps: bool, sack_blocks: int, checksum: bool) -> int:
        """Option octets of a full data segment with its mapping and that many SACK blocks wanted: the data level
        deducts them from the MSS, so that a chunk fills one packet."""
        aligned = self._is_aligned
        size = 4 + (8 if self._wide_dsn or self.view.wide_dsn_required else 4) + (8 if checksum else 6)
        if self.policy.data_ack_on_data:
            size += 8 if self._acks_are_wide() else 4
        used = padded(size) if aligned else size
        if timestamps:
            used += 12 if aligned else 10
        count = sack_blocks_that_fit(AREA - used, min(sack_blocks, self._sack_limit), aligned)
        if count:
            used += (4 if aligned else 2) + 8 * count
        return padded(used)

    def whole_packets(self, length: int, mss: int, first: int, timestamps: bool) -> int:
        """The largest part of ``length`` that fills packets under one mapping. The first packet takes ``first`` octets
        of payload; the others more where the policy lets them go without the mapping."""
        if self._every_segment or not self.view.data_acked or length < first:
            return length - length % first
        aligned = self._is_aligned
        dss = 12 if self._acks_are_wide() else 8
        stamps = (12 if aligned else 10) if timestamps else 0
        rest = mss - padded(dss + stamps)
        return first + (length - first) // rest * rest


def is_plain(policy: OptionPolicy) -> bool:
    """Whether ordinary segments are timestamps, then DSS with a DATA_ACK, then SACK."""
    rank = {candidate: place for place, candidate in enumerate(policy.priority)}
    in_order = rank.get("timestamps", -1) == 0 and "dss" in rank and "sack" in rank and rank["dss"] < rank["sack"]
    return in_order and not (
        policy.mapping_late_by
        or policy.map_on_pure_ack
        or policy.split_for_sack
        or policy.drop_timestamps_for_sack
        or not policy.data_ack_on_data
    )
