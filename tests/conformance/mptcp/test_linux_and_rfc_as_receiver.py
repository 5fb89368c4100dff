"""What each receiver does with odd mappings: the cases E1 to E18 observed on Linux, for both sets of rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from data_peer import DataPeer, part
from mptcp_segments import options_of

from testbed.mptcp.parameters import Parameters
from testbed.mptcp.profiles import RECEIVERS
from testbed.wire.options import Dss, MpFail, MpTcprst
from testbed.wire.segment import ACK

LINUX = Parameters(rules=RECEIVERS["linux"])
RFC = Parameters(rules=RECEIVERS["rfc8684"])
BOTH = pytest.mark.parametrize("parameters", [LINUX, RFC], ids=["linux", "rfc8684"])


def reset_reason(peer: DataPeer, flow: int = 0) -> int | None:
    for segment in peer.resets(flow):
        for option in options_of([segment], MpTcprst):
            return option.reason
    return None


# --- E1: unmapped data, then a late mapping ---


def test_e1_linux_falls_back_silently_on_one_subflow() -> None:
    peer = DataPeer(LINUX)
    peer.data(0, 100)

    peer.data(100, 100, mapped=False)
    peer.data(200, 100, peer.map(100, 200, 101))

    assert peer.connection.fallen_back
    assert peer.read() == part(0, 300)
    assert not peer.resets()
    assert peer.counters["MPTcpExtDssFallback"] == 1


def test_e1_linux_resets_with_reason_6_on_two_subflows_and_the_other_lives() -> None:
    peer = DataPeer(LINUX, joins=1)

    peer.data(0, 100, flow=1, mapped=False)

    assert reset_reason(peer, 1) == 6
    assert not peer.resets(0)
    peer.data(0, 100, flow=0)
    assert peer.read() == part(0, 100)


def test_e1c_linux_takes_a_dss_without_mapping_for_none() -> None:
    peer = DataPeer(LINUX, joins=1)

    peer.data(0, 100, Dss(data_ack=peer.host_dsn(0)), flow=1)

    assert reset_reason(peer, 1) == 6


def test_e1_rfc_holds_the_data_until_a_retransmission_brings_the_mapping() -> None:
    peer = DataPeer(RFC, joins=1)
    peer.data(0, 100)

    peer.data(100, 100, mapped=False)
    assert peer.read() == part(0, 100)
    peer.settle()
    assert peer.data_acked() == 100
    peer.data(100, 100, peer.map(100, 100, 101), at=101)

    assert peer.read() == part(100, 100)
    assert not peer.resets()
    peer.settle()
    assert peer.data_acked() == 200


# --- E2: a mapping for later data alone ---


def test_e2_linux_falls_back_on_one_subflow() -> None:
    peer = DataPeer(LINUX)
    peer.data(0, 100)

    peer.data(100, 100, peer.map(200, 100, 201))

    assert peer.connection.fallen_back
    assert peer.counters["MPTcpExtDSSNoMatchTCP"] == 1
    assert peer.read() == part(0, 200)


@BOTH
def test_e2_reset_with_reason_1_on_two_subflows(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)

    peer.data(0, 100, peer.map(100, 100, 101), flow=1)

    assert reset_reason(peer, 1) == 1
    assert peer.counters["MPTcpExtDSSNoMatchTCP"] == 1


# --- E3, E16: one mapping for several segments ---


@BOTH
@pytest.mark.parametrize("joins", [0, 1])
def test_e3_a_mapping_on_the_first_of_three_segments_serves_all(parameters: Parameters, joins: int) -> None:
    peer = DataPeer(parameters, joins=joins)

    peer.data(0, 100, peer.map(0, 300, 1))
    peer.data(100, 100, mapped=False)
    peer.data(200, 100, mapped=False)

    assert peer.read() == part(0, 300)
    assert not peer.connection.fallen_back


@BOTH
def test_e3b_also_when_they_arrive_in_reverse(parameters: Parameters) -> None:
    peer = DataPeer(parameters)

    peer.data(200, 100, mapped=False, at=201)
    peer.data(100, 100, mapped=False, at=101)
    peer.data(0, 100, peer.map(0, 300, 1), at=1)

    assert peer.read() == part(0, 300)
    assert not peer.connection.fallen_back


@BOTH
def test_e16_the_longest_mapping_there_can_be(parameters: Parameters) -> None:
    peer = DataPeer(parameters)

    peer.data(0, 1000, peer.map(0, 65535, 1))
    for start in range(1000, 65535, 1000):
        peer.data(start, min(1000, 65535 - start), mapped=False)

    received = b""
    while piece := peer.read():
        received += piece
    assert received == part(0, 65535)


# --- E4: repeated, partial and contradicting mappings ---


@BOTH
def test_e4a_an_identical_mapping_again_is_accepted(parameters: Parameters) -> None:
    peer = DataPeer(parameters)

    peer.data(0, 100, peer.map(0, 200, 1))
    peer.data(100, 100, peer.map(0, 200, 1))

    assert peer.read() == part(0, 200)
    assert not peer.connection.fallen_back


def test_e4b_linux_falls_back_on_a_sub_mapping_that_is_not_identical() -> None:
    peer = DataPeer(LINUX)

    peer.data(0, 100, peer.map(0, 300, 1))
    peer.data(100, 100, peer.map(100, 100, 101))

    assert peer.connection.fallen_back
    assert peer.counters["MPTcpExtDSSNotMatching"] == 1
    assert peer.read() == part(0, 200)


def test_e4b_linux_resets_with_reason_1_on_two_subflows() -> None:
    peer = DataPeer(LINUX, joins=1)

    peer.data(0, 100, peer.map(0, 300, 1), flow=1)
    peer.data(100, 100, peer.map(100, 100, 101), flow=1)

    assert reset_reason(peer, 1) == 1


def test_e4b_rfc_lets_mappings_reinforce_each_other() -> None:
    peer = DataPeer(RFC)

    peer.data(0, 100, peer.map(0, 200, 1))
    peer.data(100, 100, peer.map(100, 200, 101))
    peer.data(200, 100, mapped=False)

    assert peer.read() == part(0, 300)
    assert not peer.connection.fallen_back


@BOTH
def test_e4c_a_contradicting_mapping_ends_the_subflow_and_the_first_one_stands(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)

    peer.data(0, 100, peer.map(0, 300, 1), flow=1)
    peer.data(100, 100, peer.map(500, 100, 101), flow=1)

    assert reset_reason(peer, 1) == 1
    assert peer.read() == part(0, 100)


# --- E5, E17: DSNs outside the window, old ones, other payload ---


@BOTH
def test_e5_a_dsn_far_outside_the_window_is_subflow_acked_and_dropped(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)
    far = replace_dsn(peer.map(0, 100, 1), peer.dsn(1 << 30))

    peer.data(0, 100, far, flow=1)
    answers = peer.settle()

    assert peer.counters["MPTcpExtNoDSSInWindow"] == 1
    assert any(segment.ack == peer.flows[1].seq for segment in answers)
    assert peer.data_acked() == 0
    assert peer.read() == b""


def replace_dsn(dss: Dss, dsn: int) -> Dss:
    return Dss(dss.data_ack, dss.ack_octets, dsn, 8, dss.ssn, dss.length, dss.checksum, dss.data_fin)


@BOTH
def test_e17_of_two_payloads_for_one_dsn_the_first_wins(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)
    peer.data(0, 100)

    peer.data(0, 150, peer.map(0, 150, 1), flow=1, payload=b"x" * 150)

    assert peer.read() == part(0, 100) + b"x" * 50
    assert peer.counters["MPTcpExtDuplicateData"] == 1


# --- E11: a mapping on a pure ACK ahead of its data ---


def test_e11_linux_ignores_it() -> None:
    peer = DataPeer(LINUX, joins=1)
    peer.flows[1].say(0x10, peer.map(0, 100, 1))

    peer.data(0, 100, flow=1, mapped=False)

    assert reset_reason(peer, 1) == 6


def test_e11_rfc_keeps_it() -> None:
    peer = DataPeer(RFC, joins=1)
    peer.flows[1].say(0x10, peer.map(0, 100, 1))

    peer.data(0, 100, flow=1, mapped=False)

    assert peer.read() == part(0, 100)
    assert not peer.resets(1)


# --- E12: a mapping for half of its segment ---


def test_e12_linux_takes_it_for_corruption_and_delivers_all_as_tcp() -> None:
    peer = DataPeer(LINUX)

    peer.data(0, 1000, peer.map(0, 500, 1))

    assert peer.counters["MPTcpExtDSSCorruptionFallback"] == 1
    assert peer.read() == part(0, 1000)


def test_e12_linux_resets_on_two_subflows() -> None:
    peer = DataPeer(LINUX, joins=1)

    peer.data(0, 1000, peer.map(0, 500, 1), flow=1)

    assert peer.counters["MPTcpExtDSSCorruptionReset"] == 1
    assert reset_reason(peer, 1) == 1


def test_e12_rfc_delivers_the_mapped_half_and_holds_the_other() -> None:
    peer = DataPeer(RFC)

    peer.data(0, 1000, peer.map(0, 500, 1))
    assert peer.read() == part(0, 500)
    peer.data(500, 500, peer.map(500, 500, 501), at=501)

    assert peer.read() == part(500, 500)


@BOTH
def test_e12b_two_segments_with_a_mapping_each_need_not_be_contiguous(parameters: Parameters) -> None:
    peer = DataPeer(parameters)

    peer.data(500, 500, peer.map(500, 500, 1))
    assert peer.read() == b""
    peer.data(0, 500, peer.map(0, 500, 501))

    assert peer.read() == part(0, 1000)


# --- E13: the mapping comes on a retransmission ---


@BOTH
def test_e13b_while_the_data_is_out_of_order_a_retransmission_may_bring_its_mapping(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)

    peer.data(100, 100, flow=1, mapped=False, at=101)
    peer.data(100, 100, peer.map(100, 100, 101), flow=1, at=101)
    peer.data(0, 100, peer.map(0, 100, 1), flow=1, at=1)

    assert peer.read() == part(0, 200)
    assert not peer.resets(1)


def test_e13_linux_judges_in_order_data_at_once() -> None:
    peer = DataPeer(LINUX, joins=1)

    peer.data(0, 100, flow=1, mapped=False)
    peer.data(0, 100, peer.map(0, 100, 1), flow=1, at=1)

    assert reset_reason(peer, 1) == 6
    assert peer.read() == b""


# --- E15, E18 ---


@BOTH
def test_e15_data_ack_is_as_wide_as_the_dsn_last_received(parameters: Parameters) -> None:
    peer = DataPeer(parameters)

    peer.data(0, 1460, peer.map(0, 1460, 1, octets=4))
    narrow = [s.dss for s in peer.data(1460, 1460, peer.map(1460, 1460, 1461, octets=4)) if s.dss is not None]
    peer.data(2920, 1460)
    wide = [s.dss for s in peer.data(4380, 1460) if s.dss is not None]

    assert [dss.ack_octets for dss in narrow] == [4]
    assert [dss.ack_octets for dss in wide] == [8]
    assert peer.read() == part(0, 5840)


@BOTH
def test_e18_a_data_fin_before_a_hole_is_filled_is_acknowledged_after_it(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)

    peer.data(511, 1, peer.map(511, 2, 1, fin=True), flow=1)
    peer.settle()
    assert peer.data_acked() == 0
    peer.data(0, 511)
    peer.settle()

    assert peer.data_acked() == 513
    assert peer.read() == part(0, 512)


# --- the S5 schedule (E10) ---


def _seed_schedule(peer: DataPeer, mapped: bool) -> None:
    peer.data(0, 100, *((peer.map(0, 100, 1),) if mapped else ()), mapped=False)
    peer.data(100, 100, peer.map(100, 100, 1), flow=1)
    if peer.resets(0):
        return
    peer.data(200, 100, peer.map(200, 200, 101) if mapped else peer.map(0, 100, 1))
    peer.data(300, 100, peer.map(200, 200, 101))
    peer.data(400, 100, peer.map(400, 200, 101), flow=1)
    peer.data(500, 100, flow=1, mapped=False)
    peer.data(600, 100, peer.map(600, 100, 301))
    peer.data(700, 100, peer.map(700, 100, 301), flow=1)


def test_e10_linux_resets_the_first_subflow_at_its_first_segment() -> None:
    peer = DataPeer(LINUX, joins=1)

    _seed_schedule(peer, mapped=False)

    assert reset_reason(peer, 0) == 6
    assert peer.read() == b""


@BOTH
def test_e10b_with_legal_mappings_all_of_it_arrives(parameters: Parameters) -> None:
    peer = DataPeer(parameters, joins=1)

    _seed_schedule(peer, mapped=True)

    assert peer.read() == part(0, 800)


def test_e10_a_lenient_receiver_delivers_the_schedule_of_the_thread() -> None:
    peer = DataPeer(Parameters(rules=RECEIVERS["holding"]), joins=1)

    _seed_schedule(peer, mapped=False)

    assert peer.read() == part(0, 800)


def test_e11_a_mapping_that_was_ignored_on_a_pure_ack_counts_when_the_data_repeat_it() -> None:
    peer = DataPeer(LINUX)
    peer.data(0, 100)
    mapping = peer.map(100, 100, 101)

    peer.flows[0].say(ACK, mapping)
    peer.data(100, 100, mapping)

    assert peer.read() == part(0, 200)
    assert not peer.connection.fallen_back


# --- E6: checksums ---


def bad(dss: Dss) -> Dss:
    assert dss.checksum is not None
    return Dss(dss.data_ack, dss.ack_octets, dss.dsn, 8, dss.ssn, dss.length, dss.checksum ^ 0x5555, dss.data_fin)


@pytest.mark.parametrize("delivers", [True, False])
def test_e6a_linux_says_mp_fail_and_delivers_what_failed_on_one_subflow_if_asked_to(delivers: bool) -> None:
    rules = replace(LINUX.rules, deliver_failed_checksum=delivers)
    peer = DataPeer(replace(LINUX, rules=rules, checksum=True))
    peer.data(0, 100)

    answers = peer.data(100, 100, bad(peer.map(100, 100, 101)))
    answers += peer.settle()

    assert options_of(answers, MpFail)[0].dsn == peer.dsn(100)
    assert peer.read() == part(0, 200 if delivers else 100)
    assert not peer.resets()


def test_e6a_linux_resets_with_mp_fail_on_two_subflows() -> None:
    peer = DataPeer(replace(LINUX, checksum=True), joins=1)

    peer.data(0, 100, bad(peer.map(0, 100, 1)), flow=1)

    (reset,) = peer.resets(1)
    assert options_of([reset], MpFail)[0].dsn == peer.dsn(0)
    assert options_of([reset], MpTcprst)[0].reason == 6


def test_e6b_linux_falls_back_without_mp_fail_on_the_first_data() -> None:
    peer = DataPeer(replace(LINUX, checksum=True))

    answers = peer.data(0, 100, bad(peer.map(0, 100, 1))) + peer.settle()

    assert peer.connection.fallen_back
    assert not options_of(answers, MpFail)
    assert peer.read() == part(0, 100)


@pytest.mark.parametrize("negotiated", [True, False])
def test_e6d_linux_falls_back_on_a_checksum_that_should_not_be_there_or_is_not(negotiated: bool) -> None:
    peer = DataPeer(replace(LINUX, checksum=negotiated))

    peer.data(0, 100, peer.map(0, 100, 1, checksum=None if negotiated else 0x1234))

    assert peer.connection.fallen_back
    assert peer.read() == part(0, 100)
