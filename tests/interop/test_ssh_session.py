"""A session with a real sshd on loopback: who is let in and who is not, commands, trees, and work that outlives it."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ssh_server

from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.remote import inventory
from testbed.remote.errors import ConnectionLost, HostKeyRefused, Unreachable, UnsafeTree
from testbed.remote.session import Session
from testbed.remote.target import Target

pytestmark = pytest.mark.needs_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.Server]:
    with ssh_server.running(tmp_path_factory.mktemp("sshd")) as running:
        running.work.mkdir()
        yield running


@pytest.fixture(scope="module")
def shared(server: ssh_server.Server) -> Iterator[Session]:
    with Session.connect(server.target()) as session:
        yield session


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user without keys, agent and known hosts."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


# --- who is let in ---


def test_a_host_that_known_hosts_has_is_taken(server: ssh_server.Server, home: Path) -> None:
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")

    with Session.connect(server.target(host_key=None)) as session:
        assert session.run(["echo", "there"]) == "there\n"


def test_an_unknown_host_is_refused_and_the_line_that_pins_it_is_told_and_works(
    server: ssh_server.Server, home: Path
) -> None:
    with pytest.raises(HostKeyRefused) as caught:
        Session.connect(server.target(host_key=None))

    text = str(caught.value)
    assert text.startswith("lab: its host key is not known; ")
    assert "SHA256:" in text
    assert "[hosts.lab]" in text
    pin = text[text.index('host_key = "') :].split('"')[1]
    Path("hosts.toml").write_text(server.inventory(host_key=pin))
    with Session.connect(inventory.resolve("lab")) as session:
        assert session.run(["true"]) == ""


def test_another_host_key_than_the_pinned_one_is_refused(server: ssh_server.Server, tmp_path: Path) -> None:
    with pytest.raises(HostKeyRefused, match="shows another host key than the known one"):
        Session.connect(server.target(host_key=ssh_server.new_key(tmp_path / "other")))


def test_a_key_that_is_refused_or_missing_says_what_to_do(
    server: ssh_server.Server, home: Path, tmp_path: Path
) -> None:
    ssh_server.new_key(tmp_path / "other")

    with pytest.raises(Unreachable, match=r"refuses the key .*other .*ssh-copy-id"):
        Session.connect(server.target(key=tmp_path / "other"))
    with pytest.raises(Unreachable, match=r"there is no key file .*none; correct 'key'"):
        Session.connect(server.target(key=tmp_path / "none"))
    with pytest.raises(Unreachable, match=r"neither an agent nor ~/.ssh has a key"):
        Session.connect(server.target(key=None))


def test_nobody_there_and_somebody_who_says_nothing_are_told_within_the_deadline(server: ssh_server.Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begun_s = time.monotonic()
        with pytest.raises(Unreachable, match="no SSH connection"):
            Session.connect(server.target(port=port), deadline_s=0.3)
        assert time.monotonic() - begun_s < 3
    with pytest.raises(Unreachable, match="no SSH connection"):
        Session.connect(server.target(port=port))


def test_a_machine_behind_another_is_reached_through_it(server: ssh_server.Server) -> None:
    through = dataclasses.replace(server.target(), name="gate")

    with Session.connect(server.target(jump=through)) as session:
        assert session.run(["echo", "behind"]) == "behind\n"
    wrong: Target = server.target(port=1, jump=through)
    with pytest.raises(Unreachable, match="lab: gate does not reach"):
        Session.connect(wrong)


# --- commands ---


def test_words_arrive_as_they_are_and_no_shell_reads_them(shared: Session, server: ssh_server.Server) -> None:
    odd = ["", "a b", "$(touch pwned)", "`id`", "'; touch pwned #", '"', "\\", "-n", "*", "~", "line\nfeed", "\udcff"]
    read = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"

    done = shared.execute(["python3", "-c", read, *odd])

    assert done.stdout.split(b"\0") == [os.fsencode(word) for word in odd]
    assert shared.execute(["test", "-e", "pwned"]).code == 1
    with pytest.raises(ValueError, match="NUL"):
        shared.run(["echo", "a\0b"])


def test_output_exit_code_and_a_large_input_come_back(shared: Session) -> None:
    done = shared.execute(["sh", "-c", "cat; echo oh >&2; exit 3"], stdin=b"x" * 3_000_000)

    assert (done.code, len(done.stdout), done.stderr) == (3, 3_000_000, b"oh\n")
    with pytest.raises(CommandFailed, match="in lab ended with exit code 3: oh"):
        shared.run(["sh", "-c", "echo oh >&2; exit 3"])
    with pytest.raises(CommandFailed, match="killed by a signal"):
        shared.run(["sh", "-c", "kill -9 $$"])


def test_a_deadline_is_kept_and_the_session_goes_on(shared: Session) -> None:
    begun_s = time.monotonic()
    with pytest.raises(NotReady, match=r"on lab says nothing after 0.2 s"):
        shared.run(["sleep", "2"], deadline_s=0.2)

    assert time.monotonic() - begun_s < 2
    assert shared.run(["echo", "on"]) == "on\n"


def test_lines_come_when_they_are_said(shared: Session) -> None:
    """Each is answered before the next one is said, which could not be if they came together at the end."""
    with_answers = "printf 'a\\nb'; read x <\"$0\"; printf 'c\\nend'"
    fifo = str(shared.target.directory) + "/fifo"
    shared.run(["mkfifo", fifo])
    lines = shared.stream(["sh", "-c", with_answers, fifo])

    first = next(lines)
    Path(fifo).write_text("go\n")

    assert [first, *lines] == [b"a", b"bc", b"end"]


def test_root_needs_no_sudo_and_others_are_told_when_it_asks_for_a_password(tmp_path: Path) -> None:
    scripts = {"id": "echo 1000", "sudo": "echo 'sudo: a password is required' >&2; exit 1"}
    path = ssh_server.programs(tmp_path / "bin", scripts)
    with (
        ssh_server.running(tmp_path / "sshd", {"PATH": f"{path}:/usr/bin:/bin"}) as other,
        Session.connect(other.target()) as session,
    ):
        with pytest.raises(Unsupported, match=r"is not root and 'sudo -n' is refused there \(sudo: a password"):
            session.run(["true"], as_root=True)
        (path / "id").write_text("#!/bin/sh\necho 0\n")
        assert session.run(["echo", "root"], as_root=True) == "root\n"


# --- trees ---


def test_a_tree_of_odd_names_links_and_a_large_file_goes_there_and_back(
    shared: Session, server: ssh_server.Server, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "d $(id)" / "e\n").mkdir(parents=True)
    (source / "-rf").write_bytes(b"dash")
    (source / "d $(id)" / "e\n" / "\udcff'\"").write_bytes(b"not UTF-8")
    (source / ("n" * 250)).write_bytes(os.urandom(3_000_000))
    (source / "program").write_text("#!/bin/sh\n")
    (source / "program").chmod(0o755)
    (source / "link").symlink_to("d $(id)/e\n")
    there = f"{server.work}/a tree; touch pwned"

    shared.push_tree(source, there)
    shared.pull_tree(there, tmp_path / "back")

    assert _content(tmp_path / "back") == _content(source) == _content(Path(there))
    assert shared.execute(["test", "-e", "pwned"]).code == 1


def _content(root: Path) -> dict[str, object]:
    return {
        os.fsencode(path.relative_to(root)).hex(): path.readlink()
        if path.is_symlink()
        else (path.read_bytes(), path.stat().st_mode & 0o100)
        if path.is_file()
        else None
        for path in root.rglob("*")
    }


def test_a_tree_that_cannot_be_written_or_read_says_why(
    shared: Session, server: ssh_server.Server, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(bytes(5_000_000))
    (server.work / "in the way").touch()

    with pytest.raises(CommandFailed, match="in lab ended with exit code"):
        shared.push_tree(tmp_path / "source", f"{server.work}/in the way")
    with pytest.raises((CommandFailed, UnsafeTree)):
        shared.pull_tree(f"{server.work}/nothing", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_another_machine_packs_maliciously_is_not_taken(
    shared: Session, server: ssh_server.Server, tmp_path: Path
) -> None:
    (server.work / "evil").mkdir()
    (server.work / "evil" / "file").touch()
    (server.work / "evil" / "out").symlink_to("../../../../etc/passwd")

    with pytest.raises(UnsafeTree, match="leads out"):
        shared.pull_tree(f"{server.work}/evil", tmp_path / "place" / "tree")
    assert list((tmp_path / "place").iterdir()) == []


# --- work that outlives the connection ---


def test_a_job_goes_on_when_the_connection_is_cut_and_is_heard_from_where_it_was(tmp_path: Path) -> None:
    job, gate = f"{tmp_path}/job 1", tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo one; echo two; read x <'{gate}'; echo three; echo oh >&2; exit 7"
    heard: list[bytes] = []
    with ssh_server.running(tmp_path / "sshd") as server:
        with Session.connect(server.target()) as session:
            session.start_detached(["sh", "-c", script], job=job, cwd="/")
            with pytest.raises(ConnectionLost, match="lab"):
                for line in session.reattach(job):
                    heard.append(line)
                    if len(heard) == 2:
                        assert server.cut_connections() == 1
        assert heard == [b"one", b"two"]

        with Session.connect(server.target()) as session:
            assert session.state(job).word == "running"
            gate.write_text("go\n")
            heard += session.reattach(job, sum(len(line) + 1 for line in heard))
            state = session.state(job)
            assert list(session.reattach(job, 4)) == [b"two", b"three"]
    assert heard == [b"one", b"two", b"three"]
    assert (state.word, state.code) == ("ended", 7)
    assert Path(job, "stderr").read_text() == "oh\n"


def test_a_signal_reaches_the_command_itself_which_does_not_ignore_interrupts(server: ssh_server.Server) -> None:
    job = f"{server.work}/job 2"
    code = "import signal as s; print(s.getsignal(s.SIGINT) is s.default_int_handler, flush=True); s.pause()"
    with Session.connect(server.target()) as session:
        session.start_detached(["python3", "-c", code], job=job, cwd=str(server.work))
        lines = session.reattach(job, deadline_s=20)
        assert next(lines) == b"True"

        session.signal(job, signal.SIGTERM)

        assert list(lines) == []
        assert session.state(job).code == 128 + signal.SIGTERM
        session.signal(job, signal.SIGTERM)  # it has ended: nothing happens


def test_a_job_that_vanished_is_lost_and_a_number_that_is_used_again_is_not_taken_for_it(
    server: ssh_server.Server, shared: Session
) -> None:
    job = server.work / "job 3"
    job.mkdir()
    (job / "stdout").write_bytes(b"a\nb\n")
    (job / "pid").write_text(f"{os.getpid()} 1 {os.getpid()} 1\n")  # alive, and began at another time

    assert shared.state(str(job)).word == "lost"
    assert list(shared.reattach(str(job))) == [b"a", b"b"]
    shared.signal(str(job), signal.SIGKILL)  # would end the tests
    assert shared.state(f"{server.work}/never").word == "absent"


def test_waiting_for_a_job_ends_with_its_deadline(server: ssh_server.Server, shared: Session) -> None:
    job = f"{server.work}/job 4"
    shared.start_detached(["sleep", "60"], job=job, cwd="/")

    with pytest.raises(NotReady):
        list(shared.reattach(job, deadline_s=0.3))

    shared.signal(job, signal.SIGKILL)
