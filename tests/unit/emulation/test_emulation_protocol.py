"""What crosses the pipe comes out as it went in; what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from testbed.emulation.fidelity import FidelityBounds, violations
from testbed.emulation.lateness import LatenessHistogram
from testbed.emulation.protocol import (
    AppliedChange,
    BoxReport,
    Configuration,
    DirectionReport,
    Failure,
    LinkConfiguration,
    LinkReport,
    ProtocolError,
    Ready,
    Report,
    Started,
    event_from_line,
    event_to_line,
)
from topologies.link_profile import Change, GilbertElliott, Jitter, LinkProfile, QueueLimit, Reordering, outage
from topologies.middlebox import parse

PROFILE = LinkProfile(
    rate_bit_s=10**7,
    queue=QueueLimit(size_bytes=30_000),
    delay_ns=5,
    jitter=Jitter(3, "pareto", 0.2),
    loss=GilbertElliott(0.1, 0.2),
    reordering=Reordering(0.1, 2),
)
LINK = LinkConfiguration(
    name="path1",
    seed=9,
    a_interface="a1",
    b_interface="b1",
    forward=PROFILE,
    backward=LinkProfile(middleboxes=parse("strip mptcp on syn close")),
    middleboxes=parse("drop mptcp.add_addr nth 1, hold data nth 3 until data nth 6"),
    changes=(*outage(10, 20), Change(at_ns=5, loss=GilbertElliott(0.2, 0.3))),
)
BOX = BoxReport(
    place="link",
    number=1,
    middlebox="drop syn",
    direction="backward",
    seen=6,
    matched=5,
    changed=4,
    dropped=3,
    made=2,
    delayed=1,
)
QUIET = DirectionReport(**{field.name: 0 for field in dataclasses.fields(DirectionReport)})


def test_a_configuration_survives_the_pipe() -> None:
    configuration = Configuration(links=(LINK,), realtime=False, cpu=1)
    line = configuration.to_line()
    assert line.count("\n") == 1
    assert Configuration.from_line(line) == configuration


@pytest.mark.parametrize(
    "event",
    [
        Ready("SCHED_FIFO", "", True, 5),
        Started(17),
        Failure("no"),
        Report(
            monotonic_ns=2,
            started_ns=None,
            cpu_ns=3,
            scheduler="SCHED_OTHER",
            links=(
                LinkReport(
                    name="p",
                    forward=QUIET,
                    backward=QUIET,
                    changes=(AppliedChange(1, 2, "down"),),
                    middleboxes=(BOX,),
                ),
            ),
        ),
    ],
)
def test_events_survive_the_pipe(event: Ready | Started | Failure | Report) -> None:
    assert event_from_line(event_to_line(event)) == event


def broken(**values: object) -> str:
    data = json.loads(Configuration(links=(LINK,)).to_line())
    data["links"][0].update(values)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not JSON"),
        ("{}", "links"),
        ('{"links": [{"name": "x"}]}', "link x: seed is missing"),
        (broken(b_interface="a1"), "a1 is used twice"),
        (broken(forward={"delay_ns": -1}), "delay_ns is at least 0"),
        (broken(forward={"speed": 1}), "speed"),
        (broken(middleboxes=[{"kind": "drop", "match": "sin"}]), "did you mean syn"),
        ('{"links": [1], "extra": 2}', "extra"),
    ],
)
def test_a_bad_configuration_is_named(line: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        Configuration.from_line(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}\n", "links"),
        (Configuration(links=(LINK,)).to_line().replace("a1", "nosuchif0"), "nosuchif0: cannot attach"),
    ],
)
def test_the_process_says_why_it_cannot_and_exits_with_2(line: str, message: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "testbed.emulation"], input=line, capture_output=True, text=True, check=False
    )
    event = event_from_line(result.stdout)
    assert isinstance(event, Failure)
    assert message in event.message
    assert (result.returncode, result.stderr) == (2, "")


def test_a_faithful_report_has_no_violations_and_others_say_numbers() -> None:
    def report(**values: object) -> Report:
        forward = dataclasses.replace(QUIET, **values)  # type: ignore[arg-type]
        links = (LinkReport(name="path1", forward=forward, backward=QUIET),)
        return Report(monotonic_ns=1, started_ns=0, cpu_ns=0, scheduler="SCHED_FIFO", links=links)

    assert violations(report()) == []
    assert violations(report(rate_error=None)) == []
    bounds = FidelityBounds(late_p99_ns=500_000, rate_error=0.01)
    late = violations(report(late_p99_ns=800_000, late_max_ns=900_000), bounds)
    assert late == ["path1 forward: release lateness p99 0.800 ms, bound 0.500 ms (max 0.900 ms)"]
    assert "p99.9 25.000 ms, bound 20.000 ms" in violations(report(late_p999_ns=25_000_000))[0]
    assert violations(report(rate_error=-0.02), bounds) == ["path1 forward: rate error -2.000%, bound 1.000%"]
    assert len(violations(report(socket_drops=1, send_errors=2, unsupported_frames=3))) == 3


def test_lateness_percentiles_are_bounds_of_what_was_added() -> None:
    histogram = LatenessHistogram()
    for late_ns in range(0, 1_000_000, 1000):
        histogram.add(late_ns)
    histogram.add(50_000_000, 2)
    summary = histogram.summary()
    assert (summary.count, summary.max_ns) == (1002, 50_000_000)
    assert 500_000 <= summary.p50_ns <= 504_000
    assert 990_000 <= summary.p99_ns <= 994_000
    assert summary.p999_ns == 50_000_000
