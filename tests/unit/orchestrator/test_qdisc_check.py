"""Links that qdiscs realise: seeds, lateness of scheduled changes, what is read back after the traffic."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest

from testbed.orchestrator import network_commands, qdisc_check, qdisc_schedule
from testbed.orchestrator.errors import CommandFailed
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.network_plan import NetworkPlan, NetworkSettings, plan_network
from testbed.orchestrator.qdisc_schedule import AHEAD_NS, LATEST_NS, DueChange, QdiscSchedule, schedule_of
from topologies.link_profile import (
    Change,
    DropList,
    EveryNth,
    GilbertElliott,
    LinkProfile,
    NoLoss,
    QueueLimit,
    RandomLoss,
    outage,
)
from topologies.two_path import two_path

ALL = QdiscFeatures(tbf=True, netem=True, netem_seed=True)
RATE = LinkProfile(rate_bit_s=20_000_000, queue=QueueLimit(packets=34))
LOSSY = LinkProfile(rate_bit_s=20_000_000, queue=QueueLimit(packets=34), loss=RandomLoss(0.01))
S = 10**9


def plan(profile: LinkProfile, changes: tuple[Change, ...] = ()) -> NetworkPlan:
    topology = two_path(profile, profile)
    changed = dataclasses.replace(topology.link("path1"), changes=changes)
    return plan_network(topology.with_link(changed), qdiscs=ALL)


def show(profile: LinkProfile, loss: float) -> str:
    entries = [
        {"kind": "netem", "options": {"limit": 1_000_000, "loss-random": {"loss": loss}}},
        {"kind": "tbf", "options": {"rate": (profile.rate_bit_s or 0) / 8}},
        {"kind": "pfifo", "options": {"limit": 34}},
    ]
    return json.dumps(entries if loss else entries[1:])


def counters(interface: str, kind: str, **values: int) -> list[dict[str, object]]:
    return [
        {"counter": f"qdisc.{interface}.{kind}.1:.{name}", "before": 7, "after": 7 + value}
        for name, value in values.items()
    ]


def test_netem_begins_its_sequence_again_right_before_the_traffic() -> None:
    shaped = plan(LOSSY).shaped[0]
    seed = network_commands.qdisc_seed(shaped, 5, "forward")
    first = network_commands.reseed_commands(shaped, 5)[0]
    assert first[:8] == ("tc", "qdisc", "change", "dev", shaped.b_side.name, "root", "handle", "1:")
    assert first[-2:] == ("seed", str(seed))
    assert "1%" in first
    assert network_commands.reseed_commands(plan(RATE).shaped[0], 5) == ()
    assert network_commands.reseed_commands(shaped, None) == ()


def test_each_scheduled_change_has_a_seed_of_its_own() -> None:
    due = schedule_of(plan(LOSSY, outage(S, S)), 5)
    seeds = [command[command.index("seed") + 1] for change in due for command in change.commands]
    shaped = plan(LOSSY).shaped[0]
    assert len(seeds) == len(set(seeds)) == 4
    assert str(network_commands.qdisc_seed(shaped, 5, "forward")) not in seeds


class FakeTc:
    """A tc that waits for its commands."""

    stderr = "Error: no such qdisc"

    def __init__(self, code: int = 0) -> None:
        self.exit_code, self.told, self.closed = code, b"", False

    @property
    def stdin(self) -> FakeTc:
        return self

    stdout_pipe: Any = None

    def write(self, data: bytes, /) -> object:
        self.told += data
        return None

    def close(self) -> None:
        self.closed = True

    def wait(self, deadline_s: float) -> int:
        return self.exit_code


@pytest.mark.parametrize(("late_ns", "problems"), [(LATEST_NS - 1, 0), (LATEST_NS + 1, 1)])
def test_a_change_that_the_kernel_takes_too_late_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, late_ns: int, problems: int
) -> None:
    monkeypatch.setattr(qdisc_schedule.time, "monotonic_ns", lambda: 5 * S + late_ns)
    tc, noted = FakeTc(), list[Sequence[str]]()
    due = [DueChange(5 * S, "path1", way, "down", (("tc", "qdisc", way),)) for way in ("forward", "backward")]
    schedule = QdiscSchedule(lambda: tc, noted.append, due)
    schedule.carry_out(0)
    assert tc.told == b"qdisc forward\nqdisc backward\n"
    assert tc.closed, "it waits for the end of what it is told"
    assert noted == [("tc", "qdisc", "forward"), ("tc", "qdisc", "backward")]
    assert schedule.events[0]["detail"] == "forward: down"
    assert schedule.done["path1", "forward"] == 1
    assert len(schedule.problems) == 2 * problems
    assert all("ward: down of 5 s was in force 20.0 ms late" in text for text in schedule.problems)


def test_what_carries_out_a_change_is_started_before_it_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns, started = [0], list[FakeTc]()

    def start() -> FakeTc:
        started.append(FakeTc())
        return started[-1]

    monkeypatch.setattr(qdisc_schedule.time, "monotonic_ns", lambda: now_ns[0])
    due = [DueChange(at_ns, "path1", "forward", "down", (("tc", str(at_ns)),)) for at_ns in (S, 2 * S)]
    schedule = QdiscSchedule(start, lambda argv: None, due)
    assert schedule.carry_out(0) == 0.1 and not started
    now_ns[0] = S - AHEAD_NS
    assert schedule.carry_out(0) == 0.1
    now_ns[0] = S - S // 100
    assert schedule.carry_out(0) == pytest.approx(0.01)
    assert len(started) == 1 and not started[0].told
    now_ns[0] = S
    schedule.carry_out(0)
    assert started[0].told == f"{S}\n".encode() and len(started) == 1
    now_ns[0] = 3 * S  # late, and nothing was started for it
    schedule.carry_out(0)
    assert started[1].told == f"{2 * S}\n".encode()


def test_a_change_at_the_very_beginning_finds_its_tc_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdisc_schedule.time, "monotonic_ns", lambda: 0)
    started: list[FakeTc] = []

    def start() -> FakeTc:
        started.append(FakeTc())
        return started[-1]

    schedule = QdiscSchedule(start, lambda argv: None, [DueChange(0, "path1", "forward", "down", (("tc", "x"),))])
    schedule.prepare()
    assert len(started) == 1 and not started[0].told
    schedule.carry_out(0)
    assert len(started) == 1 and started[0].told == b"x\n"


def test_a_change_that_the_kernel_refuses_ends_the_trial_with_the_words_of_tc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdisc_schedule.time, "monotonic_ns", lambda: S)
    schedule = QdiscSchedule(lambda: FakeTc(1), lambda argv: None, [DueChange(S, "path1", "forward", "down", ())])
    with pytest.raises(CommandFailed, match="no such qdisc"):
        schedule.carry_out(0)
    assert not schedule.events


def test_counts_come_from_the_root_and_overflow_from_the_bucket() -> None:
    moved = {"netem.packets": 90, "netem.bytes": 9000, "netem.drops": 10, "tbf.drops": 4, "pfifo.drops": 4}
    assert qdisc_check.counted(LOSSY, (), moved) == {
        "packets_arrived": 100,
        "packets_delivered": 90,
        "bytes_delivered": 9000,
        "dropped_queue": 4,
        "dropped_loss": 6,
        "dropped_outage": 0,
    }
    assert "dropped_loss" not in qdisc_check.counted(LOSSY, outage(S, S), moved)
    assert qdisc_check.counted(LinkProfile(), (), {}) == {}


def check(sent: int, *, held: float = 0.0, done: int = 0, changes: tuple[Change, ...] = ()) -> list[str]:
    planned = plan(LOSSY if held else RATE, changes)
    rows = counters(planned.shaped[0].b_side.name, "tbf", packets=sent // 1000, bytes=sent, drops=0, qlen=0)
    _, problems = qdisc_check.check(
        planned,
        rows,
        done={("path1", "forward"): done},
        lead_ns=S // 10,
        elapsed_ns=S,
        show=lambda interface: show(RATE, held),
        seed=5,
    )
    return [text for text in problems if text.startswith("path1 forward")]


def test_more_bytes_than_the_rate_allows_are_found() -> None:
    assert check(2_500_000) == []
    assert "2550000 bytes passed in 1.000 s where the rate allows" in check(2_550_000)[0]


def test_a_rate_that_changes_allows_what_both_rates_allow() -> None:
    slower = (Change(at_ns=4 * S // 10, rate_bit_s=10_000_000),)  # 0.5 s at 20 Mbit/s, 0.5 s at 10 Mbit/s
    allowed = qdisc_check.most_bytes(RATE, slower, S // 10, S)
    assert allowed is not None
    assert 1_875_000 <= allowed <= 1_950_000
    assert qdisc_check.most_bytes(LinkProfile(), (), 0, S) is None


Seeds = tuple[int | None, int | None]


def seeds(profile: LinkProfile, held: int | None, changes: tuple[Change, ...] = (), done: int = 0) -> Seeds:
    """(asked for, held) of path1 forward."""
    options = {} if held is None else {"seed": held}
    rows, _ = qdisc_check.check(
        plan(profile, changes),
        [],
        done={("path1", "forward"): done},
        lead_ns=0,
        elapsed_ns=S,
        show=lambda interface: json.dumps([{"kind": "netem", "options": options}]),
        seed=5,
    )
    return rows["path1", "forward"]["seed_asked"], rows["path1", "forward"]["seed_effective"]


def test_the_seed_that_was_asked_for_stands_beside_the_one_that_the_kernel_holds() -> None:
    asked, held = seeds(LOSSY, 2**63 - 1)
    given = network_commands.reseed_commands(plan(LOSSY).shaped[0], 5)[0]
    assert (str(asked), held) == (given[-1], 2**63 - 1)
    assert seeds(LOSSY, None) == (asked, None)  # Linux 6.1 takes a seed and holds none
    assert seeds(RATE, 3) == (None, 3)  # nothing is left to chance


@pytest.mark.parametrize("done", [0, 1, 2])
def test_each_change_that_was_carried_out_asks_for_its_own_seed(done: int) -> None:
    changes = outage(S, S)
    due = [change for change in schedule_of(plan(LOSSY, changes), 5) if change.direction == "forward"]
    started = str(network_commands.qdisc_seed(plan(LOSSY).shaped[0], 5, "forward"))
    given = [started, *(change.commands[0][-1] for change in due)]
    assert str(seeds(LOSSY, None, changes, done)[0]) == given[done]


def test_a_kernel_without_seeds_is_asked_for_the_same_as_one_with() -> None:
    settings = NetworkSettings(realisation="netem")
    topology = two_path(LOSSY, LOSSY)
    without, with_seed = (
        plan_network(topology, settings, dataclasses.replace(ALL, netem_seed=knows)).shaped[0]
        for knows in (False, True)
    )
    assert network_commands.qdisc_seed(without, 5, "forward") is None
    assert qdisc_check.wanted_seed(without, "forward", 5, 0) == network_commands.qdisc_seed(with_seed, 5, "forward")


def test_values_that_the_kernel_does_not_hold_after_the_traffic_are_found() -> None:
    assert check(0, held=0.01) == []
    assert "loss was set to 0.01 and the kernel holds 0.5" in check(0, held=0.5)[0]


def test_what_is_read_back_is_the_profile_as_the_schedule_left_it() -> None:
    changes = (Change(at_ns=S, loss=RandomLoss(0.5)), *outage(2 * S, S))
    assert check(0, held=0.01, done=0, changes=changes) == []
    assert check(0, held=0.5, done=1, changes=changes) == []
    assert check(0, held=1.0, done=2, changes=changes) == []
    assert check(0, held=0.5, done=3, changes=changes) == []
    assert check(0, held=1.0, done=3, changes=changes) != []


@pytest.mark.parametrize(
    ("loss", "mean"),
    [
        (NoLoss(), 0.0),
        (RandomLoss(0.02), 0.02),
        (RandomLoss(0.02, 0.5), None),
        (GilbertElliott(0.05, 0.2), 0.2),
        (EveryNth(4), 0.25),
        (DropList((3,)), None),
    ],
)
def test_the_mean_loss_is_known_where_the_model_has_one(loss: object, mean: float | None) -> None:
    assert qdisc_check.mean_loss(loss) == pytest.approx(mean) if mean else qdisc_check.mean_loss(loss) == mean  # type: ignore[arg-type]
