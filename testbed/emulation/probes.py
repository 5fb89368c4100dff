"""Probe frames, and when to send them so that a link shows its delay, its loss and its rate.

A probe is a UDP/IPv4 packet between documentation addresses (RFC 5737) and locally administered MAC addresses that
nobody has: it crosses a relay, a bridge and a qdisc as any IP packet does, is impaired as one, and the host at the far
end drops it as not its own. The Ethernet header, which no impairment touches, says that it is a probe; the payload,
under a CRC, says which.
"""

from __future__ import annotations

import math
import socket
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.emulation.frames import ones_complement_sum
from topologies.link_profile import EveryNth, GilbertElliott, LinkProfile, NoLoss, RandomLoss

SMALL_BYTES = 64
LARGE_BYTES = 1514
SOURCE_MAC = bytes.fromhex("02544d505401")
_TARGET_MAC = bytes.fromhex("02544d505402")
_PAYLOAD = struct.Struct("!HBIqI")
"""link, direction, number, send time (CLOCK_REALTIME ns), CRC-32 of what precedes it."""
_PAYLOAD_AT = 42

_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_ETH_P_IP = 0x0800
_ETH_P_ALL = 3

MOST_PROBES = 1000
MOST_TRAIN_FRAMES = 1000
TRAIN_NS = 60_000_000
PROBES_NS = 120_000_000
LONGEST_PROBES_NS = 500_000_000
FRAMES_PER_SECOND = 25_000
"""All links together: what a per-packet relay on a small machine forwards without strain."""
FRAMES_PER_SECOND_OF_ONE_CPU = 2_500
"""Where the prober and the relay share a processor. On one whose instructions are counted (a guest on virtual time,
shift 0, 7.3) four trains of 20 Mbit/s at once, 6 600 frames a second, came 4 to 6 % slow: neither kept up."""


def probe_socket(interface: str, *, bridged: bool = False) -> socket.socket:
    """A socket to send and receive probes on ``interface`` of the calling thread's network namespace. Raises OSError.

    ``bridged``: the interface is a port of a bridge, which takes what is for one protocol before anybody else sees it
    (net/core/dev.c, __netif_receive_skb_core()); so all of them are listened to.
    """
    result = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    result.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    result.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    result.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    result.bind((interface, _ETH_P_ALL if bridged else _ETH_P_IP))
    return result


@dataclass(frozen=True, slots=True, order=True)
class Send:
    """One probe of a plan."""

    at_ns: int
    """Since the beginning."""
    link: int
    direction: int
    """0 forward, 1 backward."""
    number: int
    """Below ``DirectionPlan.probes``: a small one for delay and loss; from there on: a frame of the train."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DirectionPlan:
    """How many frames one direction gets."""

    probes: int
    train: int
    interval_ns: int


def _mean_loss(profile: LinkProfile) -> float:
    match profile.loss:
        case RandomLoss(probability):
            return probability
        case GilbertElliott():
            return profile.loss.mean()
        case EveryNth(n):
            return 1 / n
        case _:
            return 0.0


def probes_wanted(profile: LinkProfile) -> int:
    """Small probes: enough that the absence of the configured loss is out of a 99.9 % interval, within bounds."""
    loss = profile.loss
    probability = loss.probability if isinstance(loss, RandomLoss) else 0.0
    if isinstance(loss, GilbertElliott):
        probability = loss.mean() * min(1.0, loss.r)  # it comes in bursts
    if probability <= 0.0 or probability >= 1.0:
        return 50
    return max(50, min(MOST_PROBES, math.ceil(math.log(0.0005) / math.log1p(-probability)) + 1))


def plan_direction(profile: LinkProfile) -> DirectionPlan:
    """Small probes at no more than a quarter of the line; a train of TRAIN_NS or as long as frames allow."""
    wanted = probes_wanted(profile)
    if profile.rate_bit_s is None:
        return DirectionPlan(wanted, 0, PROBES_NS // wanted)
    interval_ns = max(PROBES_NS // wanted, 4 * SMALL_BYTES * 8 * 10**9 // profile.rate_bit_s)
    probes = min(wanted, max(20, LONGEST_PROBES_NS // interval_ns))
    frame_ns = frame_time_ns(profile.rate_bit_s)
    return DirectionPlan(probes, max(8, min(MOST_TRAIN_FRAMES, TRAIN_NS // frame_ns)), interval_ns)


def frame_time_ns(rate_bit_s: int, size_bytes: int = LARGE_BYTES) -> int:
    """Serialisation time of a frame."""
    return size_bytes * 8 * 10**9 // rate_bit_s


def plan(
    profiles: Sequence[tuple[LinkProfile, LinkProfile]],
    frames_per_second: int = FRAMES_PER_SECOND,
) -> tuple[list[Send], dict[tuple[int, int], DirectionPlan]]:
    """All sends in order of time, and the plan of each (link, direction).

    First the small probes of all links together, then the trains, as many at once as ``frames_per_second`` allows.
    """
    plans = {
        (link, direction): plan_direction(profile)
        for link, pair in enumerate(profiles)
        for direction, profile in enumerate(pair)
    }
    per_second = sum(10**9 / item.interval_ns for item in plans.values())
    stretch = max(1.0, per_second / frames_per_second)
    sends: list[Send] = []
    end_ns = 0
    for index, ((link, direction), item) in enumerate(plans.items()):
        for number in range(item.probes):
            at_ns = int((number + index / len(plans)) * item.interval_ns * stretch)
            sends.append(Send(at_ns, link, direction, number, SMALL_BYTES))
            end_ns = max(end_ns, at_ns)
    load, slot_ns, slot_end_ns = 0.0, end_ns + 5_000_000, 0
    for (link, direction), item in plans.items():
        profile = profiles[link][direction]
        if profile.rate_bit_s is None:
            continue
        frame_ns = frame_time_ns(profile.rate_bit_s)
        if load and load + 1e9 / frame_ns > frames_per_second:
            load, slot_ns = 0.0, slot_end_ns + 5_000_000
        load += 1e9 / frame_ns
        sends += _train(profile, item, link, direction, slot_ns)
        slot_end_ns = max(slot_end_ns, slot_ns + item.train * frame_ns)
    return sorted(sends), plans


def _train(profile: LinkProfile, item: DirectionPlan, link: int, direction: int, begin_ns: int) -> list[Send]:
    """A burst that half fills the queue, then frames at the rate of the line, so that it never runs dry."""
    assert profile.rate_bit_s is not None
    # Faster by what is lost before the line, and more because loss comes in runs; slower by the copies.
    headroom = 1.0 if isinstance(profile.loss, NoLoss) else 2.0 if isinstance(profile.loss, GilbertElliott) else 1.25
    crossing = max(0.1, 1 - _mean_loss(profile)) * (1 + profile.duplication)
    frame_ns = int(frame_time_ns(profile.rate_bit_s) * crossing / headroom)
    room = item.train
    if profile.queue is not None:
        room = profile.queue.packets or (profile.queue.size_bytes or 0) // LARGE_BYTES
    burst = max(1, min(item.train, room // 2))
    return [
        Send(begin_ns + max(0, index - burst) * frame_ns, link, direction, item.probes + index, LARGE_BYTES)
        for index in range(item.train)
    ]


def frame(send: Send, now_ns: int) -> bytes:
    """The probe's bytes; ``now_ns`` CLOCK_REALTIME."""
    length = send.size_bytes - 14
    addresses = bytes((192, 0, 2, 1, 192, 0, 2, 2))
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, 17, 0) + addresses)
    header[10:12] = (0xFFFF - ones_complement_sum(header)).to_bytes(2, "big")
    udp = _udp_header(send.size_bytes)
    start = struct.pack("!HBIq", send.link, send.direction, send.number, now_ns)
    payload = start + zlib.crc32(start).to_bytes(4, "big")
    data = _TARGET_MAC + SOURCE_MAC + b"\x08\x00" + header + udp + payload
    return data.ljust(send.size_bytes, b"\0")


def is_probe(data: bytes) -> bool:
    """Whether the Ethernet header is a probe's."""
    return data[6:12] == SOURCE_MAC


def read(data: bytes) -> tuple[int, int, int, int] | None:
    """(link, direction, number, send time), or None when the payload was damaged."""
    end = _PAYLOAD_AT + _PAYLOAD.size
    if len(data) < end or data[_PAYLOAD_AT - 8 : _PAYLOAD_AT] != _udp_header(len(data)) or any(data[end:]):
        return None
    link, direction, number, sent_ns, checksum = _PAYLOAD.unpack_from(data, _PAYLOAD_AT)
    if zlib.crc32(data[_PAYLOAD_AT : end - 4]) != checksum:
        return None
    return link, direction, number, sent_ns


def _udp_header(frame_bytes: int) -> bytes:
    """Discard port to discard port (RFC 863), no checksum."""
    return struct.pack("!HHHH", 9, 9, frame_bytes - 34, 0)
