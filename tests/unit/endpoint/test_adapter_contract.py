"""What an adapter is told and what it may tell, as values; and the page that says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from testbed.endpoint.adapter.contract import surroundings, variables
from testbed.endpoint.adapter.facts import KEYS, WISHES, Facts, FactsError, denied, read_facts, with_facts
from testbed.endpoint.parameters import Bulk, Endpoint, PathManagerSettings
from testbed.endpoint.protocol import Configuration, FlowResult

PAGE = Path(__file__).parents[3] / "docs/howto/add-an-implementation.md"


def configuration(**changes: Any) -> Configuration:
    known: dict[str, Any] = {
        "role": "client",
        "flow": "main",
        "family": 4,
        "local_address": "10.0.1.1",
        "remote_address": "10.0.9.1",
        "paths": (("path1", "10.0.1.1", "10.0.9.1"), ("path2", "10.0.2.1", "10.0.9.1")),
        "port": 5001,
        "endpoint": Endpoint(implementation="adapter", adapter="mine", command=("./mine",)),
        "application": Bulk(),
        "duration_ns": 4_200_000_000,
        "test": "join",
    }
    return Configuration(**{**known, **changes})


def test_an_adapter_is_told_its_role_every_address_once_and_no_wish_as_an_empty_word(tmp_path: Path) -> None:
    told = variables(configuration(), tmp_path)

    assert told["TESTBED_TEST"] == "join"
    assert told["TESTBED_ROLE"] == "client"
    assert told["TESTBED_LOCAL_ADDRESSES"] == "10.0.1.1 10.0.2.1"
    assert told["TESTBED_REMOTE_ADDRESSES"] == told["TESTBED_REMOTE_ADDRESS"] == "10.0.9.1"
    assert told["TESTBED_TIMEOUT_S"] == "10", "4.2 s of sending and 5 s for what is under way then"
    assert told["TESTBED_PATH_MANAGER"] == "none"
    assert {told[name] for name in told if name.endswith(("CHECKSUM", "SACK", "NODELAY", "SCHEDULER", "BUFFER"))} == {
        ""
    }


def test_wishes_and_the_path_manager_are_told_in_words(tmp_path: Path) -> None:
    end = Endpoint(
        implementation="adapter", adapter="mine", command=("./mine",), checksum=True, sack=False, nodelay=True,
        congestion_control="reno", send_buffer_bytes=65536,
    )  # fmt: skip
    manager = PathManagerSettings(mode="ndiffports", ports=3, subflows=4, backup_addresses=("10.0.2.1",))
    told = variables(configuration(role="server", local_address=None, endpoint=end, path_manager=manager), tmp_path)

    wanted = {
        "CHECKSUM": "1", "SACK": "0", "TIMESTAMPS": "", "NODELAY": "1", "CONGESTION_CONTROL": "reno",
        "SEND_BUFFER": "65536", "PATH_MANAGER": "ndiffports", "NDIFFPORTS": "3", "SUBFLOWS": "4",
        "BACKUP_ADDRESSES": "10.0.2.1", "LOCAL_ADDRESS": "10.0.1.1",
    }  # fmt: skip
    assert {name: told[f"TESTBED_{name}"] for name in wanted} == wanted


def test_nothing_of_the_testbeds_own_surroundings_reaches_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTBED_ISOLATED", "1")
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.setenv("KEPT", "yes")
    end = Endpoint(implementation="adapter", adapter="mine", command=("./mine",), environment=("MINE=a=b",))

    given = surroundings(end, variables(configuration(), tmp_path))

    assert "TESTBED_ISOLATED" not in given
    assert "PYTHONPATH" not in given
    assert (given["KEPT"], given["MINE"], given["TESTBED_CONTRACT"]) == ("yes", "a=b", "1")


def test_the_page_names_every_variable_and_every_fact_and_no_other(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `(TESTBED_\w+)`", page, re.MULTILINE))
    assert table == set(variables(configuration(), tmp_path))
    facts = set(re.findall(r"^\| `(\w+)` \|", page.partition("## The facts")[2], re.MULTILINE))
    assert facts == set(KEYS)
    assert all(f"`{name}`" in page for name in WISHES)


SUBFLOW = {"local_address": "10.0.1.1", "local_port": 40000, "remote_address": "10.0.9.1", "remote_port": 5001}


def test_facts_that_are_there_are_read_and_those_that_are_not_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    assert read_facts(path) == Facts()
    path.write_text(json.dumps({"subflows": [SUBFLOW, {**SUBFLOW, "backup": True}], "counters": {"Mine": 3}}))
    facts = read_facts(path)
    assert facts.subflows is not None
    assert [(each.index, each.backup, each.first_seen_ns) for each in facts.subflows] == [
        (0, None, None),
        (1, True, None),
    ]
    assert (facts.fallback, facts.retransmits, facts.counters) == (None, None, {"Mine": 3})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "facts.json is not JSON"),
        ("[1]", "facts.json is not a JSON object"),
        ('{"subflow": []}', "there is no key 'subflow'"),
        ('{"fallback": 0}', "fallback is true or false or null, not 0"),
        ('{"retransmits": true}', "retransmits is an integer or null, not True"),
        ('{"subflows": [{"local_address": "10.0.1.1"}]}', "subflows[0]: 'remote_address'"),
        (json.dumps({"subflows": [{**SUBFLOW, "local_address": "here"}]}), "subflows[0]: 'here' does not appear"),
        (json.dumps({"subflows": [{**SUBFLOW, "local_port": 0}]}), "subflows[0]: a port is 1 to 65535"),
        ('{"in_force": {"sack": [1]}}', "in_force.sack cannot be [1]"),
        ('{"counters": {"A": 1.5}}', "counters.A cannot be 1.5"),
        ('{"counters": {"A": 9223372036854775808}}', "counters.A is larger than any counter"),
        ('{"retransmits": -1}', "retransmits is 0 to 2^63 - 1, not -1"),
        ('{"in_force": {"scheduler": "\\ud800"}}', "half of a surrogate pair"),
        ("[" * 100_000, "facts.json is not JSON"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "facts.json is larger than"),
    ],
)
def test_wrong_facts_are_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text)
    with pytest.raises(FactsError) as caught:
        read_facts(path)
    assert says in str(caught.value)


def test_a_wish_is_denied_only_by_another_value() -> None:
    end = Endpoint(implementation="adapter", adapter="mine", command=("./mine",), sack=False, checksum=True)
    assert denied(end, Facts(in_force={"sack": False, "checksum": None, "scheduler": "own"})) is None
    assert denied(end, Facts(in_force={"sack": True})) == "adapter mine has sack = True, and False was asked for"


def result(**changes: Any) -> FlowResult:
    known: dict[str, Any] = {
        "role": "client", "flow": "main", "implementation": "adapter", "implementation_in_force": None,
        "fallback": False, "complete": True, "stopped": False,
    }  # fmt: skip
    return FlowResult(**{**known, **changes})


def test_what_nobody_saw_is_null_and_what_the_kernel_saw_stays(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"subflows": [SUBFLOW], "fallback": True, "retransmits": 7}))
    facts = read_facts(tmp_path / "facts.json")

    unseen = with_facts(result(), Facts())
    assert (unseen.subflows_seen, unseen.fallback, unseen.retransmits) == (None, None, None)
    assert unseen.implementation_in_force == "adapter"
    assert set(unseen.in_force.values()) == {None}

    told = with_facts(result(), facts)
    assert (told.subflows_seen, told.fallback, told.retransmits) == (1, True, 7)
    assert told.implementation_in_force == "fallback"

    seen = with_facts(result(implementation_in_force="adapter", subflows_seen=2, retransmits=3), facts)
    assert (seen.subflows_seen, seen.retransmits, seen.subflows) == (2, 3, ())
    assert seen.fallback is True, "it was so at any look"
