"""Stalls of the machine: what is counted, what becomes of it in the record, and a program that really stood still."""

from __future__ import annotations

import re
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.orchestrator import process
from testbed.orchestrator.collectors import jitter
from testbed.orchestrator.collectors.jitter import MOST_EVENTS, Jitter, JitterCollector, is_wanted, worst
from testbed.orchestrator.collectors.jitter_probe import INTERVAL_NS, STALL_NS, summary
from testbed.orchestrator.process import Process

MS = 1_000_000


@given(st.lists(st.integers(0, 200 * MS), min_size=1))
def test_a_summary_is_of_the_sleeps_as_they_were(late_ns: list[int]) -> None:
    wakes = [7]
    for each in late_ns:
        wakes.append(wakes[-1] + INTERVAL_NS + each)

    found = summary(wakes)

    assert (found["sleeps"], found["max_ns"]) == (len(late_ns), max(late_ns))
    p99 = found["p99_ns"]
    assert isinstance(p99, int)
    assert p99 in late_ns
    assert sum(each <= p99 for each in late_ns) >= 0.99 * len(late_ns) > sum(each < p99 for each in late_ns)
    assert found["stalls"] == [(wakes[i + 1], each) for i, each in enumerate(late_ns) if each > STALL_NS]


def test_of_no_sleep_nothing_is_known() -> None:
    assert summary([7]) == {"sleeps": 0, "max_ns": None, "p99_ns": None, "stalls": []}
    assert Jitter(None, None, ()).columns() == {}


def test_a_trial_is_disturbed_by_a_stall_and_the_longest_are_told_in_order_of_time() -> None:
    stalls = tuple((number * MS, (30 + number % 7) * MS) for number in range(MOST_EVENTS + 20))
    jitter = Jitter(36 * MS, 30 * MS, stalls)

    events = jitter.events()

    assert jitter.columns() == {"stall_max_ns": 36 * MS, "stall_p99_ns": 30 * MS, "disturbed": True}
    assert Jitter(STALL_NS, MS, ()).columns()["disturbed"] is False
    assert len(events) == MOST_EVENTS + 1
    assert [row["time_ns"] for row in events] == sorted(row["time_ns"] for row in events)
    assert {row["kind"] for row in events} == {"stall"}
    assert events[-1]["detail"] == "20 more stalls, none longer than these"
    left_out = sorted(late_ns for _, late_ns in stalls)[:20]
    assert all(
        f"stood still for {late_ns // MS} ms" not in {row["detail"] for row in events} for late_ns in left_out[:10]
    )


def test_of_two_machines_the_worst_counts_and_who_says_nothing_vouches_for_nothing() -> None:
    calm, stood = Jitter(5 * MS, MS, ()).columns(), Jitter(30 * MS, 2 * MS, ((1, 30 * MS),)).columns()

    assert worst(calm, stood) == worst(stood, calm) == stood
    assert worst(calm, calm) == calm
    assert worst(calm, {}) == {**calm, "disturbed": None}
    assert worst({}, stood) == stood
    assert worst({}, {}) == {}


@pytest.mark.parametrize(
    ("ran_on", "virtualised", "wanted"),
    [
        ({"clock": "real"}, True, True),
        ({"clock": "real"}, False, False),
        ({"clock": "virtual"}, True, False),
        (None, True, False),
    ],
)
def test_only_a_virtual_machine_on_real_time_is_watched(
    ran_on: dict[str, str] | None, virtualised: bool, wanted: bool
) -> None:
    document = {"machine": {"virtualised": virtualised}, **({"ran_on": ran_on} if ran_on else {})}
    assert is_wanted(document) is wanted


def _waits_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


class Watched:
    """A collector whose program one can hold by the neck."""

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        self.processes: list[Process] = []
        self._argv = argv
        self.collector = JitterCollector(self._start)

    def _start(self, argv: Sequence[str]) -> Process:
        self.processes.append(process.start(self._argv or argv, interactive=True))
        return self.processes[-1]

    def stand_still(self, milliseconds: int) -> None:
        (program,) = self.processes
        begun, deadline_s = _waits_of(program.pid), time.monotonic() + 20
        while _waits_of(program.pid) < begun + 10:  # it sleeps again and again: it is at work
            assert time.monotonic() < deadline_s
            select.select([], [], [], 0.002)
        program.send_signal(signal.SIGSTOP)
        select.select([], [], [], milliseconds / 1000)
        program.send_signal(signal.SIGCONT)


def test_a_program_that_stood_still_is_found_and_none_is_left() -> None:
    watched = Watched()
    watched.collector.prepare()
    watched.collector.start(epoch_ns=0)
    watched.stand_still(60)

    jitter = watched.collector.stop()

    assert jitter is not None
    assert jitter.max_ns is not None
    assert jitter.max_ns > (60 - 2) * MS - INTERVAL_NS
    assert jitter.columns()["disturbed"] is True
    assert any(late_ns == jitter.max_ns for _, late_ns in jitter.stalls)
    (note,) = [row["detail"] for row in jitter.events() if row["kind"] == "note"]
    assert re.fullmatch(r"looking for stalls took \d+\.\d% of a processor", note)
    assert watched.processes[0].exit_code is not None
    assert watched.collector.stop() is None  # once


def test_beside_a_calibration_the_same_program_looks_and_says_what_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(jitter, "JitterCollector", lambda: watched.collector)
    with jitter.looking_for_stalls(True) as seen:
        watched.stand_still(60)
    with jitter.looking_for_stalls(False) as nothing:
        pass

    (found,) = seen
    assert found.columns()["disturbed"] is True
    assert found.in_words().startswith("meanwhile the machine stood still for up to ")
    assert Jitter(4 * MS, MS, ()).in_words() == "meanwhile the machine never stood still for more than 4 ms"
    assert nothing == []
    assert watched.processes[0].exit_code is not None


def test_nothing_is_left_of_a_calibration_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(jitter, "JitterCollector", lambda: watched.collector)
    with pytest.raises(ZeroDivisionError), jitter.looking_for_stalls(True):
        raise ZeroDivisionError
    assert watched.processes[0].exit_code is not None


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no clock here')", "no clock here"),
        ("print('ready', flush=True); input()", "ended|Expecting value"),
        ("print('ready', flush=True); input(); print('{}')", "max_ns|stalls"),
    ],
)
def test_a_program_that_fails_is_a_reason_and_no_error(program: str, said: str) -> None:
    watched = Watched([sys.executable, "-c", program])
    watched.collector.prepare()
    watched.collector.start(epoch_ns=0)

    assert watched.collector.stop() is None
    assert watched.collector.reason.startswith("stalls of the machine were not looked for: ")
    assert any(each in watched.collector.reason for each in said.split("|"))
    assert watched.processes[0].exit_code is not None
