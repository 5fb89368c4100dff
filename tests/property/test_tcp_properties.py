"""TCP over anything: what is delivered is what was sent, and no segment makes an illegal state."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcp_pair import CLIENT, MS, SECOND, SERVER, Pair, make, random_fate

from testbed.tcp.fast_open import FastOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import TRANSITIONS, State
from testbed.wire.options import (
    NOP,
    MaximumSegmentSize,
    Option,
    Sack,
    SackPermitted,
    Timestamps,
    WindowScale,
)
from testbed.wire.options import (
    FastOpen as FastOpenOption,
)
from testbed.wire.segment import ACK, SYN, Segment

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

parameters = st.builds(
    Parameters,
    mtu=st.sampled_from([576, 1280, 1500, 9000]),
    timestamps=st.booleans(),
    sack=st.booleans(),
    dsack=st.booleans(),
    window_scaling=st.booleans(),
    ecn=st.booleans(),
    fast_open=st.booleans(),
    nagle=st.booleans(),
    delayed_ack_ns=st.sampled_from([0, 40 * MS, 200 * MS]),
    recovery=st.sampled_from(["rack", "rfc6675", "newreno"]),
    prr=st.booleans(),
    limited_transmit=st.booleans(),
    frto=st.booleans(),
    tail_loss_probe=st.booleans(),
    send_buffer=st.sampled_from([3000, 50_000, 1 << 20]),
    receive_buffer=st.sampled_from([2000, 40_000, 1 << 20]),
    super_segment=st.sampled_from([0, 65_000]),
    out_of_order_limit=st.sampled_from([2, 4096]),
)


@QUICK
@given(
    client=parameters,
    server=parameters,
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    reorder=st.sampled_from([0.0, 0.05, 0.5]),
    duplicate=st.sampled_from([0.0, 0.1]),
    up=st.integers(0, 60_000),
    down=st.integers(0, 60_000),
    v6=st.booleans(),
    early=st.booleans(),
)
def test_what_arrives_is_what_was_sent(
    client: Parameters,
    server: Parameters,
    seed: int,
    loss: float,
    reorder: float,
    duplicate: float,
    up: int,
    down: int,
    v6: bool,
    early: bool,
) -> None:
    hosts = FastOpen(b"client" * 6), FastOpen(b"server" * 6)
    pair = Pair(
        client,
        server,
        fate=random_fate(seed, loss, reorder, duplicate),
        v6=v6,
        isn=random.Random(seed).getrandbits(32),
        client_fast_open=hosts[0],
        server_fast_open=hosts[1],
    )
    hosts[0].remember(pair.server.local.host, hosts[1].cookie_for(pair.client.local.host), 500)
    data = random.Random(seed + 1).randbytes(up + down)
    if early:
        pair.client.open(0) if not client.fast_open else None
        pair.send_all(pair.client, data[:up])
    if not early or client.fast_open:
        pair.client.open(0)
    pair.run(until=200 * SECOND, stop=lambda: min(pair.server.state, pair.client.state) >= State.ESTABLISHED)
    if min(pair.server.state, pair.client.state) < State.ESTABLISHED:
        assert loss > 0
        return
    pair.send_all(pair.client, b"" if early else data[:up], close=True)
    pair.send_all(pair.server, data[up:], close=True)
    pair.run(until=20_000 * SECOND)

    assert bytes(pair.received[pair.server]) == data[:up]
    assert bytes(pair.received[pair.client]) == data[up:]
    assert pair.client.state is State.CLOSED and pair.server.state is State.CLOSED


options = st.one_of(
    st.just(NOP),
    st.builds(MaximumSegmentSize, st.integers(0, 65535)),
    st.builds(WindowScale, st.integers(0, 255)),
    st.just(SackPermitted()),
    st.builds(Timestamps, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)),
    st.builds(FastOpenOption, st.binary(max_size=16)),
    st.builds(
        Sack,
        st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)), max_size=4).map(
            lambda blocks: tuple(blocks)
        ),
    ),
)
near = st.one_of(st.integers(-4, 4), st.integers(-70_000, 70_000), st.integers(0, 0xFFFFFFFF))


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[object, ...]]:
    step = st.one_of(
        st.tuples(
            st.just("segment"),
            near,
            near,
            st.integers(0, 255),
            st.integers(0, 65535),
            st.lists(options, max_size=3),
            st.integers(0, 3000),
            st.integers(0, 3),
        ),
        st.tuples(st.just("send"), st.integers(0, 5000)),
        st.tuples(st.just("wait"), st.integers(0, 500 * SECOND)),
        st.tuples(st.just("receive"), st.integers(0, 5000)),
        st.sampled_from([("close",), ("close-both",), ("abort",), ("probe",), ("ack",)]),
    )
    return draw(st.lists(step, max_size=30))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(parameters=parameters, script=scripts(), opening=st.sampled_from(["active", "passive", "established"]))
def test_any_sequence_of_segments_and_calls_leaves_a_legal_state(
    parameters: Parameters, script: list[tuple[object, ...]], opening: str
) -> None:
    tcp = make(CLIENT, SERVER, parameters, fast_open=FastOpen(b"x" * 32))
    now = 0
    if opening == "passive":
        tcp.accept_syn(Segment(SERVER, CLIENT, 77, 0, SYN, 1000, (Timestamps(5, 0), SackPermitted())), now)
    else:
        tcp.open(now)
        tcp.segments_to_send(now)
        if opening == "established":
            tcp.segment_arrives(Segment(SERVER, CLIENT, 77, tcp.iss + 1, SYN | ACK, 9000, (Timestamps(5, 0),)), now)
            assert tcp.state is State.ESTABLISHED
    for name, *arguments in script:
        before = tcp.state
        una = tcp.snd_una
        if name == "segment":
            seq, ack, flags, window, chosen, octets, ecn = arguments
            assert isinstance(seq, int) and isinstance(ack, int) and isinstance(flags, int)
            assert isinstance(window, int) and isinstance(octets, int) and isinstance(ecn, int)
            tcp.segment_arrives(
                Segment(
                    SERVER,
                    CLIENT,
                    (tcp.rcv_wire + seq) & 0xFFFFFFFF,
                    (tcp.iss + tcp.snd_nxt + ack) & 0xFFFFFFFF,
                    flags,
                    window,
                    tuple(option for option in chosen if isinstance(option, Option)),  # type: ignore[attr-defined]
                    bytes(octets),
                    window & 0xFF,
                    ecn,
                ),
                now,
            )
        elif name == "send" and before in (State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT):
            if tcp.fin_offset < 0:
                tcp.send(bytes(int(str(arguments[0]))), now)
        elif name == "wait":
            now += int(str(arguments[0]))
            tcp.handle_timeout(now)
        elif name == "receive":
            tcp.receive(int(str(arguments[0])))
        elif name == "close":
            tcp.close(now)
        elif name == "close-both":
            tcp.close(now, reading=False)
        elif name == "abort":
            tcp.abort(now)
        elif name == "probe":
            tcp.probe(now)
        elif name == "ack":
            tcp.ack_now()
        for _ in range(10_000):
            segments = tcp.segments_to_send(now)
            if not segments:
                break
            for segment in segments:
                assert sum(option.size for option in segment.options) <= 40
                assert segment.gso_octets or len(segment.payload) <= parameters.mtu - 40
        else:
            raise AssertionError("it never stops sending")
        assert tcp.state is before or _reachable(before, tcp.state)
        assert una <= tcp.snd_una <= tcp.snd_nxt
        assert tcp.queue.waiting <= parameters.out_of_order_limit + 1
        due = tcp.next_timeout()
        assert due is None or tcp.state is not State.CLOSED


def _reachable(before: State, after: State) -> bool:
    """Several steps of the table may be taken by one segment (its ACK, its FIN)."""
    seen = {before}
    for _ in range(3):
        seen |= {target for state in seen for target in TRANSITIONS[state]}
    return after in seen
