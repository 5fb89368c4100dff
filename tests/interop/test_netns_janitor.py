"""The labs of the tests leave no namespace behind, however their process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.orchestrator.readiness import wait_until

pytestmark = pytest.mark.needs_root

SUPPORT = Path(__file__).parents[1] / "support"
MAKES_TWO = """
import netns_janitor, sys
for name in sys.argv[1:]:
    netns_janitor.add(name)
netns_janitor.remove(sys.argv[1])
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_namespace_goes_with_the_process_that_made_it(end: signal.Signals) -> None:
    names = [f"tbj{os.getpid()}n{number}" for number in (1, 2, 3)]
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKES_TWO, *names],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "made\n"
        there = [Path("/run/netns", name).exists() for name in names]
        maker.send_signal(end)
        maker.wait(10)
    assert there == [False, True, True]
    wait_until(lambda: not any(Path("/run/netns", name).exists() for name in names), 10, "the namespaces to go")
