"""The tests. Each asks one thing, and names the section of RFC 8684 that it is about.

Sizes are small: a pair of a dozen implementations has a hundred cells and more. Where a receiver and a sender of data
can fail in different ways, tests differ in who sends; as every implementation stands on both sides, all do both.
"""

from __future__ import annotations

from experiments.interop.question import KB, MB, PATH1, PATH2, SUBFLOW, Check, Test, network, watches
from testbed.orchestrator.spec import Bulk, PathManager
from topologies.dual_homed_server import dual_homed_server
from topologies.two_path import two_path

UPLOAD, DOWNLOAD = "upload", "download"
SECOND_NS = 1_000_000_000

JOINS = "syn and mptcp.mp_join and forward"
ONE_PATH = "plain TCP has one path"
NO_OPTIONS = "plain TCP has no MPTCP options that could be lost"

HANDSHAKE = Test(
    name="handshake",
    abbreviation="H",
    summary="The first connection is MPTCP, or in order plain TCP when one end does not speak MPTCP.",
    source="RFC 8684 section 3.1",
    judged="MP_CAPABLE on SYN and SYN/ACK on the wire; none in an answer of plain TCP",
    topology=network(boxes={"path1": watches(syn="syn and mptcp.mp_capable", syn_ack="syn_ack and mptcp.mp_capable")}),
    application=Bulk(direction="upload", size_bytes=20 * KB),
    checks=(
        Check(metric="watched:syn@path1", at_least=1, because="the client asks with MP_CAPABLE"),
        Check(metric="watched:syn-ack@path1", at_least=1, because="the server answers with MP_CAPABLE"),
        Check(metric="watched:syn-ack@path1", at_most=0, because="plain TCP answers without", ends="plain"),
    ),
)

TRANSFER = Test(
    name="transfer",
    abbreviation="T",
    summary="A file of 1 MB goes from client to server and arrives byte for byte.",
    source="RFC 8684 section 3.3",
    judged="SHA-256 of both ends, and an end of stream in order",
    topology=network(),
    application=Bulk(direction="upload", size_bytes=MB),
)

JOIN = Test(
    name="join",
    abbreviation="J",
    summary="The client opens a second subflow from its other address, and that carries data.",
    source="RFC 8684 section 3.2",
    judged="MP_JOIN on the second path, and packets with data there",
    topology=network(boxes={"path2": watches(join=JOINS, data="data and forward")}),
    application=Bulk(direction="upload", size_bytes=1500 * KB),
    path_manager=SUBFLOW,
    needs_mptcp=ONE_PATH,
    checks=(
        Check(metric="watched:join@path2", at_least=1, because="the client asks with MP_JOIN"),
        Check(metric="watched:data@path2", at_least=50, because="the second subflow carries data"),
    ),
)

ADD_ADDR = Test(
    name="add_addr",
    abbreviation="A",
    summary="The server tells of its second address, and the client joins it.",
    source="RFC 8684 section 3.4.1",
    judged="ADD_ADDR and its echo on the wire, MP_JOIN and packets with data on the path that was told of",
    topology=network(
        dual_homed_server(path1=PATH1, path2=PATH2),
        boxes={
            "path1": watches(
                told="mptcp.add_addr and not mptcp.add_addr.echo and backward",
                echoed="mptcp.add_addr.echo and forward",
            ),
            "path2": watches(join=JOINS, data="data and backward"),
        },
    ),
    application=Bulk(direction="download", size_bytes=1500 * KB),
    path_manager=PathManager(mode="signal"),
    needs_mptcp=ONE_PATH,
    checks=(
        Check(metric="watched:told@path1", at_least=1, because="the server sends ADD_ADDR"),
        Check(metric="watched:echoed@path1", at_least=1, because="the client echoes it"),
        Check(metric="watched:join@path2", at_least=1, because="the client joins the address that it was told of"),
        Check(metric="watched:data@path2", at_least=50, because="the second subflow carries data"),
    ),
)

REMOVE_ADDR = Test(
    name="remove_addr",
    abbreviation="R",
    summary="The client gives up its second address during an upload: its subflow ends, and everything arrives.",
    source="RFC 8684 section 3.4.2",
    judged="REMOVE_ADDR on the first path, data on the second path before it and none half a second after it",
    topology=network(
        boxes={
            "path1": watches(removed="mptcp.remove_addr and forward"),
            "path2": watches(early="data and forward and before 1s", late="data and forward and after 1500ms"),
        }
    ),
    application=Bulk(direction="upload", size_bytes=4 * MB),
    path_manager=PathManager(mode="subflow", withdraw_path="path2", withdraw_at_ns=SECOND_NS),
    needs_mptcp=ONE_PATH,
    checks=(
        Check(metric="watched:early@path2", at_least=50, because="before it the second subflow carries data"),
        Check(metric="watched:removed@path1", at_least=1, because="the client sends REMOVE_ADDR"),
        Check(metric="watched:late@path2", at_most=0, because="after it the second subflow carries none"),
    ),
)

BACKUP = Test(
    name="backup",
    abbreviation="B",
    summary="A standby subflow carries nothing while the other lives, and everything when that has died.",
    source="RFC 8684 section 3.3.8",
    judged="no data on the standby path before the other one goes down, packets with data on it after that",
    topology=network(
        boxes={"path2": watches(early="data and forward and before 1s", late="data and forward and after 1s")},
        changes={"path1": "1s down"},
    ),
    application=Bulk(direction="upload", size_bytes=2500 * KB),
    path_manager=PathManager(mode="backup", backup_paths=("path2",)),
    needs_mptcp=ONE_PATH,
    checks=(
        Check(metric="watched:early@path2", at_most=0, because="a standby subflow waits while there is another one"),
        Check(metric="watched:late@path2", at_least=500, because="it carries the data when there is no other"),
    ),
)

FASTCLOSE = Test(
    name="fastclose",
    abbreviation="FC",
    summary="The client leaves a download with bytes unread: the server's connection ends at once.",
    source="RFC 8684 section 3.5",
    judged="MP_FASTCLOSE on the wire (plain TCP: a reset), and a reset connection at the server",
    topology=network(boxes={"path1": watches(fastclose="mptcp.mp_fastclose and forward", reset="tcp.rst and forward")}),
    application=Bulk(direction="download", size_bytes=20 * MB, leave_after_bytes=300 * KB),
    fates=("reset",),
    plain_fates=("reset",),
    checks=(
        Check(metric="watched:fastclose@path1", at_least=1, because="the client sends MP_FASTCLOSE"),
        Check(metric="watched:reset@path1", at_least=1, because="RFC 2525 section 2.17: a reset", ends="plain"),
    ),
)

CHECKSUM = Test(
    name="checksum",
    abbreviation="C",
    summary="The client alone asks for DSS checksums: both ends then send them, on both subflows.",
    source="RFC 8684 section 3.1, flag A, and section 3.3.1",
    judged="no mapping without a checksum in either direction, and mappings with one in both",
    topology=network(
        boxes={
            path: watches(
                without="mptcp.dss.map and not mptcp.dss.checksum",
                up="mptcp.dss.checksum and forward",
                down="mptcp.dss.checksum and backward",
            )
            for path in ("path1", "path2")
        }
    ),
    application=Bulk(direction="both", size_bytes=600 * KB),
    path_manager=SUBFLOW,
    checksum=(True, False),
    needs_mptcp="plain TCP has no DSS",
    checks=(
        *(
            Check(metric=f"watched:without@{path}", at_most=0, because="each mapping has a checksum")
            for path in ("path1", "path2")
        ),
        *(
            Check(metric=f"watched:{way}@{path}", at_least=20, because=f"the {end} sends checksums")
            for path in ("path1", "path2")
            for way, end in (("up", "client"), ("down", "server"))
        ),
    ),
)

FALLBACK_SYN = Test(
    name="fallback_syn",
    abbreviation="F1",
    summary="A middlebox takes MP_CAPABLE out of the SYN: plain TCP.",
    source="RFC 8684 section 3.7",
    judged="both ends fell back",
    topology=network(boxes={"path1": "strip mptcp on syn"}),
    application=Bulk(direction="upload", size_bytes=300 * KB),
    fates=("fallback",),
    needs_mptcp=NO_OPTIONS,
)

FALLBACK_SYN_ACK = Test(
    name="fallback_syn_ack",
    abbreviation="F2",
    summary="A middlebox takes MP_CAPABLE out of the SYN/ACK: plain TCP.",
    source="RFC 8684 section 3.7",
    judged="both ends fell back",
    topology=network(boxes={"path1": "strip mptcp on syn_ack"}),
    application=Bulk(direction="download", size_bytes=300 * KB),
    fates=("fallback",),
    needs_mptcp=NO_OPTIONS,
)

FALLBACK_THIRD_ACK = Test(
    name="fallback_third_ack",
    abbreviation="F3",
    summary="A middlebox takes MP_CAPABLE out of the third ACK: TCP, or MPTCP since the first data repeat it.",
    source="RFC 8684 sections 3.1 and 3.7",
    judged="MPTCP or a fallback, in order",
    topology=network(boxes={"path1": "strip mptcp on third_ack"}),
    application=Bulk(direction="upload", size_bytes=300 * KB),
    fates=("mptcp", "fallback"),
    needs_mptcp=NO_OPTIONS,
)

FALLBACK_DATA = Test(
    name="fallback_data",
    abbreviation="F4",
    summary="A middlebox takes every MPTCP option out of data, from the first on: plain TCP.",
    source="RFC 8684 section 3.7",
    judged="a fallback, in order",
    topology=network(boxes={"path1": "strip mptcp on payload > 0"}),
    application=Bulk(direction="upload", size_bytes=300 * KB),
    fates=("fallback",),
    needs_mptcp=NO_OPTIONS,
)

FALLBACK_LATE = Test(
    name="fallback_late",
    abbreviation="F5",
    summary="With two subflows the DSS vanish from the first: its data go over the other, and all is right.",
    source="RFC 8684 section 3.7",
    judged="MPTCP to the end, and packets with data on the other subflow's path",
    topology=network(
        boxes={
            "path1": "strip mptcp.dss on after 400ms",
            "path2": watches(data="data and forward and after 400ms"),
        }
    ),
    application=Bulk(direction="upload", size_bytes=1500 * KB),
    path_manager=SUBFLOW,
    needs_mptcp=NO_OPTIONS,
    checks=(Check(metric="watched:data@path2", at_least=50, because="the other subflow carries the data"),),
)

FALLBACK_PAYLOAD = Test(
    name="fallback_payload",
    abbreviation="F6",
    summary="A middlebox changes payload of the only subflow, with checksums on: MP_FAIL, and plain TCP from there.",
    source="RFC 8684 section 3.7",
    judged="MP_FAIL on the wire and a fallback; wrong bytes only after it, when nothing can tell any more",
    topology=network(
        boxes={"path1": 'rewrite-payload "a" "A" on after 200ms, ' + watches(fail="mptcp.mp_fail and backward")}
    ),
    application=Bulk(direction="upload", size_bytes=600 * KB),
    fates=("fallback",),
    altered=("fallback",),
    checksum=(True, True),
    needs_mptcp="plain TCP has no checksum that could tell",
    checks=(Check(metric="watched:fail@path1", at_least=1, because="a failed checksum is answered with MP_FAIL"),),
)

FALLBACK_PAYLOAD_TWO = Test(
    name="fallback_payload_two",
    abbreviation="F7",
    summary="The same on one of two subflows: that one is reset, and every byte is right.",
    source="RFC 8684 section 3.7",
    judged="MP_FAIL and a reset on the wire, MPTCP to the end, and the right bytes",
    topology=network(
        boxes={
            "path1": 'rewrite-payload "a" "A" on after 300ms, ' + watches(fail="mptcp.mp_fail", reset="tcp.rst"),
        }
    ),
    application=Bulk(direction="upload", size_bytes=1500 * KB),
    path_manager=SUBFLOW,
    checksum=(True, True),
    needs_mptcp="plain TCP has no checksum that could tell",
    checks=(
        Check(metric="watched:fail@path1", at_least=1, because="a failed checksum is answered with MP_FAIL"),
        Check(metric="watched:reset@path1", at_least=1, because="with another subflow that one is closed by a reset"),
    ),
)

IPV6 = Test(
    name="ipv6",
    abbreviation="6",
    summary="The same over IPv6, with a second subflow where both ends speak MPTCP.",
    source="RFC 8684 section 3.2",
    judged="bytes, MP_JOIN on the second path, and packets with data there",
    topology=network(
        two_path(path1=PATH1, path2=PATH2, families=(6,)), boxes={"path2": watches(join=JOINS, data="data")}
    ),
    application=Bulk(direction="download", size_bytes=1500 * KB),
    path_manager=SUBFLOW,
    checks=(
        Check(metric="watched:join@path2", at_least=1, because="the client asks with MP_JOIN"),
        Check(metric="watched:data@path2", at_least=50, because="the second subflow carries data"),
    ),
)

LOSS = Test(
    name="loss",
    abbreviation="L",
    summary="Every fiftieth packet with data of each path is lost, and everything arrives.",
    source="RFC 8684 section 3.3.6",
    judged="bytes, and retransmissions on the wire",
    topology=network(
        boxes={
            "path1": watches(again="retransmission and data and backward") + ", drop data and backward every 50",
            "path2": "drop data and backward every 50",
        }
    ),
    application=Bulk(direction="download", size_bytes=1500 * KB),
    path_manager=SUBFLOW,
    checks=(Check(metric="watched:again@path1", at_least=1, because="what was lost is sent again", ends="any"),),
)

REORDER = Test(
    name="reorder",
    abbreviation="O",
    summary="Every tenth packet with data is overtaken by those of 30 ms, and everything arrives in order.",
    source="RFC 8684 section 3.3.1",
    judged="bytes",
    topology=network(boxes=dict.fromkeys(("path1", "path2"), "delay 30ms data and forward every 10")),
    application=Bulk(direction="upload", size_bytes=MB),
    path_manager=SUBFLOW,
)

FAILOVER = Test(
    name="failover",
    abbreviation="X",
    summary="The first path dies for good in the middle of an upload, and everything arrives over the other.",
    source="RFC 8684 sections 1 and 3.3.6",
    judged="bytes, and packets with data on the second path after that",
    topology=network(
        boxes={"path2": watches(late="data and forward and after 1s")},
        changes={"path1": "1s down"},
    ),
    application=Bulk(direction="upload", size_bytes=3 * MB),
    path_manager=SUBFLOW,
    needs_mptcp=ONE_PATH,
    checks=(Check(metric="watched:late@path2", at_least=450, because="the other subflow carries all of the rest"),),
)

TWO_WAY = Test(
    name="two_way",
    abbreviation="W",
    summary="Both ends send 1 MB at once, and both streams arrive byte for byte.",
    source="RFC 8684 section 3.3",
    judged="SHA-256 of both directions",
    topology=network(),
    application=Bulk(direction="both", size_bytes=MB),
    path_manager=SUBFLOW,
)

# Linux 6.18 with 100 kB of SO_RCVBUF announces 26 << 1 octets, and takes as many at a time, as often as 0.
ZERO_WINDOW = Test(
    name="zero_window",
    abbreviation="Z",
    summary="The receiver stops reading until its window is closed, then goes on, and everything arrives.",
    source="RFC 8684 section 3.3.5, RFC 9293 section 3.8.6.1",
    judged="a window of (next to) nothing on the wire, and bytes",
    topology=network(boxes={"path1": watches(closed="ack and window < 30 and backward")}),
    application=Bulk(direction="upload", size_bytes=MB, pause_after_bytes=300 * KB, pause_ns=1500_000_000),
    receive_buffer_bytes=100 * KB,
    checks=(Check(metric="watched:closed@path1", at_least=1, because="the window closes", ends="any"),),
)

HALF_CLOSE = Test(
    name="half_close",
    abbreviation="HC",
    summary="The client ends its stream, and only then the server sends its own.",
    source="RFC 8684 section 3.3.3",
    judged="SHA-256 of both directions, and both ends of stream in order",
    topology=network(boxes={"path1": watches(fin="mptcp.dss.fin and forward")}),
    application=Bulk(direction="both", size_bytes=300 * KB, half_close=True),
    checks=(Check(metric="watched:fin@path1", at_least=1, because="the client's end of stream is a DATA_FIN"),),
)

TESTS: tuple[Test, ...] = (
    HANDSHAKE,
    TRANSFER,
    JOIN,
    ADD_ADDR,
    REMOVE_ADDR,
    BACKUP,
    FASTCLOSE,
    CHECKSUM,
    FALLBACK_SYN,
    FALLBACK_SYN_ACK,
    FALLBACK_THIRD_ACK,
    FALLBACK_DATA,
    FALLBACK_LATE,
    FALLBACK_PAYLOAD,
    FALLBACK_PAYLOAD_TWO,
    IPV6,
    LOSS,
    REORDER,
    FAILOVER,
    TWO_WAY,
    ZERO_WINDOW,
    HALF_CLOSE,
)
"""In the order in which they are shown."""
