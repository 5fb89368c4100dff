"""``--set KEY=VALUE``: any field of an experiment changed from text, with one clear error for a wrong key or value.

A key is a field's name without its unit, because the value carries the unit: ``duration=20s``, ``repetitions=5``,
``path2.loss=2%``, ``path1.forward.rate=5mbit``, ``client.congestion_control=reno``, ``traffic.size=16MiB``,
``path_manager.mode=fullmesh``, ``families=6``, ``wifi.changes=2s down, 4s up``, ``client.adapter=mine.toml``.
A variant's name in front limits it to that variant: ``mptcp.path2.delay=50ms``. Keys of one flow among several have the
flow's name after that: ``cross.client.nodelay=true``.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

from testbed.endpoint.parameters import APPLICATION_KINDS, Endpoint
from testbed.orchestrator.adapters import load_adapter
from testbed.orchestrator.spec import Experiment, Flow, SpecificationError, Variant
from topologies import middlebox, quantity
from topologies.link_profile import LinkProfile
from topologies.link_text import FIELDS, parse_changes, with_field
from topologies.model import Link, Topology

T = TypeVar("T")

UNITS: Mapping[str, Callable[[str], Any]] = {
    "_ns": quantity.parse_time,
    "_bit_s": quantity.parse_rate,
    "_bytes": quantity.parse_size,
}
"""Suffix of a field's name -> parser of its text."""

_USERSPACE = ("profile", "receiver", "policies")
"""Fields that only a userspace endpoint has a use for."""
_ADAPTER = ("command", "environment", "waits_for_start", "tcp_only")
"""Fields that only an adapter has a use for; ``adapter`` sets them and the implementation."""


def apply(experiment: Experiment, assignments: Sequence[str]) -> Experiment:
    """``experiment`` with each ``KEY=VALUE`` applied in turn. Raises SpecificationError that names key, value and
    fix."""
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign:
            raise SpecificationError(f"--set {assignment}: write KEY=VALUE, such as path2.loss=2%")
        experiment = _apply_one(experiment, key.strip(), text.strip())
    return experiment


def only_variants(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """``experiment`` with these variants and the expectations that they can answer. Raises SpecificationError."""
    known = [variant.name for variant in experiment.variants]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or known
            raise SpecificationError(f"experiment {experiment.name} has no variant {name!r}; near: {', '.join(near)}")
    return dataclasses.replace(
        experiment,
        variants=tuple(variant for variant in experiment.variants if variant.name in names),
        expectations=tuple(item for item in experiment.expectations if item.speaks_of <= set(names)),
        grid=experiment.grid.only(names) if experiment.grid is not None else None,
        interop=experiment.interop.only(names) if experiment.interop is not None else None,
    )


def keys(experiment: Experiment) -> tuple[str, ...]:
    """Every key that :func:`apply` takes for this experiment, in order; those of a single variant are not repeated."""
    names = [key.name for key in _experiment_keys(experiment)]
    for variant in experiment.variants:
        names += [key.name for key in _variant_keys(variant)]
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class _Key:
    """A key and what it does to the value that owns it."""

    name: str
    set: Callable[[Any, str], Any]


def _apply_one(experiment: Experiment, key: str, text: str) -> Experiment:
    try:
        for known in _experiment_keys(experiment):
            if known.name == key:
                changed: Experiment = known.set(experiment, text)
                return changed
        variants = [_changed_variant(variant, key, text) for variant in experiment.variants]
        if all(variant is None for variant in variants):
            raise SpecificationError(_unknown(experiment, key))
        merged = tuple(new or old for new, old in zip(variants, experiment.variants, strict=True))
        return dataclasses.replace(experiment, variants=merged)
    except (SpecificationError, ValueError) as error:
        # a ValueError: a quantity, a profile or a parameter out of range; its message names the range
        raise SpecificationError(f"--set {key}={text}: {error}{_for_one_variant(experiment, key, text)}") from None


def _for_one_variant(experiment: Experiment, key: str, text: str) -> str:
    """What to write instead where other variants take what one of them refuses."""
    for variant in experiment.variants:
        try:
            if _changed_variant(variant, key, text) is not None:
                return f"; for one variant: --set {variant.name}.{key.removeprefix(f'{variant.name}.')}={text}"
        except (SpecificationError, ValueError):
            continue
    return ""


def _changed_variant(variant: Variant, key: str, text: str) -> Variant | None:
    """The variant after the change; None when it has no such key."""
    for known in _variant_keys(variant):
        if key in (known.name, f"{variant.name}.{known.name}"):
            changed: Variant = known.set(variant, text)
            return changed
    return None


def _unknown(experiment: Experiment, key: str) -> str:
    known = keys(experiment)
    for variant in experiment.variants:
        key = key.removeprefix(f"{variant.name}.")
    head, field = key.partition(".")[0], key.rpartition(".")[2]
    side = key.rpartition(".")[0]
    if field in _USERSPACE and f"{side}.implementation" in known:
        return f"{field} is for userspace endpoints (set {side}.implementation=userspace first)"
    if field in _ADAPTER and f"{side}.implementation" in known:
        return f"{field} is for adapters (set {side}.adapter=NAME.toml or {side}.adapter=NAME=COMMAND first)"
    near = difflib.get_close_matches(key, known, n=4, cutoff=0.5)
    siblings = [name for name in known if name.startswith(f"{head}.")]
    hint = ", ".join(near or siblings[:8] or [name for name in known if "." not in name])
    return f"experiment {experiment.name} has no key {key!r}; near ones: {hint} (all: testbed show {experiment.name})"


# --- the keys ---------------------------------------------------------------------------------------------------------


def _experiment_keys(experiment: Experiment) -> Iterator[_Key]:
    yield from _field_keys(
        experiment, "", skip=("name", "question", "variants", "expectations", "grid", "interop", "claims")
    )


def _variant_keys(variant: Variant) -> Iterator[_Key]:
    yield _Key("subflows", lambda owner, text: _with_text(owner, "subflows", text))
    yield _Key("families", _set_families)
    yield from _nested(_field_keys(variant.path_manager, "path_manager."), "path_manager")
    yield from _link_keys(variant.topology)
    for index, flow in enumerate(variant.flows):
        prefixes = (f"{flow.name}.",) if index else ("", f"{flow.name}.")
        for prefix in prefixes:
            yield from _flow_keys(flow, index, prefix)


def _link_keys(topology: Topology) -> Iterator[_Key]:
    """``<link or path>[.forward|.backward].<field>``; a path stands for its one shaped link."""
    links = {link.name: link for link in topology.links}
    for path in topology.paths:
        shaped = [name for name in path.links if links[name].is_shaped()]
        if path.name not in links and len(shaped) == 1:
            links[path.name] = links[shaped[0]]
    for name, link in links.items():
        yield _Key(f"{name}.changes", _changes_setter(link.name))
        yield _Key(f"{name}.middleboxes", _middleboxes_setter(link.name))
        for word in FIELDS:
            if word != "middleboxes":  # those of the link see both directions, those of a direction one
                yield _Key(f"{name}.{word}", _link_setter(link.name, ("forward", "backward"), word))
            for direction in ("forward", "backward"):
                yield _Key(f"{name}.{direction}.{word}", _link_setter(link.name, (direction,), word))


def _set_families(variant: Variant, text: str) -> Variant:
    if not set(text.split(",")) <= {"4", "6"}:
        raise SpecificationError("families is 4, 6 or 4,6")
    families: Any = tuple(int(word) for word in text.split(","))
    return dataclasses.replace(variant, topology=dataclasses.replace(variant.topology, families=families))


def _changes_setter(link_name: str) -> Callable[[Variant, str], Variant]:
    def set_changes(variant: Variant, text: str) -> Variant:
        link = dataclasses.replace(variant.topology.link(link_name), changes=parse_changes(text))
        return dataclasses.replace(variant, topology=variant.topology.with_link(link))

    return set_changes


def _middleboxes_setter(link_name: str) -> Callable[[Variant, str], Variant]:
    def set_middleboxes(variant: Variant, text: str) -> Variant:
        link = dataclasses.replace(variant.topology.link(link_name), middleboxes=middlebox.parse(text))
        return dataclasses.replace(variant, topology=variant.topology.with_link(link))

    return set_middleboxes


def _link_setter(link_name: str, directions: tuple[str, ...], word: str) -> Callable[[Variant, str], Variant]:
    def set_link(variant: Variant, text: str) -> Variant:
        link: Link = variant.topology.link(link_name)
        for direction in directions:
            profile: LinkProfile = getattr(link, direction)
            replaced: dict[str, Any] = {direction: with_field(profile, word, text)}
            link = dataclasses.replace(link, **replaced)
        return dataclasses.replace(variant, topology=variant.topology.with_link(link))

    return set_link


def _flow_keys(flow: Flow, index: int, prefix: str) -> Iterator[_Key]:
    def on_flow(inner: Callable[[Flow, str], Flow]) -> Callable[[Variant, str], Variant]:
        def set_flow(variant: Variant, text: str) -> Variant:
            flows = list(variant.flows)
            flows[index] = inner(flows[index], text)
            return dataclasses.replace(variant, flows=tuple(flows))

        return set_flow

    def set_application(owner: Flow, text: str) -> Flow:
        if text not in APPLICATION_KINDS:
            raise SpecificationError(f"the traffic is one of {', '.join(APPLICATION_KINDS)}")
        return dataclasses.replace(owner, application=APPLICATION_KINDS[text]())

    yield _Key(f"{prefix}traffic", on_flow(set_application))
    nested = ((flow.application, "traffic", "application"), (flow.client, "client", "client"))
    for part, word, attribute in (*nested, (flow.server, "server", "server")):
        skipped: tuple[str, ...] = ("kind",)
        if isinstance(part, Endpoint):
            skipped += ("adapter", *(() if part.is_userspace else _USERSPACE), *(() if part.is_adapter else _ADAPTER))
            yield _Key(f"{prefix}{word}.adapter", on_flow(_adapter_setter(attribute)))
        for key in _nested(_field_keys(part, f"{prefix}{word}.", skip=skipped), attribute):
            yield _Key(key.name, on_flow(key.set))
    own = ("application", "client", "server", "name", *(("duration_ns", "start_ns") if not prefix else ()))
    for key in _field_keys(flow, prefix, skip=own):
        yield _Key(key.name, on_flow(key.set))


def _adapter_setter(attribute: str) -> Callable[[Flow, str], Flow]:
    def set_adapter(owner: Flow, text: str) -> Flow:
        before: Endpoint = getattr(owner, attribute)
        kept = {
            field.name: getattr(before, field.name)
            for field in dataclasses.fields(Endpoint)
            if field.name not in ("implementation", "adapter", *_USERSPACE, *_ADAPTER)
        }
        replaced: dict[str, Any] = {attribute: load_adapter(text).endpoint(**kept)}
        return dataclasses.replace(owner, **replaced)

    return set_adapter


def _field_keys(owner: Any, prefix: str, skip: tuple[str, ...] = ()) -> Iterator[_Key]:
    for field in dataclasses.fields(owner):
        if field.name not in skip:
            yield _Key(prefix + _without_unit(field.name), _setter(field.name))


def _setter(name: str) -> Callable[[T, str], T]:
    return lambda owner, text: _with_text(owner, name, text)


def _nested(inner: Iterator[_Key], attribute: str) -> Iterator[_Key]:
    """Keys of a part, made into keys of the value that holds it as ``attribute``."""
    for key in inner:

        def set_part(owner: Any, text: str, key: _Key = key) -> Any:
            return dataclasses.replace(owner, **{attribute: key.set(getattr(owner, attribute), text)})

        yield _Key(key.name, set_part)


# --- text -> the type of a field ------------------------------------------------------------------------------------


def _with_text(owner: T, name: str, text: str) -> T:
    hint = typing.get_type_hints(type(owner))[name]
    changed: T = dataclasses.replace(owner, **{name: _parse(name, hint, text)})  # type: ignore[type-var]
    return changed


def _without_unit(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in UNITS if name.endswith(suffix)), name)


def _parse(name: str, hint: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if type(None) in arguments and text in ("none", "default"):
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _parse(name, hint, text)
    if origin is Literal:
        for choice in arguments:
            if text == str(choice):
                return choice
        raise SpecificationError(f"{_without_unit(name)} is one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return tuple(shlex.split(text)) if " " in text else tuple(word for word in text.split(",") if word)
    for suffix, parse in UNITS.items():
        if name.endswith(suffix):
            return parse(text)
    return _parse_plain(hint, text)


def _parse_plain(hint: Any, text: str) -> Any:
    if hint is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if text.lower() not in words:
            raise SpecificationError("a flag is true or false")
        return words[text.lower()]
    if hint is int:
        try:
            return int(text)
        except ValueError:
            raise SpecificationError("an integer is wanted") from None
    return text
