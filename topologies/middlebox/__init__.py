"""Middleboxes as values: what stands at the entry of a link, what it looks for and what it does.

:mod:`catalog` has all of them with their text and JSON; what they do to packets is in ``testbed/net/middlebox``.
"""

from __future__ import annotations

from topologies.middlebox.actions import Delay, Drop, Duplicate, Hold, Mark
from topologies.middlebox.base import Middlebox, MiddleboxError
from topologies.middlebox.catalog import CATALOG, MIDDLEBOX_KINDS, describe, describe_all, from_dict, parse, to_dict
from topologies.middlebox.flows import Firewall, Nat, RewriteIsn
from topologies.middlebox.headers import ClampMss, ShrinkWindow
from topologies.middlebox.options import StripOption
from topologies.middlebox.payload import Normalise, RewritePayload
from topologies.middlebox.proxy import ProactiveAck
from topologies.middlebox.repacketising import Coalesce, Split
from topologies.middlebox.replay import Replay
from topologies.middlebox.signals import FilterSignals
from topologies.middlebox.watch import Watch

__all__ = [
    "CATALOG",
    "MIDDLEBOX_KINDS",
    "ClampMss",
    "Coalesce",
    "Delay",
    "Drop",
    "Duplicate",
    "FilterSignals",
    "Firewall",
    "Hold",
    "Mark",
    "Middlebox",
    "MiddleboxError",
    "Nat",
    "Normalise",
    "ProactiveAck",
    "Replay",
    "RewriteIsn",
    "RewritePayload",
    "ShrinkWindow",
    "Split",
    "StripOption",
    "Watch",
    "describe",
    "describe_all",
    "from_dict",
    "parse",
    "to_dict",
]
