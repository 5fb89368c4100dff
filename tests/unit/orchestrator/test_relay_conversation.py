"""The orchestrator's side of the relay protocol against processes that behave, and that do not."""

from __future__ import annotations

import sys

import pytest

from testbed.emulation.protocol import Configuration, Ready, event_to_line
from testbed.orchestrator import process
from testbed.orchestrator.emulator import Relay, RelayError, relay_configuration
from testbed.orchestrator.network_plan import NetworkSettings, plan_network
from topologies.two_path import two_path


def configuration(seed: int = 1) -> Configuration:
    return relay_configuration(plan_network(two_path(), NetworkSettings(realisation="relay")), seed)


def relay_that(script: str) -> Relay:
    started = process.start([sys.executable, "-c", script], interactive=True)
    try:
        return Relay(started, configuration())
    except BaseException:
        started.stop()
        raise


READY = event_to_line(Ready(scheduler="SCHED_OTHER", scheduler_reason="not asked", memory_locked=False, pid=1))


def test_each_link_is_described_with_its_interfaces_and_a_seed_of_its_own() -> None:
    links = configuration().links
    assert [(link.name, link.a_interface, link.b_interface) for link in links] == [
        ("path1", "path1-a", "path1-b"),
        ("path2", "path2-a", "path2-b"),
    ]
    assert len({link.seed for link in links}) == 2
    assert configuration() == configuration()
    assert configuration(2).links[0].seed != configuration(1).links[0].seed


def test_a_relay_that_says_ready_is_a_relay() -> None:
    relay = relay_that(f"input(); print({READY!r}, end='', flush=True); input()")
    assert relay.ready.scheduler == "SCHED_OTHER"
    assert relay.is_running()
    relay.process.stop()
    assert not relay.is_running()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('input(); print(\'{"event": "error", "message": "no interface path1-a"}\')', "no interface path1-a"),
        ("import sys; input(); print('broken', file=sys.stderr); sys.exit(3)", "exit code 3: broken"),
        ("input(); print('hello')", "not a line of the relay protocol"),
        ('input(); print(\'{"event": "started", "monotonic_ns": 1}\')', "'started' where Ready was due"),
    ],
)
def test_anything_else_is_an_error_that_says_what_was_heard(script: str, says: str) -> None:
    with pytest.raises(RelayError, match=says):
        relay_that(script)


def test_a_relay_that_died_meanwhile_is_reported() -> None:
    relay = relay_that(f"input(); print({READY!r}, end='', flush=True); input(); raise SystemExit('out of memory')")
    with pytest.raises(RelayError, match="exit code 1: out of memory"):
        relay.report()
    relay.process.stop()
