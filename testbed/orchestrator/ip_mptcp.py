"""The kernel's MPTCP path manager: which endpoints and limits a mode means, set over generic netlink and read back.

Endpoints belong to a host, not to a connection. All addresses of a host get one; the kernel leaves out the address that
the first subflow already uses, so the same endpoints serve a connection that starts on any path.

Several subflows between one pair of addresses (``ndiffports``): the in-kernel path manager opens a subflow per
*address* and has no such mode; what it can do is announce the same address with other ports, on which it then listens
itself (``signal`` endpoints with a port). That is what the mode does here.

Sources: ip-mptcp(8), linux/mptcp_pm.h, net/mptcp/pm_kernel.c, RFC 8684 section 3.4.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.orchestrator import netlink
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.netlink import NETLINK_GENERIC, Message, Netlink, attribute, nested, text, u32
from testbed.orchestrator.spec import PathManager
from topologies.model import Family, Topology

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_SUBFLOWS = MOST_ENDPOINTS = 8
"""MPTCP_PM_ADDR_MAX: the kernel's bound for both limits and for the number of endpoints of a namespace."""

FIRST_PORT = 10_101
"""First of the ports that ``ndiffports`` announces."""

FLAGS: Mapping[str, int] = {"signal": 1, "subflow": 2, "backup": 4, "fullmesh": 8}

_GENL_ID_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_ADD_ADDR, _DELETE_ADDR, _GET_ADDR, _FLUSH_ADDRS, _SET_LIMITS, _GET_LIMITS = 1, 2, 3, 4, 5, 6
_ATTR_ADDR, _ATTR_RCV_ADD_ADDRS, _ATTR_SUBFLOWS = 1, 2, 3
_ADDR_FAMILY, _ADDR_ID, _ADDR_4, _ADDR_6, _ADDR_PORT, _ADDR_FLAGS = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class MptcpEndpoint:
    """One endpoint of the in-kernel path manager."""

    address: IpAddress
    endpoint_id: int
    flags: tuple[str, ...]
    """Of ``signal``, ``subflow``, ``backup``, ``fullmesh``, in that order."""
    port: int | None = None

    def argv(self) -> list[str]:
        """The equivalent ``ip`` command."""
        port = ["port", str(self.port)] if self.port is not None else []
        words = ["ip", "mptcp", "endpoint", "add", str(self.address), "id", str(self.endpoint_id)]
        return [*words, *port, *self.flags]


@dataclass(frozen=True, slots=True, kw_only=True)
class MptcpLimits:
    """How far the path manager may go."""

    subflows: int
    """Additional subflows per connection."""
    add_addr_accepted: int
    """Announced addresses per connection that are acted upon."""

    def argv(self) -> list[str]:
        """The equivalent ``ip`` command."""
        numbers = ["subflows", str(self.subflows), "add_addr_accepted", str(self.add_addr_accepted)]
        return ["ip", "mptcp", "limits", "set", *numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPathManager:
    """What the path manager of one host is told."""

    limits: MptcpLimits
    endpoints: tuple[MptcpEndpoint, ...] = ()


class PathManagerError(InvalidTrial):
    """The kernel holds other endpoints or limits than those it was given."""


def plan_path_manager(
    topology: Topology, manager: PathManager, family: Family | None = None
) -> Mapping[str, HostPathManager]:
    """Host -> endpoints and limits, for the client and the server.

    ``family`` None: the topology's first. Raises Unsupported for what the in-kernel path manager cannot do.
    """
    family = family or topology.families[0]
    client, server = topology.client.name, topology.server.name
    locals_ = _addresses(topology, client, family)
    remotes = _addresses(topology, server, family)
    subflows = min(manager.subflows, MOST_SUBFLOWS)
    accepted = 0
    at_client: list[MptcpEndpoint] = []
    at_server: list[MptcpEndpoint] = []
    match manager.mode:
        case "none":
            subflows = 0
        case "signal":
            at_server = _endpoints(remotes, ("signal",))
        case "subflow":
            at_client = _endpoints(locals_, ("subflow",))
        case "fullmesh":
            at_client = _endpoints(locals_, ("subflow", "fullmesh"))
            at_server = _endpoints(remotes, ("signal",))
        case "backup":
            at_client, at_server = _backup(topology, manager, family, locals_, remotes)
        case "ndiffports":
            at_server = _ports(remotes[0], manager.ports)
    if any("signal" in endpoint.flags for endpoint in at_server):
        accepted = min(MOST_SUBFLOWS, max(len(at_server), 1))
    for host, endpoints in ((client, at_client), (server, at_server)):
        if len(endpoints) > MOST_ENDPOINTS:
            raise Unsupported(
                f"{topology.name}: path manager mode {manager.mode} needs {len(endpoints)} endpoints at {host}, and the"
                f" kernel holds {MOST_ENDPOINTS}; take a topology with fewer paths"
            )
    limits = MptcpLimits(subflows=subflows, add_addr_accepted=accepted)
    return {
        client: HostPathManager(limits=limits, endpoints=tuple(at_client)),
        server: HostPathManager(limits=MptcpLimits(subflows=subflows, add_addr_accepted=0), endpoints=tuple(at_server)),
    }


def expected_subflows(topology: Topology, manager: PathManager) -> int:
    """How many subflows a connection has, the first included, once the path manager has done its work."""
    clients = len(_addresses(topology, topology.client.name, topology.families[0]))
    servers = len(_addresses(topology, topology.server.name, topology.families[0]))
    match manager.mode:
        case "none":
            wanted = 1
        case "signal":
            wanted = servers
        case "subflow":
            wanted = clients
        case "backup":
            wanted = clients if clients > 1 else servers
        case "fullmesh":
            wanted = clients * servers
        case "ndiffports":
            wanted = manager.ports
    return min(wanted, 1 + min(manager.subflows, MOST_SUBFLOWS))


def _addresses(topology: Topology, host: str, family: Family) -> list[IpAddress]:
    table = topology.addresses()
    used = {name for path in topology.paths for name in path.links}
    links = [link for link in topology.links_of(host) if link.name in used or not topology.paths]
    return [table[host, link.name, family].ip for link in links]


def _endpoints(addresses: Sequence[IpAddress], flags: tuple[str, ...]) -> list[MptcpEndpoint]:
    return [
        MptcpEndpoint(address=address, endpoint_id=number, flags=flags)
        for number, address in enumerate(addresses, start=1)
    ]


def _backup(
    topology: Topology, manager: PathManager, family: Family, locals_: list[IpAddress], remotes: list[IpAddress]
) -> tuple[list[MptcpEndpoint], list[MptcpEndpoint]]:
    table = topology.addresses()
    known = {path.name for path in topology.paths}
    for name in manager.backup_paths:
        if name not in known:
            raise Unsupported(f"backup path {name!r} is not a path of {topology.name}: {', '.join(sorted(known))}")
    reserve = [topology.path(name) for name in manager.backup_paths]
    if len(locals_) > 1:  # the client marks its own subflows (RFC 8684 section 3.3.8: bit B of MP_JOIN)
        marked = {table[topology.client.name, path.links[0], family].ip for path in reserve}
        return _marked(locals_, "subflow", marked), []
    marked = {table[topology.server.name, path.links[-1], family].ip for path in reserve}
    return [], _marked(remotes, "signal", marked)


def _marked(addresses: Sequence[IpAddress], flag: str, backup: set[IpAddress]) -> list[MptcpEndpoint]:
    return [
        MptcpEndpoint(address=address, endpoint_id=number, flags=(flag, "backup") if address in backup else (flag,))
        for number, address in enumerate(addresses, start=1)
    ]


def _ports(address: IpAddress, count: int) -> list[MptcpEndpoint]:
    if not 1 <= count <= MOST_SUBFLOWS:
        raise Unsupported(f"ndiffports makes 1 to {MOST_SUBFLOWS} subflows, not {count}")
    return [
        MptcpEndpoint(address=address, endpoint_id=number, flags=("signal",), port=FIRST_PORT + number - 1)
        for number in range(1, count)
    ]


# --- the kernel's side ---------------------------------------------------------------------------------------------


class PathManagerControl:
    """The path manager of the namespace that the calling thread is in when this is made."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_GENERIC)
        try:
            self._family = self._resolve()
        except BaseException:
            self._netlink.close()
            raise

    def __enter__(self) -> PathManagerControl:
        return self

    def __exit__(self, *exc: object) -> None:
        self._netlink.close()

    def apply(self, wanted: HostPathManager) -> None:
        """Set limits and endpoints (in place of those that are there) and read both back."""
        what = " ".join(wanted.limits.argv())
        limits = u32(_ATTR_RCV_ADD_ADDRS, wanted.limits.add_addr_accepted)
        limits += u32(_ATTR_SUBFLOWS, wanted.limits.subflows)
        messages = [
            self._message(_FLUSH_ADDRS, b"", "ip mptcp endpoint flush"),
            self._message(_SET_LIMITS, limits, what),
        ]
        messages += [
            self._message(_ADD_ADDR, _packed(endpoint), " ".join(endpoint.argv())) for endpoint in wanted.endpoints
        ]
        self._netlink.send(messages)
        held = self.read()
        if held != wanted:
            raise PathManagerError(f"the path manager was given {wanted} and holds {held}")

    def remove(self, address: IpAddress) -> None:
        """Delete the endpoint of that address: its subflows end, peers get a REMOVE_ADDR. Raises PathManagerError."""
        found = [endpoint for endpoint in self.read().endpoints if endpoint.address == address]
        if not found:
            raise PathManagerError(f"the path manager holds no endpoint {address} that could be deleted")
        what = f"ip mptcp endpoint delete id {found[0].endpoint_id}"
        self._netlink.send([self._message(_DELETE_ADDR, _packed(found[0]), what)])

    def read(self) -> HostPathManager:
        """What the kernel holds, endpoints in the order of their ids."""
        (answer,) = self._netlink.ask(self._message(_GET_LIMITS, b"", "ip mptcp limits show"))
        values = netlink.attributes(answer[1][4:])
        limits = MptcpLimits(
            subflows=struct.unpack("=I", values[_ATTR_SUBFLOWS])[0],
            add_addr_accepted=struct.unpack("=I", values[_ATTR_RCV_ADD_ADDRS])[0],
        )
        found = list(self._endpoints())
        return HostPathManager(limits=limits, endpoints=tuple(sorted(found, key=lambda each: each.endpoint_id)))

    def _endpoints(self) -> Iterator[MptcpEndpoint]:
        for _, body in self._netlink.dump(self._message(_GET_ADDR, b"", "ip mptcp endpoint show")):
            values = netlink.attributes(netlink.attributes(body[4:])[_ATTR_ADDR])
            bits = struct.unpack("=I", values[_ADDR_FLAGS])[0]
            port = struct.unpack("=H", values[_ADDR_PORT])[0] if _ADDR_PORT in values else 0
            yield MptcpEndpoint(
                address=ipaddress.ip_address(values.get(_ADDR_4) or values[_ADDR_6]),
                endpoint_id=values[_ADDR_ID][0],
                flags=tuple(name for name, bit in FLAGS.items() if bits & bit),
                port=port or None,
            )

    def _message(self, command: int, body: bytes, what: str) -> Message:
        return Message(self._family, 0, struct.pack("=BBH", command, 1, 0) + body, what)

    def _resolve(self) -> int:
        body = struct.pack("=BBH", _CTRL_GETFAMILY, 1, 0) + text(_CTRL_FAMILY_NAME, "mptcp_pm")
        try:
            answers = self._netlink.ask(Message(_GENL_ID_CTRL, 0, body, "generic netlink family mptcp_pm"))
        except netlink.NetlinkError as error:
            raise Unsupported(f"this kernel has no MPTCP path manager ({error}); it needs CONFIG_MPTCP, 5.7+") from None
        return int(struct.unpack("=H", netlink.attributes(answers[0][1][4:])[_CTRL_FAMILY_ID])[0])


def _packed(endpoint: MptcpEndpoint) -> bytes:
    address = endpoint.address
    family, kind = (socket.AF_INET, _ADDR_4) if address.version == 4 else (socket.AF_INET6, _ADDR_6)
    parts = [
        attribute(_ADDR_FAMILY, struct.pack("=H", family)),
        attribute(_ADDR_ID, bytes((endpoint.endpoint_id,))),
        attribute(kind, address.packed),
        u32(_ADDR_FLAGS, sum(FLAGS[name] for name in endpoint.flags)),
    ]
    if endpoint.port is not None:
        parts.append(attribute(_ADDR_PORT, struct.pack("=H", endpoint.port)))
    return nested(_ATTR_ADDR, *parts)
