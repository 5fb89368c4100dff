"""Links that the kernel's qdiscs realised, after the traffic: what they counted, and whether they were what was asked.

The qdisc at the root of an interface counts what left it; drops of a child are counted by the root as well
(net/sched/sch_tbf.c, sch_netem.c). So: delivered and drops from the root, overflow from the fifo in which packets wait,
or from TBF when the limit is its own. Where netem also drops by outage, losses and outages cannot be told apart.

Bytes are checked against the rate from above only: an idle line sends less.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from testbed.orchestrator import netem, network_commands
from testbed.orchestrator.netem import QdiscMismatch
from testbed.orchestrator.network_plan import NetworkPlan, ShapedLink
from testbed.orchestrator.qdisc_schedule import LATEST_NS
from topologies.link_profile import Change, EveryNth, GilbertElliott, LinkProfile, Loss, NoLoss, RandomLoss

Deltas = Mapping[str, int]
"""``<kind>.<counter>`` -> increase during the traffic, of one interface."""

Show = Callable[[str], str]
"""Interface -> what ``tc -j qdisc show dev INTERFACE`` says in the emulator node."""

RATE_TOLERANCE = 0.005
"""Relative; the same as for a relay (``testbed.emulation.fidelity``)."""


def sides(
    shaped: ShapedLink,
) -> tuple[tuple[Literal["forward", "backward"], LinkProfile, tuple[Change, ...], str], ...]:
    """(direction, profile, its changes, the interface with the qdiscs) of both directions."""
    link = shaped.link
    return (
        ("forward", link.forward, netem.for_direction(link.changes, "forward"), shaped.b_side.name),
        ("backward", link.backward, netem.for_direction(link.changes, "backward"), shaped.a_side.name),
    )


def deltas(counters: Sequence[Mapping[str, Any]], interface: str) -> dict[str, int]:
    """From rows of ``counters`` called ``qdisc.<interface>.<kind>.<handle>.<name>``; unknown ones are left out."""
    found = {}
    for row in counters:
        prefix, _, rest = str(row["counter"]).partition(f".{interface}.")
        if prefix == "qdisc" and row["before"] is not None and row["after"] is not None:
            kind, _, tail = rest.partition(".")
            found[f"{kind}.{tail.rpartition('.')[2]}"] = row["after"] - row["before"]
    return found


def counted(profile: LinkProfile, changes: Sequence[Change], moved: Deltas) -> dict[str, Any]:
    """Columns of ``links``; a direction without a qdisc (a plain wire) counts nothing."""
    root = next((kind for kind in ("netem", "tbf") if f"{kind}.packets" in moved), None)
    if root is None:
        return {}
    delivered, dropped = moved[f"{root}.packets"], moved.get(f"{root}.drops", 0)
    overflowed = moved.get("tbf.drops", moved.get("pfifo.drops", 0))
    row: dict[str, Any] = {
        "packets_delivered": delivered,
        "bytes_delivered": moved.get(f"{root}.bytes"),
        "dropped_queue": overflowed,
    }
    if not profile.duplication:
        row["packets_arrived"] = delivered + dropped + moved.get(f"{root}.qlen", 0)
    if root == "tbf":
        row["dropped_loss"] = row["dropped_outage"] = 0
    elif not any(change.down for change in changes):
        row |= {"dropped_loss": dropped - overflowed, "dropped_outage": 0}
    return row


def most_bytes(profile: LinkProfile, changes: Sequence[Change], lead_ns: int, elapsed_ns: int) -> int | None:
    """What a bucket can have let pass in ``elapsed_ns``, of which ``lead_ns`` were before the schedule began; None: it
    had no rate."""
    if profile.rate_bit_s is None:
        return None
    rate, since_ns, bits, fastest = profile.rate_bit_s, 0, 0.0, profile.rate_bit_s
    steps = [(change.at_ns + lead_ns, change.rate_bit_s) for change in changes if change.rate_bit_s is not None]
    for at_ns, next_rate in [*sorted(steps), (elapsed_ns, rate)]:
        until_ns = min(at_ns, elapsed_ns)
        bits += rate * max(0, until_ns - since_ns) / 1e9
        if at_ns < elapsed_ns:
            fastest = max(fastest, next_rate)
            rate, since_ns = next_rate, until_ns
    bits += fastest * (len(steps) * LATEST_NS) / 1e9
    return int(bits / 8 * (1 + RATE_TOLERANCE)) + netem.burst_bytes(fastest)


def check(
    plan: NetworkPlan,
    counters: Sequence[Mapping[str, Any]],
    *,
    done: Mapping[tuple[str, str], int],
    lead_ns: int,
    elapsed_ns: int,
    show: Show,
    seed: int,
) -> tuple[dict[tuple[str, str], dict[str, Any]], list[str]]:
    """((link, direction) -> columns of ``links``, problems as ``<link> <direction>: ...``).

    ``elapsed_ns`` is from before the first reading of the counters to after the last, ``lead_ns`` its part before the
    epoch of the schedule, ``done`` the changes carried out of each direction, ``seed`` the trial's.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    problems = []
    for shaped in plan.shaped:
        if shaped.realisation != "qdisc":
            continue
        for direction, profile, changes, interface in sides(shaped):
            key = shaped.link.name, direction
            moved = deltas(counters, interface)
            shown = show(interface)
            rows[key] = counted(profile, changes, moved) | {
                "seed_asked": wanted_seed(shaped, direction, seed, done.get(key, 0)),
                "seed_effective": netem.held_seed(shown),
            }
            found = []
            try:
                netem.check(interface, profile, changes, shown, done=done.get(key, 0))
            except QdiscMismatch as error:
                found.append(f"after the traffic: {error}")
            most = most_bytes(profile, changes[: done.get(key, 0)], lead_ns, elapsed_ns)
            sent = rows[key].get("bytes_delivered")
            if most is not None and sent is not None and sent > most:
                found.append(f"{sent} bytes passed in {elapsed_ns / 1e9:.3f} s where the rate allows {most}")
            problems += [f"{shaped.link.name} {direction}: {text}" for text in found]
    return rows, problems


def wanted_seed(shaped: ShapedLink, direction: Literal["forward", "backward"], seed: int, done: int) -> int | None:
    """What netem's chance was to begin from, whether or not this kernel could be told so; None where chance decides
    nothing. ``done``: changes carried out, each of which begins anew."""
    profile = getattr(shaped.link, direction)
    if not netem.is_random(profile, netem.for_direction(shaped.link.changes, direction)):
        return None
    chance = network_commands.qdisc_seed(dataclasses.replace(shaped, seeded=True), seed, direction)
    return network_commands.derived_seed(chance, f"change {done - 1}") if chance is not None and done else chance


def mean_loss(loss: Loss) -> float | None:
    """Long-run share of packets lost on purpose; None where the model has no such number (a list; correlated loss,
    whose mean is not its parameter)."""
    match loss:
        case NoLoss():
            return 0.0
        case RandomLoss(probability, correlation):
            return None if correlation else probability
        case GilbertElliott():
            return loss.mean()
        case EveryNth(n):
            return 1 / n
        case _:
            return None
