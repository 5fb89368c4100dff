"""What if: the same segments with the same wants, packed under another policy.

A first-order answer: only sizes change. Under another policy the trace itself would be another (a sender that learns
more retransmits less); the proof is a run with that policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.contention.repacking import (
    AREA_OCTETS,
    MOST_BLOCKS,
    DssForm,
    Situation,
    padded,
    sack_blocks_that_fit,
)

MATCH = -1
"""Width of a DATA_ACK: as the DSN that the peer sends (RFC 8684 section 3.3.2; Linux)."""

WHAT_IF = (
    "as-sent",
    "linux",
    "dense",
    "32-bit",
    "dense,32-bit",
    "no-timestamps",
    "dense,map-every=4",
    "dense,32-bit,map-every=4",
    "dense,32-bit,no-timestamps",
)
"""What a summary compares."""

WORDS = {
    "as-sent": "what the sender did, as the model has it: the model's own check",
    "linux": "aligned, a 64-bit DSN on every data segment, a DATA_ACK as wide as the DSN received",
    "dense": "no padding between options",
    "aligned": "every option padded to 4 octets",
    "32-bit": "32-bit DSN and DATA_ACK",
    "64-bit": "64-bit DSN and DATA_ACK",
    "32-bit-dsn": "32-bit DSN",
    "32-bit-data-ack": "32-bit DATA_ACK",
    "map-every=K": "a mapping on every K-th data segment of a subflow only",
    "no-timestamps": "timestamps off",
    "no-checksum": "DSS checksums off",
    "sack-limit=N": "at most N SACK blocks",
}
"""Word of a policy -> meaning. Words are joined by commas; the last one wins where two disagree."""


class PolicyError(ValueError):
    """A word that means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How to pack. None: as the segment was sent."""

    text: str
    is_aligned: bool | None = None
    dsn_octets: int | None = None
    data_ack_octets: int | None = None
    """4, 8 or MATCH."""
    map_every: int | None = None
    """1: on every data segment."""
    keeps_timestamps: bool = True
    keeps_checksum: bool = True
    sack_limit: int = MOST_BLOCKS

    def dss(self, situation: Situation, *, has_turn: bool, peer_is_wide: bool) -> DssForm:
        """The DSS of such a segment. ``has_turn``: it is the data segment that carries the mapping."""
        form = situation.dss
        if situation.lacks_dss:
            return DssForm()
        ack, dsn = form.data_ack, form.dsn
        if ack and self.data_ack_octets is not None:
            ack = (8 if peer_is_wide else 4) if self.data_ack_octets == MATCH else self.data_ack_octets
        if self.map_every is not None and situation.segment == "data" and form.size:
            if has_turn:
                dsn = dsn or self.dsn_octets or 8
            elif not form.has_data_fin:
                dsn = 0
        if dsn and self.dsn_octets is not None:
            dsn = self.dsn_octets
        return DssForm(ack, dsn, form.has_checksum and self.keeps_checksum, form.has_data_fin)

    def blocks(self, situation: Situation, *, has_turn: bool = True, peer_is_wide: bool = True) -> int:
        """SACK blocks that such a segment would carry, all else coming first (as Linux has it)."""
        is_aligned = situation.is_aligned if self.is_aligned is None else self.is_aligned
        sizes = [self.dss(situation, has_turn=has_turn, peer_is_wide=peer_is_wide).size]
        for name, size in situation.sent:
            if name not in ("dss", "sack") and (self.keeps_timestamps or name != "timestamps"):
                sizes.append(size)
        used = sum(padded(size) if is_aligned else size for size in sizes)
        return sack_blocks_that_fit(AREA_OCTETS - used, min(situation.sack_wanted, self.sack_limit), is_aligned)


def policy(text: str) -> Policy:
    """The policy that words joined by commas describe (WORDS). Raises PolicyError."""
    values: dict[str, object] = {}
    for word in text.split(","):
        values.update(_of_word(word.strip(), text))
    return Policy(text=text, **values)  # type: ignore[arg-type]


def policies(texts: Sequence[str]) -> tuple[Policy, ...]:
    """All of them. Raises PolicyError."""
    return tuple(policy(text) for text in texts)


_FIXED: dict[str, dict[str, object]] = {
    "as-sent": {},
    "linux": {"is_aligned": True, "dsn_octets": 8, "data_ack_octets": MATCH, "map_every": 1},
    "dense": {"is_aligned": False},
    "aligned": {"is_aligned": True},
    "32-bit": {"dsn_octets": 4, "data_ack_octets": 4},
    "64-bit": {"dsn_octets": 8, "data_ack_octets": 8},
    "32-bit-dsn": {"dsn_octets": 4},
    "32-bit-data-ack": {"data_ack_octets": 4},
    "no-timestamps": {"keeps_timestamps": False},
    "no-checksum": {"keeps_checksum": False},
}


def _of_word(word: str, text: str) -> dict[str, object]:
    if word in _FIXED:
        return _FIXED[word]
    name, _, number = word.partition("=")
    if name == "map-every" and number.isdecimal() and int(number) >= 1:
        return {"map_every": int(number)}
    if name == "sack-limit" and number.isdecimal() and int(number) <= MOST_BLOCKS:
        return {"sack_limit": int(number)}
    raise PolicyError(f"{text!r}: there is no {word!r}; there are {', '.join(WORDS)}")
