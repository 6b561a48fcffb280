"""What `raymle data show` tells: statistics of every column, the target's balance, and what looks wrong.

All of it comes from the samples of train and validation that preparing draws anyway (20,000 rows a side), never from
a sealed row, and it is computed when the splits are prepared. Computing it when it is asked for would need either the
source once more, which may be large, far away or gone, or raw rows on disk, which may be private. It is cheap enough:
each column is sorted or counted once, a column's power to predict is read off a table of its bins instead of a fitted
tree (no scikit-learn is imported), and what grows with pairs of columns has a cap. A table with many columns is
looked at in fewer rows. What was left out is said.
"""

from typing import Any

import pyarrow as pa

from raymle.data import shards
from raymle.data.summary import balance, bins, columns, findings, leakage, pictures, related
from raymle.data.summary.page import brief as brief
from raymle.data.summary.page import share as share
from raymle.data.summary.page import write as write
from raymle.records import Schema, Splits

CELLS = 8_000_000
FEWEST = 1000
SIDES = ("train", "validation")


def summarise(schema: Schema, samples: dict[str, pa.Table], *, rows: int) -> dict[str, Any]:
    """Return what was found: ``sampled``, ``columns``, ``balance``, ``findings`` and ``left_out``; all of it is JSON.

    Args:
        schema: What each column is.
        samples: Rows of each side; only train's and validation's are looked at.
        rows: How many rows the two sides have.
    """
    sides = {name: _fewer(samples[name]) for name in SIDES}
    table = pa.concat_tables(sides.values()).combine_chunks()
    held = dict(zip(table.column_names, table.columns, strict=True))
    told = [columns.describe(column, held.get(column.name)) for column in schema.columns]
    shown = balance.balance(schema, sides, masked=any(each["private"] and each["role"] == "target" for each in told))
    suspects = leakage.suspects(schema, table)
    pairs, left_out = related.correlated(schema, table)
    ids = related.ids(schema, table, told, rows=rows)
    return {
        "sampled": {name: side.num_rows for name, side in sides.items()},
        "columns": told,
        "balance": shown,
        "findings": findings.findings(schema, told, shown, [*suspects, *pairs, *ids]),
        "left_out": left_out,
    }


def _fewer(table: pa.Table) -> pa.Table:
    """Return rows from all over a table, fewer where it has many columns."""
    most = max(FEWEST, CELLS // (2 * max(1, table.num_columns)))
    return bins.spread(table, most)


def shown(name: str, splits: Splits) -> dict[str, Any]:
    """Return the whole document: what was found when the splits were prepared, and what they are."""
    schema = splits.data_schema
    about = {"name": name, "target": schema.target, "task": schema.kind, "rows": splits.rows}
    found = shards.summary(splits)
    return about | found | {"columns": pictures.added(found["columns"], splits)}
