"""docs/seed-claims.json -> docs/seed-claims.md: a table of verdicts, then a paragraph for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.claims import judge_documented
from analysis.report.wording import count, source_in_words

GROUPS: Mapping[str, str] = {
    "S": "The seed thread",
    "N": "Novel",
    "L": "Mechanisms of Linux",
    "V": "Published results",
}
"""First letter of a claim's id -> heading."""
MOST_LINES = 14
"""Sentences of a claim; the JSON has all."""
_Key = tuple[bool | None, str, str, str, str]
"""Whether it supports, sentence, spread with doubt, condition, source."""
_MARKS: Mapping[bool | None, str] = {True: "✓", False: "✗", None: "–"}

_HEAD = """\
# What was claimed, and what was measured

The claims S1 to S29 were made in the thread “RFC6824bis edits based on implementation feedback” of the multipathtcp
working group (2 January to 13 February 2020), which ended with the question open; the others are this project's (N),
what is known of Linux (L), and published results (V). Each experiment states what would confirm and what would refute
a claim, and checks the mechanism: counters, options on the wire, what the peers saw.

This file is generated from run directories by `testbed claims`, with [seed-claims.json](seed-claims.json) beside it,
which has every number, trial by trial; nothing here was typed. A piece of evidence (✓ supports, ✗ contradicts) is one
expectation over the valid trials of one variant. All support: the claim **holds**. None: it **does not hold**. The
conditions of the pieces, or the stacks, decide: it **depends** on them. Else it **holds partly**. Where the bound of
an expectation lies within the interval of what was measured, that is said: such a piece is no more than a hint.
"""


def markdown(document: Mapping[str, Any]) -> str:
    """The whole file."""
    claims = document["claims"]
    parts = [_HEAD, "## Verdicts\n", _table(claims)]
    for letter, heading in _groups(claims).items():
        parts.append(f"## {heading}\n")
        parts += [_paragraph(claim, document["runs"]) for claim in claims if claim["id"].startswith(letter)]
    parts += ["## Runs\n", _runs(document["runs"])]
    return "\n".join(parts)


def _groups(claims: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    letters = dict.fromkeys(claim["id"][0] for claim in claims)
    return {letter: GROUPS.get(letter, letter) for letter in letters}


def _table(claims: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| claim | in few words | whose | verdict | evidence that supports it |", "|---|---|---|---|---|"]
    for claim in claims:
        anchor = f"[{claim['id']}](#{claim['id'].lower()})"
        cells = [anchor, claim["title"], claim["who"], f"**{claim['verdict_text']}**", _support(claim)]
        lines.append(f"| {' | '.join(_cell(text) for text in cells)} |")
    return "\n".join(lines) + "\n"


def _support(claim: Mapping[str, Any]) -> str:
    return judge_documented(claim["evidence"]).count


def _paragraph(claim: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    evidence = claim["evidence"]
    lines = [
        f'<a id="{claim["id"].lower()}"></a>',
        f"### {claim['id']}: {claim['title']}\n",
        f"**Claim** ({claim['who']}, {claim['when']}): {claim['statement']} **Method:** {claim['method']} "
        f"It would be confirmed by {claim['confirmed_by']}, and refuted by {claim['refuted_by']}.\n",
    ]
    if claim["verdict"] == "not measured":
        return "\n".join([*lines, f"**Verdict: not measured.** {_why_not(claim)}\n"])
    lines.append(f"**Verdict: {claim['verdict_text']}.** {_counted(claim)} **Result:**\n")
    lines += _results(evidence, runs)
    used = dict.fromkeys(piece["run"] for piece in evidence if piece["supports"] is not None)
    commands = ", ".join(f"`{runs[number]['command']}`" for number in used)
    return "\n".join([*lines, f"\nReproduce: {commands}\n"])


def _counted(claim: Mapping[str, Any]) -> str:
    whole = claim["supporting"] + claim["contradicting"]
    verb = "supports" if claim["supporting"] == 1 else "support"
    left = f"; {claim['open']} could not be evaluated" if claim["open"] else ""
    return f"{claim['supporting']} of {count(whole, 'piece')} of evidence {verb} it{left}."


def _why_not(claim: Mapping[str, Any]) -> str:
    reasons = list(dict.fromkeys(piece["reason"] for piece in claim["evidence"] if piece["reason"]))
    if reasons:
        return f"It could not be evaluated in these runs: {'; '.join(reasons[:3])}."
    if claim["experiments"]:
        return f"None of these runs has evidence of it; `./tb run {' '.join(claim['experiments'])}` gives it."
    return "No experiment gives evidence of it yet."


def _results(evidence: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each thing found; what was found alike in several places once, with the places."""
    places: dict[_Key, list[str]] = {}
    for piece in evidence:
        if piece["supports"] is not None:
            told = "; ".join(text for text in (piece["spread"], piece["doubt"]) if text)
            key = piece["supports"], piece["sentence"], told, piece["under"], piece["source"]
            where = f"{runs[piece['run']]['backend']}, {piece['stacks']}, `{piece['variant']}`"
            if where not in places.setdefault(key, []):
                places[key].append(where)
    against = [key for key in places if not key[0]]
    shown = set([*against, *(key for key in places if key[0])][:MOST_LINES])
    lines = [_line(key, found) for key, found in places.items() if key in shown]
    if len(places) > len(lines):
        lines.append(f"- and {len(places) - len(lines)} more, in seed-claims.json")
    return lines


def _line(key: _Key, places: Sequence[str]) -> str:
    answer, sentence, spread, under, source = key
    named = "; ".join(places[:4]) + (f"; and {len(places) - 4} more" if len(places) > 4 else "")
    words = source_in_words(source)
    details = "; ".join(text for text in (spread, "" if words in sentence else words, named) if text)
    condition = f"*{under}:* " if under else ""
    return f"- {_MARKS[answer]} {condition}{_cell(sentence).rstrip('.')} ({details})"


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| experiment | backend | trials | kernel | commit | digest | command |", "|---|---|---|---|---|---|---|"]
    for run in runs:
        trials = run["trials"]
        counted = f"{trials['VALID']} valid" + "".join(
            f", {trials[word]} {word}" for word in ("INVALID", "UNSUPPORTED") if trials[word]
        )
        commit = (run["commit"] or "unknown")[:12] + (" and changes" if run["dirty"] else "")
        state = "" if run["state"] == "complete" else " (not complete)"
        cells = [run["experiment"] + state, run["backend"], counted, run["kernel"] or "–", commit]
        cells += [f"`{run['digest'][:12]}`", f"`{run['command']}`"]
        lines.append(f"| {' | '.join(_cell(text) for text in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
