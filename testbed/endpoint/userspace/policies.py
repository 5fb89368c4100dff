"""Single parameters of the userspace stack as text, ``options.mapping_late_by=3``: set over those of a profile.

A key is a field of :mod:`testbed.mptcp.parameters`, without its unit, because the value carries it: of ``Parameters``
itself (``penalisation``), of its option policy (``options.``), its receiver rules (``rules.``) or its TCP (``tcp.``).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, get_args

from testbed.endpoint.parameters import ParameterError
from testbed.mptcp.parameters import Parameters, ViolationAction, Width

PARTS: Final = ("options", "rules", "tcp")
"""Fields of ``Parameters`` that are values with fields of their own."""

SAID_ELSEWHERE: Mapping[str, str] = {
    "enabled": "implementation",
    "checksum": "checksum",
    "scheduler": "scheduler",
    "congestion_control": "congestion_control",
    "path_manager": "path_manager.mode",
    "subflows_limit": "path_manager.subflows",
    "ports": "path_manager.ports",
    "backup_addresses": "path_manager.backup_paths",
    "record_ledger": "ledger",
    "tcp.timestamps": "timestamps",
    "tcp.sack": "sack",
    "tcp.nagle": "nodelay",
    "tcp.mtu": "the mtu of the link",
    "tcp.super_segment": "offloads",
}
"""What an experiment has its own word for, so that there is one way to say it."""

_INTEGER: Final = "a whole number"
_TIME: Final = "a time such as 200ms"
_NONE: Final = "none"
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "options.priority": ("words parted by slashes",),
    "options.packing": ("aligned", "dense"),
    "options.dsn_width": ("32", "64"),
    "options.data_ack_width": get_args(Width),
    "options.mapping_every": ("segment", "chunk"),
    "rules.hold_unmapped": ("window", _TIME),
    "rules.on_violation": get_args(ViolationAction),
    "rules.on_missing_mapping": get_args(ViolationAction),
    "rules.bare_ack_falls_back": ("always", "client"),
    "bad_subflow_timeouts": (_NONE, _INTEGER),
    "rules.mappings_limit": (_NONE, _INTEGER),
    "reinjection_timeout": (_NONE, _TIME),
    "fast_close": ("ack", "reset"),
    "announced_port": (_NONE, _INTEGER),
    "tcp.window_scale": (_NONE, _INTEGER),
    "tcp.recovery": ("rack", "rfc6675", "newreno"),
    "tcp.initial_window": (_NONE, _INTEGER),
    "tcp.user_timeout": (_NONE, _TIME),
    "tcp.keepalive": (_NONE, _TIME),
}
"""What those fields take that are neither flag, number nor time. The types themselves cannot be asked: compiled
classes (decision 0006) have forgotten what a union or a Literal is made of."""

_TIMES: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
_SIZES: Mapping[str, int] = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}
"""Of the words of topologies/quantity.py, which an endpoint may not import."""
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?([A-Za-z]*)")
_FLAGS: Mapping[str, bool] = {"true": True, "false": False}


def with_policies(parameters: Parameters, policies: Sequence[str]) -> Parameters:
    """``parameters`` with each ``KEY=VALUE`` set in turn.

    Raises ParameterError that names the key and near ones, or what the value can be.
    """
    for assignment in policies:
        key, sign, text = assignment.partition("=")
        if not sign:
            raise ParameterError(f"policies: {assignment!r} is not KEY=VALUE, such as options.packing=dense")
        part, _, name = _known(key).rpartition(".")
        try:
            values: dict[str, Any] = {name: _value(key, text)}
            if part:
                values = {part: dataclasses.replace(getattr(parameters, part), **values)}
            parameters = dataclasses.replace(parameters, **values)
        except ValueError as error:
            raise ParameterError(f"policies: {assignment}: {error}") from None
    return parameters


@lru_cache(maxsize=1)
def keys() -> Mapping[str, str]:
    """Every key -> the field that it sets: ``tcp.min_rto`` -> ``tcp.min_rto_ns``."""
    found: dict[str, str] = {}
    whole = Parameters()
    for part in ("", *PARTS):
        owner: Any = getattr(whole, part) if part else whole
        for field in dataclasses.fields(owner):
            if field.name not in PARTS:
                path = f"{part}.{field.name}" if part else field.name
                found[path.removesuffix("_ns")] = path
    return found


def choices(key: str) -> tuple[str, ...]:
    """What the values of that key can be, in words."""
    if key in _CHOICES:
        return _CHOICES[key]
    part, _, name = keys()[key].rpartition(".")
    whole = Parameters()
    default = getattr(getattr(whole, part) if part else whole, name)
    if isinstance(default, bool):
        return tuple(_FLAGS)
    if isinstance(default, int):
        return (_TIME if name.endswith("_ns") else _INTEGER,)
    raise TypeError(f"{key} is of a kind that policies do not know")


def _known(key: str) -> str:
    if key in SAID_ELSEWHERE:
        raise ParameterError(f"policies: {key} is said by {SAID_ELSEWHERE[key]} of the experiment")
    path = keys().get(key)
    if path is None:
        known = [each for each in keys() if each not in SAID_ELSEWHERE]
        last = key.rpartition(".")[2]
        near = [each for each in known if each.rpartition(".")[2] == last]
        near = near or difflib.get_close_matches(key, known, n=4, cutoff=0.5) or [*known[:4], "..."]
        raise ParameterError(f"policies: there is no parameter {key!r}; near ones: {', '.join(near)}")
    return path


def _value(key: str, text: str) -> Any:
    """The value of that field. Raises ValueError that says what it can be."""
    known = choices(key)
    if key == "options.priority":
        return tuple(text.split("/"))  # the policy itself checks the words
    for word in known:
        if word in (_INTEGER, _TIME):
            number = _number(text, _TIMES if word == _TIME else _SIZES)
            if number is not None:
                return number
        elif word == text:
            return None if word == _NONE else _FLAGS.get(word, word)
    raise ValueError(f"it is {' or '.join(known)}, not {text!r}")


def _number(text: str, units: Mapping[str, int]) -> int | None:
    """``1.5ms`` -> 1500000; None for anything that is no whole number of the base unit. 0 needs no unit."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    whole, fraction, unit = match.groups(default="")
    if unit not in units:
        return 0 if text == "0" else None
    scaled = int(whole + fraction) * units[unit]
    return None if scaled % 10 ** len(fraction) else scaled // 10 ** len(fraction)
