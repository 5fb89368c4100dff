"""Two pods of a k-ary fat tree (Al-Fares, Loukissas, Vahdat, SIGCOMM 2008) with a multi-homed host in each.

Raiciu et al. (SIGCOMM 2011) ran MPTCP in such fabrics. Their switches spread flows by ECMP; ours forward along one
shortest route per destination, ties to the earlier link, because a hash would make the same experiment take another
path on another kernel. Several paths exist here because the hosts have an interface on every edge switch of their pod.
The links are listed so that edge switch i prefers aggregation switch i and that one the first core of its group; the
other cores carry nothing until an experiment puts something there.
"""

from __future__ import annotations

from topologies.link_profile import LinkProfile
from topologies.model import Family, Host, Link, Path, Router, Topology, TopologyError, symmetric

DEFAULT_CORE = LinkProfile(rate_bit_s=20_000_000, delay_ns=1_000_000)


def fat_tree(core: LinkProfile = DEFAULT_CORE, k: int = 4, families: tuple[Family, ...] = (4,)) -> Topology:
    """Two pods of k/2 edge and k/2 aggregation switches each, below (k/2)^2 cores; k/2 disjoint paths.

    ``core`` shapes both directions of every link between the client's pod and a core, once per way; all else is wire.
    Path i goes through the link ``path<i>`` and the switch ``core<i>1``. Raises TopologyError unless k is 4, 6 or 8.
    """
    if k not in (4, 6, 8):
        raise TopologyError(f"topology fat_tree: k is 4, 6 or 8, not {k}")
    half = range(1, k // 2 + 1)
    links = [Link(name=f"access{i}", a="client", b=f"edge{i}") for i in half]
    links += [Link(name=f"up{i}{j}", a=f"edge{i}", b=f"agg{j}") for i in half for j in _preferring(i, half)]
    for i in half:
        for j in half:
            name = f"path{i}" if j == 1 else f"spare{i}{j}"
            links.append(symmetric(name, f"agg{i}", f"core{i}{j}", core))
    links += [Link(name=f"down{i}{j}", a=f"core{i}{j}", b=f"far_agg{i}") for i in half for j in half]
    links += [Link(name=f"leaf{i}{j}", a=f"far_agg{i}", b=f"far_edge{j}") for j in half for i in _preferring(j, half)]
    links += [Link(name=f"exit{i}", a=f"far_edge{i}", b="server") for i in half]
    return Topology(
        name="fat_tree",
        summary="Two pods of a small data-centre fabric, multi-homed hosts: disjoint paths through different cores.",
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=(
            *(Router(f"{layer}{i}") for layer in ("edge", "agg") for i in half),
            *(Router(f"core{i}{j}") for i in half for j in half),
            *(Router(f"{layer}{i}") for layer in ("far_agg", "far_edge") for i in half),
        ),
        links=tuple(links),
        paths=tuple(
            Path(f"path{i}", (f"access{i}", f"up{i}{i}", f"path{i}", f"down{i}1", f"leaf{i}{i}", f"exit{i}"))
            for i in half
        ),
        families=families,
    )


def _preferring(first: int, numbers: range) -> list[int]:
    """``numbers`` with ``first`` in front: the order of links decides between routes of equal length."""
    return [first, *(number for number in numbers if number != first)]
