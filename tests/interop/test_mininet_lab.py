"""Labs on this kernel: what they contain, what passes through them, what is left of them."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Literal

import pytest

from testbed.orchestrator import namespaces, offloads, rtnetlink
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.emulator import Relay
from testbed.orchestrator.errors import CommandFailed, NotReady, Unsupported
from testbed.orchestrator.isolation import StopRequested
from testbed.orchestrator.netlink import SO_RCVBUFFORCE, Netlink, NetlinkError
from testbed.orchestrator.network_plan import EMULATOR, NetworkSettings, plan_network
from testbed.orchestrator.readiness import wait_until
from testbed.orchestrator.run_identity import new_run_id, start_ticks
from topologies import catalog
from topologies.link_profile import LinkProfile, QueueLimit, RandomLoss
from topologies.model import Family, Topology
from topologies.two_path import two_path

pytestmark = pytest.mark.needs_root

WIRE = LinkProfile()
QUICK = LinkProfile(rate_bit_s=50_000_000, delay_ns=1_000_000)
RELAY = NetworkSettings(realisation="relay")


def lab_of(topology: Topology, settings: NetworkSettings | None = None) -> MininetLab:
    return MininetLab(plan_network(topology, settings), run_id=new_run_id())


def here() -> tuple[int, set[str]]:
    """The namespace of this thread and the interfaces in it."""
    with Netlink() as connection:
        return Path(namespaces.CURRENT_NET).stat().st_ino, {each.name for each in rtnetlink.interfaces(connection)}


def connected(lab: MininetLab, path_name: str) -> tuple[socket.socket, socket.socket]:
    """A TCP connection over the named path: the client's socket and the server's."""
    path = lab.plan.topology.path(path_name)
    remote = lab.address("server", path.links[-1])
    with lab.inside("server"):
        listener = socket.create_server((remote, 5001))
    with lab.inside("client"):
        client = socket.create_connection((remote, 5001), 20, (lab.address("client", path.links[0]), 0))
    with listener:
        return client, listener.accept()[0]


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("families", [(4,), (6,), (4, 6)])
def test_each_path_passes_packets_of_full_size(families: tuple[Family, ...]) -> None:
    with lab_of(two_path(QUICK, QUICK, families), RELAY) as lab:
        assert lab.check() == ()
        assert lab.relay is not None
        for link in lab.relay.report().links:
            assert link.forward.delivered_packets >= len(families)


@pytest.mark.parametrize("name", ["three_path", "shared_bottleneck", "dual_homed_server", "fat_tree", "simult_flows"])
def test_the_catalogues_networks_stand_and_pass_packets(name: str) -> None:
    with lab_of(catalog.build(name), RELAY) as lab:
        assert lab.check() == ()


def test_losses_on_purpose_are_no_finding() -> None:
    lossy = LinkProfile(delay_ns=1_000_000, loss=RandomLoss(0.3))
    dark = LinkProfile(loss=RandomLoss(1.0))
    with lab_of(two_path(lossy, dark), RELAY) as lab:
        assert lab.check() == ()


def test_leaving_gives_back_everything_also_after_an_exception() -> None:
    before, fds = here(), open_files()
    with pytest.raises(RuntimeError, match="on purpose"), lab_of(two_path(QUICK, QUICK), RELAY) as lab:
        child = lab.start("client", ["sleep", "1000"])
        shell = lab.net["client"].pid
        raise RuntimeError("on purpose")
    assert start_ticks(child.pid) is None
    assert start_ticks(shell) is None
    assert here() == before
    assert open_files() == fds


def test_a_failing_teardown_does_not_swallow_a_stop_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(relay: Relay) -> None:
        raise NotReady("the relay does not hang up")

    monkeypatch.setattr(Relay, "end", refuses)
    with pytest.raises(StopRequested) as caught, lab_of(two_path(QUICK, QUICK), RELAY) as lab:
        child = lab.start("client", ["sleep", "1000"])
        raise StopRequested("SIGINT arrived")
    assert "does not hang up" in "".join(caught.value.__notes__)
    assert start_ticks(child.pid) is None
    with pytest.raises(NotReady, match="does not hang up"), lab_of(two_path(QUICK, QUICK), RELAY):
        pass


def test_a_build_that_fails_leaves_nothing() -> None:
    before, fds = here(), open_files()
    settings = NetworkSettings(sysctls={"server": {"net.ipv4.tcp_congestion_control": "no-such"}})
    with pytest.raises(Unsupported, match="no-such"), lab_of(two_path(WIRE, WIRE), settings):
        pass
    settings = NetworkSettings(mtu_bytes=20)
    with pytest.raises(NetlinkError, match=r"ip link add client-eth0"), lab_of(two_path(WIRE, WIRE), settings):
        pass
    assert here() == before
    assert open_files() == fds


def test_two_labs_at_once_do_not_see_each_other() -> None:
    with lab_of(two_path(QUICK, QUICK), RELAY) as one, lab_of(two_path(QUICK, QUICK), RELAY) as other:
        assert namespaces.identity(one.namespace_fd("client")) != namespaces.identity(other.namespace_fd("client"))
        assert one.check() == other.check() == ()
        one.run("client", ["ip", "link", "set", "client-eth0", "down"])
        assert {finding.node for finding in one.check()} >= {"client"}
        assert other.check() == ()


def test_programs_run_inside_their_node_and_carry_the_runs_mark() -> None:
    with lab_of(two_path(WIRE, WIRE)) as lab:
        assert "10.0.1.1/24" in lab.run("client", ["ip", "-br", "address"])
        assert "10.0.2.1/24" in lab.run("r1", ["ip", "-br", "address"])
        script = "import os; print(os.environ['TESTBED_RUN_ID'])"
        assert lab.run("server", [sys.executable, "-c", script]).strip() == lab.run_id
        with pytest.raises(CommandFailed, match="in client ended with exit code"):
            lab.run("client", ["ip", "link", "show", "no-such-interface"])
        assert any(str(command).startswith("client: ip address add 10.0.1.1/24") for command in lab.commands)
        assert str(lab.commands[-1]) == "client: ip link show no-such-interface"


def test_names_and_addresses_can_be_asked_for() -> None:
    with lab_of(two_path(families=(4, 6)), RELAY) as lab:
        assert lab.interface("client", "access2") == "client-eth1"
        assert lab.address("server", "path2") == "10.0.4.2"
        assert lab.address("server", "path2", 6) == "fd00:4::2"


@pytest.mark.parametrize(("setting", "largest"), [("off", 1514), ("on", 65535)])
def test_packets_are_mtu_sized_unless_offloads_are_wanted(setting: Literal["on", "off"], largest: int) -> None:
    with lab_of(two_path(WIRE, WIRE), NetworkSettings(offloads=setting)) as lab:
        with lab.inside("r1"):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(0x0800))
            wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
            wire.bind(("r1-eth0", 0))
        client, server = connected(lab, "path1")
        with wire, client, server:
            received, sent = 0, 1 << 20
            sender = threading.Thread(target=client.sendall, args=(bytes(sent),))
            sender.start()
            while received < sent:
                received += len(server.recv(1 << 20))
            sender.join()
            sizes = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    sizes.append(len(wire.recv(1 << 17)))
    assert len(sizes) > 10
    assert 1514 <= max(sizes) <= largest
    assert (max(sizes) > 1514) == (setting == "on")


def test_finished_checksums_can_be_asked_for() -> None:
    with lab_of(two_path(WIRE, WIRE), NetworkSettings(tx_checksum=False)) as lab:
        with lab.inside("client"), offloads.control_socket() as control:
            assert not offloads.read(control, "client-eth0").tx
        assert lab.check() == ()


def test_a_rate_without_delay_is_realised_by_the_kernels_token_bucket() -> None:
    from testbed.orchestrator import features, netem

    qdiscs = features.qdiscs()
    if not qdiscs.tbf:
        pytest.skip("this kernel has no TBF")
    profile = LinkProfile(rate_bit_s=8_000_000, queue=QueueLimit(packets=40))
    plan = plan_network(two_path(profile, profile), qdiscs=qdiscs)
    with MininetLab(plan, run_id=new_run_id()) as lab:
        assert lab.relay is None
        assert lab.check() == ()
        for end in lab.plan.interfaces(EMULATOR):
            netem.check(end.name, profile, (), lab.run(EMULATOR, ["tc", "-j", "qdisc", "show", "dev", end.name]))


def test_a_killed_relay_is_noticed() -> None:
    with lab_of(two_path(QUICK, QUICK), RELAY) as lab:
        assert lab.relay is not None
        lab.relay.process.send_signal(signal.SIGKILL)
        wait_until(lambda: lab.relay and not lab.relay.is_running(), 10, "the relay to die")
        findings = lab.check()
        assert [finding.code for finding in findings] == ["relay", "path", "path"]


def test_mininet_objects_are_genuine() -> None:
    from mininet.net import Mininet
    from mininet.node import Host

    with lab_of(two_path(WIRE, QUICK), RELAY) as lab:
        net = lab.net
        assert isinstance(net, Mininet)
        client, router = net["client"], net["r1"]
        assert isinstance(client, Host)
        assert [host.name for host in net.hosts] == ["client", "server", "r1", "r2"]
        assert net[EMULATOR].name == EMULATOR
        assert client.shell is None
        assert client.cmd("echo $((6 * 7))").strip() == "42"
        assert client.IP() == "10.0.1.1"
        assert [str(interface) for interface in client.intfList()] == ["client-eth0", "client-eth1"]
        assert client.connectionsTo(router) == [(client.intf("client-eth0"), router.intf("r1-eth0"))]
        assert client.intf().isUp()
        assert client.MAC("client-eth0") in client.cmd("ip link show client-eth0")
        out, err, code = router.pexec("ip", "-br", "address")
        assert ("10.0.1.2/24" in out, err, code) == (True, "", 0)


def programs_of(pid: int) -> list[str]:
    """The names of a process's children, as soon as they are the programs that they were started as."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in children]


def test_a_command_of_a_mininet_host_is_interrupted() -> None:
    with lab_of(two_path(WIRE, QUICK), RELAY) as lab:
        client = lab.net["client"]
        client.sendCmd("sleep 1000")
        # an interrupt that came before would be the shell's
        wait_until(lambda: programs_of(client.pid) == ["sleep"], 10, "the shell to start the program")
        assert (client.monitor(timeoutms=50), client.waiting) == ("", True)
        client.sendInt()
        wait_until(lambda: client.monitor(timeoutms=50) is not None and not client.waiting, 10, "the prompt")
        assert client.cmd("echo again").strip() == "again"


def test_mininets_command_line_works_on_a_lab(tmp_path: Path) -> None:
    from mininet.cli import CLI
    from mininet.log import lg

    script = tmp_path / "commands"
    script.write_text("nodes\nnet\nclient echo hello to server\nlinks\nexit\n")
    with lab_of(two_path(WIRE, WIRE)) as lab, script.open() as stdin:
        heard = io.StringIO()
        handler = logging.StreamHandler(heard)
        lg.addHandler(handler)
        try:
            CLI(lab.net, stdin=stdin, script=str(script))
        finally:
            lg.removeHandler(handler)
    said = heard.getvalue().replace("\n", "")
    assert "client r1 r2 server" in said
    assert "hello to 10.0.2.2" in said  # names are replaced by addresses
    assert "client-eth0<->r1-eth0 (OK OK)" in said


def test_a_connection_crosses_the_network_in_both_directions() -> None:
    with lab_of(two_path(QUICK, QUICK), RELAY) as lab:
        client, server = connected(lab, "path2")
        with client, server:
            client.sendall(b"ping")
            assert server.recv(4) == b"ping"
            server.sendall(b"pong")
            assert client.recv(4) == b"pong"
