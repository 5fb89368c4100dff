"""What the other machine collected during a trial, brought here: counters, samples, events, files, segments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from testbed.orchestrator.away.machine import AwayMachine
from testbed.orchestrator.bpf.segment_program import Seen

CAPTURES = "captures"
_BYTES = ("source", "destination", "options")
_PAIRS = ("selective_acks", "postponed")


class AwayCollectors:
    """The same collectors as here, for the node that is there; what they say of its machine says so."""

    def __init__(self, machine: AwayMachine, its_ns: Callable[[int], int]) -> None:
        """``its_ns``: its clock at a moment of ours."""
        self._machine = machine
        self._its_ns = its_ns
        self.kernel_hosts: tuple[str, ...] = ()
        """Hosts there whose kernel's segments are recorded."""

    def before(self) -> None:
        """Before the clock of the trial starts."""
        self.kernel_hosts = tuple(self._machine.ask("collect"))

    def start(self, epoch_ns: int) -> None:
        """The traffic begins; of our clock."""
        self._machine.ask("epoch", epoch_ns=self._its_ns(epoch_ns))

    def finish(self, directory: Path) -> dict[str, Any]:
        """``counters``, ``samples``, ``events`` and ``stalls``; files go into ``directory``."""
        found: dict[str, Any] = self._machine.ask("finish")
        for name in found.pop("files"):
            self._fetch(name, directory)
        of = f" of {self._machine.node}"
        found["samples"] = [(time_ns, subject + of, *rest) for time_ns, subject, *rest in found["samples"]]
        for event in found["events"]:
            if event["subject"].endswith("machine"):
                event["subject"] += of
        return found

    def segments(self, first_tag: int) -> Iterator[Seen]:
        """What the kernel there sent, by our clock; its hosts' tags begin with ``first_tag``."""
        ahead_ns = self._its_ns(0)
        for line in self._machine.ask_bytes("segments").splitlines():
            row = json.loads(line)
            row |= {name: bytes.fromhex(row[name]) for name in _BYTES}
            row |= {name: tuple(tuple(pair) for pair in row[name]) for name in _PAIRS}
            row["duplicate_sack"] = tuple(row["duplicate_sack"])
            row["time_ns"] -= ahead_ns
            row["tag"] += first_tag
            yield Seen(**row)

    def _fetch(self, name: str, directory: Path) -> None:
        """Captures have names of their own; logs get the node's."""
        path = Path(name)
        into = directory / path.parts[0]
        if len(path.parts) != 2 or ".." in path.parts:
            return
        data = self._machine.ask_bytes("file", name=name)
        into.mkdir(exist_ok=True)
        own = path.name if path.parts[0] == CAPTURES else f"{path.stem}-{self._machine.node}{path.suffix}"
        (into / own).write_bytes(data)
