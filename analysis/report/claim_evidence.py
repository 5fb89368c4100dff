"""Runs -> the evidence of every claim, as one JSON-ready document: docs/seed-claims.json.

The document says whose numbers they are: digest, kernel and commit of each run, and the command that makes it again. Of
it alone the Markdown is made (claims_document.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.claims import by_claim, judge_documented, stacks, supports
from analysis.report.answer import sentence_of
from analysis.report.says import doubt, says_its_spread, sentence, spread
from analysis.runs import Run
from analysis.verdict import Verdict, evaluate

DOCUMENT_VERSION = 1
Claim = Mapping[str, str]
"""As in run.json: id, title, statement, who, when, method, confirmed_by, refuted_by."""
_KEPT_OPTIONS = ("--variant", "--repeat", "--seed", "--set")
"""Of the command that made a run: what the numbers depend on."""


def claims_document(runs: Sequence[Run], claims: Sequence[Claim], where: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The evidence of all runs.

    Parameters
    ----------
    runs : sequence of Run
        In the order in which their evidence is told.
    claims : sequence of mappings
        All that the document speaks of, in order. Claims that only a run knows come after them.
    where : mapping
        Id of a claim -> experiments that give evidence of it, for those that were not measured.
    """
    texts = {claim["id"]: claim for claim in claims}
    for run in runs:
        for claim in run.experiment.get("claims", ()):
            texts.setdefault(claim["id"], claim)
    evidence: dict[str, list[dict[str, Any]]] = {name: [] for name in texts}
    for number, run in enumerate(runs):
        repetitions = run.experiment.get("repetitions", 2)
        for name, verdicts in by_claim(evaluate(run)).items():
            evidence[name] += [_piece(run, number, verdict, repetitions) for verdict in verdicts]
    return {
        "version": DOCUMENT_VERSION,
        "runs": [_run(run) for run in runs],
        "claims": [_claim(texts[name], evidence[name], where.get(name, ())) for name in texts],
    }


def renewed(document: Mapping[str, Any], claims: Sequence[Claim], where: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The same evidence, with the texts of claims as they are now, and judged anew. Claims that are new have none."""
    evidence = {claim["id"]: claim["evidence"] for claim in document["claims"]}
    texts = {claim["id"]: claim for claim in claims}
    for claim in document["claims"]:
        texts.setdefault(claim["id"], {name: claim[name] for name in _TEXTS})
    return {
        "version": DOCUMENT_VERSION,
        "runs": document["runs"],
        "claims": [_claim(texts[name], evidence.get(name, []), where.get(name, ())) for name in texts],
    }


_TEXTS = ("id", "title", "statement", "who", "when", "method", "confirmed_by", "refuted_by")


def _claim(claim: Claim, evidence: Sequence[Mapping[str, Any]], where: Sequence[str]) -> dict[str, Any]:
    judgement = judge_documented(evidence)
    return {
        **claim,
        "verdict": judgement.word,
        "verdict_text": judgement.text,
        "supporting": judgement.supporting,
        "contradicting": judgement.contradicting,
        "open": judgement.open,
        "experiments": list(where),
        "evidence": list(evidence),
    }


def _run(run: Run) -> dict[str, Any]:
    document, source = run.document, run.document["source"]
    counts = dict.fromkeys(("VALID", "INVALID", "UNSUPPORTED"), 0)
    for verdict in run.directory.read_table("trials")["verdict"].to_pylist():
        counts[verdict] += 1
    return {
        "experiment": run.experiment["name"],
        "backend": document["backend"],
        "digest": document["digest"],
        "seed": document["seed"],
        "started_utc": document["started_utc"],
        "state": document["state"],
        "kernel": document["kernel"].get("release"),
        "commit": source.get("commit"),
        "dirty": source.get("dirty"),
        "trials": counts,
        "command": command(document),
    }


def command(document: Mapping[str, Any]) -> str:
    """``"sudo ./tb run half_close --backend mininet --seed 3"``: what makes the numbers of a run again."""
    words = [str(word) for word in document["command"]]
    kept: list[str] = []
    for place, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if option in _KEPT_OPTIONS:
            kept += [word] if equals else words[place : place + 2]
    backend = document["backend"]
    prefix = [] if backend == "sim" else ["sudo"]
    return shlex.join([*prefix, "./tb", "run", document["experiment"]["name"], "--backend", backend, *kept])


def _piece(run: Run, number: int, verdict: Verdict, repetitions: int) -> dict[str, Any]:
    expectation = verdict.expectation
    finding = sentence_of(verdict, repetitions)
    found = verdict.interval
    return {
        "run": number,
        "variant": expectation["variant"],
        "stacks": stacks(run.variants[expectation["variant"]]),
        "metric": expectation["metric"],
        "statistic": expectation.get("statistic", "median"),
        "expected": finding.bound,
        "outcome": verdict.outcome,
        "speaks": expectation.get("speaks", "for"),
        "under": expectation.get("under") or "",
        "supports": supports(verdict),
        "sentence": sentence(verdict, repetitions),
        "spread": "" if says_its_spread(verdict) or verdict.value is None else spread(verdict),
        "doubt": doubt(verdict),
        "value": verdict.value,
        "unit": verdict.unit,
        "interval": None if found is None or found.low is None else [found.low, found.high],
        "interval_method": None if found is None else found.method,
        "level": None if found is None else found.level,
        "n": verdict.n,
        "values": list(verdict.values),
        "absolute": verdict.absolute,
        "reference": verdict.reference,
        "reference_of": verdict.reference_variant,
        "source": verdict.source,
        "reason": verdict.reason,
        "because": expectation.get("because", ""),
    }
