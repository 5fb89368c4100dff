"""Published results that are reproduced here, with their parameters and tolerances.

Numbers of the multipath-tcp.org kernel (MPTCP version 0) are shapes, not targets, for version 1 stacks: Linux has no
coupled congestion control and another scheduler.
"""

from __future__ import annotations

from testbed.orchestrator.spec import Claim

PUBLISHED_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="V1",
        title="simult_flows.sh finishes in its time",
        statement="16 MiB over two paths of 10/10 and 10/3 Mbit/s finish in 1000 * size * 8 * 10 / ((r1 + r2) * 10^6 * "
        "9) + 450 ms, in both directions.",
        who="Linux selftests, tools/testing/selftests/net/mptcp/simult_flows.sh",
        when="2020 to 2026",
        method="The script's rates, delays and sizes, against its own bound.",
        confirmed_by="every transfer within the bound (7906 ms and 11921 ms)",
        refuted_by="a transfer beyond it",
    ),
    Claim(
        id="V2",
        title="mptcp_connect.sh delivers every byte",
        statement="Transfers between MPTCP and TCP ends over IPv4 and IPv6, with loss of up to 1 %, delay and "
        "reordering, deliver the same bytes, and negotiate MPTCP where both ends speak it.",
        who="Linux selftests, tools/testing/selftests/net/mptcp/mptcp_connect.sh",
        when="2020 to 2026",
        method="The grid of protocols and families on lossy, reordering paths.",
        confirmed_by="every stream right, MPTCP at both ends where offered, TCP elsewhere",
        refuted_by="a wrong byte, or a fallback where both ends offer MPTCP",
    ),
    Claim(
        id="V3",
        title="Small receive buffers need opportunistic retransmission and penalisation",
        statement="Over WiFi (8 Mbit/s, 20 ms) and 3G (2 Mbit/s, 150 ms) small receive buffers make MPTCP slower than "
        "TCP over WiFi, unless it retransmits opportunistically and penalises the slow subflow; large ones fill both.",
        who="Raiciu et al., NSDI 2012",
        when="April 2012",
        method="Goodput by receive buffer with the two mechanisms on and off, which only our stack can switch.",
        confirmed_by="below TCP over WiFi with small buffers and no mechanism, at least as fast with both, and more "
        "than either path with large ones",
        refuted_by="no difference between on and off at small buffers",
    ),
    Claim(
        id="V4",
        title="Coupled congestion control is fair to TCP on a shared bottleneck",
        statement="With LIA, OLIA or BALIA several subflows take about the share of one TCP on a shared bottleneck; "
        "uncoupled subflows take more.",
        who="RFC 6356; Barre et al., IFIP Networking 2011",
        when="2011",
        method="Two subflows and one TCP on one bottleneck: the ratio of their goodput, by congestion control.",
        confirmed_by="a ratio near 1 when coupled, and a larger one when not",
        refuted_by="coupled subflows that take as much as uncoupled ones",
    ),
    Claim(
        id="V5",
        title="Coupled subflows move away from congestion",
        statement="Over two bottlenecks of 20 Mbit/s, with a TCP on the first from 10 to 30 s and one on the second "
        "from 20 to 40 s, multipath goodput goes 40, 30, 20, 30, 40 Mbit/s.",
        who="MPTCP tutorial, SIGCOMM 2020",
        when="August 2020",
        method="The same paths and times; goodput in each phase.",
        confirmed_by="phases in that order",
        refuted_by="phases in another order",
    ),
    Claim(
        id="V6",
        title="Lowest RTT answers requests sooner than round robin",
        statement="Requests of 10 KB every 250 ms over paths of 40 and 80 ms RTT take 40 to 50 ms with the lowest-RTT "
        "scheduler and about 90 ms with round robin.",
        who="MPTCP tutorial, SIGCOMM 2020",
        when="August 2020",
        method="The same paths and requests with both schedulers of our stack.",
        confirmed_by="a shorter response with lowest RTT, near its path's round trip",
        refuted_by="no shorter response",
    ),
    Claim(
        id="V7",
        title="A blackholed path costs one latency spike",
        statement="When the path of 40 ms is blackholed at 3 s, requests see one spike and then a steady time on the "
        "other path, backup or not.",
        who="MPTCP tutorial, SIGCOMM 2020",
        when="August 2020",
        method="The same paths; the largest response time and that of the time after it.",
        confirmed_by="a spike, then response times of the other path, and no reset of the connection",
        refuted_by="response times that stay high, or a connection that breaks",
    ),
    Claim(
        id="V8",
        title="Aggregation benefits are frequent with small and rare with large bandwidth-delay products",
        statement="Over paths drawn from the experimental design of CoNEXT 2013 the aggregation benefit is positive in "
        "45 % of the low-BDP and 20 % of the high-BDP points (20 MB, no loss).",
        who="Paasch et al., CoNEXT 2013; De Coninck and Bonaventure, CoNEXT 2017",
        when="December 2013; December 2017",
        method="A subset of the points of each class: MPTCP on both paths against TCP on each.",
        confirmed_by="a larger share of positive benefits in low-BDP than in high-BDP points",
        refuted_by="no such order",
    ),
)
