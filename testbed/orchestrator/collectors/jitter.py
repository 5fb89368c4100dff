"""Whether the machine stood still during the traffic: its hypervisor, or its emulator, may give its time to others.

A process beside the trial (``jitter_probe.py``) sleeps a little again and again. A stall of more than 20 ms *disturbs*
a trial: meanwhile packets waited that the network model did not hold back. That is a mark, no verdict. Only a virtual
machine on real time needs it; on virtual time nothing passes while the guest does not run.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.orchestrator import process
from testbed.orchestrator.collectors.jitter_probe import STALL_NS
from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.process import Process

PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("jitter_probe.py")))
MOST_EVENTS = 50
"""Of one trial; the longest are told."""
DEADLINE_S = 30.0
"""To start and to count together: an emulated processor takes a second where a real one takes 20 ms."""
SUBJECT = "machine"


@dataclass(frozen=True, slots=True)
class Jitter:
    """What it has seen."""

    max_ns: int | None
    p99_ns: int | None
    stalls: tuple[tuple[int, int], ...]
    """(end since the epoch, how long), in ns, in order of time."""
    cpu_share: float | None = None
    """What looking took of a processor."""

    def in_words(self) -> str:
        """``"meanwhile the machine stood still for up to 412 ms"``, or that it did not."""
        if self.max_ns is None:
            return "whether the machine stood still meanwhile is not known"
        how = "stood still for up to" if self.stalls else "never stood still for more than"
        return f"meanwhile the machine {how} {self.max_ns / 1e6:.3g} ms"

    def columns(self) -> dict[str, Any]:
        """Those of ``trials``; of a trial that was over before the first sleep nothing is known."""
        if self.max_ns is None:
            return {}
        return {"stall_max_ns": self.max_ns, "stall_p99_ns": self.p99_ns, "disturbed": bool(self.stalls)}

    def events(self) -> list[dict[str, Any]]:
        """Rows of ``events``, without the number of the trial; what looking cost is a note among them."""
        told = sorted(sorted(self.stalls, key=lambda stall: -stall[1])[:MOST_EVENTS])
        rows = [_event(ended_ns, f"stood still for {late_ns / 1e6:.0f} ms") for ended_ns, late_ns in told]
        if more := len(self.stalls) - len(told):
            rows.append(_event(self.stalls[-1][0], f"{more} more stalls, none longer than these"))
        if self.cpu_share is not None:
            detail = f"looking for stalls took {self.cpu_share:.1%} of a processor"
            rows.append({"time_ns": 0, "kind": "note", "subject": SUBJECT, "detail": detail})
        return rows


def _event(time_ns: int, detail: str) -> dict[str, Any]:
    return {"time_ns": time_ns, "kind": "stall", "subject": SUBJECT, "detail": detail}


def is_wanted(run_json: Mapping[str, Any]) -> bool:
    """Whether the run is one of a virtual machine on real time, by its run.json."""
    real = run_json.get("ran_on", {}).get("clock") == "real"
    return real and bool(run_json["machine"].get("virtualised"))


def worst(*columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a trial on several machines; a machine of which nothing is known ({}) adds nothing, but a trial is
    undisturbed only when all of them say so."""
    known = [each for each in columns if each]
    if not known:
        return {}
    disturbed = any(each["disturbed"] for each in known)
    return {
        **{name: max(each[name] for each in known) for name in ("stall_max_ns", "stall_p99_ns")},
        "disturbed": True if disturbed else False if len(known) == len(columns) else None,
    }


@contextmanager
def looking_for_stalls(wanted: bool) -> Iterator[list[Jitter]]:
    """Beside the block; what was seen is in the list after it, nothing when it is not wanted or cannot be known."""
    seen: list[Jitter] = []
    if not wanted:
        yield seen
        return
    collector = JitterCollector()
    try:
        collector.prepare()
        collector.start(time.monotonic_ns())
        yield seen
        if (jitter := collector.stop()) is not None:
            seen.append(jitter)
    finally:
        collector.close()


class JitterCollector:
    """:meth:`prepare` before the clock of the trial starts, :meth:`start` when it does, :meth:`stop` after the traffic;
    :meth:`close` at any time. What cannot be measured is a reason, no error: the trial goes on without."""

    def __init__(self, start: Callable[[Sequence[str]], Process] | None = None) -> None:
        self._start = start or (lambda argv: process.start(argv, interactive=True))
        self._process: Process | None = None
        self._epoch_ns = 0
        self.reason = ""
        """Why nothing is known."""

    def prepare(self) -> None:
        """Start the program and wait until it is there."""
        try:
            self._process = self._start(PROGRAM)
            self._read(b"\n")
        except InvalidTrial as error:
            self._give_up(error)

    def start(self, epoch_ns: int) -> None:
        """From now on."""
        self._epoch_ns = epoch_ns
        if self._process is not None:
            try:
                self._process.stdin.write(b"go\n")
            except OSError as error:
                self._give_up(error)

    def stop(self) -> Jitter | None:
        """What there was; None when it is not known, see :attr:`reason`."""
        if self._process is None:
            return None
        try:
            self._process.stdin.close()
            found = json.loads(self._read(b""))
            stalls = tuple((ended_ns - self._epoch_ns, late_ns) for ended_ns, late_ns in found["stalls"])
            return Jitter(found["max_ns"], found["p99_ns"], stalls, found["cpu_share"])
        except (InvalidTrial, OSError, ValueError, LookupError) as error:
            self._give_up(error)
            return None
        finally:
            self.close()

    def close(self) -> None:
        """End the program; nothing happens when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _give_up(self, error: Exception) -> None:
        said = self._process.stderr.strip().rpartition("\n")[2] if self._process is not None else ""
        self.reason = f"stalls of the machine were not looked for: {said or error}"
        self.close()

    def _read(self, until: bytes) -> bytes:
        """What it says up to that byte, or to the end. Raises InvalidTrial when it takes too long or ends early."""
        assert self._process is not None
        pipe, heard, ends_s = self._process.stdout_pipe, b"", time.monotonic() + DEADLINE_S
        while not until or not heard.endswith(until):
            if not select.select([pipe], [], [], max(0.0, ends_s - time.monotonic()))[0]:
                raise InvalidTrial(f"the program that sleeps said nothing for {DEADLINE_S:g} s")
            if not (data := pipe.read(1 << 16)):
                if not until:
                    return heard
                raise InvalidTrial("the program that sleeps ended at once")
            heard += data
        return heard


__all__ = ["STALL_NS", "Jitter", "JitterCollector", "is_wanted", "looking_for_stalls", "worst"]
