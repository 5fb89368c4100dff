"""Lives of 4-tuples to connections: first by MP_CAPABLE and MP_JOIN, then by what fits (``inference.py``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.capture import inference, keys
from analysis.capture.handshake import Capable, Join
from analysis.capture.resolution import Connection, How, Resolution, Subflow
from analysis.capture.survey import Incarnation, Survey

_WRAP = 1 << 32
_EPHEMERAL = 32768
"""Ports from here on are rather those of openers (the default of Linux's ip_local_port_range)."""


@dataclass(slots=True)
class Group:
    """A connection in the making. Everything by end: 0 is the host that opened the connection."""

    members: list[tuple[int, int]] = field(default_factory=list)
    """(incarnation, the side of it that is end 0's)."""
    mptcp: bool = True
    version: int | None = None
    keys: list[bytes | None] = field(default_factory=lambda: [None, None])
    tokens: list[int | None] = field(default_factory=lambda: [None, None])
    checksum: bool | None = None
    inferred: list[str] = field(default_factory=list)
    fallback: str = ""
    hows: dict[int, How] = field(default_factory=dict)

    def idsn(self, end: int) -> int | None:
        """By the key."""
        key = self.keys[end]
        return None if key is None or self.version is None else keys.idsn_of(key, self.version)


def join_subflows(survey: Survey) -> Resolution:
    """All that the first pass collected, as subflows and connections."""
    notes: list[str] = []
    groups: list[Group] = []
    joins: list[int] = []
    orphans: list[int] = []
    for number, life in enumerate(survey.incarnations):
        if any(side.joins for side in life.sides):
            joins.append(number)
        elif any(side.capable for side in life.sides):
            groups.append(_opened(survey, number))
        elif _has_dss(survey, number):
            orphans.append(number)
        else:
            groups.append(Group([(number, _opening_side(survey, number))], hows={number: "tcp"}, mptcp=False))
    _join(survey, groups, joins, notes)
    inference.join_by_ranges(survey, groups, [_orphan(survey, number) for number in orphans], notes)
    groups.sort(key=lambda group: min(number for number, _ in group.members))
    return _finished(survey, groups, notes)


def _has_dss(survey: Survey, number: int) -> bool:
    return bool(survey.ranges.used[2 * number] or survey.ranges.used[2 * number + 1])


def _opening_side(survey: Survey, number: int) -> int:
    """Who sent the SYN; without it by the ports: the ephemeral one, else the higher one, opened."""
    life = survey.incarnations[number]
    if life.opener is not None:
        return life.opener
    source, destination = _ports(survey, life)
    if (source >= _EPHEMERAL) != (destination >= _EPHEMERAL):
        return 0 if source >= _EPHEMERAL else 1
    return 0 if source >= destination else 1


def _ports(survey: Survey, life: Incarnation) -> tuple[int, int]:
    there, _, some = survey.flows_of_pair(life.pair)
    flow = survey.flows[some]
    if there is None:
        return flow.destination_port, flow.source_port
    return flow.source_port, flow.destination_port


def _orphan(survey: Survey, number: int) -> Group:
    group = Group([(number, _opening_side(survey, number))], hows={number: "inferred"})
    why = "its handshake is not in the capture"
    if survey.incarnations[number].opener is None:
        why += "; which end opened it is told by the ports"
    group.inferred.append(f"subflow {number}: {why}")
    return group


def _opened(survey: Survey, number: int) -> Group:
    """A subflow with MP_CAPABLE."""
    life = survey.incarnations[number]
    opening = _opening_side(survey, number)
    ours, theirs = life.sides[opening].capable, life.sides[1 - opening].capable
    used = _has_dss(survey, number)
    group = Group([(number, opening)], hows={number: "initial"})
    if not used and (
        (life.syn_ack_ns is not None and not theirs) or (life.third_ns is not None and not _third_has_key(ours))
    ):
        group.fallback = "handshake"
        group.mptcp = False
        group.hows[number] = "tcp"
        return group
    if not used and life.reset and life.syn_ack_ns is None:
        group.mptcp = False
        group.hows[number] = "tcp"
        return group
    said = theirs or ours
    group.version = said[-1].version
    group.keys[0] = _key([item.sender_key for item in ours])
    group.keys[1] = _key([item.receiver_key for item in ours] + [item.sender_key for item in theirs])
    group.tokens = [None if key is None else keys.token_of(key, group.version) for key in group.keys]
    if theirs or ours:
        group.checksum = any(item.checksum for item in (*ours, *theirs))
    return group


def _third_has_key(ours: list[Capable]) -> bool:
    """The opener confirmed MPTCP: MP_CAPABLE with both keys."""
    return any(item.receiver_key is not None for item in ours)


def _key(said: list[bytes | None]) -> bytes | None:
    return next((key for key in reversed(said) if key is not None), None)


def _join(survey: Survey, groups: list[Group], joins: list[int], notes: list[str]) -> None:
    """Subflows with MP_JOIN: to the connection whose token they name, else to one another."""
    by_token: dict[int, list[tuple[Group, int]]] = {}
    for group in groups:
        for end, token in enumerate(group.tokens):
            if token is not None:
                by_token.setdefault(token, []).append((group, end))
    strangers: dict[int, Group] = {}
    for number in joins:
        life = survey.incarnations[number]
        opening = _opening_side(survey, number)
        token = next((join.token for join in life.sides[opening].joins if join.token is not None), None)
        fitting = _fitting(survey, by_token.get(token, []) if token is not None else [], number, opening)
        if len(fitting) == 1:
            group, end, verified = fitting[0]
            # The token names the host that the SYN went to.
            group.members.append((number, opening if end == 1 else 1 - opening))
            group.hows[number] = "join"
            if verified is False:
                group.inferred.append(
                    f"subflow {number}: its MP_JOIN has this token, but its HMAC does not fit the keys"
                )
            continue
        if fitting:
            notes.append(f"subflow {number}: token {token:#010x} fits {len(fitting)} connections: kept apart")
        if token is not None and not fitting and token in strangers:
            strangers[token].members.append((number, opening))
            strangers[token].hows[number] = "join"
            continue
        group = Group([(number, opening)], hows={number: "join" if token is not None else "inferred"})
        group.tokens[1] = token
        if token is None:
            group.inferred.append(f"subflow {number}: its SYN with the token is not in the capture")
        elif fitting:
            group.inferred.append(f"subflow {number}: its token fits {len(fitting)} connections, it was kept apart")
        else:
            strangers[token] = group
            group.inferred.append(f"MP_CAPABLE of token {token:#010x} is not in the capture")
        groups.append(group)


def _fitting(
    survey: Survey, candidates: list[tuple[Group, int]], number: int, opening: int
) -> list[tuple[Group, int, bool | None]]:
    """Connections that a join can belong to: (group, whose token, whether the HMAC proves it)."""
    life = survey.incarnations[number]
    start = _start(survey, number)
    alive = [
        (group, end, _proven(group, end, life.sides[opening].joins, life.sides[1 - opening].joins))
        for group, end in candidates
        if min(_start(survey, member) for member, _ in group.members) <= start
    ]
    proven = [item for item in alive if item[2]]
    if proven:
        alive = proven
    elif any(item[2] is None for item in alive):
        alive = [item for item in alive if item[2] is None]
    if len(alive) > 1:
        # The same keys again (a simulation with the same seed): only one that has not ended can be joined.
        alive = [item for item in alive if _end(survey, item[0]) >= start] or alive
    return alive


def _proven(group: Group, end: int, ours: list[Join], theirs: list[Join]) -> bool | None:
    """Whether the HMAC of the SYN/ACK, or of the third packet, is that of the keys; None: cannot be told."""
    own, peer = group.keys[1 - end], group.keys[end]
    nonce = next((join.nonce for join in ours if join.nonce is not None), None)
    answer = next((join for join in theirs if join.nonce is not None and join.hmac is not None), None)
    if own is None or peer is None or nonce is None or answer is None or answer.nonce is None or group.version is None:
        return None
    expected = keys.join_hmac(peer, own, answer.nonce, nonce, group.version)
    return answer.hmac == expected[: keys.JOIN_SYN_ACK_HMAC_OCTETS]


def _start(survey: Survey, number: int) -> int:
    return min(_times(survey, number)[0])


def _end(survey: Survey, group: Group) -> int:
    return max(max(_times(survey, number)[1]) for number, _ in group.members)


def _times(survey: Survey, number: int) -> tuple[list[int], list[int]]:
    ranges = survey.ranges
    there = [stream for stream in (2 * number, 2 * number + 1) if ranges.started[stream]]
    return [int(ranges.first_ns[s]) for s in there] or [0], [int(ranges.last_ns[s]) for s in there] or [0]


def _finished(survey: Survey, groups: list[Group], notes: list[str]) -> Resolution:
    subflows: list[Subflow | None] = [None] * len(survey.incarnations)
    connections = []
    for number, group in enumerate(groups):
        group.members.sort()
        connection = _connection(survey, number, group)
        connections.append(connection)
        for slot, (life, side) in enumerate(group.members):
            subflows[life] = _subflow(survey, life, side, number, slot, group)
    return Resolution([subflow for subflow in subflows if subflow is not None], connections, survey, notes)


def _connection(survey: Survey, number: int, group: Group) -> Connection:
    ranges = survey.ranges
    streams = [2 * life + side for life, side in group.members] + [2 * life + 1 - side for life, side in group.members]
    checksum = group.checksum
    if group.mptcp and checksum is None and any(ranges.used[stream] for stream in streams):
        checksum = any(bool(ranges.checksum[stream]) for stream in streams)
    fallback = group.fallback
    if not fallback and any(ranges.infinite[stream] for stream in streams):
        fallback = "infinite"
    connection = Connection(
        number,
        group.mptcp,
        group.version,
        (group.keys[0], group.keys[1]),
        (group.tokens[0], group.tokens[1]),
        (group.idsn(0), group.idsn(1)),
        checksum if group.mptcp else None,
        [life for life, _ in group.members],
        "; ".join(group.inferred),
        fallback,
    )
    bases = [inference.base(survey, group, end) for end in (0, 1)]
    connection.idsn_seen = (bases[0][0], bases[1][0])
    connection.dsn_wide = (bases[0][1], bases[1][1])
    return connection


def _subflow(survey: Survey, life_number: int, side: int, connection: int, slot: int, group: Group) -> Subflow:
    life = survey.incarnations[life_number]
    ranges = survey.ranges
    first, last = _times(survey, life_number)
    flow_sides = survey.flows_of_pair(life.pair)
    some = survey.flows[flow_sides[2]]
    ends = [(some.source, some.source_port), (some.destination, some.destination_port)]
    if flow_sides[0] is None:
        ends.reverse()
    order = (side, 1 - side)
    sides = [life.sides[index] for index in order]
    streams = [2 * life_number + index for index in order]
    isn: list[int | None] = []
    for stream, found in zip(streams, sides, strict=True):
        isn.append(found.isn if found.isn is not None else survey.isn_by_mappings(stream))
    base = [
        known if known is not None else (int(ranges.first_seq[stream]) - 1) % _WRAP
        for known, stream in zip(isn, streams, strict=True)
    ]
    ids: list[int | None] = []
    backups: list[bool | None] = []
    for found in sides:
        said = [join for join in found.joins if join.address_id is not None]
        initial = 0 if group.hows.get(life_number) == "initial" else None
        ids.append(said[0].address_id if said else initial)
        backups.append(said[0].backup if said else None)
    flows = [flow_sides[index] if ranges.started[2 * life_number + index] else None for index in order]
    third = life.third_ns - life.syn_ack_ns if life.third_ns is not None and life.syn_ack_ns is not None else None
    return Subflow(
        number=life_number,
        connection=connection,
        how=group.hows[life_number],
        version=some.version,
        opener=ends[side],
        listener=ends[1 - side],
        opened_by=None if life.opener is None else "opener" if life.opener == side else "listener",
        flows=(flows[0], flows[1]),
        first_frame=life.first_frame,
        first_ns=min(first),
        last_ns=max(last),
        isn=(isn[0], isn[1]),
        sequence_base=(base[0], base[1]),
        handshake_ns=(life.syn_ns, life.syn_ack_ns, life.third_ns),
        syn_rtt_ns=(
            life.syn_ack_ns - life.answered_ns if life.syn_ack_ns is not None and life.answered_ns is not None else None
        ),
        third_rtt_ns=third if life.syn_acks == 1 else None,
        mss=(sides[0].mss, sides[1].mss),
        window_shift=(sides[0].window_shift, sides[1].window_shift),
        sack_permitted=(
            sides[0].sack_permitted if sides[0].syn else None,
            sides[1].sack_permitted if sides[1].syn else None,
        ),
        timestamps=bool(ranges.timestamps[streams[0]] or ranges.timestamps[streams[1]]),
        address_ids=(ids[0], ids[1]),
        backup=(backups[0], backups[1]),
        packets=(int(ranges.packets[streams[0]]), int(ranges.packets[streams[1]])),
        payload=(int(ranges.payload[streams[0]]), int(ranges.payload[streams[1]])),
        reset=life.reset,
        slot=slot,
        turned=side == 1,
    )
