"""What the userspace stack knows by name, checked when an endpoint is described: a wrong name is an error at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.endpoint.parameters import Endpoint

SCHEDULERS = ("lowest-rtt", "round-robin", "redundant", "blest", "ecf")
CONGESTION_CONTROLS = ("reno", "cubic", "lia", "olia", "balia")
UNCOUPLED = ("reno", "cubic")


def check_names(endpoint: Endpoint) -> None:
    """Raises ParameterError that lists what there is."""
    controls = UNCOUPLED if endpoint.is_plain_tcp else CONGESTION_CONTROLS
    _check("congestion_control", endpoint.congestion_control, controls, endpoint)
    _check("scheduler", endpoint.scheduler, SCHEDULERS, endpoint)


def _check(name: str, value: str | None, known: Collection[str], endpoint: Endpoint) -> None:
    from testbed.endpoint.parameters import ParameterError

    if value is not None and value not in known:
        raise ParameterError(f"{name} of {endpoint.implementation} is one of {', '.join(known)}, not {value!r}")
