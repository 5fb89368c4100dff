"""The agent on the machine of a node that is away: makes the node, starts its programs, reads its counters.

``python -m testbed.orchestrator.away`` listens on the private link. Each run has one control connection, served by an
isolated worker (``isolation.py``): when the connection ends, or anybody is killed, all that was made ends with it. A
program's standard input and output are a connection of its own, handed to it as it is, so nothing stands between the
two ends of a conversation.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import select
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import monotonic_ns
from typing import Any

from testbed.orchestrator import environment, spec
from testbed.orchestrator import plan as planning
from testbed.orchestrator.away import trunk
from testbed.orchestrator.away.exchange import VERSION, AwayLost, Connection, error_answer
from testbed.orchestrator.away.parts import LANDING, far_part
from testbed.orchestrator.backends.mininet import MininetLab, package_path
from testbed.orchestrator.collectors.trial_collectors import TrialCollectors
from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.ip_mptcp import PathManagerControl
from testbed.orchestrator.isolation import SCRATCH, Messages, run_isolated
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_plan import plan_network
from testbed.orchestrator.process import Process
from testbed.orchestrator.run_identity import new_run_id

GREETING_S = 10.0
"""A connection says at once what it is for."""
Handler = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What an agent needs of its machine."""

    listener: socket.socket
    secret: str
    trunk: str
    """``vlan:CARD`` or ``wires:CARD,CARD...``, in the namespace behind ``home_fd``."""
    home_fd: int


def serve(post: Post) -> None:
    """One control connection after the other, for ever. Call it from the main thread."""
    while True:
        channel, _ = post.listener.accept()
        connection = Connection(channel)
        try:
            greeting = _greeting(connection, post.secret)
            if greeting is not None and greeting.get("for") == "control":
                about = {"version": VERSION, **environment.describe()}
                connection.send({"value": about})
                _serve_one(connection, post)
        except AwayLost:
            continue
        finally:
            connection.close()


def _serve_one(connection: Connection, post: Post) -> None:
    def work(_messages: Messages) -> None:
        with ExitStack() as stack:
            _Serving(connection, post, stack).until_the_end()

    try:
        run_isolated(work, run_id=new_run_id())
    except InvalidTrial as error:  # the worker died; whoever asked sees the connection end
        print(f"agent: {error}", file=sys.stderr, flush=True)


def _greeting(connection: Connection, secret: str) -> Mapping[str, Any] | None:
    """None: a stranger."""
    connection.socket.settimeout(GREETING_S)
    greeting = connection.receive()
    connection.socket.settimeout(None)
    told = greeting.get("secret")
    return greeting if isinstance(told, str) and hmac.compare_digest(told.encode(), secret.encode()) else None


class _Serving:
    """The requests of one control connection."""

    def __init__(self, control: Connection, post: Post, stack: ExitStack) -> None:
        self._control = control
        self._post = post
        self._trial = ExitStack()
        """All that the present lab consists of."""
        stack.callback(lambda: self._trial.close())
        self._lab: MininetLab | None = None
        self._node = ""
        self._directory = Path()
        self._collectors: TrialCollectors | None = None
        self._programs: dict[int, Process] = {}
        self._dropped: Mapping[str, int] = {}
        self._expected: set[int] = set()
        """Programs that start when their line is there."""

    def until_the_end(self) -> None:
        """Of the control connection."""
        poller = select.poll()
        for descriptor in (self._control.fileno(), self._post.listener.fileno()):
            poller.register(descriptor, select.POLLIN)
        with suppress(AwayLost):
            while True:
                for descriptor, _ in poller.poll():
                    if descriptor == self._control.fileno():
                        self._answer(self._control.receive())
                    else:
                        self._take_line()

    def _answer(self, request: Mapping[str, Any]) -> None:
        handler: Handler | None = getattr(self, f"do_{request.get('do')}", None)
        data = b""
        try:
            if handler is None:
                raise InvalidTrial(f"this agent does not know {request.get('do')!r}")
            value = handler(request)
            if isinstance(value, bytes):
                data, value = value, None
            answer = {"value": value, "bytes": len(data)}
        except AwayLost:
            raise
        except Exception as error:  # told to whoever asked: the trial is theirs
            answer = {**error_answer(error)}
        self._control.send(answer, data)

    def _take_line(self) -> None:
        """A connection that becomes the standard input and output of a program."""
        channel, _ = self._post.listener.accept()
        line = Connection(channel)
        try:
            greeting = _greeting(line, self._post.secret)
        except AwayLost:
            greeting = None
        number = greeting.get("program") if greeting is not None and greeting.get("for") == "line" else None
        if number not in self._expected or self._lab is None:
            line.close()
            return
        self._expected.discard(number)
        line.send({"value": number})  # until then nobody says anything that could be read here
        argv = [sys.executable, "-m", "testbed.endpoint"]
        self._programs[number] = self._lab.start(self._node, argv, environment=package_path(), line=channel)
        line.close()  # the program has its own descriptors of it

    # --- requests ---

    def do_build(self, request: Mapping[str, Any]) -> list[list[str]]:
        """The node of this variant; the commands that would do the same."""
        self.do_drop(request)
        experiment = spec.from_json(request["experiment"])
        variant = experiment.variants[0]
        self._node = request["node"]
        settings = planning.network_settings(experiment, variant)
        plan = far_part(plan_network(variant.topology, settings, QdiscFeatures(**request["qdiscs"])), self._node)
        link = trunk.Trunk(self._post.trunk, self._post.home_fd, request["first_vlan"])
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(dir=SCRATCH)
            self._directory = Path(stack.enter_context(folder))
            (self._directory / "logs").mkdir()
            lab = MininetLab(plan, run_id=new_run_id(), seed=request["seed"], start_relay=False, trunk=link)
            self._lab = stack.enter_context(lab)
            self._collectors = stack.enter_context(
                TrialCollectors(experiment, variant, lab, self._directory, watch_stalls=request["watch_stalls"])
            )
            self._trial = stack.pop_all()
        self._dropped = trunk.dropped(plan.splices, self._wires())
        return [[command.node or "", *command.argv] for command in lab.commands]

    def do_check(self, _request: Mapping[str, Any]) -> list[dict[str, str]]:
        """What is wrong with the node as it is."""
        return [dataclasses.asdict(finding) for finding in self._there().check(probe_paths=False)]

    def do_wires(self, _request: Mapping[str, Any]) -> list[str]:
        """What is wrong with the private link's wires, or was since the lab stands."""
        return trunk.problems(self._there().plan.splices, self._wires(), self._dropped)

    def do_clock(self, _request: Mapping[str, Any]) -> int:
        """CLOCK_MONOTONIC."""
        return monotonic_ns()

    def do_endpoint(self, _request: Mapping[str, Any]) -> int:
        """An endpoint process, as soon as its line is there; its number."""
        self._there()
        number = len(self._programs) + len(self._expected) + 1
        self._expected.add(number)
        return number

    def do_exit_code(self, request: Mapping[str, Any]) -> int | None:
        """Of a program; None while it runs, or has not begun."""
        program = self._programs.get(request["program"])
        return program.exit_code if program is not None else None

    def do_stderr(self, request: Mapping[str, Any]) -> str:
        """What a program has said there."""
        program = self._programs.get(request["program"])
        return program.stderr if program is not None else ""

    def do_remove_endpoint(self, request: Mapping[str, Any]) -> int:
        """``ip mptcp endpoint delete``; when that was, CLOCK_MONOTONIC."""
        with self._there().inside(self._node), PathManagerControl() as control:
            control.remove(ip_address(request["address"]))
        return monotonic_ns()

    def do_collect(self, _request: Mapping[str, Any]) -> list[str]:
        """Counters before the traffic, captures; the hosts whose kernel's segments are recorded."""
        collectors = self._collecting()
        collectors.before()
        return list(collectors.kernel_hosts)

    def do_epoch(self, request: Mapping[str, Any]) -> None:
        """The traffic begins."""
        self._collecting().start(request["epoch_ns"])

    def do_finish(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """What was collected, and which files there are."""
        collected = self._collecting().finish()
        files = sorted(path for path in self._directory.rglob("*") if path.is_file())
        return {**dataclasses.asdict(collected), "files": [str(path.relative_to(self._directory)) for path in files]}

    def do_file(self, request: Mapping[str, Any]) -> bytes:
        """One of them."""
        path = (self._directory / request["name"]).resolve()
        if not path.is_relative_to(self._directory.resolve()):
            raise InvalidTrial(f"{request['name']} is no file of the trial")
        data: bytes = path.read_bytes()
        return data

    def do_segments(self, _request: Mapping[str, Any]) -> bytes:
        """What the kernel ledger has, a line of JSON each."""
        rows = (dataclasses.asdict(seen) for seen in self._collecting().kernel_segments())
        return b"".join(json.dumps(row, default=bytes.hex).encode() + b"\n" for row in rows)

    def do_drop(self, _request: Mapping[str, Any]) -> None:
        """The lab, with all that is in it."""
        self._lab = self._collectors = None
        self._programs.clear()
        self._expected.clear()
        self._trial.close()

    def _wires(self) -> Netlink:
        return self._there().netlink(LANDING)

    def _there(self) -> MininetLab:
        if self._lab is None:
            raise InvalidTrial("there is no lab")
        return self._lab

    def _collecting(self) -> TrialCollectors:
        if self._collectors is None:
            raise InvalidTrial("there is no lab")
        return self._collectors
