"""Trials through middleboxes that cut, join, rewrite, acknowledge or order segments, or take options out of some.

TCP does not notice any that keeps the bytes; what MPTCP does is what RFC 8684 sections 3.7 and 6 have it do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from middlebox_trial import MS, PATHS, SIZE, Trial

from topologies.link_profile import Jitter, QueueLimit, RandomLoss

ROOMY = QueueLimit(packets=1000)
"""No loss but those that a test makes."""

HARMLESS = st.one_of(
    st.tuples(st.integers(100, 1600), st.sampled_from(["copy", "first", "last"])).map(
        lambda each: f"split {each[0]} options {each[1]}"
    ),
    st.tuples(st.integers(200, 9000), st.sampled_from(["first", "last"]), st.integers(1, 20)).map(
        lambda each: f"coalesce {each[0]} options {each[1]} for {each[2]}ms"
    ),
    st.integers(3000, 100_000).map(lambda octets: f"normalise keep {octets}"),
    st.tuples(
        st.integers(3000, 100_000), st.sampled_from(["", " on data every 3", " on after 150ms", " on backward"])
    ).map(lambda each: f"proactive-ack buffer {each[0]}{each[1]}"),
    st.sampled_from(
        ["drop data and chance 2%", "hold data every 30 until data every 33 for 30ms", "duplicate chance 5%"]
    ),
)
"""What TCP survives, and losses and other orders between the boxes."""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(HARMLESS, min_size=1, max_size=4).map(", ".join),
    st.sampled_from(["upload", "download"]),
    st.integers(1, 1000),
    st.booleans(),
)
def test_l2_plain_tcp_keeps_every_byte_through_any_row_of_boxes(
    text: str, direction: str, seed: int, is_lossy: bool
) -> None:
    impaired: dict[str, Any] = {"loss": RandomLoss(0.01), "jitter": Jitter(2 * MS, reorders=True)} if is_lossy else {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(
            Path(folder),
            text,
            stack="userspace-tcp",
            direction=direction,
            seed=seed,
            seconds=120,
            queue=ROOMY,
            **impaired,
        )
    assert trial.is_whole(), trial.flow
    assert trial.box()["seen"] > 20


# --- split and coalesce ---


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("text", ["split 500", "split 500 options first", "coalesce 3000 options first"])
def test_l2_mptcp_goes_on_where_every_first_byte_has_its_mapping(text: str, direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, text, direction=direction)
    way = "forward" if direction == "upload" else "backward"
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPJoinAckRx"] == 1
    for path in PATHS:
        assert trial.box(path, way)["matched"] > 20


@pytest.mark.parametrize("text", ["split 500 options last", "coalesce 3000 options last"])
def test_l2_the_first_bytes_without_their_option_are_a_fallback(text: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, text)
    assert trial.is_whole(), trial.flow
    assert trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPCapableFallbackACK"] == 1


@pytest.mark.parametrize("text", ["split 500 options last", "coalesce 9000 for 5ms"])
def test_l2_on_a_joined_path_bytes_without_their_mapping_end_the_subflow(text: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, text, ("path2",))
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPJoinAckRx"] == trial.counters["MPTcpExtMPRstTx"] == 1


# --- rewrite-payload ---


@pytest.mark.parametrize("stack", ["userspace", "userspace-tcp"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l3_other_bytes_of_the_same_length_pass_as_they_do_with_tcp(stack: str, direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, 'rewrite-payload "ab" "AB"', stack=stack, direction=direction)
    assert trial.flow["integrity"] == "mismatch"
    assert trial.flow[f"bytes_received_{direction}"] == SIZE
    assert trial.box("path1", "forward" if direction == "upload" else "backward")["matched"] >= 2


def test_l3_tcp_gets_a_longer_stream_whole(tmp_path: Path) -> None:
    trial = Trial(
        tmp_path,
        'rewrite-payload "ab" "ABCD"',
        stack="userspace-tcp",
        loss=RandomLoss(0.02),
        jitter=Jitter(2 * MS, reorders=True),
    )
    edits = (trial.flow["bytes_received_upload"] - SIZE) // 2
    assert edits >= trial.box()["matched"] >= 2
    assert trial.box()["changed"] > 50, "all that follows has other numbers"
    assert trial.flow["integrity"] == "mismatch"


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("new", ["AB", "ABCD", "A", ""])
def test_l3_with_checksums_changed_bytes_of_one_path_are_not_given_to_the_user(
    new: str, direction: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, f'rewrite-payload "ab" "{new}"', ("path2",), direction=direction, checksum=True)
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPJoinAckRx"] == trial.counters["MPTcpExtMPRstTx"] == 1
    if new == "AB":
        assert trial.counters["MPTcpExtDataCsumErr"] == trial.counters["MPTcpExtMPFailRx"] == 1, "K5"


@pytest.mark.parametrize("receiver", ["linux", "rfc8684"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l3_with_checksums_the_user_gets_no_changed_byte_when_both_paths_change_them(
    receiver: str, direction: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, 'rewrite-payload "ab" "AB"', direction=direction, checksum=True, receiver=receiver)
    assert trial.flow[f"first_wrong_{direction}"] is None, "what arrived is a prefix of what was sent"
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtDataCsumErr"] == trial.counters["MPTcpExtMPFailRx"] == 2, "K5, K8"


@pytest.mark.parametrize("receiver", ["linux", "rfc8684"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l3_with_checksums_a_single_path_goes_on_as_tcp(receiver: str, direction: str, tmp_path: Path) -> None:
    text = 'strip mptcp.mp_join, rewrite-payload "ab" "AB"'
    trial = Trial(tmp_path, text, direction=direction, checksum=True, receiver=receiver)
    assert trial.flow[f"bytes_received_{direction}"] == SIZE
    assert trial.flow["fallback"]
    assert trial.flow["integrity"] == "mismatch", "as with TCP"


# --- proactive-ack ---


def test_l2_tcp_is_acknowledged_by_the_proxy_and_losses_behind_it_are_its_own(tmp_path: Path) -> None:
    text = "proactive-ack buffer 20000, drop data nth 40+80+81"
    trial = Trial(tmp_path, text, stack="userspace-tcp")
    assert trial.is_whole(), trial.flow
    assert trial.box()["matched"] > 200
    assert trial.box()["made"] == trial.box(number=2)["dropped"] == 3
    assert trial.counters["TcpRetransSegs"] == 0


def test_l2_acknowledgements_without_data_ack_are_a_fallback_on_the_first_subflow(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "proactive-ack")
    assert trial.is_whole(), trial.flow
    assert trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPCapableDataFallback"] == 1, "K3"


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l2_acknowledgements_without_data_ack_end_a_joined_subflow(direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, "proactive-ack", ("path2",), direction=direction)
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPRstTx"] == 1, "K2"


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l2_they_are_so_while_a_join_is_under_way(direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, "proactive-ack", direction=direction, receiver="rfc8684")
    assert trial.is_whole(), trial.flow
    assert trial.flow["fallback"], "K3: the peer's infinite mapping is believed, and the join given up"
    assert trial.counters["MPTcpExtInfiniteMapRx"] == 1


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l2_a_proxy_that_repeats_data_acks_leaves_mptcp_alone(direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, "proactive-ack with data_ack", direction=direction, loss=RandomLoss(0.01))
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPRstTx"] == 0
    assert trial.box("path1", "forward" if direction == "upload" else "backward")["matched"] > 50


# --- normalise ---


@pytest.mark.parametrize("stack", ["userspace", "userspace-tcp"])
def test_l2_behind_a_normaliser_nothing_comes_out_of_order(stack: str, tmp_path: Path) -> None:
    text = "drop data every 60, hold data every 25 until data every 27 for 30ms"
    without = Trial(tmp_path / "without", text, stack=stack, queue=ROOMY)
    with_it = Trial(tmp_path / "with", f"{text}, normalise", stack=stack, queue=ROOMY)
    assert without.is_whole()
    assert with_it.is_whole()
    assert not with_it.flow["fallback"]
    assert without.counters["TcpExtTCPOFOQueue"] > 10
    assert with_it.counters["TcpExtTCPOFOQueue"] == 0
    assert with_it.box(number=3)["delayed"] > 5


# --- strip and drop by class, direction and chance ---


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize(
    "text",
    [
        "strip mptcp on syn",
        "strip mptcp on syn_ack close",
        "strip mptcp on third_ack",
        "strip mptcp on data",
        "strip mptcp on forward",
        "strip mptcp on backward",
        "strip mptcp.dss on data and chance 30%",
        "drop mptcp",
    ],
)
def test_l1_l3_options_lost_from_the_beginning_cost_mptcp_and_no_byte(
    text: str, direction: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, text, direction=direction, seconds=20)
    assert trial.is_whole(), trial.flow
    assert trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPJoinAckRx"] == 0


@pytest.mark.parametrize("receiver", ["linux", "rfc8684"])
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_l1_where_acks_lose_their_options_the_connection_falls_back_and_ends(
    receiver: str, direction: str, tmp_path: Path
) -> None:
    trial = Trial(tmp_path, "strip mptcp on ack", direction=direction, receiver=receiver)
    assert trial.is_whole(), trial.flow
    assert trial.counters["MPTcpExtMPCapableDataFallback"] == 1, "K3"


@pytest.mark.parametrize("receiver", ["linux", "rfc8684"])
@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("when", ["", " and after 100ms"])
def test_l1_where_data_of_the_first_path_lose_their_options_the_other_one_carries_all(
    when: str, direction: str, receiver: str, tmp_path: Path
) -> None:
    trial = Trial(
        tmp_path, f"strip mptcp on data{when}", ("path1",), direction=direction, receiver=receiver, size=600_000
    )
    assert trial.is_whole(), trial.flow
    assert trial.flow["completion_time_ns"] < 3000 * MS
    if when:
        assert not trial.flow["fallback"]
        assert trial.counters["MPTcpExtMPRstTx"] == (receiver == "linux"), "K4; the other receiver holds (D10)"


@pytest.mark.parametrize("direction", ["upload", "download"])
@pytest.mark.parametrize("kind", ["data", "ack", "forward and not tcp.syn", "backward and not tcp.syn"])
def test_l1_options_lost_on_a_joined_path_end_that_subflow_alone(kind: str, direction: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, f"strip mptcp on {kind}", ("path2",), direction=direction)
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.counters["MPTcpExtMPRstTx"] <= 1
    assert trial.box("path2", "forward").get("changed", 0) + trial.box("path2", "backward").get("changed", 0) >= 1
