"""The private link between two machines, on which the wires of a lab go on: VLANs of one card, or a cable for each.

VLANs (IEEE 802.1Q) of the card tell the wires apart. Their numbers are chosen anew for each lab, so that no frame of an
earlier one arrives, and nothing waits for the kernel, which takes an interface of a namespace away in its own time. The
tag does not count against the MTU: drivers leave four octets of room for it (VLAN_HLEN), virtio-net among them.

Sources: ip-link(8); net/8021q/vlan_netlink.c, net/core/dev.c (default_device_exit_batch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from testbed.orchestrator import namespaces, offloads, rtnetlink
from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.netlink import Netlink, NetlinkError
from testbed.orchestrator.network_plan import NetworkPlan, Splice

MOST_VLANS = 4094
"""IEEE 802.1Q: 0 and 4095 are taken."""

_WORD = re.compile(r"vlan:[^\s:/,]{1,15}|wires:[^\s:/,]{1,15}(,[^\s:/,]{1,15})*")


@dataclass(frozen=True, slots=True)
class Card:
    """An interface as it was found."""

    index: int
    mtu: int


@dataclass(slots=True)
class Trunk:
    """The private link of one lab. ``home_fd`` is the namespace in which its cards are."""

    word: str
    """``vlan:CARD``, or ``wires:CARD,CARD...`` with a card for the first, second ... wire."""
    home_fd: int
    first_vlan: int = 1
    """Of the first wire."""
    _undo: list[tuple[Netlink, int, str | None]] = field(default_factory=list)
    """Connection into the node, index there, and the card's own name when it has to go home."""

    def __post_init__(self) -> None:
        check_word(self.word)

    @property
    def cards(self) -> list[str]:
        """Names in the home namespace."""
        return self.word.partition(":")[2].split(",")

    def prepare(self, plan: NetworkPlan) -> None:
        """Bring the card up, with room for the MTU; what arrives together stays apart unless the plan has offloads."""
        if not self.word.startswith("vlan:"):
            return
        (name,) = self.cards
        with namespaces.inside(self.home_fd), Netlink() as home, offloads.control_socket() as control:
            card = _card(home, name)
            if card.mtu < plan.settings.mtu_bytes:
                home.send([rtnetlink.set_mtu(card.index, plan.settings.mtu_bytes, f"ip link set {name} mtu")])
            home.send([rtnetlink.set_up(card.index, f"ip link set {name} up")])
            held = offloads.read(control, name)
            offloads.write(control, name, replace(held, gro=plan.settings.offloads == "on"))

    def attach(self, splice: Splice, position: int, node: Netlink, namespace_fd: int) -> int:
        """Put the ``position``-th wire's (from 0) interface into a namespace, down; its index there."""
        with namespaces.inside(self.home_fd), Netlink() as home:
            if self.word.startswith("vlan:"):
                index = self._new_vlan(home, splice, position, namespace_fd)
                self._undo.append((node, index, None))
                return index
            return self._take_wire(home, splice, position, node, namespace_fd)

    def detach(self) -> None:
        """Take all of it back, at once."""
        while self._undo:
            node, index, name = self._undo.pop()
            with suppress(NetlinkError):  # the other end took it along
                if name is None:
                    node.send([rtnetlink.delete_link(index, "ip link delete")])
                else:
                    node.send([rtnetlink.move(index, name, self.home_fd, f"ip link set {name} netns home")])

    def _new_vlan(self, home: Netlink, splice: Splice, position: int, namespace_fd: int) -> int:
        (name,) = self.cards
        card = _card(home, name)
        message = rtnetlink.new_vlan(
            splice.trunk,
            splice.trunk_index,
            splice.end.mtu_bytes,
            device=card.index,
            vlan_id=1 + (self.first_vlan - 1 + position) % MOST_VLANS,
            namespace_fd=namespace_fd,
        )
        try:
            home.send([message])
        except NetlinkError as error:
            if "kind" in str(error) or "not supported" in str(error):
                raise Unsupported(
                    f"this kernel has no VLANs ({error}): a private link of one card needs CONFIG_VLAN_8021Q"
                ) from None
            raise
        return splice.trunk_index

    def _take_wire(self, home: Netlink, splice: Splice, position: int, node: Netlink, namespace_fd: int) -> int:
        if position >= len(self.cards):
            raise Unsupported(f"the private link {self.word} has no {position + 1}. wire; name a card for each link")
        name = self.cards[position]
        card = _card(home, name)
        home.send([rtnetlink.move(card.index, splice.trunk, namespace_fd, f"ip link set {name} netns")])
        (index,) = [each.index for each in rtnetlink.interfaces(node) if each.name == splice.trunk]
        self._undo.append((node, index, name))
        return index


def dropped(splices: Sequence[Splice], node: Netlink) -> dict[str, int]:
    """Link -> frames that its wire was to take to the other machine and did not, since it is there."""
    found = {each.name: each for each in rtnetlink.interfaces(node)}
    return {each.end.link: found[each.trunk].tx_dropped for each in splices if each.trunk in found}


def problems(splices: Sequence[Splice], node: Netlink, before: Mapping[str, int]) -> list[str]:
    """Wires that are down, or have dropped what they had not ``before``: no emulated link would tell of it."""
    up = {each.name: each.up for each in rtnetlink.interfaces(node)}
    after = dropped(splices, node)
    down = [each.end.link for each in splices if not up.get(each.trunk)]
    lost = {link: count - before.get(link, 0) for link, count in after.items() if count > before.get(link, 0)}
    return [
        *(f"the private link's wire of {link} is down" for link in down),
        *(f"the private link's wire of {link} dropped {count} frames" for link, count in lost.items()),
    ]


def check_word(word: str) -> None:
    """Raises InvalidTrial."""
    if not _WORD.fullmatch(word):
        raise InvalidTrial(f"{word!r} is no private link: it is vlan:CARD or wires:CARD,CARD...")


def _card(home: Netlink, name: str) -> Card:
    for each in rtnetlink.interfaces(home):
        if each.name == name:
            return Card(each.index, each.mtu)
    raise InvalidTrial(f"the private link's card {name} is not there")
