"""Two machines with a cable between them, without booting any."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from testbed.cli.carrying_out import Machine, runs_on
from testbed.orchestrator.errors import Unsupported
from testbed.orchestrator.spec import SpecificationError
from testbed.remote.place import parse_backend
from testbed.remote.target import Target
from testbed.vm import backend, pair, slowed
from testbed.vm.cache import Cache
from testbed.vm.choosing import images_of
from testbed.vm.pair import Away, PairRuns, on_real_time
from testbed.vm.qemu import Boot, Hardware, PrivateLink
from testbed.vm.qemu_provider import QemuProvider


def _words(**wishes: object) -> list[str]:
    given = {"hardware": Hardware(), "kernel": Path("k"), "initramfs": Path("i"), "console": Path("c"), **wishes}
    return Boot(**given).words()  # type: ignore[arg-type]


def test_the_cable_is_a_socket_that_nobody_else_reaches() -> None:
    words = _words(ssh_port=4022, link=PrivateLink(7, "52:54:00:83:00:01"))
    netdevs = [words[at + 1] for at, word in enumerate(words) if word == "-netdev"]
    assert netdevs[1:] == ["socket,id=n1,fd=7"], "no address, no port, no file"
    cards = [words[at + 1] for at, word in enumerate(words) if word == "-device" and "virtio-net" in words[at + 1]]
    assert ["netdev=n0" in cards[0], "netdev=n1" in cards[1]] == [True, True], "eth0 is the host's, eth1 the cable"
    assert len(set(pair.MACS)) == 2, "or neither would hear the other"


def test_a_pair_runs_on_slowed_time_unless_real_time_is_asked_for() -> None:
    assert on_real_time(None).slowed == pair.SLOWED
    assert on_real_time(Hardware(memory_mib=2048)) == Hardware(
        clock="real", cpus=2, memory_mib=2048, slowed=pair.SLOWED
    )
    asked = Hardware(clock="real", cpus=1)
    assert on_real_time(asked) is asked


def test_slowed_time_divides_the_clocks_of_qemu_and_keeps_the_guest_from_the_undivided_one(
    slowing_library: Path,
) -> None:
    assert slowed.environment(1) == {}
    assert slowed.environment(8)["FAKETIME"] == "+0 x0.125"
    assert slowed.environment(8)["LD_PRELOAD"] == str(slowing_library)
    words = _words(hardware=Hardware(clock="real", slowed=8))
    assert "clocksource=hpet" in words[words.index("-append") + 1].split()
    words = _words(hardware=Hardware(clock="real"))
    assert "clocksource=hpet" not in words[words.index("-append") + 1].split()


def test_without_its_library_slowed_time_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowed, "PLACES", (str(tmp_path),))
    with pytest.raises(Unsupported, match="apt install libfaketime"):
        slowed.environment(2)


@pytest.mark.parametrize(
    "wishes", [{"slowed": 0}, {"slowed": 2}, {"clock": "real", "acceleration": "kvm", "slowed": 4}]
)
def test_only_emulated_real_time_can_be_slowed(wishes: dict[str, object]) -> None:
    with pytest.raises(SpecificationError, match="slowed"):
        Hardware(**wishes)  # type: ignore[arg-type]


def test_a_run_of_a_pair_tells_of_both_machines(tmp_path: Path) -> None:
    ends = socket.socketpair()
    with ends[0], ends[1]:
        near, far = (
            QemuProvider(word, Hardware(), images_of, cache=Cache(tmp_path), link=PrivateLink(end.fileno(), mac))
            for word, end, mac in zip(("6.1", "6.12"), ends, pair.MACS, strict=True)
        )
        away = Away(far)
        runs = PairRuns(parse_backend("vm:6.1+6.12"), near, away)
        away.target = Target(name="b", host="h", user="u", machine={"kernel": "6.12"}, capabilities={"netem_seed": 1})
        target = Target(name="a", host="h", user="u", machine={"kernel": "6.1"}, capabilities={"netem_seed": None})

        told = runs._ran_on(target)
        request = json.loads(json.dumps(runs._more_of_a_request()))
        runs.close()

    assert (told["backend"], told["kernel"], told["away_kernel"]) == ("vm:6.1+6.12", "6.1", "6.12")
    assert json.loads(told["capabilities"]) == {"netem_seed": None}
    assert json.loads(told["away_capabilities"]) == {"netem_seed": 1}
    assert request["away"]["node"] == "server"
    assert len(request["away"]["secret"]) >= 32


def test_slow_is_real_time_and_nothing_else() -> None:
    assert backend.hardware(slow=4) == Hardware(clock="real", cpus=2, slowed=4)
    assert on_real_time(backend.hardware(slow=4)).slowed == 4
    assert on_real_time(backend.hardware(time="real")).slowed == 1
    with pytest.raises(SpecificationError, match="--slow is for real time"):
        backend.hardware(time="virtual", slow=4)


@pytest.mark.parametrize("said", [Machine(time="virtual"), Machine(shift=2), Machine(time="virtual", shift=0)])
def test_virtual_time_that_was_asked_for_is_not_silently_another_one(said: Machine) -> None:
    with (
        pytest.raises(SpecificationError, match="two machines cannot be on virtual time"),
        runs_on("vm:6.1+6.12", said),
    ):
        pass
    with runs_on("vm:6.12", said):
        pass  # nothing is booted before the first request


def test_a_second_machine_that_nobody_waits_for_ends_when_it_stands() -> None:
    ended: list[str] = []

    class Slow:
        def up(self, say: object) -> Target:
            away.down()  # Ctrl-C, while it boots
            ended.clear()
            return Target(name="b", host="h", user="u")

        def down(self) -> None:
            ended.append("down")

    away = Away(Slow())  # type: ignore[arg-type]
    away.up(lambda _text: None)
    assert ended == ["down"]


def test_only_root_s_slowed_machines_go_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert slowed.priority(8)[:2] == ["nice", "-n"]
    assert slowed.priority(1) == []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert slowed.priority(8) == [], "nice(1) would only complain"
