from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hand_made_captures as made
import pyarrow.parquet as pq
import pytest
from simulated_capture import simulate
from typer.testing import CliRunner

from testbed.cli.capture_analysis import stem
from testbed.cli.main import app

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
TABLES = {"connections", "subflows", "packets", "layouts", "series", "mappings", "sack", "mptcp_events"}


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def _analyze(*words: str | Path, cwd: Path) -> Ended:
    """In this process, which is quicker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        result = CliRunner().invoke(app, ["analyze", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return Ended(result.exit_code, result.stdout, result.stderr)


def _piped(*words: str | Path, cwd: Path, data: bytes) -> Ended:
    argv = [sys.executable, "-m", "testbed", "analyze", *map(str, words)]
    result = subprocess.run(argv, cwd=cwd, env=ENVIRONMENT, input=data, capture_output=True, check=False, timeout=120)
    return Ended(result.returncode, result.stdout.decode(), result.stderr.decode())


def _names(path: Path) -> set[str]:
    return {item.name for item in path.iterdir()}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate().write(tmp_path_factory.mktemp("captures") / "two_paths.pcap")


@pytest.fixture(scope="module")
def analysed(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    here = tmp_path_factory.mktemp("here")
    return here, _analyze(capture, cwd=here)


def test_it_leaves_tables_and_a_report_here_under_the_name_of_the_capture(
    analysed: tuple[Path, Ended],
) -> None:
    here, result = analysed

    assert result.returncode == 0, result.stderr
    assert _names(here) == {"two_paths.analysis"}
    written = _names(here / "two_paths.analysis")
    assert {f"{name}.parquet" for name in TABLES} | {"analysis.json", "report.html"} <= written
    assert not [name for name in written if name.startswith(".")]


def test_the_summary_says_connections_subflows_and_layouts(
    analysed: tuple[Path, Ended],
) -> None:
    _, result = analysed

    assert "1 MPTCP connection" in result.stdout
    assert "MPTCP v1" in result.stdout
    assert "join" in result.stdout
    assert "nop nop timestamps:10 dss:26(A8M8) nop nop" in result.stdout
    assert "report: two_paths.analysis/report.html" in result.stdout


def test_the_goodput_is_what_the_applications_sent(capture: Path, tmp_path: Path) -> None:
    result = _analyze(capture, "--json", "--no-report", "--out", "there", cwd=tmp_path)
    (found,) = json.loads(result.stdout)

    assert [row["goodput_octets"] for row in found["connections"]] == [simulate().upload, simulate().download]
    assert found["directory"] == "there"
    assert sum(found["layouts"].values()) == found["files"][0]["counts"]["tcp"] == len(simulate().packets)
    assert "report.html" not in _names(tmp_path / "there")


def test_every_table_that_is_written_is_declared_and_has_its_columns(
    analysed: tuple[Path, Ended],
) -> None:
    from testbed.cli.data_format import CAPTURE_TABLES

    declared = {table.name: [column.name for column in table.columns] for table in CAPTURE_TABLES}
    for path in (analysed[0] / "two_paths.analysis").glob("*.parquet"):
        assert pq.read_schema(path).names == declared[path.stem]


def test_quiet_says_nothing(capture: Path, tmp_path: Path) -> None:
    result = _analyze(capture, "-q", cwd=tmp_path)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_packed_capture_and_standard_input_are_read_too(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "packed.pcap.gz").write_bytes(gzip.compress(capture.read_bytes()))

    packed = _analyze("packed.pcap.gz", "-q", "--no-report", cwd=tmp_path)
    piped = _piped("-", "-q", "--no-report", cwd=tmp_path, data=capture.read_bytes())

    assert (packed.returncode, piped.returncode) == (0, 0), packed.stderr + piped.stderr
    assert _names(tmp_path) == {"packed.pcap.gz", "packed.analysis", "stdin.analysis"}


def _bad_files(here: Path) -> dict[str, tuple[Path, str]]:
    """Name -> (file, what the line says)."""
    files = {name: here / f"{name}.pcap" for name in ("empty", "text", "no_packets", "link_type", "no_tcp", "missing")}
    files["empty"].write_bytes(b"")
    files["text"].write_text("no capture at all\n" * 9)
    made.pcap(files["no_packets"], [])
    made.pcap(files["link_type"], [b"x" * 60], link=147)
    made.pcap(files["no_tcp"], [made.ethernet(made.ipv4(b"\0" * 8, protocol=17))])
    says = ("empty", "no capture", "no packets", "link type 147", "no TCP", "No such file")
    return {name: (path, words) for (name, path), words in zip(files.items(), says, strict=True)}


@pytest.mark.parametrize("name", ["empty", "text", "no_packets", "link_type", "no_tcp", "missing"])
def test_what_holds_no_tcp_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "here").mkdir()
    path, words = _bad_files(tmp_path / "files")[name]

    result = _analyze(path, cwd=tmp_path / "here")

    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert path.name in result.stderr
    assert words in result.stderr
    assert result.stdout == ""
    assert _names(tmp_path / "here") == set()


def test_a_damaged_capture_is_analysed_up_to_the_damage_with_one_warning(capture: Path, tmp_path: Path) -> None:
    whole = capture.read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[: len(whole) // 2])

    result = _analyze("cut.pcap", cwd=tmp_path)

    assert result.returncode == 3
    assert len(result.stderr.strip().splitlines()) == 1
    assert "damaged" in result.stderr
    packets = pq.read_metadata(tmp_path / "cut.analysis" / "packets.parquet").num_rows
    assert 0 < packets < len(simulate().packets)
    assert "damaged" in (tmp_path / "cut.analysis" / "report.html").read_text()


def test_each_of_several_files_is_analysed_though_one_is_bad(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pcap").write_text("x")
    (tmp_path / "good.pcap").write_bytes(capture.read_bytes())

    result = _analyze("bad.pcap", "good.pcap", "--each", "-q", "--no-report", "--out", "all", cwd=tmp_path)

    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert _names(tmp_path / "all") == {"good.analysis"}


def test_files_of_one_name_need_directories_of_their_own(capture: Path, tmp_path: Path) -> None:
    for words, says in (((capture, capture, "--each"), "two files"), ((capture, capture), "named twice")):
        result = _analyze(*words, cwd=tmp_path)

        assert result.returncode == 2
        assert says in result.stderr
        assert _names(tmp_path) == set()


def test_an_analysis_is_replaced_and_another_directory_is_not(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")

    refused = _analyze(capture, "-q", "--no-report", "--out", "mine", cwd=tmp_path)
    forced = _analyze(capture, "-q", "--no-report", "--out", "mine", "--force", cwd=tmp_path)
    again = _analyze(capture, "-q", "--out", "mine", cwd=tmp_path)

    assert (refused.returncode, forced.returncode, again.returncode) == (2, 0, 0)
    assert "is no analysis" in refused.stderr
    assert (tmp_path / "mine.old" / "letter").read_text() == "dear"
    assert "report.html" in _names(tmp_path / "mine")
    assert _names(tmp_path) == {"mine", "mine.old"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(capture: Path, tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "testbed", "analyze", "-"]
    process = subprocess.Popen(argv, cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(capture.read_bytes()[:5000])
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not _names(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _names(tmp_path), "it never began"
    process.send_signal(number)
    error = process.stderr.read().decode()

    assert process.wait(30) == 130
    assert _names(tmp_path) == set()
    assert error.strip().splitlines() == ["testbed: interrupted; nothing half-written was kept"]
    process.stdin.close()
    process.stderr.close()


def test_words_that_mean_nothing_are_one_line(capture: Path, tmp_path: Path) -> None:
    for words, says in (
        (("--side", "left"), "client, server, between"),
        (("--what-if", "denser"), "dense"),
    ):
        result = _analyze(capture, *words, cwd=tmp_path)

        assert result.returncode == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert says in result.stderr
        assert _names(tmp_path) == set()


def test_it_needs_nothing_that_makes_experiments(capture: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv=['testbed', *sys.argv[1:]]\n"
        "from testbed.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "rooms = ('testbed.orchestrator', 'testbed.endpoint', 'testbed.emulation', 'testbed.net', 'testbed.mptcp',\n"
        "         'testbed.tcp', 'topologies', 'experiments', 'mininet', 'scipy')\n"
        "found = [name for name in sys.modules if name.startswith(rooms)]\n"
        "assert not found, found\n"
    )
    argv = [sys.executable, "-c", code, "analyze", str(capture), "-q"]

    result = subprocess.run(argv, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.pcap", "b"),
        ("b.pcapng.gz", "b"),
        ("b.dmp", "b"),
        ("run.2024.cap", "run.2024"),
        ("notes", "notes"),
        (".pcap", ".pcap"),
        ("-", "stdin"),
    ],
)
def test_the_name_of_the_directory_is_that_of_the_file_without_suffix(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


def test_contention_is_told_for_the_side_that_is_named_and_under_policies_that_are_asked_for(
    capture: Path, tmp_path: Path
) -> None:
    words = ("--side", "client", "--stack", "userspace", "--what-if", "dense,sack-limit=2", "--segments")
    result = _analyze(capture, "--json", "--no-report", "--out", "there", *words, cwd=tmp_path)
    (found,) = json.loads(result.stdout)

    assert {row["side"] for row in found["contention"]} == {"client"}
    policies = {row["policy"] for row in found["what_if"]}
    assert {"as-sent", "linux", "dense,32-bit", "dense,sack-limit=2"} <= policies
    segments = pq.read_table(tmp_path / "there" / "segments.parquet").to_pylist()
    assert {row["source"] for row in segments} == {"capture"}
    assert len(segments) == sum(row["segments"] for row in found["contention"] if row["segment"] == "all")


def test_two_captures_of_the_same_connections_are_paired(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "far.pcap").write_bytes(capture.read_bytes())

    result = _analyze(capture, "far.pcap", "--out", "both", cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "both" / "one_way.parquet").to_pylist()
    assert sum(row["paired"] for row in rows) == len(simulate().packets)
    assert {row["lost"] for row in rows} == {0}
    assert "One-way delay" in result.stdout
    assert {"report.html", "analysis.json", "packets.parquet"} <= _names(tmp_path / "both" / "place-2")
    assert 'href="place-2/report.html"' in (tmp_path / "both" / "report.html").read_text()
