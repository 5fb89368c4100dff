"""A client with one interface and a server with two: the second path exists only once ADD_ADDR has told of it.

RFC 8684 section 3.4.1: the server announces its second address; the client, whose single address is already in use,
joins from it. Loss of the ADD_ADDR is loss of the path, which makes this the network for option-space questions.
"""

from __future__ import annotations

from topologies.link_profile import LinkProfile
from topologies.model import Family, Host, Link, Path, Router, Topology, symmetric
from topologies.two_path import DEFAULT_PATH1, DEFAULT_PATH2


def dual_homed_server(
    path1: LinkProfile = DEFAULT_PATH1,
    path2: LinkProfile = DEFAULT_PATH2,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """Behind the common first router r1 the ways part to r2 and r3; the server has one address at each end.

    The client's access is a wire, so ``path1`` and ``path2`` (both directions) are the bottlenecks.
    """
    return Topology(
        name="dual_homed_server",
        summary="One client address, two server addresses: the second path is learned by ADD_ADDR.",
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=(Router("r1"), Router("r2"), Router("r3")),
        links=(
            Link(name="access", a="client", b="r1"),
            symmetric("path1", "r1", "r2", path1),
            symmetric("path2", "r1", "r3", path2),
            Link(name="home1", a="r2", b="server"),
            Link(name="home2", a="r3", b="server"),
        ),
        paths=(Path("path1", ("access", "path1", "home1")), Path("path2", ("access", "path2", "home2"))),
        families=families,
    )
