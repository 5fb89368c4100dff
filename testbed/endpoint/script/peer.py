"""The scripted peer: carries out a script, line by line, and hears what comes. Sans-IO: a driver gives it segments and
the time, as it does a stack (``userspace/host.py``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from testbed.endpoint.script import conditions, handshakes
from testbed.endpoint.script.actions import Handshake, Keep, Program, Say, Set, Settings, Wait
from testbed.endpoint.script.drafts import Drafts
from testbed.endpoint.script.errors import ScriptError
from testbed.endpoint.script.incoming import Incoming
from testbed.endpoint.script.notes import Notes
from testbed.endpoint.script.session_keys import Keys
from testbed.endpoint.script.subflow import Subflow
from testbed.mptcp.keys import KEY_OCTETS
from testbed.wire.options import Dss, MpCapable, Option
from testbed.wire.segment import ACK, FIN, RST, SYN, Segment, SocketAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where the peer lives."""

    port: int
    """Of the server."""
    local_ports: tuple[int, int]
    """First and last of those from which subflows are opened."""
    paths: tuple[tuple[str, bytes, bytes], ...]
    """Name, our address, the other end's; the first is the flow's."""


class Pause:
    """What the script waits for."""

    def __init__(self, deadline_ns: int, until: Callable[[], bool] | None = None) -> None:
        self.deadline_ns = deadline_ns
        self.until = until
        self.in_time = False
        """Whether it came true before the deadline."""


class ScriptedPeer:
    """One side of one flow. ``on_end(error)`` is called once, after the last line or when a line cannot be done."""

    def __init__(
        self,
        program: Program,
        surroundings: Surroundings,
        chance: random.Random,
        stream: bytes,
        expected: Callable[[memoryview], int | None],
    ) -> None:
        """``stream``: our data; ``expected`` takes what has arrived in order and tells the first wrong place in it."""
        self.program = program
        self.surroundings = surroundings
        self.chance = chance
        self.keys = Keys(chance.getrandbits(8 * KEY_OCTETS))
        self.notes = Notes()
        self.drafts = Drafts(self.keys, stream)
        self.incoming = Incoming()
        self.subflows: dict[int, Subflow] = {}
        self.settings = Settings()
        self.waiting_syns: list[Segment] = []
        """From 4-tuples that no line has accepted yet."""
        self.now = 0
        self.start_ns: int | None = None
        self.over = False
        self.on_end: Callable[[ScriptError | handshakes.NoConnection | None], None] | None = None
        self._expected = expected
        self._steps: Iterator[Pause] | None = None
        self._pause: Pause | None = None
        self._out: list[Segment] = []
        self._on_the_way = False

    def begin(self, now: int) -> None:
        """Carry out the first line."""
        self.now = self.start_ns = now
        self._steps = self._run()
        self._go_on(now)

    # --- what a driver calls ---

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A packet for this host."""
        self.now = now
        subflow = self._subflow_of(segment)
        if subflow is not None:
            self._hear(subflow, segment)
        elif segment.flags & (SYN | ACK | RST) == SYN and not self.over:
            if not any(each.source == segment.source for each in self.waiting_syns):
                self.waiting_syns.append(segment)
        else:
            self.notes.count("strays")
            self._refuse(segment)
        self._go_on(now)

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now."""
        out, self._out = self._out, []
        return out

    def next_timeout(self) -> int | None:
        """When the line that waits has waited long enough."""
        return None if self._pause is None or self.over else self._pause.deadline_ns

    def handle_timeout(self, now: int) -> None:
        """It has."""
        self.now = now
        self._go_on(now)

    # --- the script ---

    def _go_on(self, now: int) -> None:
        if self._steps is None or self.over or self._on_the_way:
            return
        self._on_the_way = True
        error: ScriptError | handshakes.NoConnection | None = None
        try:
            while True:
                pause = self._pause
                if pause is not None:
                    pause.in_time = pause.until is not None and pause.until()
                    if not pause.in_time and now < pause.deadline_ns:
                        return
                self._pause = next(self._steps, None)
                if self._pause is None:
                    break
        except (ScriptError, handshakes.NoConnection) as problem:
            error = problem
        finally:
            self._on_the_way = False
        self._pause = None
        self.over = True
        if self.on_end is not None:
            self.on_end(error)

    def _run(self) -> Iterator[Pause]:
        for action in self.program.actions:
            match action:
                case Say():
                    self._say(action)
                case Handshake():
                    yield from handshakes.carry_out(self, action)
                case Wait():
                    yield from self._wait(action)
                case Keep():
                    values = self.notes.own if action.observed else self.notes.kept
                    values[action.name] = conditions.total(action.term, self.value)
                case Set():
                    self.settings = replace(self.settings, **{action.name: action.value})  # type: ignore[arg-type]
                    self.drafts.settings = self.settings
                    self.keys.checksum = self.keys.checksum or self.settings.checksum

    def _wait(self, action: Wait) -> Iterator[Pause]:
        begun = (self.start_ns or 0) if action.since_start else self.now
        wanted = action.condition
        if wanted is None:
            yield Pause(begun + action.duration_ns)
            return
        pause = Pause(begun + action.duration_ns, lambda: conditions.holds(wanted, self.value))
        yield pause
        if not pause.in_time:
            self.notes.count("timeouts")

    def value(self, name: str) -> int | None:
        """Of what is observed, now."""
        return self.now - (self.start_ns or 0) if name == "now" else self.notes.value(name)

    def _say(self, action: Say) -> None:
        subflow = self.subflows.get(action.subflow)
        if subflow is None:
            raise ScriptError(action.line, f"sf{action.subflow} never came to be")
        at = subflow.next if action.at is None else action.at
        payload = b""
        if action.octets is not None:
            if action.again:
                known = subflow.ssn_of(action.octets.first)
                if known is None:
                    raise ScriptError(action.line, f"octet {action.octets.first} was not sent on this subflow before")
                at = known
            payload = self.drafts.part(action.octets)
            if len(payload) < action.octets.count:
                raise ScriptError(action.line, "the data of a script ends before these octets")
            if action.spoiled:
                payload = bytes(octet ^ 0xFF for octet in payload)
            if not action.again:
                subflow.note_sent(action.octets, at)
            self.drafts.last_octet = max(self.drafts.last_octet, action.octets.last)
        options = self.drafts.of_line(action, subflow, at, self.incoming.acknowledged, self.now)
        ack = subflow.expected if action.ack is None else 1 + action.ack
        if action.flags & RST and action.at is None:
            at = subflow.acked  # what the other end wants: it takes no other (RFC 5961 §3)
        self.send(subflow, action.flags, at, ack, options, payload, action.window)

    def send(
        self,
        subflow: Subflow,
        flags: int,
        at: int,
        ack: int,
        options: Sequence[Option],
        payload: bytes = b"",
        window: int | None = None,
    ) -> None:
        """One segment, at relative numbers."""
        number = subflow.wire_ack(ack) if flags & ACK else 0
        field = self.settings.window if window is None else window
        area = tuple(options)
        segment = Segment(subflow.own, subflow.other, subflow.wire_seq(at), number, flags, field, area, payload)
        if flags & FIN:
            subflow.fin_at = at + len(payload)
        if not flags & RST:
            subflow.next = max(subflow.next, at + segment.seq_length)
        self._out.append(segment)

    def ack_now(self, subflow: Subflow, more: Sequence[Option] | None = None) -> None:
        """An ACK that no line speaks of; ``more``: its options instead of the usual ones."""
        if more is None:
            speaks = self.settings.answers == "dss" and self.speaks_mptcp(subflow)
            more = self.drafts.of_ack(subflow, self.incoming.acknowledged if speaks else None, self.now)
        self.send(subflow, ACK, subflow.next, subflow.expected, more)

    def speaks_mptcp(self, subflow: Subflow) -> bool:
        """Whether the subflow was negotiated to."""
        return subflow.other_mptcp and self.keys.other is not None

    # --- hearing ---

    def _subflow_of(self, segment: Segment) -> Subflow | None:
        for subflow in self.subflows.values():
            if (segment.source, segment.destination) == (subflow.other, subflow.own):
                return subflow
        return None

    def pause(self, deadline_ns: int, until: Callable[[], bool]) -> Pause:
        """To be waited for by a handshake."""
        return Pause(deadline_ns, until)

    def segment_heard(self, subflow: Subflow, segment: Segment) -> None:
        """A segment that came before its subflow was there."""
        self._hear(subflow, segment)

    def begin_subflow(self, number: int, own: SocketAddress, other: SocketAddress) -> Subflow:
        """It is there from now on."""
        subflow = Subflow(number, own, other, self.chance.getrandbits(32))
        self.subflows[number] = subflow
        self.notes.begin(subflow)
        return subflow

    def _hear(self, subflow: Subflow, segment: Segment) -> None:
        start, old = subflow.take(segment)
        if segment.timestamps is not None:
            subflow.timestamp_heard = segment.timestamps.val
        if segment.flags & ACK:
            subflow.acked = max(subflow.acked, subflow.relative(segment.ack, subflow.isn))
            self.notes.put(f"acked.sf{subflow.number}", subflow.octets_acked)
        handshakes.hear(self, subflow, segment)
        self.notes.put("mptcp", int(self.keys.other is not None))
        self.notes.hear(segment, subflow, self.keys, old, self.now - (self.start_ns or 0))
        if segment.flags & RST:
            subflow.reset = True
            return
        if segment.flags & SYN:
            return
        speaks_data = self._take_data(subflow, segment, start)
        if self.over:
            self._refuse(segment)
        elif (segment.seq_length or speaks_data) and self.settings.answers != "none":
            self.ack_now(subflow)

    def _take_data(self, subflow: Subflow, segment: Segment, start: int) -> bool:
        """Payload and mappings; whether a DATA_FIN wants to be answered."""
        incoming = self.incoming
        wants_answer = False
        if segment.payload and not self.speaks_mptcp(subflow) and subflow.number == min(self.subflows):
            incoming.map(subflow.number, start - 1, start - 1, len(segment.payload))
        for option in segment.mptcp:
            if isinstance(option, Dss) and option.dsn is not None:
                octet = self.keys.other_octet_of(option.dsn, option.dsn_octets)
                count = option.length - option.data_fin
                if option.length == 0:
                    count = 1 << 20  # infinite (RFC 8684 §3.3.1): everything that follows
                if option.data_fin:
                    incoming.fin_at = octet - 1 + count
                    wants_answer = True
                incoming.map(subflow.number, option.ssn - 1, octet - 1, count)
            elif isinstance(option, MpCapable) and option.data_length is not None:
                incoming.map(subflow.number, 0, 0, option.data_length)
        if segment.payload:
            incoming.arrive(subflow.number, start - 1, segment.payload)
        self.notes.put(f"received.sf{subflow.number}", subflow.octets_received)
        self._check(incoming.take())
        return wants_answer

    def _check(self, part: bytes) -> None:
        if part:
            wrong = self._expected(memoryview(part))
            if wrong is not None and self.notes.value("wrong_octet") is None:
                self.notes.put("wrong_octet", self.incoming.read - len(part) + wrong + 1)
            self.notes.put("received", self.incoming.read)

    def _refuse(self, segment: Segment) -> None:
        """After the script: nobody is here any more."""
        if self.over and self.settings.ending == "reset" and not segment.flags & RST:
            number = segment.ack if segment.flags & ACK else 0
            flags = RST if segment.flags & ACK else RST | ACK
            ack = 0 if segment.flags & ACK else (segment.seq + segment.seq_length) & 0xFFFFFFFF
            self._out.append(Segment(segment.destination, segment.source, number, ack, flags, 0))
