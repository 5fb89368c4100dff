"""What the kernel knows of a TCP segment when it leaves: a BPF program and the records that it writes.

The program runs on the raw tracepoint ``net_dev_queue`` (net/core/dev.c), inside the call that transmits: the socket
is as the option writer saw it (tcp_established_options() in net/ipv4/tcp_output.c, mptcp_established_options() in
net/mptcp/options.c), with one exception, which :meth:`Seen.wanted_dsack` undoes: the mark of a D-SACK is taken off
when the block has been written. Only packets of chosen network namespaces which an IP socket of this machine sends are
recorded: what a router or a bridge passes on has no socket any more, what a packet socket sends is not the kernel's.

Not every packet has a TCP socket with state: a SYN+ACK belongs to a request for one, a reset to nobody. Those are
recorded with their headers only. One packet that passes stacked devices (VLAN) is seen at each of them.

The assembled program (not this file) may be used under the terms of the MIT license or of the GPL: the kernel gives
the means of reading its memory only to programs that say so.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

from testbed.orchestrator.bpf.assembler import FRAME, R0, R1, R2, R3, R6, R7, R8, R9, Assembler
from testbed.orchestrator.bpf.btf import Btf, BtfError, Field

LICENSE = "Dual MIT/GPL"
TRACEPOINT = "net_dev_queue"
NAME = "testbed_ledger"

PACKET, REQUEST, SOCKET, SUBFLOW = range(4)
"""How much was known: headers; the request for a connection; the TCP socket; the MPTCP connection besides."""

_LOOKUP, _CLOCK, _PROBE_READ, _RESERVE, _SUBMIT, _DISCARD = 1, 5, 113, 131, 132, 133
"""Helpers (bpf-helpers(7)): bpf_map_lookup_elem, bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_ringbuf_*."""
_NO_WAKEUP = 1
_TIME_WAIT, _NEW_SYN_RECV, _SOCK_STREAM, _IPPROTO_TCP = 6, 12, 1, 6
_AF_INET, _AF_INET6 = 2, 10

_HEADS = struct.Struct("=QIIIHHHBBII")
_TIME, _TAG, _INTERFACE, _LENGTH, _NETWORK, _TRANSPORT, _GSO, _LEVEL, _STATE, _RCV_NXT, _SND_NXT = (
    *(0, 8, 12, 16, 20, 22, 24, 26, 27),
    *(28, 32),
)
_IP, _IP_OCTETS = 36, 40
_TCP, _TCP_OCTETS = 76, 60
_RX_OPT, _RX_OPT_OCTETS = 136, 32
_DUPLICATE, _SELECTIVE, _SACK_BLOCKS = 168, 176, 4
_TOKEN, _SIGNAL, _REMOVALS, _PATH_MTU = 208, 212, 213, 216
_OWN, _THEIRS, _ADDRESS_OCTETS = 224, 256, 32
_HEAD, _DATA = 288, 292
"""Low halves of the addresses of the packet's memory and of its first octet in it; the difference is what counts."""
RECORD_OCTETS = 296
_LOW_HALF = 0 if sys.byteorder == "little" else 4

_POINTER, _SECOND_POINTER, _KEY, _NUMBER = -8, -16, -24, -32
"""Places on the program's stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Where the members are that the program or the decoder needs."""

    sock: Field
    device: Field
    head: Field
    data: Field
    end: Field
    length: Field
    network_header: Field
    transport_header: Field
    gso_segments: Field
    namespace: Field
    namespace_number: Field
    interface: Field
    family: Field
    state: Field
    type: Field
    rcv_nxt: Field
    snd_nxt: Field
    path_mtu: Field
    request_irs: Field
    rx_opt: Field
    num_sacks: Field
    """Within ``rx_opt``, as are the next two."""
    dsack: Field
    mss_clamp: Field
    duplicate_sack: Field
    selective_acks: Field
    mptcp: MptcpOffsets | None
    """None: a kernel without MPTCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MptcpOffsets:
    """... those of a connection."""

    is_mptcp: Field
    request_is_mptcp: Field
    request_token: Field
    context: Field
    connection: Field
    token: Field
    addr_signal: Field
    own_address: Field
    their_address: Field
    removals: Field
    family: Field
    """Within an address, as is the next."""
    port: Field
    add_addr_bit: int
    echo_bit: int
    remove_addr_bit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One segment as it left."""

    time_ns: int
    """CLOCK_MONOTONIC."""
    tag: int
    """Of its network namespace, as the caller numbered them."""
    interface: int
    """Index."""
    family: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    flags: int
    """Octet of the TCP header."""
    options: bytes
    payload: int
    gso_segments: int
    """How many packets the device is to make of it; 0: it is one."""
    level: int
    rcv_nxt: int = 0
    """Of a request: the peer's initial sequence number."""
    snd_nxt: int = 0
    mss: int = 0
    """Octets of payload and options that one packet may take; 0: not known."""
    num_sacks: int = 0
    has_dsack: bool = False
    """``rx_opt.dsack`` after the options were written: a D-SACK that was displaced."""
    duplicate_sack: tuple[int, int] = (0, 0)
    selective_acks: tuple[tuple[int, int], ...] = ()
    token: int = 0
    """Of the MPTCP connection at this end; 0: none, or closed."""
    postponed: tuple[tuple[str, int], ...] = ()
    """Address signals that are still to be sent, as (name, size without padding)."""

    def wanted_dsack(self, sent: tuple[tuple[int, int], ...]) -> bool:
        """Whether the writer was to report a D-SACK, given the blocks on the segment.

        One that was sent is the first block and no longer marked (tcp_options_write() clears the mark): it was there
        when the first block is the socket's D-SACK block and not its first ordinary one, or both are alike and it is
        on the segment twice. (Alike, with room for one block only: taken for the ordinary one.)
        """
        if self.has_dsack or not sent or sent[0] != self.duplicate_sack:
            return self.has_dsack
        return not self.num_sacks or sent[0] != self.selective_acks[0] or (len(sent) > 1 and sent[1] == sent[0])

    def blocks_wanted(self, sent: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """The min(4, num_sacks + dsack) blocks that the writer was to report, given those on the segment."""
        ordinary = self.selective_acks[: self.num_sacks]
        return ((self.duplicate_sack, *ordinary) if self.wanted_dsack(sent) else ordinary)[:_SACK_BLOCKS]


def find_offsets(types: Btf) -> Offsets:
    """Of the running kernel. Raises BtfError, which names the member that it lacks."""
    rx_opt = types.field("tcp_sock", "rx_opt")
    found = Offsets(
        sock=types.field("sk_buff", "sk"),
        device=types.field("sk_buff", "dev"),
        head=types.field("sk_buff", "head"),
        data=types.field("sk_buff", "data"),
        end=types.field("sk_buff", "end"),
        length=types.field("sk_buff", "len"),
        network_header=types.field("sk_buff", "network_header"),
        transport_header=types.field("sk_buff", "transport_header"),
        gso_segments=types.field("skb_shared_info", "gso_segs"),
        namespace=types.field("net_device", "nd_net.net"),
        namespace_number=types.field("net", "ns.inum"),
        interface=types.field("net_device", "ifindex"),
        family=types.field("sock", "__sk_common.skc_family"),
        state=types.field("sock", "__sk_common.skc_state"),
        type=types.field("sock", "sk_type"),
        rcv_nxt=types.field("tcp_sock", "rcv_nxt"),
        snd_nxt=types.field("tcp_sock", "snd_nxt"),
        path_mtu=types.field("inet_connection_sock", "icsk_pmtu_cookie"),
        request_irs=types.field("tcp_request_sock", "rcv_isn"),
        rx_opt=rx_opt,
        num_sacks=types.field("tcp_options_received", "num_sacks"),
        dsack=types.field("tcp_options_received", "dsack"),
        mss_clamp=types.field("tcp_options_received", "mss_clamp"),
        duplicate_sack=types.field("tcp_sock", "duplicate_sack"),
        selective_acks=types.field("tcp_sock", "selective_acks"),
        mptcp=_mptcp_offsets(types) if types.has("mptcp_subflow_context") else None,
    )
    expected = (
        (found.end, 4, "sk_buff.end"),
        (found.namespace_number, 4, "net.ns.inum"),
        (found.duplicate_sack, 8, "tcp_sock.duplicate_sack"),
        (found.selective_acks, 8 * _SACK_BLOCKS, "tcp_sock.selective_acks"),
    )
    for member, octets, name in expected:
        if member.size != octets:
            raise BtfError(f"this kernel's {name} has {member.size} octets, not {octets}: another program is needed")
    if rx_opt.size > _RX_OPT_OCTETS:
        raise BtfError(f"this kernel's tcp_sock.rx_opt has {rx_opt.size} octets, more than a record has room for")
    return found


def _mptcp_offsets(types: Btf) -> MptcpOffsets:
    signals = types.constants("mptcp_addr_signal_status")
    own, theirs = (types.field("mptcp_sock", f"pm.{name}") for name in ("local", "remote"))
    if max(own.size, theirs.size) > _ADDRESS_OCTETS:
        raise BtfError(f"this kernel's mptcp_addr_info has {own.size} octets, more than a record has room for")
    return MptcpOffsets(
        is_mptcp=types.field("tcp_sock", "is_mptcp"),
        request_is_mptcp=types.field("tcp_request_sock", "is_mptcp"),
        request_token=types.field("mptcp_subflow_request_sock", "token"),
        context=types.field("inet_connection_sock", "icsk_ulp_data"),
        connection=types.field("mptcp_subflow_context", "conn"),
        token=types.field("mptcp_sock", "token"),
        addr_signal=types.field("mptcp_sock", "pm.addr_signal"),
        own_address=own,
        their_address=theirs,
        removals=types.field("mptcp_sock", "pm.rm_list_tx.nr"),
        family=types.field("mptcp_addr_info", "family"),
        port=types.field("mptcp_addr_info", "port"),
        add_addr_bit=signals["MPTCP_ADD_ADDR_SIGNAL"],
        echo_bit=signals["MPTCP_ADD_ADDR_ECHO"],
        remove_addr_bit=signals["MPTCP_RM_ADDR_SIGNAL"],
    )


def write_program(offsets: Offsets, *, namespaces: int, ring: int, counters: int) -> bytes:
    """The instructions. ``namespaces``: hash of namespace number -> tag; ``counters``: array, first value: lost."""
    program = _Program(offsets)
    program.choose(namespaces)
    program.reserve(ring, counters)
    program.record_headers()
    program.record_socket()
    if offsets.mptcp is not None:
        program.record_connection(offsets.mptcp)
    program.record_request()
    return program.finished()


class _Program:
    """R6: the packet; R7: the record; R8: a structure on the way; R9: the socket."""

    def __init__(self, offsets: Offsets) -> None:
        self._at = offsets
        self._code = Assembler()

    def choose(self, namespaces: int) -> None:
        """Leave packets alone that no IP socket sends (but a packet socket) or that are in none of the namespaces."""
        code, at = self._code, self._at
        code.load(8, R6, R1, 0)  # the tracepoint's first argument
        self._follow(R9, R6, at.sock, _POINTER, "out")
        self._load(R1, R9, at.family)
        code.jump_if(R1, "==", _AF_INET, "of IP")
        code.jump_if(R1, "!=", _AF_INET6, "out")
        code.label("of IP")
        self._follow(R8, R6, at.device, _SECOND_POINTER, "out")
        self._follow(R8, R8, at.namespace, _POINTER, "out")
        code.store_constant(8, FRAME, _KEY, 0)
        self._read(FRAME, _KEY, 4, R8, at.namespace_number.offset)
        code.map_descriptor(R1, namespaces)
        code.move(R2, FRAME)
        code.add_constant(R2, _KEY)
        code.call(_LOOKUP)
        code.jump_if(R0, "==", 0, "out")
        code.load(4, R8, R0, 0)

    def reserve(self, ring: int, counters: int) -> None:
        """Room for a record; without it the packet is counted as lost."""
        code = self._code
        code.map_descriptor(R1, ring)
        code.set(R2, RECORD_OCTETS)
        code.set(R3, 0)
        code.call(_RESERVE)
        code.jump_if(R0, "!=", 0, "reserved")
        code.map_value(R1, counters)
        code.set(R2, 1)
        code.atomic_add(R1, 0, R2)
        code.jump("out")
        code.label("reserved")
        code.move(R7, R0)
        code.store(4, R7, _TAG, R8)
        code.call(_CLOCK)
        code.store(8, R7, _TIME, R0)

    def record_headers(self) -> None:
        """IP and TCP; whatever else it is gives its room back."""
        code, at = self._code, self._at
        self._read(R7, _LENGTH, 4, R6, at.length.offset)
        self._read(R7, _NETWORK, 2, R6, at.network_header.offset)
        self._read(R7, _TRANSPORT, 2, R6, at.transport_header.offset)
        for place, pointer in ((_HEAD, at.head), (_DATA, at.data)):
            self._read(R7, place, 4, R6, pointer.offset + _LOW_HALF)
        self._follow(R8, R6, at.head, _POINTER, "discard")
        code.load(2, R3, R7, _NETWORK)
        self._read(R7, _IP, _IP_OCTETS, R8, 0, beyond=True)
        code.load(1, R1, R7, _IP)
        code.shift_right(R1, 4)
        code.jump_if(R1, "==", 4, "ipv4")
        code.jump_if(R1, "!=", 6, "discard")
        code.load(1, R1, R7, _IP + 6)
        code.jump("protocol")
        code.label("ipv4")
        code.load(1, R1, R7, _IP + 9)
        code.label("protocol")
        code.jump_if(R1, "!=", _IPPROTO_TCP, "discard")
        code.load(2, R3, R7, _TRANSPORT)
        self._read(R7, _TCP, _TCP_OCTETS, R8, 0, beyond=True)
        self._read(FRAME, _NUMBER, 4, R6, at.end.offset)
        code.load(4, R3, FRAME, _NUMBER)
        self._read(R7, _GSO, 2, R8, at.gso_segments.offset, beyond=True)
        code.load(8, R8, FRAME, _SECOND_POINTER)
        self._read(R7, _INTERFACE, 4, R8, at.interface.offset)

    def record_socket(self) -> None:
        """What the option writer went by, if this is a TCP socket and not what stands for one."""
        code, at = self._code, self._at
        code.store_constant(1, R7, _LEVEL, PACKET)
        self._read(R7, _STATE, 1, R9, at.state.offset)
        code.load(1, R1, R7, _STATE)
        code.jump_if(R1, "==", _TIME_WAIT, "submit")
        code.jump_if(R1, "==", _NEW_SYN_RECV, "request")
        self._load(R1, R9, at.type)
        code.jump_if(R1, "!=", _SOCK_STREAM, "submit")
        code.store_constant(1, R7, _LEVEL, SOCKET)
        self._read(R7, _RCV_NXT, 4, R9, at.rcv_nxt.offset)
        self._read(R7, _SND_NXT, 4, R9, at.snd_nxt.offset)
        self._read(R7, _PATH_MTU, 4, R9, at.path_mtu.offset)
        self._read(R7, _RX_OPT, at.rx_opt.size, R9, at.rx_opt.offset)
        self._read(R7, _DUPLICATE, 8, R9, at.duplicate_sack.offset)
        self._read(R7, _SELECTIVE, 8 * _SACK_BLOCKS, R9, at.selective_acks.offset)

    def record_connection(self, at: MptcpOffsets) -> None:
        """The MPTCP connection of a subflow: which one, and what its path manager still has to say."""
        code = self._code
        self._load(R1, R9, at.is_mptcp)
        code.jump_if(R1, "==", 0, "submit")
        self._follow(R8, R9, at.context, _POINTER, "submit")
        self._follow(R8, R8, at.connection, _POINTER, "submit")
        self._read(R7, _TOKEN, 4, R8, at.token.offset)
        self._read(R7, _SIGNAL, 1, R8, at.addr_signal.offset)
        self._read(R7, _REMOVALS, 1, R8, at.removals.offset)
        self._read(R7, _OWN, at.own_address.size, R8, at.own_address.offset)
        self._read(R7, _THEIRS, at.their_address.size, R8, at.their_address.offset)
        code.store_constant(1, R7, _LEVEL, SUBFLOW)

    def record_request(self) -> None:
        """What a SYN+ACK belongs to."""
        code, at = self._code, self._at
        code.jump("submit")
        code.label("request")
        code.store_constant(1, R7, _LEVEL, REQUEST)
        self._read(R7, _RCV_NXT, 4, R9, at.request_irs.offset)
        code.store_constant(4, R7, _TOKEN, 0)
        if at.mptcp is not None:
            self._load(R1, R9, at.mptcp.request_is_mptcp)
            code.jump_if(R1, "==", 0, "submit")
            self._read(R7, _TOKEN, 4, R9, at.mptcp.request_token.offset)

    def finished(self) -> bytes:
        """With the ways out."""
        code = self._code
        for label, helper in (("submit", _SUBMIT), ("discard", _DISCARD)):
            code.label(label)
            code.move(R1, R7)
            code.set(R2, _NO_WAKEUP)
            code.call(helper)
            code.exit()
        code.label("out")
        code.exit()
        return code.assembled()

    def _read(self, to: int, place: int, octets: int, base: int, offset: int, *, beyond: bool = False) -> None:
        """Memory of the kernel at ``base + offset`` -> ``to + place``; zeros where it cannot be read.

        ``beyond``: R3 holds what is to be added to ``base``.
        """
        code = self._code
        if beyond:
            code.add(R3, base)
        else:
            code.move(R3, base)
        if offset:
            code.add_constant(R3, offset)
        code.move(R1, to)
        code.add_constant(R1, place)
        code.set(R2, octets)
        code.call(_PROBE_READ)

    def _follow(self, to: int, base: int, pointer: Field, place: int, otherwise: str) -> None:
        """``to`` = the pointer in the structure at ``base``, through the stack; where it is null, ``otherwise``."""
        self._read(FRAME, place, 8, base, pointer.offset)
        self._code.load(8, to, FRAME, place)
        self._code.jump_if(to, "==", 0, otherwise)

    def _load(self, to: int, base: int, member: Field) -> None:
        """``to`` = a small number in the structure at ``base``."""
        code = self._code
        self._read(FRAME, _NUMBER, member.size, base, member.offset)
        code.load(member.size, to, FRAME, _NUMBER)
        if member.shift:
            code.shift_right(to, member.shift)
        if member.bits:
            code.and_constant(to, (1 << member.bits) - 1)


def decode(record: bytes, offsets: Offsets) -> Seen:
    """A record as the program wrote it. Raises ValueError when it has another size or is no TCP packet."""
    if len(record) != RECORD_OCTETS:
        raise ValueError(f"a record has {len(record)} octets, not {RECORD_OCTETS}")
    heads = _HEADS.unpack_from(record)
    time_ns, tag, interface, length, _, transport, gso, level, _, rcv_nxt, snd_nxt = heads
    source_port, destination_port, sequence, _, data_offset, flags = struct.unpack_from("!HHIIBB", record, _TCP)
    header = data_offset >> 4 << 2
    if header < 20:
        raise ValueError(f"a TCP header of {header} octets")
    is_ipv4 = record[_IP] >> 4 == 4
    start, octets = (_IP + 12, 4) if is_ipv4 else (_IP + 8, 16)
    head, data = struct.unpack_from("=II", record, _HEAD)
    before = transport - (data - head & 0xFFFF_FFFF)  # of the TCP header: IP, and the link layer where it is there
    seen: dict[str, Any] = {
        "time_ns": time_ns,
        "tag": tag,
        "interface": interface,
        "family": 4 if is_ipv4 else 6,
        "source": record[start : start + octets],
        "destination": record[start + octets : start + 2 * octets],
        "source_port": source_port,
        "destination_port": destination_port,
        "sequence": sequence,
        "flags": flags,
        "options": record[_TCP + 20 : _TCP + header],
        "payload": length - before - header,
        "gso_segments": gso,
        "level": level,
    }
    if level == REQUEST:
        seen |= {"rcv_nxt": rcv_nxt, "token": _token(record)}
    elif level >= SOCKET:
        blocks = struct.unpack_from(f"={2 + 2 * _SACK_BLOCKS}I", record, _DUPLICATE)
        pairs = tuple(zip(blocks[::2], blocks[1::2], strict=True))
        seen |= {
            "rcv_nxt": rcv_nxt,
            "snd_nxt": snd_nxt,
            "mss": _mss(record, offsets, 20 if is_ipv4 else 40),
            "num_sacks": _number(record, _RX_OPT, offsets.num_sacks),
            "has_dsack": bool(_number(record, _RX_OPT, offsets.dsack)),
            "duplicate_sack": pairs[0],
            "selective_acks": pairs[1:],
        }
    if level >= SUBFLOW and offsets.mptcp is not None:
        seen["token"] = _token(record)
        seen["postponed"] = _postponed(record, offsets.mptcp)
    return Seen(**seen)


def _token(record: bytes) -> int:
    return int(struct.unpack_from("=I", record, _TOKEN)[0])


def _mss(record: bytes, at: Offsets, network_header: int) -> int:
    """As tcp_sync_mss() finds it, before options are taken off: the path's MTU, the peer's MSS."""
    path_mtu = int(struct.unpack_from("=I", record, _PATH_MTU)[0])
    clamp = _number(record, _RX_OPT, at.mss_clamp)
    return max(0, min(path_mtu - network_header - 20, clamp)) if path_mtu else 0


def _postponed(record: bytes, at: MptcpOffsets) -> tuple[tuple[str, int], ...]:
    """Address signals that are set. Sizes: RFC 8684 §3.4.1 (an echo has no HMAC) and §3.4.2."""
    signal, waiting = record[_SIGNAL], []
    for bit, address, own in ((at.echo_bit, _THEIRS, 0), (at.add_addr_bit, _OWN, 8)):
        if signal >> bit & 1:
            is_ipv6 = _number(record, address, at.family) == _AF_INET6
            port = 2 if _number(record, address, at.port) else 0
            waiting.append(("add_addr", 4 + (16 if is_ipv6 else 4) + port + own))
    if signal >> at.remove_addr_bit & 1:
        waiting.append(("remove_addr", 3 + record[_REMOVALS]))
    return tuple(waiting)


def _number(record: bytes, start: int, member: Field) -> int:
    at = start + member.offset
    value = int.from_bytes(record[at : at + member.size], sys.byteorder) >> member.shift
    return value & (1 << member.bits) - 1 if member.bits else value
