import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymle.data.blocks import rows_of
from raymle.data.source import Source, batches, fingerprint, resolve
from raymle.errors import DataError
from raymle.store import LocalStore

TABLE = pa.table({"n": [1.5, None, 3.0, 4.0], "c": ["a", "b", None, "a"], "y": ["no", "yes", "no", "yes"]})


def rows(source: Source, *columns: str, size: int = 131_072) -> list[dict[str, Any]]:
    found = batches(source, columns or None, rows=size)
    return [row for batch in found for row in batch.to_pylist()]


def write(folder: Path, name: str, text: str) -> Source:
    (folder / name).write_text(text)
    return resolve(name, folder=str(folder))


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    pa.csv.write_csv(TABLE, tmp_path / "t.csv")
    lines = TABLE.to_pandas().to_json(orient="records", lines=True)
    (tmp_path / "t.jsonl").write_text(lines)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    for name in ("t.parquet", "t.csv", "t.jsonl", "t.csv.gz"):
        found = resolve(name, folder=str(tmp_path))
        assert rows(found) == TABLE.to_pylist(), name
        assert rows(found) == rows(found), "a source reads again from the start"
        assert rows(found, "y", "n") == TABLE.select(["y", "n"]).to_pylist()
    assert rows(resolve(TABLE, folder=".")) == TABLE.to_pylist()
    assert rows(resolve(TABLE.to_pandas(), folder=".")) == TABLE.to_pylist()


def test_no_batch_is_longer_than_asked(tmp_path: Path) -> None:
    found = write(tmp_path, "t.csv", "a\n" + "1\n" * 1000)
    assert {batch.num_rows for batch in batches(found, rows=300)} == {300, 100}


def test_a_folder_is_read_in_the_order_of_names_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for place, name in enumerate(["b.csv", "a.csv", "deep/c.csv"]):
        (tmp_path / name).write_text(f"x,y\n{place},1\n")
    for name in ("_SUCCESS", ".a.csv.crc", "_old.csv", "README.md"):
        (tmp_path / name).write_text("not data")
    assert [row["x"] for row in rows(resolve(str(tmp_path), folder="/"))] == [1, 0, 2]
    assert [row["x"] for row in rows(resolve("*.csv", folder=str(tmp_path)))] == [1, 0]
    assert [row["x"] for row in rows(resolve("**/*.csv", folder=str(tmp_path)))] == [1, 0, 2]
    assert [row["x"] for row in rows(resolve("[a]*.csv", folder=str(tmp_path)))] == [1]
    assert [row["x"] for row in rows(resolve(f"file://{tmp_path}/b.csv", folder="/"))] == [0]


def test_a_name_with_glob_characters_is_a_file_when_it_is_there(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "a[1].csv", "x\n7\n")) == [{"x": 7}]


def test_files_may_order_their_columns_differently(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("y,x\n20,10\n")
    assert rows(resolve(str(tmp_path), folder="/")) == [{"x": 1, "y": 2}, {"x": 10, "y": 20}]


def test_csv_text_is_read_as_people_write_it(tmp_path: Path) -> None:
    found = write(tmp_path, "t.csv", '\ufeffcode,note,d\n00501,"a, ""b""\nc",2026-01-31\n,NA,\n')
    assert rows(found) == [
        {"code": "00501", "note": 'a, "b"\nc', "d": "2026-01-31"},
        {"code": None, "note": None, "d": None},
    ]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_the_delimiter_is_the_one_of_the_header(tmp_path: Path, mark: str) -> None:
    assert rows(write(tmp_path, "t.csv", f"a{mark}b\n1{mark}x\n")) == [{"a": 1, "b": "x"}]


def test_whole_numbers_may_turn_into_fractions_and_large_ids_stay_exact(tmp_path: Path) -> None:
    large = 2**53 + 1
    found = write(tmp_path, "t.csv", "n,id\n" + f"1,{large}\n" * 400_000 + f"1.5,{large + 2}\n")
    last = rows(found)[-1]
    assert last == {"n": 1.5, "id": large + 2}
    assert {str(batch.schema.field("n").type) for batch in batches(found)} == {"double"}


@pytest.mark.parametrize(
    ("last", "says"), [("old,true", "'n' is number, but holds 'old'"), ("1,maybe", "'b' is boolean, but holds 'maybe'")]
)
def test_a_value_that_does_not_fit_far_down_is_named(tmp_path: Path, last: str, says: str) -> None:
    found = write(tmp_path, "t.csv", "n,b\n" + "1,true\n" * 500_000 + f"{last}\n")
    with pytest.raises(DataError, match=says) as caught:
        list(batches(found))
    assert "category" in caught.value.hint


def test_it_is_named_too_when_only_some_columns_are_read(tmp_path: Path) -> None:
    text = "a,b,n\n" + "1,true,1\n" * 500_000 + "1,true,far\n"
    (tmp_path / "t.csv").write_text(text)
    found = resolve("t.csv", folder=str(tmp_path))
    with pytest.raises(DataError, match="'n' is number, but holds 'far'"):
        list(batches(found, ["n"]))


def test_a_column_of_words_is_read_as_it_stands_from_its_first_row(tmp_path: Path) -> None:
    text = "n,b\n" + "1.10,true\n" * 500_000 + "old,maybe\n"
    (tmp_path / "t.csv").write_text(text)
    read = list(batches(resolve("t.csv", folder=str(tmp_path), words={"n", "b"})))
    assert read[0].to_pylist()[0] == {"n": "1.10", "b": "true"}
    assert read[-1].to_pylist()[-1] == {"n": "old", "b": "maybe"}


def test_few_valued_parquet_text_comes_as_dictionaries_and_many_valued_as_text(tmp_path: Path) -> None:
    table = pa.table({"few": ["a", "b"] * 5000, "many": [f"name {i}" for i in range(10_000)]})
    pq.write_table(table, tmp_path / "t.parquet")
    batch = next(batches(resolve("t.parquet", folder=str(tmp_path))))
    assert pa.types.is_dictionary(batch.schema.field("few").type)
    assert pa.types.is_string(batch.schema.field("many").type)


def test_bytes_estimate_what_the_files_decode_to(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array(range(100_000), pa.float64())})
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(table, tmp_path / name, compression="zstd", use_dictionary=False)
    estimate = resolve(str(tmp_path), folder="/").bytes
    assert 0.9 < estimate / (2 * table.nbytes) < 1.1


def test_a_column_of_few_values_counts_as_it_decodes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1.5, 2.5] * 50_000}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    assert resolve("t.parquet", folder=str(tmp_path)).bytes == pytest.approx(800_000, rel=0.01)


def test_a_parquet_file_passes_through_memory_in_parts(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random(2_000_000)
    pq.write_table(pa.table({"a": numbers, "b": numbers}), tmp_path / "t.parquet", row_group_size=100_000)
    before = pa.total_allocated_bytes()
    source = resolve("t.parquet", folder=str(tmp_path))
    peak = max(pa.total_allocated_bytes() - before for _ in batches(source, rows=50_000))
    assert peak < source.bytes / 4


def test_a_block_of_a_wide_table_has_fewer_rows(tmp_path: Path) -> None:
    wide = pa.table({f"n{place}": np.zeros(10) for place in range(1000)} | {"c": ["a"] * 10})
    most = rows_of(resolve(wide, folder=str(tmp_path)))
    assert 1000 < most < 10_000
    assert rows_of(resolve(TABLE, folder=str(tmp_path))) == 131_072


def test_names_and_order_of_files_do_not_change_the_fingerprint_but_a_byte_does(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for folder, names in (("one", ("a", "b")), ("two", ("y", "x")), ("three", ("a", "b"))):
        (tmp_path / folder).mkdir()
        for name, value in zip(names, (1, 2), strict=True):
            (tmp_path / folder / f"{name}.csv").write_text(f"x\n{value}\n")
    (tmp_path / "three" / "a.csv").write_text("x\n9\n")
    one, two, three = (fingerprint(resolve(folder, folder=str(tmp_path)), store) for folder in ("one", "two", "three"))
    assert one == two != three


def test_a_known_file_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    store, path = LocalStore(tmp_path / "store"), tmp_path / "t.csv"
    path.write_text("x\n1\n")
    os.utime(path, (1e9, 1e9))
    found = resolve("t.csv", folder=str(tmp_path))
    first = fingerprint(found, store)
    (note,) = (tmp_path / "store" / "memo").iterdir()
    note.write_text("remembered")
    assert fingerprint(found, store) != first, "the memo answers"
    path.write_text("x\n2\n")
    os.utime(path, (1e9, 1e9))  # same path, size, modification time and inode
    assert fingerprint(found, store) not in {first, "remembered"}


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    fingerprint(write(tmp_path, "t.csv", "x\n1\n"), store)
    assert not (tmp_path / "store" / "memo").exists()


@given(st.lists(st.one_of(st.none(), st.integers(-(2**60), 2**60)), min_size=1), st.integers(1, 5))
def test_a_table_has_one_fingerprint_however_it_is_chunked(values: list[int | None], chunk: int) -> None:
    store = LocalStore(Path("/nowhere"))
    whole = pa.table({"n": pa.array(values, pa.int64())})
    parts = pa.concat_tables([whole.slice(start, chunk) for start in range(0, len(values), chunk)])
    other = pa.table({"n": pa.array([*values, 1], pa.int64())})
    seen = [fingerprint(resolve(table, folder="."), store) for table in (whole, parts, other)]
    assert seen[0] == seen[1] != seen[2]
