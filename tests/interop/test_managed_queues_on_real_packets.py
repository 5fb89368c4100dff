"""Managed queues in the relay: kernels believe the marks, lose what is dropped, and everything is accounted for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from emulation_lab import Lab, stream
from test_middleboxes_on_real_packets import MS, SEED, STRANGERS, counters, sent_through

from testbed.emulation.protocol import DirectionReport, LinkConfiguration
from testbed.wire.segment import ACK, ECN_CE, Segment
from topologies.link_profile import LinkProfile
from topologies.link_text import parse_queue

pytestmark = [pytest.mark.needs_root]


def configuration(queue: str, rate_bit_s: int) -> LinkConfiguration:
    return LinkConfiguration(
        name="path1",
        seed=SEED,
        a_interface="a1",
        b_interface="b1",
        forward=LinkProfile(rate_bit_s=rate_bit_s, queue=parse_queue(queue), delay_ns=10 * MS),
        backward=LinkProfile(delay_ns=10 * MS),
    )


def conserved(report: DirectionReport) -> bool:
    drops = report.dropped_loss + report.dropped_overflow + report.dropped_outage
    return report.arrived_packets == report.delivered_packets + report.in_flight_packets + drops


@pytest.mark.parametrize(
    ("family", "offloads", "queue"),
    [
        (socket.AF_INET, False, "codel 2ms 20ms"),
        (socket.AF_INET6, True, "codel 2ms 20ms"),
        (socket.AF_INET, True, "fq_codel 2ms 20ms"),
    ],
    ids=["ipv4", "ipv6-super-segments", "fq_codel-super-segments"],
)
def test_a_kernel_with_ecn_sees_marks_and_loses_nothing(
    family: socket.AddressFamily, offloads: bool, queue: str
) -> None:
    with Lab(1, offloads=offloads) as lab:
        for host in (lab.a, lab.b):
            with lab.inside(host):
                Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1")
        process = lab.relay([configuration(f"{queue} ecn", 20_000_000)])
        process.start()
        sent, received = stream(lab, 2_500_000, family)
        report = process.report().link("path1").forward
        client, server = counters(lab, lab.a), counters(lab, lab.b)
    assert received == sent
    assert (report.super_segments > 0) == offloads
    assert report.marked_ce > 0
    assert server["IpExtInCEPkts" if family == socket.AF_INET else "Ip6InCEPkts"] == report.marked_ce
    assert client["TcpExtTCPDeliveredCE"] > 0
    assert report.dropped_overflow == client["TcpRetransSegs"] == 0
    assert conserved(report)


@pytest.mark.parametrize("queue", ["codel 2ms 20ms ecn", "pie 2ms", "red 5packets 15packets 10% weight 5%"])
def test_a_kernel_without_ecn_repeats_what_the_queue_drops(queue: str) -> None:
    with Lab(1) as lab:
        process = lab.relay([configuration(queue, 20_000_000)])
        process.start()
        sent, received = stream(lab, 2_500_000)
        report = process.report().link("path1").forward
        client = counters(lab, lab.a)
    assert received == sent
    assert report.marked_ce == 0
    assert 0 < report.dropped_overflow <= client["TcpRetransSegs"]
    assert report.queue_max_packets > 0
    assert conserved(report)


@pytest.mark.parametrize("family", [4, 6])
def test_marked_packets_are_whole_and_as_late_as_the_line_makes_them(family: int) -> None:
    packets = [Segment(*STRANGERS[family], n, 1, ACK, 100, (), b"%0400d" % n, ecn=1 + n % 2) for n in range(80)]
    with Lab(1) as lab:
        process = lab.relay([configuration("codel 1ms 20ms ecn", 1_000_000)])  # about 3.7 ms each, sent 2 ms apart
        process.start()
        came = sent_through(lab, packets)
        report = process.report().link("path1").forward
    assert [(segment.seq, segment.payload) for _, segment in came] == [(each.seq, each.payload) for each in packets]
    marked = [segment.seq for _, segment in came if segment.ecn == ECN_CE]
    assert len(marked) == report.marked_ce > 2
    assert marked[0] > 5, "not before they had waited too long for an interval"
    assert all(segment.ecn in (ECN_CE, 1 + segment.seq % 2) for _, segment in came)
    assert came[-1][0] > 80 * 3.6
