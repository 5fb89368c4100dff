"""The text form of a link's values: what a user writes after ``--set``, and what tables and drawings show.

Everything that is printed here is read back as the same value. The words are tc's and netem's; a bare number is refused
(``quantity.py``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from topologies import middlebox, quantity, queue_discipline, traces
from topologies.link_profile import (
    Change,
    DropList,
    EveryNth,
    GilbertElliott,
    Jitter,
    LinkProfile,
    Loss,
    NoLoss,
    ProfileError,
    QueueLimit,
    RandomLoss,
    Reordering,
)
from topologies.quantity import OutOfRangeError, QuantityError
from topologies.traces import Trace


def parse_loss(text: str) -> Loss:
    """The loss model that ``text`` names; a probability of zero is no loss.

    ``"none"``, ``"2%"``, ``"2% correlation 25%"``, ``"ge(1%,30%)"`` (p, r[, loss_bad[, loss_good]]),
    ``"every(100)"`` (n[, first]), ``"list(3,7,9)"``. Raises QuantityError or ProfileError.
    """
    if text.strip() == "none":
        return NoLoss()
    head, _, correlation = text.partition(" correlation ")
    call = re.fullmatch(r"\s*(ge|every|list)\s*\(([^()]*)\)\s*", text)
    try:
        if call is None:
            probability = quantity.parse_probability(head)
            correlated = quantity.parse_probability(correlation) if correlation else 0.0
            return RandomLoss(probability, correlated) if probability else NoLoss()
        arguments = [argument.strip() for argument in call[2].split(",")] if call[2].strip() else []
        if call[1] == "ge" and 2 <= len(arguments) <= 4:
            return GilbertElliott(*(quantity.parse_probability(argument) for argument in arguments))
        if call[1] == "every" and 1 <= len(arguments) <= 2:
            return EveryNth(*(int(argument) for argument in arguments))
        if call[1] == "list":
            return DropList(tuple(int(argument) for argument in arguments))
    except (ProfileError, OutOfRangeError):
        raise
    except ValueError:
        pass
    raise QuantityError(
        f"{text!r} is not a loss: write 'none', '2%', 'ge(1%,30%)' (p, r), 'every(100)' or 'list(3,7,9)'"
    )


def parse_jitter(text: str) -> Jitter | None:
    """``"5ms"``, ``"5ms normal"``, ``"5ms normal 25%"`` (correlation), ``reorders`` as a last word; ``"0ms"``: none."""
    words = text.split()
    reorders = bool(words) and words[-1] == "reorders"
    words = words[: len(words) - reorders]
    if not 1 <= len(words) <= 3:
        raise QuantityError(f"{text!r} is not a jitter: write '5ms', '5ms normal' or '5ms normal 25% reorders'")
    amplitude_ns = quantity.parse_time(words[0])
    distribution: Any = words[1] if len(words) > 1 else "uniform"
    correlation = quantity.parse_probability(words[2]) if len(words) > 2 else 0.0
    return Jitter(amplitude_ns, distribution, correlation, reorders) if amplitude_ns else None


def parse_reordering(text: str) -> Reordering | None:
    """``"25%"``, ``"25% gap 5"``, ``"25% gap 5 50%"`` (correlation)."""
    match = re.fullmatch(r"\s*(\S+)(?:\s+gap\s+(\d+))?(?:\s+(\S+%))?\s*", text)
    if match is None:
        raise QuantityError(f"{text!r} is not a reordering: write '25%', '25% gap 5' or '25% gap 5 50%'")
    probability = quantity.parse_probability(match[1])
    correlation = quantity.parse_probability(match[3]) if match[3] else 0.0
    return Reordering(probability, int(match[2] or 1), correlation) if probability else None


def parse_queue(text: str) -> QueueLimit | None:
    """``"100packets"``, ``"64KiB"``, ``"codel 5ms 100ms ecn limit 1000packets"`` (:mod:`queue_discipline`); ``"bdp"``
    asks for one bandwidth-delay product."""
    if text.strip() == "bdp":
        return None
    if queue_discipline.is_discipline(text):
        discipline, packets, size_bytes = queue_discipline.parse(text)
        return QueueLimit(packets, size_bytes, discipline)
    try:
        return QueueLimit(*queue_discipline.parse_limit(text))
    except QuantityError:
        known = ", ".join(queue_discipline.DISCIPLINES)
        raise QuantityError(
            f"{text!r} is not a queue: write '100packets', '64KiB' or 'bdp', or a discipline ({known}), such as "
            f"{queue_discipline.CoDel.example!r}"
        ) from None


def parse_rate(text: str) -> int | None:
    """``"20mbit"``, or ``"unlimited"``."""
    return None if text.strip() == "unlimited" else quantity.parse_rate(text)


def parse_changes(text: str) -> tuple[Change, ...]:
    """``"6s down, 12s up"``, ``"5s rate 5mbit, 8s forward loss 2%"``; ``"none"``. Raises QuantityError."""
    if text.strip() == "none":
        return ()
    return tuple(_parse_change(part) for part in text.split(","))


def _parse_change(text: str) -> Change:
    time_text, _, what = text.strip().partition(" ")
    match = re.fullmatch(r"\s*(?:(forward|backward|both)\s+)?(?:(down|up)|(rate|delay|loss)\s+(\S.*))", what)
    if match is None:
        raise QuantityError(
            f"{text.strip()!r} is not a change: write '6s down', '12s up', '5s rate 5mbit' or '8s forward loss 2%'"
        )
    direction: Any = match[1] or "both"
    at_ns = quantity.parse_time(time_text)
    if match[2]:
        return Change(at_ns=at_ns, direction=direction, down=match[2] == "down")
    attribute, parse = {
        "rate": ("rate_bit_s", quantity.parse_rate),
        "delay": ("delay_ns", quantity.parse_time),
        "loss": ("loss", parse_loss),
    }[match[3]]
    changed: dict[str, Any] = {attribute: parse(match[4].strip())}
    return Change(at_ns=at_ns, direction=direction, **changed)


FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "rate": ("rate_bit_s", parse_rate),
    "queue": ("queue", parse_queue),
    "delay": ("delay_ns", quantity.parse_time),
    "jitter": ("jitter", parse_jitter),
    "loss": ("loss", parse_loss),
    "reordering": ("reordering", parse_reordering),
    "duplication": ("duplication", quantity.parse_probability),
    "corruption": ("corruption", quantity.parse_probability),
    "middleboxes": ("middleboxes", middlebox.parse),
    "trace": ("trace", traces.parse),
}
"""The word a user writes -> (field of LinkProfile, parser)."""


def with_field(profile: LinkProfile, name: str, text: str) -> LinkProfile:
    """``profile`` with one field set from text. Raises KeyError for an unknown name, ValueError for a bad value.

    A trace takes the place of the values that it tells; ``none`` leaves a link that stands still at its means.
    """
    attribute, parse = FIELDS[name]
    if attribute == "trace":
        return profile.with_trace(parse(text))
    return dataclasses.replace(profile, **{attribute: parse(text)})


def format_field(name: str, value: Any) -> str:
    """The text that :data:`FIELDS`' parser of ``name`` reads back as ``value``."""
    percent = quantity.format_probability
    match value:
        case None:
            return {"rate": "unlimited", "queue": "bdp", "jitter": "0ms", "reordering": "0%", "trace": "none"}[name]
        case NoLoss():
            return "none"
        case RandomLoss(chance, correlation):
            return percent(chance) + (f" correlation {percent(correlation)}" if correlation else "")
        case GilbertElliott():
            return f"ge({percent(value.p)},{percent(value.r)},{percent(value.loss_bad)},{percent(value.loss_good)})"
        case EveryNth(n, first):
            return f"every({n},{first})" if first else f"every({n})"
        case DropList(packets):
            return f"list({','.join(map(str, packets))})"
        case Jitter():
            words = [quantity.format_time(value.amplitude_ns)]
            if value.distribution != "uniform" or value.correlation:
                words.append(value.distribution)
            if value.correlation:
                words.append(percent(value.correlation))
            return " ".join([*words, "reorders"] if value.reorders else words)
        case Reordering():
            gap = f" gap {value.gap}" if value.gap > 1 or value.correlation else ""
            return percent(value.probability) + gap + (f" {percent(value.correlation)}" if value.correlation else "")
        case QueueLimit():
            limit = (
                f"{value.packets}packets" if value.packets is not None else quantity.format_size(value.size_bytes or 0)
            )
            return limit if value.discipline is None else f"{value.discipline.text()} limit {limit}"
        case Trace():
            return value.text()
        case tuple():
            return middlebox.describe_all(value)
        case _:
            formatter = {"rate": quantity.format_rate, "delay": quantity.format_time}.get(name, percent)
            return formatter(value)


def describe(profile: LinkProfile) -> str:
    """One line for people: ``"20mbit, 10ms, queue 34packets, loss 2%"``; ``"wire"`` when it does nothing."""
    default = LinkProfile()
    told = profile.traced()
    parts = []
    for name, (attribute, _) in FIELDS.items():
        value = getattr(profile, attribute)
        if value != getattr(default, attribute) and attribute not in told:
            text = value.describe() if isinstance(value, Trace) else format_field(name, value)
            parts.append(text if name in ("rate", "delay") else f"{name} {text}")
    return ", ".join(parts) or "wire"


def describe_change(change: Change) -> str:
    """``"down"``, ``"rate 5mbit, loss 2%"``: what a reader of a time series wants beside the mark."""
    words = [] if change.down is None else ["down" if change.down else "up"]
    words += [
        f"{name} {format_field(name, getattr(change, attribute))}"
        for name, attribute in (("rate", "rate_bit_s"), ("delay", "delay_ns"), ("loss", "loss"))
        if getattr(change, attribute) is not None
    ]
    return ", ".join(words) or "no change"
