"""``testbed compare``: two runs, or variants of one run, against each other."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from analysis.comparison.runs import Comparison
    from analysis.runs import Run


MOST_ROWS = 40
"""Of the table on the terminal; of more series only those that changed are shown."""

MOST_LOST = 8
"""Lines about trials that do not count."""


class FailOn(Enum):
    """What makes the command end with exit code 1."""

    SLOWER = "slower"
    CHANGE = "change"
    NEVER = "never"


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two run directories, the reference first; or one.", show_default=False)
    ],
    reference: Annotated[
        str | None,
        typer.Option(metavar="RUN|VARIANT", help="Compare with this run, or with this variant of the run."),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Of one run: the reference variant, then the others. Of two: compare these although they are "
            "specified differently; A=B: A of the reference with B of the candidate.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Only this measure, as in an expectation; may be repeated.")
    ] = None,
    smallest: Annotated[str, typer.Option(help="Smallest change that matters.")] = "2%",
    fdr: Annotated[str, typer.Option(help="Share of the changes told that may be false.")] = "5%",
    fail_on: Annotated[
        FailOn, typer.Option(help="Exit 1 on a change for the worse, on any change, or never.")
    ] = FailOn.SLOWER,
    unlike: Annotated[bool, typer.Option("--unlike", help="Compare runs of unlike machines.")] = False,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Compare the trials as groups, not by seed.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write compare.html, .md, .csv and .json there.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print all series.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Say what is faster or slower in one run than in another, pair by pair of equal seeds, and how sure that is.

    Exit codes: 0 no change for the worse, 1 one was confirmed, 2 usage, 3 nothing could be compared.

    Example: testbed compare runs/quickstart/OLD runs/quickstart/NEW --out comparison
    """
    with outcome.reported():
        from analysis.report.compare_tables import as_json as json_of
        from analysis.report.compare_write import write_comparison

        options: dict[str, Any] = {
            "metrics": _metrics(metric or []),
            "smallest": _share("--smallest", smallest),
            "fdr": _share("--fdr", fdr),
        }
        comparison = _compared(runs, reference, variants, options, unlike=unlike, paired=False if unpaired else None)
        command = _command(runs, reference, variants, metric or [], smallest, fdr, unlike=unlike, unpaired=unpaired)
        written = write_comparison(comparison, out, command) if out is not None else []
        if as_json:
            print(json_of(comparison, command), end="")
        elif not quiet:
            _print(comparison, written, every=every)
        raise typer.Exit(_code(comparison, fail_on))


def _code(comparison: Comparison, fail_on: FailOn) -> int:
    if not comparison.is_decided:
        return outcome.INVALID
    found = {FailOn.SLOWER: comparison.regressions, FailOn.CHANGE: comparison.changes, FailOn.NEVER: ()}[fail_on]
    return outcome.FAILED if found else outcome.MET


def _compared(
    paths: list[Path],
    reference: str | None,
    variants: str | None,
    options: dict[str, Any],
    *,
    unlike: bool,
    paired: bool | None,
) -> Comparison:
    from analysis.comparison.runs import NothingToCompare, Unlike, compare_runs, compare_variants

    paths = list(paths)
    loaded = [_load(path) for path in paths]
    if reference is not None and len(paths) == 1 and reference not in loaded[0].variants:
        if not (Path(reference) / "run.json").is_file():
            known = ", ".join(loaded[0].variants)
            outcome.fail(f"--reference {reference}: neither a run directory nor a variant of {paths[0]}: {known}", 2)
        paths.insert(0, Path(reference))
        loaded.insert(0, _load(paths[0]))
        reference = None
    if len(paths) > 2 or (len(paths) == 2 and reference is not None):
        outcome.fail("compare takes two runs; or one with --reference, or with --variants", outcome.USAGE)
    _check_names(loaded, _names(variants))
    try:
        if len(paths) == 2:
            first, second = loaded
            if paths[0].resolve() == paths[1].resolve():
                second = first
            chosen = [_pair(name) for name in _names(variants)]
            return compare_runs(first, second, variants=chosen, unlike=unlike, paired=paired, **options)
        names = _names(variants)
        if reference is not None:
            others = names or [name for name in loaded[0].variants if name != reference]
            return compare_variants(
                loaded[0], reference, [name for name in others if name != reference], paired=paired, **options
            )
        if len(names) < 2:
            known = ", ".join(loaded[0].variants)
            outcome.fail(f"one run: name a reference variant and others with --variants A,B; it has {known}", 2)
        return compare_variants(loaded[0], names[0], names[1:], paired=paired, **options)
    except Unlike as error:
        outcome.fail(f"{error}; --unlike compares them all the same", outcome.INVALID)
    except NothingToCompare as error:
        outcome.fail(str(error), outcome.INVALID)


def _load(path: Path) -> Run:
    from analysis.runs import load
    from testbed.record import RecordError

    try:
        return load(path)
    except RecordError as error:
        outcome.fail(str(error), outcome.USAGE)


def _check_names(runs: Sequence[Run], names: Sequence[str]) -> None:
    """A name that no run has, or a variant against itself, is a slip of the pen, not a result."""
    for number, run in enumerate(runs):
        for name in names:
            part = _pair(name)[min(number, 1)] if len(runs) > 1 else name
            if part not in run.variants:
                known = ", ".join(run.variants)
                outcome.fail(f"--variants {name}: {run.path} has no variant {part!r}; it has {known}", outcome.USAGE)
    if len(set(names)) < len(names):
        outcome.fail(f"--variants {','.join(names)}: a variant is named twice", outcome.USAGE)


def _names(variants: str | None) -> list[str]:
    return [name.strip() for name in (variants or "").split(",") if name.strip()]


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition("=")
    return first, second or first


def _metrics(texts: list[str]) -> list[str]:
    from testbed.record.measure import MeasureError, parse_measure

    for text in texts:
        try:
            parse_measure(text)
        except MeasureError as error:
            outcome.fail(f"--metric {error}", outcome.USAGE)
    return texts


def _share(option: str, text: str) -> float:
    """``2%`` or ``0.02``."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        outcome.fail(f"{option} {text!r}: a share such as 2% or 0.02", outcome.USAGE)
    return value


def _command(
    runs: list[Path],
    reference: str | None,
    variants: str | None,
    metrics: list[str],
    smallest: str,
    fdr: str,
    *,
    unlike: bool,
    unpaired: bool,
) -> list[str]:
    words = ["testbed", "compare", *map(str, runs)]
    words += ["--reference", reference] if reference is not None else []
    words += ["--variants", variants] if variants is not None else []
    words += [word for text in metrics for word in ("--metric", text)]
    words += ["--smallest", smallest] if smallest != "2%" else []
    words += ["--fdr", fdr] if fdr != "5%" else []
    return words + ["--unlike"] * unlike + ["--unpaired"] * unpaired


def _print(comparison: Comparison, written: list[Path], *, every: bool) -> None:
    """The answer last, as everywhere: what stands above the prompt is what was asked for."""
    from analysis.report import compare_words as words
    from analysis.report.compare_page import notes, title
    from analysis.report.wording import count
    from testbed.cli.console import console, table

    output = console()
    output.print(f"\n{title(comparison)}", markup=False, soft_wrap=True)
    ordered = words.in_order(comparison)
    shown = [one for one in ordered if every or words.is_headline(comparison, one)]
    if not every and len(shown) > MOST_ROWS:
        shown = [one for one in ordered if one.is_change]
    rows = [
        [
            words.name_in(comparison, one),
            words.value(one.reference, one.unit),
            words.value(one.candidate, one.unit),
            words.ratio_words(one),
            f"{words.SIGNS[one.verdict]} {one.verdict}",
            words.evidence(one, with_test=False) if one.is_change else one.reason,
        ]
        for one in shown
    ]
    heads = ["series", "reference", "candidate", "ratio (95 %)", "verdict", "found with"]
    if rows:
        output.print(table(heads, rows, right=heads[1:4]))
    if len(ordered) > len(shown):
        more = count(len(ordered) - len(shown), "more series", "more series")
        output.print(f"{more} without a change: --all shows them", markup=False)
    lost = [f"! {pair.name}: {reason}" for pair in comparison.pairs for reason in pair.lost]
    for line in lost[:MOST_LOST]:
        output.print(line, markup=False, soft_wrap=True)
    if len(lost) > MOST_LOST:
        output.print(f"! {len(lost) - MOST_LOST} more such lines; --out DIR writes all", markup=False)
    for note in notes(comparison):
        output.print(f"! {note}", markup=False, soft_wrap=True)
    said = words.answer(comparison)
    output.print(f"{said.line} {said.numbers}".rstrip(), markup=False, soft_wrap=True)
    if written:
        output.print(f"comparison: {written[0]}", markup=False, soft_wrap=True)
