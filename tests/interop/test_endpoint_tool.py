"""``testbed endpoint``: against itself and against the kernel, its exit codes, its words, its captures."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from emulation_lab import Lab

from testbed.cli.endpoint import _Control, _PathManager, _Scheduler
from testbed.endpoint.userspace.names import CONGESTION_CONTROLS, SCHEDULERS
from testbed.mptcp.path_manager.catalog import PATH_MANAGERS
from testbed.wire import pcap
from testbed.wire.codec import decode
from testbed.wire.segment import SYN

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

ROOT = Path(__file__).parents[2]
IPPROTO_MPTCP = 262
PORT = 7001
DATA = hashlib.shake_128(b"tool").digest(700_000)
A, B = "10.77.1.1", "10.77.1.2"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(2) as made:
        for number in (1, 2):
            made.run(made.m, "ip", "link", "add", "name", f"br{number}", "type", "bridge")
            made.run(made.m, "ip", "link", "set", "dev", f"br{number}", "up")
            for port in (f"a{number}", f"b{number}"):
                made.run(made.m, "ip", "link", "set", "dev", port, "master", f"br{number}")
        yield made


@contextmanager
def tool(
    lab: Lab, host: str, *arguments: str, prefix: tuple[str, ...] = (), stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """The tool in a host."""
    argv = [*prefix, sys.executable, "-m", "testbed", "endpoint", *arguments]
    process = lab.popen(host, *argv, cwd=ROOT, stdin=stdin, stdout=-1, stderr=-1)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error. One that does not end is stopped, and what it says then is shown."""
    try:
        _, stderr = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.terminate()
        _, stderr = process.communicate(timeout=10)
        pytest.fail(f"still at work after 30 s: {stderr}")
    return process.returncode, stderr


def summary(stderr: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stderr[stderr.index("{") :])
    return found


def wait_for_table(lab: Lab, host: str) -> None:
    """The tool listens when its nftables table is there, and a few instructions later its stack is."""
    deadline = time.monotonic() + 10
    while "testbed-endpoint" not in lab.run(host, "nft", "list", "tables"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)


def wait_for_traffic(lab: Lab, host: str) -> None:
    """The connection is up when more than a handshake has come."""
    deadline = time.monotonic() + 20
    while True:
        lines = [line.split() for line in lab.run(host, "cat", "/proc/net/dev").splitlines()]
        if next(int(line[1]) for line in lines if line[0] == "eth1:") > 1_000_000:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kernel_counter(lab: Lab, host: str, name: str) -> int:
    return int(lab.run(host, "nstat", "-azs", f"MPTcpExt{name}").splitlines()[1].split()[1])


@pytest.mark.parametrize("remote", [A, "fd77:1::1"])
def test_a_file_goes_from_one_tool_to_another(lab: Lab, remote: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    output = str(tmp_path / "out")
    with tool(lab, lab.a, "listen", str(PORT), "--output", output, "--path-manager", "signal", "--json") as listening:
        wait_for_table(lab, lab.a)
        options = ("--file", str(tmp_path / "in"), "--path-manager", "signal", "--json", "--timeout", "20")
        options += ("--pcap", str(tmp_path / "seen.pcap"))
        with tool(lab, lab.b, "connect", remote, str(PORT), *options) as connecting:
            code, stderr = said(connecting)
            assert code == 0, stderr
            sent = summary(stderr)
        code, stderr = said(listening)
        assert code == 0, stderr
        received = summary(stderr)
    assert (tmp_path / "out").read_bytes() == DATA
    assert sent["bytes_sent"] == received["bytes_received"] == len(DATA)
    assert sent["sha256_sent"] == received["sha256_received"] == hashlib.sha256(DATA).hexdigest()
    assert sent["bytes_unacknowledged"] == 0
    assert not sent["fallback"]
    assert sent["counters"]["MPTcpExtMPCapableSYNACKRX"] == received["counters"]["MPTcpExtMPCapableACKRX"] == 1
    assert received["counters"]["MPTcpExtAddAddrTx"] == 1
    for host in (lab.a, lab.b):
        assert lab.run(host, "nft", "list", "tables") == ""
    captured = [decode(record.data) for record in pcap.read((tmp_path / "seen-eth1.pcap").read_bytes())]
    assert sum(len(segment.payload) for segment in captured if segment.destination.port == PORT) >= len(DATA) // 2
    assert captured[0].flags == SYN


def test_pipes_like_netcat_and_a_sentence_at_the_end(lab: Lab) -> None:
    argv = [sys.executable, "-m", "testbed", "endpoint"]
    pipes: dict[str, Any] = {"cwd": ROOT, "stdin": -1, "stdout": -1, "stderr": -1}
    listening = lab.popen(lab.a, *argv, "listen", str(PORT), **pipes)
    wait_for_table(lab, lab.a)
    connecting = lab.popen(lab.b, *argv, "connect", A, str(PORT), **pipes)
    try:
        for process, words in ((connecting, "question\n"), (listening, "answer\n")):
            process.stdin.write(words)
            process.stdin.flush()
        assert listening.stdout.readline() == "question\n"
        assert connecting.stdout.readline() == "answer\n"
        connecting.stdin.close()
        listening.stdin.close()
        assert (connecting.wait(20), listening.wait(20)) == (0, 0)
        assert "MPTCP, 1 subflow: sent 9 bytes, received 7" in connecting.stderr.read()
    finally:
        for process in (listening, connecting):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()


def test_a_fast_close_of_the_kernel_is_a_reset_and_exit_code_1(lab: Lab) -> None:
    with tool(lab, lab.a, "listen", str(PORT), "--json", "--output", "/dev/null") as listening:
        wait_for_table(lab, lab.a)
        with lab.inside(lab.b):
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        with client:
            client.settimeout(10)
            client.connect((A, PORT))
            client.sendall(DATA)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        code, stderr = said(listening)
    assert code == 1
    assert "connection reset by peer" in stderr
    assert summary(stderr)["counters"]["MPTcpExtMPFastcloseRx"] == 1
    assert kernel_counter(lab, lab.b, "MPFastcloseTx") == 1


def test_giving_up_is_a_fast_close_that_the_kernel_understands(lab: Lab) -> None:
    with lab.inside(lab.b):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.bind((B, PORT))
    listener.listen()
    listener.settimeout(10)
    errors: list[OSError] = []

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(10)
        try:
            connection.send(b"hello")
            connection.recv(100)
        except OSError as error:
            errors.append(error)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with listener, tool(lab, lab.a, "connect", B, str(PORT), "--timeout", "1.5", stdin=-1) as connecting:
        connecting.wait(10)  # its input stays open, so it has nothing to end with
        code, stderr = said(connecting)
        thread.join(10)
    assert (code, "not done in time" in stderr) == (1, True)
    assert kernel_counter(lab, lab.b, "MPFastcloseRx") == 1


def test_its_last_words_are_repeated_until_the_peer_has_them(lab: Lab) -> None:
    """Nobody goes on for a process that has ended, as a kernel does for a socket that was closed."""
    with lab.inside(lab.b):
        listener = socket.create_server((B, PORT))
    listener.settimeout(10)
    for words in ("add table ip t", "add chain ip t c { type filter hook input priority 0; }"):
        lab.run(lab.b, "nft", words)
    lab.run(lab.b, "nft", "add rule ip t c tcp flags & fin == fin drop")
    with listener, tool(lab, lab.a, "connect", B, str(PORT), "--tcp", "--json") as connecting:
        connection, _ = listener.accept()
        with connection:
            connection.shutdown(socket.SHUT_WR)
            time.sleep(2.2)
            lab.run(lab.b, "nft", "delete table ip t")
            connection.settimeout(10)
            assert connection.recv(1) == b""
        code, _ = said(connecting)
    assert code == 0


def test_refused_is_one_line_and_exit_code_1(lab: Lab) -> None:
    with tool(lab, lab.a, "connect", B, str(PORT)) as connecting:
        assert said(connecting) == (1, "testbed: connection refused\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("connect", "192.0.2.1", "7"), 2, "no route to 192.0.2.1"),
        (("connect", B, "7", "--profile", "nonsense"), 2, "--profile is one of linux"),
        (("connect", B, "7", "--tcp", "--cc", "lia"), 2, "--cc is one of reno, cubic"),
        (("connect", B, "7", "--file", "/nowhere"), 2, "/nowhere"),
        (("connect", B, "7", "--local", "10.1.1.1"), 2, "10.1.1.1 is not an address of this host"),
        (("listen", "7", "--interface", "eth9"), 4, "there is no interface eth9"),
        (("connect", f"{'x' * 70}.com", "7"), 2, "not a host name"),
        (("connect", "127.0.0.1", "7"), 2, "127.0.0.1 is this host itself"),
        (("connect", A, "7"), 2, f"{A} is this host itself"),
        (("connect", B, "7", "--local", "fd77:1::1"), 2, f"fd77:1::1 is not of the address family of {B}"),
        (("connect", B, "7", "-6"), 2, B),
        (("connect", B, "7", "-4", "-6"), 2, "-4 and -6 exclude each other"),
        (("listen", "7", "--timeout", "inf"), 2, "--timeout is at most"),
        (("listen", "7", "--pcap", "/nope/x"), 2, "/nope is not a directory"),
    ],
)
def test_mistakes_are_one_line(lab: Lab, arguments: tuple[str, ...], code: int, words: str) -> None:
    with tool(lab, lab.a, *arguments) as process:
        got, stderr = said(process)
    assert got == code, stderr
    assert words in stderr
    assert len(stderr.splitlines()) <= 2 or "Usage" in stderr


def test_a_closed_standard_input_is_one_line(lab: Lab) -> None:
    closed = ("sh", "-c", 'exec "$@" <&-', "sh")
    with tool(lab, lab.a, "connect", B, "7", prefix=closed) as process:
        assert said(process) == (2, "testbed: standard input is closed\n")


def test_the_help_names_what_there_is() -> None:
    for metadata, names in ((_Scheduler, SCHEDULERS), (_Control, CONGESTION_CONTROLS), (_PathManager, PATH_MANAGERS)):
        (option,) = metadata.__metadata__
        assert sorted(option.help.rstrip(".").split(", ")) == sorted(names)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_tells_the_peer(lab: Lab, how: signal.Signals) -> None:
    with tool(lab, lab.a, "listen", str(PORT), "--output", "/dev/null") as listening:
        wait_for_table(lab, lab.a)
        with tool(lab, lab.b, "connect", A, str(PORT), "--file", "/dev/zero", "--json") as connecting:
            wait_for_traffic(lab, lab.a)
            listening.send_signal(how)
            assert said(listening) == (130, "testbed: interrupted\n")
            code, stderr = said(connecting)
    assert (code, "connection reset by peer" in stderr) == (1, True)
    assert summary(stderr)["counters"]["MPTcpExtMPFastcloseRx"] == 1


@pytest.mark.parametrize("shell", ['exec "$@" --output /dev/full', 'exec "$@" > >(head -c 10)'])
def test_an_output_that_takes_no_more_is_a_failure_and_a_fast_close(lab: Lab, shell: str) -> None:
    with tool(lab, lab.a, "listen", str(PORT), prefix=("bash", "-c", shell, "bash")) as listening:
        wait_for_table(lab, lab.a)
        with tool(lab, lab.b, "connect", A, str(PORT), "--file", "/dev/zero", "--json") as connecting:
            code, stderr = said(connecting)
        assert (code, "connection reset by peer" in stderr) == (1, True)
        words = "cannot write the output: No space left" if "full" in shell else "nobody reads the output any more"
        code, stderr = said(listening)
        assert (code, words in stderr, "Traceback" in stderr) == (1, True, False), stderr


def test_an_input_that_cannot_be_read_is_a_failure_in_one_line(lab: Lab) -> None:
    with tool(lab, lab.a, "listen", str(PORT), "--output", "/dev/null"):
        wait_for_table(lab, lab.a)
        with tool(lab, lab.b, "connect", A, str(PORT), "--file", "/proc/self/mem", "--json") as connecting:
            code, stderr = said(connecting)
    assert (code, "cannot read the input: Input/output error" in stderr) == (1, True), stderr
    assert summary(stderr)["bytes_sent"] == 0


def test_without_rights_it_says_which(lab: Lab) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv (util-linux)")
    without = ("setpriv", "--bounding-set=-net_raw,-net_admin")
    with tool(lab, lab.a, "listen", str(PORT), prefix=without) as process:
        code, stderr = said(process)
    assert code == 4
    assert stderr.count("\n") == 1
    assert "run as root" in stderr


def test_plain_tcp_when_asked_for(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(DATA)
    with lab.inside(lab.b):
        listener = socket.create_server((B, PORT))
    received = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                received.extend(data)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener, tool(lab, lab.a, "connect", B, str(PORT), "--tcp", "--file", str(tmp_path / "in")) as connecting:
        code, stderr = said(connecting)
        thread.join(10)
    assert code == 0, stderr
    assert stderr.startswith("TCP: sent 700000 bytes")
    assert bytes(received) == DATA
