"""What a scripted peer hears, written down under the names of ``names.py``."""

from __future__ import annotations

from testbed.endpoint.script.names import OF_CONNECTION, OF_SUBFLOW, unit_of
from testbed.endpoint.script.session_keys import Keys
from testbed.endpoint.script.subflow import Subflow
from testbed.wire.options import (
    KIND_MPTCP,
    NOP,
    AddAddr,
    Dss,
    MpCapable,
    MpFail,
    MpFastclose,
    MpJoin,
    MpPrio,
    MpTcprst,
    RemoveAddr,
    Unknown,
)
from testbed.wire.segment import FIN, RST, SYN, Segment

Observation = tuple[str, int | None, str]
"""Name, value, unit."""

_UNTIL_IT_IS = frozenset(
    {
        "data_ack_octets",
        "mp_fail_octet",
        "wrong_octet",
        "reset_reason",
        "reset_transient",
        "reset_time",
        "window",
        "last",
    }
)
"""Null as long as it has not come to be; the others begin with 0."""


class Notes:
    """Values by name."""

    def __init__(self) -> None:
        self._values: dict[str, int | None] = {name: _initial(name) for name in OF_CONNECTION if name != "now"}
        self.own: dict[str, int | None] = {}
        """Under names of the script, to be written down."""
        self.kept: dict[str, int | None] = {}
        """The same, for later lines only."""

    def begin(self, subflow: Subflow) -> None:
        """From now on it is there."""
        for name in OF_SUBFLOW:
            self._values[f"{name}.sf{subflow.number}"] = _initial(name)

    def value(self, name: str) -> int | None:
        """Now."""
        for values in (self.own, self.kept):
            if name in values:
                return values[name]
        return self._values.get(name)

    def put(self, name: str, value: int | None) -> None:
        """Of what only the peer knows."""
        self._values[name] = value

    def count(self, name: str, more: int = 1) -> None:
        """That much more."""
        self._values[name] = (self._values.get(name) or 0) + more

    def most(self, name: str, value: int) -> None:
        """The largest."""
        self._values[name] = max(self._values.get(name) or 0, value)

    def everything(self) -> list[Observation]:
        """All of it, what the script itself observed last."""
        return [(name, value, unit_of(name)) for name, value in {**self._values, **self.own}.items()]

    # --- what is heard ---

    def hear(self, segment: Segment, subflow: Subflow, keys: Keys, old: bool, since_start: int) -> None:
        """A segment of a subflow, after its numbers were noted."""
        at = f".sf{subflow.number}"
        payload = len(segment.payload)
        self.count(f"segments{at}")
        self.put(f"last{at}", since_start)
        self.most(f"option_octets_max{at}", sum(option.size for option in segment.options))
        blocks = len(segment.sack.blocks) if segment.sack is not None else 0
        self.put(f"sack_blocks{at}", blocks)
        self.most(f"sack_blocks_max{at}", blocks)
        self.put(f"window{at}", segment.window << (0 if segment.flags & SYN else subflow.window_scale))
        if old:
            self.count(f"repeated{at}")
        if segment.flags & SYN:
            self.count(f"syn{at}")
            self.put(f"mptcp{at}", int(any(isinstance(option, MpCapable | MpJoin) for option in segment.mptcp)))
        elif segment.flags & RST:
            self._reset(segment, at, since_start)
        elif payload:
            self.count(f"data_segments{at}")
            self.count(f"octets{at}", payload)
            if not segment.mptcp:
                self.count(f"bare_data{at}")
        elif not segment.flags & FIN:
            self.count(f"acks{at}")
            if not segment.mptcp:
                self.count(f"bare_acks{at}")
        if segment.flags & FIN:
            self.put(f"fin{at}", 1)
        self._options(segment, at, keys)

    def _reset(self, segment: Segment, at: str, since_start: int) -> None:
        self.count("resets")
        self.count(f"resets{at}")
        if not self._values[f"reset{at}"]:
            self.put(f"reset{at}", 1)
            self.put(f"reset_time{at}", since_start)
        told = next((option for option in segment.mptcp if isinstance(option, MpTcprst)), None)
        if told is not None and self._values[f"reset_reason{at}"] is None:
            self.put(f"reset_reason{at}", told.reason)
            self.put(f"reset_transient{at}", int(told.transient))

    def _options(self, segment: Segment, at: str, keys: Keys) -> None:
        for option in segment.options:
            if option is NOP:
                continue
            if isinstance(option, Dss):
                self._dss(option, at, keys)
            elif isinstance(option, MpFail):
                self.count("mp_fail")
                self.put("mp_fail_octet", keys.octet_of(option.dsn))
            elif isinstance(option, MpFastclose):
                self.count("fastclose")
            elif isinstance(option, MpPrio):
                self.count("mp_prio")
            elif isinstance(option, AddAddr):
                self.count("add_addr_echo" if option.echo else "add_addr")
            elif isinstance(option, RemoveAddr):
                self.count("remove_addr")
            elif isinstance(option, MpCapable) and option.data_length is not None:
                self.count(f"maps{at}")
            elif isinstance(option, Unknown) and option.number == KIND_MPTCP:
                self.count("private_options")

    def _dss(self, dss: Dss, at: str, keys: Keys) -> None:
        if dss.data_ack is not None:
            self.count(f"data_acks{at}")
            self.put("data_ack_octets", dss.ack_octets)
            self.most("data_acked", keys.octet_of(dss.data_ack, dss.ack_octets) - 1)
        if dss.dsn is None:
            return
        if dss.checksum is not None:
            self.count(f"checksums{at}")
        if dss.data_fin:
            self.put("data_fin", 1)
        if dss.length == 0:
            self.count("infinite_maps")
        elif dss.length > dss.data_fin:
            self.count(f"maps{at}")


def _initial(name: str) -> int | None:
    return None if name in _UNTIL_IT_IS else 0
