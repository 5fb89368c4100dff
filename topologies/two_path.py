"""Two disjoint paths between a client and a server, each with its own router and its own bottleneck."""

from __future__ import annotations

from topologies.link_profile import LinkProfile
from topologies.model import Family, Host, Link, Path, Router, Topology, symmetric

DEFAULT_PATH1 = LinkProfile(rate_bit_s=20_000_000, delay_ns=10_000_000)
DEFAULT_PATH2 = LinkProfile(rate_bit_s=20_000_000, delay_ns=30_000_000)


def two_path(
    path1: LinkProfile = DEFAULT_PATH1,
    path2: LinkProfile = DEFAULT_PATH2,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """Client to server by way of r1 and of r2; ``path1`` and ``path2`` shape both directions behind the routers."""
    return disjoint_paths(
        "two_path",
        "Two disjoint paths, each with its own bottleneck: the smallest network where MPTCP can gain.",
        (path1, path2),
        families,
    )


def disjoint_paths(
    name: str, summary: str, profiles: tuple[LinkProfile, ...], families: tuple[Family, ...] = (4,)
) -> Topology:
    """As many disjoint paths through a router each as there are profiles; the shaped link of path i is ``path<i>``."""
    numbers = range(1, len(profiles) + 1)
    links: list[Link] = []
    for number, profile in zip(numbers, profiles, strict=True):
        links.append(Link(name=f"access{number}", a="client", b=f"r{number}"))
        links.append(symmetric(f"path{number}", f"r{number}", "server", profile))
    return Topology(
        name=name,
        summary=summary,
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=tuple(Router(f"r{number}") for number in numbers),
        links=tuple(links),
        paths=tuple(Path(f"path{number}", (f"access{number}", f"path{number}")) for number in numbers),
        families=families,
    )
