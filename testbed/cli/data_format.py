"""docs/data-format.md from both schemas: ``python -m testbed.cli.data_format > docs/data-format.md``."""

from __future__ import annotations

import sys

from analysis.capture.layout_counts import LAYOUTS
from analysis.capture.packet_tables import PACKETS
from analysis.capture.tables import TABLES
from analysis.contention.tables import TABLES as CONTENTION_TABLES
from testbed.record.documentation import data_format, table_in_words

CAPTURE_TABLES = tuple(
    {table.name: table for table in (*TABLES.values(), *CONTENTION_TABLES, LAYOUTS, PACKETS)}.values()
)
"""In the order of the page."""

_CAPTURE = """
# Data format of an analysis of a capture

From `analysis/capture/tables.py`. `testbed analyze FILE` leaves the directory `FILE.analysis`, whole or not at all:

| path | what |
|---|---|
| `analysis.json` | which files were read, how many packets they hold and of which kinds, warnings |
| `connections.parquet`, `packets.parquet`, ... | the tables below: Parquet, zstd, with units and meanings |
| `segments.parquet` | with `--segments`: the table of that name above, source `capture` |
| `place-2/`, ... | the same of captures of the same traffic at other places |
| `report.html` | made from the rest, one file |

The conventions are those above. Sequence numbers of the data level are 64 bits wide and exact (uint64), widened where a
packet carried 32; DSNs of a subflow in the middle of which the capture begins are null where they cannot be known.
Direction 0 is from the host that opened the connection (the client) to the other, 1 is back; `there` and `back` in the
names of columns say the same.

```python
import pyarrow.parquet as pq

packets = pq.read_table("client.analysis/packets.parquet", filters=[("connection", "=", 0)])
```
"""


def document() -> str:
    """The whole page, Markdown."""
    return data_format() + _CAPTURE + "".join(table_in_words(table) for table in CAPTURE_TABLES)


if __name__ == "__main__":
    sys.stdout.write(document())
