"""How true the relay is to its links: ``python -m benchmarks.emulation [--quick] [--json]``, as root.

Prints one line per claim: the target, what was measured, and whether it was met. Kernel MPTCP (iperf3 by mptcpize, one
connection, two subflows) runs through two relayed links between network namespaces of this program's own.

Goodput is the receiver's, after two seconds of slow start, as a share of the ideal: rate x 1424 / 1514 (payload and
frame of a full MPTCP segment with timestamps and DSS). A little above 100 % is a queue that drains. Lateness is what
the relay recorded for each wire packet: handed to the interface minus due. The machine's own wake-up
lateness and load are printed beside it, because on a busy machine these numbers are about the machine.

The relay has a CPU of its own, and the hosts steer their packets to the others (:mod:`testbed.emulation.placement`):
without that, sending a frame runs the receiving host's stack on the relay's time.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from emulation_lab import Lab
from scipy import stats

from analysis.reordering import buffer_occupancy_density, n_reordering_degree, reorder_density, reordered_ratio
from testbed.emulation.placement import placement
from testbed.emulation.protocol import DirectionReport, LinkConfiguration, Report
from testbed.net.link import LinkDirection
from topologies.link_profile import (
    GilbertElliott,
    Jitter,
    LinkProfile,
    QueueLimit,
    RandomLoss,
    Reordering,
)

FRAME_BYTES = 1514
PAYLOAD_BYTES = 1424
MS = 10**6
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("=qq")


@dataclass(frozen=True, slots=True)
class Row:
    """One claim."""

    what: str
    target: str
    measured: str
    met: bool | None
    """None: information, without a target."""


def profile(rate_mbit_s: int, **impairments: Any) -> LinkProfile:
    """A link with a queue of 30 ms and a delay of 10 ms."""
    rate = rate_mbit_s * 10**6
    packets = max(20, rate * 30 // 1000 // 8 // FRAME_BYTES)
    base = LinkProfile(rate_bit_s=rate, queue=QueueLimit(packets=packets), delay_ns=10 * MS)
    return dataclasses.replace(base, **impairments)


def two_links(link: LinkProfile) -> list[LinkConfiguration]:
    """Two equal links, impaired in the direction of the data."""
    back = LinkProfile(rate_bit_s=link.rate_bit_s, queue=link.queue, delay_ns=link.delay_ns)
    return [
        LinkConfiguration(
            name=f"path{i}", seed=i, a_interface=f"a{i}", b_interface=f"b{i}", forward=link, backward=back
        )
        for i in (1, 2)
    ]


def mptcp(link: LinkProfile, offloads: bool, seconds: int) -> tuple[float, Report, Load]:
    """One MPTCP connection over two such links: (goodput bit/s, the relay's report, the machine's load)."""
    with Lab(links=2, offloads=offloads) as lab:
        for host in (lab.a, lab.b):
            lab.run(host, "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
            lab.run(host, "sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 33554432")
            lab.run(host, "sysctl", "-qw", "net.ipv4.tcp_wmem=4096 131072 33554432")
        lab.run(lab.b, "ip", "mptcp", "endpoint", "add", "10.77.2.2", "dev", "eth2", "signal")
        relay = lab.relay(two_links(link))
        server = lab.popen(lab.b, "mptcpize", "run", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
        wait_for_listener(lab, 5201)
        relay.start()
        load_since = machine_load()
        output = lab.run(lab.a, "mptcpize", "run", "iperf3", "-J", "-O", "2", "-t", str(seconds), "-c", "10.77.1.2")
        load = load_since()
        server.wait(20)
        report = relay.stop()
    received = json.loads(output)["end"]["sum_received"]["bits_per_second"]
    for path in report.links:
        if path.forward.arrived_packets < 100:
            raise RuntimeError(f"{path.name} carried nothing: the second subflow was not made")
    return float(received), report, load


def wait_for_listener(lab: Lab, port: int) -> None:
    """Until something listens on ``port`` of host b."""
    deadline = time.monotonic() + 5
    while not is_listening(lab, port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing listens on port {port} of host b after 5 s")
        time.sleep(0.01)


def is_listening(lab: Lab, port: int) -> bool:
    """Whether a TCP socket in state LISTEN (0A) has that port, by /proc/net/tcp and tcp6."""
    with lab.inside(lab.b):
        text = "".join(Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6"))
    sockets = [line.split() for line in text.splitlines()]
    return any(words[1].endswith(f":{port:04X}") and words[3] == "0A" for words in sockets)


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine did meanwhile, in cores."""

    busy: float
    stolen: float
    """Taken by the hypervisor."""


def machine_load() -> Callable[[], Load]:
    """Call the result later: the load of the whole machine since now."""
    begin, at = _cpu_seconds(), time.monotonic()

    def since() -> Load:
        seconds = time.monotonic() - at
        busy, stolen = (after - before for before, after in zip(begin, _cpu_seconds(), strict=True))
        return Load(busy / seconds, stolen / seconds)

    return since


def _cpu_seconds() -> tuple[float, float]:
    """(busy, stolen) CPU time over all cores."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4] - fields[7]) / ticks, fields[7] / ticks


def floor() -> Row:
    """How late an idle SCHED_FIFO process wakes up on the relay's CPU: no relay is more punctual than its machine."""
    sleeper = [sys.executable, "-c", _SLEEPER, str(placement(os.sched_getaffinity(0)).relay_cpu or 0)]
    late = sorted(json.loads(subprocess.run(sleeper, capture_output=True, text=True, check=True).stdout))
    p50, p99, p999 = (late[len(late) * per_mille // 1000] / 1000 for per_mille in (500, 990, 999))
    text = f"p50 {p50:.0f}  p99 {p99:.0f}  p99.9 {p999:.0f}  max {late[-1] / 1000:.0f} us"
    return Row("this machine, no relay: wake-up lateness", "-", text, None)


_SLEEPER = """
import json, select, sys, time
from testbed.emulation.realtime import become_punctual
become_punctual(True, int(sys.argv[1]))
late = []
for _ in range(4000):
    begin = time.monotonic_ns()
    select.select((), (), (), 0.0003)
    late.append(time.monotonic_ns() - begin - 300_000)
print(json.dumps(late))
"""


def worst(report: Report, name: str) -> float:
    """The worst of the directions, by a field of their reports."""
    return max(float(getattr(direction, name)) for direction in directions(report))


def directions(report: Report) -> list[DirectionReport]:
    """All of them."""
    return [direction for link in report.links for direction in (link.forward, link.backward)]


def mptcp_rows(
    title: str, link: LinkProfile, offloads: bool, seconds: int, goodput: float | None, p99_us: int | None
) -> list[Row]:
    """The rows of one MPTCP run; ``goodput`` is the share of the ideal to be reached. None: no target."""
    received, report, load = mptcp(link, offloads, seconds)
    ideal = 2 * (link.rate_bit_s or 0) * PAYLOAD_BYTES / FRAME_BYTES
    share = received / ideal
    p50, p99, p999, most = (worst(report, f"late_{name}_ns") / 1000 for name in ("p50", "p99", "p999", "max"))
    packets = sum(direction.delivered_packets for direction in directions(report))
    errors = [direction.rate_error for direction in directions(report) if direction.rate_error is not None]
    rows = [
        Row(
            f"{title}: goodput",
            "-" if goodput is None else f">= {goodput:.0%} of ideal",
            f"{share:.1%} ({received / 1e6:.1f} Mbit/s)",
            None if goodput is None else share >= goodput,
        ),
        Row(
            f"{title}: lateness p99",
            "-" if p99_us is None else f"<= {p99_us} us",
            f"p50 {p50:.0f}  p99 {p99:.0f}  p99.9 {p999:.0f}  max {most:.0f} us",
            None if p99_us is None else p99 <= p99_us,
        ),
        Row(
            f"{title}: relay",
            "-",
            f"{report.cpu_ns / 1e7 / (seconds + 2):.0f}% CPU, {report.cpu_ns / packets / 1000:.1f} us/packet, "
            f"{report.scheduler}, lost by relay {worst(report, 'socket_drops'):.0f}, "
            f"machine busy {load.busy:.1f} and stolen {load.stolen:.2f} cores",
            None,
        ),
    ]
    if errors:
        error = max(errors, key=abs)
        target = "-" if p99_us is None else "<= 0.1%"
        met = None if p99_us is None else abs(error) <= 0.001
        rows.append(Row(f"{title}: rate error", target, f"{error:+.4%}", met))
    lost = [direction for direction in directions(report) if direction.dropped_loss]
    if lost:
        share_lost = sum(d.dropped_loss for d in lost) / sum(d.arrived_packets for d in lost)
        reordered = sum(d.reordered for d in lost)
        rows.append(Row(f"{title}: impairments", "-", f"loss {share_lost:.3%}, reordered {reordered}", None))
    return rows


def udp_rate(rate_mbit_s: int, seconds: float) -> Row:
    """The rate that a receiver sees when 140 % are offered, by the kernel's receive stamps."""
    # Half a second of queue: a sender that is not scheduled for a while must not let the line run dry.
    link = profile(rate_mbit_s, queue=QueueLimit(packets=rate_mbit_s * 10**6 // 16 // FRAME_BYTES))
    with Lab() as lab:
        relay = lab.relay(two_links(link)[:1])
        with lab.inside(lab.b):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiver.bind(("10.77.1.2", 9000))
        relay.start()
        sender = lab.popen(lab.a, sys.executable, "-c", _SENDER, str(rate_mbit_s * 1_400_000), str(seconds))
        stamps = []
        receiver.settimeout(2)
        try:
            while True:
                _, ancillary, _, _ = receiver.recvmsg(2048, 64)
                whole, part = _TIMESPEC.unpack(ancillary[0][2])
                stamps.append(whole * 10**9 + part)
        except TimeoutError:
            pass
        sender.wait(5)
        receiver.close()
        relay.stop()
    skipped = len(stamps) // 10  # the queue fills first
    steady = stamps[skipped:-skipped]
    rate = (len(steady) - 1) * FRAME_BYTES * 8 * 1e9 / (steady[-1] - steady[0])
    error = rate / (rate_mbit_s * 1e6) - 1
    return Row(
        f"{rate_mbit_s} Mbit/s, 140% offered: rate at the receiver", "<= 0.1% off", f"{error:+.4%}", abs(error) <= 0.001
    )


def chance_rows(packets: int) -> list[Row]:
    """Bursts of loss and reordering that a receiver sees, at 2000 datagrams/s."""
    loss = GilbertElliott(0.02, 0.4)
    arrived, _ = numbered(LinkProfile(delay_ns=10 * MS, loss=loss), packets)
    there = set(arrived)
    runs = [(lost, len(list(group))) for lost, group in itertools.groupby(n not in there for n in range(max(there)))]
    bursts = [length for lost, length in runs if lost]
    most = 4
    observed = [sum(length == burst for burst in bursts) for length in range(1, most)]
    observed.append(len(bursts) - sum(observed))
    expected = [len(bursts) * (1 - loss.r) ** (length - 1) * loss.r for length in range(1, most)]
    expected.append(len(bursts) * (1 - loss.r) ** (most - 1))
    p_value = float(stats.chisquare(observed, expected).pvalue)
    share = 1 - len(there) / packets
    rows = [
        Row(
            "Gilbert-Elliott loss at the receiver: bursts",
            "chi-square p > 0.1%",
            f"p {p_value:.1%}, {len(bursts)} bursts; loss {share:.3%} of {loss.mean():.3%}",
            p_value > 0.001,
        )
    ]
    # A packet that skips 2.25 gaps of delay overtakes two: 2 of 20 are reordered (RFC 4737), one of them directly.
    reordering = LinkProfile(delay_ns=9 * MS // 8, reordering=Reordering(1.0, gap=20))
    arrived, late_ns = numbered(reordering, packets)
    in_model = 2 / 20
    ratio = reordered_ratio(arrived)
    density = reorder_density(arrived, 16, 0)
    rbd = buffer_occupancy_density(arrived, 16, 0)
    rows.append(
        Row(
            "every 20th skips 2 places: reordering (RFC 4737)",
            "ratio <= 1% off",
            f"ratio {ratio:.3%} of {in_model:.3%}, 1-reordered {n_reordering_degree(arrived, 1):.3%} of 5%",
            abs(ratio / in_model - 1) <= 0.01,
        )
    )
    text = "  ".join(f"RD[{place}] {density.get(place, 0.0):.3f}" for place in (-2, 0, 1))
    text += f"  RBD[1] {rbd.get(1, 0.0):.3f}"
    rows.append(Row("same (RFC 5236); model: 0.050 0.850 0.100 0.100", "-", text, None))
    in_order = sorted(late_ns)
    p50, p99 = (in_order[len(in_order) * percent // 100] / 1000 for percent in (50, 99))
    rows.append(
        Row("one-way delay at the receiver: error", "p99 <= 1000 us", f"p50 {p50:.0f}  p99 {p99:.0f} us", p99 <= 1000)
    )
    return rows


def numbered(link: LinkProfile, packets: int) -> tuple[list[int], list[int]]:
    """The numbers of the datagrams that came, in the order of their arrival; and of those that were not reordered by
    the link, by how many ns the delay from send call to receive stamp was longer than the link's."""
    back = LinkProfile(delay_ns=link.delay_ns)
    with Lab() as lab:
        relay = lab.relay(
            [LinkConfiguration(name="path1", seed=1, a_interface="a1", b_interface="b1", forward=link, backward=back)]
        )
        with lab.inside(lab.b):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiver.bind(("10.77.1.2", 9000))
        relay.start()
        sender = lab.popen(lab.a, sys.executable, "-c", _NUMBERER, str(packets))
        arrived, late_ns = [], []
        receiver.settimeout(2)
        try:
            while True:
                data, ancillary, _, _ = receiver.recvmsg(2048, 64)
                number, sent_ns = _NUMBERED.unpack(data)
                whole, part = _TIMESPEC.unpack(ancillary[0][2])
                arrived.append(number)
                took_ns = whole * 10**9 + part - sent_ns
                if took_ns > link.delay_ns // 2:
                    late_ns.append(took_ns - link.delay_ns)
        except TimeoutError:
            pass
        sender.wait(5)
        receiver.close()
        relay.stop()
    return arrived, late_ns


_NUMBERED = struct.Struct("=qq")
_NUMBERER = """
import socket, struct, sys, time
from testbed.emulation.realtime import become_punctual
become_punctual(False, None)
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("10.77.1.2", 9000))
begin = time.monotonic_ns()
for number in range(int(sys.argv[1])):
    due = begin + number * 500_000
    while (left := due - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)
    out.send(struct.pack("=qq", number, time.time_ns()))
"""


_SENDER = """
import socket, sys, time
rate, seconds = int(sys.argv[1]), float(sys.argv[2])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("10.77.1.2", 9000))
data = bytes(1472)
begin = time.monotonic()
sent = 0
while (now := time.monotonic()) < begin + seconds:
    while sent * 1514 * 8 < (now - begin) * rate:
        out.send(data)
        sent += 1
    time.sleep(0.0005)
"""


def model_cost() -> list[Row]:
    """CPU time of one call of the model."""
    base = profile(100)
    full = profile(
        100,
        loss=GilbertElliott(0.01, 0.3),
        jitter=Jitter(MS),
        reordering=Reordering(0.1),
        duplication=0.01,
        corruption=0.01,
    )
    rows = []
    for name, link, target in (
        ("rate, queue, delay", base, 1000),
        ("and iid loss", profile(100, loss=RandomLoss(0.01)), None),
        ("everything on", full, None),
    ):
        best = min(_call_ns(link) for _ in range(5))
        rows.append(
            Row(
                f"model, one packet: {name}",
                f"<= {target} ns" if target else "-",
                f"{best:.0f} ns",
                best <= target if target else None,
            )
        )
    return rows


def _call_ns(link: LinkProfile) -> float:
    arrives = LinkDirection(link, (), 1).arrives
    times = range(0, 50_000 * 121_120, 121_120)
    begin = time.process_time_ns()
    for now_ns in times:
        arrives(FRAME_BYTES, now_ns)
    return (time.process_time_ns() - begin) / len(times)


def measure(quick: bool) -> list[Row]:
    """All rows."""
    seconds = 3 if quick else 8
    impaired: dict[str, Any] = {"loss": RandomLoss(0.0001), "reordering": Reordering(0.001)}
    rows = [floor(), *model_cost()]
    rows += [udp_rate(rate, 2 if quick else 4) for rate in (10, 100)]
    rows += chance_rows(10_000 if quick else 30_000)
    rows += mptcp_rows("2 x 100 Mbit/s, per packet", profile(100), False, seconds, 0.99, 100)
    rows += mptcp_rows("2 x 500 Mbit/s, GSO", profile(500), True, seconds, 0.99, 250)
    rows += mptcp_rows("2 x 500 Mbit/s, GSO, loss + reordering", profile(500, **impaired), True, seconds, None, 250)
    rows.append(floor())
    if not quick:
        rows += mptcp_rows("2 x 1 Gbit/s, GSO (stretch)", profile(1000), True, seconds, 0.99, 250)
        rows += mptcp_rows("2 x 500 Mbit/s, per packet", profile(500), False, seconds, None, None)
    return rows


def main() -> int:
    """Run and print; exit code 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about 50 s instead of about 150")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("this makes network namespaces: run it as root", file=sys.stderr)
        return 4
    rows = measure(arguments.quick)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        wide = max(len(row.what) for row in rows)
        words = {True: "met", False: "MISSED", None: ""}
        for row in rows:
            print(f"{row.what:{wide}}  {row.target:18}  {words[row.met]:6}  {row.measured}")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
