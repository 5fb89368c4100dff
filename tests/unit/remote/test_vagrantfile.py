"""The Vagrantfile and its scripts: taken by Vagrant, and a mistake in them is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = sorted((ROOT / "provision").glob("*.sh"))


def _needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}: apt install {program}")


def _validate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "VAGRANT_CWD": str(folder),
        "VAGRANT_DOTFILE_PATH": str(folder / ".vagrant"),
        "VAGRANT_HOME": str(folder / ".vagrant.d"),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
    }
    argv = ["vagrant", "validate", *options]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@_needs("vagrant")
def test_vagrant_takes_it_and_refuses_one_with_mistakes(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    shutil.copytree(ROOT / "provision", tmp_path / "provision")
    (tmp_path / "build" / "vagrant").mkdir(parents=True)
    made = {
        "linux-6.12": {"kernel": "k", "initrd": "i", "cmd_line": "root=/dev/vda1"}
    }  # as fetch-kernel --vagrant does
    (tmp_path / "build" / "vagrant" / "kernels.json").write_text(json.dumps(made))
    options: tuple[str, ...] = ()

    good = _validate(tmp_path)
    if "No usable default provider" in good.stderr:  # then nothing is checked unless providers are left out
        options = ("--ignore-provider",)
        good = _validate(tmp_path, *options)
    (tmp_path / "provision" / "guest.sh").unlink()
    bad = _validate(tmp_path, *options)

    assert good.returncode == 0, good.stderr
    assert bad.returncode == 1
    assert "guest.sh" in bad.stderr


@_needs("ruby")
def test_its_syntax_is_rubys() -> None:
    result = subprocess.run(["ruby", "-c", ROOT / "Vagrantfile"], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


# Stands in for Vagrant: every block is run on an object that takes any setting, and what was defined is printed.
STAND_IN = """
class Anything < BasicObject
  def method_missing(name, *words, **options)
    ::Kernel.puts "#{words.first} #{options[:autostart]}" if name == :define
    ::Kernel.puts words.first.inspect if [:"memory=", :"kernel=", :"driver="].include?(name)
    yield self if ::Kernel.block_given?
    self
  end
end
module Vagrant
  def self.configure(_) = yield(Anything.new)
end
load ARGV[0]
"""


def _read_by_ruby(file: Path = ROOT / "Vagrantfile", **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ruby", "-e", STAND_IN, file],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@_needs("ruby")
def test_one_machine_starts_by_itself_and_settings_arrive(tmp_path: Path) -> None:
    (tmp_path / "kernels.json").write_text('{"mine": {"kernel": "/boot/bzImage"}}')

    result = _read_by_ruby(
        TESTBED_MEMORY="4096", TESTBED_LIBVIRT_DRIVER="qemu", TESTBED_KERNELS=str(tmp_path / "kernels.json")
    )

    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line for line in lines if " " in line] == [
        "testbed true", "k61 false", "k612 false", "newest false", "mine false",
    ]  # fmt: skip
    assert lines.count("4096") == 10  # libvirt's and VirtualBox's
    assert lines.count('"4096M"') == 5
    assert lines.count('"qemu"') == 5
    assert lines.count('"/boot/bzImage"') == 1


@_needs("ruby")
def test_kernels_that_fetch_kernel_put_there_are_machines_without_a_setting(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    (tmp_path / "build" / "vagrant").mkdir(parents=True)
    kernel = tmp_path / "build" / "vagrant" / "linux-6.12" / "kernel"
    table = {"linux-6.12": {"kernel": str(kernel), "initrd": "i", "cmd_line": "root=/dev/vda1 rw"}}
    (tmp_path / "build" / "vagrant" / "kernels.json").write_text(json.dumps(table))

    result = _read_by_ruby(tmp_path / "Vagrantfile")

    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if " " in line] == ["testbed", "k61", "k612", "newest", "linux-6.12"]
    assert lines.count(f'"{kernel}"') == 1


@_needs("ruby")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TESTBED_CPUS": "two"}, "TESTBED_CPUS=two: a whole number from 1 on is meant"),
        ({"TESTBED_MEMORY": "64"}, "TESTBED_MEMORY=64: a whole number from 512 on is meant"),
        ({"TESTBED_LIBVIRT_DRIVER": "xen"}, "TESTBED_LIBVIRT_DRIVER=xen: it is kvm or qemu"),
        ({"TESTBED_KERNELS": "/nowhere.json"}, "TESTBED_KERNELS=/nowhere.json: No such file"),
        ({"TESTBED_KERNELS": "/dev/null"}, "TESTBED_KERNELS=/dev/null: "),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(settings: dict[str, str], said: str) -> None:
    result = _read_by_ruby(**settings)

    assert result.returncode != 0
    assert result.stderr.startswith(f"Vagrantfile: {said}")
    assert len(result.stderr.strip().splitlines()) == 1


@_needs("shellcheck")
def test_the_scripts_are_clean() -> None:
    result = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, check=False)

    assert len(SCRIPTS) == 2
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("version", ["", "6.12; id", "-h", "6.", ".6", "latest"])
def test_what_is_no_kernel_version_is_refused_before_anything_is_installed(version: str) -> None:
    result = subprocess.run(
        ["sh", ROOT / "provision" / "kernel.sh", version], capture_output=True, text=True, check=False, env={}
    )

    assert result.returncode == 1
    assert re.search(r"kernel.sh: '.*' is no version", result.stderr)


def test_the_kernel_that_runs_is_recognised_and_another_is_not() -> None:
    release = os.uname().release
    series = ".".join(release.split(".")[:2])

    codes = {
        wanted: subprocess.run(
            ["sh", ROOT / "provision" / "kernel.sh", "--check", wanted], capture_output=True, check=False
        ).returncode
        for wanted in (series, f"{series}0", "1.0", "newest")
    }

    assert codes == {series: 0, f"{series}0": 1, "1.0": 1, "newest": 1}
