"""Every experiment by name. Importing this runs nothing; a builder makes a value."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence

from experiments.address_announcements import address_announcements
from experiments.aggregation import aggregation
from experiments.bare_acks import bare_acks
from experiments.eight_segments import eight_segments
from experiments.failed_checksums import failed_checksums
from experiments.fallback_integrity import fallback_integrity
from experiments.first_data_ack import first_data_ack
from experiments.half_close import half_close
from experiments.handover import handover
from experiments.hold_time import hold_time
from experiments.interop import interop
from experiments.kernel_claims import KERNEL_CLAIMS, kernel_fallbacks
from experiments.linux_mechanisms import linux_mechanisms
from experiments.loss_sweep import loss_sweep
from experiments.mapping_forms import mapping_forms
from experiments.middleboxes import middleboxes
from experiments.option_contention import option_contention
from experiments.option_policies import option_policies
from experiments.option_room import option_room
from experiments.quickstart import quickstart
from experiments.reordering import reordering
from experiments.reproductions import REPRODUCTIONS
from experiments.shared_bottleneck import shared_bottleneck
from experiments.simult_flows import simult_flows
from experiments.split_segment import split_segment
from experiments.stray_mappings import stray_mappings
from experiments.thin_mappings import thin_mappings
from experiments.unmapped_data import unmapped_data
from experiments.walk import walk
from testbed.orchestrator.spec import Experiment, SpecificationError

EXPERIMENTS: Mapping[str, Callable[..., Experiment]] = {
    "quickstart": quickstart,
    "aggregation": aggregation,
    "handover": handover,
    "walk": walk,
    "reordering": reordering,
    "loss_sweep": loss_sweep,
    "shared_bottleneck": shared_bottleneck,
    "simult_flows": simult_flows,
    "option_policies": option_policies,
    "option_contention": option_contention,
    "middleboxes": middleboxes,
    "interop": interop,
    "fallback_integrity": fallback_integrity,
    "kernel_fallbacks": kernel_fallbacks,
    "bare_acks": bare_acks,
    "failed_checksums": failed_checksums,
    "eight_segments": eight_segments,
    "linux_mechanisms": linux_mechanisms,
    "address_announcements": address_announcements,
    "first_data_ack": first_data_ack,
    "stray_mappings": stray_mappings,
    "unmapped_data": unmapped_data,
    "mapping_forms": mapping_forms,
    "option_room": option_room,
    "hold_time": hold_time,
    "thin_mappings": thin_mappings,
    "half_close": half_close,
    "split_segment": split_segment,
    **REPRODUCTIONS,
}


GROUPS: Mapping[str, tuple[str, ...]] = {
    "claims": (
        "linux_mechanisms",
        "option_contention",
        "split_segment",
        "half_close",
        "thin_mappings",
        "hold_time",
        "option_room",
        "bare_acks",
        "failed_checksums",
        "address_announcements",
        "eight_segments",
        "first_data_ack",
        "stray_mappings",
        "unmapped_data",
        "mapping_forms",
    ),
    "kernel": KERNEL_CLAIMS,
    "reproductions": tuple(REPRODUCTIONS),
}
"""Name -> experiments that are run together under it."""


def names(words: Sequence[str]) -> list[str]:
    """The experiments meant by these words, a group by its members. Raises SpecificationError that lists near names."""
    found: list[str] = []
    for word in words:
        if word not in EXPERIMENTS and word not in GROUPS:
            known = [*EXPERIMENTS, *GROUPS]
            near = difflib.get_close_matches(word, known, n=3, cutoff=0.4) or known
            raise SpecificationError(f"there is no experiment {word!r}; near ones: {', '.join(near)}")
        found += GROUPS.get(word, (word,))
    return list(dict.fromkeys(found))


def choices(name: str) -> Mapping[str, tuple[str, ...]]:
    """What the builder of that experiment can be told, as ``--set KEY=VALUE``: key -> values, the default first."""
    found: dict[str, tuple[str, ...]] = {}
    hints = typing.get_type_hints(EXPERIMENTS[name])
    for key, parameter in inspect.signature(EXPERIMENTS[name]).parameters.items():
        values = typing.get_args(hints[key])
        found[key] = (parameter.default, *(value for value in values if value != parameter.default))
    return found


def build(name: str, chosen: Mapping[str, str] | None = None) -> Experiment:
    """The experiment of that name. Raises SpecificationError that lists the near names, or the values of a choice."""
    if name in GROUPS:
        raise SpecificationError(f"{name} is a group of experiments: {', '.join(GROUPS[name])}")
    names([name])
    known = choices(name) if chosen else {}
    for key, value in (chosen or {}).items():
        if value not in known.get(key, ()):
            raise SpecificationError(f"--set {key}={value}: {key} is one of {', '.join(known.get(key, ()))}")
    return EXPERIMENTS[name](**(chosen or {}))
