"""Unmodified programs as an application: started here, watched from outside, their output kept.

With implementation ``linux`` they run under ``mptcpize run``, whose preloaded library makes MPTCP sockets of TCP ones.
Their connections are sampled like our own: pidfd_getfd(2) lends us a program's socket for the moment of a look. The
program dies with this process (PR_SET_PDEATHSIG), also when that is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.endpoint.applications.iperf3 import read_iperf3
from testbed.endpoint.borrowed_sockets import connections_of
from testbed.endpoint.child import die_with_parent, is_listening
from testbed.endpoint.kernel_state import read_connection
from testbed.endpoint.loop import Loop
from testbed.endpoint.observer import GONE
from testbed.endpoint.parameters import Program
from testbed.endpoint.protocol import Listening
from testbed.endpoint.session import FlowApplication, Session
from testbed.endpoint.sockets import Unsupported

KEPT_BYTES = 1 << 20
"""Of each of the program's outputs."""
POLL_NS = 5_000_000
"""Between two looks whether the server program listens."""
CONTROL_BYTES = 10_000
"""A connection that has moved less is taken for a control connection, as iperf3's, and not sampled."""
TERMINATION_NS = 2_000_000_000
"""From the request to end to SIGKILL."""


class UnmodifiedProgram(FlowApplication):
    """The program of one side."""

    counts_source = "kernel"

    def __init__(self, session: Session, parameters: Program) -> None:
        endpoint = session.configuration.endpoint
        if not isinstance(session.clock, Loop) or endpoint.is_userspace or endpoint.is_adapter:
            raise Unsupported("unmodified programs use the kernel's sockets: take implementation linux or linux-tcp")
        self.session = session
        self._loop = session.clock
        self.is_client = session.configuration.role == "client"
        self._parameters = parameters
        self._port = session.configuration.port or free_port(session.configuration.family)
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._argv: list[str] = []
        self._outputs = {"stdout": bytearray(), "stderr": bytearray()}
        self._open_outputs = 0
        self._listening = False
        self._told_to_end = False
        self._announced = False

    def prepare(self) -> int | None:
        """As FlowApplication; the port is announced when the program has opened it."""
        if self.is_client:
            self._argv = self._command(self._parameters.client)
            return None
        if not self._parameters.server:
            self._listening = True
            return self._port
        self._argv = self._command(self._parameters.server)
        self._launch()
        self._await_port()
        return None

    def start(self) -> None:
        """As FlowApplication."""
        if self.is_client:
            self._launch()
        elif not self._parameters.server:
            self.session.at(self.session.deadline_ns, self.stop)

    def stop(self) -> None:
        """As FlowApplication: an interrupt, as from the keyboard."""
        if self._child is None:
            self.session.done()
        else:
            self._end(signal.SIGINT if self.is_client else signal.SIGTERM)

    def expire(self) -> None:
        """As FlowApplication; a server that goes on serving is as it should be, a client that does is not."""
        if self.is_client:
            self.session.fail("deadline", f"{self._argv[0]} was still running at the end of the flow's time")
        else:
            self.stop()

    def close(self) -> None:
        """As FlowApplication."""
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdout, self._child.stderr):
                if pipe is not None and not pipe.closed:
                    self._loop.watch(pipe.fileno())
                    pipe.close()
            self._loop.watch(self._pidfd)
            os.close(self._pidfd)

    def handles(self) -> Iterable[tuple[object, socket.socket]]:
        """As FlowApplication."""
        if self._child is None or self._child.returncode is not None:
            return
        for inode, sock in connections_of(self._child.pid, self._pidfd):
            with sock:
                try:
                    if not self._carries_data(sock):
                        continue
                except OSError as error:  # the program may close a connection between any two of our calls
                    if error.errno not in GONE:
                        raise
                    continue
                yield inode, sock

    def _carries_data(self, sock: socket.socket) -> bool:
        """Whether it has moved enough to be worth sampling; the first that has is announced."""
        state = read_connection(sock)
        info = state.mptcp_info or (state.subflows[0].tcp_info if state.subflows else {})
        if sum(info.get(name) or 0 for name in ("bytes_acked", "bytes_received")) < CONTROL_BYTES:
            return False
        self._announce(sock)
        return True

    def byte_counts(self) -> tuple[int, int] | None:
        """As FlowApplication; from the kernel's counters of the program's connections."""
        return self.session.observer.payload()

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication; bytes and goodput of this side are from iperf3's report where the program is one."""
        child = self._child
        texts = {name: output.decode(errors="replace") for name, output in self._outputs.items()}
        program: dict[str, Any] = {"argv": self._argv, "exit_code": child.returncode if child else None, **texts}
        report = read_iperf3(texts["stdout"])
        if report is not None:
            program["iperf3"] = report
        if report is None or report["error"] or report["sent_bytes"] is None:
            sent, received = self.session.observer.payload() or (0, 0)
        else:
            sent, received = report["sent_bytes"], report["received_bytes"]
        return {
            "program": program,
            "bytes_sent": sent,
            "bytes_received": received,
            "goodput_bit_s": report["goodput_bit_s"] if report else None,
            "goodput_time_ns": report["receive_time_ns"] if report else None,
        }

    def _command(self, words: tuple[str, ...]) -> list[str]:
        configuration = self.session.configuration
        anywhere = "::" if configuration.family == 6 else "0.0.0.0"
        values = {
            "server": configuration.remote_address or anywhere,
            "client": configuration.local_address or anywhere,
            "port": str(self._port),
            "duration_s": str(-(-configuration.duration_ns // 10**9)),
        }
        argv = [replaced(word, values) for word in words]
        if configuration.endpoint.implementation == "linux":
            argv = ["mptcpize", "run", *argv]
        for name in {argv[0], argv[2] if argv[0] == "mptcpize" else argv[0]}:
            if shutil.which(name) is None:
                raise Unsupported(f"{name} is not installed here: install it, for example apt install {name}")
        return argv

    def _launch(self) -> None:
        try:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=die_with_parent(os.getpid()),
            )
        except OSError as error:
            raise Unsupported(f"cannot start {self._argv[0]}: {error}") from None
        self._pidfd = os.pidfd_open(self._child.pid)
        self._loop.watch(self._pidfd, self._exited)
        for name, pipe in (("stdout", self._child.stdout), ("stderr", self._child.stderr)):
            if pipe is not None:
                self._open_outputs += 1
                self._collect(name, pipe.fileno())

    def _collect(self, name: str, descriptor: int) -> None:
        os.set_blocking(descriptor, False)

        def readable() -> None:
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if not data:
                self._loop.watch(descriptor)
                self._open_outputs -= 1
                self._conclude()
            elif len(self._outputs[name]) < KEPT_BYTES:
                self._outputs[name] += data

        self._loop.watch(descriptor, readable)

    def _await_port(self) -> None:
        if self._listening or self.session.over:
            return
        if not self._parameters.listens or is_listening(self._port):
            self._listening = True
            self.session.emit(Listening(port=self._port))
        else:
            self._loop.at(self._loop.now_ns() + POLL_NS, self._await_port)

    def _announce(self, sock: socket.socket) -> None:
        if self._announced:
            return
        self._announced = True
        self.session.announce(sock, None)

    def _end(self, number: int) -> None:
        if self._child is None or self._told_to_end:
            return
        self._told_to_end = True
        signal.pidfd_send_signal(self._pidfd, number)
        self._loop.at(self._loop.now_ns() + TERMINATION_NS, self._kill)

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None and not self.session.over:
            self._child.kill()

    def _exited(self) -> None:
        assert self._child is not None
        self._child.wait()
        self._loop.watch(self._pidfd)
        self._conclude()

    def _conclude(self) -> None:
        """When it has exited and its output is complete."""
        child = self._child
        if child is None or child.returncode is None or self._open_outputs:
            return
        text = (self._outputs["stderr"] or self._outputs["stdout"]).decode(errors="replace").strip()
        report = read_iperf3(self._outputs["stdout"].decode(errors="replace")) or {}
        # iperf3 -J reports an error and exits with 0.
        if (child.returncode or report.get("error")) and not self._told_to_end and not self.session.stopped:
            said = report.get("error") or (text.splitlines() or ["no message"])[-1]
            self.session.fail("program", f"{' '.join(self._argv)} ended with exit code {child.returncode}: {said}")
        elif not self._listening and not self.is_client:
            self.session.fail("program", f"{' '.join(self._argv)} ended before it listened on port {self._port}")
        else:
            self.session.done()


def replaced(word: str, values: Mapping[str, str]) -> str:
    """``word`` with each ``{name}`` of ``values`` replaced; other braces stay, programs may mean them."""
    for name, value in values.items():
        word = word.replace("{" + name + "}", value)
    return word


def free_port(family: int) -> int:
    """A port that nobody in this namespace listens on right now."""
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port
