"""Two access paths that meet in one bottleneck, which a plain TCP flow of another host pair crosses as well.

The question it is for is RFC 6356, goal 2 ("do no harm"): over a shared bottleneck all subflows together may take what
one TCP flow would take.
"""

from __future__ import annotations

from topologies.link_profile import LinkProfile
from topologies.model import Family, Host, Link, Path, Router, Topology, symmetric

DEFAULT_ACCESS = LinkProfile(rate_bit_s=50_000_000, delay_ns=5_000_000)
DEFAULT_BOTTLENECK = LinkProfile(rate_bit_s=20_000_000, delay_ns=10_000_000)


def shared_bottleneck(
    path1: LinkProfile = DEFAULT_ACCESS,
    path2: LinkProfile = DEFAULT_ACCESS,
    cross: LinkProfile = DEFAULT_ACCESS,
    bottleneck: LinkProfile = DEFAULT_BOTTLENECK,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """Both paths of the client and the competing pair ``rival``/``rival_server`` cross the link ``bottleneck``.

    ``cross`` is the rival's own access, equal to the client's by default so that round-trip times do not decide the
    competition. Every profile holds in both directions.
    """
    return Topology(
        name="shared_bottleneck",
        summary="Two access paths and a competing TCP pair through one bottleneck: does MPTCP take its share only?",
        hosts=(Host("client", "client"), Host("server", "server"), Host("rival"), Host("rival_server")),
        routers=(Router("r1"), Router("r2"), Router("r3"), Router("r4")),
        links=(
            Link(name="access1", a="client", b="r1"),
            Link(name="access2", a="client", b="r2"),
            symmetric("path1", "r1", "r3", path1),
            symmetric("path2", "r2", "r3", path2),
            symmetric("bottleneck", "r3", "r4", bottleneck),
            Link(name="exit", a="r4", b="server"),
            symmetric("cross", "rival", "r3", cross),
            Link(name="cross_exit", a="r4", b="rival_server"),
        ),
        paths=(
            Path("path1", ("access1", "path1", "bottleneck", "exit")),
            Path("path2", ("access2", "path2", "bottleneck", "exit")),
        ),
        families=families,
    )
