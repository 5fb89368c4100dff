"""What is known of failures: which stack does what in which test, and where that was found out.

A cell that fails has failed, whatever is known of it; this is said beside it, so that nobody has to find it out again.
"""

from __future__ import annotations

from dataclasses import dataclass

from experiments.interop.implementations import Implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """One of them."""

    test: str
    client: str = ""
    """Name of the implementation, or of its endpoint (``linux``); empty: any."""
    server: str = ""
    text: str


KNOWN: tuple[KnownFailure, ...] = (
    KnownFailure(
        test="fallback_payload",
        server="linux",
        text="Linux 6.18 as receiver on one subflow delivers bytes whose checksum failed, before its peer has agreed "
        "to TCP (claim N10: testbed claims N10)",
    ),
    *(
        KnownFailure(
            test="fallback_payload",
            client="linux",
            server=server,
            text="now and then: Linux 6.18 reverts to TCP with its next new data; when its send buffer is full at "
            "the MP_FAIL there is none, and it waits for a DATA_ACK that TCP has not",
        )
        for server in ("userspace", "adapter")
    ),
    KnownFailure(
        test="fallback_late",
        client="linux",
        server="userspace:rfc8684",
        text="the receiver holds data without a mapping for up to a window, as section 3.3.1 allows; Linux 6.18 "
        "retransmits on the subflow that acknowledges them, for ever",
    ),
)


def known(test: str, client: Implementation, server: Implementation) -> str:
    """What is known of a failure of that test between these two; empty: nothing."""
    found = [each.text for each in KNOWN if each.test == test and _is(each.client, client) and _is(each.server, server)]
    return "; ".join(found)


def _is(wanted: str, end: Implementation) -> bool:
    return wanted in ("", end.name, end.endpoint.implementation)
