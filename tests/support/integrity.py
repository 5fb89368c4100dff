"""One random case for the whole stack: two hosts, paths that do everything to packets, users that do as they please.

Everything follows from the seed. What must hold: what a user reads is a prefix of what the other wrote, and all of it
when the connection ends in good order; nothing raises; it ends; and where nothing but an unreliable network is in the
way (``Case.is_benign``) it does end in good order.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from testbed.mptcp.congestion.catalog import CONTROLLERS
from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.profiles import PROFILES, RECEIVERS
from testbed.mptcp.scheduler.catalog import SCHEDULERS
from testbed.mptcp.stack import Stack
from testbed.tcp.parameters import Parameters as TcpParameters
from testbed.tcp.state import Event, Failure
from testbed.wire import codec
from testbed.wire.errors import DecodeError
from testbed.wire.options import KIND_MPTCP, KIND_NOP, NOP, AddAddr, Dss, MptcpOption, Option, Sack
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, SocketAddress

MS = 1_000_000
SECOND = 1_000_000_000
PORT = 5001
M32 = 0xFFFFFFFF
TIME_LIMIT = 6 * 3600 * SECOND
"""Of virtual time: more than two connections that give up one after the other need."""
EVENT_LIMIT = 400_000
PATH_MANAGERS = ("none", "signal", "subflow", "fullmesh", "ndiffports", "backup")
LEGAL_SENDERS = ("linux", "dense", "width-32", "dense-32", "mptcp.org", "rfc8684")
"""Profiles whose every segment any receiver rules have to take."""

Box = Callable[[Segment], list[Segment]]


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class PathCase:
    delay_ns: int
    rate_bits: int | None
    loss: float
    duplicates: float
    jitter_ns: int
    corruption: float
    outages: list[tuple[int, int]]
    boxes: list[str]


@dataclass
class User:
    """What the user of one end does."""

    octets: int
    chunk: int
    pauses: list[tuple[int, int]]
    """(from, until): does not read."""
    waits_for_end: bool
    """Closes only after the peer has."""
    abort_at: int | None


@dataclass
class Case:
    seed: int
    parameters: tuple[Parameters, Parameters]
    profiles: tuple[str, str]
    receivers: tuple[str, str]
    paths: list[PathCase]
    users: tuple[User, User]
    full_mesh: bool
    ipv6: bool
    address_changes: list[tuple[int, int, int, bool]]
    """(time, end, address number, up)."""

    @property
    def is_benign(self) -> bool:
        """Whether nothing but loss, delay, reordering, copies, damage and outages is in the way."""
        return (
            not any(path.boxes for path in self.paths)
            and not self.address_changes
            and all(user.abort_at is None for user in self.users)
            and all(profile in LEGAL_SENDERS for profile in self.profiles)
        )

    def describe(self) -> str:
        lines = [f"seed {self.seed} {'benign' if self.is_benign else ''} mesh={self.full_mesh} ipv6={self.ipv6}"]
        for end, parameters in zip(("client", "server"), self.parameters, strict=True):
            number = int(end == "server")
            lines.append(
                f"  {end}: {self.profiles[number]}/{self.receivers[number]} enabled={parameters.enabled} "
                f"checksum={parameters.checksum} {parameters.scheduler} {parameters.path_manager} "
                f"{parameters.congestion_control} {parameters.tcp.recovery} ts={parameters.tcp.timestamps} "
                f"sack={parameters.tcp.sack} super={parameters.tcp.super_segment} rcv={parameters.receive_buffer} "
                f"snd={parameters.send_buffer} mtu={parameters.tcp.mtu} tfo={parameters.tcp.fast_open} "
                f"{self.users[number]}"
            )
        lines += [f"  {path}" for path in self.paths]
        if self.address_changes:
            lines.append(f"  addresses: {self.address_changes}")
        return "\n".join(lines)


def random_case(seed: int) -> Case:
    """The case of that seed."""
    r = random.Random(seed)
    count = r.choice((1, 1, 2, 2, 2, 3))
    hostile = r.uniform(0, 1) < 0.5
    profiles = [r.choice(list(PROFILES)) if hostile else r.choice(LEGAL_SENDERS) for _ in range(2)]
    receivers = [r.choice(list(RECEIVERS)) for _ in range(2)]
    shared = (r.choice(list(SCHEDULERS)), r.choice(PATH_MANAGERS), r.choice(list(CONTROLLERS)))
    parameters = tuple(
        _random_parameters(r, profile, receiver, shared, hostile)
        for profile, receiver in zip(profiles, receivers, strict=True)
    )
    paths = [_random_path(r, hostile) for _ in range(count)]
    users = [_random_user(r, number, hostile) for number in range(2)]
    if r.uniform(0, 1) < 0.5:
        users[1].octets = r.choice((0, 1, 500))
    if users[0].waits_for_end:
        users[1].waits_for_end = False
    changes = []
    if hostile and r.uniform(0, 1) < 0.2:
        for _ in range(r.randrange(1, 4)):
            number, end, at = r.randrange(count), r.randrange(2), r.randrange(3 * SECOND)
            changes.append((at, end, number, False))
            if r.uniform(0, 1) < 0.7:
                changes.append((at + r.randrange(SECOND), end, number, True))
    return Case(
        seed,
        (parameters[0], parameters[1]),
        (profiles[0], profiles[1]),
        (receivers[0], receivers[1]),
        paths,
        (users[0], users[1]),
        r.uniform(0, 1) < 0.5,
        r.uniform(0, 1) < 0.3,
        sorted(changes),
    )


def _random_parameters(
    r: random.Random, profile: str, receiver: str, shared: tuple[str, str, str], hostile: bool
) -> Parameters:
    buffers = (8 << 10, 64 << 10, 256 << 10)
    base = PROFILES[profile]
    receive_buffer = r.choice(buffers)
    tcp = replace(
        base.tcp,
        timestamps=r.uniform(0, 1) < 0.75,
        sack=r.uniform(0, 1) < 0.8,
        recovery=r.choice(("rack", "rack", "rfc6675", "newreno")),
        prr=r.uniform(0, 1) < 0.8,
        nagle=r.uniform(0, 1) < 0.7,
        delayed_ack_ns=r.choice((0, 40 * MS, 200 * MS)),
        mtu=r.choice((576, 1500, 1500, 9000)),
        super_segment=r.choice((0, 0, 0, 20_000)),
        ecn=r.uniform(0, 1) < 0.2,
        receive_buffer=receive_buffer,
        send_buffer=r.choice(buffers),
        fast_open=r.uniform(0, 1) < 0.1,
        out_of_order_limit=r.choice((20, 4096)),
    )
    return replace(
        base,
        tcp=tcp,
        rules=RECEIVERS[receiver],
        enabled=r.uniform(0, 1) < (0.85 if hostile else 0.95),
        checksum=r.uniform(0, 1) < 0.3,
        scheduler=shared[0] if r.uniform(0, 1) < 0.7 else r.choice(list(SCHEDULERS)),
        path_manager=shared[1] if r.uniform(0, 1) < 0.7 else r.choice(PATH_MANAGERS),
        congestion_control=shared[2] if r.uniform(0, 1) < 0.7 else r.choice(list(CONTROLLERS)),
        send_buffer=tcp.send_buffer,
        receive_buffer=receive_buffer,
        opportunistic_retransmission=r.uniform(0, 1) < 0.7,
        penalisation=r.uniform(0, 1) < 0.7,
        no_more_subflows=r.uniform(0, 1) < 0.1,
    )


BOXES = (
    "strip-syn", "strip-synack", "strip-third", "strip-data", "strip-acks", "strip-all", "strip-after",
    "strip-some-dss", "strip-add-addr", "isn", "split", "coalesce", "shrink-window", "strip-one-way",
)  # fmt: skip


def _random_path(r: random.Random, hostile: bool) -> PathCase:
    outages = []
    if r.uniform(0, 1) < 0.25:
        start = r.randrange(3 * SECOND)
        outages.append((start, start + r.randrange(1, 15 * SECOND)))
    boxes = [r.choice(BOXES) for _ in range(r.choice((0, 1, 1, 2)))] if hostile else []
    return PathCase(
        delay_ns=r.choice((0, 1, 10, 50, 200)) * MS,
        rate_bits=r.choice((None, 500_000, 5_000_000, 50_000_000)),
        loss=r.choice((0.0, 0.0, 0.01, 0.05, 0.1)),
        duplicates=r.choice((0.0, 0.0, 0.05)),
        jitter_ns=r.choice((0, 0, 1, 20, 100)) * MS,
        corruption=r.choice((0.0, 0.0, 0.0, 0.05)),
        outages=outages,
        boxes=boxes,
    )


def _random_user(r: random.Random, number: int, hostile: bool) -> User:
    pauses = []
    if r.uniform(0, 1) < 0.3:
        start = r.randrange(2 * SECOND)
        pauses.append((start, start + r.randrange(1, 10 * SECOND)))
    return User(
        octets=r.choice((0, 1, 1000, 20_000, 60_000, 120_000)) if number == 0 else r.choice((0, 10, 5000, 60_000)),
        chunk=r.choice((1, 100, 1000, 10_000, 1 << 20)),
        pauses=pauses,
        waits_for_end=r.uniform(0, 1) < 0.4,
        abort_at=r.randrange(5 * SECOND) if hostile and r.uniform(0, 1) < 0.05 else None,
    )


def content(seed: int, end: int, octets: int) -> bytes:
    """What a user writes: no position looks like another."""
    return b"".join(
        hashlib.blake2b(f"{seed} {end} {block}".encode(), digest_size=64).digest() for block in range(-(-octets // 64))
    )[:octets]


# --- middleboxes ---


def _without_mptcp(segment: Segment) -> Segment:
    options: list[Option] = []
    for option in segment.options:
        options += [NOP] * option.size if option.kind == KIND_MPTCP else [option]
    return _changed(segment, options=tuple(options))


def _changed(
    segment: Segment,
    *,
    options: tuple[Option, ...] | None = None,
    seq: int | None = None,
    ack: int | None = None,
    payload: bytes | None = None,
    window: int | None = None,
    flags: int | None = None,
) -> Segment:
    return Segment(
        segment.source,
        segment.destination,
        segment.seq if seq is None else seq,
        segment.ack if ack is None else ack,
        segment.flags if flags is None else flags,
        segment.window if window is None else window,
        segment.options if options is None else options,
        segment.payload if payload is None else payload,
        segment.urgent,
        segment.ecn,
        segment.gso_octets,
    )


class Boxes:
    """The middleboxes of one path, both directions, with their state."""

    def __init__(self, names: list[str], r: random.Random) -> None:
        self.r = r
        self.names = names
        self.shift = r.randrange(1 << 32)
        self.after = r.randrange(200)
        self.seen = 0
        self.third_seen: set[tuple[SocketAddress, SocketAddress]] = set()
        self.waiting: dict[tuple[SocketAddress, SocketAddress], Segment] = {}

    def pass_through(self, segment: Segment, from_client: bool) -> list[Segment]:
        self.seen += 1
        out = [segment]
        for name in self.names:
            out = [piece for each in out for piece in self.one(name, each, from_client)]
        return out

    def one(self, name: str, segment: Segment, from_client: bool) -> list[Segment]:
        flags = segment.flags
        if name == "isn":
            return [self.rewrite_isn(segment, from_client)]
        if name == "split":
            return self.split(segment)
        if name == "coalesce":
            return self.coalesce(segment)
        if name == "shrink-window":
            return [segment if flags & SYN else _changed(segment, window=segment.window // 2)]
        if name == "strip-third":
            key = (segment.source, segment.destination)
            if from_client and not flags & (SYN | RST) and key not in self.third_seen:
                self.third_seen.add(key)
                return [_without_mptcp(segment)]
            return [segment]
        if name == "strip-some-dss":
            return [_without_mptcp(segment) if segment.dss is not None and self.r.uniform(0, 1) < 0.1 else segment]
        if name == "strip-add-addr":
            if any(isinstance(option, AddAddr) for option in segment.mptcp):
                return [_without_mptcp(segment)]
            return [segment]
        strips = {
            "strip-syn": bool(flags & SYN and not flags & ACK),
            "strip-synack": bool(flags & SYN and flags & ACK),
            "strip-data": bool(segment.payload),
            "strip-acks": not segment.payload and not flags & SYN,
            "strip-all": True,
            "strip-after": self.seen > self.after,
            "strip-one-way": from_client,
        }[name]
        return [_without_mptcp(segment) if strips else segment]

    def rewrite_isn(self, segment: Segment, from_client: bool) -> Segment:
        if from_client:
            return _changed(segment, seq=(segment.seq + self.shift) & M32)
        options = tuple(
            Sack(tuple(((left - self.shift) & M32, (right - self.shift) & M32) for left, right in option.blocks))
            if isinstance(option, Sack)
            else option
            for option in segment.options
        )
        if not segment.flags & ACK:
            return segment
        return _changed(segment, ack=(segment.ack - self.shift) & M32, options=options)

    def split(self, segment: Segment) -> list[Segment]:
        size = len(segment.payload)
        if size < 2 or segment.flags & (SYN | RST) or self.r.uniform(0, 1) < 0.5:
            return [segment]
        cut = self.r.randrange(1, size)
        return [
            _changed(segment, payload=segment.payload[:cut], flags=segment.flags & ~(FIN | PSH)),
            _changed(segment, payload=segment.payload[cut:], seq=(segment.seq + cut) & M32),
        ]

    def coalesce(self, segment: Segment) -> list[Segment]:
        key = (segment.source, segment.destination)
        held = self.waiting.pop(key, None)
        if held is None:
            if segment.payload and not segment.flags & (SYN | FIN | RST) and self.r.uniform(0, 1) < 0.3:
                self.waiting[key] = segment
                return []
            return [segment]
        if segment.payload and segment.seq == (held.seq + len(held.payload)) & M32 and not segment.flags & (SYN | RST):
            merged = _changed(
                segment,
                seq=held.seq,
                payload=held.payload + segment.payload,
                options=held.options if self.r.uniform(0, 1) < 0.5 else segment.options,
            )
            return [merged]
        return [held, segment]


# --- the run ---


@dataclass
class End:
    stack: Stack
    user: User
    writes: bytes
    expects: bytes
    connection: Connection | None = None
    written: int = 0
    read: int = 0
    closed: bool = False
    """Its user has closed (or aborted)."""
    peer_closed: bool = False
    failure: Failure = Failure.NONE
    over: bool = False
    events: list[Event] = field(default_factory=list)


class Run:
    """Play a case in virtual time."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chance = random.Random(case.seed ^ 0x5EED)
        count = len(case.paths)
        self.addresses = tuple(
            [bytes(14) + bytes((end, n + 1)) if case.ipv6 else bytes((10, 0, n, end + 1)) for n in range(count)]
            for end in range(2)
        )
        self.ends: list[End] = []
        for end in range(2):
            user, other = case.users[end], case.users[1 - end]
            stack = Stack(
                self.addresses[end], case.parameters[end], random.Random(case.seed * 2 + end), can_reach=self.joined
            )
            self.ends.append(
                End(stack, user, content(case.seed, end, user.octets), content(case.seed, 1 - end, other.octets))
            )
        self.boxes = [Boxes(path.boxes, random.Random(case.seed + n)) for n, path in enumerate(case.paths)]
        self.line_free = [[0, 0] for _ in range(count)]
        self.now = SECOND
        self.start = self.now
        self.count = 0
        self.heap: list[tuple[int, int, int, Segment | None]] = []
        """(time, order, end that it arrives at or -1 for a wake-up, segment)."""
        for at, _, _, _ in case.address_changes:
            self.wake(self.start + at)
        for user in case.users:
            for begin, until in user.pauses:
                self.wake(self.start + begin)
                self.wake(self.start + until)
            if user.abort_at is not None:
                self.wake(self.start + user.abort_at)
        self.changes = list(case.address_changes)
        self.transcript: list[str] | None = None

    def wake(self, at: int) -> None:
        self.count += 1
        heapq.heappush(self.heap, (at, self.count, -1, None))

    def joined(self, one: bytes, other: bytes) -> bool:
        return self.case.full_mesh or self.number(one) == self.number(other)

    def number(self, address: bytes) -> int:
        for addresses in self.addresses:
            if address in addresses:
                return addresses.index(address)
        raise Broken(f"a segment to {address.hex()}, which is nobody's")

    def run(self) -> None:
        """Play it to its end; raises Broken."""
        listener = self.ends[1].stack.listen(PORT)
        client = self.ends[0]
        client.connection = client.stack.connect(
            SocketAddress(self.addresses[1][0], PORT), self.now, SocketAddress(self.addresses[0][0], 0)
        )
        for _ in range(EVENT_LIMIT):
            if self.ends[1].connection is None:
                self.ends[1].connection = listener.accept()
            self.serve()
            if self.is_over():
                break
            times = [t for end in self.ends if (t := end.stack.next_timeout()) is not None]
            if self.heap:
                times.append(self.heap[0][0])
            if not times:
                self.silent()
                break
            when = min(times)
            if when > self.start + TIME_LIMIT:
                self.stuck("does not end")
            self.now = max(self.now, when)
            if self.heap and self.heap[0][0] <= self.now:
                _, _, end, segment = heapq.heappop(self.heap)
                if segment is not None:
                    self.ends[end].stack.segment_arrives(segment, self.now)
            else:
                for each in self.ends:
                    due = each.stack.next_timeout()
                    if due is not None and due <= self.now:
                        each.stack.handle_timeout(self.now)
        else:
            self.stuck("too many events")
        self.judge()

    def stuck(self, what: str) -> None:
        state = [
            f"{end.written}/{len(end.writes)} written, {end.read}/{len(end.expects)} read, closed={end.closed} "
            f"eof={end.peer_closed} over={end.over} {end.events} {end.connection and end.connection.status()}"
            for end in self.ends
        ]
        raise Broken(f"{what} at {(self.now - self.start) / SECOND:.3f} s: {state}")

    def silent(self) -> None:
        """Nothing will ever happen. Where one end is gone without a trace (its abort's RST was lost, or its addresses
        are), the other, having nothing to send, may wait forever: TCP has no keepalive by default."""
        living = [end for end in self.ends if end.connection is not None and not end.over]
        gone = len(living) < 2 or self.ends[1].connection is None
        waits = all(end.connection is not None and not end.connection.unacknowledged_octets for end in living)
        if self.case.is_benign or not gone or not waits:
            self.stuck("nothing will ever happen")

    def is_over(self) -> bool:
        client, server = self.ends
        if not client.over:
            return False
        return server.over or server.connection is None

    def serve(self) -> None:
        """Users act, and what is due leaves, until nothing moves."""
        while self.changes and self.start + self.changes[0][0] <= self.now:
            _, number, address, up = self.changes.pop(0)
            stack = self.ends[number].stack
            change = stack.add_address if up else stack.remove_address
            change(self.addresses[number][address], self.now)
        for _ in range(1000):
            for end in self.ends:
                if end.connection is not None:
                    self.use(end)
            moved = False
            for number, end in enumerate(self.ends):
                for segment in end.stack.segments_to_send(self.now):
                    moved = True
                    self.leave(number, segment)
            if not moved:
                return
        self.stuck("never stops sending")

    def read(self, end: End) -> None:
        """Take what there is, and compare."""
        assert end.connection is not None
        while data := end.connection.receive(1 << 16):
            expected = end.expects[end.read : end.read + len(data)]
            if data != expected:
                at = next((i for i, (a, b) in enumerate(zip(data, expected, strict=False)) if a != b), len(expected))
                raise Broken(f"end {self.ends.index(end)} reads wrong octets at {end.read + at}")
            end.read += len(data)

    def use(self, end: End) -> None:
        connection, user = end.connection, end.user
        assert connection is not None
        while (event := connection.next_event()) is not None:
            end.events.append(event)
            if event is Event.PEER_CLOSED:
                end.peer_closed = True
            elif event in (Event.RESET, Event.TIMED_OUT):
                end.failure = connection.error or Failure.RESET
        since = self.now - self.start
        if user.abort_at is not None and since >= user.abort_at and not end.over:
            connection.abort(self.now)
            end.closed = True
            end.failure = Failure.ABORTED
        if not any(begin <= since < until for begin, until in user.pauses):
            self.read(end)
        if not end.closed and not connection.is_closed and end.failure is Failure.NONE:
            while end.written < len(end.writes):
                taken = connection.send(end.writes[end.written : end.written + user.chunk], self.now)
                if not taken:
                    break
                end.written += taken
            established = Event.ESTABLISHED in end.events  # before it, close means to give up (RFC 9293 §3.10.4)
            if established and end.written == len(end.writes) and (not user.waits_for_end or end.peer_closed):
                connection.close(self.now)
                end.closed = True
        end.over = connection.is_closed

    def leave(self, from_end: int, segment: Segment) -> None:
        """Onto the path of the client's address, or (its interface being gone) nowhere."""
        addresses = self.addresses[from_end]
        if segment.source.host not in self.ends[from_end].stack.addresses:
            return
        client_host = segment.source.host if from_end == 0 else segment.destination.host
        if segment.source.host not in addresses or client_host not in self.addresses[0]:
            raise Broken(f"a segment from or to nobody: {segment}")
        number = self.addresses[0].index(client_host)
        path = self.case.paths[number]
        since = self.now - self.start
        if self.transcript is not None:
            self.transcript.append(f"{since / SECOND:.6f} path {number} {segment}")
        if any(begin <= since < until for begin, until in path.outages):
            return
        segments = [segment]
        if segment.gso_octets and len(segment.payload) > segment.gso_octets:
            segments = cut(segment)
        for piece in segments:
            for out in self.boxes[number].pass_through(piece, from_end == 0):
                self.fly(path, number, from_end, out)

    def fly(self, path: PathCase, number: int, from_end: int, segment: Segment) -> None:
        chance = self.chance
        if chance.uniform(0, 1) < path.loss:
            return
        if path.corruption and chance.uniform(0, 1) < path.corruption:
            damaged = self.damage(segment)
            if damaged is None:
                return
            segment = damaged
        copies = 2 if path.duplicates and chance.uniform(0, 1) < path.duplicates else 1
        for _ in range(copies):
            at = self.now
            if path.rate_bits is not None:
                at = max(at, self.line_free[number][from_end])
                if at - self.now > 500 * MS:
                    return
                at += (len(segment.payload) + 60) * 8 * SECOND // path.rate_bits
                self.line_free[number][from_end] = at
            at += path.delay_ns
            if path.jitter_ns:
                at += chance.randrange(path.jitter_ns)
            self.count += 1
            heapq.heappush(self.heap, (at, self.count, 1 - from_end, segment))

    def damage(self, segment: Segment) -> Segment | None:
        """Flip one bit of the packet; None: the checksums find it (as they must, for one bit)."""
        packet = bytearray(codec.encode(segment))
        bit = self.chance.randrange(len(packet) * 8)
        packet[bit >> 3] ^= 1 << (bit & 7)
        try:
            return codec.decode(bytes(packet))
        except DecodeError:
            return None

    def judge(self) -> None:
        case = self.case
        for end in self.ends:
            if end.connection is not None:
                self.read(end)  # a user who paused still finds what has come before the end
        for number, end in enumerate(self.ends):
            if end.peer_closed and end.failure is Failure.NONE and end.read != len(end.expects):
                other = self.ends[1 - number]
                if not (other.closed and other.written < len(other.writes)):
                    raise Broken(f"end {number} saw a clean end after {end.read} of {len(end.expects)} octets")
        if case.is_benign:
            for number, end in enumerate(self.ends):
                if end.failure is not Failure.NONE or not end.peer_closed or end.read != len(end.expects):
                    self.stuck(f"a benign case ended badly at end {number} ({end.failure!r})")


def cut(segment: Segment) -> list[Segment]:
    """As GSO: pieces with the same options, FIN and PSH on the last."""
    size = segment.gso_octets
    payload = segment.payload
    pieces = []
    for at in range(0, len(payload), size):
        last = at + size >= len(payload)
        flags = segment.flags if last else segment.flags & ~(FIN | PSH)
        piece = _changed(segment, payload=payload[at : at + size], seq=(segment.seq + at) & M32, flags=flags)
        piece.gso_octets = 0
        pieces.append(piece)
    return pieces


def play(seed: int) -> None:
    """Raises Broken (or whatever the stack raises) when the case of ``seed`` fails."""
    Run(random_case(seed)).run()


__all__ = ["KIND_NOP", "Broken", "Case", "Dss", "MptcpOption", "Run", "TcpParameters", "play", "random_case"]
