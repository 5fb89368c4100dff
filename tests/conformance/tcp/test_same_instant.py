"""T24: RACK where the clock stands still between a retransmission and the data around it (RFC 8985 §6.2)."""

from __future__ import annotations

from tcp_pair import MS, SECOND, Pair

from testbed.tcp.parameters import Parameters
from testbed.wire.segment import Segment


def test_t24_new_data_that_left_before_a_retransmission_at_the_same_instant_does_not_condemn_it() -> None:
    lost: set[int] = set()
    sent: list[int] = []

    def fate(segment: Segment, now: int) -> list[int]:
        if segment.payload and segment.destination.port == 80:
            sent.append(segment.seq)
            if len(sent) in (150, 300, 420) and segment.seq not in lost:
                lost.add(segment.seq)
                return []
        return [10 * MS]

    pair = Pair(Parameters(receive_buffer=4 << 20), fate=fate).connect()
    pair.send_all(pair.client, bytes(2_000_000))
    pair.run(until=10 * SECOND)

    assert len(pair.received[pair.server]) == 2_000_000
    assert len(lost) == 3
    assert pair.client.counters["TcpRetransSegs"] == 3
    assert pair.client.counters["TcpExtTCPDSACKRecv"] == 0
