"""What this kernel does with mappings that it cannot use: resets with a reason, and a silent fallback."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.ingredients import MS, Stack
from experiments.mechanism import Mechanism, Seen, network
from testbed.orchestrator.spec import Bulk, PathManager

RESETS = (
    "watch tcp.rst as rst",
    "watch reset_reason = 1 as reason-1",
    "watch reset_reason = 6 as reason-6",
    "watch mptcp.mp_tcprst.transient as transient",
    "watch mptcp.mp_fail as mp-fail",
    "watch mptcp.dss.map and dss.length = 0 as infinite",
)
LOST_MAPPINGS = "strip mptcp.dss on (data and forward first 60)"
"""More than the longest mapping (65,535 octets, 47 segments) covers."""
OTHER_OCTETS = 'rewrite-payload "a" "aa" on (data and forward nth 20+21+22)'
"""What follows is some octets behind its mapping."""
OTHER_PAYLOAD = 'rewrite-payload "a" "b" on (data and forward nth 20+21+22)'
SMALL_BYTES, SMALL_WRITE_BYTES = 60_000, 1000
SMALL_WRITES = Bulk(direction="upload", size_bytes=SMALL_BYTES, write_bytes=SMALL_WRITE_BYTES, write_interval_ns=5 * MS)
"""Each write is a segment with a mapping of its own."""


def resets() -> Iterator[Mechanism]:
    """Two subflows: that whose mappings are missing, of other octets, or fail their checksum is reset and says why."""
    two = PathManager(mode="signal")
    upload = Bulk(direction="upload", size_bytes=600_000)
    never = Seen(
        metric="watched:transient@path2",
        high=0,
        claims=(("L5", "for"),),
        says="{value} resets had T = 1",
        because="mptcp_subflow_reset() and its callers leave reset_transient 0",
    )
    missing, other, failed = (
        Seen(
            metric=f"watched:reason-{reason}@path2",
            low=1,
            claims=(("L5", "for"),),
            says=f"{what} on the second subflow: {{value}} reset with MP_TCPRST reason {reason}",
            because=because,
        )
        for reason, what, because in (
            (6, "mappings taken away", "subflow_check_data_avail(): no mapping is MPTCP_RST_EMIDDLEBOX"),
            (1, "mappings of other octets", "the other failures of get_mapping_status() are MPTCP_RST_EMPTCP"),
            (6, "failed checksums", "a checksum that fails is MPTCP_RST_EMIDDLEBOX, too"),
        )
    )
    survives = Seen(
        metric="bytes_received_upload",
        low=600_000,
        high=600_000,
        says="{value} of 600 kB arrived: the first subflow lives and repeats what the other one had",
        because="only the subflow is reset (RFC 8684 section 3.7)",
    )
    for name, box, checksum, seen in (
        ("missing/two", LOST_MAPPINGS, None, (missing, never, survives)),
        ("other/two", OTHER_OCTETS, None, (other, never, _counted("DSSNoMatchTCP", ("linux",)))),
        ("checksum/two", OTHER_PAYLOAD, True, (failed, never, survives, _counted("DataCsumErr"))),
    ):
        yield Mechanism(
            name=name,
            summary=f"Two subflows; on the second one: {box}.",
            topology=network((), (box, *RESETS)),
            application=upload,
            subflows=two,
            checksum=checksum,
            seen=seen,
        )


def _counted(name: str, stacks: tuple[Stack, ...] = ("linux", "userspace")) -> Seen:
    return Seen(
        metric=f"counter:MPTcpExt{name}@server",
        low=1,
        says=f"{name} moved by {{value}}",
        because="the counter of that failure in get_mapping_status()",
        stacks=stacks,
    )


def fallbacks() -> Iterator[Mechanism]:
    """One subflow: the receiver goes on as TCP without a word; whether the sender does depends on when."""
    quiet = (
        Seen(
            metric="counter:MPTcpExtDssFallback@server",
            low=1,
            high=1,
            claims=(("L6", "for"),),
            says="DssFallback moved by {value}",
            because="mptcp_try_fallback(): one subflow, nothing out of order",
        ),
        Seen(
            metric="watched:rst@path1",
            high=0,
            claims=(("L6", "for"),),
            says="{value} resets",
            because="the receiver goes on as TCP",
        ),
        Seen(
            metric="watched:infinite@path1",
            high=0,
            claims=(("L6", "for"),),
            says="{value} infinite mappings: the peer is told nothing",
            because="the receiver has no data to send one with, and the sender does not see the fallback",
            stacks=("linux",),
        ),
    )
    yield Mechanism(
        name="missing-first/one",
        summary="One subflow; the first data lose their MP_CAPABLE with the mapping.",
        topology=network(("strip mptcp on (data and forward nth 1)", *RESETS), rate_bit_s=None),
        application=SMALL_WRITES,
        seen=(
            *quiet,
            Seen(
                metric="bytes_received_upload",
                low=SMALL_BYTES,
                high=SMALL_BYTES,
                claims=(("L6", "for"),),
                says="first data without mapping: {value} of 60 kB arrived, each once",
                because="the client, not yet fully established, sees an ACK without DSS and falls back, too",
            ),
            _counted_at_client("MPCapableDataFallback", "both ends fell back", ("linux", "userspace")),
        ),
    )
    yield Mechanism(
        name="missing/one",
        summary="One subflow; the twentieth segment loses its mapping.",
        topology=network(("strip mptcp.dss on (data and forward nth 20)", *RESETS), rate_bit_s=None),
        application=SMALL_WRITES,
        seen=(
            *quiet,
            Seen(
                metric="bytes_received_upload",
                low=SMALL_BYTES + 1,
                claims=(("L6", "against"),),
                says="a later mapping lost: {value} arrived of the 60 kB sent; the application got octets twice",
                because="an established sender takes ACKs without DSS for MPTCP and repeats after its timer "
                "(mptcp_worker()); the receiver, plain TCP by then, takes the repetition for new octets",
                stacks=("linux",),
            ),
            _counted_at_client("MPTCPRetrans", "the sender repeated what had been delivered", ("linux",)),
            Seen(
                metric="bytes_received_upload",
                low=SMALL_BYTES,
                high=SMALL_BYTES,
                says="{value} of 60 kB arrived, each once",
                because="our sender falls back at the bare ACKs, whatever its profile (RFC 8684 section 3.7)",
                stacks=("userspace",),
            ),
        ),
    )


def _counted_at_client(name: str, what: str, stacks: tuple[Stack, ...]) -> Seen:
    return Seen(
        metric=f"counter:MPTcpExt{name}@client",
        low=1,
        says=f"{what}: {name} moved by {{value}}",
        because="the client's side of the same event",
        stacks=stacks,
    )
