"""What an adapter tells of its connection at the end: ``TESTBED_FACTS``, a JSON object. Everything in it is optional.

What is not told is not known: null in every table, never 0. A wrong file is an error of the adapter and is told.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.endpoint.parameters import Endpoint
from testbed.endpoint.protocol import FlowResult, SubflowResult

MOST_BYTES = 1 << 20
KEYS = ("fallback", "subflows", "retransmits", "in_force", "counters")
WISHES = ("congestion_control", "scheduler", "checksum", "timestamps", "sack", "nodelay")
"""Parameters of an endpoint that an adapter may confirm under their names in ``in_force``."""
_LIMIT = 2**63
"""Integers of the tables are below it."""
_ENDS = ("local_address", "local_port", "remote_address", "remote_port")


class FactsError(ValueError):
    """The file is not as it should be; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What it told; None: nothing of the kind."""

    fallback: bool | None = None
    subflows: tuple[SubflowResult, ...] | None = None
    retransmits: int | None = None
    in_force: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    counters: Mapping[str, int] | None = None


def read_facts(path: Path) -> Facts:
    """The facts in a file; none when there is no file. Raises FactsError."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Facts()
    except OSError as error:
        raise FactsError(f"cannot read {path.name}: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise FactsError(f"{path.name} is larger than {MOST_BYTES} bytes")
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FactsError(f"{path.name}: a text in it has half of a surrogate pair, which no table can hold") from None
    except (ValueError, RecursionError) as error:
        raise FactsError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise FactsError(f"{path.name} is not a JSON object")
    if unknown := sorted(set(data) - set(KEYS)):
        raise FactsError(f"{path.name}: there is no key {unknown[0]!r}; the keys are {', '.join(KEYS)}")
    subflows = data.get("subflows")
    return Facts(
        fallback=_of(data, "fallback", bool),
        subflows=None if subflows is None else _subflows(subflows),
        retransmits=_of(data, "retransmits", int),
        in_force=_table(data, "in_force", (str, int, bool, type(None))),
        counters=_table(data, "counters", (int,)) if data.get("counters") is not None else None,
    )


def with_facts(result: FlowResult, facts: Facts) -> FlowResult:
    """The result with what only the adapter knew: what the kernel saw stays, what nobody saw is null."""
    seen = result.implementation_in_force is not None
    known = [each for each in (result.fallback if seen else None, facts.fallback) if each is not None]
    fallback = any(known) if known else None
    moved = bool(result.connect_time_ns or result.bytes_received or result.complete or facts.subflows)
    subflows = facts.subflows if not seen and facts.subflows is not None else result.subflows
    count = result.subflows_seen if seen else None if facts.subflows is None else len(facts.subflows)
    return dataclasses.replace(
        result,
        implementation_in_force=("fallback" if fallback else "adapter") if seen or moved else None,
        fallback=fallback,
        subflows=subflows,
        subflows_seen=count,
        retransmits=facts.retransmits if result.retransmits is None else result.retransmits,
        in_force={**dict.fromkeys(WISHES), **facts.in_force, **result.in_force},
        counters=facts.counters if result.counters is None else result.counters,
    )


def denied(endpoint: Endpoint, facts: Facts) -> str | None:
    """Which wish was not fulfilled, by the adapter's own word; None: none that it tells of."""
    for name in WISHES:
        wanted, told = getattr(endpoint, name), facts.in_force.get(name)
        if wanted is None or told is None or (name == "nodelay" and not wanted):
            continue
        if told != wanted:
            return f"adapter {endpoint.adapter} has {name} = {told}, and {wanted} was asked for"
    return None


def _of(data: Mapping[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise FactsError(f"{key} is {'true or false' if kind is bool else 'an integer'} or null, not {value!r}")
    if kind is int and isinstance(value, int) and not 0 <= value < _LIMIT:
        raise FactsError(f"{key} is 0 to 2^63 - 1, not {value}")
    return value


def _table(data: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> dict[str, Any]:
    table = data.get(key)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise FactsError(f"{key} is an object of names and values")
    for name, value in table.items():
        if not isinstance(value, kinds) or (bool not in kinds and isinstance(value, bool)):
            raise FactsError(f"{key}.{name} cannot be {value!r}")
        if isinstance(value, int) and not -_LIMIT <= value < _LIMIT:
            raise FactsError(f"{key}.{name} is larger than any counter: {value}")
    return table


def _subflows(rows: Any) -> tuple[SubflowResult, ...]:
    if not isinstance(rows, list):
        raise FactsError("subflows is a list of objects, the first subflow first")
    found = []
    for index, row in enumerate(rows):
        where = f"subflows[{index}]"
        if not isinstance(row, dict) or set(row) - {*_ENDS, "backup"}:
            raise FactsError(f"{where} is an object with {', '.join(_ENDS)} and perhaps backup")
        try:
            local, remote = (str(ipaddress.ip_address(row[key])) for key in ("local_address", "remote_address"))
            ports = [row[key] for key in ("local_port", "remote_port")]
        except (KeyError, ValueError) as error:
            raise FactsError(f"{where}: {error}") from None
        if not all(isinstance(port, int) and 0 < port < 65536 for port in ports):
            raise FactsError(f"{where}: a port is 1 to 65535")
        found.append(
            SubflowResult(
                index=index,
                local_address=local,
                local_port=ports[0],
                remote_address=remote,
                remote_port=ports[1],
                backup=_of(row, "backup", bool),
                first_seen_ns=None,
                last_seen_ns=None,
                tcp_info={},
            )
        )
    return tuple(found)
