"""docs/data-format.md from the schema: ``python -m testbed.record.documentation > docs/data-format.md``."""

from __future__ import annotations

import sys

from testbed.record.schema import RUN_KEYS, SCHEMA_VERSION, TABLES, Column, Table

_HEAD = f"""# Data format of a run directory

Generated from `testbed/record/schema.py`; a test checks that it is current. Schema version: {SCHEMA_VERSION}.

A run leaves `runs/<experiment>/<UTC time>-<first 8 digits of the digest>/`. Once `run.json` says `complete`, nothing
but the four reports, which are derived from the rest, is written again; `run.json` holds the SHA-256 of every other
file.

| path | what |
|---|---|
| `run.json` | what was run, on what, and the plan |
| `trials.parquet`, `flows.parquet`, ... | the tables below: Parquet, zstd; units and meanings as field metadata |
| `drawings/` | the networks, as SVG and text, by name |
| `captures/<trial>/`, `logs/<trial>/` | files of a trial |
| `report.html`, `report.md`, `summary.json`, `junit.xml` | derived: `testbed report RUN` writes them again |

While a run is under way its rows stand in `trials/<trial>/<table>.parquet`, one directory per finished trial, and
`testbed.record.RunDirectory.read_table` joins them. `trials/.<trial>.partial` is a trial that has not ended.

Conventions: times are integers of nanoseconds, rates bit/s, sizes bytes, chances in [0, 1]. What could not be measured,
or does not exist on that kernel, is null and never 0. Integers are exact (no float64 on the way): with pandas use
`table.to_pandas(types_mapper=pandas.ArrowDtype)`. An older schema version is migrated when it is read.

```python
from pathlib import Path
from testbed.record import RunDirectory

run = RunDirectory.open(Path("runs/aggregation/20260101T120000Z-0123abcd"))
flows = run.read_table("flows")  # a pyarrow.Table
```
"""


def data_format() -> str:
    """The whole document, Markdown."""
    parts = [_HEAD, "## run.json\n\n| key | type | always there | meaning |\n|---|---|---|---|\n"]
    for key in RUN_KEYS:
        types = key.type if isinstance(key.type, tuple) else (key.type,)
        words = " or ".join(
            {"str": "text", "int": "integer", "dict": "object"}.get(t.__name__, t.__name__) for t in types
        )
        parts.append(f"| `{key.name}` | {words} | {_yes(key.required)} | {key.meaning} |\n")
    parts += [_table(table) for table in TABLES.values()]
    return "".join(parts)


def _table(table: Table) -> str:
    head = "| column | type | unit | may be null | meaning |\n|---|---|---|---|---|\n"
    return f"\n## {table.name}.parquet\n\n{table.meaning}\n\n{head}" + "".join(_row(column) for column in table.columns)


def _row(column: Column) -> str:
    choices = f" One of {', '.join(f'`{choice}`' for choice in column.choices)}." if column.choices else ""
    return (
        f"| `{column.name}` | {column.type} | {column.unit} | {_yes(column.nullable)} | {column.meaning}{choices} |\n"
    )


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


if __name__ == "__main__":
    sys.stdout.write(data_format())
