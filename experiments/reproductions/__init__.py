"""Published results with their parameters: V1 to V8 of the claims, one file each, run together as ``reproductions``.

Exact numbers are expectations. Numbers of the multipath-tcp.org kernel (MPTCP version 0) are shapes: orderings of
variants, since that kernel had coupled congestion control, another scheduler and mechanisms that Linux has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from experiments.reproductions.v1_simult_flows import v1_simult_flows
from experiments.reproductions.v2_mptcp_connect import v2_mptcp_connect
from experiments.reproductions.v3_receive_buffer import v3_receive_buffer
from experiments.reproductions.v4_fairness import v4_fairness
from experiments.reproductions.v5_coupled_shift import v5_coupled_shift
from experiments.reproductions.v6_schedulers import v6_schedulers
from experiments.reproductions.v7_failover import v7_failover
from experiments.reproductions.v8_experimental_design import v8_experimental_design
from testbed.orchestrator.spec import Experiment

REPRODUCTIONS: Mapping[str, Callable[..., Experiment]] = {
    "v1-simult-flows": v1_simult_flows,
    "v2-mptcp-connect": v2_mptcp_connect,
    "v3-receive-buffer": v3_receive_buffer,
    "v4-fairness": v4_fairness,
    "v5-coupled-shift": v5_coupled_shift,
    "v6-schedulers": v6_schedulers,
    "v7-failover": v7_failover,
    "v8-experimental-design": v8_experimental_design,
}
