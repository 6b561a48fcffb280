"""The Python API as a driver script uses it, with the user's own code in the way."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import raymle
from raymle import api, references

ROWS = 900
OWN = """
import pyarrow as pa
import pyarrow.compute as pc

def widen(table):
    return table.append_column("product", pc.multiply(table["left"], table["right"])).drop_columns(["left", "right"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(2, ROWS))
    return pa.table({"id": np.arange(ROWS), "left": left, "right": right, "sign": np.where(left * right > 0, "+", "-")})


@pytest.fixture(scope="module")
def run(folder, rows):
    """A model that is only good if the user's transform runs wherever rows come in."""
    (folder / "features.py").write_text(OWN)
    pyarrow.csv.write_csv(rows, folder / "signs.csv")
    (folder / "raymle.yaml").write_text(
        "name: signs\n"
        "data: {source: signs.csv, target: sign, key: id, transforms: [features:widen]}\n"
        "train: {epochs: 12, batch_size: 32, optimizer: {learning_rate: 0.01}}\n"
        "promote: {min_fresh_rows: 10}\n"
    )
    return raymle.Experiment.load(folder / "raymle.yaml").train(storage=str(folder / "elsewhere"))


def test_an_override_of_the_storage_holds_for_all_that_follows(run, folder):
    assert run.storage == str(folder / "elsewhere")
    assert not (folder / "runs").exists()
    assert raymle.Run.open("last", storage=run.storage).id == run.id


def test_the_users_transforms_run_at_training_prediction_and_evaluation(run, folder, rows):
    assert run.metrics["accuracy"] > 0.9
    (folder / "features.py").rename(folder / "gone.py")  # the bundle carries its own copy
    done = raymle.predict(run.id, str(folder / "signs.csv"), folder / "out.parquet", storage=run.storage)
    assert done.rows == ROWS
    found = pq.read_table(folder / "out.parquet")
    assert [int(each) for each in found["id"].to_pylist()] == list(range(ROWS))
    right = np.mean(np.array(found["prediction"].to_pylist()) == np.array(rows["sign"].to_pylist()))
    assert right > 0.9
    labelled = folder / "labelled.csv"
    pyarrow.csv.write_csv(rows.drop_columns(["id"]), labelled)
    judged = api.evaluate(run.id, str(labelled), storage=run.storage)
    assert judged.rows == ROWS
    assert judged.metrics["accuracy"] == pytest.approx(right)


def test_a_scored_run_becomes_champion_and_answers_under_its_name(run, folder):
    scored = run.score()
    assert scored.runs[0].label == "test"
    assert run.score().runs[0].label == "validation"
    told = (run.store.root / "journals" / f"{run.id}.jsonl").read_text()
    assert "counts as test" in told
    assert "counts as validation" not in told  # the card keeps the score that counts
    assert run.promote().passed
    found = references.model("models:/signs@champion", run.storage)
    assert (found.name, found.version) == ("signs", "1")
    assert found.spec == run.spec
    assert found.bundle == run.bundle
