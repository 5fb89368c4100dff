"""What an endpoint of an experiment means to our own stack: named profiles, then the single parameters over them."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

from testbed.endpoint.parameters import Endpoint, PathManagerSettings
from testbed.endpoint.userspace.policies import with_policies
from testbed.mptcp.parameters import Parameters
from testbed.mptcp.profiles import DEFAULT, profile


def stack_parameters(
    endpoint: Endpoint,
    path_manager: PathManagerSettings | None = None,
    mtu: int = 1500,
    *,
    super_segment: int = 0,
    record_ledger: bool = False,
) -> Parameters:
    """The parameters of the connections of one side of a flow.

    ``super_segment``: largest payload handed to the driver at once, 0 for one packet at a time. A buffer of the
    endpoint is that of the connection and of each of its subflows, as in Linux.
    """
    tcp: dict[str, Any] = {"mtu": mtu, "super_segment": super_segment, "nagle": not endpoint.nodelay}
    own: dict[str, Any] = {"enabled": not endpoint.is_plain_tcp, "record_ledger": record_ledger}
    if endpoint.timestamps is not None:
        tcp["timestamps"] = endpoint.timestamps
    if endpoint.sack is not None:
        tcp["sack"] = tcp["dsack"] = endpoint.sack
    if endpoint.checksum is not None:
        own["checksum"] = endpoint.checksum
    for name, octets in (
        ("send_buffer", endpoint.send_buffer_bytes),
        ("receive_buffer", endpoint.receive_buffer_bytes),
    ):
        if octets is not None:
            tcp[name] = own[name] = octets
    if endpoint.congestion_control is not None:
        own["congestion_control"] = endpoint.congestion_control
    if endpoint.scheduler is not None:
        own["scheduler"] = endpoint.scheduler
    if path_manager is not None:
        own |= {
            "path_manager": path_manager.mode,
            "subflows_limit": 1 + path_manager.subflows,  # the stack's limit counts the first one, too
            "ports": path_manager.ports,
            "backup_addresses": tuple(ipaddress.ip_address(each).packed for each in path_manager.backup_addresses),
        }
    named = profile(endpoint.profile or DEFAULT, endpoint.receiver)
    whole = dataclasses.replace(named, tcp=dataclasses.replace(named.tcp, **tcp), **own)
    return with_policies(whole, endpoint.policies)
