"""The clocks of two machines, compared by question and answer. Pure but for the question itself.

Of several exchanges the quickest counts: the other clock was read somewhere between question and answer, so half of
that time bounds the error (RFC 5905 section 8: the offset of the sample with the least delay). Two crystals, or two
emulated counters, do not run equally fast; a second comparison later tells by how much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

EXCHANGES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The other clock minus ours at one moment; both CLOCK_MONOTONIC."""

    at_ns: int
    """Ours."""
    offset_ns: int
    bound_ns: int
    """The true offset is within so much of :attr:`offset_ns`."""

    def drift_ns(self, earlier: Comparison) -> int:
        """What the other clock has gained since then."""
        return self.offset_ns - earlier.offset_ns

    def rate(self, earlier: Comparison) -> float:
        """The same, relative to the time between."""
        return self.drift_ns(earlier) / max(1, self.at_ns - earlier.at_ns)


def compare(ask_ns: Callable[[], int], exchanges: int = EXCHANGES) -> Comparison:
    """``ask_ns`` asks the other machine for its CLOCK_MONOTONIC."""
    best: Comparison | None = None
    for _ in range(exchanges):
        before_ns = time.monotonic_ns()
        there_ns = ask_ns()
        after_ns = time.monotonic_ns()
        middle_ns, bound_ns = (before_ns + after_ns) // 2, (after_ns - before_ns + 1) // 2
        if best is None or bound_ns < best.bound_ns:
            best = Comparison(at_ns=middle_ns, offset_ns=there_ns - middle_ns, bound_ns=bound_ns)
    assert best is not None
    return best
