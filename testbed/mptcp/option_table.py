"""What fits into 40 octets beside each form of the DSS: the option space as a table, asked of the option policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

from testbed.mptcp.option_calculator import Answer, DssForm, Question, SegmentKind, answer
from testbed.mptcp.packing import MOST_SACK_BLOCKS, padded
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.profiles import DEFAULT, SENDERS
from testbed.wire.options import AddAddr, MpCapable, MpJoin


class Room(NamedTuple):
    """What is left beside timestamps and DSS."""

    octets: int
    sack_blocks: int


class Line(NamedTuple):
    """One form of the DSS and what it leaves, aligned and dense, with and without timestamps."""

    dss: str
    word: str
    """The same for ``testbed options``: ``dss:ack8,dsn8``; empty for none."""
    size: int
    aligned_size: int
    aligned_with_timestamps: Room
    aligned: Room
    dense_with_timestamps: Room
    dense: Room


Packing = Literal["aligned", "dense"]
_POLICIES: dict[Packing, OptionPolicy] = {
    "aligned": replace(SENDERS[DEFAULT].policy, packing="aligned"),
    "dense": replace(SENDERS[DEFAULT].policy, packing="dense"),
}


def lines() -> Iterator[Line]:
    """All forms of the DSS, the smallest first."""
    yield _line("none", "", None)
    forms = [(ack, dsn, checksum) for ack in (0, 4, 8) for dsn in (0, 4, 8) for checksum in (False, True)]
    made = []
    for ack, dsn, checksum in forms:
        if not dsn and (checksum or not ack):
            continue
        names = [f"DATA_ACK {8 * ack}"] * (ack > 0) + [f"DSN {8 * dsn}"] * (dsn > 0) + ["checksum"] * checksum
        words = [f"ack{ack}"] * (ack > 0) + [f"dsn{dsn}"] * (dsn > 0) + ["csum"] * checksum
        form = DssForm(ack_octets=ack, dsn_octets=dsn, checksum=checksum)
        made.append((dsn > 0, _line(" + ".join(names), f"dss:{','.join(words)}", form)))
    for _, made_line in sorted(made, key=lambda each: (each[0], each[1].size)):
        yield made_line


def _line(name: str, word: str, form: DssForm | None) -> Line:
    size = dict(_asked(form, False, 0, "dense").segments[0].sent).get("dss", 0)
    rooms = [_room(form, timestamps, packing) for packing in _POLICIES for timestamps in (True, False)]
    return Line(name, word, size, padded(size), rooms[0], rooms[1], rooms[2], rooms[3])


def _room(form: DssForm | None, timestamps: bool, packing: Packing) -> Room:
    """Octets left without any SACK, and SACK blocks sent of as many as there can be."""
    left = _asked(form, timestamps, 0, packing).segments[0].left
    return Room(left, _asked(form, timestamps, MOST_SACK_BLOCKS, packing).segments[0].sack_sent)


def _asked(form: DssForm | None, timestamps: bool, blocks: int, packing: Packing) -> Answer:
    kind: SegmentKind = "data" if form is not None and form.dsn_octets else "ack"
    question = Question(segment=kind, timestamps=timestamps, sack_blocks=blocks, dss=form)
    return answer(question, _POLICIES[packing])


class AddAddrLine(NamedTuple):
    """One form of ADD_ADDR and whether it fits on an ACK beside the timestamps."""

    form: str
    size: int
    aligned_size: int
    fits_aligned: bool
    fits_dense: bool


def add_addr_lines() -> Iterator[AddAddrLine]:
    """The eight forms of ADD_ADDR."""
    for octets, family in ((4, "IPv4"), (16, "IPv6")):
        for port in (None, 5001):
            for hmac in (bytes(8), None):
                option = AddAddr(1, bytes(octets), port, hmac)
                name = f"{family}{' with port' if port else ''}{'' if hmac else ', echo'}"
                question = Question(segment="ack", timestamps=True, signals=(option,))
                fits = [not answer(question, policy).given_up for policy in _POLICIES.values()]
                yield AddAddrLine(name, option.size, padded(option.size), fits[0], fits[1])


class SynLine(NamedTuple):
    """What one kind of SYN takes, aligned and dense."""

    name: str
    segment: SegmentKind
    aligned_octets: int
    aligned_without: tuple[str, ...]
    """Options that had to be left out."""
    dense_octets: int
    dense_without: tuple[str, ...]


def syn_lines() -> Iterator[SynLine]:
    """SYNs with MSS, SACK-permitted, timestamps and window scale, and what MPTCP and Fast Open add."""
    plain = Question(segment="syn", timestamps=True, mss=True, window_scale=True, sack_permitted=True)
    capable, key = MpCapable(), MpCapable(sender_key=1)
    join, answered = MpJoin(token=1, nonce=1), MpJoin(nonce=1, hmac=bytes(8))
    asked: tuple[tuple[str, Question], ...] = (
        ("TCP", plain),
        ("MP_CAPABLE", replace(plain, handshake=capable)),
        ("MP_CAPABLE", replace(plain, segment="syn-ack", handshake=key)),
        ("MP_JOIN", replace(plain, handshake=join)),
        ("MP_JOIN", replace(plain, segment="syn-ack", handshake=answered)),
        ("MP_CAPABLE, Fast Open request", replace(plain, handshake=capable, cookie_octets=0)),
        ("MP_CAPABLE, Fast Open cookie of 8", replace(plain, handshake=capable, cookie_octets=8)),
        ("MP_CAPABLE, Fast Open cookie of 8", replace(plain, segment="syn-ack", handshake=key, cookie_octets=8)),
        ("MP_CAPABLE, Fast Open cookie of 16", replace(plain, handshake=capable, cookie_octets=16)),
    )
    for name, question in asked:
        aligned, dense = (answer(question, policy).segments[0] for policy in _POLICIES.values())
        without = [tuple(option for option, _ in laid.omitted) for laid in (aligned, dense)]
        yield SynLine(name, question.segment, aligned.octets, without[0], dense.octets, without[1])
