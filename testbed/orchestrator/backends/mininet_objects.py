"""Mininet's own classes over a network that already stands: genuine ``Mininet``, ``Host``, ``Intf``, ``Link`` objects.

What costs stock Mininet its time is left out: shells are started when a node's first command is typed, interfaces are
made elsewhere (over netlink), and programs are started by switching namespaces instead of through ``mnexec``. Scripts
that were written for Mininet (``net['client'].cmd(...)``, ``popen``, ``CLI(net)``) work; switches and controllers do
not exist.

Importing this imports Mininet, which nothing else does. Mininet's own effects on the machine are kept out: it would
raise global sysctls and resource limits (``fixLimits``) and look for ``mnexec`` and ``ifconfig``.
"""

from __future__ import annotations

import os
import select
import warnings
from typing import Any

from testbed.orchestrator import namespaces, process, rtnetlink
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.netlink import Netlink
from testbed.orchestrator.network_plan import Interface, NetworkPlan

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports distutils and has invalid escapes
        import mininet.util
        from mininet.link import Intf, Link
        from mininet.net import Mininet
        from mininet.node import Host
except ModuleNotFoundError as error:
    hint = "pip install setuptools" if error.name == "distutils" else "pip install mininet==2.3.0.dev6"
    raise Unsupported(f"Mininet cannot be imported: no module named {error.name} ({hint})") from error


class NamespaceHost(Host):  # type: ignore[misc]
    """A Mininet host in a namespace that is given by its descriptor. Its shell starts with its first command."""

    def __init__(self, name: str, *, namespace_fd: int, **params: Any) -> None:
        self.namespace_fd = namespace_fd
        self._shell_pid: int | None = None
        self._starting = False
        super().__init__(name, **params)

    @classmethod
    def setup(cls) -> None:
        """Mininet would look for mnexec and ifconfig here; neither is used."""

    @property
    def pid(self) -> int | None:
        """The process that other tools may attach to, as in stock Mininet: the shell's, which is started if need be."""
        if self._shell_pid is None and not self._starting and getattr(self, "decoder", None) is not None:
            self._ensure_shell()
        return self._shell_pid

    @pid.setter
    def pid(self, value: int | None) -> None:
        self._shell_pid = value

    def startShell(self, mnopts: str | None = None) -> None:
        """Called by Mininet when the node is made: nothing, yet."""

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """As Mininet's, in a shell that is started when it is not there yet."""
        self._ensure_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        """As Mininet's, in a shell that is started when it is not there yet."""
        self._ensure_shell()
        return super().cmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        """A Popen object of a program in this namespace; arguments as Mininet's (a list, words, or one string)."""
        kwargs.pop("mncmd", None)
        shell = kwargs.pop("shell", False)
        words = args[0] if len(args) == 1 else args
        if isinstance(words, str):
            words = [words] if shell else words.split()
        words = [str(word) for word in words]
        if shell:
            words = [os.environ.get("SHELL", "/bin/sh"), "-c", " ".join(words)]
        return self._popen(words, **{"stdout": process.PIPE, "stderr": process.PIPE, **kwargs})

    def terminate(self) -> None:
        """End the shell, if there is one."""
        if self.shell:
            super().terminate()
            self._shell_pid = None

    def __repr__(self) -> str:
        interfaces = ",".join(f"{interface.name}:{interface.IP()}" for interface in self.intfList())
        return f"<{type(self).__name__} {self.name}: {interfaces} pid={self._shell_pid}>"

    def _ensure_shell(self) -> None:
        if self.shell or self._starting:
            return
        self._starting = True
        try:
            super().startShell()
            # Mininet also waits for room to write, which there always is: monitor(timeoutms) would block for ever
            self.pollOut.modify(self.stdout, select.POLLIN | select.POLLPRI)
        finally:
            self._starting = False

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        words = cmd[2:] if cmd[:1] == ["mnexec"] else cmd  # "mnexec -cdn": close files, detach, in a namespace
        params["close_fds"] = True
        return process.popen_inside(words, self.namespace_fd, **params)


class NamespaceRouter(NamespaceHost):
    """A node that forwards; the plan has set that up."""


class NamespaceEmulator(NamespaceHost):
    """The node in which shaped links are realised; it has no addresses."""


class NetlinkIntf(Intf):  # type: ignore[misc]
    """An interface that is configured already; its state is asked over netlink."""

    def __init__(self, name: str, **params: Any) -> None:
        address = params.pop("address", None)
        super().__init__(name, **params)
        if address is not None:
            self.ip, prefix = str(address).split("/")
            self.prefixLen = int(prefix)

    def config(self, *args: Any, **params: Any) -> dict[str, Any]:
        """Everything is set already."""
        return {}

    def isUp(self, setUp: bool = False) -> bool:
        """Whether the interface and its peer are up."""
        if setUp:
            self.cmd("ip link set", self.name, "up")
        with namespaces.inside(self.node.namespace_fd), Netlink() as connection:
            return any(each.name == self.name and each.up for each in rtnetlink.interfaces(connection))


class NetlinkLink(Link):  # type: ignore[misc]
    """A veth pair that exists already."""

    @classmethod
    def makeIntfPair(cls, *args: Any, **params: Any) -> None:
        """The pair was made with the network."""

    def delete(self) -> None:
        """The pair goes with its namespaces."""

    def stop(self) -> None:
        """The pair goes with its namespaces."""


class NetlinkMininet(Mininet):  # type: ignore[misc]
    """A Mininet whose nodes and links are those of a plan, in the namespaces given by ``fds``."""

    def __init__(self, plan: NetworkPlan, fds: dict[str, int]) -> None:
        mininet.util.numCores.ncores = os.cpu_count() or 1  # it would start grep to count
        initialised = Mininet.inited
        Mininet.inited = True  # its init() would change limits and sysctls of the whole machine
        try:
            super().__init__(host=NamespaceHost, switch=None, controller=None, link=NetlinkLink, intf=NetlinkIntf)
        finally:
            Mininet.inited = initialised
        kinds = {
            "host": NamespaceHost,
            "router": NamespaceRouter,
            "emulator": NamespaceEmulator,
            "away": NamespaceEmulator,
        }
        primary = {end.node: str(end.addresses[0]) for end in reversed(plan.interfaces()) if end.addresses}
        for node in plan.nodes:
            made = self.addHost(node.name, cls=kinds[node.kind], namespace_fd=fds[node.name], ip=primary.get(node.name))
            if node.kind in ("emulator", "away"):
                self.hosts.remove(made)  # reachable as net['emulator'], but pingAll() has nothing to ask it
        positions = dict.fromkeys(fds, 0)
        for veth in plan.veths:
            self._add(veth.a, veth.b, positions)
        self.built = True

    def build(self) -> None:
        """It was built when it was made."""

    def _add(self, a: Interface, b: Interface, positions: dict[str, int]) -> None:
        ports = []
        for end in (a, b):
            ports.append(positions[end.node])
            positions[end.node] += 1
        self.addLink(
            a.node,
            b.node,
            port1=ports[0],
            port2=ports[1],
            intfName1=a.name,
            intfName2=b.name,
            addr1=a.mac,
            addr2=b.mac,
            params1={"address": a.addresses[0] if a.addresses else None},
            params2={"address": b.addresses[0] if b.addresses else None},
        )
