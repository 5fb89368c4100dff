"""A capture as the engine reads it, in tshark's fields: one tuple of values for each field and packet.

Rare options are taken apart here, from the octets that the engine gives, by RFC 6824 and RFC 8684 and by nothing of the
project's: that the octets are the right ones is what is compared.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tshark

from analysis.capture.batch import (
    DSS_CHECKSUM,
    DSS_DATA_FIN,
    DSS_PRESENT,
    Batch,
    Layout,
)
from analysis.capture.reader import Capture, open_capture

Values = tuple[int | bytes, ...]
Row = dict[str, Values]

KINDS = {
    "eol": 0,
    "nop": 1,
    "mss": 2,
    "window_scale": 3,
    "sack_permitted": 4,
    "sack": 5,
    "timestamps": 8,
    "fast_open": 34,
}
SUBTYPES = (
    "mp_capable",
    "mp_join",
    "dss",
    "add_addr",
    "remove_addr",
    "mp_prio",
    "mp_fail",
    "mp_fastclose",
    "mp_tcprst",
)
M = "tcp.options.mptcp."
NOT_OURS = {"tcp.options", f"{M}flags", "frame.interface_id"}
"""Fields that the comparison row by row leaves out: octets and flag octets that other fields show piece by piece."""
COMPARED = tuple(name for name in tshark.FIELDS if name not in NOT_OURS)


def expected(path: Path, wanted: str = "tcp") -> dict[str, list[Values]]:
    """What tshark says of the TCP packets, as numbers and octets."""
    return {
        name: _parsed(name, column) for name, column in tshark.fields(path, wanted=wanted).items() if name in COMPARED
    }


def _parsed(name: str, column: Sequence[str]) -> list[Values]:
    convert = _converter(name)
    known: dict[str, Values] = {"": ()}
    for text in column:
        if text not in known:
            known[text] = tuple(convert(part) for part in text.split(","))
    return [known[text] for text in column]


def _converter(name: str) -> Callable[[str], int | bytes]:
    if name in ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", f"{M}ipv4", f"{M}ipv6"):
        return lambda text: ipaddress.ip_address(text).packed
    if name in (f"{M}sendhmac", "tcp.options.tfo.cookie"):
        return bytes.fromhex
    if name == "frame.time_epoch":
        return nanoseconds
    return lambda text: int(text, 0)


def nanoseconds(text: str) -> int:
    """Exactly, of seconds with a decimal point."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0")[:9] or "0")


def read(path: Path) -> dict[str, list[Values]]:
    """What the engine says of the same packets."""
    columns: dict[str, list[Values]] = {name: [] for name in COMPARED}
    with open_capture(path) as capture:
        for batch in capture.batches():
            for row in rows(capture, batch):
                for name, column in columns.items():
                    column.append(row.get(name, ()))
    return columns


def rows(capture: Capture, batch: Batch) -> Iterator[Row]:
    """Packet by packet."""
    columns = {name: getattr(batch, name).tolist() for name in Batch.__annotations__ if name not in ("sack", "rare")}
    sack: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for index, left, right in zip(
        batch.sack.row.tolist(), batch.sack.left.tolist(), batch.sack.right.tolist(), strict=True
    ):
        sack[index].append((left, right))
    rare: dict[int, list[bytes]] = defaultdict(list)
    for index, size, octets in zip(batch.rare.row.tolist(), batch.rare.size.tolist(), batch.rare.octets, strict=True):
        rare[index].append(octets[:size].tobytes())
    kinds = [_kinds(layout) for layout in capture.layouts]
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        packet = dict(zip(columns, values, strict=True))
        row = _headers(capture, packet)
        row.update(kinds[packet["layout"]])
        _add_options(row, packet, sack.get(index, []), rare.get(index, []))
        yield row


def _headers(capture: Capture, packet: Mapping[str, Any]) -> Row:
    flow = capture.flows[packet["flow"]]
    four = flow.version == 4
    return {
        "frame.number": (packet["frame"],),
        "frame.time_epoch": (packet["time_ns"],),
        "frame.cap_len": (packet["captured_octets"],),
        "frame.len": (packet["wire_octets"],),
        "ip.src" if four else "ipv6.src": (flow.source,),
        "ip.dst" if four else "ipv6.dst": (flow.destination,),
        "ip.ttl" if four else "ipv6.hlim": (packet["ttl"],),
        "ip.dsfield" if four else "ipv6.tclass": (packet["traffic_class"],),
        "tcp.srcport": (flow.source_port,),
        "tcp.dstport": (flow.destination_port,),
        "tcp.seq_raw": (packet["seq"],),
        "tcp.ack_raw": (packet["ack"],),
        "tcp.flags": (packet["flags"],),
        "tcp.window_size_value": (packet["window"],),
        "tcp.hdr_len": (packet["tcp_header_octets"],),
        "tcp.len": (packet["payload"],),
    }


def _kinds(layout: Layout) -> Row:
    row: dict[str, list[int]] = defaultdict(list)
    for name, octets in layout.items:
        kind = KINDS.get(name)
        if name in SUBTYPES:
            kind = 30
            row[f"{M}subtype"].append(SUBTYPES.index(name))
        elif kind is None:
            kind = int(name.removeprefix("kind-"))
        row["tcp.option_kind"] += [kind] * (octets if kind == 0 else 1)  # each zero is an end of the list for tshark
        if kind > 1:
            row["tcp.option_len"].append(octets)
    return {name: tuple(values) for name, values in row.items()}


def _add_options(row: Row, packet: Mapping[str, Any], sack: list[tuple[int, int]], rare: list[bytes]) -> None:
    if "timestamps" in row or 8 in row.get("tcp.option_kind", ()):
        row["tcp.options.timestamp.tsval"] = (packet["tsval"],)
        row["tcp.options.timestamp.tsecr"] = (packet["tsecr"],)
    assert packet["sack_count"] == len(sack)
    if sack:
        row["tcp.options.sack_le"] = tuple(left for left, _ in sack)
        row["tcp.options.sack_re"] = tuple(right for _, right in sack)
    found: dict[str, list[int | bytes]] = defaultdict(list)
    if packet["dss_bits"] & DSS_PRESENT:
        _add_dss_columns(found, packet)
    for option in rare:
        for name, value in of_option(option):
            found[name].append(value)
    for name, values in found.items():
        row[name] = (*row.get(name, ()), *values)


def _add_dss_columns(found: dict[str, list[int | bytes]], packet: Mapping[str, Any]) -> None:
    bits = packet["dss_bits"]
    found[f"{M}datafin.flag"].append(int(bool(bits & DSS_DATA_FIN)))
    _flags(found, bits)
    assert packet["data_ack_octets"] == (0, 4, 0, 8)[bits & 3], packet
    assert packet["dsn_octets"] == (8 if bits & 8 else 4) * bool(bits & 4), packet
    if bits & 1:
        found[f"{M}rawdataack"].append(packet["data_ack"])
    if bits & 4:
        found[f"{M}rawdataseqno"].append(packet["dsn"])
        found[f"{M}subflowseqno"].append(packet["dss_ssn"])
        found[f"{M}datalvllen"].append(packet["dss_length"])
    if not bits & DSS_CHECKSUM:
        assert packet["dss_checksum"] == 0


def _flags(found: dict[str, list[int | bytes]], flags: int) -> None:
    for name, bit in (("dseqn8", 8), ("dseqnpresent", 4), ("dataack8", 2), ("dataackpresent", 1)):
        found[f"{M}{name}.flag"].append(int(bool(flags & bit)))


def of_option(option: bytes) -> Iterator[tuple[str, int | bytes]]:
    """The fields of one option, in the order of the wire where it matters."""
    kind, body = option[0], option[2:]
    if kind == 2:
        yield "tcp.options.mss_val", _int(body)
    elif kind == 3:
        yield "tcp.options.wscale.shift", body[0]
    elif kind == 5:  # a second one of its kind, like the next; the columns hold the first
        for at in range(0, len(body), 8):
            yield "tcp.options.sack_le", _int(body[at : at + 4])
            yield "tcp.options.sack_re", _int(body[at + 4 : at + 8])
    elif kind == 8:
        yield "tcp.options.timestamp.tsval", _int(body[:4])
        yield "tcp.options.timestamp.tsecr", _int(body[4:])
    elif kind == 34 and body:
        yield "tcp.options.tfo.cookie", body
    elif kind == 30 and body:
        reader = _SUBTYPES.get(body[0] >> 4)
        if reader is not None:
            for name, value in reader(body):
                yield M + name, value


def _mp_capable(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    version, flags = body[0] & 15, body[1]
    yield "version", version
    yield "checksumreq.flags", flags >> 7
    yield "extensibility.flag", flags >> 6 & 1
    if version == 1:
        yield "nomoresubflows.flag", flags >> 5 & 1
        yield "sha256.flag", flags & 1
    for name, start, end in (("sendkey", 2, 10), ("recvkey", 10, 18), ("datalvllen", 18, 20), ("checksum", 20, 22)):
        if len(body) >= end:
            yield name, _int(body[start:end])


def _mp_join(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    if len(body) == 22:
        yield "sendhmac", body[2:]
        return
    yield "backup.flag", body[0] & 1
    yield "addrid", body[1]
    if len(body) == 10:
        yield "recvtok", _int(body[2:6])
    else:
        yield "sendtrunchmac", _int(body[2:10])
    yield "sendrand", _int(body[-4:])


def _dss(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    flags = body[1]
    yield "datafin.flag", flags >> 4 & 1
    found: dict[str, list[int | bytes]] = defaultdict(list)
    _flags(found, flags)
    for name, values in found.items():
        yield name.removeprefix(M), values[0]
    at = 2
    if flags & 1:
        end = at + (8 if flags & 2 else 4)
        yield "rawdataack", _int(body[at:end])
        at = end
    if flags & 4:
        end = at + (8 if flags & 8 else 4)
        yield "rawdataseqno", _int(body[at:end])
        yield "subflowseqno", _int(body[end : end + 4])
        yield "datalvllen", _int(body[end + 4 : end + 6])


def _add_addr(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    low = body[0] & 15
    rest = body[2:]
    yield "addrid", body[1]
    if low in (4, 6):
        yield "ipver", low
        address = 4 if low == 4 else 16
    else:
        yield "echo", low & 1
        address = 4 if len(rest) in (4, 6, 12, 14) else 16
    yield "ipv4" if address == 4 else "ipv6", rest[:address]
    rest = rest[address:]
    if len(rest) in (2, 10):
        yield "port", _int(rest[:2])
        rest = rest[2:]
    if rest:
        yield "addaddrtrunchmac", _int(rest)


def _remove_addr(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    for address_id in body[1:]:
        yield "addrid", address_id


def _mp_prio(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    yield "backup.flag", body[0] & 1
    if len(body) == 2:
        yield "addrid", body[1]


def _mp_fail(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    yield "rawdataseqno", _int(body[2:])


def _mp_fastclose(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    yield "recvkey", _int(body[2:])


def _mp_tcprst(body: bytes) -> Iterator[tuple[str, int | bytes]]:
    yield "flag_T.flag", body[0] & 1
    yield "rst_reason", body[1]


_SUBTYPES = dict(
    enumerate(
        (
            _mp_capable,
            _mp_join,
            _dss,
            _add_addr,
            _remove_addr,
            _mp_prio,
            _mp_fail,
            _mp_fastclose,
            _mp_tcprst,
        )
    )
)


def _int(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def differences(path: Path, *, wanted: str = "tcp", unordered: bool = False) -> list[str]:
    """Every value in which the engine and tshark differ; ``unordered``: of several occurrences, in whichever order."""
    theirs, ours = expected(path, wanted), read(path)
    frames = [values[0] for values in theirs.get("frame.number", [])]
    found = []
    if frames != (mine := [values[0] for values in ours["frame.number"]]):
        only = sorted(set(frames) ^ set(mine))[:20]
        return [f"{len(frames)} TCP packets by tshark, {len(mine)} by the engine; not common: {only}"]
    for name, column in theirs.items():
        for frame, their, our in zip(frames, column, ours[name], strict=True):
            if their != our and not (unordered and sorted(map(repr, their)) == sorted(map(repr, our))):
                found.append(f"frame {frame!r}: {name}: tshark {their}, engine {our}")
    return found
