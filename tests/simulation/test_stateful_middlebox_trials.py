"""Trials through middleboxes that know flows, signals or headers: every byte arrives, and the box does its work."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from middlebox_trial import SIZE, Trial

from experiments.ingredients import MS
from topologies.link_profile import Jitter, RandomLoss

HARMLESS = (
    "rewrite-isn",
    "rewrite-isn backward",
    "rewrite-isn, rewrite-isn except sack, rewrite-isn forward",
    "nat",
    "rewrite-isn, nat, firewall",
    "firewall",
    "clamp-mss 500",
    "shrink-window 8kB",
    "shrink-window 1500B on after 150ms and before 400ms",
    "replay any after 70ms",
    "replay tcp.syn or third_ack after 150ms",
    "filter mp_prio+mp_fastclose+remove_addr",
)
"""What leaves both paths and every byte, also where packets are lost and overtake each other."""


@pytest.mark.parametrize("text", HARMLESS)
@pytest.mark.parametrize(("stack", "seed"), [("userspace", 1), ("userspace", 2), ("userspace-tcp", 3)])
def test_l2_every_byte_arrives_through_a_box_that_keeps_to_its_state(
    text: str, stack: str, seed: int, tmp_path: Path
) -> None:
    trial = Trial(
        tmp_path,
        text,
        stack=stack,
        seed=seed,
        direction="download" if seed == 2 else "upload",
        loss=RandomLoss(0.02),
        jitter=Jitter(2 * MS, reorders=True),
    )
    assert trial.is_whole(), trial.flow
    assert not trial.flow["fallback"]
    assert trial.box()["seen"] > 20


@pytest.mark.parametrize("text", HARMLESS)
def test_l2_both_paths_stay_through_a_box_that_keeps_to_its_state(text: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, text)
    assert trial.outcome.verdict == "VALID", trial.outcome.reason
    assert trial.is_whole(), trial.flow
    assert trial.flow["subflows"] == 2


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(
        st.sampled_from((*HARMLESS, "filter add_addr.echo", "rewrite-isn except sack")), min_size=2, max_size=5
    ),
    stack=st.sampled_from(("userspace", "userspace-tcp")),
    direction=st.sampled_from(("upload", "download")),
    loss=st.sampled_from((0.0, 0.01, 0.05)),
    seed=st.integers(1, 1 << 16),
)
def test_every_byte_arrives_through_any_of_them_in_any_order(
    texts: list[str], stack: str, direction: str, loss: float, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(
            Path(folder),
            ", ".join(texts),
            stack=stack,
            direction=direction,
            seed=seed,
            seconds=40,
            loss=RandomLoss(loss),
            jitter=Jitter(3 * MS, reorders=True),
        )
    assert trial.is_whole(), trial.flow


@pytest.mark.parametrize("stack", ["userspace", "userspace-tcp"])
def test_l2_sequence_numbers_of_every_packet_are_rewritten_and_losses_are_repaired_by_sack(
    stack: str, tmp_path: Path
) -> None:
    losses = "drop data and forward nth 20+22+24"
    trial = Trial(tmp_path / "whole", f"rewrite-isn, {losses}", stack=stack)
    assert trial.is_whole()
    for direction in ("forward", "backward"):
        counts = trial.box(direction=direction)
        assert counts["seen"] == counts["matched"] == counts["changed"]
    forgetful = Trial(
        tmp_path / "forgetful", "rewrite-isn except sack, drop data and forward nth 20+22+24", stack=stack
    )
    assert forgetful.is_whole()
    durations = [each.flow["completion_time_ns"] for each in (trial, forgetful)]
    if stack == "userspace-tcp":
        assert durations[0] < durations[1], "without SACK blocks that fit the repair takes longer"


@pytest.mark.parametrize("text", ["nat", "nat as 10.0.2.1"])
def test_l2_the_server_sees_another_end_and_the_client_its_own(text: str, tmp_path: Path) -> None:
    trial = Trial(tmp_path, text, ("path1",))
    assert trial.is_whole()
    ends = {(row["local_address"], row["remote_address"]) for row in trial.subflows}
    (inner,) = [local for local, remote in ends if remote == "10.0.2.2:5001"]
    (outer,) = [remote for local, remote in ends if local == "10.0.2.2:5001"]
    assert inner.startswith("10.0.1.1:")
    assert outer.startswith("10.0.2.1:" if "as" in text else "10.0.1.1:")
    assert inner.split(":")[1] != outer.split(":")[1]
    counts = trial.box()
    assert counts["seen"] == counts["matched"] == counts["changed"]


def test_l2_a_rebinding_ends_a_tcp_connection_and_mptcp_goes_on_over_the_other_path(tmp_path: Path) -> None:
    plain = Trial(tmp_path / "tcp", "nat rebind after 100ms", ("path1",), stack="userspace-tcp")
    assert "Connection reset by peer" in plain.flow["error"]
    assert 0 < plain.flow["bytes_received_upload"] < SIZE
    assert plain.box(direction="backward")["dropped"] > 0, "for the port of before"
    multipath = Trial(tmp_path / "mptcp", "nat rebind after 100ms", ("path1",))
    assert multipath.is_whole()
    assert multipath.box(direction="backward")["dropped"] > 0


def test_l1_a_firewall_without_joins_costs_the_second_path_and_no_byte(tmp_path: Path) -> None:
    silent = Trial(tmp_path / "silent", "firewall drop-join")
    rejecting = Trial(tmp_path / "rejecting", "firewall drop-join reject")
    for trial in (silent, rejecting):
        assert trial.is_whole()
        assert not trial.flow["fallback"]
        assert trial.outcome.reason == "main: 1 established subflows instead of 2"
        assert trial.box("path2")["dropped"] >= 1
        assert set(trial.box("path1")) == {"seen"}
    assert not silent.box("path2", "backward")
    assert rejecting.box("path2", "backward")["made"] == rejecting.box("path2")["dropped"]


def test_a_firewall_that_forgets_costs_tcp_the_connection_and_mptcp_the_path(tmp_path: Path) -> None:
    plain = Trial(tmp_path / "tcp", "firewall forget after 100ms reject", ("path1",), stack="userspace-tcp")
    assert not plain.is_whole()
    assert plain.flow["error"]
    multipath = Trial(tmp_path / "mptcp", "firewall forget after 100ms", ("path1",))
    assert multipath.is_whole()
    assert multipath.box()["dropped"] > 1, "the subflow tries again"


def test_l1_where_add_addr_is_filtered_there_is_no_second_subflow(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "filter add_addr")
    assert trial.is_whole()
    assert trial.outcome.reason == "main: 1 established subflows instead of 2"
    assert trial.box(direction="backward")["dropped"] >= 2, "it is announced again"
    elsewhere = Trial(tmp_path / "elsewhere", "filter add_addr of 192.168.0.0/16")
    assert elsewhere.outcome.verdict == "VALID"
    assert set(elsewhere.box(direction="backward")) == {"seen"}


def test_no_segment_is_larger_than_the_clamp(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "clamp-mss 500, drop payload > 500")
    assert trial.is_whole()
    assert trial.box() == {"seen": trial.box()["seen"], "matched": 1, "changed": 1}
    assert set(trial.box(number=2)) == {"seen"}
    unclamped = Trial(tmp_path / "unclamped", "drop payload > 500", seconds=1)
    assert unclamped.box()["dropped"] > 0


def test_l3_a_small_window_slows_a_flow_down_and_breaks_nothing(tmp_path: Path) -> None:
    open_window = Trial(tmp_path / "open", "shrink-window 8MB", stack="userspace-tcp")
    shrunk = Trial(tmp_path / "shrunk", "shrink-window 8kB", stack="userspace-tcp")
    assert open_window.is_whole()
    assert shrunk.is_whole()
    assert set(open_window.box(direction="backward")) == {"seen", "matched"}
    assert shrunk.box(direction="backward")["changed"] > 30
    elapsed = [trial.flow["completion_time_ns"] for trial in (open_window, shrunk)]
    assert elapsed[1] > SIZE / 8000 * 20 * MS * 0.9, "at most 8 kB in each round trip of 20 ms"
    assert elapsed[0] < elapsed[1] / 2


def test_l2_a_replayed_join_makes_no_subflow(tmp_path: Path) -> None:
    trial = Trial(tmp_path, "replay mptcp.mp_join after 150ms", ("path2",))
    assert trial.is_whole()
    assert trial.outcome.verdict == "VALID", trial.outcome.reason
    assert trial.box("path2")["made"] == trial.box("path2")["matched"] >= 2
    assert len(trial.subflows) == 4, "two at each end"
