"""What else the machine was doing: processor time and load, because a busy machine spoils a measurement quietly.

Sources: proc_stat(5), proc_loadavg(5). Shares are of all processors together, over the interval that ends at the
sample; ``cpu_steal`` is time that a hypervisor gave to others and that no clock of ours explains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from testbed.orchestrator.collectors.base import SampleRow

SUBJECT = "machine"
_STAT = Path("/proc/stat")
_LOADAVG = Path("/proc/loadavg")
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")


class HostLoadCollector:
    """Samples in a thread of its own."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_s = interval_ns / 1e9
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows: list[SampleRow] = []
        self._failure: Exception | None = None

    def start(self, t0_ns: int) -> None:
        """From now on; sample times are relative to ``t0_ns``."""
        self._thread = threading.Thread(target=self._run, args=(t0_ns,), name="host-load", daemon=True)
        self._thread.start()

    def stop(self) -> list[SampleRow]:
        """All samples, the last one of now. Raises what went wrong while sampling."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._rows

    def _run(self, t0_ns: int) -> None:
        try:
            before = read_processor_ticks(_STAT.read_text())
            ended = False
            while not ended:
                ended = self._end.wait(self._interval_s)
                after = read_processor_ticks(_STAT.read_text())
                now_ns = time.monotonic_ns() - t0_ns
                for metric, value in shares(before, after).items():
                    self._rows.append((now_ns, SUBJECT, metric, value, "1", "/proc/stat"))
                load = float(_LOADAVG.read_text().split()[0])
                self._rows.append((now_ns, SUBJECT, "load_1min", load, "processes", "/proc/loadavg"))
                before = after
        except Exception as error:  # handed to whoever stops us: a thread has nobody else to tell
            self._failure = error


def read_processor_ticks(text: str) -> Mapping[str, int]:
    """The first line of /proc/stat: ticks of all processors together, by kind."""
    name, *values = text.splitlines()[0].split()
    if name != "cpu":
        raise ValueError(f"/proc/stat begins with {name!r} instead of the line of all processors")
    return {field: int(value) for field, value in zip(_FIELDS, values, strict=False)}


def shares(before: Mapping[str, int], after: Mapping[str, int]) -> Mapping[str, float]:
    """``cpu_busy`` (everything but idle and waiting for a disk; with steal) and ``cpu_steal``, in [0, 1].

    Nothing when no tick has passed.
    """
    # The kernel may count idle time backwards by a tick (proc_stat(5), "iowait ... not reliable").
    spent = {name: max(0, after[name] - before[name]) for name in after}
    total = sum(spent.values())
    if not total:
        return {}
    busy = sum(ticks for name, ticks in spent.items() if name not in _IDLE)
    return {"cpu_busy": busy / total, "cpu_steal": spent.get("steal", 0) / total}
