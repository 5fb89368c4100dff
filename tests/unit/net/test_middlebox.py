"""Middleboxes in a row: their classes of segments, their order, their counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from testbed.net.middlebox import BACKWARD, BEHAVIOURS, FORWARD, Behaviour, Chain, Output, changed
from testbed.wire.options import (
    NOP,
    Dss,
    MaximumSegmentSize,
    MpCapable,
    Option,
    Sack,
    Timestamps,
    Unknown,
)
from testbed.wire.segment import ACK, ECN_CE, ECN_ECT0, PSH, RST, SYN, Segment, SocketAddress
from topologies.middlebox import CATALOG, Drop, Middlebox, StripOption, parse

CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
CAPABLE = MpCapable()
DSS = Dss(data_ack=7)


def segment(flags: int, options: tuple[Option, ...] = (), payload: bytes = b"", back: bool = False) -> Segment:
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return Segment(*ends, seq=1, ack=2, flags=flags, window=100, options=options, payload=payload)


def data(number: int) -> Segment:
    return Segment(CLIENT, SERVER, number * 100, 1, ACK, 100, (), bytes(100))


def passed(chain: Chain, packet: Segment, now: int = 0, way: int = FORWARD) -> list[Segment]:
    left = chain.arrives(packet, way, now)
    assert all(out_way == way for out_way, _ in left)
    return [out for _, out in left]


def through(chain: Chain, packet: Segment) -> Segment:
    (out,) = passed(chain, packet, way=BACKWARD if packet.source == SERVER else FORWARD)
    return out


def counts(chain: Chain, box: int = 0, way: int = FORWARD) -> dict[str, int]:
    return {name: count for name, count in chain.boxes[box].counters(way).as_dict().items() if count}


# --- taking options out ---


def test_l1_a_stripped_option_becomes_nops_and_the_rest_stays_where_it_was() -> None:
    chain = Chain([StripOption("mptcp")])
    out = through(chain, segment(ACK, (NOP, NOP, Timestamps(1, 2), DSS)))
    assert out.options == (NOP, NOP, Timestamps(1, 2), *([NOP] * DSS.size))
    assert out.dss is None
    assert out.mptcp == ()


def test_a_closed_gap_moves_the_options_up_and_pads_to_a_whole_word() -> None:
    chain = Chain([StripOption("mptcp", gap="close")])
    out = through(chain, segment(ACK, (DSS, NOP, NOP, Timestamps(1, 2))))
    assert out.options == (NOP, NOP, Timestamps(1, 2))
    assert sum(option.size for option in out.options) % 4 == 0


def test_one_subtype_is_stripped_and_the_others_stay() -> None:
    chain = Chain([StripOption("mptcp.dss")])
    assert through(chain, segment(ACK, (CAPABLE,))).mptcp == (CAPABLE,)
    assert through(chain, segment(ACK, (DSS,))).mptcp == ()
    unreadable = Unknown(30, bytes([0x20, 0xFF]))
    assert through(chain, segment(ACK, (unreadable,))).options == (NOP,) * 4


def test_l1_each_class_of_segments_is_stripped_alone() -> None:
    conversation = (
        ("syn", segment(SYN, (MaximumSegmentSize(1460), CAPABLE))),
        ("syn_ack", segment(SYN | ACK, (CAPABLE,), back=True)),
        ("third_ack", segment(ACK, (CAPABLE,))),
        ("ack", segment(ACK, (DSS,))),
        ("data", segment(ACK | PSH, (DSS,), b"x")),
    )
    for wanted, _ in conversation:
        chain = Chain([StripOption("mptcp", on=wanted)])
        stripped = [name for name, packet in conversation if not through(chain, packet).mptcp]
        assert stripped == [wanted]


def test_a_reset_after_the_syn_is_no_third_ack_and_ends_the_opening() -> None:
    chain = Chain([StripOption("mptcp", on="third_ack")])
    through(chain, segment(SYN, (CAPABLE,)))
    assert through(chain, segment(RST, (CAPABLE,))).mptcp == (CAPABLE,)
    assert through(chain, segment(ACK, (CAPABLE,))).mptcp == (CAPABLE,)


# --- actions ---


def test_only_the_nth_carrier_is_dropped() -> None:
    chain = Chain([Drop("mptcp.dss nth 2")])
    carrier, other = segment(ACK, (DSS,)), segment(ACK, (Timestamps(1, 2),))
    assert [len(passed(chain, packet)) for packet in (carrier, other, carrier, carrier)] == [1, 1, 0, 1]
    assert counts(chain) == {"seen": 4, "matched": 1, "dropped": 1}


def test_a_delayed_packet_leaves_later_and_the_others_overtake_it() -> None:
    chain = Chain(parse("delay 50ns data nth 1+2"))
    packets = [data(number) for number in range(4)]
    left = [passed(chain, packet, 10 * index) for index, packet in enumerate(packets)]
    assert left == [[], [], [packets[2]], [packets[3]]]
    assert chain.next_timeout() == 50
    assert chain.handle_timeout(49) == []
    ((way, first),) = chain.handle_timeout(50)
    assert (way, first) == (FORWARD, packets[0])
    assert first is packets[0], "the same object: it passes byte for byte"
    assert chain.next_timeout() == 60
    assert [out for _, out in chain.handle_timeout(1000)] == [packets[1]]
    assert chain.next_timeout() is None
    assert counts(chain) == {"seen": 4, "matched": 2, "delayed": 2}


def test_a_copy_follows_what_is_duplicated() -> None:
    chain = Chain(parse("duplicate data nth 2"))
    packets = [data(number) for number in range(3)]
    assert [out for packet in packets for out in passed(chain, packet)] == [*packets[:2], packets[1], packets[2]]
    assert counts(chain) == {"seen": 3, "matched": 1, "made": 1}


def test_held_packets_follow_the_one_that_they_wait_for_in_exactly_that_order() -> None:
    chain = Chain(parse("hold data nth 2+3 until data nth 5"))
    packets = [data(number) for number in range(7)]
    left = [out for packet in packets for out in passed(chain, packet)]
    assert [packets.index(out) for out in left] == [0, 3, 4, 1, 2, 5, 6]
    assert counts(chain) == {"seen": 7, "matched": 2, "delayed": 2}


def test_held_packets_go_when_their_time_is_over() -> None:
    chain = Chain(parse("hold data nth 1 until syn for 500ns"))
    assert passed(chain, data(1), 20) == []
    assert chain.next_timeout() == 520
    assert chain.handle_timeout(520) == [(FORWARD, data(1))]
    assert chain.next_timeout() is None


def test_a_packet_that_is_held_releases_those_before_it_and_stays() -> None:
    chain = Chain(parse("hold data until data"))
    assert [passed(chain, data(number)) for number in range(3)] == [[], [data(0)], [data(1)]]


def test_held_packets_keep_their_direction() -> None:
    chain = Chain(parse("hold backward until forward"))
    answer = segment(ACK, back=True)
    assert chain.arrives(answer, BACKWARD, 0) == []
    assert chain.arrives(data(1), FORWARD, 1) == [(FORWARD, data(1)), (BACKWARD, answer)]


@pytest.mark.parametrize(("word", "field"), [("ce", 3), ("ect0", 2), ("ect1", 1), ("not-ect", 0)])
def test_the_ecn_field_is_set_and_nothing_else(word: str, field: int) -> None:
    chain = Chain(parse(f"mark {word} data"))
    before = changed(data(1), ecn=ECN_ECT0 if field != ECN_ECT0 else ECN_CE)
    out = through(chain, before)
    assert out.ecn == field
    assert changed(out, ecn=before.ecn) == before
    assert through(chain, out) is out, "already so: untouched"
    assert counts(chain) == {"seen": 2, "matched": 2, "changed": 1}


# --- in a row ---


def test_packets_that_leave_changed_are_counted_and_no_others() -> None:
    chain = Chain([StripOption("mptcp")])
    for packet in (segment(ACK, (DSS,)), segment(ACK, (Timestamps(1, 2),)), segment(ACK, (DSS,))):
        passed(chain, packet)
    assert (chain.changed(FORWARD), chain.dropped(FORWARD)) == (2, 0)
    assert (chain.changed(BACKWARD), chain.dropped(BACKWARD)) == (0, 0)


def test_a_watch_counts_by_direction_and_hands_on_the_very_packets() -> None:
    chain = Chain(parse("watch data as data, watch sack_blocks >= 1 as sack"))
    packets = [data(1), segment(SYN), segment(ACK, (Sack(((1, 2),)),)), data(2)]
    for packet in packets:
        assert through(chain, packet) is packet
    answer = segment(ACK | PSH, payload=b"x", back=True)
    assert through(chain, answer) is answer
    assert counts(chain) == {"seen": 4, "matched": 2}
    assert counts(chain, 0, BACKWARD) == {"seen": 1, "matched": 1}
    assert counts(chain, 1) == {"seen": 4, "matched": 1}
    assert chain.dropped(FORWARD) == chain.changed(FORWARD) == 0


def test_a_watch_sees_what_those_before_it_have_left() -> None:
    chain = Chain(parse("watch data as sent, drop data nth 2, watch data as left"))
    for number in range(3):
        passed(chain, data(number))
    assert [box.counters(FORWARD).matched for box in chain.boxes] == [3, 1, 2]


def test_middleboxes_of_a_link_work_one_after_the_other() -> None:
    chain = Chain([StripOption("mptcp"), Drop("tcp.timestamps")])
    assert through(chain, segment(ACK, (DSS,))).mptcp == ()
    assert passed(chain, segment(ACK, (Timestamps(1, 2), DSS))) == []


@dataclass(frozen=True)
class Noting(Middlebox):
    """Writes down what comes, and answers data the other way if told to."""

    name: str
    notes: list[str] = field(hash=False, compare=False)
    answers: bool = False


class NotingBehaviour(Behaviour):
    def __init__(self, value: Noting, seed: int) -> None:
        super().__init__()
        self.value = value
        self.due: int | None = None

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        self.value.notes.append(f"{self.value.name}{'><'[way]}")
        out.pass_on(segment, way)
        if self.value.answers and segment.payload:
            out.pass_on(changed(segment, source=segment.destination, destination=segment.source, payload=b""), 1 - way)
            self.due = now + 5

    def next_timeout(self) -> int | None:
        return self.due

    def handle_timeout(self, now: int, out: Output) -> None:
        self.due = None
        out.pass_on(data(99), FORWARD)


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(BEHAVIOURS, Noting, NotingBehaviour)  # type: ignore[arg-type]
    return []


def test_each_direction_meets_its_middleboxes_in_the_order_in_which_they_stand(noting: list[str]) -> None:
    def box(name: str) -> Any:
        return Noting(name, noting)

    chain = Chain([box("1"), box("2")], [box("f"), box("g")], [box("b"), box("c")])
    assert chain.arrives(data(1), FORWARD, 0) == [(FORWARD, data(1))]
    assert noting == ["1>", "2>", "f>", "g>"]
    noting.clear()
    chain.arrives(segment(ACK, back=True), BACKWARD, 0)
    assert noting == ["b<", "c<", "2<", "1<"]


def test_what_a_middlebox_answers_goes_back_through_those_before_it(noting: list[str]) -> None:
    chain = Chain([Noting("1", noting), Noting("2", noting, answers=True), Noting("3", noting)])
    first, second = chain.arrives(data(1), FORWARD, 0)
    assert noting == ["1>", "2>", "3>", "1<"]
    assert first == (FORWARD, data(1))
    assert second[0] == BACKWARD
    assert second[1].source == SERVER
    assert counts(chain, 1, FORWARD) == {"seen": 1}
    assert counts(chain, 1, BACKWARD) == {"made": 1}


def test_what_a_timer_makes_meets_the_middleboxes_behind(noting: list[str]) -> None:
    chain = Chain([Noting("1", noting), Noting("2", noting, answers=True), Noting("3", noting)])
    chain.arrives(data(1), FORWARD, 10)
    noting.clear()
    assert chain.next_timeout() == 15
    assert chain.handle_timeout(15) == [(FORWARD, data(99))]
    assert noting == ["3>"]
    assert counts(chain, 1, FORWARD) == {"seen": 1, "made": 1}


def test_timers_fire_in_the_order_of_their_times() -> None:
    chain = Chain(parse("delay 30ns syn, delay 10ns data"))
    syn = segment(SYN)
    passed(chain, syn, 0)
    passed(chain, data(1), 10)
    assert chain.handle_timeout(40) == [(FORWARD, data(1)), (FORWARD, syn)]


class Endless(NotingBehaviour):
    """Answers everything with itself, and its timer never ends."""

    def process(self, segment: Segment, way: int, now: int, out: Output) -> None:
        self.due = now
        turns = way == BACKWARD or self.value.match == "syn"  # type: ignore[attr-defined]
        out.pass_on(segment, 1 - way if turns else way)


def test_middleboxes_that_never_come_to_an_end_are_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, Drop, Endless)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"drop .*: .* without end"):
        Chain([Drop("data"), Drop("syn")]).arrives(data(1), FORWARD, 5)
    chain = Chain([Drop("syn")])
    assert chain.arrives(data(1), FORWARD, 5) == [(BACKWARD, data(1))]
    monkeypatch.setattr(Endless, "handle_timeout", lambda self, now, out: None)
    with pytest.raises(RuntimeError, match="due at 5 ns again"):
        chain.handle_timeout(7)


def test_chance_of_one_box_is_not_that_of_the_next_and_the_same_seed_repeats() -> None:
    def fates(text: str, seed: int) -> list[bool]:
        chain = Chain(parse(text), seed=seed)
        return [bool(passed(chain, data(number))) for number in range(200)]

    assert fates("drop chance 50%", 1) == fates("drop chance 50%", 1)
    assert fates("drop chance 50%", 1) != fates("drop chance 50%", 2)
    both = sum(fates("drop chance 50%, drop chance 50%", 1))
    assert 30 < both < 70, "a quarter passes both"


def test_every_middlebox_value_has_a_behaviour() -> None:
    assert set(BEHAVIOURS) == set(CATALOG)
