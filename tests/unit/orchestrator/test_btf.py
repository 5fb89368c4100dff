"""The reader of the kernel's type information, on types written for the purpose and on this kernel's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from btf_builder import BtfBuilder
from hypothesis import given
from hypothesis import strategies as st

from testbed.orchestrator.bpf import btf
from testbed.orchestrator.bpf.btf import Btf, BtfError, Field

BOTH_ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def example(order: str = "<") -> bytes:
    """outer { u32 a; union { u64 b; struct { u16 c; const word d; }; }; inner_t in; inner *next; }, and more."""
    types = BtfBuilder(order)
    u8, u16, u32, u64 = (types.integer(f"u{8 * octets}", octets) for octets in (1, 2, 4, 8))
    word = types.const(types.typedef("word", u16))
    inner = types.structure("inner", 16, [("x", u8, 0), ("y", types.array(u32, 3), 32)])
    types.tag("between types that do not matter", inner)
    anonymous = types.structure("", 4, [("c", u16, 0), ("d", word, 16)])
    choice = types.union("", 8, [("b", u64, 0), ("", anonymous, 0)])
    members = [("a", u32, 0), ("", choice, 64), ("in", types.typedef("inner_t", inner), 128)]
    types.structure("outer", 40, [*members, ("next", types.pointer(inner), 256)])
    types.enumeration("colour", [("RED", 0), ("GREEN", 7), ("NONE", -1)])
    types.enumeration64("wide", [("HUGE", 1 << 40 | 3)])
    return types.built()


@BOTH_ORDERS
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", Field(0, 4)),
        ("b", Field(8, 8)),
        ("c", Field(8, 2)),
        ("d", Field(10, 2)),
        ("in", Field(16, 16)),
        ("in.x", Field(16, 1)),
        ("in.y", Field(20, 12)),
        ("next", Field(32, 8)),
    ],
)
def test_members_are_found_through_structures_and_anonymous_ones(order: str, path: str, expected: Field) -> None:
    assert Btf(example(order)).field("outer", path) == expected


@BOTH_ORDERS
def test_constants_of_enumerations_have_their_values(order: str) -> None:
    types = Btf(example(order))
    assert types.constants("colour") == {"RED": 0, "GREEN": 7, "NONE": -1}
    assert types.constants("wide") == {"HUGE": 1 << 40 | 3}


@given(st.sampled_from(["<", ">"]), st.lists(st.integers(1, 16), min_size=1, max_size=2), st.data())
def test_a_bit_field_is_read_as_a_compiler_would(order: str, widths: list[int], data: st.DataObject) -> None:
    """Both bit-fields lie in one u32 from bit 64 on; a value put there by hand is what the field finds."""
    types = BtfBuilder(order)
    u32, u64 = types.integer("u32", 4), types.integer("u64", 8)
    starts = [64 + sum(widths[:index]) for index in range(len(widths))]
    fields = [(f"f{index}", u32, start, width) for index, (start, width) in enumerate(zip(starts, widths, strict=True))]
    types.structure("flags", 16, [("before", u64, 0, 0), *fields])
    found = Btf(types.built())
    values = [data.draw(st.integers(0, (1 << width) - 1)) for width in widths]
    number = 0
    for start, width, value in zip(starts, widths, values, strict=True):
        # BTF counts bits from the first in memory: the lowest of a little-endian integer, the highest of a big-endian
        number |= value << (start - 64 if order == "<" else 32 - (start - 64) - width)
    memory = bytes(8) + number.to_bytes(4, "little" if order == "<" else "big") + bytes(4)
    for index, value in enumerate(values):
        place = found.field("flags", f"f{index}")
        whole = int.from_bytes(memory[place.offset : place.offset + place.size], "little" if order == "<" else "big")
        assert whole >> place.shift & (1 << place.bits) - 1 == value


@pytest.mark.parametrize(
    ("structure", "path", "words"),
    [
        ("nowhere", "a", "no struct nowhere"),
        ("outer", "z", "struct outer has no member 'z'"),
        ("outer", "in.z", "struct outer has no member 'in.z'"),
        ("outer", "next.x", "struct outer has no member 'next.x'"),
    ],
)
def test_what_is_missing_is_named(structure: str, path: str, words: str) -> None:
    with pytest.raises(BtfError, match=words):
        Btf(example()).field(structure, path)


def test_an_enumeration_that_is_missing_is_named() -> None:
    with pytest.raises(BtfError, match="no enum shape"):
        Btf(example()).constants("shape")


@given(st.integers(0, len(example()) - 1))
def test_information_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BtfError, match=r"cut off|damaged|magic"):
        Btf(example()[:length])


def test_a_kind_of_type_from_the_future_is_refused_and_not_skipped_by_guess() -> None:
    types = BtfBuilder()
    types.of_kind("later", 25)
    with pytest.raises(BtfError, match="kind of type, 25"):
        Btf(types.built())


def test_a_kernel_without_type_information_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="CONFIG_DEBUG_INFO_BTF"):
        Btf.of_kernel(tmp_path / "vmlinux")


@pytest.mark.skipif(not btf.KERNEL.exists(), reason=f"this kernel has no {btf.KERNEL}")
def test_this_kernels_own_types_are_read_where_the_interface_to_user_space_fixes_them() -> None:
    """struct tcphdr and struct iphdr are the headers on the wire (include/uapi/linux/tcp.h, ip.h)."""
    types = Btf.of_kernel()
    assert types.structure_size("tcphdr") == types.structure_size("iphdr") == 20
    assert types.field("tcphdr", "seq") == Field(4, 4)
    assert types.field("tcphdr", "window") == Field(14, 2)
    assert types.field("iphdr", "saddr") == Field(12, 4)
    data_offset = types.field("tcphdr", "doff")
    assert data_offset.bits == 4
    header = bytes(12) + bytes([0xA0, 0x02]) + bytes(6)  # ten words, SYN
    assert _bits(header, data_offset) == 10
    assert _bits(header, types.field("tcphdr", "syn")) == 1
    assert _bits(header, types.field("tcphdr", "ack")) == 0


def _bits(memory: bytes, place: Field) -> int:
    whole = int.from_bytes(memory[place.offset : place.offset + place.size], sys.byteorder)
    return whole >> place.shift & (1 << place.bits) - 1
