"""Two machines on one: a namespace each, a cable for the control connection and cables for the wires of a lab.

The agent is the real one, with a kernel of its own in every respect but the kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from testbed.endpoint.child import descendants
from testbed.orchestrator import namespaces, process, rtnetlink
from testbed.orchestrator.away.exchange import AwayNode
from testbed.orchestrator.backends.mininet import package_path
from testbed.orchestrator.netlink import Message, Netlink
from testbed.orchestrator.process import Process
from testbed.orchestrator.readiness import wait_until

NEAR, FAR = "169.254.83.1", "169.254.83.2"
SECRET = "of this test"


@dataclass(frozen=True)
class TwoMachines:
    near_fd: int
    far_fd: int
    where: AwayNode
    agent: Process

    def cut(self) -> None:
        """The cable of the first wire is pulled out of the machine there, in the middle of whatever it carries."""
        for pid in descendants(self.agent.pid):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                if str(entry.readlink()).startswith("net:["):
                    with entry.open() as namespace, namespaces.inside(namespace.fileno()), Netlink() as there:
                        trunks = [each for each in rtnetlink.interfaces(there) if each.name.startswith("trunk")]
                        if trunks:
                            there.send([rtnetlink.set_up(trunks[0].index, "pull the cable", up=False)])
                            return
        raise AssertionError("there is no wire to cut")


@contextmanager
def two_machines(directory: Path, wires: int = 2) -> Iterator[TwoMachines]:
    """An agent for the node ``server`` listens."""
    with ExitStack() as stack:
        fds = namespaces.make_namespaces(2)
        stack.callback(namespaces.close_all, list(fds))
        near_fd, far_fd = fds
        with namespaces.inside(near_fd), Netlink() as near:
            near.send([_cable("control", number=1, fds=(near_fd, far_fd))])
            near.send([_cable(f"wire{n}", number=10 + n, fds=(near_fd, far_fd)) for n in range(wires)])
            _set_up(near, NEAR)
        with namespaces.inside(far_fd), Netlink() as far:
            _set_up(far, FAR)
        secret = directory / "secret"
        secret.write_text(SECRET)
        cables = ",".join(f"wire{n}" for n in range(wires))
        argv = [sys.executable, "-m", "testbed.orchestrator.away", "--host", FAR, "--trunk", f"wires:{cables}"]
        agent = process.start([*argv, "--secret-file", secret], namespace_fd=far_fd, environment=package_path())
        stack.callback(agent.stop)
        port = wait_until(lambda: agent.stdout.strip(), 20.0, "the agent to listen", seen=lambda: agent.stderr)
        where = AwayNode(node="server", host=FAR, port=int(port), secret=SECRET, trunk=f"wires:{cables}")
        yield TwoMachines(near_fd, far_fd, where, agent)


def _cable(name: str, *, number: int, fds: tuple[int, int]) -> Message:
    ends = [
        rtnetlink.NewInterface(
            namespace_fd=fd,
            name=name,
            index=100 * (side + 1) + number,
            mac=bytes((2, 0, 0, 83, side, number)),
            mtu=1500,
        )
        for side, fd in enumerate(fds)
    ]
    return rtnetlink.new_veth(*ends)


def _set_up(home: Netlink, address: str) -> None:
    (control,) = [each for each in rtnetlink.interfaces(home) if each.name == "control"]
    home.send(
        [
            rtnetlink.set_up(1, "lo up"),
            rtnetlink.set_up(control.index, "control up"),
            rtnetlink.new_address(ip_interface(f"{address}/30"), control.index, "address of control"),
        ]
    )
