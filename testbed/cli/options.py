"""``testbed options``: the calculator of the option space."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.mptcp.option_calculator import Answer, Laid, Question
    from testbed.mptcp.parameters import OptionPolicy

PACKINGS = {"aligned": "padded", "dense": "dense"}
"""Packing of the policy -> its word here."""
_CLASSES = (
    "left out: padding: would fit without NOPs; width: with 32-bit DSN and DATA_ACK besides; "
    "policy: if what can wait did, or the profile chose so; hard: not even then"
)


def options(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION...", help="What a segment is to carry; --words lists them.", show_default=False),
    ] = None,
    profile: Annotated[str, typer.Option(help="Option policy that decides; 'testbed list policies'.")] = "linux",
    segment: Annotated[
        str | None, typer.Option(help="syn, syn-ack, ack, data or rst; default: what the options stand on.")
    ] = None,
    as_table: Annotated[bool, typer.Option("--table", help="Print what is left beside every form of the DSS.")] = False,
    list_words: Annotated[bool, typer.Option("--words", help="List the options and their forms.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what fits into the 40 octets of TCP options, in which order, and what is left, padded and dense.

    The answer is that of the code that fills the segments of the userspace endpoint, under the profile's priorities.

    Example: testbed options timestamps dss:ack8,dsn8 sack:3 add_addr:v6,port
    """
    if list_words:
        _print_words()
        return
    if as_table:
        _print_matrix(as_json)
        return
    if not words:
        outcome.fail("options: name some, such as: testbed options timestamps dss:ack8,dsn8 sack:3", outcome.USAGE)
    from testbed.cli.option_words import WordError, question
    from testbed.mptcp.option_calculator import SEGMENTS, answer

    kind = next((known for known in SEGMENTS if known == segment), None)
    if segment is not None and kind is None:
        outcome.fail(f"--segment {segment}: it has to be one of {', '.join(SEGMENTS)}", outcome.USAGE)
    policy = _policy(profile)
    try:
        asked = question(words or [], kind)
    except WordError as error:
        outcome.fail(f"options: {error}", outcome.USAGE)
    answers = {
        word: answer(asked, replace(policy, packing="dense" if packing == "dense" else "aligned"))
        for packing, word in PACKINGS.items()
    }
    if as_json:
        print(json.dumps(_as_json(asked, profile, policy, answers), indent=1))
    else:
        _print_answers(asked, profile, policy, answers)


def _policy(profile: str) -> OptionPolicy:
    from testbed.mptcp.profiles import SENDERS

    if profile not in SENDERS:
        import difflib

        near = difflib.get_close_matches(profile, SENDERS, n=3, cutoff=0.4) or list(SENDERS)
        outcome.fail(f"there is no profile {profile!r}; near ones: {', '.join(near)}", outcome.USAGE)
    return SENDERS[profile].policy


def _print_words() -> None:
    from testbed.cli.console import console, table
    from testbed.cli.option_words import ALIASES, WORDS

    console().print(table(["option", "forms"], [[word, forms] for word, forms in WORDS.items()]))
    print(f"also: {', '.join(f'{short} for {name}' for short, name in ALIASES.items())}")


def _print_matrix(as_json: bool) -> None:
    from testbed.mptcp.option_table import lines

    if as_json:
        print(json.dumps([_line_as_json(line._asdict()) for line in lines()], indent=1))
        return
    from testbed.cli.console import console, table

    heads = ["DSS", "as an OPTION", "octets", "padded", "TS, padded", "padded ", "TS, dense", "dense"]
    rows = []
    for line in lines():
        rooms = (line.aligned_with_timestamps, line.aligned, line.dense_with_timestamps, line.dense)
        cells = [f"{room.octets:2}, {room.sack_blocks}" for room in rooms]
        rows.append([line.dss, line.word, str(line.size), str(line.aligned_size), *cells])
    title = "Octets left beside the DSS, and SACK blocks that fit into them (TS: beside timestamps)"
    console().print(table(heads, rows, title=title, right=heads[2:]))


def _line_as_json(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in line.items()}


def _print_answers(asked: Question, profile: str, policy: OptionPolicy, answers: dict[str, Answer]) -> None:
    from testbed.cli.console import console, table
    from testbed.mptcp.packing import AREA

    output = console()
    wanted = _wanted(answers)
    octets = sum(size for _, size in wanted)
    head = f"{asked.segment} segment, profile {profile}: {octets} octets wanted of {AREA}, pressure {octets / AREA:.2f}"
    output.print(f"{head}: {'not all can fit' if octets > AREA else 'all fit but for padding and rules'}", markup=False)
    own = PACKINGS[policy.packing]
    heads = [f"{word} ({profile})" if word == own else word for word in answers]
    rows = [
        [str(number), _named(asked, name), str(size), *(_fate(name, answer) for answer in answers.values())]
        for number, (name, size) in enumerate(_by_priority(asked, policy, wanted), start=1)
    ]
    output.print(table(["", "option, in order of priority", "octets", *heads], rows, right=["", "octets"]))
    laid = [
        [word, part.segment, _on_the_wire(part), str(part.octets), str(part.padding), str(part.left), _blocks(part)]
        for word, answer in answers.items()
        for part in answer.segments
    ]
    columns = ["", "segment", "on the wire", "octets", "padding", "left", "SACK blocks"]
    output.print(table(columns, laid, right=columns[3:]))
    for word, answer in answers.items():
        last = answer.segments[-1]
        if last.blame:
            text = f"{word}: one more SACK block would fit without {' or '.join(last.blame)}"
            output.print(text, markup=False, soft_wrap=True)
    if any(part.omitted or part.sack_classes for each in answers.values() for part in each.segments):
        output.print(_CLASSES, markup=False, soft_wrap=True)


def _wanted(answers: dict[str, Answer]) -> tuple[tuple[str, int], ...]:
    """Of the segment asked about: with an ACK ahead of it, what that one wanted is in it, too."""
    merged: dict[str, int] = {}
    for part in next(iter(answers.values())).segments[::-1]:
        for name, size in part.wanted:
            merged.setdefault(name, size)
    return tuple(merged.items())


def _by_priority(asked: Question, policy: OptionPolicy, wanted: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
    """On a SYN and on an RST the order on the wire decides; after the handshake the profile's priority."""
    if asked.segment not in ("ack", "data"):
        return list(wanted)
    order = [("handshake" if name in ("mp_capable", "mp_join") else name) for name, _ in wanted]
    places: dict[str, int] = {name: index for index, name in enumerate(policy.priority)}
    ranked = sorted(range(len(wanted)), key=lambda index: places.get(order[index], 0))
    return [wanted[index] for index in ranked]


def _named(asked: Question, name: str) -> str:
    return f"sack, {asked.sack_blocks} blocks" if name == "sack" else name


def _fate(name: str, answer: Answer) -> str:
    """What became of an option, in words."""
    last = answer.segments[-1]
    if name in answer.given_up:
        return "given up: does not fit even alone"
    if name == "sack":
        if last.sack_sent == last.sack_wanted:
            return "fits"
        classes = ", ".join(f"{word} {number}" for word, number in last.sack_classes)
        return f"{last.sack_sent} of {last.sack_wanted} blocks; left out: {classes}"
    left_out = dict(last.omitted)
    if name in dict(last.sent):
        parts = [
            f"{part.removeprefix('dss-').replace('-', ' ')} left out: {why}"
            for part, why in last.omitted
            if part.startswith(f"{name}-")
        ]
        return "; ".join(["fits", *parts]) if not parts else "; ".join(["in part", *parts])
    if any(name in dict(part.sent) for part in answer.segments[:-1]):
        return "on an ACK ahead of the data"
    if name in left_out:
        return f"left out: {left_out[name]}"
    return "waits" if name in answer.waiting else "not on it"


def _on_the_wire(part: Laid) -> str:
    from testbed.mptcp.ledger import name_of

    words = {0: "eol", 1: "nop"}
    return " ".join(words.get(option.kind) or f"{name_of(option)}:{option.size}" for option in part.options)


def _blocks(part: Laid) -> str:
    return f"{part.sack_sent} of {part.sack_wanted}" if part.sack_wanted else "–"


def _as_json(asked: Question, profile: str, policy: OptionPolicy, answers: dict[str, Answer]) -> dict[str, Any]:
    wanted = _wanted(answers)
    return {
        "segment": asked.segment,
        "profile": profile,
        "packing": PACKINGS[policy.packing],
        "wanted": [{"option": name, "octets": size} for name, size in _by_priority(asked, policy, wanted)],
        "pressure": sum(size for _, size in wanted) / 40,
        **{word: _answer_as_json(answer) for word, answer in answers.items()},
    }


def _answer_as_json(answer: Answer) -> dict[str, Any]:
    return {
        "segments": [
            {
                "segment": part.segment,
                "on_the_wire": _on_the_wire(part),
                "sent": [{"option": name, "octets": size} for name, size in part.sent],
                "octets": part.octets,
                "padding_octets": part.padding,
                "left_octets": part.left,
                "sack_wanted": part.sack_wanted,
                "sack_sent": part.sack_sent,
                "sack_left_out": dict(part.sack_classes),
                "sack_blame": list(part.blame),
                "left_out": dict(part.omitted),
            }
            for part in answer.segments
        ],
        "waiting": list(answer.waiting),
        "given_up": list(answer.given_up),
    }
