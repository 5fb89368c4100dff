"""Middleboxes on segment values: what handles packets as they enter a link. Both drivers use them.

:mod:`behaviour` is what each is made of, :mod:`chain` puts those of a link in a row, :mod:`catalog` knows all. A
further one is a class in a file here, a line in the catalog, and its value in ``topologies/middlebox``.
"""

from __future__ import annotations

from testbed.net.middlebox.behaviour import BACKWARD, FORWARD, Behaviour, BoxCounters, Matching, Output
from testbed.net.middlebox.catalog import BEHAVIOURS
from testbed.net.middlebox.chain import Chain
from testbed.net.middlebox.segments import changed, with_options

__all__ = [
    "BACKWARD",
    "BEHAVIOURS",
    "FORWARD",
    "Behaviour",
    "BoxCounters",
    "Chain",
    "Matching",
    "Output",
    "changed",
    "with_options",
]
