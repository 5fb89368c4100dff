from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from testbed.orchestrator import process
from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.orchestrator.process import CommandLog
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import start_ticks


def test_output_is_kept_after_the_end() -> None:
    with process.start(["sh", "-c", "echo out; echo err >&2; exit 3"]) as started:
        assert started.wait(10) == 3
    assert (started.stdout, started.stderr, started.exit_code) == ("out\n", "err\n", 3)


def test_a_failure_names_the_command_its_code_and_its_last_words() -> None:
    with pytest.raises(CommandFailed, match=r"'sh -c .*' ended with exit code 2: no such thing"):
        process.run(["sh", "-c", "echo no such thing >&2; exit 2"])


def test_a_program_that_is_not_installed_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="no-such-program is not installed"):
        process.start(["no-such-program", "x"])


def test_a_program_that_takes_too_long_is_killed() -> None:
    with pytest.raises(NotReady, match=r"sleep 60.* still runs after 0.05 s"):
        process.run(["sleep", "60"], deadline_s=0.05)


def test_stop_asks_before_it_kills() -> None:
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, lambda *a: sys.exit(7))\n"
        "print('ready', flush=True); signal.pause()"
    )
    started = process.start([sys.executable, "-c", script])
    wait_until(lambda: started.stdout, 10, "the child to be ready")
    assert started.stop(grace_s=10) == 7


def test_stop_kills_what_does_not_listen() -> None:
    script = (
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('ready', flush=True)\n"
        "while True: signal.pause()"
    )
    started = process.start([sys.executable, "-c", script])
    wait_until(lambda: started.stdout, 10, "the child to be ready")
    assert started.stop(grace_s=0.05) == -signal.SIGKILL


def test_stop_takes_the_children_of_the_child_along() -> None:
    started = process.start(["sh", "-c", "sleep 1000 & echo $!; exit 0"])
    assert started.wait(10) == 0
    grandchild = int(started.stdout)
    assert start_ticks(grandchild) is not None
    started.stop()
    wait_until(lambda: start_ticks(grandchild) is None, 10, "the grandchild to end")


def test_output_can_go_to_files(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    with process.start(["echo", "hello"], stdout=out) as started:
        started.succeed(10)
    assert out.read_text() == started.stdout == "hello\n"


def test_a_child_can_be_talked_to() -> None:
    with process.start(["cat"], interactive=True) as started:
        started.stdin.write(b"hello\n")
        assert started.stdout_pipe.readline() == b"hello\n"
        started.stdin.close()
        assert started.wait(10) == 0


def test_every_command_is_logged() -> None:
    log = CommandLog()
    process.run(["true"], node="client", log=log)
    assert [str(entry) for entry in log] == ["client: true"]


def test_children_die_with_a_killed_orchestrator() -> None:
    script = (
        "from testbed.orchestrator import process; import signal\n"
        "print(process.start(['sleep', '1000']).pid, flush=True); signal.pause()"
    )
    parent = process.start([sys.executable, "-c", script], environment={"PYTHONPATH": str(Path.cwd())})
    child = int(wait_until(lambda: parent.stdout, 20, "the child's pid", seen=lambda: parent.stderr))
    parent.send_signal(signal.SIGKILL)
    wait_until(lambda: start_ticks(child) is None, 10, "the child to die")
    parent.stop()


def test_waiting_returns_what_the_condition_returned_and_names_what_never_came() -> None:
    assert wait_until(lambda: 42, 0, "a number") == 42
    with pytest.raises(NotReady, match=r"waited 0.02 s for a miracle; last seen: nothing"):
        wait_until(lambda: False, 0.02, "a miracle", seen=lambda: "nothing")
