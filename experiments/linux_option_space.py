"""What this kernel leaves out of 40 octets: SACK beside a mapping, an announcement, SACK beside DATA_FIN."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.ingredients import MS, SECOND, on_links
from experiments.mechanism import Mechanism, Seen, network
from testbed.orchestrator.spec import Bulk, PathManager
from topologies.link_profile import RandomLoss

OPTIONS = (
    "watch data and not mptcp.mp_capable as data",
    "watch data and not mptcp.mp_capable and not mptcp.dss.map as data-unmapped",
    "watch data and option_octets = 40 as data-full",
    "watch data and sack_blocks >= 1 as data-sack",
    "watch ack and sack_blocks >= 1 as ack-sack",
    "watch ack and sack_blocks >= 2 as ack-sack2",
)
ANNOUNCEMENTS = (
    "watch mptcp.add_addr and not mptcp.add_addr.echo as announced",
    "watch data and mptcp.add_addr as on-data",
    "watch mptcp.add_addr and not mptcp.add_addr.echo and mptcp.dss as beside-dss",
)
HALF_CLOSE = (
    "watch forward and ack and mptcp.dss.fin as fin",
    "watch forward and ack and mptcp.dss.fin and option_octets = 40 as fin-full",
    "watch forward and ack and mptcp.dss.fin and sack_blocks >= 1 as fin-sack",
    "watch forward and ack and not mptcp.dss.fin and after 900ms and sack_blocks >= 1 as no-fin-sack",
    "drop (backward and data and after 900ms) nth 5+60+120",
)
"""The client ends its half a second after its start; holes just before then keep blocks wanted for round trips."""


def contention() -> Iterator[Mechanism]:
    """Data both ways under loss, so that data segments want SACK blocks, too."""
    topology = on_links(network(OPTIONS), ("path1",), loss=RandomLoss(0.02))
    both = Bulk(direction="both", size_bytes=600_000)
    order = "tcp_established_options() asks timestamps, then MPTCP, then SACK, which needs 12 octets"
    segments = Seen(
        metric="watched:data@path1",
        low=800,
        says="{value} data segments in both directions",
        because="600 kB each way in segments of 1420 octets at most; so many that the other counts mean something",
    )
    mapped = Seen(
        metric="watched:data-unmapped@path1",
        high=0,
        claims=(("S24", "for"), ("L1", "for")),
        says="{value} of Linux's data segments lacked their mapping",
        because="mptcp_established_options() never leaves the DSS out: room for it is kept when the segment is cut",
    )
    yield Mechanism(
        name="contention/ts",
        summary="Both directions at once under loss, with timestamps.",
        topology=topology,
        application=both,
        seen=(
            segments,
            mapped,
            Seen(
                metric="watched:data-full@path1",
                low=800,
                claims=(("S25", "against"),),
                says="{value} data segments had all 40 octets taken by timestamps and DSS (12 + 28)",
                because="DATA_ACK and DSN of 8 octets each: all but the first flights, before a DSN of the peer came",
            ),
            Seen(
                metric="watched:data-sack@path1",
                high=0,
                claims=(("L1", "for"), ("S7", "for"), ("S9", "for")),
                says="with timestamps {value} data segments carried a SACK block, under 2% loss in both directions",
                because=order,
            ),
            Seen(
                metric="watched:ack-sack@path1",
                low=1,
                claims=(("L1", "for"),),
                says="{value} pure ACKs carried a SACK block: blocks were wanted",
                because="12 + 12 octets of a DSS with DATA_ACK leave 16",
            ),
            Seen(
                metric="watched:ack-sack2@path1",
                high=0,
                claims=(("L1", "for"),),
                says="{value} pure ACKs carried more than one SACK block",
                because="the 16 octets left hold one block (12 with its padding), two take 20",
            ),
            *(
                Seen(
                    metric=f"counter:MPTcpExt{name}@{host}",
                    high=0,
                    claims=(("L2", "for"),),
                    says=f"{name} of the {host} moved by {{value}} while no data segment had room for SACK",
                    because="SACK is left out by tcp_established_options(), which counts nothing",
                    stacks=("linux",),
                )
                for name in ("AddAddrTxDrop", "EchoAddTxDrop", "RmAddrTxDrop")
                for host in ("client", "server")
            ),
        ),
    )
    yield Mechanism(
        name="contention/no-ts",
        summary="The same without timestamps.",
        topology=topology,
        application=both,
        timestamps=False,
        seen=(
            segments,
            mapped,
            Seen(
                metric="watched:data-sack@path1",
                low=1,
                claims=(("L1", "for"), ("S9", "for")),
                says="without timestamps {value} data segments carried a SACK block on the same paths",
                because="40 - 28 = 12 octets hold one block; it was the timestamps that had displaced it",
            ),
            Seen(
                metric="watched:ack-sack2@path1",
                low=1,
                claims=(("L1", "for"),),
                says="without timestamps {value} pure ACKs carried two SACK blocks or more",
                because="12 octets of DSS leave 28, which hold three blocks padded",
            ),
        ),
    )


def announcements() -> Iterator[Mechanism]:
    """ADD_ADDR of IPv6 addresses: 28 octets fit beside timestamps, 32 do not (mptcp_net-next issue 448)."""
    upload = Bulk(direction="upload", size_bytes=200_000, settle_ns=SECOND // 2)
    pure_acks = Seen(
        metric="watched:on-data@path1",
        high=0,
        claims=(("S10", "against"),),
        says="Linux sent {value} announcements on data segments",
        because="mptcp_pm_add_addr_signal() is asked for pure ACKs only",
    )
    ports = PathManager(mode="ndiffports", ports=2)
    yield Mechanism(
        name="add-addr-port/ts",
        summary="The server announces an IPv6 address with a port; timestamps on.",
        topology=network(ANNOUNCEMENTS, family=6, rate_bit_s=None),
        application=upload,
        subflows=ports,
        stacks=("linux",),
        seen=(
            Seen(
                metric="counter:MPTcpExtAddAddrTxDrop@server",
                low=1,
                high=1,
                claims=(("L2", "for"), ("L3", "for"), ("N12", "for")),
                says="AddAddrTxDrop moved by {value}",
                because="12 + 32 octets exceed 40: mptcp_pm_add_addr_signal() gives the announcement up at once",
            ),
            Seen(
                metric="watched:announced@path1",
                high=0,
                claims=(("L3", "for"), ("N12", "for")),
                says="{value} announcements of IPv6 address and port left with timestamps on",
                because="given up for good: nothing tries it again without timestamps",
            ),
            Seen(
                metric="subflows",
                high=1,
                claims=(("L3", "for"), ("N12", "for")),
                says="with timestamps the connection had {value}",
                because="the client never hears of the second port",
            ),
        ),
    )
    yield Mechanism(
        name="add-addr-port/no-ts",
        summary="The same without timestamps.",
        topology=network(ANNOUNCEMENTS, family=6, rate_bit_s=None),
        application=upload,
        subflows=ports,
        timestamps=False,
        stacks=("linux",),
        seen=(
            Seen(
                metric="watched:announced@path1",
                low=1,
                claims=(("L3", "for"),),
                says="without timestamps {value} announcement left",
                because="32 octets fit into 40",
            ),
            Seen(
                metric="subflows",
                low=2,
                claims=(("L3", "for"), ("N12", "for")),
                says="without timestamps the connection had {value}",
                because="the client joins the announced port",
            ),
        ),
    )
    yield Mechanism(
        name="add-addr/ts",
        summary="The server announces an IPv6 address without a port; timestamps on.",
        topology=network(ANNOUNCEMENTS, family=6, rate_bit_s=None),
        application=upload,
        subflows=PathManager(mode="signal"),
        seen=(
            pure_acks,
            Seen(
                metric="watched:announced@path1",
                low=1,
                says="{value} announcement of an IPv6 address left with timestamps on",
                because="12 + 28 octets are exactly 40",
            ),
            Seen(
                metric="watched:beside-dss@path1",
                high=0,
                says="{value} announcements left beside a DSS",
                because="an ADD_ADDR drops the DSS of the ACK that carries it (mptcp_established_options())",
            ),
            Seen(metric="subflows", low=2, says="the connection had {value}", because="the client joins it"),
        ),
    )


def half_close() -> Iterator[Mechanism]:
    """A DATA_FIN on every ACK of a download that has holes."""
    topology = network(HALF_CLOSE, delay_ns=50 * MS)
    download = Bulk(direction="both", size_bytes=20_000, reverse_size_bytes=3_000_000, settle_ns=SECOND)
    sent = Seen(
        metric="watched:fin@path1",
        low=20,
        says="{value} pure ACKs carried DATA_FIN",
        because="a round trip of 100 ms until the DATA_FIN is acknowledged, at some 1,400 data segments a second",
    )
    wanted = Seen(
        metric="watched:no-fin-sack@path1",
        low=1,
        claims=(("L4", "for"), ("N6", "for")),
        says="before and after, {value} ACKs without DATA_FIN carried SACK blocks: they were wanted",
        because="three holes shortly before the half-close, each open for a round trip",
    )
    yield Mechanism(
        name="half-close/ts",
        summary="The client ends its half during a download with holes; timestamps on.",
        topology=topology,
        application=download,
        seen=(
            sent,
            wanted,
            Seen(
                metric="watched:fin-sack@path1",
                high=0,
                claims=(("L4", "for"), ("N6", "for")),
                says="with timestamps {value} of the ACKs with DATA_FIN carried a SACK block",
                because="the DATA_FIN is a mapping: 12 + 28 octets, as on data",
            ),
            Seen(
                metric="watched:fin-full@path1",
                low=20,
                claims=(("L4", "for"),),
                says="{value} ACKs with DATA_FIN had all 40 octets taken",
                because="the DATA_FIN rides on every ACK until it is acknowledged (mptcp_data_fin_enabled())",
            ),
        ),
    )
    yield Mechanism(
        name="half-close/no-ts",
        summary="The same without timestamps.",
        topology=topology,
        application=download,
        timestamps=False,
        seen=(
            sent,
            Seen(
                metric="watched:fin-sack@path1",
                low=1,
                claims=(("L4", "for"), ("N6", "for")),
                says="without timestamps {value} ACKs with DATA_FIN carried a SACK block, too",
                because="28 octets leave 12: it was the timestamps that had displaced it",
            ),
        ),
    )
