"""A campaign: which series are measured each night, against what, and when a change is worth telling. From TOML.

Everything here is frozen. Whether the experiments, variants and keys that it names exist is asked in ``entries.py``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from testbed.orchestrator.spec import SpecificationError
from topologies import quantity

SHIPPED: Final = Path(__file__).parents[2] / "experiments" / "campaigns"
EXPECTED: Final = "expected"
"""In place of a list of metrics: those that the experiment's expectations speak of."""

MOST_PAIRS: Final = 1000
"""Repetitions a night, and pairs of a confirmation: each has its seed and its rows in memory, and with 1000 pairs a
change of 1 % is found at a spread of 10 %."""

_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,47}$"
Name = Annotated[str, Field(pattern=_NAME)]
Backend = Literal["sim", "mininet"]

_FIXES: Final[Mapping[str, str]] = {
    "name": 'write a lower-case word, such as name = "nightly"',
    "summary": 'write what it is for, such as summary = "Goodput against the accepted build"',
    "repetitions": "write how often each series is measured a night, such as repetitions = 5",
    "series": 'write [[series]] with experiment = "..." and metrics = ["..."] at least once',
    "experiment": "write the name of an experiment ('testbed list' shows them)",
    "metrics": f'write measures, such as metrics = ["goodput_bit_s"], or metrics = "{EXPECTED}"',
    "variants": 'write names of variants, such as variants = ["userspace"]',
    "set": 'write [series.set] with lines such as duration = "5s" or path2.loss = "1%"',
    "backend": 'write backend = "sim" or backend = "mininet"',
    "reference": 'write [reference] with build = "accepted", or with variant = "..."',
    "build": 'write build = "accepted", build = "git:REVISION", or the path of another checkout',
    "variant": 'write the name of a variant of the same experiment, such as variant = "tcp-path1"',
    "thresholds": 'write [thresholds] with smallest = "2%"',
    "smallest": 'write a share in quotes, such as smallest = "2%"',
    "false_discoveries": 'write a share in quotes, such as false_discoveries = "5%"',
}
"""Key -> what to write."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reference(_Frozen):
    """What the candidate is compared with."""

    variant: str | None = None
    """An implementation: another variant of the same experiment, in the same run."""
    build: str | None = None
    """Another build: ``accepted``, ``git:REVISION``, or the path of a checkout (relative to the campaign's file)."""

    @pydantic.model_validator(mode="after")
    def _one_of_them(self) -> Reference:
        if (self.variant is None) == (self.build is None):
            raise ValueError("it has either variant or build")
        if self.build is not None and self.build in ("", "git:"):
            raise ValueError("build is empty")
        return self


class Thresholds(_Frozen):
    """When a change is worth telling."""

    smallest: str = "2%"
    """Smaller changes are not told, however sure."""
    false_discoveries: str = "5%"
    """Share of false ones among the changes that are told (Benjamini-Hochberg over all series)."""

    @pydantic.field_validator("smallest", "false_discoveries")
    @classmethod
    def _share(cls, text: str) -> str:
        if not 0 < quantity.parse_probability(text) < 1:
            raise ValueError(f"{text} is not between 0 and 100 %")
        return text

    @property
    def smallest_share(self) -> float:
        """``smallest`` as a number."""
        return quantity.parse_probability(self.smallest)

    @property
    def false_discovery_rate(self) -> float:
        """``false_discoveries`` as a number."""
        return quantity.parse_probability(self.false_discoveries)


class Series(_Frozen):
    """An entry: some numbers of some variants of one experiment."""

    experiment: str
    """Of the catalog; the name of a group stands for its members."""
    name: Name | None = None
    """In the history; by default that of the experiment, with ``@mininet`` on that backend."""
    metrics: tuple[str, ...] | Literal["expected"]
    """Measures (docs/data-format.md); or those that the experiment's expectations speak of."""
    variants: tuple[str, ...] = ()
    """None named: all that the backend can run."""
    flow: str | None = None
    """The flow measured; by default each variant's first."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Changes of the experiment, as ``--set``: ``duration = "5s"``, ``path2.loss = "1%"``."""
    backend: Backend = "sim"

    @pydantic.field_validator("metrics")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if not value:
            raise ValueError("there is none")
        return value

    @property
    def assignments(self) -> tuple[str, ...]:
        """``set`` as ``KEY=VALUE``; tables inside it are keys with dots."""
        return tuple(f"{key}={text}" for key, text in _flattened(self.set))


class Campaign(_Frozen):
    """What a night measures."""

    name: Name
    summary: str
    repetitions: int = Field(default=5, ge=1, le=MOST_PAIRS)
    """Of each series a night."""
    series: tuple[Series, ...] = Field(min_length=1)
    reference: Reference
    thresholds: Thresholds = Thresholds()
    confirmation_pairs: int = Field(default=20, ge=6, le=MOST_PAIRS)
    """Pairs of old and new that an alarm is measured again with before anyone is told. Fewer than six could not reach
    p < 0.05 by their signs."""
    step_deadline: str = "2h"
    """A run that takes longer has failed."""
    keep_nights: int = Field(default=14, ge=1)
    """The run directories of older nights are removed, unless they raised an alarm; the history keeps every number."""

    @pydantic.field_validator("step_deadline")
    @classmethod
    def _time(cls, text: str) -> str:
        quantity.parse_time(text)
        return text

    @property
    def step_deadline_s(self) -> float:
        """``step_deadline`` in seconds."""
        return quantity.parse_time(self.step_deadline) / 1e9


def shipped() -> Mapping[str, Path]:
    """Name -> file of the campaigns that come with the testbed."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def path_of(word: str) -> Path:
    """The file of a shipped campaign's name, or of a path. Raises SpecificationError."""
    known = shipped()
    if word in known:
        return known[word]
    path = Path(word)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise SpecificationError(f"there is no campaign file {word}")
    near = ", ".join(difflib.get_close_matches(word, known, n=3, cutoff=0.4) or known)
    raise SpecificationError(
        f"there is no campaign {word!r}; shipped: {near}; one of your own is a path to a .toml file"
    )


def load(path: Path) -> Campaign:
    """The campaign in a file. Raises SpecificationError that names file, key and fix."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{path}: is not TOML: {error}") from None
    try:
        # as JSON, because there a list is strictly a tuple
        return Campaign.model_validate_json(json.dumps(data, default=str))
    except pydantic.ValidationError as error:
        raise SpecificationError(f"{path}: {_in_words(error)}") from None


def _in_words(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if part not in ("tuple[str, ...]", "literal['expected']")]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    key = next((str(part) for part in reversed(place) if not isinstance(part, int)), "")
    if first["type"] == "extra_forbidden":
        known = list(_keys_at(place))
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: there is no such key{meant} (there are {', '.join(known)})"
    said = "it is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    fix = _FIXES.get(key)
    return f"{where}: {said}" + (f"; {fix}" if fix else "")


def _keys_at(place: list[str | int]) -> Iterator[str]:
    """The keys that are known where an unknown one stands."""
    tables: dict[str, type[BaseModel]] = {"series": Series, "reference": Reference, "thresholds": Thresholds}
    owner: type[BaseModel] = Campaign
    for part in place[:-1]:
        if isinstance(part, str):
            owner = tables.get(part, owner)
    yield from owner.model_fields


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else str(value)
