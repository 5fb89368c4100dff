"""The option policy of a subflow: who goes first, what is left out, what waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from subflow_double import SubflowDouble

from testbed.mptcp.option_draft import Drafter
from testbed.mptcp.option_space import SubflowOptions, is_plain
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.profiles import PROFILES
from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import (
    AddAddr,
    Dss,
    FastOpen,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MptcpOption,
    MpTcprst,
    Option,
    RemoveAddr,
    Sack,
    Timestamps,
)
from testbed.wire.segment import ACK, FIN, RST, SYN

V4 = bytes([10, 0, 0, 2])
V6 = bytes(range(16))
HMAC = bytes(8)
BLOCKS = tuple((n * 10_000, n * 10_000 + 1400) for n in range(5))
MSS = 1460


def a_plan(length: int = 0, *, ssn: int = 1, blocks: int = 0, **fields: Any) -> SegmentPlan:
    plan = SegmentPlan()
    plan.flags = ACK
    plan.ssn = ssn
    plan.length = length
    plan.mss = MSS
    plan.timestamps = (1, 2)
    plan.sack_blocks = BLOCKS[:blocks]
    for name, value in fields.items():
        setattr(plan, name, value)
    return plan


class Owing(SubflowDouble):
    """One that owes the peer its infinite mapping."""

    def __init__(self, infinite: OutgoingMapping) -> None:
        super().__init__()
        self.established()
        self.mappings = [infinite]

    def infinite_mapping_due(self, is_fin: bool) -> bool:
        return is_fin or self.mappings[0].carried_at < 0


def a_view(
    *mappings: OutgoingMapping, data_acked: bool = True, data_ack: int = 5000, wide: bool = True
) -> SubflowDouble:
    view = SubflowDouble().established(data_acked=data_acked)
    view.mappings = list(mappings)
    view.next_dsn = data_ack
    view.peer_sends_wide_dsn = wide
    return view


def send(options: SubflowOptions, plan: SegmentPlan) -> SegmentPlan:
    options.fill(plan)
    assert sum(option.size for option in plan.options) == plan.option_octets <= 40
    assert plan.option_octets % 4 == 0
    options.has_left(plan)
    return plan


def dss_of(plan: SegmentPlan) -> Dss | None:
    return next((option for option in plan.options if isinstance(option, Dss)), None)


def kinds(plan: SegmentPlan) -> list[type[Option]]:
    return [type(option) for option in plan.options if option.kind > 1]


class TestOrdinarySegments:
    def test_numbers_are_wrapped_to_their_width(self) -> None:
        mapping = OutgoingMapping((1 << 64) + 7, 1, 1400)
        view = a_view(mapping, data_ack=(1 << 64) + (1 << 32) + 3)

        wide = dss_of(send(SubflowOptions(view, OptionPolicy()), a_plan(1400)))
        narrow = dss_of(send(SubflowOptions(view, PROFILES["width-32"].options), a_plan(1400)))

        assert wide == Dss((1 << 32) + 3, 8, 7, 8, 1, 1400)
        assert narrow == Dss(3, 4, 7, 4, 1, 1400)

    def test_a_segment_ends_where_its_mapping_ends(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 1000), OutgoingMapping(9000, 1001, 1000))

        assert send(SubflowOptions(view, OptionPolicy()), a_plan(1460)).length == 1000
        assert send(SubflowOptions(view, OptionPolicy()), a_plan(1460, ssn=501)).length == 500

    def test_the_ssn_on_the_wire_leaves_out_what_fast_open_carried(self) -> None:
        view = a_view(OutgoingMapping(0, 501, 1000))
        view.ssn_offset = 500

        dss = dss_of(send(SubflowOptions(view, OptionPolicy()), a_plan(1000, ssn=501)))

        assert dss is not None and dss.ssn == 1

    def test_a_data_fin_counts_in_the_length_and_needs_no_octet_of_the_subflow(self) -> None:
        view = a_view(OutgoingMapping(80, 1, 10, data_fin=True))

        dss = dss_of(send(SubflowOptions(view, OptionPolicy()), a_plan(10)))

        assert dss is not None and dss.length == 11 and dss.data_fin

    def test_a_bare_data_fin_rides_on_segments_without_data_and_takes_the_room_of_sack(self) -> None:
        view = a_view()
        view.fin_dsn = 90

        plan = send(SubflowOptions(view, OptionPolicy()), a_plan(blocks=2))

        assert dss_of(plan) == Dss(5000, 8, 90, 8, 0, 1, None, True)
        assert plan.option_octets == 40 and Sack not in kinds(plan), "the reference's consequence (b)"

    def test_a_data_ack_is_as_wide_as_the_peers_dsn(self) -> None:
        view = a_view(wide=False)
        options = SubflowOptions(view, OptionPolicy())

        narrow = dss_of(send(options, a_plan()))
        view.peer_sends_wide_dsn = True
        wide = dss_of(send(options, a_plan()))

        assert narrow is not None and narrow.ack_octets == 4
        assert wide is not None and wide.ack_octets == 8

    def test_what_is_remembered_of_a_burst_goes_with_the_width(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 2800), wide=False)
        options = SubflowOptions(view, OptionPolicy())
        stamps = (1, 2)

        narrow = send(options, a_plan(1400, timestamps=stamps))
        again = send(options, a_plan(1400, ssn=1401, timestamps=stamps))
        view.peer_sends_wide_dsn = True
        wide = send(options, a_plan(1400, timestamps=stamps))

        assert again.options is narrow.options
        assert (dss := dss_of(wide)) is not None and dss.ack_octets == 8

    def test_without_a_data_ack_known_the_mapping_stands_alone(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 100), data_ack=-1)

        dss = dss_of(send(SubflowOptions(view, OptionPolicy()), a_plan(100)))

        assert dss is not None and dss.data_ack is None and dss.dsn == 0

    def test_after_fallback_only_tcp_options_are_left(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 100))
        view.speaks_mptcp = False

        assert kinds(send(SubflowOptions(view, OptionPolicy()), a_plan(100, blocks=3))) == [Timestamps, Sack]

    def test_the_infinite_mapping_rides_on_all_data_until_it_is_withdrawn(self) -> None:
        infinite = OutgoingMapping(700, 201, 0, checksum=5)
        view = a_view(infinite)
        options = SubflowOptions(view, OptionPolicy())

        first = dss_of(send(options, a_plan(100, ssn=201)))
        later = dss_of(send(options, a_plan(100, ssn=301)))

        assert first is not None and (first.dsn, first.ssn, first.length, first.checksum) == (700, 201, 0, 0)
        assert later == first

    def test_the_infinite_mapping_leaves_on_one_pure_ack_and_on_every_fin(self) -> None:
        view = Owing(OutgoingMapping(700, 201, 0))
        options = SubflowOptions(view, OptionPolicy())

        kinds_of = [dss_of(send(options, a_plan(ssn=201, flags=flags))) for flags in (ACK, ACK, FIN | ACK, FIN | ACK)]

        assert [dss is not None and dss.dsn for dss in kinds_of] == [700, False, 700, 700]

    @pytest.mark.parametrize(("name", "octets"), [("linux", 40), ("dense", 36), ("width-32", 32), ("dense-32", 28)])
    def test_the_size_told_for_a_full_segment_is_what_it_takes(self, name: str, octets: int) -> None:
        policy = PROFILES[name].options
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1400)), policy)

        assert options.data_option_octets(True, 0, False) == octets == send(options, a_plan(1400)).option_octets


@given(
    st.sampled_from([name for name in PROFILES if is_plain(PROFILES[name].options)]),
    st.booleans(),
    st.integers(0, 5),
    st.sampled_from([0, 1, 700, 1400, 1460]),
    st.integers(-1, 1 << 65),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 0xFFFF)),
    st.integers(-1, 2000),
)
def test_the_short_way_and_the_long_way_agree(
    name: str,
    timestamps: bool,
    blocks: int,
    length: int,
    data_ack: int,
    wide: bool,
    data_acked: bool,
    data_fin: bool,
    checksum: int | None,
    carried_at: int,
) -> None:
    policy = PROFILES[name].options
    mapping = OutgoingMapping((1 << 63) + 5, 1, 1400, checksum, data_fin)
    mapping.carried_at = carried_at
    view = a_view(mapping, data_acked=data_acked, data_ack=data_ack, wide=wide)
    short, long = a_plan(length, blocks=blocks), a_plan(length, blocks=blocks)
    short.timestamps = long.timestamps = (1, 2) if timestamps else None

    SubflowOptions(view, policy).fill(short)
    Drafter(view, policy, None, 0).fill(long)

    assert short.options == long.options
    assert (short.option_octets, short.length) == (long.option_octets, long.length)


class TestHandshake:
    def test_a_syn_is_laid_out_as_linux_does(self) -> None:
        view = SubflowDouble()
        view.handshake = MpCapable()
        syn = a_plan(flags=SYN, ssn=0, mss_option=1460, window_scale=7, sack_permitted=True)

        send(SubflowOptions(view, OptionPolicy()), syn)

        assert syn.option_octets == 24
        view.handshake = MpJoin(1, False, token=1, nonce=2)
        send(SubflowOptions(view, OptionPolicy()), syn)
        assert syn.option_octets == 32
        view.handshake = MpCapable(sender_key=5)
        syn.flags = SYN | ACK
        send(SubflowOptions(view, OptionPolicy()), syn)
        assert syn.option_octets == 32
        view.handshake = MpJoin(1, False, nonce=2, hmac=bytes(8))
        send(SubflowOptions(view, OptionPolicy()), syn)
        assert syn.option_octets == 36

    def test_a_fast_open_cookie_and_a_key_in_one_syn_ack_leave_the_timestamps_out(self) -> None:
        view = SubflowDouble()
        view.handshake = MpCapable(sender_key=5)
        syn = a_plan(flags=SYN | ACK, ssn=0, mss_option=1460, window_scale=7, sack_permitted=True)
        syn.fast_open_cookie = bytes(8)

        send(SubflowOptions(view, OptionPolicy()), syn)

        assert syn.timestamps is None, "so that TCP knows"
        assert FastOpen in kinds(syn) and MpCapable in kinds(syn) and Timestamps not in kinds(syn)
        assert syn.option_octets == 36

    def test_what_does_not_fit_a_syn_at_all_leaves_it_plain(self) -> None:
        view = SubflowDouble()
        view.handshake = MpJoin(1, False, nonce=2, hmac=bytes(8))
        syn = a_plan(flags=SYN | ACK, ssn=0, mss_option=1460, window_scale=7, sack_permitted=True)
        syn.fast_open_cookie = bytes(16)

        send(SubflowOptions(view, OptionPolicy()), syn)

        assert MpJoin not in kinds(syn) and FastOpen in kinds(syn)

    def test_keys_stand_in_place_of_the_dss(self) -> None:
        mapping = OutgoingMapping(0, 1, 100)
        view = a_view(mapping, data_acked=False)
        view.handshake_due = True
        view.handshake = MpCapable(sender_key=1, receiver_key=2, data_length=100)

        plan = send(SubflowOptions(view, OptionPolicy()), a_plan(100))

        assert kinds(plan) == [Timestamps, MpCapable] and plan.option_octets == 36
        assert mapping.carried_at == 1
        assert view.handshakes_left == [view.handshake]

    def test_the_fourth_of_a_join_is_without_dss(self) -> None:
        view = a_view()
        view.handshake_due = True
        view.handshake = MpJoin(hmac=bytes(20))

        assert kinds(send(SubflowOptions(view, OptionPolicy()), a_plan())) == [Timestamps, MpJoin]


class TestResets:
    def test_the_reasons_go_on_the_reset_and_the_timestamps_do_not(self) -> None:
        view = a_view()
        view.reset = (MpFail(5), MpTcprst(6))

        plan = send(SubflowOptions(view, OptionPolicy()), a_plan(flags=RST | ACK))

        assert plan.options == (MpFail(5), MpTcprst(6))


class TestSignals:
    def test_an_add_addr_takes_a_pure_ack_for_itself_as_on_linux(self) -> None:
        view = a_view()
        view.signals = [AddAddr(1, V4, hmac=HMAC)]

        plan = send(SubflowOptions(view, OptionPolicy()), a_plan())

        assert kinds(plan) == [Timestamps, AddAddr] and plan.option_octets == 28
        assert view.left == [AddAddr(1, V4, hmac=HMAC)] and not view.signals

    def test_by_the_letter_the_data_ack_stays_beside_an_add_addr_that_leaves_room(self) -> None:
        view = a_view()
        view.signals = [AddAddr(1, V4, hmac=HMAC)]
        options = SubflowOptions(view, PROFILES["rfc8684"].options)

        assert kinds(send(options, a_plan())) == [Timestamps, Dss, AddAddr]
        view.signals = [AddAddr(2, V6, hmac=HMAC)]
        assert kinds(send(options, a_plan())) == [Timestamps, AddAddr], "28 octets leave no room for a DATA_ACK"

    def test_an_ipv6_address_with_port_is_given_up_beside_timestamps(self) -> None:
        signal = AddAddr(1, V6, 5001, HMAC)
        view = a_view()
        view.signals = [signal]
        options = SubflowOptions(view, OptionPolicy())

        plan = send(options, a_plan())

        assert AddAddr not in kinds(plan) and view.given_up == [signal]

    @pytest.mark.parametrize("name", ["dense", "drop-timestamps"])
    def test_it_leaves_dense_or_without_timestamps(self, name: str) -> None:
        view = a_view()
        view.signals = [AddAddr(1, V6, 5001, HMAC)]

        plan = send(SubflowOptions(view, PROFILES[name].options), a_plan())

        assert AddAddr in kinds(plan) and (Timestamps in kinds(plan)) == (name == "dense")

    def test_signals_that_do_not_fit_on_data_go_ahead_on_an_ack_of_their_own(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 1400))
        view.signals = [RemoveAddr((3,)), AddAddr(1, V4, hmac=HMAC)]
        options = SubflowOptions(view, OptionPolicy())

        first = send(options, a_plan(1400))
        assert first.length == 0 and AddAddr in kinds(first)
        second = send(options, a_plan(1400))
        assert second.length == 0 and kinds(second) == [Timestamps, Dss, RemoveAddr]
        third = send(options, a_plan(1400))
        assert third.length == 1400 and kinds(third) == [Timestamps, Dss]

    def test_no_more_than_two_acks_in_a_row_leave_for_signals_alone(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 1400))
        view.signals = [AddAddr(n, V4, hmac=HMAC) for n in range(4)]
        options = SubflowOptions(view, OptionPolicy())

        assert [send(options, a_plan(1400)).length for _ in range(6)] == [0, 0, 1400, 0, 0, 1400]

    def test_an_add_addr_first_policy_displaces_a_mapping_that_may_wait(self) -> None:
        chunk = OutgoingMapping(0, 1, 2800)
        view = a_view(chunk)
        view.signals = [AddAddr(1, V4, hmac=HMAC)]
        options = SubflowOptions(view, PROFILES["add-addr-first"].options)

        first = send(options, a_plan(1400))
        assert first.length == 1400 and kinds(first) == [Timestamps, AddAddr, Dss]
        assert (dss := dss_of(first)) is not None and dss.dsn is None
        second = send(options, a_plan(1400, ssn=1401))
        assert (dss := dss_of(second)) is not None and (dss.ssn, dss.length) == (1, 2800)

    def test_but_never_one_that_would_then_be_missing(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 1400))
        view.signals = [AddAddr(1, V4, hmac=HMAC)]
        options = SubflowOptions(view, PROFILES["add-addr-first"].options)

        first = send(options, a_plan(1400))
        assert first.length == 0 and view.left
        assert (dss := dss_of(send(options, a_plan(1400)))) is not None and dss.dsn == 0

    def test_ios_lets_the_dss_go_when_other_signals_leave_no_room(self) -> None:
        view = a_view(OutgoingMapping(0, 1, 1400))
        view.signals = [RemoveAddr((1, 2, 3, 4, 5)), MpPrio(True)]

        plan = send(SubflowOptions(view, PROFILES["ios"].options), a_plan(1400))

        assert kinds(plan) == [Timestamps, RemoveAddr, MpPrio]
        assert plan.length == 1400

    def test_a_fastclose_goes_alone(self) -> None:
        view = a_view()
        view.signals = [MpPrio(False), MpFastclose(9)]

        assert kinds(send(SubflowOptions(view, OptionPolicy()), a_plan(blocks=1))) == [Timestamps, Sack, MpFastclose]

    def test_an_mp_fail_rides_with_the_data_ack(self) -> None:
        view = a_view()
        view.signals = [MpFail(77)]

        assert kinds(send(SubflowOptions(view, OptionPolicy()), a_plan())) == [Timestamps, Dss, MpFail]


class TestThinMappings:
    def chunk(self, data_acked: bool = True) -> tuple[SubflowOptions, OutgoingMapping]:
        mapping = OutgoingMapping(0, 1, 4200)
        return SubflowOptions(a_view(mapping, data_acked=data_acked), PROFILES["thin-maps"].options), mapping

    def maps(self, options: SubflowOptions, *segments: tuple[int, bool]) -> list[bool]:
        found = []
        for ssn, again in segments:
            dss = dss_of(send(options, a_plan(1400, ssn=ssn, is_retransmission=again)))
            found.append(dss is not None and dss.dsn is not None)
        return found

    def test_only_the_first_segment_carries_it_and_carries_it_again(self) -> None:
        options, _ = self.chunk()

        assert self.maps(options, (1, False), (1401, False), (2801, False)) == [True, False, False]
        assert self.maps(options, (1401, True), (1, True)) == [False, True]

    def test_until_the_first_data_ack_every_segment_carries_it(self) -> None:
        options, _ = self.chunk(data_acked=False)

        assert self.maps(options, (1, False), (1401, False)) == [True, True]

    def test_the_room_goes_to_sack(self) -> None:
        options, _ = self.chunk()
        send(options, a_plan(1400))

        assert kinds(send(options, a_plan(1400, ssn=1401, blocks=3))) == [Timestamps, Sack, Dss]

    def test_a_chunk_fills_whole_packets_of_which_only_the_first_is_smaller(self) -> None:
        options, _ = self.chunk()
        full = 1460 - options.data_option_octets(True, 0, False)
        without = send(options, a_plan(1400, ssn=1401))  # its mapping has not left yet: carries it
        again = send(options, a_plan(1400, ssn=2801))

        assert (full, without.option_octets, again.option_octets) == (1420, 40, 24)
        assert options.whole_packets(11_584, 1460, full, True) == 1420 + 7 * 1436
        assert options.whole_packets(1419, 1460, full, True) == 0
        assert SubflowOptions(a_view(), OptionPolicy()).whole_packets(5000, 1460, 1420, True) == 4260

    def test_until_the_first_data_ack_a_chunk_counts_full_packets(self) -> None:
        options, _ = self.chunk(data_acked=False)

        assert options.whole_packets(5000, 1460, 1420, True) == 4260


class TestSackFirst:
    """rfc2018: S9."""

    def test_blocks_displace_the_mapping_while_it_may_wait(self) -> None:
        mapping = OutgoingMapping(0, 1, 2800)
        options = SubflowOptions(a_view(mapping), PROFILES["rfc2018"].options)

        first = send(options, a_plan(1400, blocks=3))
        assert kinds(first) == [Timestamps, Sack]
        assert mapping.carried_at < 0

        last = send(options, a_plan(1400, ssn=1401, blocks=3))
        assert (dss := dss_of(last)) is not None and dss.dsn == 0, "the last segment of the chunk must carry it"
        assert mapping.carried_at == 1401

    def test_the_segment_that_carried_it_carries_it_when_sent_again(self) -> None:
        mapping = OutgoingMapping(0, 1, 2800)
        options = SubflowOptions(a_view(mapping), PROFILES["rfc2018"].options)
        send(options, a_plan(1400, blocks=3))
        send(options, a_plan(1400, ssn=1401))

        again = send(options, a_plan(1400, ssn=1401, blocks=3, is_retransmission=True))

        assert (dss := dss_of(again)) is not None and dss.dsn == 0


class TestLateMappings:
    def test_each_mapping_follows_its_data_by_two_segments(self) -> None:
        mappings = [OutgoingMapping(1000 + n * 100, 1 + n * 100, 100) for n in range(5)]
        options = SubflowOptions(a_view(*mappings), PROFILES["late-map"].options)

        carried = [dss_of(send(options, a_plan(100, ssn=1 + n * 100))) for n in range(5)]

        assert [None if dss is None else dss.dsn for dss in carried] == [None, None, 1000, 1100, 1200]

    def test_at_the_end_of_the_data_those_that_wait_leave_on_acks(self) -> None:
        view = a_view(*(OutgoingMapping(1000 + n * 100, 1 + n * 100, 100) for n in range(3)))
        view.ends_at = 301
        options = SubflowOptions(view, PROFILES["late-map"].options)
        for n in range(3):
            send(options, a_plan(100, ssn=1 + n * 100))

        assert view.acks_asked_for == 1
        assert (dss := dss_of(send(options, a_plan(ssn=301)))) is not None and dss.dsn == 1100
        assert view.acks_asked_for == 2
        assert (dss := dss_of(send(options, a_plan(ssn=301)))) is not None and dss.dsn == 1200
        assert view.acks_asked_for == 2
        assert (dss := dss_of(send(options, a_plan(ssn=301)))) is not None and dss.dsn is None

    def test_a_retransmission_carries_what_it_carried(self) -> None:
        mappings = [OutgoingMapping(1000 + n * 100, 1 + n * 100, 100) for n in range(3)]
        options = SubflowOptions(a_view(*mappings), PROFILES["late-map"].options)
        for n in range(3):
            send(options, a_plan(100, ssn=1 + n * 100))

        again = dss_of(send(options, a_plan(100, ssn=201, is_retransmission=True)))

        assert again is not None and again.dsn == 1000


class TestMappingOnAPureAck:
    def test_it_goes_ahead_of_the_data_which_then_has_none(self) -> None:
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1400)), PROFILES["map-on-pure-ack"].options)

        ahead = send(options, a_plan(1400))
        data = send(options, a_plan(1400))
        again = send(options, a_plan(1400, is_retransmission=True))

        assert ahead.length == 0 and (dss := dss_of(ahead)) is not None and (dss.ssn, dss.length) == (1, 1400)
        assert data.length == 1400 and (dss := dss_of(data)) is not None and dss.dsn is None
        assert (dss := dss_of(again)) is not None and dss.dsn == 0, "what was lost may have been the ACK"


class TestSplitting:
    def test_one_half_carries_the_mapping_of_both_the_other_the_blocks(self) -> None:
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1420)), PROFILES["split-segment"].options)

        first = send(options, a_plan(1420, blocks=3))
        second = send(options, a_plan(710, ssn=1 + first.length, blocks=3))

        assert first.length == 710 and (dss := dss_of(first)) is not None and dss.length == 1420
        assert second.length == 710 and kinds(second) == [Timestamps, Sack]
        assert [len(o.blocks) for o in second.options if isinstance(o, Sack)] == [3]

    def test_a_retransmission_is_not_split(self) -> None:
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1420)), PROFILES["split-segment"].options)

        plan = send(options, a_plan(1420, blocks=3, is_retransmission=True))

        assert plan.length == 1420 and (dss := dss_of(plan)) is not None and dss.length == 1420

    def test_without_blocks_nothing_is_split(self) -> None:
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1420)), PROFILES["split-segment"].options)

        assert send(options, a_plan(1420)).length == 1420


class TestDroppingTimestamps:
    def test_one_packet_goes_without_them_when_that_lets_a_block_in(self) -> None:
        options = SubflowOptions(a_view(OutgoingMapping(0, 1, 1420)), PROFILES["drop-timestamps"].options)

        assert kinds(send(options, a_plan(1420, blocks=1))) == [Sack, Dss]
        assert kinds(send(options, a_plan(1420))) == [Timestamps, Dss]
        assert kinds(send(options, a_plan(blocks=1))) == [Timestamps, Sack, Dss], "on a pure ACK it fits as it is"


def test_without_data_acks_on_data_one_leaves_with_every_second_segments_worth() -> None:
    view = a_view(*(OutgoingMapping(n * 1400, 1 + n * 1400, 1400) for n in range(9)))
    options = SubflowOptions(view, OptionPolicy(data_ack_on_data=False))
    found = []
    for n in range(6):
        dss = dss_of(send(options, a_plan(1400, ssn=1 + n * 1400)))
        found.append(dss is not None and dss.data_ack is not None)
        view.next_dsn += 1460

    assert found == [True, False, True, False, True, False]


def test_a_sack_limit_is_kept() -> None:
    options = SubflowOptions(a_view(), OptionPolicy(sack_limit=1, data_ack_width="32"))

    plan = send(options, a_plan(blocks=3))

    assert [len(o.blocks) for o in plan.options if isinstance(o, Sack)] == [1]


def test_asking_has_no_effect_until_the_segment_leaves() -> None:
    for name, parameters in PROFILES.items():
        mapping = OutgoingMapping(0, 1, 2800)
        view = a_view(mapping)
        signals: list[MptcpOption] = [AddAddr(1, V4, hmac=HMAC), MpPrio(True)]
        view.signals = list(signals)
        options = SubflowOptions(view, parameters.options)

        answers = []
        for _ in range(2):
            plan = a_plan(1400, blocks=2)
            options.fill(plan)
            answers.append((plan.options, plan.length))

        assert answers[0] == answers[1], name
        assert view.signals == signals and mapping.carried_at < 0
