"""What researchers compute from goodputs and time series, with definitions and sources. Pure; numpy only.

Refuses to know run directories and units other than those of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def aggregation_benefit(goodput: float, alone: Sequence[float]) -> float:
    """Experimental aggregation benefit (EBen) of a multipath transfer.

    Parameters
    ----------
    goodput : float
        Of the multipath transfer.
    alone : sequence of float
        Goodput of a single-path transfer on each of its paths, same unit; at least two, all above 0.

    Returns
    -------
    float
        1: the sum of all paths; 0: no better than the best path alone; -1: nothing at all; above 1: more than the sum.

    Notes
    -----
    With G = max(alone): (g - G) / (sum(alone) - G) when g >= G, else (g - G) / G. Kaspar introduced it with link
    capacities and Paasch et al. used it for experimental design [1]_; De Coninck and Bonaventure put the *measured*
    single-path goodputs in place of the capacities [2]_, as here.

    References
    ----------
    .. [1] C. Paasch, R. Khalili, O. Bonaventure, "On the Benefits of Applying Experimental Design to Improve Multipath
       TCP", CoNEXT 2013, doi:10.1145/2535372.2535403
    .. [2] Q. De Coninck, O. Bonaventure, "Multipath QUIC: Design and Evaluation", CoNEXT 2017,
       doi:10.1145/3143361.3143370
    """
    if len(alone) < 2 or min(alone) <= 0:
        raise ValueError("the aggregation benefit compares with at least two paths, each with a goodput above 0")
    best = max(alone)
    return (goodput - best) / (sum(alone) - best) if goodput >= best else (goodput - best) / best


def fill_rate(goodput: float, capacities: Sequence[float]) -> float:
    """Share of the paths' configured capacity that reached the application.

    Headers count against it: with an MTU of 1500 bytes a perfect TCP with timestamps reaches 1448/1514 = 0.956 over
    IPv4 and 1428/1514 = 0.943 over IPv6.
    """
    if not capacities or min(capacities) <= 0:
        raise ValueError("the fill rate needs the rate of every path")
    return goodput / sum(capacities)


def jain_index(shares: Sequence[float]) -> float:
    """Jain's fairness index: 1 when all shares are equal, 1/n when one has everything.

    References
    ----------
    R. Jain, D.-M. Chiu, W. Hawe, "A Quantitative Measure of Fairness and Discrimination", DEC TR-301, 1984,
    arXiv:cs/9809099
    """
    values = np.asarray(shares, dtype=np.float64)
    if values.size == 0 or (values < 0).any() or not values.any():
        raise ValueError("the fairness index needs shares that are not negative and not all 0")
    scaled = values / values.max()  # squares of very small or large shares stay in range
    return float(scaled.sum() ** 2 / (values.size * (scaled**2).sum()))


@dataclass(frozen=True, slots=True)
class OutageResponse:
    """How a flow lived through an outage, at the resolution of its time series. None: not before the series' end."""

    stall_ns: int
    """Longest time without a delivered byte that began during the outage."""
    resumed_ns: int | None
    """From the start of the outage to the end of that stall; 0: it never stalled."""
    recovered_ns: int | None
    """From the start of the outage until the goodput held the target for three samples, after that stall."""
    target_bit_s: float


def outage_response(
    time_ns: IntArray, goodput_bit_s: FloatArray, start_ns: int, end_ns: int, share: float = 0.8
) -> OutageResponse | None:
    """Stall and recovery of a goodput series around an outage.

    Parameters
    ----------
    time_ns, goodput_bit_s : ndarray
        The series; a sample at t covers the interval that ends at t.
    start_ns, end_ns : int
        The outage.
    share : float
        The target is this share of the median goodput in the second half of the outage, what the flow settles at with
        the path gone; of that before the outage, when nothing was delivered in that half.

    Returns
    -------
    OutageResponse or None
        None when fewer than four samples fall into the outage.
    """
    inside = (time_ns > start_ns) & (time_ns <= end_ns)
    if np.count_nonzero(inside) < 4:
        return None
    step = int(np.median(np.diff(time_ns[inside])))
    times, values = time_ns[time_ns > start_ns], goodput_bit_s[time_ns > start_ns]
    first, length = _longest_run(values <= 0, int(np.count_nonzero(inside)))
    after = first + length if length else 0
    resumed = int(times[after] - step - start_ns) if after < times.size else None
    settled = float(np.median(values[(times > (start_ns + end_ns) // 2) & (times <= end_ns)]))
    before = goodput_bit_s[time_ns <= start_ns]
    target = share * (settled or (float(np.median(before)) if before.size else 0.0))
    good = values[after:] >= target
    held = np.convolve(good, np.ones(3), mode="valid") >= 3 if target > 0 and good.size >= 3 else np.zeros(0, bool)
    recovered = int(times[after + int(np.argmax(held))] - start_ns) if held.any() else None
    return OutageResponse(length * step, resumed if length else 0, recovered, target)


def _longest_run(flags: npt.NDArray[np.bool_], before: int) -> tuple[int, int]:
    """(index of the first, length) of the longest run of True that starts at an index below ``before``; else (0, 0)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    starts, ends = starts[starts < before], ends[starts < before]
    if not starts.size:
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest] - starts[longest])


def cumulative(counter: FloatArray) -> FloatArray:
    """A counter of bytes that begins anew when it goes back (a subflow that was replaced) -> bytes in all so far."""
    if not counter.size:
        return counter
    grown = np.diff(counter)
    return np.cumsum(np.concatenate((counter[:1], np.where(grown >= 0, grown, counter[1:]))))


def received_of_rate(time_ns: IntArray, rate_bit_s: FloatArray) -> tuple[int, FloatArray]:
    """(start, bytes in all at each sample) of a series in which a sample at t covers the time since the one before.

    A short last interval counts for as long as it was. The first covers the usual interval, or the time since 0.
    """
    steps = np.diff(time_ns)
    first = int(np.median(steps)) if steps.size else int(time_ns[0])
    if 0 < time_ns[0] < first:
        first = int(time_ns[0])
    return int(time_ns[0]) - first, np.cumsum(rate_bit_s * np.concatenate(([first], steps)) / 8e9)


def rate_of_counter(time_ns: IntArray, total_bytes: FloatArray) -> tuple[IntArray, FloatArray]:
    """Cumulative bytes -> bit/s between neighbouring samples, at the later one's time.

    A counter that goes back (a subflow that was replaced) gives no rate for that interval.
    """
    elapsed, grown = np.diff(time_ns), np.diff(total_bytes)
    valid = (elapsed > 0) & (grown >= 0)
    return time_ns[1:][valid], grown[valid] * 8e9 / elapsed[valid]
