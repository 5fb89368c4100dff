"""A whole trial in virtual time with middleboxes on its links, for tests."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.ingredients import MBIT, MS, mptcp, on_links, tcp
from testbed.orchestrator import plan, sim_trial
from testbed.orchestrator.spec import Bulk, Experiment, Variant
from testbed.orchestrator.trial import Outcome
from topologies.link_profile import LinkProfile
from topologies.middlebox import parse
from topologies.two_path import two_path

PATH = LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS)
PATHS = ("path1", "path2")
SIZE = 300_000


class Trial:
    """An upload through middleboxes on some links, between two of our own stacks."""

    def __init__(
        self,
        folder: Path,
        text: str,
        links: tuple[str, ...] = PATHS,
        *,
        stack: str = "userspace",
        direction: Any = "upload",
        seed: int = 1,
        seconds: int = 5,
        checksum: bool = False,
        receiver: str | None = None,
        size: int = SIZE,
        **values: Any,
    ) -> None:
        topology = two_path(path1=PATH, path2=PATH)
        if values:
            topology = on_links(topology, PATHS, **values)
        for name in links:
            topology = topology.with_link(dataclasses.replace(topology.link(name), middleboxes=parse(text)))
        bulk = Bulk(direction=direction, size_bytes=size)
        if stack == "userspace":
            variant = _with(
                mptcp("own", "MPTCP.", topology, bulk, stacks=("userspace", "userspace")),
                checksum=checksum,
                receiver=receiver,
            )
        else:
            variant = tcp("own", topology, "path1", bulk, stack="userspace")
        made = Experiment(
            name="example",
            question="Does it?",
            variants=(variant,),
            duration_ns=seconds * 1000 * MS,
            repetitions=1,
            seed=seed,
        )
        for name in ("captures", "logs"):
            (folder / name).mkdir(parents=True)
        self.outcome: Outcome = sim_trial.run_trial(made, plan.trials(made)[0], folder, lambda _phase, _s: None)
        tables = self.outcome.record.tables
        (flow,) = tables["flows"]
        self.flow: dict[str, Any] = dict(flow)
        self._size = size
        self.subflows = tables["subflows"]
        self.counters: Counter[str] = Counter()
        """Of both stacks together."""
        for row in tables["counters"]:
            self.counters[row["counter"]] += row["after"] - row["before"]
        self._boxes = {(row["link"], row["direction"], row["number"]): row for row in tables["middleboxes"]}

    def box(self, link: str = "path1", direction: str = "forward", number: int = 1) -> dict[str, int]:
        """What is not 0 of the counts of a middlebox."""
        row = self._boxes[link, direction, number]
        return {name: row[name] for name in ("seen", "matched", "changed", "dropped", "made", "delayed") if row[name]}

    def is_whole(self) -> bool:
        """Every byte has arrived as it was sent."""
        received = self.flow["bytes_received_upload"] or self.flow["bytes_received_download"]
        return bool(self.flow["complete"] and self.flow["integrity"] == "ok" and received == self._size)


def _with(variant: Variant, **values: Any) -> Variant:
    (flow,) = variant.flows
    ends = {end: dataclasses.replace(getattr(flow, end), **values) for end in ("client", "server")}
    return dataclasses.replace(variant, flows=(dataclasses.replace(flow, **ends),))
