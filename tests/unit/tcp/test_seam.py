"""What a layer above may plug in, and super-segments: the seam as TCP keeps it."""

from __future__ import annotations

from tcp_pair import MS, Pair, Scripted

from testbed.tcp.parameters import Parameters
from testbed.tcp.seam import SegmentPlan, WindowSource
from testbed.tcp.tcp_options import TcpOptions
from testbed.wire.options import KIND_SACK, Option, Sack, Unknown
from testbed.wire.segment import FIN, RST, SYN

PLAIN = Parameters(timestamps=False)


class _Recorder(TcpOptions):
    """Notes what it is asked and told; may shorten, or ask for a pure ACK first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, int, bool]] = []
        self.left: list[tuple[int, int, int, bool]] = []
        self.shorten_to = 1 << 30
        self.signal: Option | None = None
        self.first = False
        self.marker: Option | None = None

    def fill(self, plan: SegmentPlan) -> None:
        super().fill(plan)
        self.asked.append((plan.flags, plan.ssn, plan.length, plan.is_retransmission))
        if self.signal is not None:
            plan.options = (*plan.options, self.signal)
            plan.option_octets += self.signal.size
            if plan.length:
                plan.length = 0
        plan.length = min(plan.length, self.shorten_to)

    def has_left(self, plan: SegmentPlan) -> None:
        self.left.append((plan.flags, plan.ssn, plan.length, plan.is_retransmission))
        if self.signal is not None and plan.length == 0:
            self.signal = None


def test_the_policy_is_told_of_each_segment_that_left_and_how_much_it_carried() -> None:
    policy = _Recorder()
    test = Scripted(PLAIN, options=policy).establish(mss=1000)
    test.tcp.send(bytes(2500), test.now)
    segments = test.out()
    test.tcp.close(test.now)
    segments += test.out()

    assert [(s.flags & ~8, test.seq_of(s), len(s.payload), False) for s in segments] == policy.left[-len(segments) :]
    assert policy.left[0][0] == SYN


def test_a_segment_that_the_policy_shortened_is_not_held_by_nagle() -> None:
    policy = _Recorder()
    policy.shorten_to = 300
    test = Scripted(Parameters(timestamps=False, minshall=False), options=policy).establish(mss=1000)
    test.tcp.send(bytes(900), test.now)

    assert [len(s.payload) for s in test.out()] == [300, 300]  # the last one is not shortened: all there is


def test_a_policy_that_answers_no_length_gets_its_options_out_first_on_a_pure_ack() -> None:
    policy = _Recorder()
    test = Scripted(PLAIN, options=policy).establish(mss=1000)
    policy.signal = Unknown(253, b"ab")
    test.tcp.send(b"data", test.now)

    signal, data = test.out()

    assert not signal.payload and any(o.kind == -1 for o in signal.options)
    assert data.payload == b"data" and not data.options
    assert test.tcp.snd_nxt == 5


def test_a_retransmission_asks_again_and_says_so() -> None:
    policy = _Recorder()
    test = Scripted(PLAIN, options=policy).establish(mss=1000)
    test.tcp.send(b"data", test.now)
    test.out()
    policy.left.clear()
    test.wait(500 * MS)

    assert policy.left[0][1:] == (1, 4, True)


def test_the_policy_may_mark_a_reset() -> None:
    class Marker(TcpOptions):
        def fill(self, plan: SegmentPlan) -> None:
            super().fill(plan)
            if plan.flags & RST:
                plan.options = (Unknown(253, b"ab"),)
                plan.option_octets = 4

    test = Scripted(PLAIN, options=Marker()).establish()
    test.tcp.abort(test.now)
    (reset,) = test.out()

    assert reset.flags & RST and reset.options == (Unknown(253, b"ab"),)


class _Shared(WindowSource):
    def __init__(self) -> None:
        self.limits_sending = False
        self.octets = 50_000

    def receive_window(self, rcv_nxt: int) -> int:
        return self.octets


def test_a_shared_window_is_advertised_as_it_is_but_what_was_granted_stays_acceptable() -> None:
    window = _Shared()
    test = Scripted(Parameters(timestamps=False, window_scaling=False), window=window).establish(mss=1000)
    test.tcp.ack_now()
    assert test.out()[0].window == 50_000
    window.octets = 10_000
    test.tcp.ack_now()
    assert test.out()[0].window == 10_000

    assert test.peer(seq=40_001, payload=bytes(1000))
    assert test.tcp.queue.waiting == 1


def test_the_peers_window_does_not_limit_a_connection_whose_upper_layer_obeys_it() -> None:
    window = _Shared()
    test = Scripted(PLAIN, window=window).establish(mss=1000, window=1500)
    test.tcp.send(bytes(3000), test.now)
    assert len(test.out()) == 3
    window.limits_sending = True
    test.tcp.send(bytes(3000), test.now)

    assert test.out() == []


def test_a_super_segment_is_whole_segments_with_the_rest_at_the_end() -> None:
    test = Scripted(Parameters(timestamps=False, super_segment=65_000)).establish(mss=1000)
    test.tcp.send(bytes(9500), test.now)

    assert [(len(s.payload), s.gso_octets) for s in test.out()] == [(9500, 1000)]
    test.peer(ack=9501)
    test.tcp.send(bytes(100_000), test.now)
    sizes = [(len(s.payload), s.gso_octets) for s in test.out()]
    assert all(size % 1000 == 0 and gso == 1000 for size, gso in sizes)


def test_losses_within_a_super_segment_are_repaired_one_by_one() -> None:
    test = Scripted(Parameters(timestamps=False, super_segment=65_000)).establish(mss=1000)
    test.tcp.send(bytes(9000), test.now)
    test.out()
    test.now += 10 * MS
    isn = test.isn
    test.peer(ack=2001, options=(Sack(((isn + 3001, isn + 9001),)),))
    again = test.out() + test.wait(20 * MS)

    assert (2001, 1000) in [(test.seq_of(s), len(s.payload)) for s in again]
    assert all(test.seq_of(s) < 3001 or len(s.payload) == 0 for s in again)


def test_segments_that_the_receiver_got_merged_are_taken_whole() -> None:
    test = Scripted(PLAIN).establish(mss=1000)
    test.peer(payload=bytes(20_000))

    assert test.tcp.take_received() == [(1, bytes(20_000))]
    assert [test.ack_of(s) for s in test.out()] == [20_001]


def test_ack_now_and_probe_make_a_segment_without_data() -> None:
    test = Scripted(PLAIN).establish()
    test.tcp.ack_now()
    (ack,) = test.out()
    test.tcp.probe(test.now)
    (probe,) = test.out()

    assert test.seq_of(ack) == 1 and not ack.payload
    assert test.seq_of(probe) == 0 and not probe.payload


def test_send_room_is_what_could_leave_now() -> None:
    test = Scripted(PLAIN).establish(mss=1000, window=7000)
    assert test.tcp.send_room(test.now) == 7000
    test.tcp.send(bytes(3000), test.now)
    assert test.tcp.send_room(test.now) == 4000
    test.out()
    assert test.tcp.send_room(test.now) == 4000
    test.tcp.close(test.now)
    assert test.tcp.send_room(test.now) == 0


def test_the_last_data_carries_the_fin_and_no_sack_is_promised_when_off() -> None:
    pair = Pair(Parameters(sack=False)).connect()
    pair.send_all(pair.client, bytes(2000), close=True)
    pair.run(until=pair.now + 100 * MS)

    last = [s for s in pair.from_client() if s.payload][-1]
    assert last.flags & FIN
    assert all(o.kind != KIND_SACK for _, s in pair.sent for o in s.options)
