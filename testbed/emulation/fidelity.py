"""Was the relay true to its links during a trial? Judged from its report, after the trial."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.emulation.protocol import DirectionReport, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityBounds:
    """Past any of these a trial is INVALID."""

    late_p99_ns: int = 1_000_000
    late_p999_ns: int = 20_000_000
    """A stall of the whole relay shows here first; 20 ms are a round trip of many a path."""
    rate_error: float = 0.005
    """Relative, over busy periods."""


def violations(report: Report, bounds: FidelityBounds | None = None) -> list[str]:
    """What the relay did not do as its links demand, one line each with the numbers; empty: it was true."""
    bounds = bounds or FidelityBounds()
    found: list[str] = []
    for link in report.links:
        for name, direction in (("forward", link.forward), ("backward", link.backward)):
            found += [f"{link.name} {name}: {text}" for text in _of_direction(direction, bounds)]
    return found


def _of_direction(direction: DirectionReport, bounds: FidelityBounds) -> list[str]:
    found = []
    for name, late_ns, bound_ns in (
        ("p99", direction.late_p99_ns, bounds.late_p99_ns),
        ("p99.9", direction.late_p999_ns, bounds.late_p999_ns),
    ):
        if late_ns > bound_ns:
            found.append(
                f"release lateness {name} {late_ns / 1e6:.3f} ms, bound {bound_ns / 1e6:.3f} ms "
                f"(max {direction.late_max_ns / 1e6:.3f} ms)"
            )
    if direction.rate_error is not None and abs(direction.rate_error) > bounds.rate_error:
        found.append(f"rate error {direction.rate_error:+.3%}, bound {bounds.rate_error:.3%}")
    for count, text in (
        (direction.socket_drops, "frames lost before the relay read them"),
        (direction.send_errors, "frames refused by the far interface"),
        (direction.unsupported_frames, "frames that the relay could not take apart"),
    ):
        if count:
            found.append(f"{count} {text}, bound 0")
    return found
