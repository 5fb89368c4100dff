"""The words of a drawing: what stands on a link, and the lists below the picture. Both drawings say the same."""

from __future__ import annotations

from topologies import quantity
from topologies.link_profile import Change, LinkProfile, NoLoss
from topologies.link_text import describe, describe_change, format_field
from topologies.middlebox import describe_all
from topologies.model import Link, Path, Topology

_SI_UNITS = {"tbit": "Tbit/s", "gbit": "Gbit/s", "mbit": "Mbit/s", "kbit": "kbit/s", "bit": "bit/s"}


def label(link: Link) -> list[str]:
    """Name, then rate, delay and loss; once when both directions are alike, else with an arrow for each."""
    if link.forward == link.backward:
        lines = [link.name, *_essentials(link.forward)]
    else:
        lines = [link.name]
        for arrow, profile in (("→", link.forward), ("←", link.backward)):
            lines += [f"{arrow if not index else ' '} {line}" for index, line in enumerate(_essentials(profile))]
    lines += _middleboxes(link)
    return [*lines, _schedule(link)] if link.changes else lines


def _middleboxes(link: Link) -> list[str]:
    """The first words of them, each with the arrow of its direction where it sees one alone."""
    lists = [("", link.middleboxes), ("→ ", link.forward.middleboxes), ("← ", link.backward.middleboxes)]
    if link.forward.middleboxes == link.backward.middleboxes:
        lists = [("", link.middleboxes + link.forward.middleboxes)]
    words = [arrow + " + ".join(box.keyword for box in boxes) for arrow, boxes in lists if boxes]
    return [f"middleboxes: {', '.join(words)}"] if words else []


def _schedule(link: Link) -> str:
    """``"dark 8 s to 14 s"`` for one outage, else how many changes there are."""
    match link.changes:
        case (Change(down=True) as start, Change(down=False) as end):
            return f"dark {time(start.at_ns)} to {time(end.at_ns)}"
        case (change,):
            return f"{describe_change(change)} at {time(change.at_ns)}"
    return f"{len(link.changes)} changes"


def _essentials(profile: LinkProfile) -> list[str]:
    told = profile.traced()
    words = []
    if profile.trace is not None:
        words.append(f"trace {profile.trace.name}")
    if profile.rate_bit_s is not None and "rate_bit_s" not in told:
        words.append(rate(profile.rate_bit_s))
    if profile.delay_ns and "delay_ns" not in told:
        words.append(time(profile.delay_ns))
    lines = [" · ".join(words)] if words else []
    if profile.jitter is not None:
        lines.append(f"jitter {time(profile.jitter.amplitude_ns)}")
    if not isinstance(profile.loss, NoLoss) and "loss" not in told:
        lines.append(f"loss {format_field('loss', profile.loss)}")
    more = [name for name in ("reordering", "duplication", "corruption") if getattr(profile, name)]
    lines += [f"{name} {format_field(name, getattr(profile, name))}" for name in more]
    return lines or ["wire"]


def rate(bit_s: int) -> str:
    """``20000000`` -> ``"20 Mbit/s"``."""
    return _spaced(quantity.format_rate(bit_s), _SI_UNITS)


def time(ns: int) -> str:
    """``35000000`` -> ``"35 ms"``."""
    return _spaced(quantity.format_time(ns), {}) if ns else "0 ms"


def _spaced(text: str, units: dict[str, str]) -> str:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    return f"{number} {units.get(unit, unit)}"


def route(topology: Topology, path: Path) -> str:
    """``"client → r1 → server"``."""
    return " → ".join(topology.path_nodes(path))


def path_facts(topology: Topology, path: Path) -> str:
    """Round-trip propagation delay, and the narrowest rate towards the server and back."""
    forward, backward = path_profiles(topology, path)
    narrow = [
        min((profile.rate_bit_s for profile in profiles if profile.rate_bit_s is not None), default=None)
        for profiles in (forward, backward)
    ]
    words = [rate(value) if value is not None else "no rate limit" for value in narrow]
    there_and_back = words[0] if words[0] == words[1] else f"{words[0]} up, {words[1]} down"
    return f"RTT {time(topology.path_delay_ns(path))}, {there_and_back}"


def path_profiles(topology: Topology, path: Path) -> tuple[list[LinkProfile], list[LinkProfile]]:
    """The profiles that a packet from the client meets, and those that one to the client meets."""
    forward, backward = [], []
    for node, name in zip(topology.path_nodes(path), path.links, strict=False):
        link = topology.link(name)
        towards = node == link.a
        forward.append(link.forward if towards else link.backward)
        backward.append(link.backward if towards else link.forward)
    return forward, backward


def link_rows(topology: Topology) -> list[tuple[str, str, str]]:
    """(name, ends, description) of every shaped link; two rows when its directions differ."""
    rows = []
    for link in topology.shaped_links():
        if link.forward == link.backward:
            rows.append((link.name, f"{link.a} ↔ {link.b}", describe(link.forward)))
        else:
            rows.append((link.name, f"{link.a} → {link.b}", describe(link.forward)))
            rows.append(("", f"{link.a} ← {link.b}", describe(link.backward)))
        if link.middleboxes:
            rows.append(("", f"{link.a} ↔ {link.b}", f"middleboxes {describe_all(link.middleboxes)}"))
    return rows


def wires(topology: Topology) -> str:
    """The names of the links that do nothing to packets."""
    return ", ".join(link.name for link in topology.links if not link.is_shaped())


def schedule_rows(topology: Topology) -> list[tuple[str, str, str]]:
    """(time, link, what changes), in order of time."""
    changes = [(change, link.name) for link in topology.links for change in link.changes]
    arrow = {"both": "", "forward": " →", "backward": " ←"}
    return [
        (time(change.at_ns), name + arrow[change.direction], describe_change(change))
        for change, name in sorted(changes, key=lambda entry: entry[0].at_ns)
    ]


def address_rows(topology: Topology) -> list[tuple[str, str, str]]:
    """(node, link, addresses) of every interface, in the order of nodes and links."""
    table = topology.addresses()
    return [
        (node.name, link.name, " ".join(str(table[node.name, link.name, family]) for family in topology.families))
        for node in topology.nodes
        for link in topology.links_of(node.name)
    ]
