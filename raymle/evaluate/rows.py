"""The file of rows with their predictions, for error analysis."""

import uuid
from pathlib import Path

import pyarrow as pa


def write(output: Path, table: pa.Table) -> None:
    """Write a table whole or not at all."""
    draft = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    if output.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, draft)
    else:
        import pyarrow.csv

        pyarrow.csv.write_csv(_without_lists(table), draft)
    draft.replace(output)


def _without_lists(table: pa.Table) -> pa.Table:
    """Write lists as the text that stands for them: a csv has none."""
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if each is None else str(each) for each in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table
