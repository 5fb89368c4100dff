"""A network plan made real: namespaces, veth pairs, addresses, routes, rules, kernel settings; over netlink and /proc.

Nothing gets a name outside of the namespaces that are made, so nothing can clash and nothing is left when this
process ends, however it ends. Every setting that the kernel may round or refuse is read back.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from contextlib import AbstractContextManager, ExitStack

from testbed.orchestrator import namespaces, netem, network_commands, offloads, process, rtnetlink, sysctl
from testbed.orchestrator.away.trunk import Trunk
from testbed.orchestrator.ip_mptcp import HostPathManager, PathManagerControl
from testbed.orchestrator.netlink import Message, Netlink
from testbed.orchestrator.network_plan import EMULATOR, Interface, NetworkPlan, ShapedLink
from testbed.orchestrator.process import CommandLog
from testbed.orchestrator.readiness import wait_until

LOOPBACK_INDEX = 1
CARRIER_DEADLINE_S = 5.0


class NamespaceNetwork:
    """The namespaces of a plan and a netlink connection into each. Build with ``with``; the end of the block removes
    all."""

    def __init__(
        self,
        plan: NetworkPlan,
        log: CommandLog | None = None,
        seed: int | None = None,
        trunk: Trunk | None = None,
    ) -> None:
        """``trunk`` is needed when a wire of the plan goes on to another machine."""
        self.plan = plan
        self._trunk = trunk
        self.seed = seed
        """Of the trial; links that netem realises derive theirs from it."""
        self.log = log if log is not None else CommandLog()
        self._fds: dict[str, int] = {}
        self._links: dict[str, Netlink] = {}
        self._stack = ExitStack()

    def __enter__(self) -> NamespaceNetwork:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def fd(self, node: str) -> int:
        """The descriptor of a node's namespace. Raises KeyError."""
        return self._fds[node]

    def inside(self, node: str) -> AbstractContextManager[None]:
        """The calling thread is in the node's namespace for the block."""
        return namespaces.inside(self._fds[node])

    def netlink(self, node: str) -> Netlink:
        """A connection to the node's routing netlink. One at a time: it is not for several threads."""
        return self._links[node]

    def _build(self) -> None:
        fds = namespaces.make_namespaces(len(self.plan.nodes))
        self._stack.callback(namespaces.close_all, fds)
        self._fds = {node.name: fd for node, fd in zip(self.plan.nodes, fds, strict=True)}
        with ExitStack() as temporary:
            controls: dict[str, socket.socket] = {}
            managers: list[tuple[PathManagerControl, HostPathManager]] = []
            for node in self.plan.nodes:
                with self.inside(node.name):
                    sysctl.write_all(node.sysctls)
                    self._links[node.name] = self._stack.enter_context(Netlink())
                    controls[node.name] = temporary.enter_context(offloads.control_socket())
                    if node.path_manager is not None:
                        control = temporary.enter_context(PathManagerControl())
                        managers.append((control, node.path_manager))
            self._make_interfaces()
            for end in self.plan.interfaces():
                if end.offloads is not None:
                    offloads.write(controls[end.node], end.name, end.offloads)
            batches = self._messages()
            for node_name, messages in self._splices().items():
                batches[node_name] += messages
            for node_name, messages in batches.items():
                self._links[node_name].send(messages)
            for control, wanted in managers:  # after the addresses: an endpoint with a port listens on it
                control.apply(wanted)
        for shaped in self.plan.shaped:
            self._set_qdiscs(shaped)
        for node in self.plan.nodes:
            self._wait_for_carrier(node.name)

    def _wait_for_carrier(self, node: str) -> None:
        """The kernel starts the queue of the end that was opened first from a work queue; until then it drops
        packets."""

        def down() -> list[str]:
            return [each.name for each in rtnetlink.interfaces(self._links[node]) if not each.up]

        wait_until(lambda: not down(), CARRIER_DEADLINE_S, f"the interfaces of {node} to come up", seen=down)

    def _make_interfaces(self) -> None:
        if not self.plan.veths:
            return
        any_node = self.plan.nodes[0].name
        pairs = [rtnetlink.new_veth(self._new(veth.a), self._new(veth.b)) for veth in self.plan.veths]
        self._links[any_node].send(pairs)

    def _new(self, end: Interface) -> rtnetlink.NewInterface:
        return rtnetlink.NewInterface(
            namespace_fd=self._fds[end.node],
            name=end.name,
            index=end.index,
            mac=bytes.fromhex(end.mac.replace(":", "")),
            mtu=end.mtu_bytes,
            gso_max_segs=end.gso_max_segs,
        )

    def _messages(self) -> dict[str, list[Message]]:
        """Node -> everything that goes into it in one batch."""
        batches: dict[str, list[Message]] = defaultdict(list)
        interfaces = self.plan.interfaces()
        indexes = {(end.node, end.link): end.index for end in interfaces}
        for node in self.plan.nodes:
            batches[node.name].append(rtnetlink.set_up(LOOPBACK_INDEX, "ip link set lo up"))
        for veth in self.plan.veths:
            batches[veth.b.node].append(rtnetlink.set_up(veth.b.index, f"ip link set {veth.b.name} up"))
        for end in interfaces:
            batches[end.node] += [
                rtnetlink.new_address(address, end.index, f"{end.node}: ip address add {address} dev {end.name}")
                for address in end.addresses
            ]
        for neighbour in self.plan.neighbours:
            mac = bytes.fromhex(neighbour.mac.replace(":", ""))
            what = f"{neighbour.node}: ip neighbour replace {neighbour.address}"
            batches[neighbour.node].append(
                rtnetlink.new_neighbour(neighbour.address, mac, neighbour.interface.index, what)
            )
        for rule in self.plan.rules:
            what = f"{rule.node}: {' '.join(network_commands.rule_argv(rule))}"
            batches[rule.node].append(rtnetlink.new_rule(rule.source, rule.table, rule.priority, what))
        for route in self.plan.routes:
            what = f"{route.node}: ip route add {route.prefix} via {route.via} table {route.table or 'main'}"
            index = indexes[route.node, route.link]
            batches[route.node].append(rtnetlink.new_route(route.prefix, index, route.via, route.table, None, what))
        for shaped in self.plan.shaped:
            batches[EMULATOR] += _bridge(shaped)
        return batches

    def _splices(self) -> dict[str, list[Message]]:
        """The private link's interfaces are put into their namespaces; node -> what joins them to the veths' ends."""
        batches: dict[str, list[Message]] = defaultdict(list)
        if not self.plan.splices:
            return batches
        if self._trunk is None:
            raise ValueError("a plan with splices needs a trunk")
        self._trunk.prepare(self.plan)
        self._stack.callback(self._trunk.detach)
        for position, splice in enumerate(self.plan.splices):
            node = splice.end.node
            index = self._trunk.attach(splice, position, self._links[node], self._fds[node])
            batches[node] += [
                rtnetlink.new_bridge(splice.bridge, splice.bridge_index),
                rtnetlink.set_master(splice.end.index, splice.bridge_index, f"ip link set {splice.end.name} master"),
                rtnetlink.set_master(index, splice.bridge_index, f"ip link set {splice.trunk} master"),
                rtnetlink.set_up(index, f"ip link set {splice.trunk} up"),
            ]
        return batches

    def _set_qdiscs(self, shaped: ShapedLink) -> None:
        """And read them back: a link with other values than asked for is another experiment."""
        if shaped.realisation != "qdisc":
            return
        for argv in network_commands.qdisc_commands(shaped, self.seed):
            self._tc(argv)
        link = shaped.link
        for side, profile, changes in (
            (shaped.b_side, link.forward, netem.for_direction(link.changes, "forward")),
            (shaped.a_side, link.backward, netem.for_direction(link.changes, "backward")),
        ):
            netem.check(side.name, profile, changes, self._tc(("tc", "-j", "qdisc", "show", "dev", side.name)))

    def _tc(self, argv: tuple[str, ...]) -> str:
        return process.run(argv, node=EMULATOR, namespace_fd=self._fds[EMULATOR], log=self.log)


def _bridge(shaped: ShapedLink) -> list[Message]:
    if shaped.bridge is None or shaped.bridge_index is None:
        return []
    ports = [
        rtnetlink.set_master(side.index, shaped.bridge_index, f"ip link set {side.name} master {shaped.bridge}")
        for side in (shaped.a_side, shaped.b_side)
    ]
    return [rtnetlink.new_bridge(shaped.bridge, shaped.bridge_index), *ports]
