"""Option contention: what segments wanted to carry in 40 octets, what left, what did not, why, and because of what.

Definitions, per segment s: *wanted(s)*: the options that the sender's state called for, SACK as 2 + 8 min(4, blocks
held, a D-SACK included); *pressure(s)*: the sum of their sizes / 40; *contended*: pressure above 1; *displaced* SACK
blocks: wanted less sent; the *displacement rate* is their sum over the sum wanted. Classes of what was displaced:
padding, width, policy, hard (docs/data-format.md, table ``segments``). *Header tax*: option octets / payload octets.
*Padding share*: NOP and EOL octets / option octets. Rows of different sources (ledger, capture, kernel) are never added
up.
"""

from analysis.contention.repacking import AREA_OCTETS, CLASSES
from analysis.contention.run_rows import (
    KINDS,
    REST,
    ContentionRow,
    PackedRow,
    WaitRow,
    contention,
    waits,
    waits_and_what_if,
    what_if,
)

__all__ = [
    "AREA_OCTETS",
    "CLASSES",
    "KINDS",
    "REST",
    "ContentionRow",
    "PackedRow",
    "WaitRow",
    "contention",
    "waits",
    "waits_and_what_if",
    "what_if",
]
