import json

import pyarrow.parquet as pq
import pytest
from small_model import make, rows

from raymle.errors import UsageError
from raymle.predict import predict


def test_a_folder_holds_a_part_for_each_chunk_and_says_that_it_is_whole(bundle, tmp_path):
    for number in range(3):
        pq.write_table(rows(30).slice(number * 10, 10), tmp_path / f"in-{number}.parquet")
    done = predict(bundle, str(tmp_path / "in-*.parquet"), f"{tmp_path}/out/")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["_SUCCESS", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    success = json.loads((tmp_path / "out" / "_SUCCESS").read_text())
    assert (success["rows"], success["quarantined"], success["parts"]["part-00001.parquet"]) == (30, 0, 10)
    assert pq.read_table(done.output)["id"].to_pylist() == rows(30)["id"].to_pylist()


def test_a_folder_that_was_written_before_is_replaced_as_a_whole(bundle, tmp_path):
    for number in range(3):
        pq.write_table(rows(10), tmp_path / f"in-{number}.parquet")
    predict(bundle, str(tmp_path / "in-*.parquet"), tmp_path / "out")
    predict(bundle, str(tmp_path / "in-0.parquet"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_SUCCESS", "part-00000.parquet"]


def test_predictions_can_be_a_source(bundle, tmp_path):
    predict(bundle, rows(10), tmp_path / "out")
    with pytest.raises(Exception, match="column 'amount' is not in the data"):
        predict(bundle, str(tmp_path / "out"), tmp_path / "again.parquet")


def test_a_folder_with_other_files_is_left_alone(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        predict(bundle, rows(1), tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert predict(bundle, rows(1), tmp_path / "empty").rows == 1


def test_a_file_is_no_folder_and_a_folder_no_file(bundle, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file that is there already"):
        predict(bundle, rows(1), tmp_path / "file")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        predict(bundle, rows(1), tmp_path / "folder.parquet")


def test_neither_the_source_nor_its_folder_nor_the_quarantine_that_is_read_is_written_over(bundle, tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(rows(10), tmp_path / "in" / "x.quarantine.parquet")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    source = str(tmp_path / "in" / "x.quarantine.parquet")
    for output in ("in", "in/x.parquet", "in/x.quarantine.parquet", "link/x.parquet", "link"):
        with pytest.raises(UsageError, match="is the source itself"):
            predict(bundle, source, tmp_path / output)
    assert predict(bundle, str(tmp_path / "in"), tmp_path / "in" / "other.parquet").rows == 10


def test_a_key_with_the_name_of_a_prediction_is_refused_before_anything_is_written(tmp_path):
    bundle = make(tmp_path / "model", key="prediction")
    with pytest.raises(UsageError, match="key 'prediction' has the name of a column that is predicted"):
        predict(bundle, rows(3, key="prediction"), tmp_path / "out.parquet")


def test_numbers_are_predicted_as_numbers(tmp_path):
    bundle = make(tmp_path / "model", target=(1.5, 2.5, 7.25))
    done = predict(bundle, rows(50), tmp_path / "out.parquet")
    assert [str(kind) for kind in pq.read_schema(done.output).types] == ["string", "double"]


def test_classes_are_stored_as_codes(bundle, tmp_path):
    done = predict(bundle, rows(50), tmp_path / "out.parquet")
    assert pq.read_table(done.output)["prediction"].type.value_type == "string"
    assert pq.read_table(done.output).to_pandas()["prediction"].cat.categories.tolist() == ["no", "yes"]


def test_the_file_names_the_model_that_made_it(bundle, tmp_path):
    from raymle.model import load

    done = predict(bundle, rows(5), tmp_path / "out.parquet")
    footer = json.loads(pq.read_metadata(done.output).metadata[b"raymle"])
    assert (footer["model"], footer["rows"]) == (load(bundle).version, 5)


def test_one_row(bundle, tmp_path):
    assert pq.read_table(predict(bundle, rows(1), tmp_path / "out.parquet").output).num_rows == 1


def test_transforms_that_make_columns_and_no_rows(tmp_path):
    (tmp_path / "mine.py").write_text("def more(table): return table.append_column('more', table['amount'])\n")
    bundle = make(tmp_path, transforms=("mine:more",))
    for count in (0, 3):
        pq.write_table(rows(count), tmp_path / "in.parquet")
        done = predict(bundle, str(tmp_path / "in.parquet"), tmp_path / "out.parquet")
        assert pq.read_table(done.output).column_names == ["id", "prediction", "probability_no", "probability_yes"]
        assert done.rows == count


def test_a_key_that_a_transform_makes_is_written_and_no_row_number_in_its_place(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import pyarrow as pa\n"
        "def named(table):\n"
        "    if 'id' in table.schema.names:\n"
        "        return table\n"
        "    return table.append_column('id', pa.array([f'made {each}' for each in table['amount'].to_pylist()]))\n"
    )
    bundle = make(tmp_path, transforms=("mine:named",))
    table = rows(5).drop(["id"])
    written = pq.read_table(predict(bundle, table, tmp_path / "out.parquet").output)
    assert written["id"].to_pylist() == [f"made {each}" for each in table["amount"].to_pylist()]
    assert "row" not in written.column_names
