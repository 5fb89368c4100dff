"""What this machine can do, each answer with what needs it and how to get it; ``testbed doctor`` prints them.

A feature is tried, never guessed from a version: a socket is opened, a qdisc is asked for in a namespace of its own,
a program is looked up. A probe changes nothing that outlives it. (Asking for a qdisc may make the kernel load its
module.)
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import socket
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from testbed import compilation
from testbed.endpoint import probe as endpoint_probe
from testbed.orchestrator import namespaces, netlink, process, rtnetlink
from testbed.orchestrator.errors import TestbedError, Unsupported
from testbed.orchestrator.netem import QdiscFeatures, held_seed
from testbed.orchestrator.netlink import Message, Netlink, NetlinkError

RTM_NEWQDISC = 36
TC_H_ROOT = 0xFFFF_FFFF
TCA_KIND, TCA_OPTIONS = 1, 2
_LOOPBACK = 1
_WITHOUT_ROOT = "not known without root"
_SEED = 20_260_131
"""Any number that the kernel would not choose by itself."""

P = ParamSpec("P")
R = TypeVar("R")

TOOLS: Mapping[str, tuple[str, str]] = {
    "ip": ("looking around by hand, the commands of a dry run", "apt install iproute2"),
    "tc": ("links realised by the kernel's qdiscs", "apt install iproute2"),
    "ethtool": ("the commands of a dry run (the testbed itself asks the kernel)", "apt install ethtool"),
    "nft": ("middleboxes made of nftables rules", "apt install nftables"),
    "tcpdump": ("captures (--pcap)", "apt install tcpdump"),
    "tshark": ("the tests of the capture engine, which is held to it", "apt install tshark"),
    "iperf3": ("the application type iperf3", "apt install iperf3"),
    "mptcpize": ("unmodified programs over MPTCP", "apt install mptcpize"),
    "mnexec": ("Mininet's cmd(..., printPid=True), the benchmark against stock Mininet", "apt install mininet"),
    "ping": ("pinging by hand, Mininet's pingAll (the testbed has its own probe)", "apt install iputils-ping"),
    "ovs-vsctl": ("Open vSwitch topologies; none of ours needs it", "apt install openvswitch-switch"),
}
"""Program -> what needs it, how to get it (Debian and Ubuntu)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One answer."""

    name: str
    available: bool
    detail: str
    """What was seen."""
    needed_by: str
    remedy: str = ""
    """What to do when it is not there."""


def probe_features() -> tuple[Feature, ...]:
    """All features, the basic ones first."""
    probes: list[Callable[[], Feature]] = [root, network_namespaces, mptcp, path_manager, packet_capture, attachment]
    probes += [compiled_stacks, realtime, tbf, netem, netem_seed, bridge, kernel_ledger, mininet]
    return (*(probe() for probe in probes), *(tool(name) for name in TOOLS))


def qdiscs() -> QdiscFeatures:
    """The qdiscs that links can be made of here; without root nobody can ask, and the answer says so."""
    namespace = network_namespaces()
    if not namespace.available:
        return QdiscFeatures(unknown=namespace.detail if os.geteuid() == 0 else _WITHOUT_ROOT)
    has_netem = netem().available
    return QdiscFeatures(tbf=tbf().available, netem=has_netem, netem_seed=has_netem and netem_seed().available)


def root() -> Feature:
    """Whether we are root."""
    uid = os.geteuid()
    return Feature(
        name="root",
        available=uid == 0,
        detail=f"effective user {uid}",
        needed_by="every backend on real kernels (--backend mininet)",
        remedy="run it with sudo; the simulator needs no root",
    )


def compiled_stacks() -> Feature:
    """Whether this process runs the compiled form of the userspace stacks and the link model."""
    return Feature(
        name="compiled stacks",
        available=compilation.status.compiled,
        detail=compilation.status.detail,
        needed_by="speed only: simulations and userspace endpoints take several times as long from the sources",
        remedy="./tb build (needs a C compiler and Python's headers)",
    )


def network_namespaces() -> Feature:
    """Whether namespaces can be made."""
    remedy = "run as root on a kernel with CONFIG_NET_NS"
    return _tried(
        "network namespaces", "the Mininet backend", remedy, lambda: _in_new_namespace(lambda: "one was made")
    )


def mptcp() -> Feature:
    """Whether a lab's host gets an MPTCP socket; the reasons why not are told apart (``endpoint.probe``).

    Asked in a namespace of its own, as hosts have: ``net.mptcp.enabled`` belongs to each namespace and is 1 in a new
    one, so MPTCP that is off for the machine is on in a lab. Without root only the machine's own can be asked.
    """
    outside = endpoint_probe.probe("linux")
    where, found = "in this machine's own network namespace", outside
    if network_namespaces().available:
        where, found = "in a new network namespace, as labs have", _in_new_namespace(endpoint_probe.probe, "linux")
    detail = f"a socket was opened {where}" if found.available else f"{found.reason} ({where})"
    if found.available and not outside.available:
        detail += f"; outside of labs: {outside.reason}"
    return Feature(
        name="MPTCP",
        available=found.available,
        detail=detail,
        needed_by="the implementation linux",
        remedy=found.remedy,
    )


def path_manager() -> Feature:
    """Whether the in-kernel path manager can be configured."""

    def probe() -> str:
        from testbed.orchestrator.ip_mptcp import PathManagerControl

        def in_namespace() -> str:
            with PathManagerControl() as control:
                return f"default limits: {control.read().limits.subflows} additional subflows"

        return _in_namespace(in_namespace)

    return _tried("MPTCP path manager", "all path manager modes", "boot a kernel with CONFIG_MPTCP=y, as root", probe)


def packet_capture() -> Feature:
    """Whether packets can be captured and relayed."""

    def probe() -> str:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
        return "an AF_PACKET socket was opened"

    return _tried("packet sockets", "captures, and links realised by the relay", "run as root (CAP_NET_RAW)", probe)


def attachment() -> Feature:
    """Whether our own stack can be an end on real interfaces: the kernel has to be kept off its ports."""

    def probe() -> str:
        from testbed.endpoint.attached.quiet import KernelKeptQuiet

        def in_namespace() -> str:
            KernelKeptQuiet("testbed-doctor", [(1, 1)]).close()
            return "an nftables table with an owner was made"

        return _in_namespace(in_namespace)

    remedy = "boot Linux 5.12 or later with CONFIG_NF_TABLES_INET=y, as root"
    needed_by = "the implementations userspace and userspace-tcp outside the simulator, testbed endpoint"
    return _tried("attached endpoints", needed_by, remedy, probe)


def realtime() -> Feature:
    """Whether the relay may run before everything else."""

    def probe() -> str:
        with ThreadPoolExecutor(1) as helper:  # it is granted to a thread, which then ends
            helper.submit(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)).result()
        return "SCHED_FIFO was granted"

    remedy = "run as root; in a container allow CAP_SYS_NICE and set a real-time budget"
    return _tried("real-time scheduling", "punctual releases of the relay under load", remedy, probe)


def tbf() -> Feature:
    """The token bucket filter."""
    rate = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, 125_000)  # Ethernet framing, 1 Mbit/s in bytes
    options = rate + bytes(len(rate)) + struct.pack("=III", 100_000, 100_000, 0)  # no peak rate; limit, buffer, mtu
    parameters = netlink.attribute(1, options) + netlink.u32(6, 10_000)  # TCA_TBF_PARMS, TCA_TBF_BURST
    return _qdisc("tbf", parameters, "rate-only links in the kernel", "boot a kernel with CONFIG_NET_SCH_TBF")


def netem() -> Feature:
    """The network emulator."""
    options = struct.pack("=6I", 0, 1000, 0, 0, 0, 0)
    remedy = "boot a kernel with CONFIG_NET_SCH_NETEM (most distributions'); the relay does the same without it"
    return _qdisc("netem", options, "links realised by the kernel", remedy)


def bridge() -> Feature:
    """A bridge between two interfaces."""

    def probe() -> str:
        with Netlink() as connection:
            connection.send([rtnetlink.new_bridge("bridge0", 10)])
        return "a bridge was made"

    remedy = "boot a kernel with CONFIG_BRIDGE"
    return _tried("bridge", "links realised by the kernel", remedy, lambda: _in_namespace(probe))


def kernel_ledger() -> Feature:
    """Whether the kernel lets us see what its option writer went by: its BPF program is loaded and attached."""

    def probe() -> str:
        from testbed.orchestrator.collectors import kernel_ledger as collector

        return collector.probe()

    needed_by = "the option ledger of kernel endpoints (ledger=true); without it, that of captures"
    remedy = "run as root on Linux 5.8 or later with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF; nothing to install"
    return _tried("kernel ledger", needed_by, remedy, probe)


def mininet() -> Feature:
    """The Python package; its import is not tried here, for it takes a sixth of a second."""
    found = importlib.util.find_spec("mininet") is not None
    distutils = importlib.util.find_spec("distutils") is not None or importlib.util.find_spec("setuptools") is not None
    missing = "the package mininet is not installed" if not found else "mininet needs distutils, which is not there"
    return Feature(
        name="Mininet",
        available=found and distutils,
        detail="the package is installed" if found and distutils else missing,
        needed_by="the Mininet objects of a lab (net, CLI)",
        remedy="pip install mininet==2.3.0.dev6 setuptools",
    )


def tool(name: str) -> Feature:
    """A program in PATH or in the system directories that a user's PATH may lack."""
    needed_by, remedy = TOOLS[name]
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(name, path=f"{path}{os.pathsep}/usr/sbin{os.pathsep}/sbin")
    return Feature(
        name=name, available=found is not None, detail=found or "not installed", needed_by=needed_by, remedy=remedy
    )


class _NobodyCanAsk(Unsupported):
    """The answer needs privileges that we lack: it is not no."""


def _tried(name: str, needed_by: str, remedy: str, probe: Callable[[], str]) -> Feature:
    try:
        detail = probe()
    except _NobodyCanAsk as error:
        return Feature(name=name, available=False, detail=str(error), needed_by=needed_by, remedy="ask again as root")
    except (OSError, TestbedError) as error:
        return Feature(name=name, available=False, detail=str(error), needed_by=needed_by, remedy=remedy)
    return Feature(name=name, available=True, detail=detail, needed_by=needed_by, remedy=remedy)


def _in_namespace(probe: Callable[[], str]) -> str:
    if os.geteuid() != 0:
        raise _NobodyCanAsk(_WITHOUT_ROOT)
    return _in_new_namespace(probe)


def _in_new_namespace(probe: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    fds = namespaces.make_namespaces(1)
    try:
        with namespaces.inside(fds[0]):
            return probe(*args, **kwargs)
    finally:
        namespaces.close_all(fds)


def _qdisc(kind: str, options: bytes, needed_by: str, remedy: str) -> Feature:
    """Put the qdisc on the loopback of a namespace of its own. ENOENT: the kernel does not know the kind."""

    def probe() -> str:
        body = struct.pack("=BBHiIII", 0, 0, 0, _LOOPBACK, 0x10000, TC_H_ROOT, 0)
        body += netlink.text(TCA_KIND, kind) + netlink.attribute(TCA_OPTIONS, options)
        flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
        with Netlink() as connection:
            try:
                connection.send([Message(RTM_NEWQDISC, flags, body, f"tc qdisc add dev lo root {kind}")])
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
                raise Unsupported(f"the kernel does not know the qdisc {kind}") from None
        return "the qdisc was attached to a loopback"

    return _tried(kind, needed_by, remedy, lambda: _in_namespace(probe))


def netem_seed() -> Feature:
    """Whether netem holds the seed that it is given: tc may know none, and an older kernel ignores what tc gives it."""

    def probe() -> str:
        process.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "1%", "seed", str(_SEED)])
        held = held_seed(process.run(["tc", "-j", "qdisc", "show", "dev", "lo"]))
        if held != _SEED:
            raise Unsupported("tc takes a seed and the kernel ignores it")
        return "a seed was given and read back"

    remedy = "boot Linux 6.7 or later with iproute2 6.8 or later; the relay's chance has a seed everywhere"
    return _tried("netem seed", "losses by netem that can be repeated", remedy, lambda: _in_namespace(probe))
