"""What the userspace stack knows by name, checked when an endpoint is described: a wrong name is an error at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from testbed.mptcp.congestion import catalog as coupled_catalog
from testbed.mptcp.profiles import DEFAULT, RECEIVERS, SENDERS, profile
from testbed.mptcp.scheduler import catalog as scheduler_catalog
from testbed.tcp import congestion_catalog

if TYPE_CHECKING:
    from testbed.endpoint.parameters import Endpoint

SCHEDULERS = tuple(scheduler_catalog.SCHEDULERS)
UNCOUPLED = tuple(congestion_catalog.CONTROLLERS)
CONGESTION_CONTROLS = tuple(coupled_catalog.CONTROLLERS)


def check_names(endpoint: Endpoint) -> None:
    """Raises ParameterError that lists what there is."""
    from testbed.endpoint import parameters

    if endpoint.is_script:
        told = ("profile", "receiver", "congestion_control", "scheduler", "checksum", "timestamps", "sack", "policies")
        if given := [name for name in told if getattr(endpoint, name) not in (None, ())]:
            raise parameters.ParameterError(f"{given[0]} is nothing that a script has: it says everything itself")
        return
    controls = UNCOUPLED if endpoint.is_plain_tcp else CONGESTION_CONTROLS
    _check("congestion_control", endpoint.congestion_control, controls, endpoint)
    if endpoint.is_plain_tcp and endpoint.scheduler is not None:
        raise parameters.ParameterError(f"scheduler is for MPTCP, {endpoint.implementation} has no use for one")
    _check("scheduler", endpoint.scheduler, SCHEDULERS, endpoint)
    _check("profile", endpoint.profile, SENDERS, endpoint)
    _check("receiver", endpoint.receiver, RECEIVERS, endpoint)
    if endpoint.policies:
        from testbed.endpoint.userspace.policies import with_policies

        if endpoint.is_plain_tcp and (other := [each for each in endpoint.policies if not each.startswith("tcp.")]):
            raise parameters.ParameterError(f"policies of {endpoint.implementation} begin with tcp., not {other[0]!r}")
        with_policies(profile(endpoint.profile or DEFAULT, endpoint.receiver), endpoint.policies)


def _check(name: str, value: str | None, known: Collection[str], endpoint: Endpoint) -> None:
    from testbed.endpoint.parameters import ParameterError

    if value is not None and value not in known:
        raise ParameterError(f"{name} of {endpoint.implementation} is one of {', '.join(known)}, not {value!r}")
