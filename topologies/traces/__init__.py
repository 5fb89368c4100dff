"""Traces: what a link did over time, from a file, to be replayed on an emulated one.

Two formats, told apart by their first line: :mod:`delivery` (mahimahi's opportunities) and :mod:`steps` (CSV).
:mod:`value` is what a link profile holds, :mod:`catalog` finds shipped traces and files, :mod:`generator` made the
shipped ones.
"""

from __future__ import annotations

from topologies.traces.catalog import SHIPPED, load, parse
from topologies.traces.delivery import OPPORTUNITY_BYTES, PACKET_HEADER_BYTES, Opportunities
from topologies.traces.problem import TraceError
from topologies.traces.steps import Steps
from topologies.traces.value import AtEnd, Means, Trace, from_bytes, from_dict

__all__ = [
    "OPPORTUNITY_BYTES",
    "PACKET_HEADER_BYTES",
    "SHIPPED",
    "AtEnd",
    "Means",
    "Opportunities",
    "Steps",
    "Trace",
    "TraceError",
    "from_bytes",
    "from_dict",
    "load",
    "parse",
]
