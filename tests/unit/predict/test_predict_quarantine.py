"""Rows that break the contract are put aside with their place and the reason; the others are predicted."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from small_model import make, rows

from raymle.errors import DataError
from raymle.model import load
from raymle.model.network import with_weights
from raymle.predict import predict

DOUBLE = """
import pyarrow.compute as pc
def double(table):
    return table.append_column("twice", pc.multiply(table["amount"], 2.0))
"""


def with_values(table, name, values):
    """Return the table as text with other values in some rows of a column."""
    text = table[name].cast(pa.string()).to_pylist()
    for row, value in values.items():
        text[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(text, pa.string()))


def aside(done):
    """Return what is said of each quarantined row: file, row, column, reason."""
    found = pq.read_table(done.quarantine)
    names = [name for name in found.column_names if name.startswith("quarantine_")]
    return [tuple(row.values()) for row in found.select(names).to_pylist()]


def require_all(done, table, bad, expected):
    """Check that the rows that are not bad are predicted as if the bad ones were not there."""
    left = table.take(np.setdiff1d(np.arange(len(table)), bad))
    found = pq.read_table(done.output)
    assert (done.rows, done.quarantined) == (len(left), len(bad))
    assert found["id"].to_pylist() == left["id"].to_pylist()
    np.testing.assert_allclose(found["probability_yes"], expected.predict_table(left)["probability_yes"], rtol=1e-6)


def test_bad_numbers_late_in_a_csv(bundle, tmp_path):
    count, bad = 150_000, [3, 99_998, 149_999]  # the first block is 2 MB, and its types hold for all
    table = rows(count).select(["id", "plan", "amount"])
    text = with_values(table, "amount", dict.fromkeys(bad[1:], "n/k"))
    pyarrow.csv.write_csv(with_values(text, "plan", {3: 'a "quoted"\nword'}), tmp_path / "in.csv")
    done = predict(bundle, str(tmp_path / "in.csv"), tmp_path / "out.parquet")
    table = with_values(table, "plan", {3: 'a "quoted"\nword'})
    require_all(done, table, bad[1:], load(bundle))
    path = str(tmp_path / "in.csv")
    reason = "column 'amount' is number, but holds 'n/k'"
    assert aside(done) == [(path, 99_999, "amount", reason), (path, 150_000, "amount", reason)]
    assert pq.read_table(done.quarantine)["amount"].to_pylist() == ["n/k", "n/k"]


def test_bad_numbers_early_in_a_csv_and_rows_of_another_length(bundle, tmp_path):
    lines = ["id,amount,plan", *(f"c{row},{row}.5,pro" for row in range(1, 101))]
    lines[7], lines[20], lines[50], lines[100] = "c7,x,pro", "c20,1", "c50,1,pro,more", "c100,,"
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    done = predict(bundle, str(tmp_path / "in.csv"), tmp_path / "out.parquet")
    assert [each[1:3] for each in aside(done)] == [(7, "amount"), (20, None), (50, None)]
    assert aside(done)[1][3] == "has 2 values, not 3: c20,1"
    assert pq.read_table(done.output)["id"].to_pylist() == [
        f"c{row}" for row in range(1, 101) if row not in {7, 20, 50}
    ]


def test_too_many_rows_of_another_length_are_an_error(bundle, tmp_path):
    (tmp_path / "in.csv").write_text("id,amount,plan\nc1\nc2,2,pro\n")
    with pytest.raises(DataError, match="most of them so: has 1 value, not 3: c1"):
        predict(bundle, str(tmp_path / "in.csv"), tmp_path / "out.parquet")


def test_other_values_and_broken_lines_in_json(bundle, tmp_path):
    table = rows(200_000).select(["id", "amount", "plan"])
    lines = [json.dumps(row) for row in table.to_pylist()]
    bad = {150_000: '{"id": "c150000", "amount": "much", "plan": "pro"}', 160_000: "{broken", 170_000: "7"}
    for row, line in bad.items():
        lines[row] = line
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    done = predict(bundle, str(tmp_path / "in.jsonl"), tmp_path / "out.parquet")
    require_all(done, table, list(bad), load(bundle))
    assert [each[1:] for each in aside(done)] == [
        (150_001, "amount", "column 'amount' is number, but holds 'much'"),
        (160_001, None, "is no JSON object: {broken"),
        (170_001, None, "is no JSON object: 7"),
    ]


def test_a_parquet_file_with_text_in_a_number_column(bundle, tmp_path):
    table = rows(90)
    pq.write_table(table.slice(0, 40), tmp_path / "1.parquet")
    pq.write_table(with_values(table.slice(40), "amount", {3: "x", 48: "y"}), tmp_path / "2.parquet", row_group_size=9)
    done = predict(bundle, str(tmp_path), tmp_path / "out" / "x.parquet")
    require_all(done, table, [43, 88], load(bundle))
    assert [each[:3] for each in aside(done)] == [(str(tmp_path / "2.parquet"), row, "amount") for row in (4, 49)]


def test_infinity_is_put_aside_and_nan_is_a_missing_value(bundle, tmp_path):
    table = rows(100)
    amounts = table["amount"].to_pandas()
    amounts[5], amounts[6], amounts[7] = np.inf, -np.inf, np.nan
    table = table.set_column(1, "amount", pa.array(amounts, from_pandas=False))
    done = predict(bundle, table, tmp_path / "out.parquet")
    require_all(done, table, [5, 6], load(bundle))
    assert aside(done) == [("<table>", row, "amount", "column 'amount' holds infinity") for row in (6, 7)]


def test_a_key_of_another_type_than_the_first_files(bundle, tmp_path):
    table = rows(60).set_column(0, "id", pa.array(range(60), pa.int32()))
    pq.write_table(table.slice(0, 30), tmp_path / "1.parquet")
    pq.write_table(with_values(table.slice(30), "id", {4: "thirty"}), tmp_path / "2.parquet")
    done = predict(bundle, str(tmp_path), tmp_path / "out" / "x.parquet")
    require_all(done, table, [34], load(bundle))
    assert aside(done)[0][1:] == (5, "id", "column 'id' is int32, but holds 'thirty'")


def test_a_model_that_has_no_finite_answer(bundle, tmp_path, monkeypatch):
    import torch

    copy = make(tmp_path / "model")
    contents = load(copy).contents
    network = with_weights(contents.model, contents.inputs, contents.outputs, folder=copy)
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(float("inf"))
    broken = resaved(copy, network, tmp_path / "broken")
    with pytest.raises(DataError, match="the model has no finite answer"):
        predict(broken, rows(10), tmp_path / "out.parquet")
    done = predict(broken, rows(10), tmp_path / "out.parquet", max_quarantined=1)
    assert (done.rows, done.quarantined) == (0, 10)
    assert pq.read_table(done.output).num_rows == 0


def resaved(bundle, network, out):
    from raymle.model.bundle import save

    found = load(bundle)
    return save(out, found.contents, transform=found.transform, network=network)


def test_rows_on_which_the_users_transform_fails(tmp_path):
    (tmp_path / "mine.py").write_text(DOUBLE)
    bundle = make(tmp_path, transforms=("mine:double",))
    table = rows(100)
    (tmp_path / "in").mkdir()
    pq.write_table(table.slice(0, 50), tmp_path / "in" / "1.parquet")
    lists = table.slice(50).to_pylist()
    pq.write_table(pa.Table.from_pylist(lists), tmp_path / "in" / "2.parquet")
    assert predict(bundle, str(tmp_path / "in"), tmp_path / "out.parquet").rows == 100
    pq.write_table(with_values(table.slice(50), "amount", {9: "x"}), tmp_path / "in" / "2.parquet")
    with pytest.raises(DataError, match="mine:double fails"):  # on every row of text: it is not one row that is wrong
        predict(bundle, str(tmp_path / "in"), tmp_path / "out.parquet")


def test_a_transform_that_fails_on_some_rows(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def double(table):\n"
        "    if 'unheard' in table['plan'].to_pylist():\n"
        "        raise KeyError('unheard')\n"
        "    return table.append_column('more', table['amount'])\n"
    )
    bundle = make(tmp_path, transforms=("mine:double",))
    table = with_values(rows(100), "plan", {0: "unheard", 64: "unheard"})
    done = predict(bundle, table, tmp_path / "out.parquet")
    assert [each[1:3] for each in aside(done)] == [(1, None), (65, None)]
    assert "mine:double fails: KeyError: 'unheard'" in aside(done)[0][3]
    assert (
        pq.read_table(done.output)["id"].to_pylist() == table["id"].take([*range(1, 64), *range(65, 100)]).to_pylist()
    )


def test_what_is_allowed_is_a_fraction_of_all_rows(bundle, tmp_path):
    table = with_values(rows(20), "amount", {3: "x", 4: "y"})
    done = predict(bundle, table, tmp_path / "out.parquet", max_quarantined=0.1)
    assert (done.rows, done.quarantined) == (18, 2)
    with pytest.raises(DataError, match=r"more than 0\.05 of the rows") as caught:
        predict(bundle, table, tmp_path / "new.parquet", max_quarantined=0.05)
    assert "--max-quarantined" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.quarantine.parquet"]


def test_the_quarantine_of_an_earlier_output_goes_with_it(bundle, tmp_path):
    predict(bundle, with_values(rows(20), "amount", {3: "x"}), tmp_path / "out.parquet")
    again = predict(bundle, rows(20), tmp_path / "out.parquet")
    assert (again.quarantined, again.quarantine) == (0, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet"]


def test_a_quarantine_that_was_mended_is_predicted(bundle, tmp_path):
    table = with_values(rows(20), "amount", {3: "x"})
    done = predict(bundle, table, tmp_path / "out.parquet")
    mended = with_values(pq.read_table(done.quarantine), "amount", {0: "5"})
    assert pq.read_table(predict(bundle, mended, tmp_path / "more.parquet").output)["id"].to_pylist() == ["c3"]
