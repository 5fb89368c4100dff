"""What fits into 40 octets: the matrix of the reference (bytes left and SACK blocks beside each DSS), from our code."""

from __future__ import annotations

import pytest
from subflow_double import SubflowDouble

from testbed.mptcp.option_space import SubflowOptions
from testbed.mptcp.parameters import OptionPolicy
from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import Sack
from testbed.wire.segment import ACK

BLOCKS = tuple((n * 10_000, n * 10_000 + 1400) for n in range(4))

# (DATA_ACK octets, DSN octets, checksum) -> size, then for TS aligned, no TS aligned, TS dense, no TS dense:
# (octets left beside the DSS, SACK blocks that fit). Dense, TS is 10 octets and the end of the area is not padding yet.
MATRIX = {
    (0, 0, False): (0, (28, 3), (40, 4), (30, 3), (40, 4)),
    (4, 0, False): (8, (20, 2), (32, 3), (22, 2), (32, 3)),
    (8, 0, False): (12, (16, 1), (28, 3), (18, 2), (28, 3)),
    (0, 4, False): (14, (12, 1), (24, 2), (16, 1), (26, 3)),
    (0, 4, True): (16, (12, 1), (24, 2), (14, 1), (24, 2)),
    (0, 8, False): (18, (8, 0), (20, 2), (12, 1), (22, 2)),
    (0, 8, True): (20, (8, 0), (20, 2), (10, 1), (20, 2)),
    (4, 4, False): (18, (8, 0), (20, 2), (12, 1), (22, 2)),
    (4, 4, True): (20, (8, 0), (20, 2), (10, 1), (20, 2)),
    (4, 8, False): (22, (4, 0), (16, 1), (8, 0), (18, 2)),
    (4, 8, True): (24, (4, 0), (16, 1), (6, 0), (16, 1)),
    (8, 4, False): (22, (4, 0), (16, 1), (8, 0), (18, 2)),
    (8, 4, True): (24, (4, 0), (16, 1), (6, 0), (16, 1)),
    (8, 8, False): (26, (0, 0), (12, 1), (4, 0), (14, 1)),
    (8, 8, True): (28, (0, 0), (12, 1), (2, 0), (12, 1)),
}


def plan(*, length: int, timestamps: bool, blocks: int) -> SegmentPlan:
    made = SegmentPlan()
    made.flags = ACK
    made.ssn = 1
    made.length = length
    made.mss = 1460
    made.timestamps = (1, 2) if timestamps else None
    made.sack_blocks = BLOCKS[:blocks]
    return made


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"ack{row[0]}-dsn{row[1]}{'-checksum' if row[2] else ''}")
@pytest.mark.parametrize(
    ("column", "timestamps", "packing"),
    [(1, True, "aligned"), (2, False, "aligned"), (3, True, "dense"), (4, False, "dense")],
    ids=["aligned-ts", "aligned", "dense-ts", "dense"],
)
def test_octets_left_and_sack_blocks_beside_each_dss(
    row: tuple[int, int, bool], column: int, timestamps: bool, packing: str
) -> None:
    ack_octets, dsn_octets, checksum = row
    size = MATRIX[row][0]
    left, blocks = MATRIX[row][column]  # type: ignore[misc]
    view = SubflowDouble().established()
    policy = OptionPolicy(
        packing=packing,  # type: ignore[arg-type]
        dsn_width="32" if dsn_octets == 4 else "64",
        data_ack_width="32" if ack_octets == 4 else "64",
    )
    if ack_octets:
        view.next_dsn = 1 << 63
    if dsn_octets:
        view.mappings.append(OutgoingMapping(1 << 62, 1, 1400, 0xABCD if checksum else None))
    if not ack_octets and not dsn_octets:
        view.speaks_mptcp = False
    options = SubflowOptions(view, policy)

    without = plan(length=1400 if dsn_octets else 0, timestamps=timestamps, blocks=0)
    options.fill(without)
    options.has_left(without)
    with_sack = plan(length=1400 if dsn_octets else 0, timestamps=timestamps, blocks=4)
    options.fill(with_sack)

    used = sum(option.size for option in without.options)
    stamps = (12 if packing == "aligned" else 10) if timestamps else 0
    padded = size + (-size % 4 if packing == "aligned" else 0)
    assert stamps + padded + left == 40, "the table itself"
    assert without.option_octets == used == (stamps + padded + 3) // 4 * 4
    assert [len(o.blocks) for o in with_sack.options if isinstance(o, Sack)] == ([blocks] if blocks else [])
    assert sum(option.size for option in with_sack.options) == with_sack.option_octets <= 40
