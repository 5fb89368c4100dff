"""What is known of failures: which stack does what in which test, and where that was found out.

A cell that fails has failed, whatever is known of it; this is said beside it, so that nobody has to find it out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from experiments.interop.implementations import Implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """One of them."""

    test: str
    implementation: str
    """Of the endpoint: ``linux``, ``userspace``."""
    side: Literal["client", "server"]
    text: str


KNOWN: tuple[KnownFailure, ...] = (
    KnownFailure(
        test="fallback_payload",
        implementation="linux",
        side="server",
        text="Linux 6.18 as receiver on one subflow delivers bytes whose checksum failed, before its peer has agreed "
        "to TCP (claim N10: testbed claims N10)",
    ),
)


def known(test: str, client: Implementation, server: Implementation) -> str:
    """What is known of a failure of that test between these two; empty: nothing."""
    ends = {"client": client.endpoint.implementation, "server": server.endpoint.implementation}
    return "; ".join(each.text for each in KNOWN if each.test == test and ends[each.side] == each.implementation)
