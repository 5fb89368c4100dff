"""Machines of Vagrant, with a program of that name on PATH that answers as Vagrant 2.3 does: what is asked of it, what
is made of its answers, and the host key that is read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ssh_server

from testbed.orchestrator.errors import InvalidTrial, Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.remote.vagrant_provider import VagrantProvider

FAKE = r"""#!/bin/sh
# states/NAME holds a machine's state; every call is noted
printf '%s\n' "$*" >>"$FAKE/calls"
[ "$VAGRANT_CWD" = "$FAKE/root" ] || exit 9
case $1 in
status)
    [ -z "${FAKE_BROKEN:-}" ] || { echo "1,,ui,error,There is a syntax error%!(VAGRANT_COMMA) line 3.\nMore."; exit 1; }
    for file in "$FAKE/states"/*; do
        name=${file##*/}
        echo "1,$name,metadata,provider,libvirt"
        echo "1,$name,provider-name,libvirt"
        echo "1,$name,state,$(cat "$file")"
        echo "1,$name,state-human-long,It is%!(VAGRANT_COMMA) well\, so."
    done
    echo "1,,ui,info,Current machine states:\n\nmany" ;;
up) echo running >"$FAKE/states/$2"; mkdir -p "$FAKE/root/.vagrant/machines/$2/libvirt"
    echo "id-$2" >"$FAKE/root/.vagrant/machines/$2/libvirt/id"; echo "Bringing machine up..." ;;
halt) echo poweroff >"$FAKE/states/$2" ;;
ssh-config) printf 'Host %s\n  HostName 127.0.0.1\n  User vagrant\n  Port 2222\n  UserKnownHostsFile /dev/null\n' "$2"
    printf '  StrictHostKeyChecking no\n  IdentityFile %s\n  IdentitiesOnly yes\n' "$FAKE/id" ;;
ssh) echo "a banner"; cat "$FAKE/host_key.pub"; echo "Connection to 127.0.0.1 closed." >&2 ;;
*) exit 7 ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vagrant").write_text(FAKE)
    (tmp_path / "bin" / "vagrant").chmod(0o755)
    (tmp_path / "states").mkdir()
    for name in ("a_testbed", "k612"):
        (tmp_path / "states" / name).write_text("not_created")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "Vagrantfile").touch()
    (tmp_path / "id").touch()
    (tmp_path / "host_key.pub").write_text(ssh_server.new_key(tmp_path / "k") + " root@box\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("VAGRANT_DOTFILE_PATH", raising=False)
    return tmp_path


def _calls(fake: Path) -> list[str]:
    """Since the last time."""
    calls = (fake / "calls").read_text().splitlines()
    (fake / "calls").write_text("")
    return [call.split()[0] for call in calls]


def test_a_machine_is_started_once_and_its_host_key_is_read_once(fake: Path) -> None:
    said: list[str] = []

    first = VagrantProvider("k612", fake / "root").up(said.append)
    calls = _calls(fake)
    again = VagrantProvider("k612", fake / "root").up(said.append)

    assert calls == ["status", "up", "status", "ssh-config", "ssh"]
    assert _calls(fake) == ["status", "ssh-config"]
    assert said == ["vagrant up k612 (minutes the first time)"]
    assert first == again
    assert (str(first), first.key, first.name) == ("vagrant@127.0.0.1:2222", fake / "id", "vagrant:k612")
    assert first.host_key == (fake / "host_key.pub").read_text().strip()


def test_a_machine_that_was_made_anew_is_asked_for_its_key_again_and_no_other_is(fake: Path) -> None:
    before = VagrantProvider("k612", fake / "root").up(lambda text: None).host_key
    (fake / "host_key.pub").write_text(ssh_server.new_key(fake / "k2") + "\n")
    same = VagrantProvider("k612", fake / "root").up(lambda text: None).host_key
    (fake / "root" / ".vagrant" / "machines" / "k612" / "libvirt" / "id").write_text("another")
    anew = VagrantProvider("k612", fake / "root").up(lambda text: None).host_key

    assert same == before
    assert anew == (fake / "host_key.pub").read_text().strip() != before


def test_without_a_name_it_is_the_one_that_runs_else_the_first(fake: Path) -> None:
    assert VagrantProvider(None, fake / "root").up(lambda text: None).name == "vagrant:a_testbed"
    (fake / "states" / "a_testbed").write_text("poweroff")
    (fake / "states" / "k612").write_text("running")

    assert VagrantProvider(None, fake / "root").up(lambda text: None).name == "vagrant:k612"


def test_down_halts_what_runs_and_nothing_else(fake: Path) -> None:
    provider = VagrantProvider("k612", fake / "root")
    provider.up(lambda text: None)
    _calls(fake)

    provider.down()
    provider.down()

    assert _calls(fake) == ["status", "halt", "status"]
    assert not provider.ends_with_the_run


def test_what_is_wrong_is_told_in_one_line(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecificationError, match=r"vagrant:k9: .* no such machine; it has a_testbed, k612"):
        VagrantProvider("k9", fake / "root").up(lambda text: None)
    (fake / "host_key.pub").write_text("cat: no such file\n")
    with pytest.raises(InvalidTrial, match="is no host key"):
        VagrantProvider("k612", fake / "root").up(lambda text: None)
    monkeypatch.setenv("FAKE_BROKEN", "1")
    broken = VagrantProvider("k612", fake / "root")
    with pytest.raises(Unsupported, match=r"status --machine-readable' fails: There is a syntax error, line 3\.$"):
        broken.up(lambda text: None)
    assert "line 3" in broken.logs()
    with pytest.raises(Unsupported, match="no Vagrantfile"):
        VagrantProvider("k612", fake).up(lambda text: None)


def test_without_vagrant_it_says_so(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake))

    with pytest.raises(Unsupported, match="vagrant is not installed"):
        VagrantProvider("k612", fake / "root").up(lambda text: None)
