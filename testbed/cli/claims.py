"""``testbed claims``: what the evidence of some runs says of every claim."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli import outcome


def claims(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run directories; or a directory of runs, of which the newest complete one of each experiment and "
            "backend counts; or the evidence of an earlier call (.json), to be judged anew.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the Markdown here and the evidence beside it, as .json.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the evidence here.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Count the verdict of every claim from the evidence of runs, and write it down with the numbers.

    Example: testbed claims runs --out docs/seed-claims.md
    """
    with outcome.reported():
        from analysis.report.claim_evidence import claims_document, renewed
        from analysis.report.claims_document import markdown
        from analysis.runs import load

        known, where = registry(), evidence_by_experiment()
        if len(runs) == 1 and runs[0].suffix == ".json":
            document = renewed(_evidence(runs[0]), known, where)
        else:
            document = claims_document([load(path) for path in run_paths(runs)], known, where)
        if out is not None and json_file is None:
            json_file = out.with_suffix(".json")
        if json_file is not None:
            _write(json_file, as_text(document))
        if out is not None:
            _write(out, markdown(document))
        if not quiet:
            _print(document)


def as_text(document: Mapping[str, Any]) -> str:
    """The evidence as it is kept, a run and a piece of evidence in a line; the same document gives the same text."""
    claims = [
        f"{_line({**claim, 'evidence': None})[: -len('null}')]}{_lines(claim['evidence'])}}}"
        for claim in document["claims"]
    ]
    runs, version = _lines(document["runs"]), document["version"]
    joined = ",\n".join(claims)
    return f'{{"version": {version},\n"runs": {runs},\n"claims": [\n{joined}\n]}}\n'


def _lines(values: Sequence[object]) -> str:
    return "[\n" + ",\n".join(f" {_line(value)}" for value in values) + "\n]" if values else "[]"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def run_paths(paths: Sequence[Path]) -> list[Path]:
    """The run directories meant. Raises RecordError when a path is none and has none."""
    from testbed.record import RecordError

    found: list[Path] = []
    for path in paths:
        if (path / "run.json").is_file():
            found.append(path)
        elif below := _newest(sorted(path.glob("**/run.json"))):
            found += below
        else:
            raise RecordError(f"{path} is no run directory, and has no complete run below it")
    return list(dict.fromkeys(found))


def _newest(documents: Sequence[Path]) -> list[Path]:
    """Of each experiment and backend the newest complete run that has claims, by name of the experiment."""
    newest: dict[tuple[str, str], tuple[str, Path]] = {}
    for path in documents:
        document = json.loads(path.read_text())
        if document.get("state") == "complete" and document["experiment"].get("claims"):
            key = document["experiment"]["name"], document["backend"]
            newest[key] = max(newest.get(key, ("", path.parent)), (document["started_utc"], path.parent))
    return [path for _, (_, path) in sorted(newest.items())]


def registry() -> list[dict[str, str]]:
    """Every claim, as run.json has it."""
    import dataclasses

    from experiments.claims import CLAIMS

    return [dataclasses.asdict(claim) for claim in CLAIMS.values()]


def evidence_by_experiment() -> dict[str, list[str]]:
    """Id of a claim -> experiments that state evidence of it."""
    from experiments.catalog import EXPERIMENTS, build

    found: dict[str, list[str]] = {}
    for name in EXPERIMENTS:
        named = {expectation.claim for expectation in build(name).expectations if expectation.claim}
        for claim in sorted(named):
            found.setdefault(claim, []).append(name)
    return found


def _evidence(path: Path) -> dict[str, Any]:
    from testbed.record import RecordError

    try:
        document: dict[str, Any] = json.loads(path.read_text())
        version = document["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is no evidence of claims: {error}") from error
    if version != 1:
        raise RecordError(f"{path} is of version {version}; this testbed reads version 1")
    return document


def _write(path: Path, text: str) -> None:
    from testbed.record import RecordError

    try:
        path.write_text(text)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror or error}") from error


def _print(document: Mapping[str, Any]) -> None:
    from testbed.cli.console import console, table

    rows = [
        [claim["id"], claim["title"], claim["verdict_text"], str(claim["supporting"]), str(claim["contradicting"])]
        for claim in document["claims"]
        if claim["evidence"]
    ]
    output = console()
    output.print(table(["claim", "in few words", "verdict", "for", "against"], rows, right=["for", "against"]))
    missing = [claim["id"] for claim in document["claims"] if not claim["evidence"]]
    if missing:
        output.print(f"no evidence in these runs: {', '.join(missing)}", markup=False, soft_wrap=True)
    pieces = sum(len(claim["evidence"]) for claim in document["claims"])
    output.print(f"{len(document['runs'])} runs, {pieces} pieces of evidence")
