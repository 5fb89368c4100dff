"""What ``testbed analyze`` does: each file read, its tables and its report put in place whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analysis.capture.analysis import CaptureAnalysis, analyze
from analysis.capture.errors import CaptureError
from analysis.capture.layout_counts import layout_counts
from analysis.capture.merged import MergedCapture
from analysis.capture.reader import Capture
from analysis.capture.resolution import Resolution
from analysis.contention.capture_contention import Contention, of_capture, write_segments
from analysis.contention.replay import RECEIVERS
from analysis.contention.what_if import WHAT_IF, PolicyError, policies
from analysis.report.capture_directory import FORMAT, MANIFEST, is_analysis, place_name
from testbed.cli.result_directory import made_whole, may_replace, set_aside
from testbed.record.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from analysis.capture.analysis import Side

SUFFIXES = (".pcap", ".pcapng", ".cap", ".dmp")
SIDES: Mapping[str, Side] = {"client": "opener", "server": "listener", "between": "between"}


class UsageError(ValueError):
    """What was asked for cannot be done; one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRequest:
    """The command line."""

    files: tuple[Path, ...]
    out: Path | None = None
    each: bool = False
    what_if: tuple[str, ...] = ()
    side: str | None = None
    stack: str = "linux"
    segments: bool = False
    report: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """One analysis that is in place."""

    path: Path
    warnings: tuple[str, ...]
    damaged: bool


def jobs(request: AnalysisRequest) -> list[tuple[tuple[Path, ...], Path]]:
    """The files of each analysis, and where it goes. Raises UsageError when it may not."""
    if not request.each:
        made = [(request.files, request.out or Path(f"{stem(request.files[0])}.analysis"))]
    else:
        made = [((file,), (request.out or Path()) / f"{stem(file)}.analysis") for file in request.files]
    targets = [target for _, target in made]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise UsageError(f"{request.files[number]}: two files would be analysed into {target}; rename one")
        if not request.force and not may_replace(target, is_analysis):
            raise UsageError(f"{target} is there and is no analysis; --force sets it aside, --out chooses another")
    if len(set(request.files)) < len(request.files):
        raise UsageError(f"{next(file for file in request.files if request.files.count(file) > 1)} is named twice")
    return made


def stem(file: Path) -> str:
    """The name of a capture without what tells that it is one."""
    if str(file) == "-":
        return "stdin"
    name = file.name.removesuffix(".gz")
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix) or name
    return name


def check(request: AnalysisRequest) -> None:
    """Raises UsageError for words that mean nothing, before anything is read."""
    if request.side is not None and request.side not in SIDES:
        raise UsageError(f"--side {request.side}: it has to be one of {', '.join(SIDES)}")
    if request.stack not in RECEIVERS:
        raise UsageError(f"--stack {request.stack}: it has to be one of {', '.join(RECEIVERS)}")
    try:
        policies(request.what_if)
    except PolicyError as error:
        raise UsageError(f"--what-if {error}") from error


def carry_out(
    request: AnalysisRequest, files: Sequence[Path], target: Path, progress: Callable[[str, int | None], None]
) -> Made:
    """One analysis. ``progress``: what is being done, and packets read so far.

    Raises CaptureError for a file that cannot be read, RecordError where nothing can be written.
    """
    with made_whole(target, before=lambda: _make_way(target, request.force)) as partial:
        with analyze(
            [str(file) for file in files],
            side=SIDES[request.side] if request.side else None,
            accumulators=_accumulators(request),
            progress=lambda packets: progress("reading", packets),
        ) as analysis:
            progress("writing tables", None)
            analysis.write(partial)
            places = [analysis, *analysis.others]
            for number, place in enumerate(places, start=1):
                below = partial if number == 1 else partial / place_name(number)
                if request.segments:
                    side = _side(request, number)
                    write_segments(place.capture, place.resolution, below, side=side, stack=request.stack)
                manifest = _manifest(place, [_name(other) for other in analysis.others] if number == 1 else [])
                (below / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            warnings = dict.fromkeys(warning for place in places for warning in place.capture.warnings)
            made = Made(target, tuple(warnings), any(place.capture.damaged for place in places))
        if request.report:
            from analysis.report.capture_write import write_capture_report

            for number in range(1, len(places) + 1):
                progress("drawing", None)
                write_capture_report(partial if number == 1 else partial / place_name(number))
    return made


def _accumulators(request: AnalysisRequest) -> list[Any]:
    """Layouts, and contention: at the side given for the first place, at what the packets tell for others."""
    wanted = tuple(dict.fromkeys((*WHAT_IF, *request.what_if)))
    places = count(1)

    def contention(capture: Capture | MergedCapture, resolution: Resolution) -> Contention:
        side = _side(request, next(places))
        return of_capture(side=side, stack=request.stack, what_if=wanted)(capture, resolution)

    return [layout_counts, contention] if request.side != "between" else [layout_counts]


def _side(request: AnalysisRequest, place: int) -> Literal["client", "server"] | None:
    if place > 1:
        return None
    return "client" if request.side == "client" else "server" if request.side == "server" else None


def _make_way(target: Path, force: bool) -> None:
    if force and not may_replace(target, is_analysis):
        print(f"testbed: {target} is now {set_aside(target)}", file=sys.stderr)


def _manifest(analysis: CaptureAnalysis, others: Sequence[str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "files": [
            {
                "name": Path(capture.name).name or capture.name,
                "damaged": capture.damaged,
                "interfaces": [interface.name for interface in capture.interfaces],
                "counts": asdict(capture.counts),
            }
            for capture in _captures(analysis)
        ],
        "at": analysis.at,
        "others": list(others),
        "warnings": analysis.warnings,
    }


def _captures(analysis: CaptureAnalysis) -> Sequence[Capture]:
    capture = analysis.capture
    return capture.captures if isinstance(capture, MergedCapture) else (capture,)


def _name(analysis: CaptureAnalysis) -> str:
    return ", ".join(Path(capture.name).name or capture.name for capture in _captures(analysis))


__all__ = ["AnalysisRequest", "CaptureError", "Made", "UsageError", "carry_out", "check", "jobs"]
