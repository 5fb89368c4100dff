"""BPF instructions as bytes: encodings from Documentation/bpf/standardization/instruction-set.rst, jumps by label."""

from __future__ import annotations

import sys

import pytest

from testbed.orchestrator.bpf.assembler import FRAME, R0, R1, R2, R6, Assembler

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the encodings written here are little-endian")


def test_instructions_are_encoded_as_the_standard_has_them() -> None:
    code = Assembler()
    code.move(R6, R1)  # r6 = r1
    code.load(4, R2, R6, 16)  # r2 = *(u32 *)(r6 + 16)
    code.store(8, FRAME, -8, R2)  # *(u64 *)(r10 - 8) = r2
    code.add_constant(R2, -8)  # r2 += -8
    code.call(113)
    code.exit(7)  # r0 = 7; exit
    assert code.assembled().hex(" ", 8) == " ".join(
        [
            "bf16000000000000",
            "6162100000000000",
            "7b2af8ff00000000",
            "07020000f8ffffff",
            "8500000071000000",
            "b700000007000000",
            "9500000000000000",
        ]
    )


def test_a_map_takes_two_instructions_and_names_its_descriptor() -> None:
    code = Assembler()
    code.map_descriptor(R1, 5)
    code.map_value(R2, 6)
    assert code.assembled().hex(" ", 16) == "18110000050000000000000000000000 18220000060000000000000000000000"


def test_jumps_count_instructions_also_those_that_take_two_places() -> None:
    code = Assembler()
    code.jump_if(R0, "==", 0, "out")
    code.map_descriptor(R1, 5)
    code.jump("out")
    code.set(R0, 1)
    code.label("out")
    code.exit()
    raw = code.assembled()
    distances = [int.from_bytes(raw[at + 2 : at + 4], "little", signed=True) for at in (0, 24)]
    assert distances == [4, 1]


def test_a_jump_to_nowhere_is_an_error() -> None:
    code = Assembler()
    code.jump("nowhere")
    with pytest.raises(KeyError, match="nowhere"):
        code.assembled()
