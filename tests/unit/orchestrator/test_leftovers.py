from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from testbed.orchestrator.leftovers import Leftover, Search, search

AS_NOBODY = """
import os, sys
from testbed.orchestrator.leftovers import find_leftovers, search
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
print(search().unreadable, len(find_leftovers()))
"""


@pytest.mark.needs_root
def test_a_user_is_told_how_many_processes_could_not_be_looked_at() -> None:
    from testbed.orchestrator import process
    from testbed.orchestrator.backends.mininet import package_path

    with process.start([sys.executable, "-c", AS_NOBODY], environment=package_path()) as asked:
        unreadable, found = map(int, asked.succeed(20).split())
    assert unreadable >= 1  # at least this test
    assert found == 0


def test_kernel_threads_do_not_count_as_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, command in (("4000001", b""), ("4000002", b"sshd\0-D\0")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(command)
        (tmp_path / number / "environ").write_bytes(b"")
    (tmp_path / "meminfo").touch()

    def refused(path: Path) -> bytes:
        if path.name == "environ":
            raise PermissionError
        with path.open("rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert search(tmp_path) == Search(found=(), unreadable=1)


def test_a_search_that_saw_only_a_part_does_not_say_that_nothing_is_left() -> None:
    assert str(Search(found=(), unreadable=0)) == "nothing left over"
    assert "processes that could not be looked at: 7" in str(Search(found=(), unreadable=7))
    one = Leftover(pid=os.getpid(), start_ticks=1, run_id="ab", command="sleep 9", net_namespace=5)
    assert str(Search(found=(one,), unreadable=0)) == "1 left over"
    assert str(one) == f"process {os.getpid()} of run ab: sleep 9, holds network namespace 5"
