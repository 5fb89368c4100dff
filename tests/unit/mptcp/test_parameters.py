"""What an endpoint cannot be told: refused where it is said, by the name of the field or with the names there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from two_hosts import TwoHosts

from testbed.mptcp.congestion.catalog import CONTROLLERS, make_group
from testbed.mptcp.parameters import OptionPolicy, Parameters, ReceiverRules
from testbed.mptcp.path_manager.catalog import PATH_MANAGERS
from testbed.mptcp.path_manager.catalog import make as make_path_manager
from testbed.mptcp.scheduler.catalog import SCHEDULERS
from testbed.mptcp.scheduler.catalog import make as make_scheduler
from testbed.tcp.congestion_catalog import make as make_controller


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (OptionPolicy, "mapping_octets", 0),
        (OptionPolicy, "mapping_octets", 65536),
        (OptionPolicy, "mapping_late_by", -1),
        (OptionPolicy, "sack_limit", 5),
        (OptionPolicy, "priority", ("dss", "dss")),
        (OptionPolicy, "priority", ("urgent",)),
        (ReceiverRules, "hold_unmapped", -1),
        (ReceiverRules, "hold_unmapped", "for ever"),
        (ReceiverRules, "mappings_limit", 0),
        (Parameters, "subflows_limit", 0),
        (Parameters, "receive_buffer", 0),
        (Parameters, "send_buffer", -1),
        (Parameters, "subflow_delay_ns", -1),
        (Parameters, "reinjection_timeout_ns", 0),
        (Parameters, "ports", 0),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_the_name_of_its_field(
    kind: Callable[..., object], name: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=name):
        kind(**{name: value})


def test_the_ends_of_a_range_belong_to_it() -> None:
    OptionPolicy(mapping_octets=1, sack_limit=0)
    OptionPolicy(mapping_octets=65535, sack_limit=4)
    ReceiverRules(hold_unmapped=0, mappings_limit=1)
    Parameters(bad_subflow_timeouts=None, reinjection_timeout_ns=None, subflows_limit=1, add_addr_accepted_limit=0)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (make_group, CONTROLLERS),
        (make_controller, ("reno", "cubic")),
        (make_path_manager, PATH_MANAGERS),
        (make_scheduler, SCHEDULERS),
    ],
)
def test_an_unknown_name_is_answered_with_the_names_there_are(
    make: Callable[[str], object], names: dict[str, object] | tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="nonsense") as caught:
        make("nonsense")
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("field", ["scheduler", "path_manager", "congestion_control"])
def test_a_connection_with_an_unknown_name_is_refused_when_it_is_opened(field: str) -> None:
    hosts = TwoHosts(Parameters(**{field: "nonsense"}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nonsense"):
        hosts.open()
    assert hosts.client.connections == []
    assert hosts.client.flows == {}
