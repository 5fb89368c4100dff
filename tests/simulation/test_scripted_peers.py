"""A scripted peer against our own stack, in virtual time: it says what its lines say, and writes down what it hears."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_scripts import random_script
from scripted_trial import OURS, attempted, simulated

from testbed.orchestrator.spec import Endpoint

RULES = {name: Endpoint(implementation="userspace", receiver=name) for name in ("linux", "rfc8684", "holding")}
MAPPED = ("open sf1", "send sf1 1-100 map 1-100", "wait until data_acked 100")


def test_mapped_data_arrives_and_is_acknowledged(tmp_path: Path) -> None:
    it = simulated(tmp_path, MAPPED)

    assert it.flow["bytes_received_upload"] == it.observed["data_acked"] == it.observed["acked.sf1"] == 100
    assert (it.flow["fallback"], it.observed["mptcp"], it.observed["timeouts"]) == (False, 1, 0)
    assert it.flow["complete"] and it.flow["error"] is None


def test_waits_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    it = simulated(tmp_path, ("open sf1", "let begun = now", "wait 12345678ns", "observe took = now - begun"))

    assert it.observed["took"] == 12_345_678


@pytest.mark.parametrize("rules", RULES)
def test_unmapped_data_of_one_of_two_subflows_meets_the_rules_of_the_receiver(tmp_path: Path, rules: str) -> None:
    lines = (*MAPPED, "join sf2 on path2", "send sf1 101-200 no map", "wait until reset sf1 for 500ms")
    it = simulated(tmp_path, lines, RULES[rules])

    if rules == "linux":
        assert (it.observed["reset.sf1"], it.observed["reset_reason.sf1"], it.observed["reset_transient.sf1"]) == (
            1,
            6,
            0,
        )
        assert it.counters["MPRstTx"] == 1
    else:
        assert (it.observed["reset.sf1"], it.observed["reset_reason.sf1"]) == (0, None)
    assert it.observed["resets.sf2"] == 0


def test_a_retransmission_brings_the_mapping_to_a_receiver_that_holds(tmp_path: Path) -> None:
    lines = (*MAPPED, "send sf1 101-200", "wait 50ms", "again sf1 101-200 map 101-200", "wait until data_acked 200")
    it = simulated(tmp_path, lines, RULES["holding"])

    assert it.flow["bytes_received_upload"] == 200 and it.observed["timeouts"] == 0


@pytest.mark.parametrize(
    ("join", "counter"),
    [
        ("join sf2 on path2 bad hmac", "MPJoinAckHMacFailure"),
        ("join sf2 bad token", "MPJoinNoTokenFound"),
        ("join sf2 third ack without mptcp", None),
    ],
)
def test_a_join_that_is_wrong_is_reset_with_reason_1(tmp_path: Path, join: str, counter: str | None) -> None:
    it = simulated(tmp_path, (*MAPPED, join, "wait 200ms"))

    assert (it.observed["reset.sf2"], it.observed["reset_reason.sf2"]) == (1, 1)  # RFC 8684 §3.2
    assert counter is None or it.counters[counter] == 1
    assert it.observed["reset.sf1"] == 0


def test_a_connection_without_mptcp_is_plain_and_wrong_octets_are_found(tmp_path: Path) -> None:
    lines = ("open sf1 without mptcp", "send sf1 1-100", "send sf1 101-200 spoiled", "wait until received 5000")
    it = simulated(tmp_path, lines, partner_sends_bytes=5000)

    assert (it.flow["fallback"], it.flow["integrity"], it.flow["first_wrong_upload"]) == (True, "mismatch", 100)
    assert it.observed["received"] == 5000 and it.observed["wrong_octet"] is None
    assert it.observed["bare_data.sf1"] == it.observed["data_segments.sf1"] > 0


def test_the_script_can_be_the_server_and_let_subflows_join(tmp_path: Path) -> None:
    lines = (
        "set timestamps on",
        "accept sf1",
        "wait until received 3000",
        "send sf1 1-500 map 1-500",
        "accept join sf2 within 2s",
        "send sf2 501-600 map 501-600",
        "wait until data_acked 600",
        "ack sf1 data_fin",
        "wait until data_fin and data_acked 601",
    )
    it = simulated(tmp_path, lines, role="server", partner_sends_bytes=3000)

    assert it.flow["bytes_received_download"] == 600 and it.flow["subflows"] == 2
    assert it.observed["timeouts"] == 0 and it.observed["wrong_octet"] is None


def test_a_bad_checksum_is_answered_by_mp_fail_with_its_octet(tmp_path: Path) -> None:
    lines = ("set checksum on", *MAPPED, "send sf1 101-200 map 101-200 checksum bad", "wait until mp_fail or reset sf1")
    it = simulated(tmp_path, lines, RULES["rfc8684"])

    assert (it.observed["mp_fail"], it.observed["mp_fail_octet"]) == (1, 101)
    assert it.counters["DataCsumErr"] == 1


def test_fastclose_needs_the_right_key(tmp_path: Path) -> None:
    wrong = simulated(
        tmp_path / "wrong",
        (*MAPPED, "fastclose sf1 bad key", "wait 100ms", "send sf1 101-200 map 101-200", "wait until data_acked 200"),
    )
    right = simulated(tmp_path / "right", (*MAPPED, "fastclose sf1", "wait 100ms"))

    assert (wrong.observed["data_acked"], wrong.flow["error_kind"]) == (200, None)
    assert right.flow["error_kind"] == "peer"  # RFC 8684 §3.5: the application hears a reset


@pytest.mark.parametrize("family", [4, 6])
def test_announcements_and_priorities_arrive_over_both_families(tmp_path: Path, family: int) -> None:
    address = "192.0.2.7" if family == 4 else "2001:db8::7"
    lines = (
        "set timestamps on",
        *MAPPED,
        "join sf2 on path2",
        f"ack sf1 add_addr 5 {address} no dss",
        "wait until add_addr_echo",
        "ack sf1 remove_addr 5 7",
        "ack sf2 mp_prio backup",
        "send sf2 101-200 map 101-200 dsn 4",
        "wait until data_acked 200",
    )
    it = simulated(tmp_path, lines, family=family)

    assert (it.counters["AddAddr"], it.counters["MPPrioRx"], it.observed["add_addr_echo"]) == (1, 1, 1)
    assert it.observed["data_ack_octets"] == 4  # RFC 8684 §3.3.2: as wide as what it answers
    assert it.observed["timeouts"] == it.observed["resets"] == 0


def test_options_that_do_not_fit_end_the_script_with_their_line(tmp_path: Path) -> None:
    it = attempted(tmp_path, ("set timestamps on", *MAPPED, "ack sf1 add_addr 5 2001:db8::7 port 77"))

    assert it.outcome.verdict == "INVALID"
    assert "line 5: the options need 54 octets, and a TCP header has room for 40" in it.outcome.reason


def test_sack_blocks_are_heard_and_said(tmp_path: Path) -> None:
    lines = (
        "open sf1",
        "send sf1 101-200 at 101 map 101-200",
        "wait 50ms",
        "send sf1 1-100 at 1 map 1-100",
        "wait 50ms",
    )
    it = simulated(tmp_path, lines)

    assert it.observed["sack_blocks_max.sf1"] == 1 and it.observed["sack_blocks.sf1"] == 0
    assert it.observed["acked.sf1"] == 200


def test_without_answers_the_other_end_sends_again(tmp_path: Path) -> None:
    silent = simulated(tmp_path, ("set answers none", "open sf1", "ack sf1", "wait 1s"), partner_sends_bytes=100)

    assert silent.observed["repeated.sf1"] >= 1
    assert silent.observed["octets.sf1"] > silent.observed["received.sf1"] == 100


def test_a_first_subflow_that_nobody_answers_is_no_connection(tmp_path: Path) -> None:
    it = simulated(tmp_path, ("accept sf1 within 100ms",), dataclasses.replace(OURS), role="client")

    assert it.flow["error_kind"] == "connect" and "no SYN within 0.1 s" in it.flow["error"]


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 599), max_size=6, unique=True), order=st.randoms(use_true_random=False))
def test_any_cut_and_order_of_mapped_segments_is_the_same_stream(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], order: random.Random
) -> None:
    edges = [0, *sorted(cuts), 600]
    runs = [f"{low + 1}-{high}" for low, high in itertools.pairwise(edges)]
    said = [f"send sf1 {run} at {run.partition('-')[0]} map {run}" for run in runs]
    order.shuffle(said)
    it = simulated(tmp_path_factory.mktemp("cut"), ("open sf1", *said, "wait until data_acked 600"))

    assert (it.flow["bytes_received_upload"], it.flow["first_wrong_upload"], it.flow["fallback"]) == (600, None, False)


@settings(max_examples=12, deadline=None)
@given(chance=st.randoms(use_true_random=False), rules=st.sampled_from(("rfc8684", "holding")))
def test_whatever_is_said_in_odd_forms_but_truly_no_wrong_octet_is_read(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, rules: str
) -> None:
    it = simulated(tmp_path_factory.mktemp("odd"), random_script(chance), RULES[rules])

    assert it.flow["first_wrong_upload"] is None
    assert it.flow["bytes_received_upload"] >= 100
