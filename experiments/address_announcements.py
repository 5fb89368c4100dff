"""Where an announcement of an address leaves, and what becomes of it: S10, S11, and N12 on our own stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import SECOND
from experiments.policy_ends import kernel, narrow_paths, ours, pair, with_boxes
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Variant
from topologies.model import Topology

SIZE_BYTES = 600_000
"""Some 500 ms of one path. The first ADD_ADDR leaves before there are data, on a pure ACK; it is lost, and repeated
after a timeout, when there are."""
WATCHES = (
    "watch data and mptcp.add_addr and not mptcp.add_addr.echo as on-data, "
    "watch data and mptcp.add_addr and not mptcp.add_addr.echo and not mptcp.dss.map as instead-of-map, "
    "watch ack and mptcp.add_addr and not mptcp.add_addr.echo as on-ack, "
    "watch mptcp.add_addr.echo as echoes, "
    "watch ack and mptcp.dss.map and not mptcp.dss.fin as map-on-ack, "
    "watch tcp.rst as resets"
)
PLAIN = narrow_paths(boxes=WATCHES)
PLAIN_V6 = narrow_paths(boxes=WATCHES, families=(6,))
_PORT = ("announced_port=5999",)
PORTS = {
    "linux": ours("linux", policies=_PORT),
    "linux-no-ts": ours("linux", policies=_PORT, timestamps=False),
    "dense": ours("dense", policies=_PORT),
    "drop-timestamps": ours("drop-timestamps", policies=_PORT),
}
"""Servers that announce an IPv6 address with a port: 30 octets, 32 padded."""
LOST_ADDRESS = with_boxes(PLAIN, {"path1": f"{WATCHES}, drop mptcp.add_addr and not mptcp.add_addr.echo nth 1"})
LOST_ECHO = with_boxes(PLAIN, {"path1": f"{WATCHES}, drop mptcp.add_addr.echo nth 1"})
LOST_MAP = with_boxes(
    PLAIN, {"path1": f"{WATCHES}, drop forward and ack and mptcp.dss.map and not mptcp.dss.fin nth 20"}
)
"""Of one chunk alone, in the middle of the upload."""


_EXPECTATIONS = (
    *(
        Expectation(
            variant=f"add-addr-first/{receiver}",
            metric="watched:instead-of-map@path1",
            at_least=1,
            statistic="min",
            because="ADD_ADDR (16 octets) and timestamps leave 12, in which a DATA_ACK fits and a mapping does not",
            claim="S10",
            says="with ADD_ADDR ahead of the DSS, {value} data segments per connection carry it and lack their mapping",
        )
        for receiver in ("rfc8684", "linux")
    ),
    Expectation(
        variant="add-addr-first/rfc8684",
        metric="fate:mptcp",
        at_least=1,
        statistic="min",
        because="the mapping of the chunk is on its next segment, and the data wait for it",
        claim="S10",
        under="a receiver that holds unmapped data",
        says="such a connection stays MPTCP, with its second subflow, where the receiver holds unmapped data",
    ),
    Expectation(
        variant="add-addr-first/linux",
        metric="fate:fallback",
        at_least=1,
        statistic="min",
        because="Linux's rules hold nothing: in-order data without a mapping end MPTCP on a single subflow (E1)",
        claim="S10",
        speaks="against",
        under="the rules of Linux at the receiver",
        says="a receiver with Linux's rules falls back to TCP, so the address that was announced is of no use",
    ),
    *(
        Expectation(
            variant=f"{profile}/rfc8684",
            metric="watched:on-data@path1",
            at_most=0,
            statistic="max",
            because="these announce on pure ACKs, whatever there is to send",
            claim="S10",
            speaks="against",
            under="the order of known stacks",
            says=f"the profile {profile} puts ADD_ADDR on pure ACKs alone ({{value}} on data)",
        )
        for profile in ("linux", "mptcp.org", "ios")
    ),
    Expectation(
        variant="kernel/kernel",
        metric="watched:on-data@path1",
        at_most=0,
        statistic="max",
        because="mptcp_established_options_add_addr: only on pure ACKs in v1 (drop_other_suboptions)",
        claim="S10",
        speaks="against",
        under="the order of known stacks",
        says="this kernel puts ADD_ADDR on pure ACKs alone ({value} on data)",
    ),
    Expectation(
        variant="linux/rfc8684",
        metric="subflows",
        at_least=2,
        statistic="min",
        because="the lost ADD_ADDR leaves again until it is echoed (RFC 8684 §3.4.1)",
        claim="S11",
        says="a lost ADD_ADDR is repeated: {value} in the end",
    ),
    Expectation(
        variant="lost-echo/linux",
        metric="watched:on-ack@path1",
        at_least=2,
        statistic="min",
        because="a lost echo looks the same to the sender: it announces again, and is echoed again",
        claim="S11",
        says="a lost echo has the ADD_ADDR sent again ({value} times in all)",
    ),
    Expectation(
        variant="kernel/kernel",
        metric="subflows",
        at_least=2,
        statistic="min",
        because="mptcp_pm_add_timer repeats it (add_addr_timeout, capped by the RTO)",
        claim="S11",
        says="this kernel repeats a lost ADD_ADDR, too: {value} in the end",
    ),
    Expectation(
        variant="lost-map/map-on-pure-ack",
        metric="counter:MPTcpExtMPTCPRetrans@client",
        at_least=1,
        statistic="min",
        because="no one repeats the mapping: the data, acknowledged by the subflow, leave again after the timer of the "
        "connection (RFC 8684 §3.3.6)",
        claim="S11",
        says="a mapping lost on a pure ACK is never repeated: its data wait for the connection-level timer, and "
        "{value} mappings are sent again",
    ),
    Expectation(
        variant="lost-map/map-on-pure-ack",
        metric="goodput_bit_s",
        at_most=0.5,
        relative_to=("lost-map/map-echoed",),
        because="with an echo the mapping alone is repeated after a timeout; without, all data behind it go again",
        claim="S11",
        says="one lost mapping brings the goodput down to {absolute}, against {reference} where mappings are echoed",
    ),
    Expectation(
        variant="v6-port/linux",
        metric="counter:MPTcpExtAddAddrTxDrop@server",
        at_least=1,
        statistic="min",
        because="12 + 32 = 44 octets: never",
        claim="N12",
        says="our stack, padded as Linux: {value} ADD_ADDR for IPv6 with port given up",
    ),
    Expectation(
        variant="v6-port/linux",
        metric="subflows",
        at_most=1,
        statistic="max",
        because="the client never learns the address",
        claim="N12",
        says="and the connection keeps {value}",
    ),
    *(
        Expectation(
            variant=f"v6-port/{name}",
            metric="counter:MPTcpExtMPJoinPortSynRx@server",
            at_least=1,
            statistic="min",
            because=because,
            claim="N12",
            says=f"{words}: it leaves, and {{value}} MP_JOIN arrives on its port",
        )
        for name, words, because in (
            ("dense", "dense", "10 + 30 = 40 octets"),
            ("linux-no-ts", "without timestamps", "32 octets"),
            ("drop-timestamps", "without timestamps on that ACK alone", "32 octets, as Linux 7.2 can do"),
        )
    ),
)


def address_announcements() -> Experiment:
    """A server with two addresses, while data go both ways."""
    return Experiment(
        name="address_announcements",
        question="On which segments does an address get announced, and what does that cost the data?",
        variants=tuple(_variants()),
        repetitions=3,
        duration_ns=20 * SECOND,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        expectations=_EXPECTATIONS,
        claims=tuple(CLAIMS[key] for key in ("S10", "S11", "N12")),
    )


def _variants() -> Iterator[Variant]:
    for receiver in ("rfc8684", "linux", "holding"):
        end = ours("linux", receiver)
        yield _variant(f"add-addr-first/{receiver}", LOST_ADDRESS, end, ours("add-addr-first"))
    for profile in ("linux", "ios", "mptcp.org"):
        yield _variant(f"{profile}/rfc8684", LOST_ADDRESS, ours("linux", "rfc8684"), ours(profile))
    yield _variant("lost-echo/linux", LOST_ECHO, ours(), ours())
    for profile in ("map-on-pure-ack", "map-echoed"):
        yield _variant(f"lost-map/{profile}", LOST_MAP, ours(profile), ours(profile))
    # A kernel that gets data without their mapping is a matter of unmapped_data: on real interfaces our stack hands
    # over whole chunks, and the super-segment of a chunk has to carry its mapping.
    for name, end in PORTS.items():
        yield _variant(f"v6-port/{name}", PLAIN_V6, ours(timestamps=end.timestamps), end, family=6)
    yield _variant("kernel/kernel", LOST_ADDRESS, kernel(), kernel())


def _variant(
    name: str, topology: Topology, client: Endpoint, server: Endpoint, family: Literal[4, 6] | None = None
) -> Variant:
    return pair(
        name,
        f"{name}: the server announces its second address during two-way data.",
        topology,
        Bulk(direction="both", size_bytes=SIZE_BYTES)
        if name.startswith("lost-")
        else Bulk(direction="download", size_bytes=SIZE_BYTES, settle_ns=2 * SECOND),
        client,
        server,
        only_on="sim" if client.is_userspace else None,
        family=family,
    )
