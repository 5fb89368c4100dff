"""Several machines side by side: who is told what and when, what a failure costs, how all is stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from compared_runs import experiment, make

from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.orchestrator.runner import OnMessage, RunRequest
from testbed.orchestrator.spec import SpecificationError
from testbed.record.run_directory import RunDirectory
from testbed.vm.machine import BootFailed
from testbed.vm.qemu import Hardware
from testbed.vm.several import Done, Part, carry_out, jobs_for, kernel_words

VIRTUAL = Hardware()
WAIT_S = 30.0
"""No test waits as long; one that fails ends."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = make(tmp_path_factory.mktemp("runs"), lambda *_: {"goodput_bit_s": 1e7}, experiment(repetitions=1))
    return RunDirectory.open(path)


class Machines:
    """Machines that do as a test says; they note which of them were up at the same time, and when they went."""

    def __init__(self, does: Callable[[str, RunRequest, OnMessage], RunDirectory]) -> None:
        self._does = does
        self._lock = threading.Lock()
        self.up: set[str] = set()
        self.most = 0
        self.hardware: list[Hardware] = []

    @contextmanager
    def opened(self, place: str, hardware: Hardware) -> Iterator[Callable[[RunRequest, OnMessage], RunDirectory]]:
        with self._lock:
            self.up.add(place)
            self.most = max(self.most, len(self.up))
            self.hardware.append(hardware)
        try:
            yield lambda request, on_message: self._does(place, request, on_message)
        finally:
            with self._lock:
                self.up.remove(place)


def parts(*names: str, requests: int = 1) -> list[Part]:
    return [
        Part(name, f"vm:{name}", [RunRequest(experiment=experiment(), parent=Path("runs")) for _ in range(requests)])
        for name in names
    ]


def nobody(_part: Part, _message: Mapping[str, Any]) -> None:
    """Listens to nothing."""


def words(done: Sequence[Done]) -> list[tuple[str, str]]:
    return [(each.part.name, str(each.error) if each.error else "ran") for each in done]


def test_as_many_machines_are_up_at_a_time_as_were_asked_for(directory: RunDirectory) -> None:
    both = threading.Barrier(2)

    def meet(_place: str, _request: RunRequest, _hear: OnMessage) -> RunDirectory:
        both.wait(WAIT_S)  # in pairs, or never
        return directory

    machines = Machines(meet)

    done = carry_out(parts("6.1", "6.12", "7.3", "bz"), VIRTUAL, jobs=2, told=nobody, opened=machines.opened)

    assert words(done) == [("6.1", "ran"), ("6.12", "ran"), ("7.3", "ran"), ("bz", "ran")]
    assert machines.most == 2
    assert machines.hardware == [VIRTUAL] * 4


def test_a_kernel_that_does_not_boot_costs_no_other_its_runs_and_is_not_booted_again(directory: RunDirectory) -> None:
    tried: list[str] = []

    def boot(place: str, _request: RunRequest, _hear: OnMessage) -> RunDirectory:
        tried.append(place)
        if place == "vm:6.1":
            raise BootFailed("its console ends with: panic")
        return directory

    done = carry_out(parts("6.1", "6.12", requests=2), VIRTUAL, jobs=1, told=nobody, opened=Machines(boot).opened)

    assert words(done) == [
        ("6.1", "its console ends with: panic"),
        ("6.1", "its console ends with: panic"),
        ("6.12", "ran"),
        ("6.12", "ran"),
    ]
    assert tried == ["vm:6.1", "vm:6.12", "vm:6.12"]


def test_an_experiment_that_a_machine_cannot_run_does_not_keep_it_from_the_next(directory: RunDirectory) -> None:
    answers: list[Exception | RunDirectory] = [Unsupported("no such scheduler"), directory]

    def run(_place: str, _request: RunRequest, _hear: OnMessage) -> RunDirectory:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    done = carry_out(parts("6.1", requests=2), VIRTUAL, jobs=1, told=nobody, opened=Machines(run).opened)

    assert words(done) == [("6.1", "no such scheduler"), ("6.1", "ran")]


def test_who_listens_hears_every_message_and_result_in_its_own_thread_in_order(directory: RunDirectory) -> None:
    heard: dict[str, list[object]] = {"6.1": [], "6.12": []}
    threads = set()

    def run(_place: str, _request: RunRequest, hear: OnMessage) -> RunDirectory:
        for number in range(3):
            hear({"kind": "note", "text": str(number)})
        return directory

    def told(part: Part, message: Mapping[str, Any]) -> None:
        threads.add(threading.current_thread())
        heard[part.name].append(message["text"])

    def ended(done: Done) -> None:
        threads.add(threading.current_thread())
        heard[done.part.name].append("ended")

    carry_out(parts("6.1", "6.12"), VIRTUAL, jobs=2, told=told, ended=ended, opened=Machines(run).opened)

    assert heard == {name: ["0", "1", "2", "ended"] for name in ("6.1", "6.12")}
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_reaches_every_run_once_and_no_further_machine_is_booted(number: int) -> None:
    interrupted: list[str] = []
    both = threading.Barrier(3)
    never = threading.Event()

    def run_for_ever(place: str, _request: RunRequest, hear: OnMessage) -> RunDirectory:
        both.wait(WAIT_S)
        try:
            while True:
                hear({"kind": "tick"})
                never.wait(0.01)
        except KeyboardInterrupt:
            hear({"kind": "note", "text": "stopping"})  # a run may go on talking while it takes things down
            interrupted.append(place)
            raise Interrupted("stopped") from None

    def press() -> None:
        both.wait(WAIT_S)
        os.kill(os.getpid(), number)

    machines = Machines(run_for_ever)
    threading.Thread(target=press, daemon=True).start()

    with pytest.raises(Interrupted, match="all machines have ended"):
        carry_out(parts("6.1", "6.12", "7.3"), VIRTUAL, jobs=2, told=nobody, opened=machines.opened)

    assert sorted(interrupted) == ["vm:6.1", "vm:6.12"]
    assert not machines.up


def test_a_second_ctrl_c_does_not_wait() -> None:
    may_end = threading.Event()

    def deaf(_place: str, _request: RunRequest, hear: OnMessage) -> RunDirectory:
        hear({"kind": "note", "text": "at work"})
        may_end.wait(WAIT_S)
        raise Interrupted("too late")

    def told(_part: Part, _message: Mapping[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGINT)  # at "at work", then at "stopping"

    try:
        with pytest.raises(Interrupted, match="left at once"):
            carry_out(parts("6.1"), VIRTUAL, jobs=1, told=told, opened=Machines(deaf).opened)
    finally:
        may_end.set()


def test_what_nobody_foresaw_in_a_machine_is_raised_where_it_is_seen(directory: RunDirectory) -> None:
    def defective(place: str, _request: RunRequest, _hear: OnMessage) -> RunDirectory:
        if place == "vm:6.1":
            raise ZeroDivisionError
        return directory

    with pytest.raises(ZeroDivisionError):
        carry_out(parts("6.1", "6.12"), VIRTUAL, jobs=2, told=nobody, opened=Machines(defective).opened)


def test_machines_on_real_time_run_one_by_one_unless_somebody_says_otherwise() -> None:
    assert jobs_for(5, Hardware(clock="real", cpus=2)) == 1
    assert jobs_for(1, VIRTUAL) == 1
    assert jobs_for(99, VIRTUAL) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["6.1,6.12"], ["6.1", "6.12"]),
        (["6.1", "newest, bz:/boot/bzImage"], ["6.1", "newest", "bzimage:/boot/bzImage"]),
        (["deb:a.deb,b.deb,6.12,deb:c.deb"], ["deb:a.deb,b.deb", "6.12", "deb:c.deb"]),
    ],
)
def test_kernels_are_told_apart_by_commas_and_packages_stay_together(texts: list[str], found: list[str]) -> None:
    assert kernel_words(texts) == found


@pytest.mark.parametrize("texts", [["6.1,"], ["6.1,6.1"], ["bz:k", "bzimage:k"], [""]])
def test_a_kernel_that_is_missing_or_there_twice_is_a_slip_of_the_pen(texts: list[str]) -> None:
    with pytest.raises(SpecificationError, match="--kernels"):
        kernel_words(texts)
