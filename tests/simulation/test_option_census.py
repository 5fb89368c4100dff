"""The option sets that leave under the `linux` profile are those that were counted between two Linux 6.18 kernels.

Both ends two subflows, two-way unless said otherwise: which sets occur on data segments and on pure ACKs, their
octets, and the payload of a full segment. The kernels' counts are of other transfers; what is compared is which sets
there are.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.profiles import PROFILES
from testbed.wire.options import AddAddr, Dss, MpCapable, MpJoin, Sack
from testbed.wire.segment import ACK, SYN, Segment

OCTETS = 600_000


def run(
    *,
    timestamps: bool = True,
    checksum: bool = False,
    loss: float = 0.0,
    two_way: bool = True,
    ipv6: bool = False,
    profile: str = "linux",
) -> list[Segment]:
    """Everything that both ends sent."""
    base = PROFILES[profile]
    parameters = dataclasses.replace(
        base,
        checksum=checksum,
        path_manager="signal",
        tcp=dataclasses.replace(base.tcp, timestamps=timestamps),
    )
    paths = [Path(delay_ns=delay * MS, rate_bits=20_000_000, loss=loss) for delay in (10, 15)]
    hosts = TwoHosts(parameters, paths=paths, seed=7, ipv6=ipv6)
    client, server = hosts.connect()
    data = random.Random(1).randbytes(OCTETS)
    sent = {client: 0, server: OCTETS if not two_way else 0}
    received = {client: bytearray(), server: bytearray()}
    end = hosts.now + 60 * SECOND
    while len(received[server]) < OCTETS or (two_way and len(received[client]) < OCTETS):
        for each in (client, server):
            while sent[each] < OCTETS and (taken := each.send(data[sent[each] : sent[each] + 65536], hosts.now)):
                sent[each] += taken
            while piece := each.receive(1 << 20):
                received[each] += piece
        assert hosts.step(end)
    assert received[server] == data
    for each in (client, server):
        each.close(hosts.now)
    hosts.run(2 * SECOND)
    return hosts.sent()


def name(segment: Segment) -> str:
    """Such as ``TS+SACK1+DSS26 40``."""
    parts = []
    for option in segment.options:
        if option.kind == 8:
            parts.append("TS")
        elif isinstance(option, Sack):
            parts.append(f"SACK{len(option.blocks)}")
        elif isinstance(option, Dss):
            parts.append(f"DSS{option.size}" + ("F" if option.data_fin else ""))
        elif option.kind > 1:
            parts.append(type(option).__name__)
    return f"{'+'.join(parts)} {sum(option.size for option in segment.options)}"


def census(segments: list[Segment]) -> tuple[Counter[str], Counter[str]]:
    """Of data segments and of pure ACKs after the handshake that carry a DSS."""
    plain = [s for s in segments if s.dss is not None and not s.flags & SYN]
    return Counter(name(s) for s in plain if s.payload), Counter(name(s) for s in plain if not s.payload)


def biggest(segments: list[Segment], what: str) -> int:
    return max(len(s.payload) for s in segments if s.payload and name(s) == what)


def test_timestamps_without_loss() -> None:
    segments = run()
    data, acks = census(segments)

    assert set(data) <= {"TS+DSS26 40", "TS+DSS22 36"} and data["TS+DSS26 40"] > 0.8 * data.total()
    assert set(acks) <= {"TS+DSS12 24", "TS+DSS8 20", "TS+DSS26F 40"} and acks["TS+DSS12 24"] > 100
    assert acks["TS+DSS26F 40"]
    assert biggest(segments, "TS+DSS26 40") == 1420


def test_timestamps_with_loss_leave_no_sack_on_data_and_one_block_on_acks() -> None:
    data, acks = census(run(loss=0.02))

    assert not [each for each in data if "SACK" in each]
    assert acks["TS+SACK1+DSS12 36"] > 20
    assert not [each for each in acks if "SACK2" in each and "DSS12" in each]
    assert not [each for each in acks if "SACK" in each and "F" in each]


def test_without_timestamps_data_carries_one_block_and_acks_three() -> None:
    segments = run(timestamps=False, loss=0.02)
    data, acks = census(segments)

    assert data["SACK1+DSS26 40"] > 20 and data["DSS26 28"] > 20
    assert not [each for each in data if "SACK2" in each and "DSS26" in each]
    assert acks["SACK3+DSS12 40"] and not [each for each in acks if "SACK4" in each]
    assert biggest(segments, "DSS26 28") == 1432


def test_with_checksums_the_data_segment_is_as_full() -> None:
    data, acks = census(run(checksum=True, loss=0.02))

    assert data["TS+DSS28 40"] > 0.8 * data.total()
    assert acks["TS+DSS28F 40"]
    assert not [each for each in data if "SACK" in each]


def test_one_way_data_has_a_32_bit_data_ack_as_no_64_bit_dsn_was_received() -> None:
    segments = run(two_way=False, loss=0.01)
    data, acks = census(segments)

    assert data["TS+DSS22 36"] > 0.9 * data.total()
    assert acks["TS+DSS12 24"] and acks["TS+SACK1+DSS12 36"]
    assert biggest(segments, "TS+DSS22 36") == 1424


def test_over_ipv6_a_full_segment_has_20_octets_less() -> None:
    segments = run(ipv6=True)

    assert biggest(segments, "TS+DSS26 40") == 1400


@pytest.mark.parametrize(("ipv6", "octets"), [(False, 28), (True, 40)])
def test_the_handshakes_and_the_address(ipv6: bool, octets: int) -> None:
    segments = run(ipv6=ipv6)

    def first(kind: type, flags: int) -> int:
        found = next(s for s in segments if s.flags & (SYN | ACK) == flags and any(type(o) is kind for o in s.mptcp))
        return sum(option.size for option in found.options)

    assert (first(MpCapable, SYN), first(MpCapable, SYN | ACK), first(MpCapable, ACK)) == (24, 32, 32)
    assert (first(MpJoin, SYN), first(MpJoin, SYN | ACK), first(MpJoin, ACK)) == (32, 36, 36)
    address = next(s for s in segments for o in s.mptcp if isinstance(o, AddAddr) and not o.echo)
    echo = next(s for s in segments for o in s.mptcp if isinstance(o, AddAddr) and o.echo)
    assert sum(option.size for option in address.options) == octets and len(address.mptcp) == 1
    assert sum(option.size for option in echo.options) == (32 if ipv6 else 20) and len(echo.mptcp) == 1


def test_what_the_multipath_tcp_org_kernel_sends() -> None:
    data, acks = census(run(profile="mptcp.org", loss=0.02))

    assert data["TS+DSS18 32"] > 0.8 * data.total() and not [each for each in data if "SACK" in each]
    assert acks["TS+SACK2+DSS8 40"] and acks["TS+DSS8 20"]
