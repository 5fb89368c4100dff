"""Where a capture stands: at the end whose answers it sees at once.

At the opener the SYN/ACK comes a round trip after the SYN and the third packet follows it at once; at the listener it
is the other way round (RFC 8684 section 3.1 needs all three). Between them both take a part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from analysis.capture.resolution import Subflow

At = Literal["opener", "listener", "between"]
_RATIO = 4
"""How many times longer the round trip has to be than the answer on the spot."""


def vantage(subflows: Iterable[Subflow]) -> At | None:
    """Of the capture, as most handshakes tell; ``opener`` is the host that opened the connections. None: not known."""
    votes: dict[At, int] = {}
    for subflow in subflows:
        said = _of(subflow)
        if said is not None:
            votes[said] = votes.get(said, 0) + 1
    if not votes:
        return None
    best = max(votes, key=lambda at: votes[at])
    return best if 2 * votes[best] > sum(votes.values()) else None


def _of(subflow: Subflow) -> At | None:
    there, back = subflow.syn_rtt_ns, subflow.third_rtt_ns
    if there is None or back is None or there < 0 or back < 0:
        return None
    turned = subflow.opened_by == "listener"
    if there >= _RATIO * max(back, 1):
        return "listener" if turned else "opener"
    if back >= _RATIO * max(there, 1):
        return "opener" if turned else "listener"
    return "between"
