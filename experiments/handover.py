"""A phone leaves the WiFi: what happens to a download when path 1 goes dark."""

from __future__ import annotations

from experiments.ingredients import SECOND, mptcp, tcp
from testbed.orchestrator.spec import Bulk, Expectation, Experiment, PathManager
from topologies.wifi_cellular import wifi_cellular

OUTAGE_START_NS = 6 * SECOND
OUTAGE_DURATION_NS = 6 * SECOND


def handover() -> Experiment:
    """WiFi is dark from 6 s to 12 s; the download goes on over LTE, as a second subflow or as a backup."""
    topology = wifi_cellular(outage_start_ns=OUTAGE_START_NS, outage_duration_ns=OUTAGE_DURATION_NS)
    download = Bulk(direction="download")
    return Experiment(
        name="handover",
        question="How long does a download stall when WiFi goes dark, and does it come back?",
        variants=(
            tcp("tcp-wifi", topology, "wifi", download),
            mptcp("mptcp", "MPTCP over WiFi and LTE at once.", topology, download),
            mptcp(
                "mptcp-backup",
                "MPTCP with LTE as backup: used only when WiFi fails.",
                topology,
                download,
                path_manager=PathManager(mode="backup", backup_paths=("cellular",)),
            ),
            tcp("userspace-tcp-wifi", topology, "wifi", download, stack="userspace"),
            mptcp(
                "userspace",
                "MPTCP of our own stack over WiFi and LTE at once.",
                topology,
                download,
                stacks=("userspace", "userspace"),
            ),
            mptcp(
                "userspace-backup",
                "MPTCP of our own stack with LTE as backup.",
                topology,
                download,
                path_manager=PathManager(mode="backup", backup_paths=("cellular",)),
                stacks=("userspace", "userspace"),
            ),
        ),
        repetitions=2,
        duration_ns=20 * SECOND,
        expectations=(
            *(
                Expectation(
                    variant=name,
                    metric="longest_stall_ns",
                    at_least=OUTAGE_DURATION_NS * 0.95,
                    because="TCP has nowhere else to go until WiFi is back",
                )
                for name in ("tcp-wifi", "userspace-tcp-wifi")
            ),
            *(
                Expectation(
                    variant=name,
                    metric="longest_stall_ns",
                    at_most=OUTAGE_DURATION_NS * 0.75,
                    because="the other path is there all the time; data stuck on WiFi is reinjected",
                )
                for name in ("mptcp", "mptcp-backup", "userspace", "userspace-backup")
            ),
            *(
                Expectation(
                    variant=multipath,
                    metric="goodput_bit_s",
                    at_least=1.2,
                    relative_to=(plain,),
                    because="LTE carries on during the outage, and WiFi is used again after it",
                )
                for multipath, plain in (("mptcp", "tcp-wifi"), ("userspace", "userspace-tcp-wifi"))
            ),
        ),
    )
