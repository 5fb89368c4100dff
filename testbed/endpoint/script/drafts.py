"""The option area of a segment of a scripted peer, in the order in which its line names the options."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from testbed.endpoint.script.actions import Map, Octets, OptionWords, Say, Settings
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.session_keys import Keys
from testbed.endpoint.script.subflow import M32, Subflow
from testbed.mptcp.keys import add_addr_hmac
from testbed.wire.checksum import dss_checksum, ones_complement_sum
from testbed.wire.options import (
    NOP,
    AddAddr,
    Dss,
    MaximumSegmentSize,
    MpCapable,
    MpFail,
    MpFastclose,
    MpPrio,
    MpTcprst,
    Option,
    RemoveAddr,
    Sack,
    SackPermitted,
    Timestamps,
    Unknown,
    WindowScale,
)

LARGEST_OPTION_AREA = 40
"""RFC 9293 §3.1: the data offset has four bits."""
MS = 1_000_000


class Drafts:
    """Makes options from what a line says and what the connection knows."""

    def __init__(self, keys: Keys, stream: bytes) -> None:
        self._keys = keys
        self._stream = stream
        self.settings = Settings()
        self.last_octet = 0
        """The highest octet that was sent; the DATA_FIN comes behind it."""

    def part(self, octets: Octets) -> bytes:
        """Our data."""
        return self._stream[octets.first - 1 : octets.last]

    def timestamps(self, subflow: Subflow, now: int) -> list[Option]:
        """Two NOPs and the option, as everybody aligns it (RFC 7323 appendix A); in ms."""
        return [NOP, NOP, Timestamps(now // MS & M32, subflow.timestamp_heard)]

    def of_syn(self, subflow: Subflow, now: int, answers: Sequence[Option] | None = None) -> list[Option]:
        """What a SYN offers, or what a SYN/ACK takes of an offer. Notes what is offered."""
        settings = self.settings

        def wanted(kind: type[Option]) -> bool:
            return answers is None or any(isinstance(option, kind) for option in answers)

        options: list[Option] = []
        if settings.mss is not None:
            options.append(MaximumSegmentSize(settings.mss))
        if settings.sack and wanted(SackPermitted):
            options.append(SackPermitted())
            subflow.sack = True
        if settings.timestamps and wanted(Timestamps):
            options += self.timestamps(subflow, now)
            subflow.timestamps = True
        if settings.window_scale is not None and wanted(WindowScale):
            options.append(WindowScale(settings.window_scale))
        return options

    def of_line(self, action: Say, subflow: Subflow, at: int, arrived: int, now: int) -> tuple[Option, ...]:
        """The whole area of a segment at relative number ``at``; ``arrived``: what a DATA_ACK would cover."""
        options: list[Option] = self.timestamps(subflow, now) if subflow.timestamps else []
        if action.capable:
            options.append(self._capable(action, at))
        else:
            options += self._dss(action, subflow, at, arrived)
        options += [self._named(action.line, each, subflow) for each in action.options]
        return aligned(options, action.line)

    def of_ack(self, subflow: Subflow, data_ack: int | None, now: int) -> tuple[Option, ...]:
        """Of an answer that no line speaks of: DATA_ACK, then as many SACK blocks as fit (RFC 2018 §3)."""
        options: list[Option] = self.timestamps(subflow, now) if subflow.timestamps else []
        if data_ack is not None:
            options.append(self.data_ack(data_ack))
        room = LARGEST_OPTION_AREA - sum(option.size for option in options) - 2
        blocks = subflow.sack_blocks()[: max(0, room // 8)] if subflow.sack else []
        if blocks:
            options.append(Sack(tuple((subflow.wire_ack(low), subflow.wire_ack(high)) for low, high in blocks)))
        return aligned(options, 0)

    def data_ack(self, octets: int) -> Dss:
        """That alone."""
        width = self.settings.data_ack
        return Dss(self._keys.other_dsn(1 + octets) & ((1 << 8 * width) - 1), width)

    def _dss(self, action: Say, subflow: Subflow, at: int, arrived: int) -> list[Option]:
        if action.dss == "none" and not action.maps and not action.data_fin:
            return []
        given = arrived if action.data_ack == "arrived" else action.data_ack
        pure = action.octets is None
        plain = self._keys.other is None or given == "none"
        options: list[Option] = [self._mapped(action, mapping, subflow, at) for mapping in action.maps]
        if action.data_fin:
            options.append(self._data_fin(action))
        if not options and not plain and (pure or action.data_ack != "arrived"):
            options.append(Dss())
        first = next((option for option in options if isinstance(option, Dss)), None)
        if first is not None and not plain and isinstance(given, int):
            with_ack = self.data_ack(given)
            first.data_ack, first.ack_octets = with_ack.data_ack, with_ack.ack_octets
        return options

    def _mapped(self, action: Say, mapping: Map, subflow: Subflow, at: int) -> Dss:
        ssn = mapping.ssn
        if ssn is None:
            ssn = subflow.ssn_of(mapping.octets.first)
        own = action.octets
        if ssn is None and own is not None and mapping.octets.first >= own.first:
            ssn = at + mapping.octets.first - own.first
        if ssn is None:
            first = mapping.octets.first
            raise ScriptError(action.line, f"octet {first} was not sent on this subflow: say where, map ... at SSN")
        width = mapping.dsn_octets or self.settings.dsn
        dsn = self._keys.dsn(mapping.octets.first)
        length = mapping.octets.count + mapping.data_fin
        checksum = self._checksum(mapping, dsn, ssn, length)
        shown = dsn & ((1 << 8 * width) - 1)
        return Dss(None, 8, shown, width, ssn, length & 0xFFFF, checksum, mapping.data_fin)

    def _data_fin(self, action: Say) -> Dss:
        """Without data: SSN 0 and length 1 (RFC 8684 §3.3.3)."""
        width = self.settings.dsn
        octet = self.last_octet + 1
        dsn = self._keys.dsn(octet)
        checksum = dss_checksum(dsn, 0, 1, 0) if self._keys.checksum else None
        return Dss(None, 8, dsn & ((1 << 8 * width) - 1), width, 0, 1, checksum, True)

    def _checksum(self, mapping: Map, dsn: int, ssn: int, length: int) -> int | None:
        kind = mapping.checksum
        if kind == "none" or (kind == "negotiated" and not self._keys.checksum):
            return None
        right = dss_checksum(dsn, ssn, length, ones_complement_sum(self.part(mapping.octets)))
        return right ^ 0x5555 if kind == "bad" else right

    def _capable(self, action: Say, at: int) -> MpCapable:
        """The third ACK's form, with the length of the first data when there is a mapping (RFC 8684 figure 4)."""
        flags = 0x81 if self._keys.checksum else 0x01
        if not action.maps:
            return MpCapable(flags, self._keys.own, self._keys.other)
        mapping = action.maps[0]
        length = mapping.octets.count
        checksum = self._checksum(mapping, self._keys.dsn(mapping.octets.first), at, length)
        return MpCapable(flags, self._keys.own, self._keys.other, length, checksum)

    def _named(self, line: int, option: OptionWords, subflow: Subflow) -> Option:
        words = option.words
        match option.name:
            case "mp_prio":
                return MpPrio("backup" in words)
            case "mp_fail":
                return MpFail(self._keys.other_dsn(int(words[0])))
            case "mp_fastclose":
                key = self._keys.other or 0
                return MpFastclose(key ^ 1 if "bad" in words else key)
            case "mp_tcprst":
                return MpTcprst(int(words[0]), "transient" in words)
            case "remove_addr":
                return RemoveAddr(tuple(int(word) for word in words))
            case "sack":
                return Sack(tuple(_block(word, subflow) for word in words))
            case "add_addr":
                return self._add_addr(line, words)
            case _:
                raw = bytes.fromhex(words[0])
                return Unknown(raw[0], raw[2:])

    def _add_addr(self, line: int, words: tuple[str, ...]) -> AddAddr:
        try:
            address = ipaddress.ip_address(words[1]).packed
        except ValueError:
            raise ScriptError(line, f"{words[1]!r} is no address") from None
        port = next((int(word.removeprefix("port=")) for word in words if word.startswith("port=")), None)
        if "echo" in words:
            return AddAddr(int(words[0]), address, port)
        proof = add_addr_hmac(self._keys.own, self._keys.other or 0, int(words[0]), address, port)
        if "bad" in words:
            proof = bytes(octet ^ 0xFF for octet in proof)
        return AddAddr(int(words[0]), address, port, proof)


def _block(word: str, subflow: Subflow) -> tuple[int, int]:
    """``101-200``: octets of the other end's subflow; the right edge is the number behind them."""
    first, _, last = word.partition("-")
    return subflow.wire_ack(int(first)), subflow.wire_ack(int(last or first) + 1)


def aligned(options: Sequence[Option], line: int) -> tuple[Option, ...]:
    """With NOPs up to whole words. Raises ScriptError when there is too much."""
    octets = sum(option.size for option in options)
    if octets > LARGEST_OPTION_AREA:
        raise ScriptError(
            line, f"the options need {octets} octets, and a TCP header has room for {LARGEST_OPTION_AREA}"
        )
    return (*options, *[NOP] * (-octets % 4))
