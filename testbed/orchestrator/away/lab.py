"""A lab of which one node lives on another machine: everything of it that differs from a lab on one."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from testbed.endpoint.parameters import Endpoint
from testbed.orchestrator import spec
from testbed.orchestrator.away import trunk as trunk_of
from testbed.orchestrator.away.clocks import Comparison
from testbed.orchestrator.away.collecting import AwayCollectors
from testbed.orchestrator.away.machine import AwayMachine, AwayProgram
from testbed.orchestrator.away.parts import near_part
from testbed.orchestrator.away.trunk import MOST_VLANS, Trunk
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.ip_mptcp import IpAddress
from testbed.orchestrator.lint import Finding
from testbed.orchestrator.netem import QdiscFeatures
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_plan import NetworkPlan
from testbed.orchestrator.process import LoggedCommand, Partner
from testbed.orchestrator.spec import Experiment, Variant

CLOCKS_NS = 1_000_000
"""Farther apart the two clocks must not get during a trial, nor be unsure: as much as a link's delay may be off
(``emulation.calibration.Tolerance``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """What the other machine has to know to build its part of a trial."""

    machine: AwayMachine
    experiment: Experiment
    variant: Variant
    qdiscs: QdiscFeatures
    watch_stalls: bool = False
    """As of TrialCollectors."""

    def request(self, seed: int, first_vlan: int) -> Mapping[str, object]:
        """Without what is for judges: it does not change the network."""
        lean = replace(
            self.experiment,
            variants=(self.variant,),
            expectations=(),
            grid=None,
            interop=None,
            claims=(),
            any_outcome=self.experiment.outcome_is_result,
        )
        return {
            "experiment": spec.to_json(lean),
            "node": self.machine.node,
            "qdiscs": dataclasses.asdict(self.qdiscs),
            "watch_stalls": self.watch_stalls,
            "seed": seed,
            "first_vlan": first_vlan,
        }


class DividedLab(MininetLab):
    """``plan`` is the whole network; what is built here is the near part of it."""

    def __init__(
        self, plan: NetworkPlan, divided: Divided, *, run_id: str, seed: int, relay_cpu: int | None = None
    ) -> None:
        machine = divided.machine
        if machine.node not in {host.name for host in plan.topology.hosts}:
            raise Unsupported(f"{plan.topology.name} has no host {machine.node}, which lives on the other machine")
        self._first_vlan = random.SystemRandom().randint(1, MOST_VLANS)
        trunk = Trunk(machine.where.trunk, machine.home_fd, self._first_vlan)
        near = near_part(plan, machine.node)
        super().__init__(near, run_id=run_id, seed=seed, relay_cpu=relay_cpu, trunk=trunk)
        self.plan = plan
        self._near = near
        self._divided = divided
        self._machine = machine
        self._programs: list[AwayProgram] = []
        self._commands_there: list[LoggedCommand] = []
        self._clocks: Comparison | None = None
        self._dropped: Mapping[str, int] = {}

    def _build(self) -> None:
        """Both parts at the same time: the wires between them come up when both are there."""
        self._stack.callback(self._leave)
        self._machine.tell("build", **self._divided.request(self.seed, self._first_vlan))
        try:
            super()._build()
        finally:
            told = self._machine.answer()
        now_ns = time.monotonic_ns()
        self._commands_there = [
            LoggedCommand(now_ns, node or None, tuple(argv), "the other machine") for node, *argv in told
        ]
        self._clocks = self._machine.compare_clocks()
        self._dropped = trunk_of.dropped(self._near.splices, self._wires())

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that live on this machine."""
        return tuple(name for name in super().hosts if name != self._machine.node)

    @property
    def commands(self) -> list[LoggedCommand]:
        """Of both machines."""
        return [*super().commands, *self._commands_there]

    def namespace_fd(self, node: str) -> int:
        """The descriptor of a node's network namespace. Raises Unsupported for the one that is not here."""
        self._check_here(node)
        return super().namespace_fd(node)

    def inside(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is in the node's network namespace. Raises Unsupported for the one that is not here."""
        self._check_here(node)
        return super().inside(node)

    def is_away(self, node: str) -> bool:
        """Whether the node lives on the other machine."""
        return node == self._machine.node

    def at_end(self, node: str) -> AbstractContextManager[None]:
        """Of the node that is away: where its wires leave this machine."""
        return self._network.inside(node)

    def check(self, *, probe_paths: bool = True) -> tuple[Finding, ...]:
        """Both parts; an echo of each path goes through both."""
        there = tuple(Finding(**each) for each in self._machine.ask("check"))
        return (*there, *super().check(probe_paths=probe_paths))

    def converse(self, node: str, endpoint: Endpoint) -> Partner:
        """An endpoint process in a node."""
        if not self.is_away(node):
            return super().converse(node, endpoint)
        if endpoint.is_adapter:
            raise Unsupported(f"{endpoint.implementation}: an adapter's program is on this machine, {node} on another")
        self._programs.append(self._machine.start_endpoint())
        return self._programs[-1]

    def clock_ns(self, node: str, monotonic_ns: int) -> int:
        """CLOCK_MONOTONIC of the node's machine at a moment of ours."""
        if not self.is_away(node):
            return monotonic_ns
        return monotonic_ns + self._compared().offset_ns

    def remove_endpoint(self, node: str, address: IpAddress) -> None:
        """``ip mptcp endpoint delete`` in a node."""
        if self.is_away(node):
            self._machine.ask("remove_endpoint", address=str(address))
        else:
            super().remove_endpoint(node, address)

    def away_collectors(self) -> AwayCollectors | None:
        """What is collected on the other machine."""
        return AwayCollectors(self._machine, lambda ns: self.clock_ns(self._machine.node, ns))

    def check_away(self) -> tuple[list[str], list[str]]:
        """After the traffic: what is to be told of the other machine, its clock above all, and what is wrong."""
        before, after = self._compared(), self._machine.compare_clocks()
        drift_ns = after.drift_ns(before)
        note = (
            f"{self._machine.node} lives on another machine ({self._machine.about['kernel']['release']}); its clock is "
            f"known to +-{before.bound_ns / 1e6:.3f} ms, half a round trip over the private link, and gained "
            f"{drift_ns / 1e6:.3f} ms in the {(after.at_ns - before.at_ns) / 1e9:.1f} s until the end "
            f"(+-{after.bound_ns / 1e6:.3f} ms)"
        )
        problems = trunk_of.problems(self._near.splices, self._wires(), self._dropped)
        problems += [f"{self._machine.name}: {problem}" for problem in self._machine.ask("wires")]
        worst_ns = max(before.bound_ns, after.bound_ns, abs(drift_ns))
        if worst_ns > CLOCKS_NS:
            problems.append(f"the clocks of the two machines were {worst_ns / 1e6:.3f} ms apart or unsure: {note}")
        return [note], problems

    def _wires(self) -> Netlink:
        return self._network.netlink(self._machine.node)

    def _leave(self) -> None:
        for program in self._programs:
            program.close()
        try:
            self._machine.ask("drop")
        except InvalidTrial:  # it is gone, and all with it
            return

    def _compared(self) -> Comparison:
        if self._clocks is None:
            raise InvalidTrial("the lab does not stand")
        return self._clocks

    def _check_here(self, node: str) -> None:
        if self.is_away(node):
            raise Unsupported(f"{node} lives on another machine")
