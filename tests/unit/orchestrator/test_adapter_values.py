"""Adapters as values: from a file, from a word, in an endpoint, in an override; and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.catalog import build
from testbed.endpoint.parameters import Endpoint, ParameterError, endpoint_from_dict
from testbed.orchestrator import overrides, plan, sim_trial, spec
from testbed.orchestrator.adapters import Adapter, load_adapter
from testbed.orchestrator.spec import SpecificationError

WHOLE = """
name = "mine"
command = ["./mine.sh", "--fast", "./not-there"]
version = ["./mine.sh", "--version"]
url = "https://example.org/mine"
summary = "A stack."
waits_for_start = true
[environment]
MINE_LEVEL = "3"
"""


def test_a_file_describes_an_adapter_and_its_paths_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.sh").write_text("")
    (tmp_path / "mine.toml").write_text(WHOLE)
    there = str(tmp_path / "mine.sh")
    assert load_adapter(str(tmp_path / "mine.toml")) == Adapter(
        name="mine",
        command=(there, "--fast", "./not-there"),
        version=(there, "--version"),
        url="https://example.org/mine",
        summary="A stack.",
        environment=("MINE_LEVEL=3",),
        waits_for_start=True,
    )


def test_a_path_below_the_working_directory_stays_relative_so_that_another_machine_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "mine.sh").write_text("")
    (tmp_path / "adapters" / "mine.toml").write_text('name = "mine"\ncommand = ["./mine.sh"]')
    monkeypatch.chdir(tmp_path)
    assert load_adapter("adapters/mine.toml").command == ("./adapters/mine.sh",)


def test_a_word_names_an_adapter_and_its_command_is_read_as_a_shell_reads_words() -> None:
    adapter = load_adapter("nc=mptcpize run 'net cat' -N x=y")
    assert (adapter.name, adapter.command) == ("nc", ("mptcpize", "run", "net cat", "-N", "x=y"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "mine"', "command: it has to be there"),
        ('name = "mine"\ncomand = ["./mine"]\ncommand = ["x"]', "comand: there is no such key; is command meant?"),
        ('name = "mine"\ncolour = 1\ncommand = ["x"]', "colour: there is no such key; the keys are name, command"),
        ('name = "mine"\ncommand = "./mine --fast"', 'command: write a list of words: ["./mine", "--quiet"]'),
        ('name = "mine"\ncommand = []', "needs a name and the program to start"),
        ('name = 3\ncommand = ["x"]', "name: write a text in quotes"),
        ('name = "linux"\ncommand = ["x"]', "adapter 'linux' is not a name of its own"),
        ('name = "Mine"\ncommand = ["x"]', "adapter 'Mine' is not a name of its own"),
        ('name = "mine"\ncommand = ["x"]\nenvironment = {TESTBED_ROLE = "a"}', "TESTBED_ROLE is the testbed's to set"),
        ('name = "mine"\ncommand = ["x"]\nenvironment = {A = 3}', "environment.A: write a text in quotes"),
        ('name = "mine"\ncommand = [', "not TOML: "),
        ('name = "mine"\ncommand = ["x"]\ntcp_only = true', "the name of a tcp_only adapter ends in -tcp"),
        ('name = "mine-tcp"\ncommand = ["x"]', "the name of a tcp_only adapter ends in -tcp"),
        ('name = "userspace2"\ncommand = ["x"]', "names that begin with userspace"),
    ],
)
def test_a_wrong_file_is_named_with_the_key_and_the_fix(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecificationError) as caught:
        load_adapter(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mine", "write --adapter NAME.toml or --adapter NAME=COMMAND"),
        ("mine=", "needs a name and the program to start"),
        ("mine='", "No closing quotation"),
        ("there/is/none.toml", "there/is/none.toml: No such file or directory"),
    ],
)
def test_a_wrong_word_is_answered_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(SpecificationError, match=says):
        load_adapter(text)


def test_only_an_adapter_has_a_command() -> None:
    with pytest.raises(ParameterError, match="are for implementation adapter, not for linux"):
        Endpoint(command=("nc",))
    with pytest.raises(ParameterError, match=r"client\.adapter=NAME\.toml"):
        Endpoint(implementation="adapter")


def test_an_override_makes_an_end_an_adapter_and_keeps_what_was_asked_of_it() -> None:
    experiment = build("quickstart", {})
    asked = ["client.nodelay=true", "client.adapter=nc=nc -N", "server.implementation=userspace"]
    changed = overrides.apply(experiment, asked)
    client = changed.variants[0].flows[0].client
    assert client == Endpoint(implementation="adapter", adapter="nc", command=("nc", "-N"), nodelay=True)
    again = overrides.apply(changed, ["client.environment=A=1,B=2", "server.adapter=nc=nc -l"])
    assert again.variants[0].flows[0].client.environment == ("A=1", "B=2")
    assert again.variants[0].flows[0].server.adapter == "nc"
    with pytest.raises(
        SpecificationError, match=r"set client\.adapter=NAME\.toml or client\.adapter=NAME=COMMAND first"
    ):
        overrides.apply(experiment, ["client.command=nc"])


def test_an_experiment_with_an_adapter_survives_its_run_directory() -> None:
    experiment = overrides.apply(build("quickstart", {}), ["server.adapter=nc=nc -N", "test=half_close"])
    assert spec.from_json(spec.to_json(experiment)) == experiment


def test_an_adapter_is_told_the_test_every_path_and_the_path_managers_mode() -> None:
    experiment = overrides.apply(build("quickstart", {}), ["server.adapter=nc=nc -N", "test=join"])
    variant = experiment.variants[0]
    flow = variant.flows[0]
    told = {
        role: plan.endpoint_configuration(experiment, variant, flow, role, seed=1, port=5001)
        for role in ("client", "server")
    }
    assert told["server"].test == "join"
    assert len(told["server"].paths) == len(variant.topology.paths) > 1
    assert told["server"].paths[0][2] == told["client"].local_address
    assert told["server"].path_manager is not None
    assert told["server"].path_manager.mode == variant.path_manager.mode
    assert told["client"].paths == ()
    assert endpoint_from_dict({"implementation": "adapter", "adapter": "nc", "command": ["nc", "-N"]}) == flow.server


def test_a_host_of_an_adapter_is_set_up_like_the_kernels_but_its_scheduler_is_its_own() -> None:
    wishes = {"checksum": True, "sack": False, "scheduler": "of its own"}
    adapter = load_adapter("nc=nc").endpoint(**wishes)
    assert plan.host_sysctls(adapter) == {"net.mptcp.checksum_enabled": "1", "net.ipv4.tcp_sack": "0"}
    assert plan.host_sysctls(Endpoint(**wishes))["net.mptcp.scheduler"] == "of its own"


def test_the_simulator_says_in_one_line_that_it_has_no_adapters() -> None:
    asked = ["client.implementation=userspace", "server.adapter=nc=nc -N"]
    why = sim_trial.why_not(overrides.apply(build("quickstart", {}), asked).variants[0])
    assert why == "adapter nc is a program on real time and real packets: --backend mininet"
