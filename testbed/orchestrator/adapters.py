"""Implementations that others bring: read from ``NAME.toml`` or ``NAME=COMMAND``.

docs/howto/add-an-implementation.md is the contract; ``testbed/endpoint/adapter`` starts and drives the program. Here it
is only asked, before anything is built, for a test that nobody has: a program that does not refuse that one would also
pass tests that it does not know.
"""

from __future__ import annotations

import difflib
import os
import shlex
import time
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

from testbed.endpoint.adapter.contract import NO_SUCH_TEST, UNSUPPORTED, surroundings, variables
from testbed.endpoint.parameters import Bulk, Endpoint, ParameterError
from testbed.endpoint.protocol import Configuration, Role
from testbed.orchestrator import process
from testbed.orchestrator.errors import NotReady, TestbedError, Unsupported
from testbed.orchestrator.namespaces import close_all, make_namespaces
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
PROBE_S = 10.0
"""To the answer to a test that does not exist: an interpreter that starts on a busy machine takes a second."""
NOWHERE = "192.0.2.1"
"""RFC 5737: an address of no network."""


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
    tcp_only: bool = False
    """Both as :class:`testbed.endpoint.parameters.Endpoint`."""

    def endpoint(self, **wishes: Any) -> Endpoint:
        """An end that it carries out; ``wishes`` are other fields of an Endpoint. Raises ParameterError."""
        return Endpoint(
            implementation="adapter",
            adapter=self.name,
            command=self.command,
            environment=self.environment,
            waits_for_start=self.waits_for_start,
            tcp_only=self.tcp_only,
            **wishes,
        )


def refusal(endpoint: Endpoint) -> str | None:
    """Why an adapter must not be used: it does not tell what it cannot do, or cannot be started; None: it may be.

    Asked once in the life of this process, in a network namespace without any interface where that can be made.
    """
    bare = Endpoint(
        implementation="adapter",
        adapter=endpoint.adapter,
        command=endpoint.command,
        environment=endpoint.environment,
        tcp_only=endpoint.tcp_only,
    )
    return _refusal(bare)


@lru_cache(maxsize=64)
def _refusal(asked: Endpoint) -> str | None:
    name = asked.adapter
    for role in get_args(Role):
        answer = ask(asked, role, NO_SUCH_TEST)
        if not answer.started:
            return f"adapter {name} {answer}"
        if answer.exit_code != UNSUPPORTED:
            return (
                f"adapter {name} does not tell what it cannot do: asked as {role} for a test that does not exist, "
                f"it {answer}, and has to exit with {UNSUPPORTED}"
            )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an adapter answered a question without a network."""

    exit_code: int | None
    """None: it could not be started, or went on until it was killed."""
    started: bool = True
    trouble: str = ""
    said: str = ""
    """The last line on its standard error."""
    took_s: float = 0.0

    def __str__(self) -> str:
        if self.trouble:
            return self.trouble
        code = self.exit_code or 0
        how = f"is killed by signal {-code}" if code < 0 else f"exits with {code}"
        return f"{how} ({self.said})" if self.said else how


def ask(endpoint: Endpoint, role: Role, test: str) -> Answer:
    """Start an adapter for a test, without a network and without input, and wait for its exit."""
    begun_s = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="testbed-adapter-")))
        configuration = Configuration(
            role=role,
            flow="probe",
            remote_address=NOWHERE,
            endpoint=endpoint,
            application=Bulk(),
            duration_ns=1,
            test=test,
        )
        environment = surroundings(endpoint, variables(configuration, directory))
        try:
            namespaces = make_namespaces(1)
        except (Unsupported, OSError):
            namespaces = []
        stack.callback(close_all, list(namespaces))
        where = namespaces[0] if namespaces else None
        try:
            program = process.start(endpoint.command, namespace_fd=where, environment=environment)
        except (Unsupported, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{endpoint.command[0]} is not there"
            return Answer(exit_code=None, started=False, trouble=f"cannot be started: {why}")
        with program:
            try:
                code = program.wait(PROBE_S)
            except NotReady:
                program.kill()
                return Answer(
                    exit_code=None, trouble=f"still runs after {PROBE_S:g} s", said=_last_line(program.stderr)
                )
            return Answer(exit_code=code, said=_last_line(program.stderr), took_s=time.monotonic() - begun_s)


def version(adapter: Adapter) -> str | None:
    """What its version command prints first; None: it has none, or that failed."""
    if not adapter.version:
        return None
    try:
        printed = process.run(adapter.version, deadline_s=PROBE_S)
    except (TestbedError, OSError):
        return None
    return next((line.strip()[:120] for line in printed.splitlines() if line.strip()), None)


def _last_line(text: str) -> str:
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")


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
            tcp_only=document.tcp_only,
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
        "tcp_only": (bool, False),
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
