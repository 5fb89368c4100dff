"""V3: goodput by receive buffer over WiFi and 3G (NSDI 2012), with and without the two mechanisms of that paper.

Mechanism 1, opportunistic retransmission: when the receive window is full, the oldest data is sent again on a subflow
that has room. Mechanism 2, penalisation: the window of the subflow that held it up is halved. Only our stack can
switch them; Linux has neither (net/mptcp/protocol.c resends after a timeout).

The paper's sender had autotuning off and a send buffer that is no limit; ours has 4 MiB. The network is
``topologies/wifi_cellular.py``: WiFi 8 Mbit/s, 20 ms, 80 ms of queue; 3G 2 Mbit/s, 150 ms, 2 s of queue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, PLAIN, RENO, SECOND, Stack
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant
from topologies.wifi_cellular import NSDI12_CELLULAR, NSDI12_WIFI, wifi_cellular

KIB = 1024
BUFFERS_KIB = (50, 100, 200, 400, 800, 1600)
"""The paper's axis begins at 50 KB; 600 KB fill both links in the reproduction of CS244 2012."""
LARGEST = BUFFERS_KIB[-1]
REAL_BUFFERS_KIB = (100, 1600)
"""In real time."""
TOO_SMALL_KIB = (100, 200, 400)
"""Below the bandwidth-delay product of both links with 3G's queue, and enough for WiFi."""
REAL_DURATION_NS = 12 * SECOND
BOTH_RATES_BIT_S = 10 * MBIT
PAYLOAD_SHARE = 1428 / 1514
"""Of a full frame with timestamps, and the 20 octets of a mapping with its DATA_ACK beyond them."""

MECHANISMS: Mapping[str, tuple[str, ...]] = {
    "neither": ("opportunistic_retransmission=false", "penalisation=false"),
    "m1": ("opportunistic_retransmission=true", "penalisation=false"),
    "m1-m2": ("opportunistic_retransmission=true", "penalisation=true"),
}


def v3_receive_buffer() -> Experiment:
    """MPTCP with neither mechanism, with the first, with both; TCP over WiFi and over 3G, at each receive buffer."""
    return Experiment(
        name="v3-receive-buffer",
        question="What do small receive buffers cost over WiFi and 3G, and what do the mechanisms of NSDI 2012 save?",
        variants=tuple(_variants()),
        repetitions=1,
        duration_ns=20 * SECOND,
        claims=(CLAIMS["V3"],),
        expectations=tuple(_expectations()),
    )


def _variants() -> Iterator[Variant]:
    for kib in BUFFERS_KIB:
        for word, policies in MECHANISMS.items():
            yield _variant(f"{word}-{kib}k", "userspace", kib, policies=policies)
        for path in ("wifi", "cellular"):
            yield _variant(f"tcp-{path}-{kib}k", "userspace", kib, path=path)
    for kib in REAL_BUFFERS_KIB:
        yield _variant(f"linux-{kib}k", "linux", kib)
        yield _variant(f"linux-tcp-wifi-{kib}k", "linux", kib, path="wifi")


def _variant(name: str, stack: Stack, kib: int, *, path: str | None = None, policies: tuple[str, ...] = ()) -> Variant:
    """Plain TCP over ``path``, or MPTCP over both."""
    sender = Endpoint(implementation=PLAIN[stack] if path else stack, congestion_control=RENO, policies=policies)
    receiver = dataclasses.replace(sender, receive_buffer_bytes=kib * KIB)
    mechanism = name.rpartition("-")[0]
    return Variant(
        name=name,
        summary=f"{mechanism.replace('-', ' ')}, receive buffer {kib} KiB.",
        topology=wifi_cellular(NSDI12_WIFI, NSDI12_WIFI, NSDI12_CELLULAR, NSDI12_CELLULAR, outage_duration_ns=0),
        flows=(
            Flow(
                application=Bulk(direction="upload"),
                client=sender,
                server=receiver,
                path=path,
                duration_ns=REAL_DURATION_NS if stack == "linux" else None,
            ),
        ),
        path_manager=PathManager(mode="none" if path else "subflow"),
        only_on="sim" if stack == "userspace" else None,
        factors=(("what", mechanism), ("receive buffer", f"{kib} KiB")),
    )


def _expectations() -> Iterator[Expectation]:
    """The shape of the paper's figure; numbers are the run's."""
    for kib in BUFFERS_KIB:
        yield _compared(
            f"m1-m2-{kib}k",
            f"tcp-wifi-{kib}k",
            at_least=0.95,
            because="with both mechanisms about TCP over WiFi at least; mappings cost 1.4 %, copies some more",
            says=f"at {kib} KiB both mechanisms bring {{absolute}}, {{value:%}} of TCP over WiFi",
        )
    for kib in TOO_SMALL_KIB:
        yield _compared(
            f"neither-{kib}k",
            f"tcp-wifi-{kib}k",
            at_most=0.9,
            because="below the sum of the rates times the longer round trip what waits behind 3G closes the window",
            says=f"at {kib} KiB MPTCP without the mechanisms brings {{absolute}}, {{value:%}} of TCP over WiFi",
        )
        yield _compared(
            f"m1-m2-{kib}k",
            f"neither-{kib}k",
            at_least=1.1,
            because="the head is sent again over WiFi, and 3G is given less",
            says=f"at {kib} KiB the mechanisms bring {{value}} the goodput that MPTCP has without",
        )
        yield Expectation(
            variant=f"m1-m2-{kib}k",
            metric="counter:MPTcpExtMPTCPRetrans@client",
            at_least=5,
            because="mechanism 1 is what is at work; the second one keeps the need for it low",
        )
    yield Expectation(
        variant=f"m1-m2-{LARGEST}k",
        metric="goodput_bit_s",
        at_least=0.9 * PAYLOAD_SHARE * BOTH_RATES_BIT_S,
        because="a large buffer fills both links; CS244 found 600 KB enough, mptcp-scripts asks for 7.5 Mbit/s",
        claim="V3",
        says=f"at {LARGEST} KiB MPTCP brings {{value}} of the 10 Mbit/s of both links",
    )
    small, large = REAL_BUFFERS_KIB
    yield _compared(
        f"linux-{small}k",
        f"linux-tcp-wifi-{small}k",
        at_most=0.9,
        because="Linux has neither mechanism: what waits behind 3G closes the window",
        says=f"at {small} KiB Linux brings {{absolute}}, {{value:%}} of what its TCP has over WiFi",
    )
    yield _compared(
        f"linux-{large}k",
        f"linux-{small}k",
        at_least=1.3,
        because="a large buffer has room for what waits behind 3G",
        says=f"at {large} KiB Linux brings {{absolute}}, {{value}} what it has at {small} KiB",
    )


def _compared(
    variant: str, other: str, *, at_least: float | None = None, at_most: float | None = None, because: str, says: str
) -> Expectation:
    return Expectation(
        variant=variant,
        metric="goodput_bit_s",
        relative_to=(other,),
        at_least=at_least,
        at_most=at_most,
        because=because,
        claim="V3",
        says=says,
    )
