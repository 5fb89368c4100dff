"""Whatever segments a peer sends, an MPTCP connection stays legal or is closed, and its memory stays bounded."""

from __future__ import annotations

from data_peer import DataPeer, part
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.mptcp.closing import DataState
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.profiles import RECEIVERS
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.wire.options import AddAddr, Dss, MpCapable, MpFail, MpFastclose, MpJoin, MpPrio, MpTcprst, RemoveAddr
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment

BUFFER = 20_000

near = st.one_of(st.integers(-40, 3000), st.integers(0, 2**32 - 1))
octets = st.sampled_from([4, 8])
optional = st.one_of(st.none(), near)


def _dss(peer: DataPeer) -> st.SearchStrategy[Dss]:
    return st.builds(
        lambda ack, ack_octets, dsn, dsn_octets, ssn, length, checksum, fin: Dss(
            None if ack is None else (peer.host_dsn(0) + ack) & (2 ** (8 * ack_octets) - 1),
            ack_octets,
            None if dsn is None else (peer.dsn(0) + dsn) & (2 ** (8 * dsn_octets) - 1),
            dsn_octets,
            ssn & 0xFFFFFFFF,
            length,
            checksum,
            fin and dsn is not None,
        ),
        optional,
        octets,
        optional,
        octets,
        near,
        st.one_of(st.integers(0, 2000), st.integers(0, 65535)),
        st.one_of(st.none(), st.none(), st.integers(0, 65535)),
        st.booleans(),
    )


def _others(peer: DataPeer) -> st.SearchStrategy[object]:
    key = st.sampled_from([peer.host_key, 12345])
    four = st.binary(min_size=4, max_size=4)
    return st.one_of(
        st.builds(MpFail, st.integers(0, 2**64 - 1)),
        st.builds(MpFastclose, st.sampled_from([1, 2, peer.host_key ^ 1])),
        st.builds(MpTcprst, st.integers(0, 255), st.booleans()),
        st.builds(MpPrio, st.booleans()),
        st.builds(RemoveAddr, st.lists(st.integers(0, 255), min_size=1, max_size=4).map(tuple)),
        st.builds(
            AddAddr,
            st.integers(0, 255),
            four,
            st.none(),
            st.binary(min_size=8, max_size=8),
        ),
        st.builds(lambda one, other, length: MpCapable(1, one, other, length), key, key, st.integers(0, 3000)),
        st.builds(MpJoin, hmac=st.binary(min_size=20, max_size=20)),
    )


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(sorted(RECEIVERS)), st.booleans(), st.integers(0, 1))
def test_any_segments_leave_a_legal_state_and_bounded_memory(
    data: st.DataObject, receiver: str, checksum: bool, joins: int
) -> None:
    parameters = Parameters(
        rules=RECEIVERS[receiver],
        checksum=checksum,
        receive_buffer=BUFFER,
        send_buffer=BUFFER,
        tcp=TcpParameters(out_of_order_limit=50),
    )
    peer = DataPeer(parameters, joins=joins)
    peer.connection.send(b"s" * 3000, peer.bench.now)
    dss, others = _dss(peer), _others(peer)
    read = 0

    for _ in range(data.draw(st.integers(1, 25))):
        flow = peer.flows[data.draw(st.integers(0, joins))]
        options = data.draw(st.lists(st.one_of(dss, dss, others), max_size=2))
        flags = data.draw(st.sampled_from([ACK, ACK, ACK, ACK | PSH, ACK | FIN, ACK | URG, RST, SYN, 0]))
        seq = (flow.seq + data.draw(st.sampled_from([0, 0, 0, -100, 700, 1 << 30]))) & 0xFFFFFFFF
        length = data.draw(st.integers(0, 1400))
        body = part(data.draw(st.integers(0, 5000)), length)
        window = data.draw(st.sampled_from([0, 500, 65535]))
        segment = Segment(flow.own, flow.other, seq, flow.ack, flags, window, tuple(options), body)
        flow.hear(peer.bench.deliver(segment))
        if seq == flow.seq and data.draw(st.booleans()):
            flow.seq = (flow.seq + segment.seq_length) & 0xFFFFFFFF
        if data.draw(st.integers(0, 5)) == 0:
            peer.bench.wait(data.draw(st.integers(0, 5_000_000_000)))
        if data.draw(st.booleans()):
            read += len(peer.connection.receive(2000))

        connection = peer.connection
        queue = connection.receive_queue
        assert connection.closing.state in DataState
        assert queue.ready_octets + queue.out_of_order_octets <= 2 * BUFFER
        assert len(queue.out_of_order) <= 50
        for subflow in connection.subflows:
            assert subflow.unmapped.octets <= 2 * BUFFER
            assert len(subflow.incoming.items) <= subflow.incoming.limit
        assert connection.send_queue.held <= connection.send_queue.capacity
    peer.bench.wait(2_000_000_000)
