"""Flows to subflows to connections.

A subflow is one life of a 4-tuple (its number is tshark's ``tcp.stream``). Subflows are joined into one connection by
the token of an MP_JOIN, and by its HMAC where the keys are there; where the handshake is not in the capture by DSNs and
DATA_ACKs that fit (``inference.py``), and then ``Connection.inferred`` says so. What could belong to more than one
connection stays apart, and ``inferred`` says that too.

Direction 0 is, for every subflow, from the host that opened the *connection* to the host that accepted it, whoever
opened the subflow; direction 1 is back. Pairs of values are in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Batch, Flow, Layout
from analysis.capture.dsn_ranges import DsnRanges
from analysis.capture.survey import Survey

How = Literal["initial", "join", "tcp", "inferred"]
End = tuple[bytes, int]
"""Address and port."""


class Readable(Protocol):
    """What is read: an open capture."""

    @property
    def flows(self) -> Sequence[Flow]:
        """Grow while reading; numbers stay."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """Likewise."""

    def batches(self) -> Iterable[Batch]:
        """All TCP packets, in order; again from the start with each call."""


@dataclass(slots=True)
class Subflow:
    """One TCP connection, alone or as a part of an MPTCP connection."""

    number: int
    connection: int
    how: How
    """``initial``: MP_CAPABLE; ``join``: MP_JOIN; ``tcp``: no MPTCP; ``inferred``: MPTCP, handshake not captured."""
    version: int
    """Of IP."""
    opener: End
    """The end at the host that opened the connection."""
    listener: End
    opened_by: Literal["opener", "listener"] | None
    """Which of the two sent the SYN of this subflow; None: not in the capture, ends told by the port numbers."""
    flows: tuple[int | None, int | None]
    """Indices into the flows of the capture."""
    first_frame: int
    first_ns: int
    last_ns: int
    isn: tuple[int | None, int | None]
    """None where neither SYN nor mappings tell it."""
    sequence_base: tuple[int, int]
    """The ISN, or else what is in front of the first octet seen."""
    handshake_ns: tuple[int | None, int | None, int | None]
    """Times of the first SYN, the first SYN/ACK and the first segment of the opener behind it."""
    syn_rtt_ns: int | None
    """From the SYN that was answered to the SYN/ACK; None where that SYN cannot be told."""
    third_rtt_ns: int | None
    """From the SYN/ACK, sent once, to the first segment behind it."""
    mss: tuple[int | None, int | None]
    window_shift: tuple[int | None, int | None]
    sack_permitted: tuple[bool | None, bool | None]
    timestamps: bool
    address_ids: tuple[int | None, int | None]
    backup: tuple[bool | None, bool | None]
    """The B bit of the MP_JOIN that each end sent."""
    packets: tuple[int, int]
    payload: tuple[int, int]
    reset: bool
    slot: int = 0
    """Number within its connection, from 0."""
    turned: bool = False
    """Side 0 of the survey is the listener's."""


@dataclass(slots=True)
class Connection:
    """What one application's stream is carried by."""

    number: int
    mptcp: bool
    """Whether data have DSNs; False: plain TCP, or fallen back during the handshake."""
    version: int | None
    """Of MPTCP; None: plain TCP, or MPTCP whose MP_CAPABLE is not in the capture."""
    keys: tuple[bytes | None, bytes | None] = (None, None)
    tokens: tuple[int | None, int | None] = (None, None)
    idsn: tuple[int | None, int | None] = (None, None)
    """By the keys."""
    checksum: bool | None = None
    """DSS checksums, as agreed on or, without the handshake, as seen; None: not known, or plain TCP."""
    subflows: list[int] = field(default_factory=list)
    inferred: str = ""
    """What was inferred instead of read from a handshake; empty: nothing."""
    fallback: str = ""
    """``handshake``: MPTCP was asked for, TCP came of it; ``infinite``: an infinite mapping ended MPTCP; else empty."""
    idsn_seen: tuple[int | None, int | None] = (None, None)
    """Without keys: what stands in for the IDSN, one below the least DSN or DATA_ACK seen."""
    dsn_wide: tuple[bool, bool] = (True, True)
    """Whether all 64 bits are known."""


@dataclass(slots=True)
class Resolution:
    """Which packet belongs to what."""

    subflows: list[Subflow]
    connections: list[Connection]
    survey: Survey
    notes: list[str] = field(default_factory=list)
    """What stayed apart, and why."""

    @property
    def ranges(self) -> DsnRanges:
        """Sums of the first pass."""
        return self.survey.ranges

    def subflow_of(self, batch: Batch) -> NDArray[np.int32]:
        """Number of the subflow of each packet; -1: none."""
        return self.survey.locate(batch)[0].astype(np.int32)

    def direction_of(self, batch: Batch) -> NDArray[np.int8]:
        """0: from the host that opened the connection, 1: to it, -1: no subflow."""
        return self.both(batch)[1]

    def both(self, batch: Batch) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Subflow and direction of each packet."""
        life, side = self.survey.locate(batch)
        if not self.subflows:
            return life.astype(np.int32), side.astype(np.int8)
        turned = np.array([subflow.turned for subflow in self.subflows], np.int64)
        return life.astype(np.int32), np.where(life >= 0, side ^ turned[life], -1).astype(np.int8)


def resolve(capture: Readable) -> Resolution:
    """Read the capture once and say what its packets belong to."""
    from analysis.capture.joining import join_subflows

    survey = Survey(capture.flows, capture.layouts)
    for batch in capture.batches():
        survey.take(batch)
    return join_subflows(survey)
