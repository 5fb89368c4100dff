"""A kernel of one's choice, really booted: an experiment over two paths in it, on virtual time, and nothing is left.

One machine for all of this file. Its images are the user's cache; what is missing there is fetched and built first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pandas as pd
import pytest
from command_line import testbed

from testbed.orchestrator.environment import ROOT
from testbed.record.run_directory import RunDirectory
from testbed.vm import record
from testbed.vm.cache import RUNS, Cache

pytestmark = [
    pytest.mark.needs_qemu,
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout, which is what a machine gets"),
]

KERNEL = "6.12"
MAKE_S = 420.0
"""From an empty cache it takes a minute on a quiet machine with two processors and a near archive."""
MAKE = "from testbed.vm import cache, choosing; choosing.images_of(cache.Cache(), {kernel!r}, print)"
RATE_BIT_S, RTT_MS = 20_000_000, {"path1": 20.0, "path2": 60.0}
"""Of ``aggregation``: delays of 10 and 30 ms each way."""


@dataclass(frozen=True)
class Ran:
    """What the command left."""

    directory: RunDirectory
    machine: record.Record

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.directory.path / f"{name}.parquet")


def _made_or_skipped() -> None:
    """In a process of its own, which can be given up."""
    words = [sys.executable, "-c", MAKE.format(kernel=KERNEL)]
    try:
        made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=MAKE_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the images of a machine were not made within {MAKE_S:g} s")
    if made.returncode:
        why = made.stderr.strip().splitlines()[-1] if made.stderr.strip() else f"exit code {made.returncode}"
        if "errors.Unsupported: " not in why:  # a program is missing, or the archive cannot be reached
            pytest.fail(made.stderr)
        pytest.skip(f"the images of a machine cannot be made here: {why.partition('Unsupported: ')[2]}")


@contextmanager
def _behind_the_other_tests() -> Iterator[None]:
    """What is measured on real time beside this must not wait for a machine, whose time is its own."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        yield
    finally:
        with suppress(PermissionError):  # only root may come back
            os.setpriority(os.PRIO_PROCESS, 0, 0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    _made_or_skipped()
    out = tmp_path_factory.mktemp("runs")
    words = ["run", "aggregation", "--variant", "mptcp", "--repeat", "1", "--set", "duration=2s"]
    with _behind_the_other_tests():
        done = testbed(*words, "--backend", f"vm:{KERNEL}", "--out", str(out), "--quiet")
    (path,) = (out / "aggregation").iterdir()
    directory = RunDirectory.open(path)
    assert done.returncode in (0, 1), done.stderr  # 1: two seconds may be too short for what eight are judged by
    port = int(directory.document["ran_on"]["host"].rpartition(":")[2])
    release = directory.document["kernel"]["release"]
    known = record.all_in(Cache().root / RUNS)
    machine = [each for each in known if (each.port, each.version, each.stays) == (port, release, False)][-1]
    return Ran(directory, machine)


def test_the_run_is_valid_and_says_which_kernel_carried_it_out(ran: Ran) -> None:
    document = ran.directory.document
    assert list(ran.table("trials").verdict) == ["VALID"]
    assert document["kernel"]["release"].startswith(f"{KERNEL}.")
    assert (document["ran_on"]["backend"], document["ran_on"]["kernel"]) == (f"vm:{KERNEL}", KERNEL)
    assert json.loads(document["ran_on"]["capabilities"])["kernel"] == document["kernel"]["release"]
    assert document["machine"]["virtualised"] is True
    assert (ran.directory.path / "report.html").is_file()  # made here: the guest has no pandas


def test_both_paths_carry_it_as_real_qdiscs_with_the_delay_that_was_asked_for(ran: Ran) -> None:
    links = ran.table("links")
    assert set(links.realisation) == {"qdisc"} and set(links.link) == set(RTT_MS)
    delay_ms = links.calibrated_delay_ns / 1e6
    assert (delay_ms - links.expected_delay_ns / 1e6).abs().max() < 0.2  # the guest's clock counts its instructions
    assert (links.calibrated_rate_bit_s / RATE_BIT_S - 1).abs().max() < 0.01
    client = ran.table("subflows").query("side == 'client'")
    assert sorted(client.path) == sorted(RTT_MS)
    samples = ran.table("samples").query("metric == 'min_rtt' and value > 0")
    for index, path in zip(client["index"], client.path, strict=True):
        rtt_ms = samples[samples.subject == f"main.client.subflow{index}"].value.min() / 1e6
        assert rtt_ms == pytest.approx(RTT_MS[path], rel=0.01), path
    assert ran.table("trials").goodput_bit_s[0] > RATE_BIT_S  # more than one path could carry


def test_nothing_stands_still_while_the_first_trial_in_a_machine_begins(ran: Ran) -> None:
    (flow,) = ran.table("flows").to_dict("records")
    assert flow["sample_lateness_max_ns"] < 20e6  # of counted time; loading the kernel's socket diagnosis takes 87 ms


def test_the_guests_clock_and_ours_stand_in_columns_of_their_own(ran: Ran) -> None:
    (trial,) = ran.table("trials").to_dict("records")
    assert trial["clock"] == ran.directory.document["ran_on"]["clock"] == "virtual"
    assert trial["completion_time_ns"] == pytest.approx(2e9, rel=0.25)
    assert trial["host_duration_ns"] > 0 and trial["host_started_utc"]


def test_nothing_of_it_is_left_but_its_console(ran: Ran) -> None:
    directory = Cache().root / RUNS / ran.machine.id
    assert ran.machine.runs is False
    assert sorted(path.name for path in directory.iterdir()) == ["console.log", "lock", "machine.json"]
    assert "starts sshd" in (directory / record.CONSOLE).read_text()
