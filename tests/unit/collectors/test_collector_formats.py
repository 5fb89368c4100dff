from __future__ import annotations

from pathlib import Path

import pytest

from testbed.orchestrator.collectors.capture import command, counts, file_name
from testbed.orchestrator.collectors.counters import named_lines, paired_lines, read_counters
from testbed.orchestrator.collectors.host import HostLoadCollector, read_processor_ticks, shares
from testbed.orchestrator.collectors.kernel_log import KernelLogCollector, parse_record
from testbed.orchestrator.collectors.qdisc import qdisc_counters


def test_counters_have_nstats_names() -> None:
    text = "TcpExt: A B\nTcpExt: 1 2\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 3\nUdp: X\nUdp: 9\nTcp: MaxConn\nTcp: -1\n"
    assert paired_lines(text) == {"TcpExtA": 1, "TcpExtB": 2, "MPTcpExtMPCapableSYNRX": 3, "TcpMaxConn": -1}


@pytest.mark.parametrize("text", ["Tcp: A B\nTcp: 1\n", "Tcp: A\nUdp: 1\n", "Tcp: A\n"])
def test_counters_that_do_not_pair_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"followed|shorter"):
        paired_lines(text)


def test_of_snmp6_only_ip6_is_kept() -> None:
    assert named_lines("Ip6InReceives   \t7\nUdp6InErrors 1\n") == {"Ip6InReceives": 7}


def test_this_kernels_own_counters_can_be_read() -> None:
    counters = read_counters()
    assert "TcpActiveOpens" in counters
    assert any(name.startswith("TcpExt") for name in counters)


def test_shares_of_processor_time() -> None:
    before = read_processor_ticks("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n")
    after = read_processor_ticks("cpu  130 0 110 840 10 0 0 10 0 0\n")
    assert shares(before, after) == {"cpu_busy": 0.5, "cpu_steal": 0.1}


def test_no_share_without_a_tick_and_none_above_one() -> None:
    ticks = read_processor_ticks("cpu  1 2 3 4 5 6 7 8")
    assert shares(ticks, ticks) == {}
    backwards = {**ticks, "iowait": 4, "user": 3}
    assert shares(ticks, backwards) == {"cpu_busy": 1.0, "cpu_steal": 0.0}


def test_a_record_of_the_kernel_log() -> None:
    message = parse_record("12,345,2000,-;MPTCP: something\n SUBSYSTEM=net\n", t0_ns=500_000)
    assert (message.time_ns, message.level, message.text) == (1_500_000, 4, "MPTCP: something")


def test_a_kernel_log_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    collector = KernelLogCollector(str(tmp_path / "none"))
    collector.start(0)
    assert "cannot be read" in collector.reason
    assert collector.stop() == []


def test_a_log_is_read_from_its_end_at_the_start(tmp_path: Path) -> None:
    device = tmp_path / "kmsg"
    device.write_text("6,1,1,-;before\n")
    collector = KernelLogCollector(str(device))
    collector.start(0)
    with device.open("a") as log:
        log.write("6,2,2,-;during\n")
    assert [message.text for message in collector.stop()] == ["during"]


def test_tcpdumps_last_words() -> None:
    text = "16346 packets captured\n16350 packets received by filter\n4 packets dropped by kernel\n"
    assert counts(f"tcpdump: listening on x\n{text}") == (16346, 4)
    assert counts("1 packet captured\n1 packet received by filter\n0 packets dropped by kernel") == (1, 0)
    with pytest.raises(ValueError, match="without its counts"):
        counts("tcpdump: killed")


def test_a_capture_takes_headers_only_and_names_its_file_by_node_and_interface() -> None:
    words = command("eth0", Path("a.pcap"), "tcp port 5001")
    assert words[words.index("-s") + 1] == "160"
    assert words[-1] == "tcp port 5001"
    assert file_name("client", "client-eth0") == "client-eth0.pcap"
    assert file_name("client", "eth0") == "client-eth0.pcap"


def test_counters_of_queueing_disciplines_are_named_by_interface_kind_and_handle() -> None:
    shown = [
        {"kind": "noqueue", "handle": "0:", "dev": "lo", "root": True},
        {
            "kind": "tbf",
            "handle": "1:",
            "dev": "r1-eth1",
            "root": True,
            "bytes": 5,
            "packets": 2,
            "drops": 1,
            "qlen": 0,
        },
    ]
    assert qdisc_counters(shown) == {
        "qdisc.r1-eth1.tbf.1:.bytes": 5,
        "qdisc.r1-eth1.tbf.1:.packets": 2,
        "qdisc.r1-eth1.tbf.1:.drops": 1,
        "qdisc.r1-eth1.tbf.1:.qlen": 0,
    }


def test_load_is_sampled_until_the_end() -> None:
    collector = HostLoadCollector(1_000_000)
    collector.start(0)
    rows = collector.stop()
    assert {row[2] for row in rows} >= {"load_1min"}
    assert all(row[1] == "machine" and row[5].startswith("/proc/") for row in rows)
