"""Middleboxes in the live relay, judged by the kernel's own MPTCP and its counters."""

from __future__ import annotations

import dataclasses

import pytest
from emulation_lab import Lab, RelayProcess, stream

from testbed.emulation.protocol import LinkConfiguration
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.middlebox import parse

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

IPPROTO_MPTCP = 262
SIZE = 300_000
LINE = LinkProfile(rate_bit_s=100 * 10**6, queue=QueueLimit(packets=1000), delay_ns=1_000_000)


def transfer(lab: Lab) -> tuple[str, str]:
    """SHA-256 of what a sent over MPTCP, and of what b received."""
    return stream(lab, SIZE, protocol=IPPROTO_MPTCP)


def counters(lab: Lab, host: str) -> dict[str, int]:
    lines = lab.run(host, "nstat", "-azs").splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith("MPTcpExt")}


@pytest.mark.parametrize("offloads", [True, False])
@pytest.mark.parametrize(
    ("forward", "backward", "client_says", "server_says"),
    [
        ("strip mptcp on syn", "none", "MPTcpExtMPCapableFallbackSYNACK", None),
        ("strip mptcp on syn close", "none", "MPTcpExtMPCapableFallbackSYNACK", None),
        ("none", "strip mptcp on syn-ack", "MPTcpExtMPCapableFallbackSYNACK", "MPTcpExtMPCapableFallbackACK"),
        ("strip mptcp on third-ack+data+ack", "none", None, "MPTcpExtMPCapableFallbackACK"),
    ],
)
def test_the_kernel_falls_back_where_the_option_is_taken_out(
    forward: str, backward: str, client_says: str | None, server_says: str | None, offloads: bool
) -> None:
    with Lab(1, offloads=offloads) as lab:
        relay(lab, forward, backward)
        sent, received = transfer(lab)
        client, server = counters(lab, lab.a), counters(lab, lab.b)
    assert received == sent
    for counted, name in ((client, client_says), (server, server_says)):
        if name is not None:
            assert counted[name] >= 1, {key: value for key, value in counted.items() if value}
    assert server["MPTcpExtMPCapableSYNRX"] == (0 if forward.startswith("strip mptcp on syn") else 1)


def test_only_the_packet_that_is_named_is_dropped() -> None:
    with Lab(1, offloads=False) as lab:
        process = relay(lab, "drop mptcp/mp_capable on syn nth 1", "strip sack-permitted on syn-ack")
        sent, received = transfer(lab)
        report = process.report().link("path1")
        client, server = counters(lab, lab.a), counters(lab, lab.b)
    assert received == sent
    assert (client["MPTcpExtMPCapableSYNTX"], server["MPTcpExtMPCapableSYNRX"]) == (1, 1)
    assert client["MPTcpExtMPCapableSYNACKRX"] == 1
    assert (report.forward.dropped_middlebox, report.forward.changed_middlebox) == (1, 0)
    assert (report.backward.dropped_middlebox, report.backward.changed_middlebox) == (0, 1)


def relay(lab: Lab, forward: str, backward: str) -> RelayProcess:
    forth, back = (dataclasses.replace(LINE, middleboxes=parse(text)) for text in (forward, backward))
    link = LinkConfiguration(name="path1", seed=1, a_interface="a1", b_interface="b1", forward=forth, backward=back)
    process = lab.relay([link])
    process.start()
    return process
