"""A topology as JSON-ready values and back, for the run directory: a stored run says which network it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topologies import link_profile, middlebox
from topologies.model import Host, Link, Path, Router, Topology, TopologyError

VERSION = 1


def to_dict(topology: Topology) -> dict[str, Any]:
    """Only dicts, lists, text, numbers, booleans and None; the inverse of :func:`from_dict`."""
    return {
        "version": VERSION,
        "name": topology.name,
        "summary": topology.summary,
        "hosts": [{"name": host.name, "role": host.role} for host in topology.hosts],
        "routers": [router.name for router in topology.routers],
        "links": [
            {
                "name": link.name,
                "a": link.a,
                "b": link.b,
                "forward": link_profile.to_dict(link.forward),
                "backward": link_profile.to_dict(link.backward),
                "changes": [link_profile.to_dict(change) for change in link.changes],
                "middleboxes": [middlebox.to_dict(each) for each in link.middleboxes],
            }
            for link in topology.links
        ],
        "paths": [{"name": path.name, "links": list(path.links)} for path in topology.paths],
        "families": list(topology.families),
    }


def from_dict(data: Mapping[str, Any]) -> Topology:
    """The topology that :func:`to_dict` wrote. Raises TopologyError for another version or a missing member."""
    if data.get("version") != VERSION:
        raise TopologyError(f"a stored topology has version {VERSION}, not {data.get('version')!r}")
    try:
        return Topology(
            name=data["name"],
            summary=data["summary"],
            hosts=tuple(Host(host["name"], host["role"]) for host in data["hosts"]),
            routers=tuple(Router(name) for name in data["routers"]),
            links=tuple(_link(link) for link in data["links"]),
            paths=tuple(Path(path["name"], tuple(path["links"])) for path in data["paths"]),
            families=tuple(data["families"]),
        )
    except KeyError as error:
        raise TopologyError(f"the stored topology {data.get('name')!r} lacks {error}") from None


def _link(data: Mapping[str, Any]) -> Link:
    return Link(
        name=data["name"],
        a=data["a"],
        b=data["b"],
        forward=link_profile.from_dict(data["forward"]),
        backward=link_profile.from_dict(data["backward"]),
        changes=tuple(link_profile.change_from_dict(change) for change in data["changes"]),
        middleboxes=tuple(middlebox.from_dict(each) for each in data.get("middleboxes", ())),
    )
