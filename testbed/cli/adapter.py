"""``testbed adapter check``: what is right and wrong with a program that speaks for another implementation."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.orchestrator.adapters import Adapter

adapter = typer.Typer(
    name="adapter",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Implementations of others, each started by one program: docs/howto/add-an-implementation.md.",
)


@adapter.callback()
def _group() -> None:
    """Keeps ``check`` a word of its own while it is the only one."""


@adapter.command("check")
def check(
    what: Annotated[str, typer.Argument(metavar="NAME.toml|NAME=COMMAND", help="The adapter.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the run directory goes.")] = Path("runs"),
) -> None:
    """Ask an adapter step by step whether it keeps the contract; transfers need root.

    Exit codes: 0 all that was asked is right, or told to be unsupported; 1 something is wrong; 3 something is INVALID.

    Example: sudo testbed adapter check docs/examples/adapters/netcat.toml
    """
    with outcome.reported():
        from testbed.orchestrator import runner
        from testbed.orchestrator.adapters import load_adapter

        steps = _Steps()
        subject = load_adapter(what)
        steps.tell("right", "description", f"{subject.name}: {' '.join(subject.command)}")
        _refuses(steps, subject)
        if steps.told["WRONG"]:
            raise typer.Exit(outcome.FAILED)
        if (why := runner.why_not_here()) is not None:
            print(f"not asked: transfers ({why})")
        else:
            _transfers(steps, subject, out)
        raise typer.Exit(steps.exit_code())


class _Steps:
    """Tells each step, and counts how they ended: ``right``, ``WRONG``, or a trial's INVALID or UNSUPPORTED."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def tell(self, how: str, name: str, detail: str) -> None:
        self.told[how] += 1
        print(f"{how:11}  {name:20}  {detail}", flush=True)

    def exit_code(self) -> int:
        """As the trials of a run have it."""
        return outcome.FAILED if self.told["WRONG"] else outcome.INVALID if self.told["INVALID"] else outcome.MET


def _refuses(steps: _Steps, subject: Adapter) -> None:
    """Without a network: whether it refuses what it cannot know."""
    from testbed.endpoint.adapter.contract import NO_SUCH_TEST, UNSUPPORTED
    from testbed.endpoint.protocol import Role
    from testbed.orchestrator.adapters import ask, version

    roles: tuple[Role, ...] = ("client", "server")
    for role in roles:
        answer = ask(subject.endpoint(), role, NO_SUCH_TEST)
        right = answer.exit_code == UNSUPPORTED
        wanted = f"{answer.took_s:.2f} s" if right else f"it has to exit with {UNSUPPORTED}"
        steps.tell("right" if right else "WRONG", f"unknown test, {role}", f"{answer}; {wanted}")
    if subject.version:
        said = version(subject)
        words = " ".join(subject.version)
        steps.tell("right" if said else "WRONG", "version", said or f"{words} fails or prints nothing")


def _transfers(steps: _Steps, subject: Adapter, out: Path) -> None:
    """Against this kernel, in a network of two paths."""
    from experiments.adapter_check import adapter_check
    from testbed.orchestrator import runner

    experiment = adapter_check(subject.endpoint())
    ended: dict[str, Mapping[str, Any]] = {}

    def on_message(message: Mapping[str, Any]) -> None:
        if message["kind"] == "ended":
            ended[message["variant"]] = message
        elif message["kind"] == "note":
            print(message["text"], file=sys.stderr)

    command = ["testbed", *sys.argv[1:]]
    request = runner.RunRequest(experiment=experiment, parent=out, command=command, backend="mininet")
    directory = runner.run(request, on_message)
    from analysis.runs import load

    flows = load(directory.path).flows
    for variant in experiment.variants:
        message = ended[variant.name]
        rows = flows[flows["trial"] == message["number"]].to_dict("records")
        how, problem = _judged(message, rows)
        steps.tell(how, variant.name.replace("/", ", "), problem or variant.summary)
    print(f"logs: {directory.path / 'logs'}")


def _judged(message: Mapping[str, Any], rows: list[Any]) -> tuple[str, str]:
    """How a step ended, and what was wrong with it."""
    if message["verdict"] != "VALID":
        return message["verdict"], message["reason"]
    for row in rows:
        if isinstance(row["error"], str):
            return "WRONG", row["error"]
        if row["integrity"] != "ok" or not row["complete"]:
            return "WRONG", f"the transfer was not complete (integrity: {row['integrity']})"
    return ("right", "") if rows else ("INVALID", "nothing was told of the flow")
