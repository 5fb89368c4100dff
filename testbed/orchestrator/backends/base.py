"""What a backend that runs on real kernels offers: a lab, in which programs run inside the nodes of a topology.

``MininetLab`` is one, ``DividedLab`` one whose node lives on another machine. A lab is a context manager: entering
builds and checks everything, leaving removes everything, also after an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from testbed.endpoint.parameters import Endpoint
from testbed.orchestrator.network_plan import NetworkPlan, NetworkSettings, plan_network
from testbed.orchestrator.process import LoggedCommand, Partner, Process
from topologies.model import Family

if TYPE_CHECKING:
    from testbed.orchestrator.away.collecting import AwayCollectors

__all__ = ["Lab", "NetworkPlan", "NetworkSettings", "plan_network"]


class Lab(Protocol):
    """A topology made real."""

    plan: NetworkPlan
    run_id: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that live on this machine."""

    @property
    def commands(self) -> list[LoggedCommand]:
        """Every command so far, those done over netlink included, as they would be typed."""

    def namespace_fd(self, node: str) -> int:
        """The descriptor of a node's network namespace."""

    def inside(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is in the node's network namespace for the block."""

    def start(
        self,
        node: str,
        argv: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
        interactive: bool = False,
    ) -> Process:
        """Start a program in a node; it ends with the lab at the latest."""

    def run(self, node: str, argv: Sequence[str | Path], *, deadline_s: float = 10.0) -> str:
        """Run a program in a node to its end and return what it printed."""

    def converse(self, node: str, endpoint: Endpoint) -> Partner:
        """An endpoint process in a node, to be told what ``endpoint`` is; it may live on another machine."""

    def away_collectors(self) -> AwayCollectors | None:
        """Those of a machine on which a node lives that is not here."""

    def interface(self, node: str, link: str) -> str:
        """The name of the node's interface on that link."""

    def address(self, node: str, link: str, family: Family = 4) -> str:
        """The node's address on that link."""
