from itertools import pairwise

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_model import rows

from raymle.data.source import resolve
from raymle.errors import DataError
from raymle.predict import reading
from raymle.predict.chunks import ROWS, chunks, cut, total
from raymle.predict.job import job


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 120))
def test_every_row_group_with_rows_is_in_one_chunk_in_order_and_only_a_large_group_makes_a_large_chunk(groups, most):
    found = list(cut(groups, most))
    assert [each for start, stop in found for each in groups[start:stop] if each] == [each for each in groups if each]
    assert all(stop <= start for (_, stop), (start, _) in pairwise(found))
    sizes = [groups[start:stop] for start, stop in found]
    assert all(0 < sum(size) <= max(most, *size) for size in sizes)
    assert all(sum(one) + sum(two) > most for one, two in pairwise(sizes)), "two fit into one"


@pytest.mark.parametrize("kind", ["parquet", "csv", "table"])
def test_reading_the_chunks_gives_every_row_once_with_its_place(bundle, tmp_path, kind):
    table, sizes, at = rows(1000), (0, 1, 600, 399, 0), 0
    for number, size in enumerate(sizes):
        part, path = table.slice(at, size), tmp_path / f"{number}.{kind}"
        at += size
        if kind == "parquet":
            pq.write_table(part, path, row_group_size=70)
        elif kind == "csv":
            pyarrow.csv.write_csv(part, path)
    made = job(bundle, table if kind == "table" else str(tmp_path), tmp_path / "out.parquet")
    found = list(reading.batches(made, made.chunks))
    assert pa.concat_arrays([each.rows["id"].cast(pa.string()) for each in found]) == table["id"].combine_chunks()
    numbers = [number for each in found for number in each.numbers]
    assert numbers == [*range(1, 1001)] if kind == "table" else [*range(1, 2), *range(1, 601), *range(1, 400)]
    assert made.rows in {1000, None}
    assert (made.rows is None) == (kind == "csv")


def test_chunks_are_numbered_and_a_large_row_group_is_one(tmp_path):
    half = ROWS // 2 + 1
    pq.write_table(pa.table({"a": range(3 * half)}), tmp_path / "a.parquet", row_group_size=half)
    pq.write_table(pa.table({"a": range(ROWS + 5)}), tmp_path / "b.parquet", row_group_size=2 * ROWS)
    found = chunks(resolve(str(tmp_path), folder="."))
    assert [(each.number, each.first, each.rows) for each in found] == [
        (0, 0, half), (1, half, half), (2, 2 * half, half), (3, 0, ROWS + 5),
    ]  # fmt: skip
    assert total(found) == 3 * half + ROWS + 5


def test_a_source_without_rows_is_one_chunk_without_rows(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    assert [each.rows for each in chunks(resolve(str(tmp_path), folder="."))] == [0]
    assert [each.rows for each in chunks(resolve(pa.table({"a": []}), folder="."))] == [0]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_with_other_columns_is_found_before_anything_is_read(tmp_path, kind):
    for name, table in {"a": pa.table({"a": [1], "b": [2]}), "b": pa.table({"a": [1]})}.items():
        path = tmp_path / f"{name}.{kind}"
        pq.write_table(table, path) if kind == "parquet" else pyarrow.csv.write_csv(table, path)
    with pytest.raises(DataError, match=rf"b\.{kind} has no column 'b', which a\.{kind} has"):
        chunks(resolve(str(tmp_path), folder="."))
