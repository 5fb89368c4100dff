"""Implementations that others bring: read from ``NAME.toml`` or ``NAME=COMMAND``.

docs/howto/add-an-implementation.md is the contract; ``testbed/endpoint/adapter`` starts and drives the program.
"""

from __future__ import annotations

import difflib
import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.endpoint.parameters import Endpoint, ParameterError
from testbed.orchestrator.spec import SpecificationError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_HOW = "write --adapter NAME.toml or --adapter NAME=COMMAND"
_FIXES = {
    "missing": "it has to be there",
    "extra_forbidden": "there is no such key",
    "string_type": "write a text in quotes",
    "bool_type": "write true or false",
    "list_type": 'write a list of words: ["./mine", "--quiet"]',
    "tuple_type": 'write a list of words: ["./mine", "--quiet"]',
    "dict_type": "write a table of texts: [environment]",
}
"""Of pydantic's types of errors: what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One implementation that another wrote, and the program by which the testbed speaks with it."""

    name: str
    command: tuple[str, ...]
    """The program and its arguments; a path among them that the file gave relative to itself is relative to the
    working directory now, or absolute when it is not under that."""
    version: tuple[str, ...] = ()
    """Prints one line about the implementation; empty: not told."""
    url: str | None = None
    summary: str | None = None
    environment: tuple[str, ...] = ()
    """``NAME=VALUE``."""
    waits_for_start: bool = False
    """As :class:`testbed.endpoint.parameters.Endpoint`."""

    def endpoint(self, **wishes: Any) -> Endpoint:
        """An end that it carries out; ``wishes`` are other fields of an Endpoint. Raises ParameterError."""
        return Endpoint(
            implementation="adapter",
            adapter=self.name,
            command=self.command,
            environment=self.environment,
            waits_for_start=self.waits_for_start,
            **wishes,
        )


def load_adapter(text: str) -> Adapter:
    """The adapter that a word of the command line names: a file ``NAME.toml``, or ``NAME=COMMAND``.

    Raises SpecificationError, which names the file, the key and the fix.
    """
    if text.endswith(".toml") and "=" not in text:
        return read_adapter(Path(text))
    name, sign, command = text.partition("=")
    if not sign:
        raise SpecificationError(f"adapter {text!r}: {_HOW}")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise SpecificationError(f"adapter {text!r}: {error}") from None
    return _checked(Adapter(name=name.strip(), command=words), f"adapter {text!r}")


def read_adapter(path: Path) -> Adapter:
    """The adapter that a file describes. Raises SpecificationError, which names the file, the key and the fix."""
    from pydantic import ValidationError

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SpecificationError(f"{path}: {why}; {_HOW}") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecificationError(f"{path}: not TOML: {error}") from None
    model = _model()
    try:
        document: Any = model.model_validate(data)
    except ValidationError as error:
        raise SpecificationError(f"{path}: {_first_problem(error, model)}") from None
    return _checked(
        Adapter(
            name=document.name,
            command=_beside(path, document.command),
            version=_beside(path, document.version),
            url=document.url,
            summary=document.summary,
            environment=tuple(f"{name}={value}" for name, value in document.environment.items()),
            waits_for_start=document.waits_for_start,
        ),
        str(path),
    )


def _checked(adapter: Adapter, where: str) -> Adapter:
    try:
        adapter.endpoint()
    except ParameterError as error:
        raise SpecificationError(f"{where}: {error}") from None
    return adapter


def _beside(path: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """The words with those that name a file beside the description made good for the working directory."""

    def found(word: str) -> str:
        file = path.parent / word
        if not word.startswith(("./", "../")) or not file.exists():
            return word
        relative = os.path.relpath(file)
        return f"./{relative}" if not relative.startswith("..") else str(file.resolve())

    return tuple(found(word) for word in words)


def _model() -> type[BaseModel]:
    """Made late: the command line starts without pydantic."""
    from pydantic import ConfigDict, create_model

    fields: Mapping[str, Any] = {
        "name": (str, ...),
        "command": (tuple[str, ...], ...),
        "version": (tuple[str, ...], ()),
        "url": (str | None, None),
        "summary": (str | None, None),
        "environment": (dict[str, str], {}),
        "waits_for_start": (bool, False),
    }
    return create_model(
        "AdapterFile", __config__=ConfigDict(extra="forbid", strict=False, str_strip_whitespace=True), **fields
    )


def _first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    fix = _FIXES.get(first["type"], first["msg"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, model.model_fields, n=1)
        fix += f"; is {near[0]} meant?" if near else f"; the keys are {', '.join(model.model_fields)}"
    return f"{key}: {fix}"
