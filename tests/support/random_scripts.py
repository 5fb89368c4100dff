"""Scripts of a peer that says many odd things and nothing untrue: a mapping names the octets that are really there."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SIZES = (1, 50, 100, 500, 1000)


@dataclass(slots=True)
class _Subflow:
    number: int
    next: int
    sent: list[tuple[int, int, int]] = field(default_factory=list)
    """First and last octet, and the relative sequence number of the first."""


def random_script(chance: random.Random) -> tuple[str, ...]:
    """One or two subflows; data with its mapping, without, with one of a part; repetitions, mappings on pure ACKs."""
    lines = [f"set {name} on" for name in ("checksum", "timestamps") if chance.random() < 0.25]
    lines += ["open sf1", "send sf1 1-100 map 1-100", "wait until data_acked 100"]
    subflows = [_Subflow(1, 101, [(1, 100, 1)])]
    if chance.random() < 0.6:
        lines.append("join sf2 on path2")
        subflows.append(_Subflow(2, 1))
    octet = 101
    for _ in range(chance.randint(1, 14)):
        subflow = chance.choice(subflows)
        if chance.random() < 0.6 or not subflow.sent:
            first = octet if chance.random() < 0.8 else max(101, octet - chance.choice(SIZES[:3]))
            octet = max(octet, _send(chance, subflow, first, lines) + 1)
        else:
            lines.append(_other(chance, subflow))
        if chance.random() < 0.5:
            lines.append(f"wait {chance.choice((1, 30, 300))}ms")
    return (*lines, "wait 300ms")


def _send(chance: random.Random, subflow: _Subflow, first: int, lines: list[str]) -> int:
    last = first + chance.choice(SIZES) - 1
    at = subflow.next
    said = chance.choice(
        (
            f"map {first}-{last} at {at}",
            f"map {first}-{last} at {at} dsn 4",
            f"map {first}-{last} at {at} no data_ack",
            f"map {first}-{chance.randint(first, last)} at {at}",
            "no map",
        )
    )
    lines.append(f"send sf{subflow.number} {first}-{last} at {at} {said}")
    subflow.sent.append((first, last, at))
    subflow.next += last - first + 1
    return last


def _other(chance: random.Random, subflow: _Subflow) -> str:
    name = f"sf{subflow.number}"
    first, last, at = chance.choice(subflow.sent)
    mapping = f"map {first}-{last} at {at}"
    return chance.choice(
        (
            f"send {name} {first}-{last} at {at} {mapping}",
            f"send {name} {first}-{last} at {at} no map",
            f"ack {name} {mapping}",
            f"ack {name} no dss",
            f"ack {name} mp_prio backup",
            f"ack {name} remove_addr {chance.randint(0, 3)}",
            f"ack {name} data_fin",
            f"fin {name}",
            f"rst {name} reason {chance.randint(0, 6)}",
        )
    )
