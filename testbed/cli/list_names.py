"""``testbed list``: what there is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from testbed.cli import outcome

KINDS = (
    "experiments",
    "claims",
    "topologies",
    "implementations",
    "tests",
    "policies",
    "middleboxes",
    "matches",
    "queues",
    "traces",
)


def list_names(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}; default: all.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List experiments, claims, topologies, stacks, tests of the matrix, option policies, middleboxes, what they match,
    queues, traces.

    Example: testbed list experiments
    """
    if kind not in (*KINDS, "all"):
        outcome.fail(f"list {kind}: the kinds are {', '.join(KINDS)}", outcome.USAGE)
    wanted = KINDS if kind == "all" else (kind,)
    found = {name: _entries(name) for name in wanted}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    from testbed.cli.console import console, table

    for name, entries in found.items():
        rows = [list(entry.values()) for entry in entries]
        console().print(table(list(entries[0]), rows, title=name))


def _entries(kind: str) -> list[dict[str, str]]:
    if kind == "experiments":
        from experiments.catalog import EXPERIMENTS, build
        from testbed.orchestrator.plan import trials

        built = [build(name) for name in EXPERIMENTS]
        return [{"name": item.name, "question": item.question, "trials": str(len(trials(item)))} for item in built]
    if kind == "claims":
        from experiments.claims import CLAIMS

        return [
            {"name": claim.id, "claim": claim.title, "whose": claim.who, "when": claim.when}
            for claim in CLAIMS.values()
        ]
    if kind == "topologies":
        from topologies.catalog import CATALOG

        return [{"name": name, "summary": entry.summary} for name, entry in CATALOG.items()]
    if kind == "tests":
        from experiments.interop import MEASUREMENTS, TESTS

        return [
            {"letters": test.abbreviation, "name": test.name, "asks": test.summary, "source": test.source}
            for test in (*TESTS, *MEASUREMENTS)
        ]
    if kind == "policies":
        from testbed.mptcp.profiles import RECEIVER_SUMMARIES, SENDERS

        profiles = [
            {"name": name, "of": "sender", "summary": sender.summary, "receiver rules": sender.receiver}
            for name, sender in SENDERS.items()
        ]
        return profiles + [
            {"name": name, "of": "receiver", "summary": summary, "receiver rules": name}
            for name, summary in RECEIVER_SUMMARIES.items()
        ]
    if kind == "middleboxes":
        from topologies.middlebox import CATALOG as BOXES

        return [
            {
                "name": box.keyword,
                "summary": box.summary,
                "text": box.usage,
                "example": box.example,
                "sees": "both directions" if box.two_way else "one or both",
            }
            for box in BOXES
        ]
    if kind == "matches":
        from topologies.match import meanings

        return [{"name": word, "summary": meaning} for word, meaning in meanings().items()]
    if kind == "queues":
        from topologies.queue_discipline import DISCIPLINES

        tail = "what comes when the queue is full is dropped; bdp: one bandwidth-delay product"
        return [{"name": "drop-tail", "summary": tail, "text": "LIMIT | bdp", "example": "100packets"}] + [
            {
                "name": each.keyword,
                "summary": each.summary,
                "text": f"{each.usage} [limit LIMIT]",
                "example": each.example,
            }
            for each in DISCIPLINES.values()
        ]
    if kind == "traces":
        from topologies.traces import SHIPPED, load

        return [{"name": name, "summary": text, "trace": load(name).describe()} for name, text in SHIPPED.items()]
    userspace = "yes: simulator; on real links with root"
    return [
        {"name": "linux", "summary": "MPTCP of this kernel (IPPROTO_MPTCP)", "here": _probed("linux")},
        {"name": "linux-tcp", "summary": "plain TCP of this kernel", "here": _probed("linux-tcp")},
        {"name": "userspace", "summary": "MPTCP of our own stack (RFC 8684)", "here": userspace},
        {"name": "userspace-tcp", "summary": "plain TCP of our own stack", "here": userspace},
        {"name": "script", "summary": "no stack: what the lines of a script say", "here": userspace},
    ]


def _probed(implementation: str) -> str:
    from testbed.orchestrator import features

    if implementation == "linux-tcp":
        return "yes"
    found = features.mptcp()
    return "yes" if found.available else f"UNSUPPORTED: {found.detail}"
