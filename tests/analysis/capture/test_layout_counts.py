from __future__ import annotations

import numpy as np
import pytest

from analysis.capture.batch import CUT_OPTIONS, Layout
from analysis.capture.layout_counts import LAYOUTS, SEGMENTS, LayoutCounts, kinds_of

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


class _Packets:
    """The columns that are looked at."""

    def __init__(self, flags: list[int], payload: list[int], layout: list[int], status: list[int]) -> None:
        self.flags = np.array(flags, np.uint16)
        self.payload = np.array(payload, np.uint32)
        self.layout = np.array(layout, np.uint16)
        self.status = np.array(status, np.uint8)


@pytest.mark.parametrize(
    ("flags", "payload", "kind"),
    [
        (SYN, 0, "syn"),
        (SYN, 100, "syn"),
        (SYN | ACK, 0, "syn-ack"),
        (ACK, 0, "ack"),
        (ACK | PSH, 1, "data"),
        (ACK | FIN, 1, "data"),
        (ACK | FIN, 0, "fin"),
        (ACK | RST, 0, "rst"),
        (RST, 5, "rst"),
    ],
)
def test_the_kind_of_a_segment_follows_from_flags_and_payload(flags: int, payload: int, kind: str) -> None:
    assert SEGMENTS[int(kinds_of(np.array([flags], np.uint16), np.array([payload], np.int64))[0])] == kind


def test_layouts_are_counted_by_subflow_direction_and_kind_over_batches() -> None:
    layouts = [Layout((("dss", 26),), 28, 2, "dss:26 nop nop"), Layout((), 0, 0, "")]
    counts = LayoutCounts(layouts, [7, 9])
    first = _Packets([ACK, ACK, ACK, SYN, ACK], [100, 100, 0, 0, 5], [0, 0, 1, 1, 0], [0, 0, 0, 0, CUT_OPTIONS])
    counts.take(first, np.array([0, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 0]))  # type: ignore[arg-type]
    counts.take(_Packets([ACK, ACK], [50, 9], [0, 0], [0, 0]), np.array([0, -1]), np.array([0, 0]))  # type: ignore[arg-type]

    rows = counts.rows()

    assert [set(row) for row in rows] == [{column.name for column in LAYOUTS.columns}] * 3
    assert [(row["connection"], row["subflow"], row["direction"], row["segment"], row["layout"]) for row in rows] == [
        (7, 0, 0, "data", "dss:26 nop nop"),
        (7, 0, 0, "ack", ""),
        (9, 1, 1, "syn", ""),
    ]
    assert [(row["segments"], row["payload_octets"], row["padding_octets"]) for row in rows] == [
        (3, 250, 2),
        (1, 0, 0),
        (1, 0, 0),
    ]
