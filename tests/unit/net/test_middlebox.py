from __future__ import annotations

from testbed.net.middlebox import Chain
from testbed.wire.options import (
    NOP,
    Dss,
    MaximumSegmentSize,
    MpCapable,
    Option,
    Timestamps,
    Unknown,
)
from testbed.wire.segment import ACK, PSH, RST, SYN, Segment, SocketAddress
from topologies.middlebox import DropCarrying, StripOption

CLIENT, SERVER = SocketAddress(bytes([10, 0, 1, 1]), 4000), SocketAddress(bytes([10, 0, 2, 2]), 5001)
CAPABLE = MpCapable()
DSS = Dss(data_ack=7)


def segment(flags: int, options: tuple[Option, ...], payload: bytes = b"", back: bool = False) -> Segment:
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return Segment(*ends, seq=1, ack=2, flags=flags, window=100, options=options, payload=payload)


def through(chain: Chain, packet: Segment) -> Segment:
    (out,) = chain.process(packet)
    return out


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
    chain = Chain([StripOption("mptcp/dss")])
    assert through(chain, segment(ACK, (CAPABLE,))).mptcp == (CAPABLE,)
    assert through(chain, segment(ACK, (DSS,))).mptcp == ()
    unreadable = Unknown(30, bytes([0x20, 0xFF]))
    assert through(chain, segment(ACK, (unreadable,))).options == (NOP,) * 4


def test_l1_each_class_of_segments_is_stripped_alone() -> None:
    conversation = (
        ("syn", segment(SYN, (MaximumSegmentSize(1460), CAPABLE))),
        ("third-ack", segment(ACK, (CAPABLE,))),
        ("ack", segment(ACK, (DSS,))),
        ("data", segment(ACK | PSH, (DSS,), b"x")),
        ("syn-ack", segment(SYN | ACK, (CAPABLE,), back=True)),
    )
    for wanted, _ in conversation:
        chain = Chain([StripOption("mptcp", on=(wanted,))])  # type: ignore[arg-type]
        stripped = [name for name, packet in conversation if not through(chain, packet).mptcp]
        assert stripped == [wanted]


def test_a_reset_after_the_syn_is_no_third_ack_and_ends_the_opening() -> None:
    chain = Chain([StripOption("mptcp", on=("third-ack",))])
    through(chain, segment(SYN, (CAPABLE,)))
    assert through(chain, segment(RST, (CAPABLE,))).mptcp == (CAPABLE,)
    assert through(chain, segment(ACK, (CAPABLE,))).mptcp == (CAPABLE,)


def test_only_the_nth_carrier_is_dropped() -> None:
    chain = Chain([DropCarrying("mptcp/dss", nth=(2,))])
    carrier, other = segment(ACK, (DSS,)), segment(ACK, (Timestamps(1, 2),))
    assert [len(chain.process(packet)) for packet in (carrier, other, carrier, carrier)] == [1, 1, 0, 1]
    assert (chain.changed, chain.dropped) == (0, 1)


def test_packets_that_leave_changed_are_counted_and_no_others() -> None:
    chain = Chain([StripOption("mptcp")])
    for packet in (segment(ACK, (DSS,)), segment(ACK, (Timestamps(1, 2),)), segment(ACK, (DSS,))):
        chain.process(packet)
    assert (chain.changed, chain.dropped) == (2, 0)


def test_middleboxes_of_a_link_work_one_after_the_other() -> None:
    chain = Chain([StripOption("mptcp"), DropCarrying("timestamps")])
    assert through(chain, segment(ACK, (DSS,))).mptcp == ()
    assert chain.process(segment(ACK, (Timestamps(1, 2), DSS))) == ()
