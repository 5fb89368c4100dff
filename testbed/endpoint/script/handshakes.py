"""How the subflows of a scripted peer begin: MP_CAPABLE and MP_JOIN, opened or accepted, with parts left out or wrong.

RFC 8684 §3.1 and §3.2; the HMACs and tokens are the stack's (testbed/mptcp/keys.py), which the real kernel has checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from testbed.endpoint.script.actions import Handshake
from testbed.endpoint.script.drafts import aligned
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.subflow import Subflow
from testbed.mptcp.keys import JOIN_ACK_HMAC_OCTETS, JOIN_SYN_ACK_HMAC_OCTETS, NONCE_OCTETS, join_hmac, token_of
from testbed.wire.options import MpCapable, MpJoin, Option, WindowScale
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress

if TYPE_CHECKING:
    from testbed.endpoint.script.peer import Pause, ScriptedPeer

SYN_AGAIN_NS = 1_000_000_000
"""A SYN that nobody answers is sent again (RFC 6298 §2.1: 1 s at first)."""


class NoConnection(Exception):
    """The first subflow did not come to be; the message says what was missing."""


def carry_out(peer: ScriptedPeer, action: Handshake) -> Iterator[Pause]:
    """What the script waits for on the way. Raises NoConnection when the first subflow gets no answer."""
    if action.joins and peer.keys.other is None and "bad token" not in action.altered:
        raise ScriptError(
            action.line, "the other end's key is not known: the first subflow has none, so nothing can join"
        )
    yield from _open(peer, action) if action.opens else _accept(peer, action)


# --- opening ---


def _open(peer: ScriptedPeer, action: Handshake) -> Iterator[Pause]:
    own, other = _addresses(peer, action)
    subflow = peer.begin_subflow(action.subflow, own, other)
    subflow.joins = action.joins
    subflow.address_id = action.subflow - 1 if action.address_id is None else action.address_id
    subflow.nonce = peer.chance.getrandbits(8 * NONCE_OCTETS)
    options = peer.drafts.of_syn(subflow, peer.now)
    if "without mptcp" not in action.altered:
        options.append(_syn_option(peer, action, subflow))
    area = aligned(options, action.line)
    deadline_ns = peer.now + action.within_ns
    while not subflow.syn_answered and not subflow.reset and peer.now < deadline_ns:
        peer.send(subflow, SYN, 0, 0, area)
        yield peer.pause(min(deadline_ns, peer.now + SYN_AGAIN_NS), lambda: subflow.syn_answered or subflow.reset)
    if not subflow.syn_answered:
        _missing(peer, action, subflow, "no SYN/ACK")
        return
    if "without third ack" not in action.altered:
        peer.send(subflow, ACK, 1, subflow.expected, _third_ack(peer, action, subflow))
    subflow.established = True
    peer.notes.put(f"established.sf{subflow.number}", 1)
    if action.joins and subflow.other_mptcp and "without third ack" not in action.altered:
        yield peer.pause(deadline_ns, lambda: subflow.confirmed or subflow.reset)


def _syn_option(peer: ScriptedPeer, action: Handshake, subflow: Subflow) -> Option:
    if not action.joins:
        flags = 0x81 if peer.keys.checksum else 0x01
        return MpCapable(flags if action.capable_flags is None else action.capable_flags, version=action.version)
    token = token_of(peer.keys.other or 0)
    if "bad token" in action.altered:
        token ^= 0xFFFFFFFF
    return MpJoin(subflow.address_id, "backup" in action.altered, token=token, nonce=subflow.nonce)


def _third_ack(peer: ScriptedPeer, action: Handshake, subflow: Subflow) -> tuple[Option, ...]:
    options: list[Option] = peer.drafts.timestamps(subflow, peer.now) if subflow.timestamps else []
    if "third ack without mptcp" not in action.altered and "without mptcp" not in action.altered:
        if action.joins:
            proof = join_hmac(peer.keys.own, peer.keys.other or 0, subflow.nonce, subflow.other_nonce)
            options.append(MpJoin(hmac=_spoiled(action, proof[:JOIN_ACK_HMAC_OCTETS])))
        elif peer.keys.other is not None:
            flags = 0x81 if peer.keys.checksum else 0x01
            options.append(MpCapable(flags, peer.keys.own, peer.keys.other))
    return aligned(options, action.line)


# --- accepting ---


def _accept(peer: ScriptedPeer, action: Handshake) -> Iterator[Pause]:
    deadline_ns = peer.now + action.within_ns
    yield peer.pause(deadline_ns, lambda: _awaited(peer, action) is not None)
    syn = _awaited(peer, action)
    if syn is None:
        _missing(peer, action, None, "no SYN with MP_JOIN" if action.joins else "no SYN")
        return
    peer.waiting_syns.remove(syn)
    subflow = peer.begin_subflow(action.subflow, syn.destination, syn.source)
    subflow.joins = action.joins
    subflow.address_id = action.subflow - 1 if action.address_id is None else action.address_id
    subflow.nonce = peer.chance.getrandbits(8 * NONCE_OCTETS)
    peer.segment_heard(subflow, syn)
    options = peer.drafts.of_syn(subflow, peer.now, syn.options)
    if "without mptcp" not in action.altered and subflow.other_mptcp:
        options.append(_syn_ack_option(peer, action, subflow))
    peer.send(subflow, SYN | ACK, 0, subflow.expected, aligned(options, action.line))
    yield peer.pause(deadline_ns, lambda: subflow.confirmed or subflow.reset)
    if not subflow.confirmed:
        _missing(peer, action, subflow, "no third ACK")
        return
    subflow.established = True
    peer.notes.put(f"established.sf{subflow.number}", 1)
    if action.joins and subflow.other_mptcp:
        peer.ack_now(subflow)  # RFC 8684 §3.2: the third packet is answered, and data comes only then


def _awaited(peer: ScriptedPeer, action: Handshake) -> Segment | None:
    for syn in peer.waiting_syns:
        if any(isinstance(option, MpJoin) for option in syn.options) == action.joins:
            return syn
    return None


def _syn_ack_option(peer: ScriptedPeer, action: Handshake, subflow: Subflow) -> Option:
    if not action.joins:
        flags = 0x81 if peer.keys.checksum else 0x01
        return MpCapable(flags if action.capable_flags is None else action.capable_flags, peer.keys.own)
    proof = join_hmac(peer.keys.own, peer.keys.other or 0, subflow.nonce, subflow.other_nonce)
    proof = _spoiled(action, proof[:JOIN_SYN_ACK_HMAC_OCTETS])
    return MpJoin(subflow.address_id, "backup" in action.altered, nonce=subflow.nonce, hmac=proof)


# --- both ---


def hear(peer: ScriptedPeer, subflow: Subflow, segment: Segment) -> None:
    """What a segment tells of a handshake."""
    if segment.flags & RST:
        return
    if segment.flags & SYN:
        _hear_syn(peer, subflow, segment)
        return
    subflow.confirmed = True
    for option in segment.mptcp:
        if isinstance(option, MpCapable) and option.sender_key is not None:
            peer.keys.learn(option.sender_key)


def _hear_syn(peer: ScriptedPeer, subflow: Subflow, segment: Segment) -> None:
    for option in segment.options:
        if isinstance(option, WindowScale):
            subflow.window_scale = option.shift
        elif isinstance(option, MpCapable) and not subflow.joins:
            subflow.other_mptcp = True
            peer.keys.checksum = peer.keys.checksum or bool(option.flags & MpCapable.FLAG_CHECKSUM)
            if option.sender_key is not None:
                peer.keys.learn(option.sender_key)
        elif isinstance(option, MpJoin) and subflow.joins:
            subflow.other_mptcp = True
            subflow.other_nonce = option.nonce or 0
    if segment.flags & ACK:
        subflow.sack = subflow.sack and any(option.kind == 4 for option in segment.options)
        subflow.timestamps = subflow.timestamps and segment.timestamps is not None
        if subflow.established:  # our third ACK was lost, or left out
            return
        subflow.syn_answered = True


def _missing(peer: ScriptedPeer, action: Handshake, subflow: Subflow | None, what: str) -> None:
    """Of a join it is a result; without a first subflow there is nothing to go on with, unless a reset said why."""
    if action.joins or (subflow is not None and (subflow.reset or action.altered)):
        peer.notes.count("timeouts", 0 if subflow is not None and subflow.reset else 1)
        return
    raise NoConnection(f"line {action.line}: {what} within {action.within_ns / 1e9:g} s")


def _addresses(peer: ScriptedPeer, action: Handshake) -> tuple[SocketAddress, SocketAddress]:
    where = peer.surroundings
    if action.path is None:
        _, own, other = where.paths[0]
    else:
        found = next((path for path in where.paths if path[0] == action.path), None)
        if found is None:
            names = ", ".join(name for name, *_ in where.paths)
            raise ScriptError(action.line, f"there is no path {action.path!r}: {names}")
        _, own, other = found
    first, last = where.local_ports
    port = first + action.subflow - 1
    if port > last:
        raise ScriptError(action.line, f"there are {last - first + 1} ports to open subflows from")
    return SocketAddress(own, port), SocketAddress(other, where.port)


def _spoiled(action: Handshake, proof: bytes) -> bytes:
    return bytes(octet ^ 0xFF for octet in proof) if "bad hmac" in action.altered else proof
