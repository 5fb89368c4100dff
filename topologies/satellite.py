"""A terrestrial path beside a geostationary one, whose bandwidth-delay product no default buffer covers.

A GEO hop is 35 786 km up and as much down: 239 ms at the sub-satellite point, up to 280 ms at the edge of coverage
(RFC 2488 section 2); 270 ms one way stands for the middle plus the ground segment.
"""

from __future__ import annotations

import dataclasses

from topologies.link_profile import LinkProfile
from topologies.model import Family, Topology
from topologies.two_path import disjoint_paths

TERRESTRIAL = LinkProfile(rate_bit_s=10_000_000, delay_ns=20_000_000)
GEO = LinkProfile(rate_bit_s=20_000_000, delay_ns=270_000_000)
"""20 Mbit/s over a 540 ms round trip: 1.35 MB in flight."""


def satellite(
    path1: LinkProfile = TERRESTRIAL,
    path2: LinkProfile = GEO,
    path2_backward: LinkProfile | None = None,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """``path1`` is on the ground, ``path2`` over the satellite; ``path2_backward`` is its return channel.

    None: the return channel equals ``path2``.
    """
    topology = disjoint_paths(
        "satellite",
        "A terrestrial and a geostationary path: a large bandwidth-delay product next to a small one.",
        (path1, path2),
        families,
    )
    if path2_backward is None:
        return topology
    return topology.with_link(dataclasses.replace(topology.link("path2"), backward=path2_backward))
