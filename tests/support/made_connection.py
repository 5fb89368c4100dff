"""One MPTCP connection made packet by packet, and all that is measured of it by sets of octets: slow and plain."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from made_batches import ACK, SYN, Made

CLIENT_KEY = (2371058).to_bytes(8, "big")
"""The lower half of its IDSN is 0xffffffbb: 32-bit DSNs go round after 69 octets."""
SERVER_KEY = b"serverke"
ISN = 0xFFFFFF80
MS = 1_000_000


def idsn(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest()[-8:], "big")


def token(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big")


def end(host: int, subflow: int) -> tuple[bytes, int]:
    return bytes((10, 0, subflow, host)), (40000 + subflow if host == 1 else 5001)


def capable(*parts: bytes) -> bytes:
    body = bytes((0x01, 0x01)) + b"".join(parts)
    return bytes((30, 2 + len(body))) + body


def handshake(subflow: int, start_ns: int) -> list[Made]:
    """SYN, SYN/ACK, ACK: the capture stands at the client."""
    client, server = end(1, subflow), end(2, subflow)
    if subflow == 0:
        said = [capable(), capable(SERVER_KEY), capable(CLIENT_KEY, SERVER_KEY)]
    else:
        nonces = bytes((subflow,)) * 4, bytes((subflow, 9)) * 2
        proof = _hmac(SERVER_KEY, CLIENT_KEY, nonces[1], nonces[0])[:8]
        said = [
            bytes((30, 12, 0x10, subflow)) + token(SERVER_KEY).to_bytes(4, "big") + nonces[0],
            bytes((30, 16, 0x10, subflow + 10)) + proof + nonces[1],
            bytes((30, 24, 0x10, 0)) + _hmac(CLIENT_KEY, SERVER_KEY, nonces[0], nonces[1])[:20],
        ]
    return [
        Made(client, server, start_ns, ISN, None, SYN, options=[said[0]]),
        Made(server, client, start_ns + 20 * MS, ISN + 7, ISN + 1, SYN | ACK, options=[said[1]]),
        Made(client, server, start_ns + 20 * MS + 9000, ISN + 1, ISN + 8, ACK, options=[said[2]]),
    ]


def _hmac(own: bytes, peer: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.new(own + peer, first + second, "sha256").digest()


@dataclass
class Sums:
    """By subflow, of the client's data."""

    retransmitted: Counter[int] = field(default_factory=Counter)
    retransmitted_segments: Counter[int] = field(default_factory=Counter)
    reinjected: Counter[int] = field(default_factory=Counter)
    reinjected_segments: Counter[int] = field(default_factory=Counter)
    goodput: Counter[int] = field(default_factory=Counter)
    mapped: Counter[int] = field(default_factory=Counter)
    sequence: Counter[int] = field(default_factory=Counter)
    unmapped: Counter[int] = field(default_factory=Counter)
    out_of_order: Counter[int] = field(default_factory=Counter)
    dsn_out_of_order: Counter[int] = field(default_factory=Counter)
    waits: list[int] = field(default_factory=list)
    """Of each delivered octet, in order of DSN."""
    round_trips: list[tuple[int, int]] = field(default_factory=list)
    """(subflow, time)."""


def measured(packets: Sequence[Made], subflows: int) -> Sums:
    """Octet by octet; numbers are never cut, so nothing has to be widened."""
    sums = Sums()
    sent: dict[int, set[int]] = defaultdict(set)
    maps: dict[int, dict[int, int]] = defaultdict(dict)
    waiting: dict[int, set[int]] = defaultdict(set)
    senders: dict[int, set[int]] = defaultdict(set)
    arrival: dict[int, int] = {}
    expected: Counter[int] = Counter()
    dsn_expected = 0
    once: dict[int, dict[int, tuple[int, range]]] = defaultdict(dict)
    acked: dict[int, int] = defaultdict(int)
    ports = {40000 + number: number for number in range(subflows)}
    base = idsn(CLIENT_KEY)
    for packet in packets:
        if packet.source[1] == 5001:
            subflow = ports[packet.destination[1]]
            if packet.ack is not None and not packet.flags & SYN:
                behind = packet.ack - ISN
                if behind > acked[subflow]:
                    if behind in once[subflow]:
                        sums.round_trips.append((subflow, packet.time_ns - once[subflow][behind][0]))
                    acked[subflow] = behind
            continue
        if packet.flags & SYN:
            continue
        subflow = ports[packet.source[1]]
        first = packet.seq - ISN
        octets = range(first, first + packet.payload)
        if packet.mapping is not None:
            dsn, ssn, length = packet.mapping
            for number in range(length):
                maps[subflow].setdefault(ssn + number, dsn - base + number)
        if octets:
            again = [number for number in octets if number in sent[subflow]]
            sums.retransmitted[subflow] += len(again)
            sums.retransmitted_segments[subflow] += bool(again)
            if first < expected[subflow] and len(again) < len(octets):
                sums.out_of_order[subflow] += 1
            if again:
                for behind, (_, mine) in list(once[subflow].items()):
                    if behind - 1 in octets and mine:
                        del once[subflow][behind]
            elif octets.stop > acked[subflow]:
                once[subflow][octets.stop] = (packet.time_ns, octets)
            expected[subflow] = max(expected[subflow], octets.stop)
            sent[subflow].update(octets)
        counted = [number for number in octets if number in maps[subflow]]
        late = [number for number in sorted(waiting[subflow]) if number in maps[subflow]]
        waiting[subflow] = (waiting[subflow] | set(octets)) - maps[subflow].keys()
        others = False
        dsns = [maps[subflow][number] for number in counted]
        fresh = [dsn for dsn in dsns if not senders[dsn]]
        if fresh and min(dsns) < dsn_expected:
            sums.dsn_out_of_order[subflow] += 1
        for dsn in [*dsns, *(maps[subflow][number] for number in late)]:
            before = senders[dsn]
            sums.goodput[subflow] += not before
            sums.mapped[subflow] += subflow not in before
            sums.reinjected[subflow] += bool(before) and subflow not in before
            others |= bool(before - {subflow})
            senders[dsn].add(subflow)
            arrival.setdefault(dsn, packet.time_ns)
            dsn_expected = max(dsn_expected, dsn + 1)
        sums.reinjected_segments[subflow] += others
    for subflow in range(subflows):
        sums.sequence[subflow] = len(sent[subflow])
        sums.unmapped[subflow] = len(waiting[subflow])
    latest, dsn = 0, 1
    while dsn in arrival:
        latest = max(latest, arrival[dsn])
        sums.waits.append(latest - arrival[dsn])
        dsn += 1
    return sums
