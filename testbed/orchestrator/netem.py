"""A link profile as tc commands, for kernels that have the qdiscs; and the check that the kernel holds what was asked.

On the interface that faces the receiver of a direction: netem (loss, duplication, corruption, delay, reordering) with
TBF as its child (rate) and a fifo as the child of that (the queue limit); what a direction does not need is left out.
Thus loss is decided on arrival and the queue is a drop-tail queue of exactly its limit, as in ``testbed.net``; the
constant delay comes before the rate limiter instead of after it, which a receiver cannot tell.

What netem cannot express, or expresses otherwise than the profile says, is refused with the reason, never approximated.
Sources: tc-netem(8), tc-tbf(8), net/sched/sch_netem.c.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from testbed.orchestrator.errors import InvalidTrial
from topologies.link_profile import (
    ETHERNET_HEADER_BYTES,
    MTU_BYTES,
    Change,
    DropList,
    EveryNth,
    GilbertElliott,
    LinkProfile,
    NoLoss,
    RandomLoss,
)

NETEM_LIMIT_PACKETS = 1_000_000
"""netem's own limit counts packets on the wire, too; the waiting room is limited by the fifo below it, so this one only
has to be out of the way. (The default of 1000 silently drops at 1 Gbit/s and 12 ms.)"""

_FRAME_BYTES = MTU_BYTES + ETHERNET_HEADER_BYTES
_TOLERANCE = 1e-3
"""Relative: tc prints six digits, and probabilities are 32-bit fractions in the kernel."""


@dataclass(frozen=True, slots=True)
class QdiscFeatures:
    """What this kernel and its tc offer (``features.qdiscs()`` probes it)."""

    tbf: bool = False
    netem: bool = False
    netem_seed: bool = False
    """netem holds the seed that it is given, so that the same packets are lost again: it was read back, for a kernel
    before 6.7 ignores it without a word."""
    unknown: str = ""
    """Why nobody could ask, ``not known without root``; empty when the other fields are answers."""


NO_MIDDLEBOXES = "qdiscs have no middleboxes"


class QdiscMismatch(InvalidTrial):
    """The kernel holds other qdiscs than those asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Which qdiscs a direction needs over the whole of its schedule."""

    netem: bool
    tbf: bool


def inexpressible(profile: LinkProfile, changes: Sequence[Change], features: QdiscFeatures) -> str | None:
    """Why the qdiscs of this kernel cannot realise the direction; None when they can."""
    if profile.middleboxes:
        return NO_MIDDLEBOXES
    if profile.trace is not None:
        return "qdiscs replay no traces"
    if profile.queue is not None and profile.queue.discipline is not None:
        return f"the queue discipline {profile.queue.discipline.keyword} is the relay's"
    stages = list(_stages(profile, changes))
    for stage in stages:
        if isinstance(stage.loss, EveryNth | DropList):
            return f"netem has no loss {stage.loss.kind}"
        if stage.jitter is not None and not stage.jitter.reorders:
            return "netem's jitter reorders packets, and this jitter keeps their order"
        if stage.rate_bit_s is not None and profile.rate_bit_s is None:
            return "a rate limit that begins later would change the qdiscs under traffic"
    shape = _shape(profile, changes)
    if shape.netem and not features.netem:
        return "this kernel has no netem"
    if shape.tbf and not features.tbf:
        return "this kernel has no TBF"
    if profile.queue is None and profile.rate_bit_s is not None:
        return "the queue limit is implicit; resolve the topology first"
    return None


def is_random(profile: LinkProfile, changes: Sequence[Change] = ()) -> bool:
    """Whether chance decides anything, so that repeating it needs a seed."""
    return any(
        not isinstance(stage.loss, NoLoss)
        or stage.jitter is not None
        or stage.reordering is not None
        or stage.duplication > 0
        or stage.corruption > 0
        for stage in _stages(profile, changes)
    )


def qdisc_commands(
    interface: str, profile: LinkProfile, changes: Sequence[Change] = (), *, seed: int | None = None
) -> tuple[tuple[str, ...], ...]:
    """The commands that set up a direction on the interface facing its receiver; none when it is a wire.

    ``changes`` are those of this direction: they decide which qdiscs must be there from the start.
    """
    shape = _shape(profile, changes)
    commands = []
    parent: tuple[str, ...] = ("root",)
    if shape.netem:
        commands.append(("tc", "qdisc", "add", "dev", interface, *parent, "handle", "1:", *_netem(profile, seed=seed)))
        parent = ("parent", "1:1")
    if shape.tbf:
        commands.append(("tc", "qdisc", "add", "dev", interface, *parent, "handle", "10:", *_tbf(profile)))
        if profile.queue is not None and profile.queue.packets is not None:
            limit = ("pfifo", "limit", str(profile.queue.packets))
            commands.append(("tc", "qdisc", "add", "dev", interface, "parent", "10:1", "handle", "100:", *limit))
    return tuple(commands)


def change_commands(
    interface: str, profile: LinkProfile, changes: Sequence[Change], *, seeds: Sequence[int] | None = None
) -> tuple[tuple[int, tuple[tuple[str, ...], ...]], ...]:
    """(time in ns, commands) of each scheduled change of this direction, in order of time.

    ``seeds``, one per change: netem starts its sequence anew with every change, so each needs another one.
    """
    shape = _shape(profile, changes)
    current, down, timed = profile, False, []
    for index, change in enumerate(sorted(changes, key=lambda each: each.at_ns)):
        current = change.applied_to(current)
        down = down if change.down is None else change.down
        seed = seeds[index] if seeds is not None else None
        commands = []
        if shape.netem:
            commands.append(
                ("tc", "qdisc", "change", "dev", interface, "root", "handle", "1:", *_netem(current, down, seed))
            )
        if shape.tbf and change.rate_bit_s is not None:
            where = ("parent", "1:1") if shape.netem else ("root",)
            commands.append(("tc", "qdisc", "change", "dev", interface, *where, "handle", "10:", *_tbf(current)))
        timed.append((change.at_ns, tuple(commands)))
    return tuple(timed)


def reseed_commands(
    interface: str, profile: LinkProfile, changes: Sequence[Change], *, seed: int | None
) -> tuple[tuple[str, ...], ...]:
    """Start netem's sequence from its seed again; none without netem or seed.

    Right before the traffic: probes have drawn from it, and how many did differs from trial to trial.
    """
    if seed is None or not _shape(profile, changes).netem:
        return ()
    return (("tc", "qdisc", "change", "dev", interface, "root", "handle", "1:", *_netem(profile, seed=seed)),)


def burst_bytes(rate_bit_s: int) -> int:
    """The bucket that a TBF of ours has: one millisecond, at least two frames."""
    return max(2 * _FRAME_BYTES, rate_bit_s // 8 // 1000)


def check(interface: str, profile: LinkProfile, changes: Sequence[Change], shown: str, *, done: int = 0) -> None:
    """Compare the output of ``tc -j qdisc show dev INTERFACE`` with the profile. Raises QdiscMismatch naming both.

    ``done``: how many of the changes, in order of time, have been carried out.
    """
    shape = _shape(profile, changes)
    down = False
    for change in sorted(changes, key=lambda each: each.at_ns)[:done]:
        profile = change.applied_to(profile)
        down = down if change.down is None else change.down
    if down:
        profile = dataclasses.replace(profile, loss=RandomLoss(1.0))
    held: Mapping[str, Mapping[str, Any]] = {entry["kind"]: entry.get("options", {}) for entry in json.loads(shown)}
    for kind, needed in (("netem", shape.netem), ("tbf", shape.tbf)):
        if needed != (kind in held):
            raise QdiscMismatch(f"{interface}: {kind} {'is missing' if needed else 'is there unasked'}")
    pairs = list(_netem_values(profile, held["netem"])) if shape.netem else []
    if shape.tbf and profile.rate_bit_s is not None:
        pairs.append(("rate (bytes/s)", profile.rate_bit_s / 8, held["tbf"].get("rate", 0)))
        if profile.queue is not None and profile.queue.packets is not None:
            pairs.append(("queue (packets)", profile.queue.packets, held.get("pfifo", {}).get("limit", 0)))
    for name, wanted, found in pairs:
        if not math.isclose(wanted, float(found), rel_tol=_TOLERANCE, abs_tol=1e-6):
            raise QdiscMismatch(f"{interface}: {name} was set to {wanted:g} and the kernel holds {found}")


def held_seed(shown: str) -> int | None:
    """The seed that netem holds, by the output of ``tc -j qdisc show dev INTERFACE``; None: it, or tc, knows of none.

    Source: net/sched/sch_netem.c, netem_dump: TCA_NETEM_PRNG_SEED, its own choice when it was given none.
    """
    held = [entry.get("options", {}).get("seed") for entry in json.loads(shown or "[]") if entry["kind"] == "netem"]
    return held[0] if held and isinstance(held[0], int) else None


def for_direction(changes: Sequence[Change], direction: Literal["forward", "backward"]) -> tuple[Change, ...]:
    """The changes that concern one direction."""
    return tuple(change for change in changes if change.direction in ("both", direction))


def _stages(profile: LinkProfile, changes: Sequence[Change]) -> Iterator[LinkProfile]:
    yield profile
    for change in sorted(changes, key=lambda each: each.at_ns):
        profile = change.applied_to(profile)
        yield profile


def _shape(profile: LinkProfile, changes: Sequence[Change]) -> _Shape:
    stages = list(_stages(profile, changes))
    ideal = LinkProfile()
    netem = any(change.down is not None for change in changes) or any(
        dataclasses.replace(stage, rate_bit_s=None, queue=None) != ideal for stage in stages
    )
    return _Shape(netem=netem, tbf=any(stage.rate_bit_s is not None for stage in stages))


def _netem(profile: LinkProfile, down: bool = False, seed: int | None = None) -> tuple[str, ...]:
    words = ["netem", "limit", str(NETEM_LIMIT_PACKETS)]
    if profile.delay_ns or profile.jitter:
        words += ["delay", f"{profile.delay_ns}ns"]
    if profile.jitter is not None:
        words += [f"{profile.jitter.amplitude_ns}ns", _percent(profile.jitter.correlation)]
        if profile.jitter.distribution != "uniform":
            words += ["distribution", profile.jitter.distribution]
    words += ["loss", "100%"] if down else _loss(profile)
    if profile.duplication:
        words += ["duplicate", _percent(profile.duplication)]
    if profile.corruption:
        words += ["corrupt", _percent(profile.corruption)]
    if profile.reordering is not None:
        words += ["reorder", _percent(profile.reordering.probability), _percent(profile.reordering.correlation)]
        words += ["gap", str(profile.reordering.gap)]
    if seed is not None:
        words += ["seed", str(seed)]
    return tuple(words)


def _loss(profile: LinkProfile) -> list[str]:
    match profile.loss:
        case RandomLoss(probability, correlation):
            return ["loss", "random", _percent(probability), *([_percent(correlation)] if correlation else [])]
        case GilbertElliott() as loss:  # netem's last two are 1-h and 1-k: the loss in the bad and in the good state
            return ["loss", "gemodel", *map(_percent, (loss.p, loss.r, loss.loss_bad, loss.loss_good))]
        case _:
            return []


def _tbf(profile: LinkProfile) -> tuple[str, ...]:
    """A bucket of one millisecond, at least two frames: bursts stay small and high rates are reached."""
    rate = profile.rate_bit_s or 0
    burst = burst_bytes(rate)
    in_bytes = profile.queue.size_bytes if profile.queue is not None else None
    limit = in_bytes or _FRAME_BYTES * (profile.queue.packets or 1 if profile.queue is not None else 1)
    return ("tbf", "rate", f"{rate}bit", "burst", str(burst), "limit", str(max(limit, burst)))


def _percent(probability: float) -> str:
    return f"{probability * 100:.9f}".rstrip("0").rstrip(".") + "%"


def _netem_values(profile: LinkProfile, options: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """(what, wanted, held) of everything that netem was told."""
    delay = options.get("delay", {})
    yield "delay (s)", profile.delay_ns / 1e9, delay.get("delay", 0)
    yield "jitter (s)", profile.jitter.amplitude_ns / 1e9 if profile.jitter else 0, delay.get("jitter", 0)
    random = profile.loss if isinstance(profile.loss, RandomLoss) else RandomLoss(0.0)
    yield "loss", random.probability, options.get("loss-random", {}).get("loss", 0)
    if isinstance(profile.loss, GilbertElliott):
        model = options.get("loss-gemodel", {})
        for name, wanted in (
            ("p", profile.loss.p),
            ("r", profile.loss.r),
            ("1-h", profile.loss.loss_bad),
            ("1-k", profile.loss.loss_good),
        ):
            yield f"loss gemodel {name}", wanted, model.get(name, 0)
    yield "duplicate", profile.duplication, options.get("duplicate", {}).get("duplicate", 0)
    yield "corrupt", profile.corruption, options.get("corrupt", {}).get("corrupt", 0)
    reordering = profile.reordering
    yield "reorder", reordering.probability if reordering else 0, options.get("reorder", {}).get("reorder", 0)
    yield "limit (packets)", NETEM_LIMIT_PACKETS, options.get("limit", 0)
