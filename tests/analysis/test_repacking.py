"""Classes, blame and sizes of the analysis are those of the ledger: both are asked about the same random segments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subflow_double import SubflowDouble

from analysis.contention.repacking import (
    DssForm,
    Outcome,
    Situation,
    Want,
    blamed,
    class_of,
    in_words,
    packing_of,
    sack_blocks_that_fit,
)
from testbed.mptcp import ledger as the_ledger
from testbed.mptcp import packing
from testbed.mptcp.ledger import COLUMNS, Ledger, name_of
from testbed.mptcp.option_space import SubflowOptions
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.seam import SegmentPlan
from testbed.wire.codec import COMPILED
from testbed.wire.options import AddAddr, Dss, MpPrio, Option, RemoveAddr, Sack
from testbed.wire.segment import ACK

NAMES = [name for name, _, _ in COLUMNS]
BLOCKS = tuple((n * 10_000 + 5000, n * 10_000 + 6400) for n in range(5))

wants = st.builds(
    lambda name, size, narrower, optional: Want(name, size, size - narrower, 0 if optional else size - narrower),
    st.sampled_from(["timestamps", "dss", "add_addr", "mp_prio"]),
    st.integers(3, 30),
    st.sampled_from([0, 0, 1, 2]),
    st.booleans(),
)


@given(st.lists(wants, max_size=4), st.integers(2, 34))
def test_the_class_of_what_has_no_room_is_the_ledgers(others: list[Want], size: int) -> None:
    theirs = [the_ledger.Want(each.name, each.size, each.narrow, each.needed) for each in others]
    assert class_of(others, size) == the_ledger.class_by_repacking(theirs, size)


@given(st.integers(-20, 40), st.integers(0, 4), st.booleans())
def test_as_many_blocks_fit_as_in_the_option_builder(room: int, wanted: int, is_aligned: bool) -> None:
    assert sack_blocks_that_fit(room, wanted, is_aligned) == packing.sack_blocks_that_fit(room, wanted, is_aligned)


SIGNALS = [MpPrio(True), RemoveAddr((1, 2)), AddAddr(1, bytes(4), hmac=bytes(8)), AddAddr(1, bytes(4))]


def segment(
    policy: OptionPolicy,
    length: int,
    blocks: int,
    timestamps: bool,
    is_repeated: tuple[bool, bool],
    signals: list[Any],
    checksum: bool,
    peer_is_wide: bool,
) -> tuple[dict[str, Any], tuple[Option, ...]]:
    """The ledger's row of a segment and its option area."""
    view = SubflowDouble().established()
    view.peer_sends_wide_dsn = peer_is_wide
    view.next_dsn = 5000
    if length:
        mapping = OutgoingMapping(0, 1, length, 0 if checksum else None)
        mapping.carried_at = 1 if is_repeated[1] else -1
        view.mappings.append(mapping)
    book = Ledger()
    options = SubflowOptions(view, policy, book, 0)
    plan = SegmentPlan()
    if is_repeated[0]:  # an ACK that carries the same DATA_ACK leaves first
        plan.flags, plan.mss, plan.ssn, plan.length = ACK, 1460, 1, 0
        options.fill(plan)
        options.has_left(plan)
        book.take_rows()
    view.signals.extend(signals)
    plan.flags, plan.ssn, plan.length, plan.mss = ACK, 1, length, 1460
    plan.timestamps = (1, 2) if timestamps else None
    plan.sack_blocks = BLOCKS[:blocks]
    options.fill(plan)
    options.has_left(plan)
    (row,) = book.take_rows()
    return dict(zip(NAMES, row, strict=True)), plan.options


def situation(row: dict[str, Any], options: tuple[Option, ...], stamped: bool, is_repeated: tuple[bool, bool]) -> Any:
    """What a capture shows of the same segment."""
    sent = tuple((name_of(each), each.size) for each in options if each.kind > 1)
    dss = next((each for each in options if isinstance(each, Dss)), None)
    form = DssForm()
    if dss is not None:
        form = DssForm(
            0 if dss.data_ack is None else dss.ack_octets,
            0 if dss.dsn is None else dss.dsn_octets,
            dss.dsn is not None and dss.checksum is not None,
            dss.data_fin,
        )
        assert form.size == dss.size
    return Situation(
        segment=row["segment"],
        sent=sent,
        option_octets=row["option_octets"],
        dss=form,
        sack_wanted=row["sack_wanted"],
        is_aligned=row["is_aligned"],
        repeats_data_ack=is_repeated[0] and form.data_ack > 0,
        repeats_mapping=is_repeated[1] and form.dsn > 0,
        lacks_timestamps=stamped and not any(name == "timestamps" for name, _ in sent),
        lacks_dss=(12 if row["peer_is_wide"] else 8) if dss is None and row["segment"] == "ack" else 0,
    )


@settings(max_examples=400)
@given(
    st.sampled_from(["aligned", "dense"]),
    st.sampled_from(["32", "64"]),
    st.sampled_from(["32", "64", "match"]),
    st.integers(0, 4),
    st.sampled_from([0, 1000]),
    st.integers(0, 5),
    st.booleans(),
    st.tuples(st.booleans(), st.booleans()),
    st.lists(st.sampled_from(SIGNALS), max_size=1),
    st.booleans(),
    st.booleans(),
)
def test_a_segment_on_the_wire_has_the_ledgers_classes_blame_and_sizes(
    packed: Any,
    dsn_width: Any,
    data_ack_width: Any,
    sack_limit: int,
    length: int,
    blocks: int,
    timestamps: bool,
    is_repeated: tuple[bool, bool],
    signals: list[Any],
    checksum: bool,
    peer_is_wide: bool,
) -> None:
    policy = OptionPolicy(packing=packed, dsn_width=dsn_width, data_ack_width=data_ack_width, sack_limit=sack_limit)
    row, options = segment(policy, length, blocks, timestamps, is_repeated, signals, checksum, peer_is_wide)
    if any(want.split(":")[0] in ("mp_prio", "remove_addr", "add_addr") for want in row["omitted"].split()):
        return  # a signal that waits is not on record
    if "dss" in row["omitted"] and data_ack_width != "match":
        return  # how wide it would have been is taken from what the endpoint sent before
    if row["omitted"] and is_repeated[0]:
        return  # nor is the number that it would have had
    repeated = (is_repeated[0], is_repeated[1] and length > 0)
    if len(row["sent"].split()) == 0:
        return
    row = row | {"is_aligned": packed == "aligned", "peer_is_wide": peer_is_wide}
    found = Outcome(situation(row, options, timestamps, repeated))

    assert in_words(found.wanted) == row["wanted"]
    assert found.wanted_octets == row["wanted_octets"]
    assert found.padding_octets == row["padding_octets"]
    assert found.situation.sack_sent == row["sack_sent"]
    assert found.classes == tuple(row[f"sack_{word}"] for word in ("padding", "width", "policy", "hard"))
    assert found.blame == row["sack_blame"]
    assert found.omitted == row["omitted"]


@pytest.mark.skipif(COMPILED, reason="a class stands in for an option, which compiled code does not take")
@given(
    st.lists(st.sampled_from([("timestamps", 10), ("dss", 26), ("sack", 10), ("mp_prio", 3)]), unique=True),
    st.integers(0, 1),
)
def test_blame_is_the_ledgers(sent: list[tuple[str, int]], sack_sent: int) -> None:
    class Sent:
        def __init__(self, name: str, size: int) -> None:
            self.kind, self.size, self.name = (5 if name == "sack" else 200), size, name

    options = [Sent(*each) for each in sent]
    for is_aligned in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(the_ledger, "name_of", lambda option: option.name)
            theirs = the_ledger.blame_for(options, 8 if sack_sent else 10, is_aligned)  # type: ignore[arg-type]
        assert " ".join(blamed(sent, sack_sent, is_aligned)) == theirs


@pytest.mark.parametrize(
    ("items", "is_aligned"),
    [
        ([("nop", 1), ("nop", 1), ("timestamps", 10), ("dss", 12)], True),
        ([("timestamps", 10), ("dss", 26)], False),
        ([("timestamps", 10), ("sack", 10), ("dss", 18), ("nop", 1), ("nop", 1)], False),
        ([("dss", 26), ("nop", 1), ("nop", 1)], None),
        ([("dss", 12)], None),
        ([("mss", 4), ("sack_permitted", 2), ("timestamps", 10), ("nop", 1), ("window_scale", 3)], True),
    ],
)
def test_how_a_sender_pads_is_told_by_its_layouts(items: list[tuple[str, int]], is_aligned: bool | None) -> None:
    assert packing_of(items) is is_aligned


def test_a_sack_option_is_counted_in_blocks() -> None:
    sizes = tuple((name_of(each), each.size) for each in (Sack(((1, 2), (3, 4))),))
    assert Situation("ack", sizes, 20, DssForm(), 2).sack_sent == 2
