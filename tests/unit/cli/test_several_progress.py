"""What machines side by side show: a live line for each on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from testbed.cli import several_progress
from testbed.cli.several_progress import SeveralProgress

RUN = {"kind": "run", "path": "vm:6.1:/x", "planned": 3, "remaining": 3}
TRIAL = {"kind": "trial", "variant": "mptcp", "repetition": 0, "expected_s": 10.0}
ENDED = {"kind": "ended", "variant": "mptcp", "repetition": 0, "verdict": "VALID", "reason": "", "goodput_bit_s": 4e7}
SAID: tuple[Mapping[str, Any], ...] = (
    {"kind": "note", "text": "booting [6.1]"},
    RUN,
    TRIAL,
    {"kind": "phase", "phase": "traffic"},
    {"kind": "tick"},
    {**ENDED, "duration_s": 9000.0},
    {"kind": "retry", "variant": "tcp", "repetition": 1, "reason": "disturbed"},
    {"kind": "kept", "path": "runs/x/y"},
)


def seen(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, quiet: bool = False) -> str:
    text = io.StringIO()
    made = Console(file=text, force_terminal=terminal, width=100, highlight=False, color_system=None)
    monkeypatch.setattr(several_progress, "console", lambda stderr: made)
    with SeveralProgress(["6.1", "newest"], quiet=quiet) as progress:
        for message in SAID:
            progress.hear("6.1", "aggregation", message)
        progress.over("newest", "aggregation: UNSUPPORTED: no such kernel", last=True)
    return text.getvalue()


def test_without_a_terminal_each_line_has_the_machine_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = seen(monkeypatch, terminal=False).splitlines()

    assert [line[:8] for line in lines] == ["6.1     "] * 5 + ["newest  "]
    assert lines[0] == "6.1     booting [6.1]"
    assert lines[1].startswith("6.1     aggregation: 3 trials, ready after ")
    assert lines[2] == "6.1       1/3 mptcp                #1  VALID          40.00 Mbit/s"
    assert lines[3] == "6.1       tcp #2: again, disturbed"
    assert lines[4] == "6.1     what was done is kept in runs/x/y, --resume goes on"
    assert lines[5] == "newest  aggregation: UNSUPPORTED: no such kernel"


def test_a_machine_is_ready_so_long_after_its_first_word_however_long_it_waited_for_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = io.StringIO()
    made = Console(file=text, width=100, color_system=None)
    monkeypatch.setattr(several_progress, "console", lambda stderr: made)
    now_s = 1000.0
    monkeypatch.setattr("testbed.cli.several_progress.time.monotonic", lambda: now_s)
    with SeveralProgress(["6.1"], quiet=False) as progress:
        now_s = 2000.0
        progress.hear("6.1", "aggregation", SAID[0])
        now_s = 2020.0
        progress.hear("6.1", "aggregation", RUN)
        progress.over("6.1", "aggregation: -> runs/x/y", last=False)
        now_s = 2025.0
        progress.hear("6.1", "quickstart", RUN)
    said = [line for line in text.getvalue().splitlines() if "ready" in line]
    assert said == ["6.1  aggregation: 3 trials, ready after 20 s", "6.1  quickstart: 3 trials, ready after 5 s"]


def test_on_a_terminal_every_machine_has_a_live_line_below_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    text = seen(monkeypatch, terminal=True)

    frames = text.split("1/3 mptcp")[0]
    assert "6.1     aggregation mptcp #1 traffic" in frames
    assert "newest  waits" in frames
    assert "0/3 trials  30 s left" in frames
    assert "1/3 trials  0 s left" in text, "by this machine's clock, not by the guest's 9000 s"


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, terminal=False, quiet=True) == ""
    assert seen(monkeypatch, terminal=True, quiet=True) == ""
