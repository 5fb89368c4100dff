"""The table of the documentation says the same as the option builder does (test_option_matrix.py)."""

from __future__ import annotations

from test_option_matrix import MATRIX

from testbed.mptcp.option_table import Room, add_addr_lines, lines


def test_the_table_has_every_form_of_the_dss_and_what_the_builder_finds() -> None:
    table = sorted(
        (line.size, line.aligned_with_timestamps, line.aligned, line.dense_with_timestamps, line.dense)
        for line in lines()
    )

    assert table == sorted((size, *(Room(*room) for room in rooms)) for size, *rooms in MATRIX.values())


def test_only_ipv6_with_port_does_not_fit_beside_aligned_timestamps() -> None:
    assert [line.form for line in add_addr_lines() if not line.fits_aligned] == ["IPv6 with port"]
    assert all(line.fits_dense for line in add_addr_lines())
