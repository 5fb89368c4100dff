"""An isolated worker: what it may do, how it ends, and that nothing survives a SIGKILL at any moment."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.orchestrator import namespaces, process, rtnetlink
from testbed.orchestrator.backends.mininet import package_path
from testbed.orchestrator.errors import Interrupted, Unsupported
from testbed.orchestrator.isolation import Messages, WorkerFailed, run_isolated
from testbed.orchestrator.leftovers import find_leftovers, remove
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import environment, new_run_id, start_ticks

pytestmark = pytest.mark.needs_root

ORCHESTRATOR = Path(__file__).parents[1] / "support" / "isolated_orchestrator.py"
KILLS = 20


def test_the_worker_is_alone_and_its_result_comes_back() -> None:
    def look(messages: Messages) -> dict[str, object]:
        messages.send("progress", done=1)
        with Netlink() as connection:
            interfaces = [each.name for each in rtnetlink.interfaces(connection)]
        processes = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return {
            "interfaces": interfaces,
            "processes": processes,
            "scratch": [entry.name for entry in Path("/dev/shm").iterdir()],
            "host": os.uname().nodename,
        }

    run_id, messages = new_run_id(), list[object]()
    result = run_isolated(look, run_id=run_id, on_message=messages.append)
    assert result == {"interfaces": ["lo"], "processes": [1, 2], "scratch": [], "host": f"testbed-{run_id}"}
    assert messages == [{"kind": "progress", "done": 1}]


def test_the_machines_files_are_there_and_stay(tmp_path: Path) -> None:
    run_isolated(lambda messages: (tmp_path / "result").write_text("kept"), run_id=new_run_id())
    assert (tmp_path / "result").read_text() == "kept"


def test_an_exception_comes_back_with_its_traceback() -> None:
    def fail(messages: Messages) -> None:
        raise LookupError("no such thing")

    with pytest.raises(WorkerFailed, match="LookupError: no such thing") as caught:
        run_isolated(fail, run_id=new_run_id())
    assert "in fail" in caught.value.worker_traceback


def test_unsupported_stays_unsupported() -> None:
    def refuse(messages: Messages) -> None:
        raise Unsupported("not on this machine")

    with pytest.raises(Unsupported, match="not on this machine"):
        run_isolated(refuse, run_id=new_run_id())


def test_a_worker_that_dies_without_a_word_is_reported() -> None:
    with pytest.raises(WorkerFailed, match="without a word"):
        run_isolated(lambda messages: os.kill(os.getpid(), signal.SIGKILL), run_id=new_run_id())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_unwinds_the_worker(number: int) -> None:
    def wait(messages: Messages) -> None:
        try:
            messages.send("waiting")
            signal.pause()
        finally:
            messages.send("unwound")

    heard: list[str] = []

    def on_message(message: object) -> None:
        assert isinstance(message, dict)
        heard.append(message["kind"])
        if message["kind"] == "waiting":
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted):
        run_isolated(wait, run_id=new_run_id(), on_message=on_message)
    assert heard == ["waiting", "unwound"]
    assert signal.getsignal(number) == before


def test_a_second_request_kills_a_worker_that_does_not_unwind() -> None:
    def hang(messages: Messages) -> None:
        try:
            messages.send("waiting")
            signal.pause()
        finally:
            messages.send("hanging")
            time.sleep(1000)

    def on_message(message: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="second"):
        run_isolated(hang, run_id=new_run_id(), on_message=on_message)


# --- killed at any moment -------------------------------------------------------------------------------------------


def marked_processes(run_id: str) -> list[int]:
    """Processes with the run in their environment or their command line, and the isolated worker's own."""
    needle, found = run_id.encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if needle in (entry / "environ").read_bytes() or needle in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def cookie(fd: int) -> int:
    """A number that no other network namespace has had since boot; inode numbers are used again."""
    so_netns_cookie = 71
    with namespaces.inside(fd), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, so_netns_cookie, 8), sys.byteorder)


def net_namespaces(pids: list[int] | None = None) -> set[int]:
    """The cookies of the namespaces that these processes (None: all) are in."""
    if pids is None:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    cookies: dict[int, int] = {}
    for pid in pids:
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        inode = namespaces.identity(fd)
        if inode not in cookies:
            cookies[inode] = cookie(fd)
        os.close(fd)
    return set(cookies.values())


def root_interfaces() -> set[str]:
    with Netlink() as connection:
        return {each.name for each in rtnetlink.interfaces(connection)}


def scratch_files(run_id: str) -> list[Path]:
    places = [Path("/tmp"), Path("/dev/shm"), Path("/var/tmp"), Path("/run/netns")]
    return [entry for place in places if place.exists() for entry in place.iterdir() if run_id in entry.name]


def moments() -> Iterator[tuple[int, float]]:
    """Half of them while it starts and builds its first lab, the others while it goes round."""
    chance = random.Random(20)
    for number in range(KILLS):
        yield number, chance.uniform(0.0, 0.35) if number % 2 else chance.uniform(0.0, 0.3)


def test_nothing_survives_a_killed_orchestrator() -> None:
    interfaces_before = root_interfaces()
    states_seen = set()
    for number, delay_s in moments():
        run_id = new_run_id()
        argv = [sys.executable, str(ORCHESTRATOR), run_id]
        orchestrator = process.start(argv, environment=package_path())
        if number % 2 == 0:
            wait_until(lambda o=orchestrator: o.stdout or o.exit_code, 30, "the first lab")  # type: ignore[misc]
            assert orchestrator.exit_code is None, orchestrator.stderr
        time.sleep(delay_s)  # the moment is what is tested; nothing is awaited
        alive = marked_processes(run_id)
        held = net_namespaces(alive) - net_namespaces([os.getpid()])
        states_seen.add((len(alive), len(held)))
        os.kill(orchestrator.pid, signal.SIGKILL)
        orchestrator.kill()
        wait_until(
            lambda r=run_id: not marked_processes(r),
            20,
            "the processes to end",
            seen=lambda r=run_id: marked_processes(r),
        )  # type: ignore[misc]
        wait_until(lambda h=held: not h & net_namespaces(), 20, "its namespaces to go")  # type: ignore[misc]
        assert scratch_files(run_id) == []
    assert not {name for name in root_interfaces() - interfaces_before if name.startswith(("client", "server", "path"))}
    assert max(processes for processes, _ in states_seen) >= 6, "the kills hit only the beginning"
    assert len(states_seen) >= 4, "the kills hit always the same moment"


# --- what can be left without isolation -----------------------------------------------------------------------------


def test_a_daemon_that_lost_its_orchestrator_is_found_and_removed_and_nothing_else_is() -> None:
    daemon = "import os, signal\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\nsignal.pause()"
    script = (
        "import signal, sys; from testbed.orchestrator import process, run_identity\n"
        "marks = run_identity.environment(sys.argv[1])\n"
        f"print(process.start([sys.executable, '-c', {daemon!r}], environment=marks).wait(20), flush=True)\n"
        "signal.pause()"
    )
    ours, other = new_run_id(), new_run_id()
    with process.start(["sleep", "1000"], environment=environment(other)) as living:
        orchestrator = process.start([sys.executable, "-c", script, ours], environment=package_path())
        wait_until(lambda: orchestrator.stdout, 20, "the daemon", seen=lambda: orchestrator.stderr)
        assert [each for each in find_leftovers() if each.run_id == ours] == []  # its orchestrator lives
        os.kill(orchestrator.pid, signal.SIGKILL)
        orchestrator.wait(20)
        found = wait_until(lambda: [each for each in find_leftovers() if each.run_id == ours], 20, "the leftover")
        assert len(found) == 1
        assert "signal.pause()" in found[0].command
        assert other not in {each.run_id for each in find_leftovers()}
        for each in found:
            remove(each)
            remove(each)  # gone already is fine
        assert [each for each in find_leftovers() if each.run_id == ours] == []
        assert start_ticks(living.pid) is not None
        orchestrator.kill()
