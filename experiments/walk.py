"""WiFi and a cellular network over time, replayed in step: somebody walks out of the house and back in."""

from __future__ import annotations

import dataclasses

from experiments.ingredients import SECOND, mptcp, tcp
from testbed.orchestrator.spec import Bulk, Expectation, Experiment
from topologies import traces
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.wifi_cellular import wifi_cellular

WIFI = LinkProfile(trace=traces.load("walk_wifi"), queue=QueueLimit(packets=100))
CELLULAR = LinkProfile(trace=traces.load("walk_cellular"), queue=QueueLimit(packets=300))


def walk() -> Experiment:
    """Halfway, at 30 s, WiFi is at its weakest and the cellular network at its best."""
    topology = dataclasses.replace(
        wifi_cellular(WIFI, WIFI, CELLULAR, CELLULAR, outage_duration_ns=0),
        summary="A phone that is carried out of the house and back: WiFi fades while the cellular network gets better.",
    )
    download = Bulk(direction="download")
    return Experiment(
        name="walk",
        question="Does MPTCP follow the better network while WiFi fades and comes back?",
        variants=(
            tcp("tcp-wifi", topology, "wifi", download),
            tcp("tcp-cellular", topology, "cellular", download),
            mptcp("mptcp", "MPTCP over WiFi and the cellular network at once.", topology, download),
            tcp("userspace-tcp-wifi", topology, "wifi", download, stack="userspace"),
            tcp("userspace-tcp-cellular", topology, "cellular", download, stack="userspace"),
            mptcp(
                "userspace",
                "MPTCP of our own stack over WiFi and the cellular network at once.",
                topology,
                download,
                stacks=("userspace", "userspace"),
            ),
        ),
        repetitions=2,
        duration_ns=60 * SECOND,
        expectations=tuple(
            Expectation(
                variant=multipath,
                metric="goodput_bit_s",
                at_least=1.2,
                relative_to=plain,
                because="each network is the better one for a part of the way, and the other one adds to it",
            )
            for multipath, plain in (
                ("mptcp", ("tcp-wifi", "tcp-cellular")),
                ("userspace", ("userspace-tcp-wifi", "userspace-tcp-cellular")),
            )
        ),
    )
