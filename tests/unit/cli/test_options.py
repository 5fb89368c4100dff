from __future__ import annotations

import json
import subprocess
from typing import Any

import command_line
import pytest

from testbed.cli.option_words import WordError, question
from testbed.mptcp.option_calculator import BY_POLICY, DssForm

MATRIX: dict[str, tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "": (0, 0, (28, 3), (40, 4), (30, 3), (40, 4)),
    "dss:ack4": (8, 8, (20, 2), (32, 3), (22, 2), (32, 3)),
    "dss:ack8": (12, 12, (16, 1), (28, 3), (18, 2), (28, 3)),
    "dss:dsn4": (14, 16, (12, 1), (24, 2), (16, 1), (26, 3)),
    "dss:dsn4,csum": (16, 16, (12, 1), (24, 2), (14, 1), (24, 2)),
    "dss:dsn8": (18, 20, (8, 0), (20, 2), (12, 1), (22, 2)),
    "dss:dsn8,csum": (20, 20, (8, 0), (20, 2), (10, 1), (20, 2)),
    "dss:ack4,dsn4": (18, 20, (8, 0), (20, 2), (12, 1), (22, 2)),
    "dss:ack4,dsn4,csum": (20, 20, (8, 0), (20, 2), (10, 1), (20, 2)),
    "dss:ack4,dsn8": (22, 24, (4, 0), (16, 1), (8, 0), (18, 2)),
    "dss:ack4,dsn8,csum": (24, 24, (4, 0), (16, 1), (6, 0), (16, 1)),
    "dss:ack8,dsn4": (22, 24, (4, 0), (16, 1), (8, 0), (18, 2)),
    "dss:ack8,dsn4,csum": (24, 24, (4, 0), (16, 1), (6, 0), (16, 1)),
    "dss:ack8,dsn8": (26, 28, (0, 0), (12, 1), (4, 0), (14, 1)),
    "dss:ack8,dsn8,csum": (28, 28, (0, 0), (12, 1), (2, 0), (12, 1)),
}
"""Form -> octets on the wire, padded; octets left and SACK blocks: beside timestamps padded, alone padded, beside
timestamps dense, alone dense. Worked out by hand from the lengths in RFC 8684 and Linux' padding, and seen on its wire;
typed in, not computed."""


def _options(*words: str) -> subprocess.CompletedProcess[str]:
    return command_line.testbed("options", *words)


def _asked(*words: str) -> dict[str, Any]:
    result = _options(*words, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_table_has_the_numbers_of_the_matrix() -> None:
    printed = {
        line["word"]: (
            line["size"],
            line["aligned_size"],
            *(
                (line[name]["octets"], line[name]["sack_blocks"])
                for name in ("aligned_with_timestamps", "aligned", "dense_with_timestamps", "dense")
            ),
        )
        for line in json.loads(_options("--table", "--json").stdout)
    }

    assert printed == MATRIX


def test_the_table_for_people_has_the_same_numbers() -> None:
    lines = {
        line.split("dss:")[1].split()[0]: line for line in _options("--table").stdout.splitlines() if "dss:" in line
    }

    for word, (size, padded, *rooms) in MATRIX.items():
        if word:
            numbers = lines[word.removeprefix("dss:")].split(word)[1].replace(",", " ").split()
            assert [int(number) for number in numbers] == [size, padded, *(value for room in rooms for value in room)]


@pytest.mark.parametrize("form", [form for form in MATRIX if form])
@pytest.mark.parametrize("timestamps", [True, False])
def test_what_is_asked_one_by_one_is_what_the_table_says(form: str, timestamps: bool) -> None:
    from testbed.cli.options import PACKINGS
    from testbed.mptcp.option_calculator import answer
    from testbed.mptcp.option_table import _POLICIES

    words = [*(["timestamps"] if timestamps else []), form, "sack"]
    rooms = dict(zip(("aligned", "dense"), (2, 4), strict=True))
    for packing in PACKINGS:
        blocks = answer(question(words), _POLICIES["dense" if packing == "dense" else "aligned"]).segments[-1].sack_sent
        room = MATRIX[form][rooms[packing] + (0 if timestamps else 1)]
        assert isinstance(room, tuple)
        assert blocks == room[1]


def test_a_linux_data_segment_has_no_room_for_sack_and_says_what_would_make_it() -> None:
    found = _asked("timestamps", "dss:ack8,dsn8", "sack:3")
    (padded,) = found["padded"]["segments"]

    assert found["segment"] == "data"
    assert found["pressure"] == pytest.approx(62 / 40)
    assert padded["on_the_wire"] == "nop nop timestamps:10 dss:26 nop nop"
    assert (padded["octets"], padded["left_octets"], padded["padding_octets"]) == (40, 0, 4)
    assert (padded["sack_sent"], padded["sack_left_out"]) == (0, {"width": 1, "hard": 2})
    assert padded["sack_blame"] == ["timestamps", "dss"]


def test_the_profile_gives_widths_packing_and_priority() -> None:
    found = _asked("timestamps", "dss", "sack:3", "--profile", "dense-32")

    assert found["packing"] == "dense"
    assert found["dense"]["segments"][0]["on_the_wire"] == "timestamps:10 sack:10 dss:18 nop nop"
    first = [item["option"] for item in _asked("ts", "dss", "sack:2", "--profile", "rfc2018")["wanted"]]
    assert first == ["timestamps", "sack", "dss"]


def test_widths_that_are_asked_for_outweigh_those_of_the_profile() -> None:
    found = _asked("ts", "dss:ack8,dsn8", "--profile", "dense-32")

    assert found["wanted"][-1] == {"option": "dss", "octets": 26}


def test_ipv6_with_port_beside_timestamps_is_given_up_padded_and_fits_dense() -> None:
    found = _asked("timestamps", "dss:ack8", "add_addr:v6,port")

    assert found["padded"]["given_up"] == ["add_addr"]
    assert found["dense"]["given_up"] == []
    assert found["dense"]["segments"][0]["on_the_wire"] == "timestamps:10 add_addr:30"


def test_an_address_takes_an_ack_for_itself_on_linux_and_shares_it_by_the_letter() -> None:
    linux = _asked("dss:ack8", "add_addr:v4")["padded"]["segments"][0]
    letter = _asked("dss:ack8", "add_addr:v4", "--profile", "rfc8684")["padded"]["segments"][0]

    assert (linux["on_the_wire"], linux["left_out"]) == ("add_addr:16", {"dss": "policy"})
    assert letter["on_the_wire"] == "dss:12 add_addr:16"


def test_a_signal_that_does_not_fit_beside_data_leaves_on_an_ack_ahead_of_it() -> None:
    found = _asked("timestamps", "dss:ack8,dsn8", "mp_prio")
    kinds = [(part["segment"], part["on_the_wire"]) for part in found["padded"]["segments"]]

    assert kinds == [
        ("ack", "nop nop timestamps:10 dss:12 mp_prio:3 nop"),
        ("data", "nop nop timestamps:10 dss:26 nop nop"),
    ]


def test_a_mapping_that_was_sent_before_leaves_room_for_a_block() -> None:
    found = _asked("timestamps", "dss:ack8", "sack:3", "--segment", "data")

    assert (found["padded"]["segments"][0]["sack_sent"], found["dense"]["segments"][0]["sack_sent"]) == (1, 2)


def test_a_pure_ack_with_a_data_fin_has_no_room_for_sack() -> None:
    (ack,) = _asked("timestamps", "dss:ack8,dsn8", "sack:1", "--segment", "ack")["padded"]["segments"]

    assert (ack["segment"], ack["octets"], ack["sack_sent"]) == ("ack", 40, 0)


SYN = ("mss", "ts", "ws", "sackok")


@pytest.mark.parametrize(
    ("words", "octets", "left_out"),
    [
        (SYN, 20, []),
        ((*SYN, "mp_capable"), 24, []),
        ((*SYN, "mp_capable:syn-ack"), 32, []),
        ((*SYN, "mp_join"), 32, []),
        ((*SYN, "mp_join:syn-ack"), 36, []),
        ((*SYN, "mp_capable", "fast_open:8"), 36, []),
        ((*SYN, "mp_capable:syn-ack", "fast_open:8"), 36, ["timestamps"]),
    ],
)
def test_a_syn_has_the_octets_of_linux(words: tuple[str, ...], octets: int, left_out: list[str]) -> None:
    (laid,) = _asked(*words)["padded"]["segments"]

    assert (laid["octets"], list(laid["left_out"])) == (octets, left_out)


def test_a_reset_carries_its_reasons() -> None:
    (laid,) = _asked("mp_fastclose", "mp_tcprst")["padded"]["segments"]

    assert (laid["segment"], laid["on_the_wire"]) == ("rst", "mp_fastclose:12 mp_tcprst:4")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name some"),
        (["tss"], "mss, dss, timestamps"),
        (["dss:ack16"], "did you mean ack8?"),
        (["dss:ack4,ack8"], "exclude each other"),
        (["dss:csum,ack8"], "belongs to a mapping"),
        (["sack:5"], "from 1 to 4"),
        (["sack", "sack"], "once is enough"),
        (["ts", "dss", "mss"], "never stands on a SYN"),
        (["ts", "mss", "--segment", "data"], "stands on a SYN only"),
        (["mp_tcprst", "--segment", "ack"], "on an RST only"),
        (["ts", "mp_tcprst"], "an RST carries"),
        (["fast_open:3", "mss"], "4 to 16 octets"),
        (["mp_join:syn", "--segment", "syn-ack"], "not that of a segment of kind syn-ack"),
        (["mp_capable:ack", "dss"], "in place of dss"),
        (["ts", "--profile", "dense32"], "dense-32"),
        (["ts", "--segment", "fin"], "one of syn, syn-ack"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_says_why_and_exits_2(words: list[str], says: str) -> None:
    result = _options(*words)

    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert says in result.stderr


def test_every_word_that_is_listed_is_understood() -> None:
    from testbed.cli.option_words import NAMES, WORDS

    listed = {name.partition(":")[0] for entry in WORDS for name in entry.split(", ")}

    assert listed == set(NAMES)
    assert _options("--words").returncode == 0


def test_words_may_be_short_and_mixed_in_case() -> None:
    asked = question(["TS", "DSS:ACK8,dsn"])

    assert asked.timestamps
    assert asked.dss == DssForm(ack_octets=8, dsn_octets=BY_POLICY)


def test_an_unknown_word_is_a_word_error() -> None:
    with pytest.raises(WordError, match="no option 'xyz'"):
        question(["xyz"])
