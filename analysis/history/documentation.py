"""The columns of a night, the keys of a manifest and the facts of events in words: parts of docs/history.md.

A test compares the page with this. ``python -m analysis.history.documentation`` prints the parts.
"""

from __future__ import annotations

from analysis.history.layout import EVENT_FACTS, HISTORY_VERSION, MANIFEST_KEYS, NIGHTS, Key


def columns_in_words() -> str:
    """Markdown table of the columns of a night."""
    rows = "".join(
        f"| `{column.name}` | {column.type} | {column.unit} | {'yes' if column.nullable else ''} | {column.meaning} |\n"
        for column in NIGHTS.columns
    )
    head = f"Version {HISTORY_VERSION} (`history_version` in each file). {NIGHTS.meaning}\n\n"
    return f"{head}| column | type | unit | may be null | meaning |\n|---|---|---|---|---|\n{rows}"


def manifest_in_words() -> str:
    """Markdown table of the keys of a manifest."""
    return "| key | always there | meaning |\n|---|---|---|\n" + "".join(_row(key) for key in MANIFEST_KEYS)


def events_in_words() -> str:
    """Markdown table of the events."""
    rows = "".join(f"| `{kind}` {_row(fact)}" for kind, facts in EVENT_FACTS.items() for fact in facts)
    return f"| event | fact | always there | meaning |\n|---|---|---|---|\n{rows}"


def _row(key: Key) -> str:
    return f"| `{key.name}` | {'yes' if key.required else ''} | {key.meaning} |\n"


if __name__ == "__main__":
    print(columns_in_words(), manifest_in_words(), events_in_words(), sep="\n")
