"""What the thread did not ask and this project does (N), and what was observed of Linux before (L).

Both are predictions made from the RFC, the kernel's source and earlier captures, before the experiments of this
repository were run.
"""

from __future__ import annotations

from experiments.claim_authors import PROJECT
from testbed.orchestrator.spec import Claim

NOVEL_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="N1",
        title="Holding unmapped data saves subflows",
        statement="A receiver that holds unmapped data for about a round trip keeps the subflows that one with no hold "
        "time resets, at a bounded cost in memory.",
        who=PROJECT,
        when="2026",
        method="Hold times from none to a receive window, shares of late mappings, and reordering; Linux as the "
        "receiver that never holds.",
        confirmed_by="survival and goodput that rise with the hold time, and held octets that stay bounded",
        refuted_by="subflows lost in spite of the hold time, or no gain over resetting",
    ),
    Claim(
        id="N2",
        title="Thin mappings make room for SACK",
        statement="A sender that omits redundant mappings makes room for SACK blocks with timestamps on, and recovers "
        "from loss no slower, against a Linux receiver, too.",
        who=PROJECT,
        when="2026",
        method="One mapping per chunk against one per segment: blocks sent, retransmissions, goodput and option octets "
        "per payload octet.",
        confirmed_by="more SACK blocks and a smaller header tax at no loss of goodput, without fallbacks",
        refuted_by="fallbacks or resets, or stalls where the only copy of a mapping is lost",
    ),
    Claim(
        id="N3",
        title="Linux does not take mappings that reinforce each other",
        statement="Mappings that agree and are not identical (a part of one already declared) are legal by RFC 8684 "
        "section 6; Linux falls back, a conforming stack accepts.",
        who=PROJECT,
        when="2026",
        method="A scripted sender repeats a part of a mapping in several overlaps, against both stacks.",
        confirmed_by="fallback or reset by Linux, delivery by our stack",
        refuted_by="Linux delivers over MPTCP",
    ),
    Claim(
        id="N4",
        title="Coalescing breaks mappings on Linux",
        statement="A box that joins two mapped segments and keeps the options of one makes Linux see corruption.",
        who=PROJECT,
        when="2026",
        method="A coalescing middlebox, and a scripted segment mapped in part, against both stacks.",
        confirmed_by="DSSCorruption counters on Linux; what our stack does with the unmapped half",
        refuted_by="MPTCP survives on Linux",
    ),
    Claim(
        id="N5",
        title="Denied SACK blocks cost little in one direction and more in two",
        statement="Data segments that cannot carry SACK blocks matter only in two-way traffic; there they delay "
        "what the sender knows, and cost spurious retransmissions or timeouts.",
        who=PROJECT,
        when="2026",
        method="Timestamps, widths of DSN and DATA_ACK, packing, loss and reordering, one-way and two-way: blocks "
        "denied, spurious retransmissions, timeouts, goodput.",
        confirmed_by="a cost that appears in two-way traffic and grows with the share of blocks displaced",
        refuted_by="goodput and timeouts that do not depend on it",
    ),
    Claim(
        id="N6",
        title="A half-closed download has no SACK",
        statement="While its DATA_FIN is not acknowledged, a host's pure ACKs are full with timestamps on, and carry "
        "no SACK block during a lossy download.",
        who=PROJECT,
        when="2026",
        method="The client closes its direction and downloads under loss: blocks on its ACKs, and for how long.",
        confirmed_by="ACKs with DATA_FIN and without SACK although blocks are wanted",
        refuted_by="ACKs that carry both",
    ),
    Claim(
        id="N7",
        title="The first data without DATA_ACK decides by stack",
        statement="Stacks differ on first data from B whose DSS lacks a DATA_ACK: some stay with MPTCP, some fall "
        "back.",
        who=PROJECT,
        when="2026",
        method="B sends first without DATA_ACK, against all stacks as A.",
        confirmed_by="MPTCP with one, fallback with another",
        refuted_by="all stacks alike",
    ),
    Claim(
        id="N8",
        title="Options stripped from ACKs only: Linux reinjects instead of falling back",
        statement="A path that strips MPTCP options from ACKs only makes Linux repeat data it already delivered, for "
        "seconds, where the RFC wants a fallback.",
        who=PROJECT,
        when="2026",
        method="A middlebox strips kind 30 from segments without payload in one direction; repeated octets and the "
        "time to fallback, by stack.",
        confirmed_by="reinjected octets on Linux and none after our fallback",
        refuted_by="Linux falls back within a round trip",
    ),
    Claim(
        id="N9",
        title="Only the connection's timer recovers from a mapping beyond the window",
        statement="Data mapped beyond the receive window is acknowledged by the subflow and dropped; only the "
        "connection-level timer brings it back.",
        who=PROJECT,
        when="2026",
        method="A scripted sender maps beyond the window; subflow acknowledgment, DATA_ACK, and the stall.",
        confirmed_by="subflow ACK without DATA_ACK, and no recovery before that timer",
        refuted_by="no subflow acknowledgment, or an earlier recovery",
    ),
    Claim(
        id="N10",
        title="A rewriting box, checksums and one subflow: corrupt octets arrive",
        statement="With checksums on, Linux delivers octets that failed their checksum when it has only one subflow; "
        "with two it resets the subflow and delivers none.",
        who=PROJECT,
        when="2026",
        method="A middlebox rewrites payload; corrupt octets at the application, MP_FAIL and resets, by number of "
        "subflows and stack.",
        confirmed_by="wrong octets delivered on one subflow and none on two",
        refuted_by="no wrong octet in either case, or in both",
    ),
    Claim(
        id="N11",
        title="After a fallback Linux can corrupt the stream",
        statement="After a fallback, a segment that repeats old octets and adds new ones makes Linux drop the new "
        "ones: silent corruption that plain TCP on the same path does not show.",
        who=PROJECT,
        when="2026",
        method="Transfers through boxes that force a fallback and segments that overlap, of both stacks, beside plain "
        "TCP.",
        confirmed_by="wrong or missing octets on Linux after the fallback, none with TCP or our stack",
        refuted_by="all octets right on Linux",
    ),
    Claim(
        id="N12",
        title="ADD_ADDR for IPv6 with port fits when packed densely",
        statement="ADD_ADDR of an IPv6 address with port and timestamps together exceed 40 octets as Linux pads "
        "them: it drops the announcement and the subflow never exists; packed densely (10 + 30) it fits.",
        who=PROJECT,
        when="2026",
        method="A server announces an IPv6 address with port, timestamps on and off, by stack: counters, options on "
        "the wire, subflows.",
        confirmed_by="AddAddrTxDrop and no subflow on Linux with timestamps; a subflow of a dense stack",
        refuted_by="the announcement leaves Linux with timestamps on",
    ),
    Claim(
        id="N13",
        title="A mapping on a retransmission helps only behind a hole",
        statement="Linux takes a mapping from a retransmission only while the unmapped octets wait out of order; "
        "octets in order are judged at once.",
        who=PROJECT,
        when="2026",
        method="The same retransmission with mapping, after a first copy in order and after one behind a hole.",
        confirmed_by="delivery over MPTCP behind the hole, reset or fallback in order",
        refuted_by="the same outcome in both",
    ),
    Claim(
        id="N14",
        title="Reliable mappings on pure ACKs beat thin mappings",
        statement="Mappings on pure ACKs, made reliable by an echo as ADD_ADDR has (a private subtype), leave more "
        "room for SACK than thin mappings and cost less goodput under loss.",
        who=f"{PROJECT}, after a remark of V Anil Kumar",
        when="2026",
        method="Both policies between two ends of this project under loss: blocks sent, goodput, extra segments.",
        confirmed_by="more SACK and at least the goodput of thin mappings",
        refuted_by="no more SACK, or less goodput",
    ),
)

LINUX_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="L1",
        title="Linux gives DSS priority over SACK",
        statement="Linux fills established segments in the order timestamps, MPTCP, SACK: with timestamps and a full "
        "DSS no data segment carries a SACK block, pure ACKs at most one.",
        who=f"{PROJECT}, from net/ipv4/tcp_output.c",
        when="2026",
        method="Lossy two-way transfers between kernels, timestamps on and off; watches count the options on the wire.",
        confirmed_by="no SACK block beside a full DSS and timestamps, some once timestamps are off",
        refuted_by="SACK blocks on such segments",
    ),
    Claim(
        id="L2",
        title="Linux counts a dropped ADD_ADDR and no dropped SACK block",
        statement="A dropped ADD_ADDR moves AddAddrTxDrop; a SACK block left out moves no counter.",
        who=f"{PROJECT}, from net/mptcp/options.c",
        when="2026",
        method="All counters of the kernel that move while blocks and announcements are left out.",
        confirmed_by="AddAddrTxDrop for announcements, nothing that counts the missing blocks",
        refuted_by="a counter that moves with the blocks left out",
    ),
    Claim(
        id="L3",
        title="ADD_ADDR for IPv6 with port needs timestamps off on Linux",
        statement="With timestamps Linux cannot send ADD_ADDR for IPv6 with port (44 octets) and gives it up; without "
        "them the subflow exists.",
        who="mptcp_net-next issue 448; this project",
        when="2023; 2026",
        method="A server announces an IPv6 address with port, timestamps on and off.",
        confirmed_by="AddAddrTxDrop and one subflow with timestamps, two subflows without",
        refuted_by="the same number of subflows in both",
    ),
    Claim(
        id="L4",
        title="Linux's pure ACKs with DATA_FIN carry no SACK",
        statement="A pure ACK with DATA_FIN carries DSS of 28 octets: with timestamps no SACK block fits until the "
        "DATA_FIN is acknowledged.",
        who=f"{PROJECT}, from captures",
        when="2026",
        method="A half-closed kernel client downloads under loss; watches count its ACKs with DATA_FIN and SACK.",
        confirmed_by="ACKs with DATA_FIN and none of them with SACK",
        refuted_by="ACKs that carry both",
    ),
    Claim(
        id="L5",
        title="Linux resets with reason 1 for a bad mapping and 6 for a missing one",
        statement="On one of several subflows Linux answers a mapping of other octets with MP_TCPRST reason 1, missing "
        "mappings and bad checksums with reason 6, and never sets T.",
        who=f"{PROJECT}, from captures",
        when="2026",
        method="A scripted peer, or a box that removes options, on one of two subflows; watches count reasons on the "
        "wire.",
        confirmed_by="those reasons, T = 0",
        refuted_by="other reasons, or none",
    ),
    Claim(
        id="L6",
        title="Linux falls back silently on a single subflow",
        statement="With one subflow Linux answers a missing or bad mapping by an immediate fallback: it delivers the "
        "octets as plain TCP, without a reset and without an infinite mapping.",
        who=f"{PROJECT}, from captures",
        when="2026",
        method="A scripted peer, or a box that removes options, on the only subflow; fallback counters, resets and "
        "what arrives.",
        confirmed_by="a fallback counter moves, no reset, no infinite mapping, each octet arrives once",
        refuted_by="a reset, an infinite mapping, octets held back, or octets delivered twice",
    ),
)
