"""Records as the BPF program writes them, and the types of a kernel that has such a program's structures."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass

from btf_builder import BtfBuilder, Member

from testbed.orchestrator.bpf import segment_program
from testbed.orchestrator.bpf.btf import Btf, Field

_AT = segment_program


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a socket holds."""

    rcv_nxt: int = 500
    snd_nxt: int = 1000
    num_sacks: int = 0
    dsack: bool = False
    duplicate: tuple[int, int] = (0, 0)
    selective: tuple[tuple[int, int], ...] = ((0, 0),) * 4
    path_mtu: int = 1500
    mss_clamp: int = 1460
    token: int = 0
    signal: int = 0
    """Bits: ADD_ADDR, echo, REMOVE_ADDR."""
    own: tuple[int, int] = (2, 0)
    """Address family and port."""
    theirs: tuple[int, int] = (2, 0)
    removals: int = 0


def types_of_a_kernel(
    *, mptcp: bool = True, rx_opt_octets: int = 24, selective_acks: int = 4, without: str = ""
) -> bytes:
    """The structures that the program needs, their members in an order that no kernel has."""
    types = BtfBuilder("<" if sys.byteorder == "little" else ">")
    u8, u16, u32, u64 = (types.integer(f"u{8 * octets}", octets) for octets in (1, 2, 4, 8))
    pointer = types.pointer(0)
    received: list[Member] = [("num_sacks", u8, 8 * 7), ("mss_clamp", u16, 8 * 2)]
    flags: list[Member] = [("saw_tstamp", u16, 0, 1), ("dsack", u16, 2, 1)]
    members = [
        *(flag for flag in flags if flag[0] != without),
        *((name, of, bits, 0) for name, of, bits in received if name != without),
    ]
    rx_opt = types.structure("tcp_options_received", rx_opt_octets, members)
    block = types.structure("tcp_sack_block", 8, [("start_seq", u32, 0), ("end_seq", u32, 32)])
    names = ("network_header", "transport_header")
    halves: list[Member] = [(name, u16, 16 * index) for index, name in enumerate(names)]
    wide: list[Member] = [(name, pointer, 64 * index) for index, name in enumerate(("sk", "dev", "head", "data"), 1)]
    types.structure("sk_buff", 64, [*halves, ("len", u32, 32), *wide, ("end", u32, 8 * 48)])
    types.structure("skb_shared_info", 16, [("gso_segs", u16, 32)])
    net = types.structure("possible_net", 8, [("net", pointer, 0)])
    types.structure("net_device", 64, [("ifindex", u32, 64), ("nd_net", net, 128)])
    common = types.structure("ns_common", 16, [("inum", u32, 64)])
    types.structure("net", 64, [("ns", common, 128)])
    common = types.structure("sock_common", 8, [("skc_family", u16, 0), ("skc_state", u8, 16)])
    types.structure("sock", 32, [("__sk_common", common, 0), ("sk_type", u16, 128)])
    members_of_tcp: list[Member] = [
        ("rcv_nxt", u32, 0),
        ("snd_nxt", u32, 32),
        ("is_mptcp", u8, 64),
        ("rx_opt", rx_opt, 128),
        ("duplicate_sack", types.array(block, 1), 512),
        ("selective_acks", types.array(block, selective_acks), 576),
    ]
    types.structure("tcp_sock", 128, members_of_tcp)
    types.structure("inet_connection_sock", 32, [("icsk_pmtu_cookie", u32, 0), ("icsk_ulp_data", pointer, 64)])
    types.structure("tcp_request_sock", 32, [("rcv_isn", u32, 0), ("is_mptcp", u8, 32)])
    if mptcp:
        address = types.structure("mptcp_addr_info", 24, [("id", u8, 0), ("family", u16, 16), ("port", u16, 32)])
        removals = types.structure("mptcp_rm_list", 9, [("nr", u8, 64)])
        members_of_pm: list[Member] = [
            ("local", address, 0),
            ("remote", address, 192),
            ("addr_signal", u8, 384),
            ("rm_list_tx", removals, 392),
        ]
        manager = types.structure("mptcp_pm_data", 64, members_of_pm)
        types.structure("mptcp_sock", 96, [("token", u32, 0), ("pm", manager, 64)])
        types.structure("mptcp_subflow_context", 16, [("conn", pointer, 64)])
        types.structure("mptcp_subflow_request_sock", 16, [("token", u32, 32)])
        signals = ("MPTCP_ADD_ADDR_SIGNAL", "MPTCP_ADD_ADDR_ECHO", "MPTCP_RM_ADDR_SIGNAL")
        types.enumeration("mptcp_addr_signal_status", [(name, bit) for bit, name in enumerate(signals)])
    types.integer("u64 again", u64)
    return types.built()


OFFSETS = segment_program.find_offsets(Btf(types_of_a_kernel()))


def record(
    level: int,
    *,
    family: int = 4,
    source: str = "",
    destination: str = "",
    source_port: int = 5001,
    destination_port: int = 40000,
    sequence: int = 1000,
    flags: int = 0x10,
    options: bytes = b"",
    payload: int = 0,
    time_ns: int = 0,
    tag: int = 0,
    link_layer: int = 14,
    held: Held | None = None,
) -> bytes:
    """One record; ``level`` is of segment_program."""
    held = held or Held()
    addresses = [source, destination]
    for index, address in enumerate(addresses):
        addresses[index] = address or (f"10.0.0.{index + 1}" if family == 4 else f"fd00::{index + 1}")
    form = socket.AF_INET if family == 4 else socket.AF_INET6
    ends = b"".join(socket.inet_pton(form, address) for address in addresses)
    ip = (b"\x45" + bytes(8) + b"\x06" + bytes(2) if family == 4 else b"\x60" + bytes(5) + b"\x06" + bytes(1)) + ends
    tcp = struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, held.rcv_nxt, 0, flags, 0, 0, 0) + options
    tcp = tcp[:12] + bytes([len(tcp) // 4 << 4]) + tcp[13:]
    network = 64 + 14
    transport = network + len(ip)
    raw = bytearray(segment_program.RECORD_OCTETS)
    length = link_layer + len(ip) + len(tcp) + payload
    heads = (time_ns, tag, 3, length, network, transport, 1, level, 0, held.rcv_nxt, held.snd_nxt)
    _AT._HEADS.pack_into(raw, 0, *heads)
    _put(raw, _AT._IP, ip)
    _put(raw, _AT._TCP, tcp)
    rx_opt = bytearray(24)
    _number(rx_opt, OFFSETS.num_sacks, held.num_sacks)
    _number(rx_opt, OFFSETS.mss_clamp, held.mss_clamp)
    _number(rx_opt, OFFSETS.dsack, int(held.dsack))
    _put(raw, _AT._RX_OPT, rx_opt)
    edges = [edge for block in (held.duplicate, *held.selective) for edge in block]
    _put(raw, _AT._DUPLICATE, struct.pack(f"={len(edges)}I", *edges))
    _put(raw, _AT._TOKEN, struct.pack("=IBB2xI", held.token, held.signal, held.removals, held.path_mtu))
    assert OFFSETS.mptcp is not None
    for place, (number, port) in ((_AT._OWN, held.own), (_AT._THEIRS, held.theirs)):
        address = bytearray(24)
        _number(address, OFFSETS.mptcp.family, number)
        _number(address, OFFSETS.mptcp.port, port)
        _put(raw, place, address)
    head = 0xFFFF_FFC0  # the difference to the data wraps around 2^32, as it may
    _put(raw, _AT._HEAD, struct.pack("=II", head, head + network - link_layer & 0xFFFF_FFFF))
    return bytes(raw)


def _put(raw: bytearray, at: int, data: bytes | bytearray) -> None:
    raw[at : at + len(data)] = data


def _number(raw: bytearray, place: Field, value: int) -> None:
    at = slice(place.offset, place.offset + place.size)
    raw[at] = (int.from_bytes(raw[at], sys.byteorder) | value << place.shift).to_bytes(place.size, sys.byteorder)
