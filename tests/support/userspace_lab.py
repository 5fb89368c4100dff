"""The userspace stack against the kernel's MPTCP (or itself) over emulated paths: one scenario, one outcome.

A scenario is a value that the tests write down and the soak draws from a seed. Both ends are ordinary endpoint
processes; every transfer is verified by length and SHA-256 at both ends, and the kernel's counters are read where a
kernel is an end.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from endpoint_pair import RunningEndpoint, StartIn, flow, start

from testbed.endpoint.parameters import Application, Bulk, Endpoint, PathManagerSettings
from testbed.endpoint.protocol import Configuration, FlowResult, LedgerRow
from testbed.orchestrator.backends.base import NetworkSettings, plan_network
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.collectors.capture import CaptureCollector
from testbed.orchestrator.process import Process
from testbed.orchestrator.spec import PathManager
from testbed.orchestrator.trial_rows import integrity
from topologies.link_profile import Change, LinkProfile, QueueLimit
from topologies.two_path import disjoint_paths

MS = 1_000_000
SECOND = 1_000_000_000

PATH = LinkProfile(rate_bit_s=50_000_000, queue=QueueLimit(packets=200), delay_ns=5 * MS)
USERSPACE, LINUX = Endpoint(implementation="userspace"), Endpoint(implementation="linux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens between a client and a server."""

    client: Endpoint = USERSPACE
    server: Endpoint = LINUX
    paths: tuple[LinkProfile, ...] = (PATH, PATH)
    backward: tuple[LinkProfile, ...] | None = None
    """From the server to the client; None: as ``paths``."""
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    """Link name (``path1`` ...) -> its schedule."""
    path_manager: PathManager = field(default_factory=lambda: PathManager(mode="none"))
    application: Application = field(default_factory=lambda: Bulk(direction="both", size_bytes=1_000_000))
    family: Literal[4, 6] = 4
    offloads: Literal["on", "off"] = "off"
    super_segments: bool = False
    ledger: bool = False
    """Userspace ends keep theirs."""
    seed: int = 1
    duration_ns: int = 20 * SECOND


@dataclass(slots=True)
class Report:
    """What came of it."""

    client: FlowResult
    server: FlowResult
    kernel: dict[str, dict[str, int]]
    """Host -> MPTcpExt* and some Tcp* counters of its kernel."""
    captures: list[Path]
    ledgers: dict[str, list[LedgerRow]] = field(default_factory=dict)
    """End -> rows of its ledger."""

    def count(self, end: str, name: str) -> int:
        """A counter ``MPTcpExt<name>`` of the stack that is in force at that end (client or server)."""
        result = self.client if end == "client" else self.server
        counters = result.counters if result.counters is not None else self.kernel[end]
        return counters.get(f"MPTcpExt{name}", 0)

    def problems(self) -> list[str]:
        """Everything that is wrong with the bytes: empty when both ends have all, intact, and ended in order."""
        found = []
        for result in (self.client, self.server):
            if result.error is not None:
                found.append(f"{result.role}: {result.error}")
            if not result.complete:
                found.append(f"{result.role}: not complete")
            if result.first_mismatch is not None:
                found.append(f"{result.role}: wrong byte at {result.first_mismatch}")
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            if sender.bytes_sent != receiver.bytes_received:
                what = f"{receiver.bytes_received} of {sender.bytes_sent} bytes"
                found.append(f"{sender.role} -> {receiver.role}: {what}")
        if integrity(self.client, self.server) == "mismatch":
            found.append("other bytes than were sent")
        return found


def carry_out(
    scenario: Scenario,
    captures: Path | None = None,
    during: Sequence[tuple[float, str, Sequence[str]]] = (),
    capture_at: Sequence[str] = ("client",),
) -> Report:
    """Build the network, run the flow, read everything back. ``during``: commands (seconds after the start, host, argv)
    that are run in the hosts, in this order."""
    with ExitStack() as stack:
        lab = stack.enter_context(build(scenario))
        capture = None
        if captures is not None:
            numbers = range(1, len(scenario.paths) + 1)
            hosts = {"client": "access", "server": "path"}
            interfaces = [
                (host, lab.interface(host, f"{link}{number}"))
                for host, link in hosts.items()
                if host in capture_at
                for number in numbers
            ]
            capture = CaptureCollector(interfaces, captures, lab.start)
            capture.start(0)
        with endpoints(lab, scenario) as (client, server):
            if lab.relay is not None:  # paths that nothing shapes have none
                lab.relay.begin()  # changes count from here
            start(client, server)
            begun_s = time.monotonic()
            for at_s, host, argv in during:
                time.sleep(max(0.0, begun_s + at_s - time.monotonic()))
                lab.run(host, argv)
            results = client.result(), server.result()
            ledgers = {"client": client.ledger_rows(), "server": server.ledger_rows()}
            kernel = {host: kernel_counters(lab, host) for host in ("client", "server")}
        files = [each.path for each in capture.stop()] if capture is not None else []
    return Report(*results, kernel, files, ledgers)


def build(scenario: Scenario) -> MininetLab:
    """The network of a scenario."""
    topology = disjoint_paths("interop", "Paths for interop tests.", scenario.paths, (scenario.family,))
    links = []
    for link in topology.links:
        if link.name.startswith("path"):
            back = scenario.backward[int(link.name[4:]) - 1] if scenario.backward is not None else link.backward
            # of a shaped link the client's side is a (the router), so forward is towards the server
            link = dataclasses.replace(link, backward=back, changes=scenario.changes.get(link.name, ()))
        links.append(link)
    topology = dataclasses.replace(topology, links=tuple(links))
    sysctls: dict[str, dict[str, str]] = {}
    for host, endpoint in (("client", scenario.client), ("server", scenario.server)):
        if not endpoint.is_userspace:
            wanted = {"net.mptcp.checksum_enabled": endpoint.checksum, "net.ipv4.tcp_timestamps": endpoint.timestamps}
            sysctls[host] = {name: str(int(value)) for name, value in wanted.items() if value is not None}
    settings = NetworkSettings(
        path_manager=scenario.path_manager,
        offloads=scenario.offloads,
        realisation="relay",
        family=scenario.family,
        sysctls=sysctls,
    )
    return MininetLab(plan_network(topology, settings), run_id="test-userspace", seed=scenario.seed)


def endpoints(lab: MininetLab, scenario: Scenario) -> Any:
    """Both ends, ready to start: a context manager that gives (client, server)."""
    common: dict[str, Any] = {
        "flow": "main",
        "family": scenario.family,
        "application": scenario.application,
        "duration_ns": scenario.duration_ns,
        "drain_ns": 10 * SECOND,
        "sample_interval_ns": 50 * MS,
        "seed": scenario.seed,
        "super_segments": scenario.super_segments,
        "ledger": scenario.ledger,
    }
    serving = Configuration(
        role="server",
        endpoint=scenario.server,
        path_manager=_path_manager(lab, scenario, "server"),
        **common,
    )

    def asking(port: int) -> Configuration:
        return Configuration(
            role="client",
            endpoint=scenario.client,
            path_manager=_path_manager(lab, scenario, "client"),
            port=port,
            local_address=lab.address("client", "access1", scenario.family),
            remote_address=lab.address("server", "path1", scenario.family),
            **common,
        )

    return flow(start_in(lab, "server"), serving, start_in(lab, "client"), asking, begin=False)


def start_in(lab: MininetLab, node: str) -> StartIn:
    """Starts programs in a node."""

    def begin(argv: Sequence[str]) -> Process:
        return lab.start(node, argv, interactive=True)

    return begin


def kernel_counters(lab: MininetLab, host: str) -> dict[str, int]:
    """Nonzero counters of a host's kernel."""
    lines = [line.split() for line in lab.run(host, ["nstat", "-azs"]).splitlines()[1:]]
    return {line[0]: int(line[1]) for line in lines if line[1] != "0"}


def _path_manager(lab: MininetLab, scenario: Scenario, role: Literal["client", "server"]) -> PathManagerSettings | None:
    endpoint = scenario.client if role == "client" else scenario.server
    if not endpoint.is_userspace and not endpoint.is_adapter:
        return None
    manager = scenario.path_manager
    links = [name.replace("path", "access") if role == "client" else name for name in manager.backup_paths]
    return PathManagerSettings(
        mode=manager.mode,
        subflows=manager.subflows,
        ports=manager.ports,
        backup_addresses=tuple(lab.address(role, link, scenario.family) for link in links),
    )


__all__ = ["LINUX", "MS", "PATH", "SECOND", "USERSPACE", "Report", "RunningEndpoint", "Scenario", "build", "carry_out"]
