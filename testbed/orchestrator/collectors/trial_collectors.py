"""All collectors of a trial, started and stopped together, and their findings as rows of the run directory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from testbed.endpoint.protocol import SampleRow
from testbed.orchestrator import plan as planning
from testbed.orchestrator.backends.base import Lab
from testbed.orchestrator.bpf.segment_program import Seen
from testbed.orchestrator.collectors.capture import CaptureCollector
from testbed.orchestrator.collectors.counters import CounterCollector
from testbed.orchestrator.collectors.host import HostLoadCollector
from testbed.orchestrator.collectors.jitter import JitterCollector, worst
from testbed.orchestrator.collectors.kernel_ledger import KernelLedger
from testbed.orchestrator.collectors.kernel_log import KernelLogCollector, KernelMessage
from testbed.orchestrator.collectors.qdisc import QdiscCollector
from testbed.orchestrator.errors import InvalidTrial
from testbed.orchestrator.network_plan import EMULATOR
from testbed.orchestrator.process import Process
from testbed.orchestrator.spec import Experiment, Variant

WARNING_LEVEL = 4
"""syslog(2): warning; what is graver is an event of the trial."""


KERNEL_LEDGER = "kernel ledger"
"""Subject of the events that tell what it lacks."""


@dataclass(frozen=True, slots=True)
class Collected:
    """Rows without their trial number."""

    counters: list[dict[str, Any]] = field(default_factory=list)
    samples: list[SampleRow] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Warnings: a capture that lacks packets, a kernel log that could not be read, what the kernel logged; stalls."""
    stalls: dict[str, Any] = field(default_factory=dict)
    """Columns of ``trials``; empty: nobody looked."""
    problems: list[str] = field(default_factory=list)
    """What could not be collected, for which the trial does not count."""


class TrialCollectors:
    """A context manager: leaving it early takes everything down. :meth:`before`, :meth:`start`, then :meth:`finish`."""

    def __init__(
        self, experiment: Experiment, variant: Variant, lab: Lab, directory: Path, *, watch_stalls: bool = False
    ) -> None:
        """``watch_stalls``: look whether the machine stands still meanwhile."""
        hosts = lab.hosts
        self._away = lab.away_collectors()
        self._directory = directory
        self._counters = CounterCollector(hosts, lab.inside)
        self._host = HostLoadCollector(experiment.sample_interval_ns)
        self._log = KernelLogCollector()
        self._jitter = JitterCollector() if watch_stalls else None
        shaped_by_kernel = any(shaped.realisation == "qdisc" for shaped in lab.plan.shaped)
        self._qdisc = QdiscCollector([EMULATOR], _start_in(lab)) if shaped_by_kernel else None
        self._capture: CaptureCollector | None = None
        if experiment.capture:
            ends = [(end.node, end.name) for host in hosts for end in lab.plan.interfaces(host)]
            self._capture = CaptureCollector(ends, directory / "captures", _start_in(lab))
        hosts_of_kernel = [host for host in planning.kernel_hosts(variant) if host in hosts]
        self._ledger: KernelLedger | None = None
        if experiment.ledger and hosts_of_kernel:
            self._ledger = KernelLedger({host: lab.namespace_fd(host) for host in hosts_of_kernel}, directory)
        self._stack = ExitStack()

    def __enter__(self) -> TrialCollectors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def before(self) -> None:
        """What takes a moment, before the clock of the trial starts."""
        if self._jitter is not None:
            self._stack.callback(self._jitter.close)
            self._jitter.prepare()
        if self._capture is not None:
            self._stack.callback(self._capture.close)
            self._capture.start(0)
        if self._ledger is not None:
            self._stack.callback(self._ledger.close)
            self._ledger.start()
        if self._away is not None:
            self._away.before()
        self._counters.start(0)
        if self._qdisc is not None:
            self._qdisc.start(0)

    @property
    def kernel_hosts(self) -> tuple[str, ...]:
        """The hosts whose kernel's segments are recorded, in the order of their tags."""
        here = self._ledger.hosts if self._ledger is not None else ()
        return (*here, *(self._away.kernel_hosts if self._away is not None else ()))

    def kernel_segments(self) -> Iterable[Seen]:
        """What the kernels of those hosts sent, between :meth:`finish` and the end of the block."""
        here: Iterable[Seen] = self._ledger.segments() if self._ledger is not None else ()
        if self._away is None or not self._away.kernel_hosts:
            return here
        return itertools.chain(here, self._away.segments(len(self.kernel_hosts) - len(self._away.kernel_hosts)))

    def start(self, epoch_ns: int) -> None:
        """The traffic begins now."""
        if self._jitter is not None:
            self._jitter.start(epoch_ns)
        self._stack.callback(self._log.stop)
        self._log.start(epoch_ns)
        self._host.start(epoch_ns)
        self._stack.callback(self._host.stop)
        if self._away is not None:
            self._away.start(epoch_ns)

    def finish(self) -> Collected:
        """The traffic is over: everything that was seen."""
        jitter = self._jitter.stop() if self._jitter is not None else None
        counters = self._counters.stop()
        if self._qdisc is not None:
            counters += self._qdisc.stop()
        collected = Collected(
            counters=[
                {"host": row.host, "counter": row.counter, "before": row.before, "after": row.after} for row in counters
            ],
            samples=self._host.stop(),
            stalls=jitter.columns() if jitter is not None else {},
        )
        if self._jitter is not None:
            reason = self._jitter.reason
            collected.events.extend(jitter.events() if jitter is not None else [_warning(0, "machine", reason)])
        if self._capture is not None:
            for capture in self._capture.stop():
                if capture.dropped:
                    text = f"{capture.dropped} of {capture.packets + capture.dropped} packets are not in the capture"
                    collected.events.append(_warning(0, f"{capture.node} {capture.interface}", text))
        if self._ledger is not None:
            self._ledger.stop()
            if self._ledger.reason:
                text = f"there are no rows of source kernel: {self._ledger.reason}"
                collected.events.append(_warning(0, KERNEL_LEDGER, text))
            for count, why in (
                (self._ledger.lost, "they found no room"),
                (self._ledger.unseen, "the kernel did not run the program"),
            ):
                if count:
                    text = f"{count} of {self._ledger.sent} segments are missing: {why}"
                    collected.events.append(_warning(0, KERNEL_LEDGER, text))
        self._take_log(collected)
        self._take_away(collected)
        return collected

    def _take_away(self, collected: Collected) -> None:
        """What is here is kept when the other machine is gone."""
        if self._away is None:
            return
        try:
            there = self._away.finish(self._directory)
        except InvalidTrial as error:
            collected.problems.append(str(error))
            return
        collected.stalls.update(worst(dict(collected.stalls), there["stalls"]))
        collected.counters.extend(there["counters"])
        collected.samples.extend(there["samples"])
        collected.events.extend(there["events"])

    def _take_log(self, collected: Collected) -> None:
        messages = self._log.stop()
        if self._log.reason:
            collected.events.append(_warning(0, "kernel log of the machine", self._log.reason))
        if self._log.overwritten:
            text = "the kernel's buffer was too small: the oldest messages of this trial are lost"
            collected.events.append(_warning(0, "kernel log of the machine", text))
        if messages:
            path = self._directory / "logs" / "kernel.txt"
            path.write_text("".join(f"{_line(message)}\n" for message in messages))
        for message in messages:
            if message.level <= WARNING_LEVEL:
                collected.events.append(_warning(message.time_ns, "kernel log of the machine", message.text))


def _start_in(lab: Lab) -> Any:
    def start(node: str, argv: Any) -> Process:
        return lab.start(node, argv)

    return start


def _warning(time_ns: int, subject: str, detail: str) -> dict[str, Any]:
    return {"time_ns": time_ns, "kind": "warning", "subject": subject, "detail": detail}


def _line(message: KernelMessage) -> str:
    return f"{message.time_ns / 1e9:12.6f} <{message.level}> {message.text}"
