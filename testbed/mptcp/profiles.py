"""The named option policies and receiver rules: what known stacks do, and the ideas of the seed thread, one at a time.

A profile says how an endpoint sends (:class:`OptionPolicy`) and which receiver rules go with that; both can be chosen
apart. Sources: Linux 6.18 and 7.2 ``net/mptcp/options.c``, ``net/ipv4/tcp_output.c``; multipath-tcp.org
``net/mptcp/mptcp_output.c``; XNU ``bsd/netinet/mptcp_opt.c``; RFC 8684; the thread "RFC6824bis edits based on
implementation feedback" of the IETF's MPTCP group, 2020 (S-numbers: docs/option-space.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from testbed.mptcp.parameters import OptionPolicy, Parameters, ReceiverRules
from testbed.tcp.parameters import Parameters as TcpParameters

DEFAULT: Final = "linux"
"""What an endpoint uses unless told otherwise: the layout that every peer on the Internet today can read."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A named option policy, in words, and the receiver rules that go with it unless others are asked for."""

    policy: OptionPolicy
    summary: str
    receiver: str = "rfc8684"


_LINUX: Final = OptionPolicy()
_EIGHT_PACKETS: Final = 8 * 1448
"""Of Ethernet size with timestamps alone."""

LINUX_RULES: Final = ReceiverRules(
    hold_unmapped=0,
    accept_late_mapping=False,
    mapping_must_touch_segment=True,
    accept_sub_mapping=False,
    accept_partly_mapped_segment=False,
    mapping_on_pure_ack=False,
    on_violation="fallback-or-reset",
    on_missing_mapping="fallback-or-reset",
    first_data_needs_data_ack=True,
    infinite_mapping_on_fallback=False,
    bare_ack_falls_back="client",
)
"""Linux 6.18 as observed: nothing is held (E1), a mapping for later data is a violation (E2), a sub-mapping that is not
identical too (E4b), a partly mapped segment is corruption (E12), a mapping on a pure ACK is ignored (E11), all of that
ends in TCP while that is possible, else in a reset; no infinite mapping is sent when options are lost (C3), and a
server whose data is acknowledged without DATA_ACK goes on (E8d). One thing is left to who asks for it
(``deliver_failed_checksum``): on a single subflow Linux delivers what fails its checksum (E6a), before the peer has
agreed to a fallback, which it may refuse."""

HOLDING_RULES: Final = ReceiverRules(
    mapping_must_touch_segment=False, on_violation="discard", bare_ack_falls_back="client"
)

RECEIVERS: Mapping[str, ReceiverRules] = {
    "linux": LINUX_RULES,
    "rfc8684": ReceiverRules(),
    "holding": HOLDING_RULES,
    "echoing": replace(HOLDING_RULES, echo_mappings=True),
}
RECEIVER_SUMMARIES: Mapping[str, str] = {
    "linux": "Linux 6.18: holds nothing, falls back silently or resets",
    "rfc8684": "the letter: holds unmapped data for a window, refuses a mapping that does not touch its segment",
    "holding": "as lenient as can be: holds for a window, takes a mapping wherever it comes, discards what is bad",
    "echoing": "as holding, and echoes mappings on pure ACKs by a private option (N14)",
}

SENDERS: Mapping[str, Sender] = {
    "linux": Sender(_LINUX, "Linux: aligned, 64-bit DSN on every segment, ADD_ADDR alone on pure ACKs", "linux"),
    "mptcp.org": Sender(
        OptionPolicy(
            priority=("timestamps", "handshake", "add_addr", "dss", "mp_fail", "remove_addr", "mp_prio", "sack"),
            dsn_width="32",
            data_ack_width="32",
        ),
        "multipath-tcp.org kernel: 32-bit DSN and DATA_ACK, otherwise as Linux",
    ),
    "ios": Sender(
        OptionPolicy(
            priority=("timestamps", "mp_fail", "handshake", "remove_addr", "mp_prio", "dss", "add_addr", "sack"),
            dsn_width="32",
            data_ack_width="32",
            add_addr_on_data=True,
            add_addr_displaces_dss=False,
            dss_may_be_left_out=True,
        ),
        "XNU: 32-bit numbers, REMOVE_ADDR and MP_PRIO ahead of the DSS, which may be left out",
    ),
    "rfc8684": Sender(
        OptionPolicy(add_addr_displaces_dss=False),
        "the letter of RFC 8684: as Linux, but a pure ACK keeps its DATA_ACK beside an ADD_ADDR that leaves room",
    ),
    "rfc2018": Sender(
        OptionPolicy(
            priority=("timestamps", "handshake", "sack", "dss", "mp_fail", "add_addr", "remove_addr", "mp_prio"),
            mapping_every="chunk",
            mapping_octets=_EIGHT_PACKETS,
        ),
        "SACK first (RFC 2018 §4, S9): the mapping of a chunk waits for a segment with room, the last at the latest",
    ),
    "late-map": Sender(
        replace(_LINUX, mapping_late_by=2, mapping_octets=1400),
        "S5: a mapping follows its data by two segments, at the end of the data on ACKs (RFC 8684 forbids it)",
        "holding",
    ),
    "split-segment": Sender(
        replace(_LINUX, split_for_sack=True),
        "S23: when no SACK block fits, split the segment: one half has the mapping of both, the other the blocks",
    ),
    "map-on-pure-ack": Sender(
        replace(_LINUX, map_on_pure_ack=True),
        "S19: the mapping leaves on an ACK of its own ahead of the data",
        "holding",
    ),
    "map-echoed": Sender(
        replace(
            _LINUX,
            map_on_pure_ack=True,
            map_until_echoed=True,
            mapping_every="chunk",
            mapping_octets=_EIGHT_PACKETS,
        ),
        "N14: the mapping of up to eight segments leaves on an ACK of its own, again until a private option echoes it",
        "echoing",
    ),
    "add-addr-first": Sender(
        OptionPolicy(
            priority=("timestamps", "handshake", "add_addr", "dss", "mp_fail", "remove_addr", "mp_prio", "sack"),
            add_addr_on_data=True,
            mapping_octets=4 * 1400,
        ),
        "S10: ADD_ADDR may take the place of the mapping on a data segment",
    ),
    "thin-maps": Sender(
        replace(_LINUX, mapping_every="chunk", mapping_octets=_EIGHT_PACKETS),
        "S28: one mapping for up to eight segments, on the first of them alone",
    ),
    "dense": Sender(replace(_LINUX, packing="dense"), "no NOPs between options"),
    "width-32": Sender(
        replace(_LINUX, dsn_width="32", data_ack_width="32"),
        "32-bit DSN and DATA_ACK, padded",
    ),
    "dense-32": Sender(
        replace(_LINUX, packing="dense", dsn_width="32", data_ack_width="32"),
        "32-bit DSN and DATA_ACK without NOPs: a SACK block beside timestamps and mapping",
    ),
    "drop-timestamps": Sender(
        replace(_LINUX, drop_timestamps_for_sack=True, drop_timestamps_for_add_addr=True),
        "leaves the timestamps out of a packet on which no SACK block (or no ADD_ADDR) would fit",
        "linux",
    ),
}


def _of(sender: Sender, receiver: str) -> Parameters:
    # RFC 7323 §3.2: a segment without timestamps SHOULD be dropped; neither Linux nor a lenient receiver does.
    tcp = TcpParameters(require_timestamps=receiver == "rfc8684")
    return Parameters(tcp=tcp, options=sender.policy, rules=RECEIVERS[receiver])


PROFILES: Mapping[str, Parameters] = {name: _of(sender, sender.receiver) for name, sender in SENDERS.items()}
"""Everything else is as by default: profiles differ in options and rules alone, so that they can be compared."""


def profile(name: str, receiver: str | None = None) -> Parameters:
    """The profile of that name, with other receiver rules if asked for. Raises ValueError for a name not there."""
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}; there are {', '.join(PROFILES)}")
    if receiver is None:
        return PROFILES[name]
    if receiver not in RECEIVERS:
        raise ValueError(f"no receiver rules {receiver!r}; there are {', '.join(RECEIVERS)}")
    return _of(SENDERS[name], receiver)
