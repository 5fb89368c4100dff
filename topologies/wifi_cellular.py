"""A phone: WiFi that goes dark for a while, and a cellular network that is slower, farther and never quite steady.

The radio links are the first hop and unequal in their two directions. The defaults are of the order of an 802.11n
hotspot and an LTE cell; :data:`NSDI12_WIFI` and :data:`NSDI12_CELLULAR` are the emulated WiFi and 3G of Raiciu et al.,
"How Hard Can It Be? Designing and Implementing a Deployable Multipath TCP", NSDI 2012, section 5.
"""

from __future__ import annotations

from topologies.link_profile import Change, Jitter, LinkProfile, QueueLimit, RandomLoss, outage
from topologies.model import Family, Host, Link, Path, Router, Topology

_MS = 1_000_000
_WIFI_JITTER = Jitter(2 * _MS, "normal", correlation=0.25)
_CELLULAR_JITTER = Jitter(6 * _MS, "normal", correlation=0.25)

WIFI_UP = LinkProfile(rate_bit_s=20_000_000, delay_ns=8 * _MS, jitter=_WIFI_JITTER, loss=RandomLoss(0.001))
WIFI_DOWN = LinkProfile(rate_bit_s=30_000_000, delay_ns=8 * _MS, jitter=_WIFI_JITTER, loss=RandomLoss(0.001))
CELLULAR_UP = LinkProfile(
    rate_bit_s=8_000_000, delay_ns=30 * _MS, jitter=_CELLULAR_JITTER, queue=QueueLimit(packets=200)
)
CELLULAR_DOWN = LinkProfile(
    rate_bit_s=20_000_000, delay_ns=25 * _MS, jitter=_CELLULAR_JITTER, queue=QueueLimit(packets=500)
)
"""Cellular base stations hide losses behind retransmission and deep queues: delay instead of drops."""

NSDI12_WIFI = LinkProfile(rate_bit_s=8_000_000, delay_ns=10 * _MS, queue=QueueLimit(packets=56))
"""8 Mbit/s, round trip 20 ms, 80 ms of buffer; use it for both directions."""
NSDI12_CELLULAR = LinkProfile(rate_bit_s=2_000_000, delay_ns=75 * _MS, queue=QueueLimit(packets=330))
"""2 Mbit/s, round trip 150 ms, 2 s of buffer; use it for both directions."""


def wifi_cellular(
    wifi_up: LinkProfile = WIFI_UP,
    wifi_down: LinkProfile = WIFI_DOWN,
    cellular_up: LinkProfile = CELLULAR_UP,
    cellular_down: LinkProfile = CELLULAR_DOWN,
    outage_start_ns: int = 8_000 * _MS,
    outage_duration_ns: int = 6_000 * _MS,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """The paths, and their radio links, are called ``wifi`` and ``cellular``; *up* is from the client to the server.

    WiFi is dark from ``outage_start_ns`` after the start of the traffic for ``outage_duration_ns``; a duration of 0
    leaves it on.
    """
    changes: tuple[Change, ...] = outage(outage_start_ns, outage_duration_ns) if outage_duration_ns else ()
    return Topology(
        name="wifi_cellular",
        summary="A phone on WiFi and LTE whose WiFi goes dark for a while: the handover that MPTCP was made for.",
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=(Router("ap"), Router("cell")),
        links=(
            Link(name="wifi", a="client", b="ap", forward=wifi_up, backward=wifi_down, changes=changes),
            Link(name="wifi_wired", a="ap", b="server"),
            Link(name="cellular", a="client", b="cell", forward=cellular_up, backward=cellular_down),
            Link(name="cell_wired", a="cell", b="server"),
        ),
        paths=(Path("wifi", ("wifi", "wifi_wired")), Path("cellular", ("cellular", "cell_wired"))),
        families=families,
    )
