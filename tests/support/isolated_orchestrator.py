"""An orchestrator to be killed: builds, uses and takes down labs in an isolated worker, over and over, until it dies.

    python isolated_orchestrator.py RUN_ID SEED

Its children are of every kind: a relay, a shell of Mininet's, a program, and a daemon that has left its session, its
parent and its file descriptors behind. Prints a line when the first lab stands.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.isolation import Messages, run_isolated
from testbed.orchestrator.network_plan import NetworkSettings, plan_network
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

DAEMON = """
import os, signal
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.closerange(0, 64)
while True: signal.pause()
"""


def work(messages: Messages, run_id: str) -> None:
    shaped = LinkProfile(rate_bit_s=50_000_000, delay_ns=1_000_000)
    settings = NetworkSettings(realisation="relay", path_manager=PathManager(mode="fullmesh"))
    plan = plan_network(two_path(shaped, LinkProfile()), settings)
    scratch = tempfile.mkdtemp(prefix=f"testbed-{run_id}-")
    while True:
        with MininetLab(plan, run_id=run_id) as lab:
            lab.run("client", [sys.executable, "-S", "-c", DAEMON])
            lab.start("server", ["sleep", "1000"], stdout=Path(scratch) / "sleep.txt")
            lab.net["r1"].cmd(f"nft add table inet testbed_{run_id}; sleep 1000 &")
            messages.send("standing")


def main() -> None:
    run_id = sys.argv[1]
    run_isolated(
        lambda messages: work(messages, run_id), run_id=run_id, on_message=lambda each: print(each, flush=True)
    )


if __name__ == "__main__":
    main()
