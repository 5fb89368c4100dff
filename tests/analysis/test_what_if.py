"""The same segments under another policy."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.contention.repacking import DssForm, Situation
from analysis.contention.what_if import WHAT_IF, PolicyError, policies, policy
from testbed.mptcp.option_table import lines

TIMESTAMPS = ("timestamps", 10)


def data(wanted: int = 4, **values: Any) -> Situation:
    """A data segment of Linux: timestamps, DSS with two 64-bit numbers."""
    form = DssForm(8, 8)
    return Situation("data", (TIMESTAMPS, ("dss", form.size)), 40, form, wanted, **values)


def ack(form: DssForm, wanted: int = 4, *, stamped: bool = True) -> Situation:
    sent = ((TIMESTAMPS,) if stamped else ()) + ((("dss", form.size),) if form.size else ())
    return Situation("ack", sent, 24, form, wanted)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("as-sent", 0),
        ("linux", 0),
        ("dense", 0),
        ("32-bit", 0),
        ("dense,32-bit", 1),
        ("no-timestamps", 1),
        ("dense,no-timestamps,32-bit", 2),
        ("dense,32-bit-dsn", 0),
        ("dense,32-bit,sack-limit=0", 0),
    ],
)
def test_blocks_beside_the_mapping_of_linux(text: str, blocks: int) -> None:
    """Protocol table 3.2: 40 - 12 - 28 = 0; 40 - 10 - 18 = 12: one block; 40 - 28 = 12: one; 40 - 18 = 22: two."""
    assert policy(text).blocks(data()) == blocks


def test_every_form_of_the_dss_has_the_blocks_of_the_option_table() -> None:
    for line in lines():
        words = line.dss
        ack_octets = 8 if "DATA_ACK 64" in words else 4 if "DATA_ACK 32" in words else 0
        dsn_octets = 8 if "DSN 64" in words else 4 if "DSN 32" in words else 0
        form = DssForm(ack_octets, dsn_octets, "checksum" in words)
        assert form.size == line.size
        for text, stamped, room in (
            ("aligned", True, line.aligned_with_timestamps),
            ("aligned", False, line.aligned),
            ("dense", True, line.dense_with_timestamps),
            ("dense", False, line.dense),
        ):
            assert policy(text).blocks(ack(form, stamped=stamped)) == room.sack_blocks, (words, text, stamped)


def test_a_mapping_on_every_fourth_segment_leaves_the_others_to_sack() -> None:
    thin = policy("dense,map-every=4")
    assert thin.blocks(data(), has_turn=True) == 0
    assert thin.blocks(data(), has_turn=False) == 2, "10 + 12 + (2 + 8 * 2) = 40"
    with_fin = Situation("data", (TIMESTAMPS, ("dss", 26)), 40, DssForm(8, 8, False, True), 4)
    assert thin.blocks(with_fin, has_turn=False) == 0, "a DATA_FIN stays where it is"
    bare_fin = Situation("ack", (TIMESTAMPS, ("dss", 26)), 40, DssForm(8, 8, False, True), 4)
    assert thin.blocks(bare_fin, has_turn=False) == 0, "thinned are data segments"


def test_linux_answers_with_a_data_ack_as_wide_as_the_dsn_received() -> None:
    narrow = ack(DssForm(4))
    assert policy("linux").blocks(narrow, peer_is_wide=False) == 2
    assert policy("linux").blocks(narrow, peer_is_wide=True) == 1
    assert policy("linux").blocks(ack(DssForm(8)), peer_is_wide=False) == 2


def test_linux_puts_a_mapping_on_every_data_segment() -> None:
    declared = Situation("data", (TIMESTAMPS, ("dss", 12)), 24, DssForm(8), 4)
    assert policy("as-sent").blocks(declared) == 1
    assert policy("linux").blocks(declared) == 0


def test_signals_stay_on_their_segments() -> None:
    loud = Situation("ack", (TIMESTAMPS, ("dss", 12), ("mp_prio", 3)), 28, DssForm(8), 4)
    assert policy("aligned").blocks(loud) == 1
    assert policy("dense").blocks(loud) == 1, "40 - 10 - 12 - 3 = 15"


def test_the_last_word_wins() -> None:
    assert policy("dense,aligned").is_aligned is True
    assert policy("32-bit, 64-bit").dsn_octets == 8


@pytest.mark.parametrize("text", ["", "desne", "map-every=0", "map-every=x", "sack-limit=5", "dense,,32-bit"])
def test_a_word_that_means_nothing_is_refused_by_name(text: str) -> None:
    with pytest.raises(PolicyError, match="there are as-sent, linux, dense"):
        policy(text)


def test_what_a_summary_compares_can_be_read() -> None:
    assert [each.text for each in policies(WHAT_IF)] == list(WHAT_IF)
