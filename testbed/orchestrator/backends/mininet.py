"""The Mininet backend: hosts, routers and the emulator node as namespaces, seen through genuine Mininet objects.

Entering the lab builds the network, starts the relay for the links that need it, and reads everything back; leaving
ends what was started and lets go of the namespaces. The kernel frees those a little later, in its own time: leaving
does not wait for that, since nothing of it can be seen from outside.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import testbed
from testbed.endpoint.parameters import Endpoint
from testbed.orchestrator import network_commands, process
from testbed.orchestrator.away.trunk import Trunk
from testbed.orchestrator.backends.namespace_network import NamespaceNetwork
from testbed.orchestrator.emulator import Relay, relay_configuration
from testbed.orchestrator.errors import TestbedError
from testbed.orchestrator.ip_mptcp import IpAddress, PathManagerControl
from testbed.orchestrator.lint import Finding, check
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_plan import EMULATOR, NetworkPlan
from testbed.orchestrator.process import CommandLog, LoggedCommand, Partner, Process
from testbed.orchestrator.run_identity import environment as run_environment
from topologies.model import Family

if TYPE_CHECKING:
    from testbed.orchestrator.away.collecting import AwayCollectors

__all__ = ["MininetLab"]


class MininetLab:
    """A plan made real. ``with MininetLab(plan, run_id="...") as lab: ...``"""

    def __init__(
        self,
        plan: NetworkPlan,
        *,
        run_id: str,
        seed: int = 1,
        start_relay: bool = True,
        realtime: bool = True,
        relay_cpu: int | None = None,
        trunk: Trunk | None = None,
    ) -> None:
        """``trunk``: on which wires of the plan go on to another machine."""
        self.plan = plan
        self.run_id = run_id
        self.seed = seed
        """Of the trial; each link derives its own from it."""
        self.relay: Relay | None = None
        """The process that realises links, when there are such."""
        self._start_relay = start_relay
        self._realtime = realtime
        self._relay_cpu = relay_cpu
        self._log = CommandLog()
        self._built_ns = 0
        self._network = NamespaceNetwork(plan, self._log, seed, trunk)
        self._net: Any = None
        self._processes: list[Process] = []
        self._stack = ExitStack()

    def __enter__(self) -> MininetLab:
        with ExitStack() as stack:
            self._stack = stack
            self._build()
            self._stack = stack.pop_all()
        return self

    def _build(self) -> None:
        self._built_ns = time.monotonic_ns()
        self._stack.enter_context(self._network)
        self._stack.push(self._take_down)
        if self._start_relay and any(shaped.realisation == "relay" for shaped in self.plan.shaped):
            self.relay = self._relay()

    def __exit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, reason, trace)

    @property
    def net(self) -> Any:
        """The ``mininet.net.Mininet``; made, and Mininet imported, when it is first asked for."""
        if self._net is None:
            from testbed.orchestrator.backends.mininet_objects import NetlinkMininet

            self._net = NetlinkMininet(self.plan, {node.name: self.namespace_fd(node.name) for node in self.plan.nodes})
        return self._net

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that live on this machine."""
        return tuple(node.name for node in self._network.plan.nodes if node.kind == "host")

    @property
    def commands(self) -> list[LoggedCommand]:
        """Every command so far, those done over netlink included, as they would be typed."""
        made = network_commands.build(self._network.plan)
        built = [LoggedCommand(self._built_ns, node, argv, "netlink") for node, argv in made]
        return [*built, *self._log]

    def namespace_fd(self, node: str) -> int:
        """The descriptor of a node's network namespace."""
        return self._network.fd(node)

    def netlink(self, node: str) -> Netlink:
        """A connection to the node's routing netlink."""
        return self._network.netlink(node)

    def inside(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is in the node's network namespace for the block."""
        return self._network.inside(node)

    def start(
        self,
        node: str,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
        interactive: bool = False,
        line: socket.socket | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a program in a node; it ends with the lab at the latest. See ``process.start``."""
        started = process.start(
            argv,
            node=node,
            namespace_fd=self.namespace_fd(node),
            environment={**run_environment(self.run_id), **(environment or {})},
            stdout=stdout,
            stderr=stderr,
            interactive=interactive,
            line=line,
            pass_fds=pass_fds,
            log=self._log,
        )
        self._processes.append(started)
        return started

    def note(self, node: str, argv: Sequence[str], by: str) -> None:
        """Keep among the commands what was carried out through another program."""
        self._log.add(argv, node, by)

    def run(self, node: str, argv: Sequence[str | Path], *, deadline_s: float = 10.0) -> str:
        """Run a program in a node to its end and return what it printed. Raises CommandFailed, NotReady."""
        with self.start(node, argv) as started:
            output = started.succeed(deadline_s)
        self._processes.remove(started)
        return output

    def converse(self, node: str, endpoint: Endpoint) -> Partner:
        """An endpoint process in a node, to be told what ``endpoint`` is; it may live on another machine."""
        return self.start(
            node, [sys.executable, "-m", "testbed.endpoint"], environment=package_path(), interactive=True
        )

    def clock_ns(self, node: str, monotonic_ns: int) -> int:
        """CLOCK_MONOTONIC of the node's machine at a moment of ours."""
        return monotonic_ns

    def is_away(self, node: str) -> bool:
        """Whether the node lives on another machine; its wires end at bridges here."""
        return False

    def at_end(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is where the node's wires end on this machine."""
        return self.inside(node)

    def remove_endpoint(self, node: str, address: IpAddress) -> None:
        """``ip mptcp endpoint delete`` in a node. Raises PathManagerError when there is none of that address."""
        with self.inside(node), PathManagerControl() as control:
            control.remove(address)

    def away_collectors(self) -> AwayCollectors | None:
        """Those of a machine on which a node lives that is not here."""
        return None

    def check_away(self) -> tuple[list[str], list[str]]:
        """After the traffic: notes and problems of the other machine."""
        return [], []

    def interface(self, node: str, link: str) -> str:
        """The name of the node's interface on that link. Raises KeyError."""
        return self.plan.interface(node, link).name

    def address(self, node: str, link: str, family: Family = 4) -> str:
        """The node's address on that link. Raises KeyError."""
        return str(self.plan.topology.addresses()[node, link, family].ip)

    def check(self, *, probe_paths: bool = True) -> tuple[Finding, ...]:
        """Look at the network as it really is, for everything that would leave a connection with fewer subflows."""
        findings = check(self._network.plan, self._network, probe_paths=probe_paths)
        if self.relay is None or self.relay.is_running():
            return findings
        code, said = self.relay.process.exit_code, self.relay.process.stderr.strip().splitlines()
        text = f"the relay ended with exit code {code}: {said[-1] if said else 'no message'}"
        dead = Finding(
            code="relay", node=EMULATOR, text=text, fix="build the lab anew; without it shaped links are dark"
        )
        return (dead, *findings)

    def _relay(self) -> Relay:
        argv = [sys.executable, "-m", "testbed.emulation"]
        started = self.start(EMULATOR, argv, environment=package_path(), interactive=True)
        return Relay(started, relay_configuration(self.plan, self.seed, realtime=self._realtime, cpu=self._relay_cpu))

    def _stop_mininet(self) -> None:
        if self._net is not None:
            self._net.stop()
            self._net = None

    def _take_down(self, kind: object, reason: BaseException | None, trace: object) -> None:
        """Also when Mininet does not stop. What goes wrong here never takes the place of ``reason``, for which the lab
        is left: a stop request that got lost would let the next trial begin. It is noted there instead."""
        try:
            try:
                self._stop_mininet()
            finally:
                self._end_processes()
        except Exception as error:
            if reason is None:
                raise
            reason.add_note(f"while the lab was taken down: {type(error).__name__}: {error}")

    def _end_processes(self) -> None:
        """The last started first, so the relay is there until all that speak through it are gone."""
        errors: list[TestbedError] = []
        for started in reversed(self._processes):
            started.send_signal(signal.SIGINT)  # all are asked before any is waited for
        while self._processes:
            started = self._processes.pop()
            try:
                if self.relay is not None and started is self.relay.process:
                    self.relay.end()
            except TestbedError as error:
                errors.append(error)
            started.stop()
        if errors:
            raise errors[0]


def package_path() -> Mapping[str, str]:
    """PYTHONPATH for a child that runs a module of ours: the checkout first, wherever the child's directory is."""
    root = str(Path(testbed.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
