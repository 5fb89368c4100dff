"""Every middlebox of the catalog on the paths of a connection: does MPTCP survive, fall back in order, keep every byte?

What is expected is what a stack that follows RFC 8684 does; section 6 lists such boxes. A stack that does otherwise has
FAILED here, and that is a finding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from experiments.ingredients import MBIT, MS, RENO, SECOND, Stack, mptcp, tcp
from testbed.orchestrator.grid import Fate, Grid, GridCell, GridColumn, GridRow
from testbed.orchestrator.spec import Bulk, Experiment, Variant
from topologies import middlebox
from topologies.link_profile import LinkProfile
from topologies.model import Topology
from topologies.two_path import two_path

BOTH = ("path1", "path2")
FIRST, SECOND_PATH = ("path1",), ("path2",)

SIZE_BYTES = 600_000
"""Some 300 ms of both paths: the second subflow is there for most of it."""
STACKS: tuple[Stack, Stack] = ("userspace", "linux")
ROLES = {"up": ("upload", "client sends"), "down": ("download", "server sends")}
"""Word in a variant's name -> direction of the bulk, role."""

SURVIVES: tuple[Fate, ...] = ("mptcp",)
FALLS_BACK: tuple[Fate, ...] = ("fallback",)
EITHER: tuple[Fate, ...] = ("mptcp", "fallback")
"""Where RFC 8684 leaves open which, or it depends on what was under way."""
DIES: tuple[Fate, ...] = ("reset", "unfinished")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to set up a middlebox, and what a correct stack makes of it."""

    name: str
    """Word in a variant's name."""
    text: str
    """As ``--set path1.middleboxes=`` takes it."""
    links: tuple[str, ...] = BOTH
    fates: tuple[Fate, ...] = SURVIVES
    tcp: tuple[Fate, ...] = ("tcp",)
    """The same of plain TCP over the first path: what the box does to everybody."""
    altered: tuple[Fate, ...] = ()
    """Fates with which the box may have changed bytes."""
    checksum: bool | None = None
    because: str
    """Begins with the section of RFC 8684, or with another RFC."""


SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "drop": (
        Setting(
            name="drop-mptcp",
            text="drop mptcp",
            fates=FALLS_BACK,
            because="3.1: a SYN with MP_CAPABLE that gets no answer is tried again without it",
        ),
        Setting(
            name="drop-third-ack",
            text="drop third_ack nth 1",
            links=FIRST,
            because="3.1: the first data repeat MP_CAPABLE, and a repeated SYN/ACK the third ACK",
        ),
        Setting(
            name="drop-add-addr",
            text="drop mptcp.add_addr nth 1",
            because="3.4.1: ADD_ADDR is repeated until it is echoed",
        ),
        Setting(
            name="drop-data",
            text="drop data every 50",
            because="3.3: what is lost is sent again with the same mapping",
        ),
    ),
    "delay": (
        Setting(
            name="delay",
            text="delay 50ms mptcp.dss.map every 10",
            because="3.3.1: mappings are absolute, so data may arrive in any order",
        ),
    ),
    "duplicate": (
        Setting(
            name="duplicate",
            text="duplicate data every 10",
            because="3.3.1: a mapping that is there already changes nothing",
        ),
    ),
    "hold": (
        Setting(
            name="hold",
            text="hold data nth 3+20 until data nth 6+20 for 100ms",
            because="3.3.1: mappings are absolute, so data may arrive in any order",
        ),
    ),
    "mark": (
        Setting(
            name="mark-ce",
            text="mark ce data every 20",
            because="RFC 3168: a mark is no damage; who has not agreed on ECN ignores it",
        ),
    ),
    "replay": (
        Setting(
            name="replay-data",
            text="replay data every 20 after 100ms",
            because="6 (checklist L2): old data are recognised by the subflow's sequence numbers",
        ),
        Setting(
            name="replay-join",
            text="replay mptcp.mp_join and syn after 150ms",
            links=SECOND_PATH,
            because="RFC 5961 section 4: an old SYN is answered with an ACK and does nothing",
        ),
    ),
    "strip": (
        Setting(
            name="strip-syn",
            text="strip mptcp on syn",
            fates=FALLS_BACK,
            because="3.7: options missing in either SYN make it TCP",
        ),
        Setting(
            name="strip-syn-ack",
            text="strip mptcp on syn_ack",
            fates=FALLS_BACK,
            because="3.7: options missing in either SYN make it TCP",
        ),
        Setting(
            name="strip-third-ack",
            text="strip mptcp on third_ack",
            links=FIRST,
            fates=EITHER,
            because="3.1: without it it is TCP, unless data with MP_CAPABLE are seen before it",
        ),
        Setting(
            name="strip-data",
            text="strip mptcp on data",
            links=FIRST,
            fates=FALLS_BACK,
            because="3.7: data without a mapping on the first subflow, before there are others",
        ),
        Setting(
            name="strip-acks",
            text="strip mptcp on ack",
            links=FIRST,
            fates=EITHER,
            because="3.7: data are acknowledged without a DATA_ACK: TCP, or without this subflow",
        ),
        Setting(
            name="strip-forward",
            text="strip mptcp on forward",
            fates=FALLS_BACK,
            because="3.7: options missing in either SYN make it TCP",
        ),
        Setting(
            name="strip-late",
            text="strip mptcp.dss on after 150ms",
            links=FIRST,
            because="3.7: a subflow whose options are lost is closed; its data go over the other one",
        ),
        Setting(
            name="strip-second",
            text="strip mptcp.dss",
            links=SECOND_PATH,
            because="3.7: a joined subflow without options is closed, the connection stays MPTCP",
        ),
        Setting(
            name="strip-maps",
            text="strip mptcp.dss on (data nth 20+20)",
            fates=EITHER,
            because="6 (checklist L3): a subset of the mappings is gone; bytes without one wait, or end the subflow",
        ),
        Setting(
            name="strip-join",
            text="strip mptcp.mp_join on syn close",
            links=SECOND_PATH,
            because="3.2: no second subflow; the first one is not touched by that",
        ),
        Setting(
            name="strip-sack",
            text="strip tcp.sack",
            because="RFC 2018 section 8: SACK is advisory; timeouts repair what it would have",
        ),
    ),
    "filter": (
        Setting(
            name="filter-add-addr",
            text="filter add_addr",
            because="3.4.1: who hears of no address opens no further subflow, and goes on",
        ),
    ),
    "rewrite-isn": (
        Setting(
            name="rewrite-isn",
            text="rewrite-isn",
            because="3.3.1: mappings count from the subflow's own initial sequence number, not from that of the wire",
        ),
    ),
    "nat": (
        Setting(name="nat", text="nat", because="3.2: a subflow is known by its token, not by its addresses"),
        Setting(
            name="nat-rebind",
            text="nat rebind after 150ms",
            links=FIRST,
            tcp=DIES,
            because="1: a subflow that fails leaves the connection to the others",
        ),
    ),
    "firewall": (
        Setting(name="firewall", text="firewall", because="3: a subflow is opened as any TCP connection is"),
        Setting(
            name="firewall-join",
            text="firewall drop-join",
            links=SECOND_PATH,
            because="3.2: no second subflow; the first one is not touched by that",
        ),
        Setting(
            name="firewall-forgets",
            text="firewall forget after 150ms",
            links=FIRST,
            tcp=DIES,
            because="1: a subflow that fails leaves the connection to the others",
        ),
    ),
    "clamp-mss": (
        Setting(name="clamp-mss", text="clamp-mss 1000", because="RFC 9293 section 3.7.1: segments are smaller"),
    ),
    "shrink-window": (
        Setting(
            name="shrink-window",
            text="shrink-window 8kB",
            because="3.3.5: the window of the connection is what was announced on any subflow",
        ),
    ),
    "split": (
        Setting(
            name="split-copy",
            text="split 500",
            because="3.3.1: a copied mapping says the same again, as segmentation offload has it",
        ),
        Setting(
            name="split-first",
            text="split 500 options first",
            because="3.3.1: a mapping holds for all its data, whether or not their segments repeat it",
        ),
        Setting(
            name="split-last",
            text="split 500 options last",
            fates=EITHER,
            because="3.3.1: data before their mapping may wait for it, or be taken for data without one",
        ),
    ),
    "coalesce": (
        Setting(
            name="coalesce-first",
            text="coalesce 2800 options first",
            fates=EITHER,
            because="6 (checklist L2): some data have lost their mapping: they are sent again, or end the subflow",
        ),
        Setting(
            name="coalesce-last",
            text="coalesce 2800 options last",
            fates=EITHER,
            because="6 (checklist L2): some data have lost their mapping: they are sent again, or end the subflow",
        ),
    ),
    "rewrite-payload": (
        Setting(
            name="rewrite",
            text='rewrite-payload "ab" "AB"',
            fates=EITHER,
            tcp=("tcp",),
            altered=("mptcp", "fallback", "tcp"),
            because="6 (checklist L3): without checksums other bytes of the same length pass, as they do with TCP",
        ),
        Setting(
            name="rewrite-checksum",
            text='rewrite-payload "ab" "AB"',
            links=FIRST,
            fates=EITHER,
            altered=("fallback", "tcp"),
            checksum=True,
            because="3.7: a subflow whose checksum fails is reset, its data go over the other one; without one: TCP",
        ),
        Setting(
            name="rewrite-both",
            text='rewrite-payload "ab" "AB"',
            fates=(*EITHER, *DIES),
            altered=("fallback", "tcp"),
            checksum=True,
            because="3.7: the last subflow falls back, or is reset too; until then the application gets no wrong byte",
        ),
        Setting(
            name="rewrite-longer",
            text='rewrite-payload "ab" "ABCD"',
            links=FIRST,
            fates=EITHER,
            altered=("fallback", "tcp"),
            checksum=True,
            because="3.7: a change of length moves the data off their mappings; the checksum tells",
        ),
    ),
    "proactive-ack": (
        Setting(
            name="proactive-ack",
            text="proactive-ack",
            links=FIRST,
            fates=EITHER,
            because="3.7: data are acknowledged without a DATA_ACK: TCP, or without this subflow",
        ),
        Setting(
            name="proactive-ack-both",
            text="proactive-ack",
            fates=(*EITHER, *DIES),
            because="3.7: data are acknowledged without a DATA_ACK on every subflow: TCP, or each of them is reset",
        ),
    ),
    "normalise": (
        Setting(
            name="normalise",
            text="normalise",
            because="6 (checklist L2): no holes and no other bytes the second time change nothing",
        ),
    ),
}
"""First word of a middlebox's text -> its settings."""


def settings() -> Iterator[Setting]:
    """Of every middlebox of the catalog that does something, in its order."""
    for kind in middlebox.CATALOG:
        if kind is not middlebox.Watch:
            yield from SETTINGS[kind.keyword]


def middleboxes() -> Experiment:
    """A small transfer over two paths, each way, between all pairs of stacks, and plain TCP for comparison."""
    rows, cells, variants = [], [], []
    for setting in settings():
        where = " and ".join(setting.links)
        checksums = "; checksums on" if setting.checksum else ""
        because = f"RFC 8684 section {setting.because}" if setting.because[0].isdigit() else setting.because
        rows.append(GridRow(name=setting.name, text=f"{setting.text} (on {where}{checksums})", because=because))
        for variant, cell in _cells(setting):
            variants.append(variant)
            cells.append(cell)
    return Experiment(
        name="middleboxes",
        question="Which middleboxes does MPTCP survive, where does it fall back in order, and does it keep every byte?",
        variants=tuple(variants),
        repetitions=1,
        duration_ns=12 * SECOND,
        capture=True,
        grid=Grid(heading="middlebox", rows=tuple(rows), cells=tuple(cells)),
    )


def _cells(setting: Setting) -> Iterator[tuple[Variant, GridCell]]:
    topology = _network(setting)
    for word, (direction, role) in ROLES.items():
        application = Bulk(direction=direction, size_bytes=SIZE_BYTES)  # type: ignore[arg-type]
        for client in STACKS:
            for server in STACKS:
                variant = mptcp(
                    f"{setting.name}/{client}/{server}/{word}",
                    f"{setting.text}: MPTCP, {client} to {server}, {role}.",
                    topology,
                    application,
                    congestion_control=RENO,
                    stacks=(client, server),
                )
                column = GridColumn(pair=f"{client}/{server}", role=role)
                yield _with_checksum(variant, setting.checksum), _cell(setting, variant, column, setting.fates)
    for stack in STACKS:
        word = "tcp" if stack == "linux" else "userspace-tcp"
        plain = tcp(
            f"{setting.name}/{word}",
            topology,
            "path1",
            Bulk(direction="upload", size_bytes=SIZE_BYTES),
            congestion_control=RENO,
            stack=stack,
        )
        column = GridColumn(pair="plain TCP", role=stack)
        yield plain, _cell(setting, plain, column, setting.tcp)


def _cell(setting: Setting, variant: Variant, column: GridColumn, fates: tuple[Fate, ...]) -> GridCell:
    altered = tuple(fate for fate in setting.altered if fate in fates)
    return GridCell(variant=variant.name, row=setting.name, column=column, fates=fates, altered=altered)


def _network(setting: Setting) -> Topology:
    topology = two_path(
        path1=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=10 * MS),
        path2=LinkProfile(rate_bit_s=10 * MBIT, delay_ns=20 * MS),
    )
    boxes = middlebox.parse(setting.text)
    for name in setting.links:
        topology = topology.with_link(dataclasses.replace(topology.link(name), middleboxes=boxes))
    return topology


def _with_checksum(variant: Variant, checksum: bool | None) -> Variant:
    flows = tuple(
        dataclasses.replace(
            flow,
            client=dataclasses.replace(flow.client, checksum=checksum),
            server=dataclasses.replace(flow.server, checksum=checksum),
        )
        for flow in variant.flows
    )
    return dataclasses.replace(variant, flows=flows)
