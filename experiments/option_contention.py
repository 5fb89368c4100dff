"""The policy matrix: every way to share 40 octets against every receiver, under everything that makes them scarce.

A *policy* is a named profile at both ends (docs/option-space.md); a *receiver* is the rules both keep, or this kernel,
which then is the server. A *situation* is all the rest. Policies are compared situation by situation, with the same
seeds, so that a difference is a pair (analysis/matrix.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, RENO, SECOND
from testbed.orchestrator.spec import Bulk, Endpoint, Expectation, Experiment, Flow, PathManager, Variant
from topologies.link_profile import LinkProfile, NoLoss, RandomLoss, Reordering
from topologies.model import Family, Topology
from topologies.two_path import two_path

POLICIES = (
    "linux",
    "mptcp.org",
    "ios",
    "rfc8684",
    "rfc2018",
    "thin-maps",
    "dense",
    "width-32",
    "dense-32",
    "late-map",
    "split-segment",
    "map-on-pure-ack",
    "add-addr-first",
    "drop-timestamps",
)
"""The profiles of ``testbed list policies``, in its order, but for ``map-echoed``, which needs a peer that echoes."""
RECEIVERS = ("linux", "rfc8684", "holding")
CONDITIONS = ("loss 0", "loss 0.5 %", "loss 1 %", "loss 2 %", "loss 5 %", "reordering")
REORDERING = Reordering(0.02)
"""Share of packets that skip the delay: at 10 Mbit/s each overtakes some eight others."""

DURATION_NS = 4 * SECOND
REAL_TIME_NS = 2 * SECOND
"""With the kernel, where each trial takes as long as it says, and 75 of them five minutes."""
BUFFER_BYTES = 512 * 1024
"""What both paths carry in 200 ms, the shortest RTO: enough to go on while a subflow waits for one. The usual 4 MiB of
our own stack would take ten seconds to drain at 5 % loss, after the four of the traffic. Of both directions: our send
buffer is at least the receive buffer (RFC 8684 section 3.3.5)."""

Matrix = Literal["quick", "full", "kernel", "kernel-full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything but the policy and its receiver."""

    both_ways: bool = True
    timestamps: bool = True
    condition: str = "loss 1 %"
    family: Family = 4
    checksum: bool = False

    @property
    def word(self) -> str:
        """Short, for a variant's name: ``2w-ts-loss0.5-v4``."""
        words = ["2w" if self.both_ways else "1w", "ts" if self.timestamps else "nots"]
        words += [self.condition.replace(" %", "").replace(" ", "").replace("reordering", "reorder"), f"v{self.family}"]
        return "-".join([*words, "csum"] if self.checksum else words)

    @property
    def factors(self) -> tuple[tuple[str, str], ...]:
        """As a report compares them."""
        return (
            ("data", "both ways" if self.both_ways else "one way"),
            ("timestamps", "on" if self.timestamps else "off"),
            ("condition", self.condition),
            ("family", f"IPv{self.family}"),
            ("checksum", "on" if self.checksum else "off"),
        )

    def topology(self) -> Topology:
        """Two equal paths, so narrow that thousands of trials can be had: 10 Mbit/s and 10 ms one way each."""
        percent = self.condition.removeprefix("loss ").removesuffix(" %")
        probability = 0.0 if self.condition == "reordering" else float(percent) / 100
        path = LinkProfile(
            rate_bit_s=10 * MBIT,
            delay_ns=10 * MS,
            loss=RandomLoss(probability) if probability else NoLoss(),
            reordering=REORDERING if self.condition == "reordering" else None,
        )
        return two_path(path1=path, path2=path, families=(self.family,))


def every_situation() -> tuple[Situation, ...]:
    """The full product: 96."""
    return tuple(
        Situation(both_ways=both, timestamps=stamps, condition=condition, family=family, checksum=checksum)
        for both in (True, False)
        for stamps in (True, False)
        for condition in CONDITIONS
        for family in _FAMILIES
        for checksum in (False, True)
    )


def designed_situations() -> tuple[Situation, ...]:
    """Every condition with the rest as usual, and each other factor changed alone, at 1 % loss: 10."""
    usual = Situation()
    return (
        *(replace(usual, condition=condition) for condition in CONDITIONS),
        replace(usual, both_ways=False),
        replace(usual, timestamps=False),
        replace(usual, family=6),
        replace(usual, checksum=True),
    )


def kernel_situations() -> tuple[Situation, ...]:
    """For real time: the usual one, and three that change what there is room for or what comes. What hardly matters to
    either (the address family, the checksum where there is room for it) is changed along with these. Reordering is left
    to ``kernel-full``, which has several seeds: when a segment of the first flight overtakes the third ACK, the kernel
    falls back before any policy has had a say (MPCapableFallbackACK)."""
    usual = Situation()
    return (
        usual,
        replace(usual, both_ways=False, family=6),
        replace(usual, timestamps=False, checksum=True),
        replace(usual, condition="loss 5 %"),
    )


BREAKS = {
    ("rfc2018", "linux"): "SACK blocks displace the mapping of in-order data, and Linux waits for none (E1, E1b)",
    ("late-map", "linux"): "a mapping for earlier data is a violation to Linux (E2), data without one too (E1b)",
    ("late-map", "rfc8684"): "RFC 8684 section 3.3.1: a mapping MUST apply to its own segment (S2)",
    ("map-on-pure-ack", "linux"): "Linux ignores a mapping on a pure ACK (E11)",
    ("rfc2018", "kernel"): "the same with the kernel itself: data without a mapping is judged at once (E1, E1b)",
    ("late-map", "kernel"): "the same with the kernel itself (E1b, E2)",
    ("map-on-pure-ack", "kernel"): "the same with the kernel itself (E11)",
}
"""Pairs of policy and receiver that cannot work -> why."""

_FAMILIES: tuple[Family, ...] = (4, 6)
_KERNEL_ALONE = "linux kernel"
"""The policy of a kernel at both ends, which our profile ``linux`` is to resemble."""


def option_contention(matrix: Matrix = "quick") -> Experiment:
    """``quick``: the designed situations against every receiver; ``full``: every situation; ``kernel``: this kernel as
    the server, a subset in real time; ``kernel-full``: all designed situations there."""
    variants = tuple(_variants(matrix))
    on_kernel = matrix.startswith("kernel")
    duration_ns = REAL_TIME_NS if on_kernel else DURATION_NS
    return Experiment(
        name="option_contention",
        question="Which policy for the 40 octets of TCP options costs what?",
        variants=variants,
        repetitions={"quick": 2, "full": 1, "kernel": 1, "kernel-full": 3}[matrix],
        duration_ns=duration_ns,
        sample_interval_ns=duration_ns,
        ledger=True,
        ledger_form="sums",
        any_outcome=True,
        claims=(CLAIMS["S27"],),
        expectations=tuple(_expectations(("kernel",) if on_kernel else RECEIVERS)),
    )


def _variants(matrix: Matrix) -> Iterator[Variant]:
    if matrix in ("quick", "full"):
        for situation in every_situation() if matrix == "full" else designed_situations():
            for receiver in RECEIVERS:
                for policy in POLICIES:
                    yield _variant(policy, receiver, situation)
        return
    for situation in kernel_situations() if matrix == "kernel" else designed_situations():
        for policy in (*POLICIES, _KERNEL_ALONE):
            # what breaks takes five times as long, until the drain is over: once is enough
            if matrix == "kernel-full" or situation == Situation() or (policy, "kernel") not in BREAKS:
                yield _variant(policy, "kernel", situation)


def _variant(policy: str, receiver: str, situation: Situation) -> Variant:
    own = (
        Endpoint(
            implementation="userspace",
            profile=policy if policy in POLICIES else None,
            receiver=receiver if receiver in RECEIVERS else None,
            congestion_control=RENO,
            checksum=situation.checksum,
            timestamps=situation.timestamps,
            send_buffer_bytes=BUFFER_BYTES,
            receive_buffer_bytes=BUFFER_BYTES,
        )
        if policy != _KERNEL_ALONE
        else None
    )
    kernel = Endpoint(
        implementation="linux",
        congestion_control=RENO,
        checksum=situation.checksum,
        timestamps=situation.timestamps,
        send_buffer_bytes=BUFFER_BYTES,
        receive_buffer_bytes=BUFFER_BYTES,
    )
    is_kernel = receiver == "kernel"
    flow = Flow(
        application=Bulk(direction="both" if situation.both_ways else "upload"),
        client=own or kernel,
        server=kernel if is_kernel or own is None else own,
    )
    words = ", ".join(f"{factor} {level}" for factor, level in situation.factors)
    return Variant(
        name=f"{policy.replace(' ', '-')}/{receiver}-{situation.word}",
        summary=f"Policy {policy}, receiver {receiver}; {words}.",
        topology=situation.topology(),
        flows=(flow,),
        path_manager=PathManager(mode="signal"),
        factors=(("policy", policy), ("receiver", receiver), *situation.factors),
        situation=f"{receiver} {situation.word}",
        only_on="mininet" if is_kernel else "sim",  # 420 trials in real time would take an hour
    )


_WORDS = {"linux": "the rules of Linux", "rfc8684": "the rules of RFC 8684", "kernel": "the kernel itself"}
_RIDES, _APART = "the mapping rides with its data", "the mapping comes apart from its data"
_STAMPS = "the receiver wants timestamps on every segment"


def _expectations(receivers: tuple[str, ...]) -> Iterator[Expectation]:
    """Of the usual situation, which every matrix has: who bears what, and what it displaces."""
    usual, linux = Situation().word, receivers[0]
    for policy in ("mptcp.org", "ios", "thin-maps", "dense-32", "split-segment", "add-addr-first"):
        yield Expectation(
            variant=f"{policy}/{linux}-{usual}",
            metric="fate:mptcp",
            at_least=1.0,
            statistic="min",
            because="every segment of this policy is covered by a mapping that is on it or came before",
            claim="S27",
            under=_RIDES,
            says=f"{policy} against {_WORDS[linux]}: MPTCP to the end in {{n}} of {{n}} trials",
        )
    for (policy, receiver), because in BREAKS.items():
        if receiver not in receivers:
            continue
        yield Expectation(
            variant=f"{policy}/{receiver}-{usual}",
            metric="fate:mptcp",
            at_most=0.0,
            statistic="max",
            because=because,
            claim="S27",
            speaks="against",
            under=_APART,
            says=f"{policy} against {_WORDS[receiver]}: MPTCP to the end in none of {{n}} trials",
        )
    if "rfc8684" in receivers:
        yield from _without_timestamps(usual)
    for policy, most in (("dense-32", 0.6), ("thin-maps", 0.9)):
        yield Expectation(
            variant=f"{policy}/{linux}-{usual}",
            metric="ledger:displaced_share@client/data",
            at_most=most,
            relative_to=(f"linux/{linux}-{usual}",),
            because="beside timestamps and a 64-bit mapping there is room for no SACK block; here there is for some",
            claim="S27",
            under=_RIDES,
            says=f"{policy} displaces {{value}} of the share of SACK blocks that linux displaces on data segments",
        )


def _without_timestamps(usual: str) -> Iterator[Expectation]:
    """A receiver by the letter of RFC 7323 drops what the policy sends without timestamps, again and again."""
    variant, because = (
        f"drop-timestamps/rfc8684-{usual}",
        "RFC 7323 section 3.2: a segment without them SHOULD be dropped",
    )
    yield Expectation(
        variant=variant,
        metric="counter:TestbedTimestampsMissing@server",
        at_least=10.0,
        statistic="min",
        because=because,
        claim="S27",
        speaks="against",
        under=_STAMPS,
        says="the server dropped {value} segments that had left without timestamps",
    )
    yield Expectation(
        variant=variant,
        metric="goodput_bit_s",
        at_most=0.5,
        relative_to=(f"linux/rfc8684-{usual}",),
        because=because,
        claim="S27",
        speaks="against",
        under=_STAMPS,
        says="drop-timestamps reaches {value} of the goodput of linux",
    )
