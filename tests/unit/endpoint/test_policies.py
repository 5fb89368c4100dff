"""Single parameters of the userspace stack, as text over a profile."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.util
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

import pytest

from testbed.endpoint.parameters import Endpoint, ParameterError, endpoint_from_dict
from testbed.endpoint.userspace.parameters import stack_parameters
from testbed.endpoint.userspace.policies import SAID_ELSEWHERE, choices, keys, with_policies
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.profiles import PROFILES

CHECKOUT = Path(__file__).parents[3]
CLASSES = {"": "Parameters", "options": "OptionPolicy", "rules": "ReceiverRules"}


def _hints(room: str, name: str) -> dict[str, Any]:
    """The types of the fields as the source has them; the module may be in force in its compiled form."""
    loader = importlib.machinery.SourceFileLoader(f"{room}_parameters", f"{CHECKOUT}/testbed/{room}/parameters.py")
    module = types.ModuleType(loader.name)
    sys.modules[loader.name] = module
    try:
        loader.exec_module(module)
        return typing.get_type_hints(getattr(module, name))
    finally:
        del sys.modules[loader.name]


def _words(hint: Any) -> set[str]:
    """What a field of that type takes, in the words of ``choices``."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return set().union(*(_words(each) for each in typing.get_args(hint)))
    if typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint))
    if hint is bool:
        return {"true", "false"}
    return {"none"} if hint is type(None) else {"number"} if hint is int else {"words"}


def test_every_parameter_takes_what_its_type_allows() -> None:
    hints = {
        f"{part}.{key}".lstrip("."): hint
        for part, name in CLASSES.items()
        for key, hint in _hints("mptcp", name).items()
    }
    hints |= {f"tcp.{key}": hint for key, hint in _hints("tcp", "Parameters").items()}

    for key in keys().keys() - SAID_ELSEWHERE.keys():
        told = {"number" if word.startswith("a ") else "words" if " " in word else word for word in choices(key)}
        assert told == _words(hints[keys()[key]]), key


def test_the_keys_are_all_parameters_without_their_units() -> None:
    whole = Parameters()
    parts = {"tcp": whole.tcp, "options": whole.options, "rules": whole.rules}
    own = {field.name for field in dataclasses.fields(Parameters)} - parts.keys()
    assert set(keys().values()) == own | {
        f"{part}.{field.name}" for part, value in parts.items() for field in dataclasses.fields(value)
    }
    assert not [key for key in keys() if key.endswith("_ns")]
    assert SAID_ELSEWHERE.keys() <= keys().keys()


def test_parameters_are_set_over_those_of_the_profile() -> None:
    endpoint = Endpoint(
        implementation="userspace",
        profile="dense-32",
        receiver="holding",
        policies=(
            "options.mapping_late_by=3",
            "rules.hold_unmapped=1.5ms",
            "penalisation=false",
            "receive_buffer=200KiB",
            "reinjection_timeout=2s",
            "tcp.min_rto=1s",
            "options.priority=timestamps/handshake/sack/dss",
        ),
    )

    made = stack_parameters(endpoint)

    assert made.options == dataclasses.replace(
        PROFILES["dense-32"].options, mapping_late_by=3, priority=("timestamps", "handshake", "sack", "dss")
    )
    assert made.rules.hold_unmapped == 1_500_000
    assert not made.rules.mapping_must_touch_segment
    assert (made.penalisation, made.opportunistic_retransmission) == (False, True)
    assert (made.receive_buffer, made.tcp.receive_buffer) == (200 * 1024, Parameters().tcp.receive_buffer)
    assert (made.reinjection_timeout_ns, made.tcp.min_rto_ns) == (2_000_000_000, 1_000_000_000)
    assert (
        with_policies(made, ("reinjection_timeout=none", "rules.hold_unmapped=window")).reinjection_timeout_ns is None
    )


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("options.packing", "is not KEY=VALUE"),
        ("options.packaging=dense", "near ones: options.packing"),
        ("hold_unmapped=0", "near ones: rules.hold_unmapped"),
        ("rules.hold_unmapped=200", "window or a time such as 200ms, not '200'"),
        ("rules.hold_unmapped=1.5ns", "window or a time"),
        ("options.packing=tight", "aligned or dense"),
        ("options.mapping_octets=70000", "has to be 1 to 65535"),
        ("options.priority=sack/tls", "has to name each at most once of timestamps, handshake"),
        ("penalisation=0", "true or false"),
        ("checksum=true", "is said by checksum of the experiment"),
    ],
)
def test_a_wrong_policy_is_an_error_at_once(policy: str, words: str) -> None:
    with pytest.raises(ParameterError, match="policies: ") as raised:
        Endpoint(implementation="userspace", policies=(policy,))

    assert words in str(raised.value)


def test_only_our_own_stack_has_policies_and_plain_tcp_only_those_of_tcp() -> None:
    with pytest.raises(ParameterError, match="policies are for userspace endpoints"):
        Endpoint(policies=("penalisation=false",))
    with pytest.raises(ParameterError, match=r"begin with tcp\., not 'penalisation=false'"):
        Endpoint(implementation="userspace-tcp", policies=("penalisation=false",))
    assert Endpoint(implementation="userspace-tcp", policies=("tcp.prr=false",)).policies


def test_policies_survive_the_way_to_another_process() -> None:
    endpoint = Endpoint(implementation="userspace", policies=("options.sack_limit=1",))
    data = dataclasses.asdict(endpoint)

    assert endpoint_from_dict({**data, "policies": list(data["policies"])}) == endpoint
