from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.tcp_info import (
    INFINITE_SSTHRESH,
    MPTCP_INFO_BYTES,
    MPTCP_INFO_FIELDS,
    TCP_INFO_BYTES,
    TCP_INFO_FIELDS,
    UNLIMITED_RATE,
    Field,
    read_mptcp_info,
    read_tcp_info,
)

BTF = Path("/sys/kernel/btf/vmlinux")


@given(st.binary(min_size=0, max_size=400))
def test_a_field_is_known_exactly_when_the_struct_reaches_its_end(data: bytes) -> None:
    for fields, read in ((TCP_INFO_FIELDS, read_tcp_info), (MPTCP_INFO_FIELDS, read_mptcp_info)):
        values = read(data)
        assert list(values) == [field.name for field in fields]
        for field in fields:
            raw = data[field.offset : field.end]
            complete = len(raw) == struct.calcsize(field.code)
            number = struct.unpack("=" + field.code, raw)[0] if complete else field.absent
            assert values[field.name] == (None if number == field.absent else number * field.factor)


def test_values_come_in_base_units() -> None:
    data = bytearray(TCP_INFO_BYTES)
    struct.pack_into("=I", data, 68, 20_000)  # rtt, us
    struct.pack_into("=Q", data, 160, 2_500_000)  # delivery_rate, bytes per second
    struct.pack_into("=I", data, 44, 12)  # last_data_sent, ms
    values = read_tcp_info(data)
    assert (values["rtt"], values["delivery_rate"], values["last_data_sent"]) == (20_000_000, 20_000_000, 12_000_000)


def test_the_kernels_way_of_saying_none_is_none() -> None:
    data = bytearray(TCP_INFO_BYTES)
    struct.pack_into("=Q", data, 104, UNLIMITED_RATE)
    struct.pack_into("=I", data, 76, INFINITE_SSTHRESH)
    values = read_tcp_info(data)
    assert values["pacing_rate"] is None
    assert values["snd_ssthresh"] is None
    assert values["max_pacing_rate"] == 0


def test_linux_6_1_gives_48_bytes_of_mptcp_info_and_no_byte_counts() -> None:
    values = read_mptcp_info(bytes(48))
    assert values["csum_enabled"] == 0
    assert values["retransmits"] == 0
    assert values["bytes_sent"] is None
    assert values["subflows_total"] is None


@pytest.mark.parametrize(("fields", "size"), [(TCP_INFO_FIELDS, TCP_INFO_BYTES), (MPTCP_INFO_FIELDS, MPTCP_INFO_BYTES)])
def test_fields_neither_overlap_nor_leave_the_struct(fields: tuple[Field, ...], size: int) -> None:
    assert len({field.name for field in fields}) == len(fields)
    for before, after in itertools.pairwise(fields):
        assert before.end <= after.offset
    assert fields[-1].end <= size


@pytest.mark.skipif(not BTF.exists(), reason="this kernel has no type information to compare with")
@pytest.mark.parametrize(
    ("name", "prefix", "fields"), [("tcp_info", "tcpi_", TCP_INFO_FIELDS), ("mptcp_info", "mptcpi_", MPTCP_INFO_FIELDS)]
)
def test_offsets_are_those_of_the_running_kernel(name: str, prefix: str, fields: tuple[Field, ...]) -> None:
    size, members = _struct_members(BTF.read_bytes(), name)
    for field in fields:
        if field.end <= size:
            assert members.get(prefix + field.name) == field.offset, field


def _struct_members(data: bytes, wanted: str) -> tuple[int, dict[str, int]]:
    """Size and {member: offset in bytes} of a struct in BTF (Documentation/bpf/btf.rst)."""
    header_bytes, types_at, types_bytes, names_at, _ = struct.unpack_from("=IIIII", data, 4)
    types = data[header_bytes + types_at :][:types_bytes]
    names = data[header_bytes + names_at :]

    def text(offset: int) -> str:
        return names[offset : names.index(b"\0", offset)].decode()

    trailing = {1: 4, 3: 12, 14: 4, 17: 4}
    per_member = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    position = 0
    while position < len(types):
        name, info, size = struct.unpack_from("=III", types, position)
        position += 12
        kind, count, bitfields = info >> 24 & 31, info & 0xFFFF, info >> 31
        if kind == 4 and text(name) == wanted:
            members = {}
            for index in range(count):
                member, _, offset = struct.unpack_from("=III", types, position + 12 * index)
                members[text(member)] = (offset & 0xFFFFFF if bitfields else offset) // 8
            return size, members
        position += trailing.get(kind, 0) + per_member.get(kind, 0) * count
    pytest.skip(f"this kernel's type information has no struct {wanted}")
