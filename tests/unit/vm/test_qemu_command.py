"""The machine's command line: nothing listens beyond loopback, nothing is written, and time is what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.orchestrator.spec import SpecificationError
from testbed.vm.qemu import EMULATED, Boot, Disk, Hardware


def _value(words: list[str], option: str) -> str:
    assert words.count(option) == 1
    return words[words.index(option) + 1]


def _boot(**wishes: object) -> Boot:
    given = {"hardware": Hardware(), "kernel": Path("k"), "initramfs": Path("i"), "console": Path("c"), **wishes}
    return Boot(**given)  # type: ignore[arg-type]


def test_the_only_way_in_is_from_loopback_and_there_is_no_way_out() -> None:
    network = _value(_boot(ssh_port=4022).words(), "-netdev").split(",")
    assert network == ["user", "id=n0", "restrict=on", "ipv6=off", "hostfwd=tcp:127.0.0.1:4022-10.0.2.15:22"]


def test_without_a_port_there_is_no_network() -> None:
    assert not {"-netdev", "-nic", "-net"} & set(_boot().words())
    assert "-nodefaults" in _boot().words(), "QEMU would give it a card by itself"


def test_virtual_time_counts_the_instructions_of_one_processor() -> None:
    words = Hardware(shift=3).words()
    assert _value(words, "-icount") == "shift=3,sleep=off"
    assert _value(words, "-accel") == "tcg,thread=single"
    assert _value(words, "-smp") == "1"
    assert _value(words, "-rtc") == "clock=vm"


def test_no_emulated_processor_promises_quick_copies_of_bytes() -> None:
    asked = EMULATED.split(",")
    assert {"-erms", "-fsrm", "level-func7=0"} <= set(asked), "fsrs is in leaf 7.1; QEMU 7.2 does not know its name"


@pytest.mark.parametrize(("acceleration", "processor"), [("tcg", EMULATED), ("kvm", "host")])
def test_real_time_counts_nothing(acceleration: str, processor: str) -> None:
    words = Hardware(clock="real", acceleration=acceleration, cpus=2).words()  # type: ignore[arg-type]
    assert "-icount" not in words
    assert _value(words, "-cpu") == processor
    assert _value(words, "-smp") == "2"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"cpus": 2}, "--time real"),
        ({"acceleration": "kvm"}, "KVM counts no"),
        ({"shift": 11}, "--shift 11"),
        ({"shift": -1}, "--shift -1"),
        ({"clock": "real", "cpus": 0}, "--cpus 0"),
        ({"memory_mib": 8}, "--memory 8"),
    ],
)
def test_a_machine_that_cannot_be_is_told_before_it_starts(wishes: dict[str, object], said: str) -> None:
    with pytest.raises(SpecificationError, match=said):
        Hardware(**wishes)  # type: ignore[arg-type]


def test_no_image_is_ever_written_to() -> None:
    disks = (Disk(serial="root", image=Path("/x/r,1.ext4"), writable=True), Disk(serial="modules", image=Path("m")))
    words = _boot(disks=disks).words()
    drives = [words[at + 1] for at, word in enumerate(words) if word == "-drive"]
    assert [("snapshot=on" in drive, "readonly=on" in drive) for drive in drives] == [(True, False), (False, True)]
    assert drives[0].startswith("file=/x/r,,1.ext4,"), "a comma ends a value"


def test_a_disk_in_memory_is_a_private_copy_at_a_place_that_the_guest_knows(tmp_path: Path) -> None:
    image = tmp_path / "root.ext4"
    image.write_bytes(bytes(4 << 20))
    disks = tuple(Disk(serial=serial, image=image, in_memory=True) for serial in ("root", "site"))
    boot = _boot(disks=disks)
    words = boot.words()
    memories = [words[at + 1] for at, word in enumerate(words) if word == "-object" and "memory" in words[at + 1]]
    assert [f"size={4 << 20}" in memory and memory.endswith(",share=off") for memory in memories] == [True, True]
    assert "virtio-pmem-pci,memdev=site,addr=0x11" in words
    assert "testbed.root=10" in boot.command_line().split()
    assert "testbed.site=11" in boot.command_line().split()
    assert "-drive" not in words
    assert "maxmem" in _value(words, "-m"), "it is plugged into the machine"


def test_the_guest_s_init_knows_which_disks_to_wait_for() -> None:
    line = _value(_boot(disks=(Disk(serial="root", image=Path("r"), writable=True),)).words(), "-append").split()
    assert "testbed.root=" in line
    assert not [word for word in line if word.startswith("testbed.modules")]
    assert "panic=-1" in line
    assert "-no-reboot" in _boot().words(), "a panic ends the machine only with both"


def test_a_machine_that_stays_says_which_process_it_is() -> None:
    assert "-daemonize" not in _boot().words()
    words = _boot(pid_file=Path("/run/p")).words()
    assert "-daemonize" in words
    assert _value(words, "-pidfile") == "/run/p"
