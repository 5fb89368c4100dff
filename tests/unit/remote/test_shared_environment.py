"""``./tb`` with an environment that several checkouts share, as those have that another machine sent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testbed.remote.checkout import LOCK_FILE, environment_name

ROOT = Path(__file__).parents[3]


def test_an_environment_behind_a_link_is_made_where_it_is(tmp_path: Path) -> None:
    """venv itself refuses to make one through a link. The interpreter here only says what it is asked for."""
    checkout, shared, said = tmp_path / "checkout", tmp_path / "environments" / "x", tmp_path / "said"
    checkout.mkdir()
    shared.mkdir(parents=True)
    shutil.copy(ROOT / "tb", checkout)
    (checkout / "requirements.lock").touch()
    (checkout / ".venv").symlink_to("../environments/x")
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$@" >>{said}\n[ "$2" != venv ]\n')
    (tmp_path / "python").chmod(0o755)

    environment = {"PATH": "/usr/bin:/bin", "TB_PYTHON": str(tmp_path / "python"), "TB_NO_APT": "1", "TB_NO_BUILD": "1"}
    result = subprocess.run(
        ["sh", checkout / "tb", "setup"], env=environment, capture_output=True, text=True, check=False
    )

    assert result.returncode == 4, result.stderr
    assert f"-m venv {shared}\n" in said.read_text()


def test_a_machine_made_by_vagrant_names_its_environment_as_a_sent_checkout_does(tmp_path: Path) -> None:
    """Else the first run in it would make the same environment once more."""
    script = (ROOT / "provision" / "guest.sh").read_text()
    quoted = script[script.index("sh -eu -c '") + len("sh -eu -c '") :]
    linking = quoted[: quoted.index("' sh ")]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / LOCK_FILE).write_text("a==1\n")

    subprocess.run(["sh", "-euc", linking, "sh", tmp_path / "cache", tmp_path / "root"], check=True)

    (link,) = (tmp_path / "cache" / "environments").iterdir()
    assert link.name == environment_name(b"a==1\n")
    assert link.readlink() == tmp_path / "root" / ".venv"
