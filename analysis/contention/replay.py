"""What an endpoint holds out of order, replayed from the packets at its interface: the SACK blocks that it wants.

The capture shows packets *before* the endpoint has handled them: those under way between the interface and TCP (a
backlog while the process is inside a system call, a batch that a userspace stack reads at once) are on record and not
yet known to the segment that leaves. So arrivals wait in a queue and are taken in their order by the segments that
leave, as far as the acknowledgment on each allows: one that would lead beyond it has not been handled yet, nor has
what came behind it. Where no arrival explains the acknowledgment it is believed all the same (the capture missed one,
or the endpoint knew more): **every segment that leaves sets rcv_nxt again**. Blocks that are reported are believed
too: they show which of the arrivals that change no acknowledgment have been handled, and that one at the head of the
queue was thrown away (a damaged packet). A segment with room for a further block shows that there was none. What one
segment does not know, none before it knew.

Rules: the blocks most recently changed come first; ranges merge where they touch; a duplicate is wanted as a D-SACK
until one segment has carried it (RFC 2018, RFC 2883), or the next data come where the stack gives it up then; what is
pushed out of the places for blocks is held all the same, and a duplicate of it is one; a segment older than the
timestamp echoed last is refused (PAWS). What stacks do differently is a :class:`Receiver`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MOST_BLOCKS = 4

Range = tuple[int, int]
Arrival = tuple[int, int, int, int]
"""First octet, end, timestamp, time."""
EVER = (1 << 63) - 1
NO_STAMP = -1
_M32 = 0xFFFF_FFFF
_HALF = 0x8000_0000


_Copy = tuple[int, list[Range], list[Range], Range | None, int, deque[Arrival], int]


@dataclass(frozen=True, slots=True)
class Receiver:
    """How a stack keeps its blocks."""

    remembered: int
    """Blocks that it can report; older ones are forgotten until something touches them. 0: all."""
    holds_fin: bool
    """Whether a FIN out of order is part of a block (its octet of the sequence space)."""
    forgets_duplicates: bool
    """Whether a D-SACK that no segment has carried is given up when the next data arrive."""
    reports_outdated: bool
    """Whether old octets on a segment that PAWS refuses (RFC 7323 section 5) are reported as a duplicate."""
    works_in_rounds: bool
    """It reads all that has come, then builds all that may leave, then sends it: what comes while a round is being
    built and sent is not known to any segment of it (:mod:`analysis.contention.rounds`)."""


LINUX = Receiver(remembered=4, holds_fin=True, forgets_duplicates=True, reports_outdated=True, works_in_rounds=False)
"""``tp->selective_acks`` has four places (tcp_sack_new_ofo_skb); ``end_seq`` counts the FIN; tcp_data_queue() begins by
taking the mark of a D-SACK off; tcp_send_dupack."""
USERSPACE = Receiver(
    remembered=0, holds_fin=False, forgets_duplicates=False, reports_outdated=False, works_in_rounds=True
)
"""testbed.tcp.receive_queue, testbed.tcp.arrival, testbed.endpoint.attached.driver."""
SIMULATED = Receiver(
    remembered=0, holds_fin=False, forgets_duplicates=False, reports_outdated=False, works_in_rounds=False
)
"""The same stack in virtual time, where handling takes none."""
RECEIVERS = {"linux": LINUX, "userspace": USERSPACE, "simulated": SIMULATED}


class Replay:
    """One subflow's receiver while something is held, or arrivals wait. Numbers are unwrapped and relative."""

    __slots__ = (
        "acked",
        "blocks",
        "dsack",
        "dsack_ns",
        "forgotten",
        "pending",
        "rcv_nxt",
        "receiver",
        "told_ns",
        "ts_recent",
    )

    def __init__(self, rcv_nxt: int, edge: int, receiver: Receiver = LINUX) -> None:
        self.rcv_nxt = rcv_nxt
        self.blocks: list[Range] = []
        """Held and known, the most recently changed first."""
        self.forgotten: list[Range] = []
        """Held, but no longer among the blocks that can be reported."""
        self.dsack: Range | None = None
        self.dsack_ns = EVER
        """When the duplicate came."""
        self.told_ns = EVER
        """When the duplicate came that the last segment reported; EVER: it reported none."""
        self.pending: deque[Arrival] = deque()
        """Arrivals that no segment has shown to be handled."""
        self.acked = rcv_nxt
        """What was acknowledged last."""
        self.ts_recent = NO_STAMP
        """RFC 7323 section 4.3: the timestamp that the endpoint would echo."""
        self.receiver = receiver
        if edge > rcv_nxt:
            self.pending.append((rcv_nxt, edge, NO_STAMP, 0))

    def arrives(self, start: int, end: int, stamp: int = NO_STAMP, time: int = 0) -> None:
        """A packet with something in it passes the interface."""
        self.pending.append((start, end, stamp, time))

    def leaves(
        self,
        ack: int,
        sent: tuple[Range, ...] = (),
        is_all: bool = False,
        echo: int = NO_STAMP,
        built: int = EVER,
    ) -> tuple[Range, ...]:
        """A segment leaves that acknowledges ``ack`` and reports ``sent``: the ranges that it wanted to report.

        ``is_all``: it had room for more; ``echo``: the timestamp on it that came from the peer; ``built``: it was built
        no later, so that what came later is not known to it.
        """
        self.told_ns = EVER
        if not sent and not is_all:
            self._catch_up(ack, built)
        else:
            self._catch_up_with(ack, sent, is_all, built)
        self.acked = ack
        if echo != NO_STAMP:
            self.ts_recent = echo
        if not self.blocks and self.dsack is None:
            return sent
        wanted = self._reported()
        if sent:
            if self.dsack == sent[0]:
                self.told_ns = self.dsack_ns
            if wanted[: len(sent)] != sent:
                wanted = (*sent, *(one for one in wanted if one not in sent))[: max(len(sent), len(wanted))]
            self.dsack = None
        return wanted

    def copy(self) -> Replay:
        """Another one in the same state."""
        twin = Replay(self.rcv_nxt, self.rcv_nxt, self.receiver)
        twin.acked = self.acked
        twin._restore(self._copy())
        return twin

    @property
    def not_handled_ns(self) -> int:
        """When the first arrival came that is not known to be handled; EVER: there is none."""
        return self.pending[0][3] if self.pending else EVER

    @property
    def is_quiet(self) -> bool:
        """Nothing is held, no duplicate is to be reported, and what waits is in order."""
        if self.blocks or self.forgotten or self.dsack is not None:
            return False
        edge = self.rcv_nxt
        for start, end, _, _ in self.pending:
            if start != edge:
                return False
            edge = end
        return True

    @property
    def edge(self) -> int:
        """The end of what is in order, waiting arrivals included, while :attr:`is_quiet`."""
        return self.pending[-1][1] if self.pending else self.rcv_nxt

    # --- inside ---

    def _reported(self) -> tuple[Range, ...]:
        if self.dsack is None:
            return tuple(self.blocks[:MOST_BLOCKS])
        return (self.dsack, *self.blocks)[:MOST_BLOCKS]

    def _catch_up(self, ack: int, built: int) -> None:
        """Handle what waits, as far as ``ack`` allows, which is believed more than ``built``."""
        pending = self.pending
        while pending and self._handle(ack, built):
            pass
        if ack > self.rcv_nxt:
            while pending and ack > self.rcv_nxt and self._handle(ack, EVER):
                pass
            if ack > self.rcv_nxt:
                self._set_again(ack)

    def _handle(self, ack: int, built: int) -> bool:
        """The arrival at the head; False: it has not been handled."""
        start, end, stamp, time = self.pending[0]
        rcv_nxt, before = self.rcv_nxt, self.dsack
        if time > built and not start <= rcv_nxt < end <= ack:
            return False
        if stamp != NO_STAMP and self.ts_recent != NO_STAMP and (stamp - self.ts_recent) & _M32 >= _HALF:
            if self.receiver.reports_outdated and start < rcv_nxt:
                self.dsack = (start, min(end, rcv_nxt))
        elif end <= rcv_nxt:
            self.dsack = (start, end)
        elif start > rcv_nxt:
            self._begin()
            self._hold(start, end)
        elif ack <= rcv_nxt:
            return False  # it would lead beyond what is acknowledged
        elif end > ack:
            # A part of it was taken: the window ended there, or these are several arrivals joined.
            self._begin()
            self._advance(start, ack, ack)
            self.pending[0] = (ack, end, stamp, time)
            return False
        else:
            self._begin()
            self._advance(start, end, ack)
            if start <= self.acked and stamp != NO_STAMP:
                self.ts_recent = stamp
        if self.dsack is not before:
            self.dsack_ns = time
        self.pending.popleft()
        return True

    def _begin(self) -> None:
        """New data are about to be handled."""
        if self.receiver.forgets_duplicates:
            self.dsack = None

    def _advance(self, start: int, end: int, ack: int) -> None:
        """In-order octets up to ``end`` are here, which is at most ``ack``."""
        if start < self.rcv_nxt:
            self.dsack = (start, self.rcv_nxt)
        if self.blocks or self.forgotten:
            reach = end
            for left, right in sorted((*self.blocks, *self.forgotten)):
                if left > reach:
                    break
                if left < end:
                    self.dsack = (left, min(end, right))
                reach = max(reach, right)
            if reach > ack:
                reach = end  # what would have been joined is not there: the endpoint threw it away
                self.blocks = [block for block in self.blocks if block[0] > end]
                self.forgotten = [block for block in self.forgotten if block[0] > end]
            else:
                self.blocks = [block for block in self.blocks if block[1] > reach]
                self.forgotten = [block for block in self.forgotten if block[1] > reach]
            end = reach
        self.rcv_nxt = end

    def _hold(self, start: int, end: int) -> None:
        """Octets behind a hole: their block comes first."""
        rest = []
        low, high = start, end
        for block in self.blocks:
            left, right = block
            if right < start or left > end:
                rest.append(block)
                continue
            if left < end and start < right:
                self.dsack = (max(start, left), min(end, right))
            low, high = min(low, left), max(high, right)
        for left, right in self.forgotten:
            if left < end and start < right:
                self.dsack = (max(start, left), min(end, right))
        rest.insert(0, (low, high))
        if self.receiver.remembered and len(rest) > self.receiver.remembered:
            self.forgotten.append(rest.pop())
        self.blocks = rest

    def _set_again(self, ack: int) -> None:
        self.rcv_nxt = ack
        if self.blocks:
            self.blocks = [block for block in self.blocks if block[0] > ack]
        self.forgotten = [block for block in self.forgotten if block[0] > ack]

    def _catch_up_with(self, ack: int, sent: tuple[Range, ...], is_all: bool, built: int) -> None:
        """The same with what the segment reports, which shows how far the endpoint has come."""
        before = self._copy() if self.pending else None
        self._catch_up(ack, built)
        if self._explains(sent, is_all):
            return
        if before is not None:
            after = self._copy()
            self._restore(before)
            if self._find(ack, sent, is_all):
                return
            self._restore(after)
        reported = [block for block in sent if block[0] > ack]
        self._skip_to(reported)
        self._believe(reported)
        if is_all:
            self.blocks = [block for block in self.blocks if block in sent]
            self.dsack = None

    def _explains(self, sent: tuple[Range, ...], is_all: bool) -> bool:
        reported = self._reported()
        return reported == sent if is_all else reported[: len(sent)] == sent

    def _find(self, ack: int, sent: tuple[Range, ...], is_all: bool) -> bool:
        """Handle just as much of what waits as explains both ``ack`` and ``sent``; False: nothing does."""
        found = None
        while True:
            if self.rcv_nxt == ack and self._explains(sent, is_all):
                found = self._copy()
            if not self.pending or not self._handle(ack, EVER):
                break
        if found is None:
            return False
        self._restore(found)
        return True

    def _copy(self) -> _Copy:
        return (
            *(self.rcv_nxt, list(self.blocks), list(self.forgotten)),
            *(self.dsack, self.dsack_ns, deque(self.pending), self.ts_recent),
        )

    def _restore(self, copy: _Copy) -> None:
        self.rcv_nxt, self.blocks, self.forgotten, self.dsack, self.dsack_ns, self.pending, self.ts_recent = copy

    def _skip_to(self, reported: list[Range]) -> None:
        """What is reported came behind an arrival that would lead beyond ``ack``: the endpoint threw that one away."""
        while self.pending and not all(self._holds(block) for block in reported):
            start, end, _, _ = self.pending.popleft()
            if start > self.rcv_nxt:
                self._hold(start, end)

    def _believe(self, reported: list[Range]) -> None:
        for start, end in reversed(reported):
            if not self._holds((start, end)):
                dsack = self.dsack
                self._hold(start, end)
                self.dsack = dsack

    def _holds(self, block: Range) -> bool:
        return any(left <= block[0] and block[1] <= right for left, right in self.blocks)
