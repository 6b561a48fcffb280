import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from small_model import rows

from raymle.errors import ArtifactError, DataError, SetupError, UsageError
from raymle.model.bundle import load
from raymle.predict import predict


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_each_format_gives_the_rows_in_order_with_key_class_and_probabilities(bundle, tmp_path, suffix):
    table, source = rows(500), tmp_path / f"in.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, source, row_group_size=100)
    elif suffix == "csv":
        pa.csv.write_csv(table, source)
    else:
        table.to_pandas().to_json(source, orient="records", lines=True)
    result = predict(bundle, str(source), tmp_path / "new" / "out.parquet")
    written = pq.read_table(result.output)
    assert result.rows == 500
    assert written.column_names == ["id", "prediction", "probability_no", "probability_yes"]
    assert written["id"].to_pylist() == table["id"].to_pylist()
    expected = load(bundle).predict_table(table)
    np.testing.assert_allclose(written["probability_yes"], expected["probability_yes"], rtol=1e-6)
    assert written["prediction"].to_pylist() == expected["prediction"].to_pylist()


def test_many_files_are_one_output_and_the_target_may_be_there(bundle, tmp_path):
    table = rows(300).append_column("churned", pa.array(["no"] * 300))
    for part in range(3):
        pq.write_table(table.slice(part * 100, 100), tmp_path / f"part-{part}.parquet")
    result = predict(bundle, "part-*.parquet", tmp_path / "out.parquet", folder=str(tmp_path))
    assert pq.read_table(result.output)["id"].to_pylist() == table["id"].to_pylist()


def test_a_table_in_memory_and_columns_in_another_order_are_fine(bundle, tmp_path):
    table = rows(10)
    for number, given in enumerate([table, table.select(["plan", "id", "amount"]), table.to_pandas()]):
        result = predict(bundle, given, tmp_path / f"{number}.parquet")
        assert pq.read_table(result.output)["id"].to_pylist() == table["id"].to_pylist()


def test_without_the_key_each_prediction_says_which_row_it_is(bundle, tmp_path):
    table = rows(300).drop(["id"])
    amounts = pa.array([math.inf if place == 120 else value for place, value in enumerate(table["amount"].to_pylist())])
    table = table.set_column(table.column_names.index("amount"), "amount", amounts)
    for part in range(3):
        pq.write_table(table.slice(part * 100, 100), tmp_path / f"part-{part}.parquet")
    result = predict(bundle, str(tmp_path / "part-*.parquet"), tmp_path / "out.parquet")
    written, bad = pq.read_table(result.output), pq.read_table(result.quarantine)
    assert written.column_names[:3] == ["file", "row", "prediction"]
    files = [Path(each).name for each in written["file"].to_pylist()]
    found = sorted([*zip(files, written["row"].to_pylist(), strict=True), ("part-1.parquet", 21)])
    assert found == [(f"part-{part}.parquet", row) for part in range(3) for row in range(1, 101)]
    assert bad["quarantine_row"].to_pylist() == [21]


def test_without_a_key_rows_of_one_file_or_table_are_numbered(bundle, tmp_path):
    result = predict(bundle, rows(10).drop(["id"]), tmp_path / "out.parquet")
    written = pq.read_table(result.output)
    assert written.column_names[:2] == ["row", "prediction"]
    assert written["row"].to_pylist() == list(range(1, 11))


def test_no_rows_give_a_file_with_columns_and_no_rows(bundle, tmp_path):
    pq.write_table(rows(10).slice(0, 0), tmp_path / "in.parquet")
    result = predict(bundle, str(tmp_path / "in.parquet"), tmp_path / "out.parquet")
    assert result.rows == 0
    assert pq.read_table(result.output).column_names[:2] == ["id", "prediction"]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet.gz", "http://here/out.parquet"])
def test_an_output_that_is_neither_parquet_nor_a_folder_is_refused(bundle, tmp_path, name):
    with pytest.raises(UsageError, match=r"neither a \.parquet file nor a folder"):
        predict(bundle, rows(1), name if "://" in name else tmp_path / name)


def test_the_source_is_never_written_over(bundle, tmp_path):
    pq.write_table(rows(10), tmp_path / "in.parquet")
    with pytest.raises(UsageError, match="is the source itself"):
        predict(bundle, str(tmp_path / "in.parquet"), tmp_path / "x" / ".." / "in.parquet")
    assert pq.read_table(tmp_path / "in.parquet").num_rows == 10


def test_too_many_bad_rows_leave_the_old_output_alone(bundle, tmp_path):
    (tmp_path / "out.parquet").write_bytes(b"before")
    good = tmp_path / "1.parquet"
    pq.write_table(rows(10), good)
    pq.write_table(rows(10).drop(["amount"]).append_column("amount", pa.array(["x"] * 10)), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"more than 0\.1 of the rows.*column 'amount' is number, but holds 'x'"):
        predict(bundle, str(tmp_path / "[12].parquet"), tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "2.parquet", "out.parquet"]


def test_a_missing_column_is_named(bundle, tmp_path):
    with pytest.raises(DataError, match="'plan'"):
        predict(bundle, rows(5).drop(["plan"]), tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(bundle, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError, match="cannot write"):
        predict(bundle, rows(5), tmp_path / "file" / "out.parquet")


def test_no_bundle_is_an_artifact_error(tmp_path):
    with pytest.raises(ArtifactError):
        predict(tmp_path / "nothing", rows(5), tmp_path / "out.parquet")


def test_a_key_keeps_its_stored_type_to_be_joined_by(bundle, tmp_path):
    numbered = rows(40).set_column(0, "id", pa.array(range(40), pa.int32()))
    pq.write_table(numbered, tmp_path / "in.parquet")
    result = predict(bundle, str(tmp_path / "in.parquet"), tmp_path / "out.parquet")
    assert pq.read_table(result.output)["id"] == numbered["id"]
