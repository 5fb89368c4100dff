"""A peer that has done its handshake and now says exactly the data and mappings that a test wants the stack to hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raw_peer import HOST, KEY, PEER, RawBench, RawFlow

from testbed.mptcp.keys import idsn_of
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.subflow import Subflow
from testbed.wire.checksum import dss_checksum, ones_complement_sum
from testbed.wire.options import Dss, MpCapable, Option
from testbed.wire.segment import ACK, RST, SYN, Segment, SocketAddress

M64 = (1 << 64) - 1
STREAM = bytes((number * 7 + number // 251) & 255 for number in range(1 << 17))
"""What the peer sends: octet i of its data."""


def part(start: int, length: int) -> bytes:
    return STREAM[start : start + length]


class DataPeer:
    """``flows[0]`` is the first subflow, the others are joins; the stack is the server unless ``stack_opens``."""

    def __init__(
        self, parameters: Parameters | None = None, *, joins: int = 0, stack_opens: bool = False, confirmed: bool = True
    ) -> None:
        parameters = parameters or Parameters()
        parameters = replace(parameters, path_manager="none", tcp=replace(parameters.tcp, nagle=False))
        self.parameters = parameters
        self.bench = RawBench(parameters)
        self.stack = self.bench.stack
        self.counters = self.stack.counters
        if stack_opens:
            self._be_opened(confirmed)
        else:
            self._open(confirmed)
        for number in range(joins):
            self.join(number)

    def _open(self, confirmed: bool) -> None:
        flow = self.bench.flow()
        flags = 0x81 if self.parameters.checksum else 0x01
        answer = self.bench.client_up_to_syn_ack(flow, MpCapable(flags))
        assert answer is not None and answer.sender_key is not None
        self.host_key = answer.sender_key
        self.flows = [flow]
        if confirmed:
            flow.say(ACK, MpCapable(flags, sender_key=KEY, receiver_key=self.host_key))
            self._accept()
            flow.say(ACK, Dss(data_ack=self.host_dsn(0)))

    def _accept(self) -> None:
        connection = self.bench.listener.accept()
        assert connection is not None
        self.connection = connection

    def _be_opened(self, confirmed: bool) -> None:
        self.connection = self.stack.connect(SocketAddress(PEER, 80), self.bench.now)
        (syn,) = self.bench.flush()
        flow = RawFlow(self.bench, syn.destination, syn.source)
        flow.hear([syn])
        flags = 0x81 if self.parameters.checksum else 0x01
        self.first_answers = flow.say(SYN | ACK, MpCapable(flags, sender_key=KEY))
        assert self.connection.keys is not None
        self.host_key = self.connection.keys.local_key
        self.flows = [flow]
        if confirmed:
            flow.say(ACK, Dss(data_ack=self.host_dsn(0)))

    def join(self, number: int) -> RawFlow:
        flow = self.bench.flow(port=6000 + number)
        self.bench.join(flow, self.host_key, address_id=9 + number, nonce=100 + number).confirm()
        self.flows.append(flow)
        return flow

    # --- numbers ---

    def dsn(self, start: int) -> int:
        """On the wire: the DSN of octet ``start`` of the peer's data."""
        return (idsn_of(KEY) + 1 + start) & M64

    def host_dsn(self, start: int) -> int:
        """The same of the stack's data: what a DATA_ACK of ``start`` octets says."""
        return (idsn_of(self.host_key) + 1 + start) & M64

    def ssn(self, flow: int = 0) -> int:
        """Relative SSN of the next octet that the flow sends."""
        return (self.flows[flow].seq - 1000) & 0xFFFFFFFF

    def map(
        self,
        start: int,
        length: int,
        ssn: int,
        *,
        fin: bool = False,
        checksum: int | str | None = "as negotiated",
        ack: int | None = None,
        octets: int = 8,
    ) -> Dss:
        """DSS with the mapping of octets ``start`` to ``start + length`` of the peer's data, from SSN ``ssn`` on."""
        if checksum == "as negotiated":
            covered = length - 1 if fin else length
            value = dss_checksum(self.dsn(start), ssn, length, ones_complement_sum(part(start, covered)))
            checksum = value if self.parameters.checksum else None
        assert not isinstance(checksum, str)
        dsn = self.dsn(start) if octets == 8 else self.dsn(start) & 0xFFFFFFFF
        data_ack = self.host_dsn(0 if ack is None else ack)
        return Dss(data_ack, 8, dsn, octets, ssn, length, checksum, fin)

    # --- saying ---

    def data(
        self,
        start: int,
        length: int,
        *options: Option,
        flow: int = 0,
        at: int | None = None,
        payload: bytes | None = None,
        mapped: bool = True,
        flags: int = ACK,
    ) -> list[Segment]:
        """One segment with that part of the stream; under a mapping of its own unless options are given."""
        ssn = self.ssn(flow) if at is None else at
        if mapped and not options:
            options = (self.map(start, length, ssn),)
        body = part(start, length) if payload is None else payload
        seq = None if at is None else (1000 + at) & 0xFFFFFFFF
        return self.flows[flow].say(flags, *options, payload=body, seq=seq)

    def ack(self, octets: int | None, *options: Option, flow: int = 0, number: int | None = None) -> list[Segment]:
        """A pure ACK, with a DATA_ACK of that many octets of the stack's data (None: without)."""
        dss = () if octets is None else (Dss(data_ack=self.host_dsn(octets)),)
        return self.flows[flow].say(ACK, *dss, *options, ack=number)

    # --- hearing ---

    def read(self) -> bytes:
        return self.connection.receive(1 << 20)

    def subflow(self, flow: int = 0) -> Subflow | None:
        raw = self.flows[flow]
        return self.stack.flows.get((raw.other, raw.own))

    def data_acked(self) -> int:
        """Octets of our data that the last DATA_ACK on the wire covered."""
        for segment in reversed(self.bench.sent):
            if segment.dss is not None and segment.dss.data_ack is not None:
                mask = M64 if segment.dss.ack_octets == 8 else 0xFFFFFFFF
                return (segment.dss.data_ack - self.dsn(0)) & mask
        raise AssertionError("no DATA_ACK was sent")

    def resets(self, flow: int = 0) -> list[Segment]:
        own = self.flows[flow].own
        return [segment for segment in self.bench.sent if segment.flags & RST and segment.destination == own]

    def settle(self) -> list[Segment]:
        """Let delayed ACKs leave."""
        return self.bench.wait(100_000_000)


def all_options(segments: Sequence[Segment]) -> list[Option]:
    return [option for segment in segments for option in segment.options]


__all__ = ["HOST", "KEY", "PEER", "STREAM", "DataPeer", "all_options", "part"]
