"""The queues of the data level against plain models: reassembly, the send buffer, mapping tables, DSNs, checksums."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.mptcp.dsn import expand, on_wire
from testbed.mptcp.mapping import IncomingMapping, IncomingMappings, UnmappedData, Verdict
from testbed.mptcp.receive_queue import ReceiveQueue
from testbed.mptcp.send_queue import Mapping, OutgoingMappings, SendQueue, declare_checksum
from testbed.mptcp.windows import SendWindow, SharedWindow
from testbed.tcp.counters import Counters

STREAM = bytes(number * 11 % 251 for number in range(4000))
FIRST = (1 << 64) - 700
"""DSNs start near a wrap of the wire's 64 bits."""


def receive_queue(capacity: int = 4000, limit: int = 1000) -> ReceiveQueue:
    queue = ReceiveQueue(capacity, limit, Counters())
    queue.start(FIRST)
    return queue


def drained(queue: ReceiveQueue) -> bytes:
    found = b""
    while piece := queue.take(1 << 20):
        found += piece
    return found


# --- reassembly ---


@given(st.lists(st.tuples(st.integers(0, 3999), st.integers(1, 700)), max_size=40), st.integers(0, 5))
def test_reassembly_delivers_the_prefix_that_has_arrived(pieces: list[tuple[int, int]], reads: int) -> None:
    queue = receive_queue()
    have: set[int] = set()
    delivered = b""

    for number, (start, length) in enumerate(pieces):
        data = STREAM[start : start + length]
        queue.add(FIRST + start, data)
        have.update(range(start, min(start + len(data), queue.right_edge - FIRST)))
        if reads and number % reads == 0:
            delivered += queue.take(300)

    end = next(position for position in range(4001) if position not in have)
    assert queue.rcv_nxt == FIRST + end
    assert delivered + drained(queue) == STREAM[:end]
    assert queue.out_of_order_octets == len([position for position in have if position >= end])
    assert sum(len(data) for _, data in queue.out_of_order) == queue.out_of_order_octets


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 200)), max_size=40), st.integers(0, 900), st.integers(0, 40)
)
def test_nothing_is_taken_from_the_end_on(pieces: list[tuple[int, int]], end: int, known_after: int) -> None:
    queue = receive_queue()
    have: set[int] = set()

    for number, (start, length) in enumerate(pieces):
        if number >= known_after and queue.received_to() <= FIRST + end:
            queue.end = FIRST + end
        queue.add(FIRST + start, STREAM[start : start + length])
        ended = queue.end == FIRST + end
        have.update(range(start, min(start + length, end) if ended else start + length))

    first_hole = next(position for position in range(1200) if position not in have)
    assert drained(queue) == STREAM[:first_hole]
    assert queue.rcv_nxt == FIRST + first_hole
    assert queue.received_to() == FIRST + max(have, default=-1) + 1


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), min_size=1, max_size=30))
def test_the_first_data_for_a_dsn_wins(pieces: list[tuple[int, int]]) -> None:
    queue = receive_queue()
    expected: dict[int, int] = {}

    for number, (start, length) in enumerate(pieces):
        queue.add(FIRST + start, bytes((number + 1,)) * length)
        for position in range(start, start + length):
            expected.setdefault(position, number + 1)
    queue.add(FIRST, bytes(400))

    whole = bytes(expected.get(position, 0) for position in range(400))
    assert drained(queue) == whole


def test_out_of_order_pieces_have_a_limit_and_what_is_beyond_is_counted() -> None:
    queue = receive_queue(limit=3)

    for number in range(5):
        queue.add(FIRST + 100 + 20 * number, b"x" * 10)

    assert len(queue.out_of_order) == 3
    assert queue.counters["TcpExtTCPOFODrop"] == 2


def test_a_stretch_without_a_hole_counts_as_one_piece() -> None:
    """TCP has acknowledged it: what is dropped here comes again only when the connection's timer expires."""
    queue = receive_queue(limit=3)

    for number in range(50):
        queue.add(FIRST + 100 + 10 * number, STREAM[100 + 10 * number : 110 + 10 * number])
    queue.add(FIRST + 700, STREAM[700:710])
    queue.add(FIRST, STREAM[:100])

    assert queue.counters["TcpExtTCPOFODrop"] == 0
    assert drained(queue) == STREAM[:600]
    assert queue.out_of_order == [(FIRST + 700, STREAM[700:710])]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900)), max_size=60))
def test_the_right_edge_never_goes_back_and_bounds_the_memory(steps: list[tuple[int, int]]) -> None:
    queue = receive_queue(capacity=2000)
    window = SharedWindow(queue)
    edge = FIRST + window.receive_window(0)

    for kind, amount in steps:
        if kind == 0:
            queue.take(amount)
        else:
            start = queue.rcv_nxt - FIRST + (0 if kind == 1 else amount)
            queue.add(FIRST + start, STREAM[start : start + amount] or b"!")
        now = queue.rcv_nxt + window.receive_window(0)
        assert now >= edge
        edge = now
        assert queue.ready_octets + queue.out_of_order_octets <= 2000


# --- the send buffer ---


@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=30),
    st.lists(st.integers(1, 300), max_size=60),
)
def test_chunks_of_any_size_are_the_stream(writes: list[bytes], sizes: list[int]) -> None:
    queue = SendQueue(3000, Counters())
    queue.start(FIRST)
    given_in = b"".join(data[: queue.write(data)] for data in writes)
    taken = b""

    for size in sizes:
        size = min(size, queue.unsent_octets)
        if size:
            chunk = queue.take(size)
            assert len(chunk) == size
            if size % 7 == 0 and size > 1:
                queue.put_back(chunk[size // 2 :])
                chunk = chunk[: size // 2]
            taken += chunk
        assert queue.snd_nxt == FIRST + len(taken)
    if queue.unsent_octets:
        taken += queue.take(queue.unsent_octets)

    assert taken == given_in
    assert len(given_in) <= 3000


@settings(max_examples=30)
@given(st.data())
def test_held_octets_are_those_not_acknowledged_at_both_levels(data: st.DataObject) -> None:
    queue = SendQueue(10_000, Counters())
    queue.start(FIRST)
    queue.write(STREAM)
    subflows = [OutgoingMappings(), OutgoingMappings()]
    ends = [1, 1]
    carried: list[tuple[Mapping, list[int]]] = []
    while queue.unsent_octets:
        size = min(data.draw(st.integers(200, 900)), queue.unsent_octets)
        which = data.draw(st.sampled_from(([0], [1], [0, 1])))
        origin: Mapping | None = None
        chunk = queue.take(size)
        for number in which:
            mapping = Mapping(queue.snd_nxt - size, ends[number], chunk, origin)
            if origin is None:
                origin = mapping
                queue.sent(mapping)
            else:
                origin.copies += 1
            subflows[number].append(mapping)
            ends[number] += size
        assert origin is not None
        carried.append((origin, which))

    acked = [1, 1]
    for _ in range(12):
        number = data.draw(st.integers(0, 2))
        if number == 2:
            queue.data_acknowledged(max(queue.snd_una, FIRST + data.draw(st.integers(0, len(STREAM)))))
        else:
            acked[number] = max(acked[number], data.draw(st.integers(1, ends[number])))
            subflows[number].acknowledged(acked[number], queue)
        done = 0
        positions = [1, 1]
        for origin, which in carried:
            for each in which:
                positions[each] += origin.length
            if origin.end <= queue.snd_una and all(positions[each] <= acked[each] for each in which):
                done += origin.length
        assert queue.held == len(STREAM) - done


@settings(max_examples=30)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.data())
def test_an_outgoing_mapping_is_found_by_any_of_its_octets(lengths: list[int], data: st.DataObject) -> None:
    queue = SendQueue(10_000, Counters())
    table = OutgoingMappings()
    owners: list[Mapping] = []
    for length in lengths:
        mapping = Mapping(FIRST + len(owners), 1 + len(owners), bytes(length))
        table.append(mapping)
        owners += [mapping] * length
    acknowledged = 1

    for _ in range(30):
        ssn = data.draw(st.integers(acknowledged, len(owners) + 5))
        assert table.find(ssn) is (owners[ssn - 1] if ssn <= len(owners) else None)
        acknowledged = max(acknowledged, data.draw(st.integers(0, ssn)))
        table.acknowledged(acknowledged, queue)


def test_a_reinjection_is_queued_once_and_dropped_when_acknowledged() -> None:
    queue = SendQueue(1000, Counters())
    queue.start(FIRST)
    queue.write(b"r" * 300)
    mappings = []
    for ssn in (1, 101, 201):
        mappings.append(Mapping(queue.snd_nxt, ssn, queue.take(100)))
        queue.sent(mappings[-1])

    for mapping in (mappings[1], mappings[0], mappings[1]):
        queue.reinject(mapping)
    queue.sort_reinjections()
    assert list(queue.reinjections) == mappings[:2]
    queue.data_acknowledged(FIRST + 100)

    assert queue.next_reinjection() is mappings[1]
    queue.reinjected()
    assert queue.next_reinjection() is None


# --- incoming mappings ---


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 60), st.booleans()), max_size=40))
def test_mappings_never_contradict_what_was_declared_first(claims: list[tuple[int, int, bool]]) -> None:
    table = IncomingMappings(1000, accept_sub_mapping=True)
    known: dict[int, int] = {}

    for ssn, length, honest in claims:
        shift = 5000 if honest else 9000
        verdict = table.declare(ssn, ssn + shift, length, None, False)
        if verdict in (Verdict.STORED, Verdict.KNOWN):
            assert all(known.get(position, shift) == shift for position in range(ssn, ssn + length))
            known.update(dict.fromkeys(range(ssn, ssn + length), shift))
        else:
            assert verdict is Verdict.CONFLICT
            for position in range(ssn, ssn + length):  # what it said about octets unknown before may have been kept
                found = table.covering(position)
                if found is not None:
                    known.setdefault(position, found.dsn - found.ssn)

    for position in range(1, 400):
        found = table.covering(position)
        assert (None if found is None else found.dsn - found.ssn) == known.get(position)
    ends = [(mapping.ssn, mapping.end) for mapping in table.items]
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(ends))


def test_a_flood_of_mappings_is_bounded() -> None:
    table = IncomingMappings(5, accept_sub_mapping=True)

    verdicts = [table.declare(1 + 10 * number, 100 * number, 5, None, False) for number in range(8)]

    assert verdicts == [Verdict.STORED] * 5 + [Verdict.TOO_MANY] * 3
    table.done_to(21)
    assert len(table.items) == 3


def test_unmapped_data_remembers_since_when() -> None:
    held = UnmappedData()
    assert held.since() is None
    assert held.add(1, b"abc", 50) == 3
    assert held.add(4, b"de", 70) == 2

    assert (held.octets, held.since()) == (5, 50)
    assert held.take() == [(1, b"abc"), (4, b"de")]
    assert (held.octets, held.since()) == (0, None)


def test_what_is_still_held_is_as_old_as_its_own_arrival() -> None:
    """A sender whose mappings are always late leaves something held at every time: that is no reason to give up."""
    held = UnmappedData()
    held.add(1, b"abc", 50)
    held.add(4, b"de", 70)
    held.take()

    assert held.add(5, b"e", 90) == 0  # a mapping of 1 to 4 has come, the rest is tried again

    assert held.since() == 70
    assert held.add(6, b"fghijk", 95) == 2
    assert (held.since(), held.peak) == (70, 7)


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 50)), st.booleans(), st.integers(0, 2**64 - 1))
def test_a_checksum_over_pieces_is_that_of_the_whole(data: bytes, cuts: list[int], fin: bool, dsn: int) -> None:
    sent = Mapping(dsn, 77, data)
    sent.data_fin = fin
    declare_checksum(sent, 0)
    received = IncomingMapping(77, dsn, len(data), sent.checksum, fin)
    position = 0
    complete = False

    for cut in [*cuts, len(data)]:
        piece = data[position : position + cut]
        position += len(piece)
        if piece:
            complete = received.collect(piece)

    assert complete
    assert received.is_intact(0)
    damaged = IncomingMapping(77, dsn, len(data), sent.checksum, fin)
    damaged.collect(bytes((data[0] ^ 0x10,)) + data[1:])
    assert not damaged.is_intact(0)


# --- numbers ---


@given(st.integers(0, 1 << 66), st.integers(-(2**31) + 1, 2**31 - 1), st.sampled_from([4, 8]))
def test_a_dsn_survives_the_wire_at_either_width(reference: int, distance: int, octets: int) -> None:
    dsn = max(reference + distance, 0)

    assert expand(on_wire(dsn, octets), octets, reference) == dsn


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_the_send_window_is_the_largest_that_was_announced(edges: list[int]) -> None:
    window = SendWindow()

    largest = 0
    for edge in edges:
        assert window.announced(edge) is (edge > largest)
        largest = max(largest, edge)

    assert window.right_edge == max([0, *edges])
    assert window.room(5000) == max(window.right_edge - 5000, 0)
