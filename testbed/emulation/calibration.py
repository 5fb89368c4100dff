"""Measure realised links end to end, whatever realises them, and judge them against their profiles.

The caller opens a :func:`probes.probe_socket` at both ends of each link, in the right namespaces, and calls
:func:`calibrate`; all links are measured together, in about 0.3 s. It belongs before the relay's ``start``: a schedule
has not begun then, and ``start`` resets the models, so probes shift no draw.

What is judged: the median one-way delay, that no probe was early, the rate of a train that keeps the line busy, and
loss, corruption and duplication by exact binomial intervals. Loss in bursts is judged with the number of independent
probes that its correlation leaves. Loss by number is judged by its period (every nth); a literal list is left to the
trial's counters, because packets before the probes may have used it up, and so is netem's correlated loss, whose mean
is not its parameter. A link with a trace stands still at the trace's means until the schedules begin, and is judged by
them; how well the trace is followed then shows in the relay's report (lateness, and the rate error over busy periods,
in which the line's own times are the measure).
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from testbed.emulation import probes
from testbed.emulation.binomial import binomial_interval
from testbed.emulation.probes import DirectionPlan
from topologies.link_profile import DropList, EveryNth, GilbertElliott, LinkProfile, RandomLoss
from topologies.quantity import format_rate

_TIMESPEC = struct.Struct("=qq")
_PATIENCE_NS = 150_000_000
"""How long after the last probe should have arrived one is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a realised link may be from its profile."""

    rate: float = 0.02
    """Relative."""
    delay_ns: int = 1_000_000
    """Median too late; with jitter its amplitude is added."""
    early_ns: int = 50_000
    """Any probe too early; two clocks are read on the way."""
    confidence: float = 0.999
    """Of the intervals for loss, corruption and duplication; a good link that fails one is measured again."""


@dataclass(frozen=True, slots=True)
class ProbedLink:
    """A link and the probe sockets at its ends."""

    name: str
    forward: LinkProfile
    backward: LinkProfile
    a: socket.socket
    b: socket.socket
    token_bucket: bool = False
    """The rate is a token bucket's (tc-tbf(8)): a frame that finds tokens is not held for its serialisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One direction as it was found."""

    link: str
    direction: str
    """``forward`` or ``backward``."""
    probes: int
    lost: int
    duplicated: int
    corrupted: int
    delay_min_ns: int | None
    """Of the small probes, without their serialisation; None: none arrived."""
    delay_median_ns: int | None
    rate_bit_s: int | None
    """None: the profile has no rate, or too little of the train arrived."""
    problems: tuple[str, ...] = ()
    """What is out of tolerance, with the numbers."""
    attempts: int = 1

    @property
    def is_within(self) -> bool:
        """Whether the link is as its profile says."""
        return not self.problems

    def describe(self) -> str:
        """One line with the numbers."""
        delay = "-" if self.delay_median_ns is None else _ms(self.delay_median_ns)
        rate = "-" if self.rate_bit_s is None else format_rate(round(self.rate_bit_s, -3))
        numbers = f"delay {delay}, rate {rate}, lost {self.lost} of {self.probes}"
        verdict = "within tolerance" if self.is_within else "OUT OF TOLERANCE: " + "; ".join(self.problems)
        return f"{self.link} {self.direction}: {numbers}: {verdict}"


@dataclass(slots=True)
class Arrivals:
    """What came out of one direction."""

    received: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Number -> (sent, received), CLOCK_REALTIME ns; the first copy counts."""
    duplicated: int = 0
    corrupted: int = 0
    crossed: list[int] = field(default_factory=list)
    """When copies and damaged frames of the train were received: they took their time on the line, too."""


def calibrate(
    links: Sequence[ProbedLink], tolerance: Tolerance | None = None, attempts: int = 3
) -> tuple[Measurement, ...]:
    """Measure all links, both directions; those out of tolerance are measured again, at most ``attempts`` times in all.

    A machine that was busy for a moment passes the next time; a wrong link fails every time.
    """
    tolerance = tolerance or Tolerance()
    result = measure(links, tolerance)
    for attempt in range(2, attempts + 1):
        wrong = {item.link for item in result if item.problems}
        if not wrong:
            break
        again = {(m.link, m.direction): m for m in measure([x for x in links if x.name in wrong], tolerance)}
        result = tuple(
            replace(again[item.link, item.direction], attempts=attempt)
            if item.problems and (item.link, item.direction) in again
            else item
            for item in result
        )
    return result


def measure(links: Sequence[ProbedLink], tolerance: Tolerance) -> tuple[Measurement, ...]:
    """One measurement of all links."""
    profiles = [(link.forward, link.backward) for link in links]
    alone = len(os.sched_getaffinity(0)) == 1
    sends, plans = probes.plan(profiles, probes.FRAMES_PER_SECOND_OF_ONE_CPU if alone else probes.FRAMES_PER_SECOND)
    arrivals = {key: Arrivals() for key in plans}
    _exchange(links, sends, arrivals)
    return tuple(
        judge(links[link].name, ("forward", "backward")[direction], profiles[link][direction], item,
              arrivals[link, direction], tolerance, token_bucket=links[link].token_bucket)
        for (link, direction), item in plans.items()
    )  # fmt: skip


def judge(
    link: str,
    direction: str,
    profile: LinkProfile,
    plan: DirectionPlan,
    arrivals: Arrivals,
    tolerance: Tolerance,
    *,
    token_bucket: bool = False,
) -> Measurement:
    """Pure: the numbers of one direction, and what is wrong with them."""
    small = {n: times for n, times in arrivals.received.items() if n < plan.probes}
    serialised = profile.rate_bit_s is not None and not token_bucket
    serialisation_ns = probes.frame_time_ns(profile.rate_bit_s or 1, probes.SMALL_BYTES) if serialised else 0
    delays = [received - sent - serialisation_ns for sent, received in small.values()]
    measurement = Measurement(
        link=link,
        direction=direction,
        probes=plan.probes,
        lost=max(0, plan.probes - len(small) - arrivals.corrupted),
        duplicated=arrivals.duplicated,
        corrupted=arrivals.corrupted,
        delay_min_ns=min(delays, default=None),
        delay_median_ns=int(statistics.median(delays)) if delays else None,
        rate_bit_s=_train_rate(profile, plan, arrivals, _bucket_frames(profile) if token_bucket else 0),
    )
    problems = [
        *_delay_problems(profile, measurement, tolerance),
        *_rate_problems(profile, plan, measurement, tolerance),
        *_loss_problems(profile, measurement, sorted(small), tolerance),
        *_share_problems("corruption", profile.corruption, measurement.corrupted, plan.probes, tolerance),
        *_share_problems("duplication", profile.duplication, measurement.duplicated, plan.probes, tolerance),
    ]
    return replace(measurement, problems=tuple(problems))


def _train_rate(profile: LinkProfile, plan: DirectionPlan, arrivals: Arrivals, skipped: int) -> int | None:
    """Slope of bytes over time through the frames of the train, least squares: one late frame does not decide it.

    The first ``skipped`` frames do not count: a token bucket passes them at once.
    """
    if profile.reordering is not None:
        return _rate_in_order(profile, plan, arrivals)
    numbered = [received for n, (_, received) in arrivals.received.items() if n >= plan.probes]
    times = sorted([*numbered, *arrivals.crossed])[min(skipped, plan.train // 2) :]
    if len(times) < max(4, plan.train // 4) or times[0] == times[-1]:
        return None
    fit = statistics.linear_regression([time_ns - times[0] for time_ns in times], range(len(times)))
    return round(fit.slope * probes.LARGE_BYTES * 8 * 10**9)


def _rate_in_order(profile: LinkProfile, plan: DirectionPlan, arrivals: Arrivals) -> int | None:
    """The same through the frames that took the delay; those that skipped it count as frames, not as points."""
    points = []
    latest_ns = 0
    train = sorted((n, times) for n, times in arrivals.received.items() if n >= plan.probes)
    for rank, (_, (sent_ns, received_ns)) in enumerate(train):
        if received_ns >= max(latest_ns, sent_ns + profile.delay_ns):
            points.append((received_ns, rank))
            latest_ns = received_ns
    if len(points) < max(4, plan.train // 4) or points[0][0] == points[-1][0]:
        return None
    fit = statistics.linear_regression([at_ns - points[0][0] for at_ns, _ in points], [rank for _, rank in points])
    return round(fit.slope * probes.LARGE_BYTES * 8 * 10**9)


def _bucket_frames(profile: LinkProfile) -> int:
    """Frames that a full bucket of ours passes at once: a millisecond's, at least two (``orchestrator/netem.py``)."""
    return max(2, -(-(profile.rate_bit_s or 0) // (8 * 1000 * probes.LARGE_BYTES)))


def _delay_problems(profile: LinkProfile, found: Measurement, tolerance: Tolerance) -> list[str]:
    if found.delay_median_ns is None or found.delay_min_ns is None:
        return ["no probe arrived"] if not _loses_all(profile, found.probes) else []
    amplitude_ns = profile.jitter.amplitude_ns if profile.jitter else 0
    problems = []
    # Jitter that keeps the order makes packets wait for the latest one before them: then the earliest one tells.
    keeps_order = profile.jitter is not None and not profile.jitter.reorders
    which, found_ns = ("least", found.delay_min_ns) if keeps_order else ("median", found.delay_median_ns)
    if keeps_order and profile.jitter is not None and profile.jitter.distribution != "uniform":
        amplitude_ns *= 4
    if found_ns > profile.delay_ns + amplitude_ns + tolerance.delay_ns:
        problems.append(
            f"delay: {which} {_ms(found_ns)} instead of {_ms(profile.delay_ns)} (+{_ms(tolerance.delay_ns)})"
        )
    spread_ns = 4 * profile.jitter.amplitude_ns if profile.jitter else 0
    earliest_ns = profile.delay_ns - spread_ns - tolerance.early_ns
    earliest_found_ns = found.delay_median_ns if profile.reordering else found.delay_min_ns
    if earliest_found_ns < earliest_ns and not (profile.reordering and profile.reordering.probability >= 0.4):
        problems.append(f"delay: {_ms(earliest_found_ns)} is less than {_ms(profile.delay_ns)}")
    return problems


def _loses_all(profile: LinkProfile, probes_wanted: int) -> bool:
    match profile.loss:
        case RandomLoss(probability):
            return probability > 0.9
        case EveryNth(n):
            return n == 1
        case DropList(packets):
            return len(packets) >= probes_wanted
        case _:
            return False


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f} ms"


def _rate_problems(profile: LinkProfile, plan: DirectionPlan, found: Measurement, tolerance: Tolerance) -> list[str]:
    if profile.rate_bit_s is None:
        return []
    if found.rate_bit_s is None:
        lossy = found.lost > 0.5 * found.probes
        return [] if lossy else ["rate: too little of the train arrived to tell"]
    train_ns = plan.train * probes.frame_time_ns(profile.rate_bit_s)
    blur = 4 * profile.jitter.amplitude_ns / train_ns if profile.jitter else 0.0
    # Copies and damaged frames have no place in the order of numbers.
    blur += profile.duplication + profile.corruption if profile.reordering else 0.0
    error = found.rate_bit_s / profile.rate_bit_s - 1
    if abs(error) <= tolerance.rate + blur:
        return []
    wanted = f"{profile.rate_bit_s / 1e6:.3f} Mbit/s +-{tolerance.rate + blur:.1%}"
    return [f"rate: {found.rate_bit_s / 1e6:.3f} Mbit/s instead of {wanted} ({error:+.2%})"]


def _loss_problems(profile: LinkProfile, found: Measurement, seen: Sequence[int], tolerance: Tolerance) -> list[str]:
    match profile.loss:
        case RandomLoss(probability, correlation):
            return [] if correlation else _share_problems("loss", probability, found.lost, found.probes, tolerance)
        case GilbertElliott(p, r):
            independent = (p + r) / (2 - p - r) if p + r < 2 else 1.0
            count = max(1, round(found.probes * min(1.0, independent)))
            lost = round(found.lost / found.probes * count)
            return _share_problems("loss", profile.loss.mean(), lost, count, tolerance)
        case EveryNth(n, first):
            present = set(seen)
            lost_numbers = [number for number in range(found.probes) if number not in present]
            gaps = {after - before for before, after in itertools.pairwise(lost_numbers)}
            good = gaps <= {n} and abs(len(lost_numbers) - found.probes / n) <= 1
            if first > n:  # it begins before, among or after the probes; once begun, it goes on to their end
                good = gaps <= {n} and (not lost_numbers or lost_numbers[-1] + n >= found.probes)
            return [] if good or profile.corruption else [f"loss: probes {lost_numbers[:8]}... instead of every {n}th"]
        case DropList():
            return []
        case _:
            return [f"loss: {found.lost} of {found.probes} probes lost on a lossless link"] if found.lost else []


def _share_problems(what: str, probability: float, count: int, total: int, tolerance: Tolerance) -> list[str]:
    low, high = binomial_interval(min(count, total), total, tolerance.confidence)
    if low <= probability <= high:
        return []
    return [f"{what}: {count} of {total} probes, so within {low:.3%} to {high:.3%}, instead of {probability:.3%}"]


def _exchange(
    links: Sequence[ProbedLink], sends: Sequence[probes.Send], arrivals: dict[tuple[int, int], Arrivals]
) -> None:
    """Send everything at its time and collect what arrives."""
    # Direction d of link i arrives at the socket at its far end.
    sinks = {(link.b, link.a)[direction].fileno(): (index, direction)
             for index, link in enumerate(links) for direction in (0, 1)}  # fmt: skip
    sockets = {end.fileno(): end for link in links for end in (link.a, link.b)}
    begin_ns = time.monotonic_ns()
    longest_ns = max(
        profile.delay_ns + 4 * (profile.jitter.amplitude_ns if profile.jitter else 0)
        for link in links for profile in (link.forward, link.backward)
    )  # fmt: skip
    train_ns = max((_drain_ns(profile) for link in links for profile in (link.forward, link.backward)), default=0)
    deadline_ns = begin_ns + sends[-1].at_ns + longest_ns + train_ns + _PATIENCE_NS
    missing = len(sends)
    position = 0
    while True:
        now_ns = time.monotonic_ns()
        while position < len(sends) and begin_ns + sends[position].at_ns <= now_ns:
            send = sends[position]
            source = (links[send.link].a, links[send.link].b)[send.direction]
            source.send(probes.frame(send, time.time_ns()))
            position += 1
        if now_ns > deadline_ns or missing == 0:
            return
        until_ns = begin_ns + sends[position].at_ns if position < len(sends) else deadline_ns
        readable, _, _ = select.select(list(sockets), (), (), max(0, until_ns - now_ns) / 1e9)
        for descriptor in readable:
            missing -= _collect(sockets[descriptor], arrivals[sinks[descriptor]])


def _drain_ns(profile: LinkProfile) -> int:
    """Time that a train's backlog may still need after its last frame was sent."""
    if profile.rate_bit_s is None:
        return 0
    return probes.plan_direction(profile).train * probes.frame_time_ns(profile.rate_bit_s)


def _collect(sink: socket.socket, arrivals: Arrivals) -> int:
    """Read what is there; how many probes, each counted once, it was."""
    count = 0
    while True:
        try:
            data, ancillary, _, _ = sink.recvmsg(2048, 64)
        except BlockingIOError:
            return count
        if not probes.is_probe(data):
            continue
        content = probes.read(data)
        if content is None:
            if len(data) <= probes.SMALL_BYTES:
                arrivals.corrupted += 1
            else:
                arrivals.crossed.append(_received_ns(ancillary))
            count += 1
            continue
        _, _, number, sent_ns = content
        if number in arrivals.received:
            if len(data) <= probes.SMALL_BYTES:
                arrivals.duplicated += 1
            else:
                arrivals.crossed.append(_received_ns(ancillary))
            continue
        arrivals.received[number] = (sent_ns, _received_ns(ancillary))
        count += 1


def _received_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
    return int(seconds * 10**9 + nanoseconds)
