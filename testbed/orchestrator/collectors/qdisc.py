"""Counters of the queueing disciplines of a lab's nodes, before and after the traffic, from ``tc -s -j qdisc show``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from testbed.orchestrator.collectors.base import CounterRow, StartProgram

COMMAND = ("tc", "-s", "-j", "qdisc", "show")
COUNTERS = ("bytes", "packets", "drops", "overlimits", "requeues", "backlog", "qlen")
"""``backlog`` (bytes) and ``qlen`` (packets) are what waits at that moment, not counts."""
DEADLINE_S = 10.0


class QdiscCollector:
    """Asks tc in each node twice."""

    def __init__(self, nodes: Sequence[str], start: StartProgram) -> None:
        self._nodes = tuple(nodes)
        self._start = start
        self._before: Mapping[str, Mapping[str, int]] = {}

    def start(self, _t0_ns: int) -> None:
        """Before the traffic."""
        self._before = self._read()

    def stop(self) -> list[CounterRow]:
        """After it; counters are called ``qdisc.<interface>.<kind>.<handle>.<name>``."""
        rows = []
        for node, after in self._read().items():
            before = self._before.get(node, {})
            names = sorted(before.keys() | after.keys())
            rows += [CounterRow(node, name, before.get(name), after.get(name)) for name in names]
        return rows

    def _read(self) -> Mapping[str, Mapping[str, int]]:
        asked = {node: self._start(node, COMMAND) for node in self._nodes}
        answers = {}
        for node, process in asked.items():
            with process:
                answers[node] = qdisc_counters(json.loads(process.succeed(DEADLINE_S) or "[]"))
        return answers


def qdisc_counters(shown: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The counters of one node; a discipline without statistics (``noqueue``) has none."""
    return {
        f"qdisc.{item['dev']}.{item['kind']}.{item['handle']}.{name}": int(item[name])
        for item in shown
        if item["kind"] != "noqueue"
        for name in COUNTERS
        if name in item
    }
