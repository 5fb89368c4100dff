"""What becomes of a run there when this side interrupts, waits in vain, or loses the connection: with a far side, and a
clock, that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from testbed.orchestrator.errors import Interrupted, InvalidTrial, NotReady, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.remote import remote_run
from testbed.remote.detached import State
from testbed.remote.errors import ConnectionLost, HostKeyRefused, MachineGone, Unreachable
from testbed.remote.far import FarMachine
from testbed.remote.place import parse_backend
from testbed.remote.provider import Provider
from testbed.remote.remote_run import RemoteRuns, _Job
from testbed.remote.session import Session

Step = bytes | BaseException


class Clock:
    """time's place."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class MadeUp:
    """A session whose lines and failures are given, one list for each time somebody listens."""

    def __init__(self, *listenings: list[Step], code: int | None = 0) -> None:
        self.target = SimpleNamespace(name="lab")
        self.listenings = list(listenings)
        self.code = code
        self.signals: list[int] = []
        self.offsets: list[int] = []
        self.deadlines: list[float | None] = []
        self.removed: list[str] = []
        self.spoken = 0
        self.why_gone: str | None = None

    def said(self, job: str, *, as_root: bool) -> int:
        return self.spoken

    def reattach(self, job: str, offset: int, *, as_root: bool, deadline_s: float | None) -> Iterator[bytes]:
        self.offsets.append(offset)
        self.deadlines.append(deadline_s)
        for step in self.listenings.pop(0):
            if isinstance(step, BaseException):
                raise step
            yield step

    def signal(self, job: str, number: int, *, as_root: bool) -> None:
        self.signals.append(number)

    def state(self, job: str, *, as_root: bool) -> State:
        return State("lost") if self.code is None else State("ended", code=self.code)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remote_run, "time", clock)
    return clock


def _runs(session: MadeUp, stderr: str = "", *, ends_with_the_run: bool = False) -> RemoteRuns:
    provider = SimpleNamespace(
        ends_with_the_run=ends_with_the_run,
        why_gone=lambda: session.why_gone,
        down=lambda: session.removed.append("the machine"),
    )
    runs = RemoteRuns(parse_backend("ssh:lab/sim"), cast(Provider, provider))
    far = SimpleNamespace(
        name="lab",
        session=session,
        tail=lambda path, as_root: stderr,
        remove=lambda path, as_root: session.removed.append(path),
    )
    runs._far = cast(FarMachine, far)
    return runs


def _watch(session: MadeUp, job: _Job | None = None) -> tuple[int | None, list[Mapping[str, Any]]]:
    told: list[Mapping[str, Any]] = []
    runs = _runs(session)
    runs._say = lambda text: told.append({"kind": "note", "text": text})
    return runs._watched(job or _Job("/x/jobs/j", as_root=False), told.append), told


TICK = json.dumps({"kind": "tick"}).encode()
DONE = json.dumps({"kind": "done", "path": "/x/runs/r", "code": 0}).encode()


def test_the_first_interrupt_asks_once_and_goes_on_listening(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    session = MadeUp([TICK, KeyboardInterrupt()], [TICK, ConnectionLost("gone")], [TICK], code=130)
    monkeypatch.setattr(Session, "connect", lambda target, deadline_s: session)

    code, told = _watch(session)

    assert code == 130
    assert session.signals == [15]
    assert session.offsets == [0, len(TICK) + 1, 2 * (len(TICK) + 1)]
    assert session.deadlines == [None, remote_run.STOP_S, remote_run.STOP_S]
    assert sum(message["kind"] == "tick" for message in told) == 3


def test_what_was_said_while_nobody_listened_is_no_time_of_ours(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial 1 ended while the connection was gone, 2 began then: their ends and beginnings are not known."""
    lines = [
        json.dumps({"kind": kind, "number": number}).encode()
        for number in range(4)
        for kind in ("trial", "ended")
    ]  # fmt: skip
    session = MadeUp([*lines[:3], ConnectionLost("gone")], lines[3:])
    session.spoken = sum(len(line) + 1 for line in lines[:5])
    monkeypatch.setattr(Session, "connect", lambda target, **how: session)
    job = _Job("/x/jobs/j", as_root=False, is_new=True)

    _watch(session, job)

    heard = {
        number: (stamp.started_utc is None, stamp.duration_ns is None) for number, stamp in job.clock.stamps.items()
    }
    assert heard == {0: (False, False), 1: (False, True), 3: (False, False)}


def test_the_second_interrupt_leaves(clock: Clock) -> None:
    session = MadeUp([KeyboardInterrupt()], [TICK, KeyboardInterrupt()])

    with pytest.raises(Interrupted, match="left; lab was asked to stop and may still be at it"):
        _watch(session)

    assert session.signals == [15]


def test_a_run_that_does_not_stop_is_left_after_a_while(clock: Clock) -> None:
    with pytest.raises(Interrupted, match="asked to stop 60 s ago and still runs"):
        _watch(MadeUp([KeyboardInterrupt()], [NotReady("late")]))


def test_lines_that_are_no_messages_are_told_as_they_are_and_the_end_is_noted(clock: Clock) -> None:
    job = _Job("/x/jobs/j", as_root=False)

    _, told = _watch(MadeUp([b"warning: \xff", b"[1]", b"{}", DONE]), job)

    assert [message["text"] for message in told] == ["warning: \ufffd", "[1]", "{}"]
    assert (job.done, job.run_path) == (True, "/x/runs/r")


def test_a_lost_connection_is_tried_again_with_growing_pauses_until_patience_ends(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(target: object, deadline_s: float) -> Session:
        raise Unreachable("lab: no SSH connection")

    monkeypatch.setattr(Session, "connect", nobody)
    with pytest.raises(Interrupted, match=r"lab: no SSH connection\. The run goes on there"):
        _watch(MadeUp([ConnectionLost("gone")]))

    assert clock.slept[:6] == [1, 2, 4, 8, 16, 20]
    assert set(clock.slept[5:]) == {20}
    assert remote_run.PATIENCE_S - 20 < sum(clock.slept) <= remote_run.PATIENCE_S


def test_a_machine_that_has_ended_by_itself_is_not_waited_for(clock: Clock) -> None:
    session = MadeUp([TICK, ConnectionLost("gone")])
    session.why_gone = "the machine has ended by itself; its console (/x) ends with: panic"

    with pytest.raises(MachineGone, match=r"lab: the machine has ended by itself; .* panic"):
        _watch(session)

    assert clock.slept == []


def test_another_host_key_at_reconnecting_is_not_tried_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(target: object, deadline_s: float) -> Session:
        raise HostKeyRefused("lab shows another host key")

    monkeypatch.setattr(Session, "connect", other)
    with pytest.raises(HostKeyRefused):
        _watch(MadeUp([ConnectionLost("gone")]))

    assert clock.slept == []


@pytest.mark.parametrize("where", ["connecting", "pausing"])
def test_an_interrupt_without_a_connection_leaves_and_says_that_it_goes_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(target: object, deadline_s: float) -> Session:
        raise KeyboardInterrupt if where == "connecting" else Unreachable("lab: nobody")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "connect", fail)
    monkeypatch.setattr(clock, "sleep", interrupt)

    with pytest.raises(Interrupted, match="without a connection, lab goes on with the run"):
        _watch(MadeUp([ConnectionLost("gone")]))


@pytest.mark.parametrize(
    ("code", "stderr", "error", "said", "removed"),
    [
        (2, "noise\ntestbed: duration: too long\n", SpecificationError, "lab: duration: too long", True),
        (4, "testbed: UNSUPPORTED: no MPTCP\n", Unsupported, "lab: no MPTCP", True),
        (130, "testbed: stopped\n", Interrupted, "lab stopped the run", False),
        (3, "testbed: disk full\n", InvalidTrial, "lab: disk full; its work is kept there in /x/jobs/j", False),
        (1, "ValueError: defect\n", InvalidTrial, "lab: ValueError: defect; its work is kept", False),
        (137, "", InvalidTrial, "lab: exit code 137; its work is kept", False),
        (None, "", InvalidTrial, "lab lost the run: it was killed, or the machine was restarted; its work", False),
    ],
)  # fmt: skip
def test_a_failure_there_is_the_same_failure_here(
    code: int | None, stderr: str, error: type[Exception], said: str, removed: bool
) -> None:
    session = MadeUp(code=code)

    failure = _runs(session, stderr)._failure(_Job("/x/jobs/j", as_root=False), code)

    assert type(failure) is error
    assert str(failure).startswith(said)
    assert session.removed == (["/x/jobs/j", "/x/jobs/j.request.json"] if removed else [])


def test_of_a_machine_that_ends_nobody_says_that_it_keeps_something() -> None:
    failure = _runs(MadeUp(), "testbed: disk full\n", ends_with_the_run=True)._failure(_Job("/x/jobs/j", True), 3)
    assert str(failure) == "lab: disk full"


def test_a_guest_that_does_not_stop_is_left_after_the_time_that_is_told(clock: Clock) -> None:
    session = MadeUp([KeyboardInterrupt()], [NotReady("silent")])
    with pytest.raises(Interrupted, match=f"asked to stop {remote_run.GUEST_STOP_S:g} s ago"):
        _runs(session, ends_with_the_run=True)._watched(_Job("/x/jobs/j", True), lambda message: None)
    assert session.deadlines == [None, remote_run.GUEST_STOP_S]


def test_a_machine_ends_though_its_connection_does_not_close() -> None:
    session = MadeUp()
    session.close = lambda: (_ for _ in ()).throw(EOFError("gone"))  # type: ignore[method-assign]
    with pytest.raises(EOFError):
        _runs(session, ends_with_the_run=True).close()
    assert session.removed == ["the machine"]


def test_what_has_begun_is_never_removed_by_a_failure() -> None:
    session = MadeUp(code=4)
    job = _Job("/x/jobs/j", as_root=False, run_path="/x/jobs/j/runs/r")

    _runs(session, "testbed: UNSUPPORTED: half way\n")._failure(job, 4)

    assert session.removed == []


def test_only_directories_of_ours_are_removed_there() -> None:
    far = FarMachine.__new__(FarMachine)
    far.name, far.directory = "lab", "/srv/mptcp-testbed"
    run: Callable[..., str] = lambda *words, **options: pytest.fail("nothing is to be run")  # noqa: E731
    far.session = cast(Session, SimpleNamespace(run=run))

    for path in ("/", "/srv", "/srv/mptcp-testbed", "/srv/mptcp-testbed/jobs"):
        with pytest.raises(InvalidTrial, match="none of the testbed's"):
            far.remove(path, as_root=False)
