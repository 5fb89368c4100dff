"""Three disjoint paths: the smallest network where a scheduler has to rank, not only to choose."""

from __future__ import annotations

from topologies.link_profile import LinkProfile
from topologies.model import Family, Topology
from topologies.two_path import DEFAULT_PATH1, DEFAULT_PATH2, disjoint_paths

DEFAULT_PATH3 = LinkProfile(rate_bit_s=10_000_000, delay_ns=50_000_000)


def three_path(
    path1: LinkProfile = DEFAULT_PATH1,
    path2: LinkProfile = DEFAULT_PATH2,
    path3: LinkProfile = DEFAULT_PATH3,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """Client to server by way of r1, r2 and r3; ``path1`` .. ``path3`` shape both directions behind the routers."""
    return disjoint_paths(
        "three_path",
        "Three disjoint paths of unequal delay, the third one thin and far: a scheduler has to rank them.",
        (path1, path2, path3),
        families,
    )
