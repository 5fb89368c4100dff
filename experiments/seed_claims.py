"""What was said in the thread "RFC6824bis edits based on implementation feedback" (multipathtcp working group, 2
January to 13 February 2020), as statements that can be tested.

Dates are those of the messages as their replies quote them. Questions and proposals stand here as the statement whose
truth would answer them. "The draft" is draft-ietf-mptcp-rfc6824bis, which became RFC 8684.
"""

from __future__ import annotations

from experiments.claim_authors import ANIL, FORD, NISHIDA, PAASCH
from testbed.orchestrator.spec import Claim

SEED_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="S1",
        title="The first data of B confirms the third ACK by its DATA_ACK",
        statement="If B sends first, reliable delivery of ACK + MP_CAPABLE is ensured by data with a DSS that contains "
        "a DATA_ACK of the MP_CAPABLE, which is the first octet of the data sequence space (change 1).",
        who=FORD,
        when="2 January 2020",
        method="A scripted server sends first, with a DSS with and without DATA_ACK; counters and options show whether "
        "the client stays with MPTCP.",
        confirmed_by="a client that stays with MPTCP after a DATA_ACK of its MP_CAPABLE and not without one",
        refuted_by="a client that takes any DSS as the confirmation, or falls back in spite of the DATA_ACK",
    ),
    Claim(
        id="S2",
        title="A mapping applies to the segment that carries it",
        statement="The mapping provided by a DSS MUST apply to some or all of the subflow sequence space of the TCP "
        "segment that carries it (change 2).",
        who=FORD,
        when="2 January 2020",
        method="A scripted sender maps later octets only, on one and on two subflows; the receiver's counters and the "
        "reset's reason show what it does.",
        confirmed_by="receivers that refuse a mapping of other octets than the segment's",
        refuted_by="receivers that keep such a mapping and use it for the later data",
    ),
    Claim(
        id="S3",
        title="Storing mappings is an open-ended burden",
        statement="Without a restriction a sender could define a thousand mappings up front and expect the receiver to "
        "store them all: an implementation burden and perhaps a DoS risk.",
        who=f"{FORD}, for implementers",
        when="2 January 2020",
        method="A scripted sender sends many mappings ahead of their data; how many a receiver keeps, and what memory "
        "they take, is read from its counters.",
        confirmed_by="a receiver whose stored mappings grow with those announced, without bound",
        refuted_by="a receiver that bounds what it stores, or stores none, and still delivers legal streams",
    ),
    Claim(
        id="S4",
        title="Mappings of in-window data have to be stored anyhow",
        statement="When the first of a window of 64 segments is lost, the mappings of the other 63 have to be stored "
        "with their data; insisting on maps for in-window data would restrict map flooding as well.",
        who=ANIL,
        when="13 January 2020",
        method="A scripted sender leaves out segment 1 of 64 and sends it last; and sends a mapping beyond the "
        "receive window.",
        confirmed_by="63 mapped segments kept and delivered once the first arrives, data beyond the window refused",
        refuted_by="mappings of in-window data lost while the first segment is missing",
    ),
    Claim(
        id="S5",
        title="Data first, its mapping a few segments later",
        statement="A sender may need to send some data without mapping and the mapping in a later segment, as in the "
        "schedule of eight segments over two subflows; under change 2 this breaks subflow 1.",
        who=ANIL,
        when="13 January 2020",
        method="The schedule to the byte by a scripted peer, against every receiver: resets, their reasons and what "
        "arrives.",
        confirmed_by="receivers that reset subflow 1 in that schedule, and deliver all 800 octets when mapped legally",
        refuted_by="receivers that deliver all 800 octets of the schedule as given",
    ),
    Claim(
        id="S6",
        title="Those two mappings cannot be merged",
        statement="In that schedule the mapping in segment 3 cannot cover both segment 1 and segment 3, since the data "
        "in between travels on the other subflow.",
        who=ANIL,
        when="13 January 2020",
        method="The schedule with one mapping over segments 1 and 3: what the receiver delivers at which place.",
        confirmed_by="wrong octets, or a conflict with subflow 2, when one mapping covers both",
        refuted_by="a single mapping that covers both and delivers the stream as sent",
    ),
    Claim(
        id="S7",
        title="Timestamps and one SACK block leave too little room for a mapping",
        statement="With timestamps (12 octets) and one SACK block (10) the remaining 18 octets are not adequate for a "
        "DSS with mapping, especially with a 64-bit DSN.",
        who=ANIL,
        when="13 January 2020",
        method="Every combination of timestamps, DSN width, DATA_ACK width and packing, on segments of real transfers "
        "under loss: which options leave together.",
        confirmed_by="no data segment that carries timestamps, a SACK block and a mapping",
        refuted_by="data segments that carry all three",
    ),
    Claim(
        id="S8",
        title="Either SACK or the mapping is delayed",
        statement="So the delivery of either of the two, SACK or mapping, would be delayed.",
        who=ANIL,
        when="13 January 2020",
        method="Information delay of SACK ranges and delay of mappings, by packer, in two-way transfers under loss.",
        confirmed_by="each packer that delays one of the two",
        refuted_by="a packer that delays neither with timestamps on",
    ),
    Claim(
        id="S9",
        title="RFC 2018 wants SACK in every ACK",
        statement="RFC 2018 implies that SACK should not be delayed: it SHOULD be in all ACKs that do not acknowledge "
        "the highest sequence number received; data segments are ACKs, too.",
        who=ANIL,
        when="13 January 2020",
        method="Blocks wanted and blocks sent on data segments and pure ACKs, by stack and packer, under loss.",
        confirmed_by="stacks that leave blocks out of segments where RFC 2018 wants them, at a cost in recovery",
        refuted_by="stacks that send all blocks wanted, or none of whose recovery depends on them",
    ),
    Claim(
        id="S10",
        title="ADD_ADDR may displace the mapping of a data segment",
        statement="A sender may prefer to send ADD_ADDR instead of the mapping in a data segment.",
        who=ANIL,
        when="13 January 2020",
        method="Stacks that announce an address during two-way traffic, with the profile add-addr-first and without: "
        "on which segments ADD_ADDR leaves, and what becomes of data sent without its mapping.",
        confirmed_by="data segments that carry ADD_ADDR and lack their mapping",
        refuted_by="ADD_ADDR on pure ACKs only, with no segment left unmapped",
    ),
    Claim(
        id="S11",
        title="ADD_ADDR is reliable in a pure ACK, DSS is not",
        statement="ADD_ADDR can be delivered reliably in a pure ACK, by its echo; this is not the case with DSS.",
        who=ANIL,
        when="13 January 2020",
        method="Pure ACKs that carry ADD_ADDR, and mappings on pure ACKs, are lost on the way: what is repeated.",
        confirmed_by="a lost ADD_ADDR that is repeated until its echo, a lost mapping on a pure ACK that is not",
        refuted_by="an ADD_ADDR lost for good, or a mapping on a pure ACK that is repeated by the protocol",
    ),
    Claim(
        id="S12",
        title="The specification should say what a receiver does with a bad mapping",
        statement="It would help to spell out what a receiver does with a mapping that does not meet the MUST, for "
        "example a reset with MP_TCPRST, reason and T flag that tell the sender the cause.",
        who=ANIL,
        when="13 January 2020",
        method="Mappings that violate the MUST, against every receiver, on one and on two subflows: outcome, reason "
        "and T flag.",
        confirmed_by="receivers that differ in outcome or reason for the same violation",
        refuted_by="receivers that agree without the specification saying so",
    ),
    Claim(
        id="S13",
        title="No need to terminate: invalid data can be discarded",
        statement="Segments without a proper mapping can be treated as invalid and discarded; there is no reason to "
        "terminate the connection.",
        who=NISHIDA,
        when="1 February 2020",
        method="Unmapped data against receivers that reset, fall back and hold; what survives, and whether the stream "
        "completes.",
        confirmed_by="a receiver that neither resets nor falls back and completes the stream",
        refuted_by="a stream that cannot complete unless the subflow is given up",
    ),
    Claim(
        id="S14",
        title="A retransmission may carry the missing mapping",
        statement="A sender that could not attach a mapping, for instance for lack of option space, can attach the "
        "proper one when it retransmits the segment.",
        who=NISHIDA,
        when="1 February 2020",
        method="A scripted sender repeats unmapped octets with their mapping, while they are in order and while they "
        "wait behind a hole.",
        confirmed_by="receivers that take the mapping of the retransmission and deliver",
        refuted_by="receivers that judged the first copy before the retransmission came",
    ),
    Claim(
        id="S15",
        title="The reset comes anyway",
        statement="A reset is likely whether stated or not: a mapping that does not arrive within a receive window of "
        "data means a broken subflow, closed with a RST.",
        who=ANIL,
        when="2 February 2020",
        method="Unmapped data on one of two subflows until more than a receive window followed it; when the reset "
        "comes, by receiver.",
        confirmed_by="every receiver resets the subflow at the latest after a receive window",
        refuted_by="a receiver that never resets it",
    ),
    Claim(
        id="S16",
        title="The sender does not retransmit by itself",
        statement="No segment is lost on the subflow, so neither three duplicate ACKs nor a retransmission timeout "
        "make the sender repeat the unmapped data.",
        who=ANIL,
        when="2 February 2020",
        method="The receiver acknowledges at the subflow and never at the data level: what the sender repeats, on "
        "which subflow, and when.",
        confirmed_by="a sender that repeats nothing",
        refuted_by="a sender that repeats the data after a connection-level timeout",
    ),
    Claim(
        id="S17",
        title="Whether a reset happens depends on the receive window",
        statement="If the receive window accommodates segments 1 and 3, the text that implementations MAY hold onto "
        "unmapped data for a short while applies, and segment 1 is not discarded.",
        who=NISHIDA,
        when="4 February 2020",
        method="The time and the octets for which receivers hold unmapped data, with small and large windows.",
        confirmed_by="receivers that keep the subflow while the window has room and reset it when it has not",
        refuted_by="receivers whose decision does not depend on the window",
    ),
    Claim(
        id="S18",
        title="MAY hold contradicts the new MUST",
        statement="Holding unmapped data might contradict the new text: the sender can no longer put the mapping of "
        "segment 1 into segment 3 or any later one.",
        who=f"{NISHIDA}; {ANIL}",
        when="4 and 5 February 2020",
        method="Held data whose mapping comes in a later segment of other octets, and in a retransmission of its own.",
        confirmed_by="held data that no legal segment can map any more",
        refuted_by="held data that a retransmission maps within change 2",
    ),
    Claim(
        id="S19",
        title="A mapping on a pure ACK is not forbidden",
        statement="A mapping carried on a pure ACK with no data would not be forbidden by change 2.",
        who=FORD,
        when="6 February 2020",
        method="A scripted sender maps data on a pure ACK just before it; what receivers make of it.",
        confirmed_by="receivers that use a mapping from a pure ACK",
        refuted_by="receivers that ignore it, so that the data counts as unmapped",
    ),
    Claim(
        id="S20",
        title="One segment with two mappings needs a pure ACK",
        statement="If 1000 octets hold 500 of one mapping and 500 of another, only one fits the segment; the other can "
        "only ride a pure ACK.",
        who=FORD,
        when="6 February 2020",
        method="A segment of 1000 octets with a mapping of its first 500, the second mapping on a pure ACK after it.",
        confirmed_by="receivers that deliver both halves where they belong",
        refuted_by="receivers that treat the partly mapped segment as corruption, or lose the second half",
    ),
    Claim(
        id="S21",
        title="Implementations would split into two segments",
        statement="That would be extremely rare, and any implementation would split it into two segments of 500 "
        "octets, each with the PSH flag.",
        who=FORD,
        when="6 February 2020",
        method="Two segments of 500 octets with PSH and mappings that do not adjoin; and how often stacks build a "
        "segment over two mappings.",
        confirmed_by="split segments delivered by all receivers, no stack that builds one over two mappings",
        refuted_by="a stack that sends one segment over two mappings",
    ),
    Claim(
        id="S22",
        title="Two mappings in one segment may never arise",
        statement="It is doubtful that a need to cover the octets of a single segment with two mappings ever arises.",
        who=ANIL,
        when="6 February 2020",
        method="Middleboxes that coalesce mapped segments and keep the options of one.",
        confirmed_by="no segment over two mappings at any receiver, coalescing or not",
        refuted_by="segments over two mappings behind a box that coalesces",
    ),
    Claim(
        id="S23",
        title="Splitting the packet creates option space",
        statement="A stack without room for the mapping could split the packet to create more option space.",
        who=f"{NISHIDA}, as a question",
        when="11 February 2020",
        method="The profile split-segment, which sends a segment with the mapping of both and one with SACK, against "
        "the others under loss.",
        confirmed_by="mapping and SACK both sent, with no reset, at a bearable cost in headers",
        refuted_by="receivers that refuse it, or a cost above what the SACK blocks bring",
    ),
    Claim(
        id="S24",
        title="iOS, multipath-tcp.org and Linux favour DSS over all but timestamps",
        statement="iOS, multipath-tcp.org and Linux 5.6 all favour the DSS option over any other option, except TCP "
        "timestamps.",
        who=PAASCH,
        when="11 February 2020",
        method="The order in which the kernel and the profiles of those stacks fill a segment, seen on the wire where "
        "options contend.",
        confirmed_by="a mapping on every data segment, whatever else is wanted",
        refuted_by="a data segment that lost its mapping to something else than timestamps",
    ),
    Claim(
        id="S25",
        title="Timestamps and DSS fit comfortably",
        statement="TCP timestamps and DSS comfortably fit in the option space.",
        who=PAASCH,
        when="11 February 2020",
        method="Octets left beside timestamps and DSS, for each width and with checksum; and what wants them.",
        confirmed_by="room left for what else is wanted",
        refuted_by="no octet left, so that other options wait or are left out",
    ),
    Claim(
        id="S26",
        title="SACK is opportunistic anyway",
        statement="SACK blocks only go into the remaining space; SACK is opportunistic anyway, as more than three "
        "blocks do not fit either.",
        who=PAASCH,
        when="11 February 2020",
        method="What displaced SACK blocks cost: information delay, spurious retransmissions, timeouts, goodput, "
        "against packers that keep them.",
        confirmed_by="no loss of goodput from displaced blocks",
        refuted_by="a measurable loss of goodput, or timeouts, from displaced blocks",
    ),
    Claim(
        id="S27",
        title="Not fatal, and several ways: leave it unspecified",
        statement="There are several ways to deal with the contention; none is ideal, none is fatal; the draft does "
        "not have to specify the behaviour.",
        who=NISHIDA,
        when="13 February 2020",
        method="All policies against all receivers, one-way and two-way, with and without timestamps, under loss and "
        "reordering.",
        confirmed_by="every policy completes against every receiver, at costs that differ",
        refuted_by="a policy that a receiver answers with resets or fallbacks",
    ),
    Claim(
        id="S28",
        title="Not every packet needs a mapping",
        statement="A mapping does not need to be in every packet, as long as the subflow sequence space in it is "
        "covered by a mapping known at the receiver; chunks larger than a packet need one mapping.",
        who=f"{FORD}, the draft's text",
        when="2 January 2020",
        method="The profile thin-maps against every receiver: what it saves, what room it makes for SACK.",
        confirmed_by="receivers that accept thinned mappings without fallback or reset",
        refuted_by="a receiver that falls back or resets",
    ),
    Claim(
        id="S29",
        title="A segment that stays unmapped breaks its subflow",
        statement="The proposed change leaves segment 1 unmapped for good, and what then happens to subflow 1 (the "
        "question) is that it breaks.",
        who=ANIL,
        when="13 January and 6 February 2020",
        method="One segment without mapping on one of two subflows, all others mapped: resets, their reason, and the "
        "stream.",
        confirmed_by="subflow 1 is reset, the other one lives",
        refuted_by="subflow 1 lives on",
    ),
)
