"""Images through every verb, as typed: one story over a tiny folder, each step a process of its own."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shell import STREAM, Shell, asked
from small_images import empty_png, file_of, folder_of, picture

from raymle.data.images import canonical, to_pixels

SPEC = """
name: shapes
data: {source: shapes, target: label}
split: {method: stratified}
model: {type: cnn, params: {filters: [8, 16], hidden: [32]}}
train: {epochs: 30, batch_size: 32, optimizer: {learning_rate: 1e-2}}
promote: {min_fresh_rows: 10}
"""


@pytest.fixture(scope="module")
def raymle(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("images")
    folder_of(folder / "shapes", 240)
    (folder / "raymle.yaml").write_text(SPEC)
    return Shell(folder)


@pytest.fixture(scope="module")
def trained(raymle: Shell) -> Any:
    return raymle("train", "--json").json


def test_a_folder_is_trained_on_and_its_report_has_pictures(raymle: Shell, trained: Any) -> None:
    assert trained["metrics"]["validation"]["accuracy"] > 0.8
    assert sum(trained["rows"].values()) == 240
    run = Path(trained["bundle"]).parent
    assert (run / "plots" / "predictions.png").read_bytes()[:4] == b"\x89PNG"
    assert "Worst mistakes" in (run / "report.html").read_text() or trained["metrics"]["validation"]["accuracy"] == 1
    shown = raymle("data", "show", "--json").json
    assert {each["column"]: each["role"] for each in shown["columns"]} == {
        "image": "feature", "path": "drop", "label": "target",
    }  # fmt: skip


def test_a_score_never_shows_a_sealed_image(raymle: Shell, trained: Any) -> None:
    scored = raymle("score", trained["run_id"], "--output", "sealed.parquet", "--json").json
    assert scored["runs"][0]["label"] == "test"
    rows = pq.read_table(raymle.folder / "sealed.parquet")
    assert rows.num_rows == trained["rows"]["test"]
    assert set(map(len, rows["image"].to_pylist())) == {64}  # the sha256 of the file
    assert raymle("promote", trained["run_id"], "--json").json["alias"] == "champion"


def test_a_folder_a_glob_and_a_table_are_predicted(raymle: Shell, trained: Any) -> None:
    mixed = folder_of(raymle.folder / "mixed", 60)
    (mixed / "bar" / "empty.png").write_bytes(b"")
    (mixed / "dot" / "bomb.png").write_bytes(empty_png(16_000, 16_000))
    (mixed / "ring" / "notes.txt").write_text("hello")
    done = raymle("predict", "models:/shapes@champion", "mixed", "out.parquet", "--json").json
    assert (done["rows"], done["quarantined"]) == (60, 3)
    found = pq.read_table(raymle.folder / "out.parquet")
    right = [path.startswith(said) for path, said in found.select(["path", "prediction"]).to_pandas().to_numpy()]
    assert np.mean(right) > 0.7
    aside = pq.read_table(done["quarantine"])
    told = dict(zip(aside["path"].to_pylist(), aside["quarantine_reason"].to_pylist(), strict=True))
    assert "is empty" in told["bar/empty.png"]
    assert "16,000 x 16,000" in told["dot/bomb.png"]
    assert raymle("predict", "last", "mixed/ring/*.png", "ring.parquet", "--json").json["rows"] == 20
    table = pa.table({"image": [file_of(picture(seed=seed)) for seed in range(5)] + [b"x"], "number": range(6)})
    pq.write_table(table, raymle.folder / "rows.parquet")
    done = raymle("predict", "last", "rows.parquet", "rows.out.parquet", "--max-quarantined", "0.5", "--json").json
    assert (done["rows"], done["quarantined"]) == (5, 1)


def test_a_table_of_paths_is_predicted_and_bad_ones_are_named(raymle: Shell, trained: Any) -> None:
    good = next(folder_of(raymle.folder / "few", 3).rglob("*.png")).relative_to(raymle.folder)
    (raymle.folder / "few" / "empty.png").write_bytes(b"")
    (raymle.folder / "paths.csv").write_text(f"image\nfew/empty.png\n{good}\nfew/nowhere.png\n")
    done = raymle("predict", trained["run_id"], "paths.csv", "paths.parquet", "--max-quarantined", "0.9", "--json").json
    assert pq.read_table(raymle.folder / "paths.parquet")["row"].to_pylist() == [2]
    assert pq.read_table(done["quarantine"])["image"].to_pylist() == ["few/empty.png", "few/nowhere.png"]


@pytest.fixture(scope="module")
def url(raymle: Shell, trained: Any) -> Iterator[str]:
    with raymle.serving(trained["run_id"]) as found:
        yield found


def test_a_server_takes_a_file_base64_and_arrow(url: str) -> None:
    ring = file_of(picture("ring", 5))
    text = base64.b64encode(ring).decode()
    raw = asked(url, ring, "image/png")[1]["predictions"][0]
    rows = {"rows": [{"image": text}, {"image": f"data:image/png;base64,{text}"}, {"image": None}]}
    first, second, _ = asked(url, rows)[1]["predictions"]
    assert raw == first == second
    for kind in ("image/jpg", "application/octet-stream"):
        assert asked(url, ring, kind)[1]["predictions"] == [raw]
    sink = pa.BufferOutputStream()
    table = pa.table({"image": [ring]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    _, stream = asked(url, sink.getvalue().to_pybytes(), STREAM)
    assert pa.ipc.open_stream(stream).read_all()["prediction"].to_pylist() == [raw["class"]]
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=60) as response:
        document = json.load(response)
    example = document["components"]["schemas"]["Rows"]["examples"][0]
    assert document["components"]["schemas"]["Row"]["properties"]["image"]["contentEncoding"] == "base64"
    assert asked(url, example)[0] == 200


def test_a_server_refuses_a_bomb_before_it_goes_off(url: str) -> None:
    code, answer = asked(url, empty_png(16_000, 16_000), "image/png")
    assert code == 422
    assert "row 0, column 'image': the image is 16,000 x 16,000 pixels large" in answer["error"]["message"]
    many = {"rows": [{"image": base64.b64encode(empty_png(7000, 7000)).decode()}] * 2}
    code, answer = asked(url, many)
    assert (code, answer["error"]["type"]) == (413, "too_large")
    assert asked(url, b"hello", "image/jpeg")[0] == 422
    assert asked(url, b"hello", "image/svg+xml")[0] == 415


def test_what_is_wrong_with_a_folder_is_said_before_a_run_begins(raymle: Shell, trained: Any) -> None:
    bad = folder_of(raymle.folder / "bad", 30)
    (bad / "bar" / "cut.png").write_bytes(file_of(picture())[:90])
    before = sorted((raymle.folder / "runs" / "runs").iterdir())
    for words in (["train", "data.source=bad"], ["evaluate", trained["run_id"], "bad"]):
        assert "bar/cut.png is cut off" in raymle(*words, code=3).err
    assert "trees takes numbers" in raymle("train", "model={type: trees}", code=2).err
    assert sorted((raymle.folder / "runs" / "runs").iterdir()) == before


def test_data_show_has_images_of_each_class_and_none_that_is_sealed(raymle: Shell, trained: Any) -> None:
    shown = raymle("data", "show", "--output", "data.html", "--json").json
    image = next(each for each in shown["columns"] if each["column"] == "image")
    assert image["shape"] == [1, 12, 12]
    assert [each["of"] for each in image["pictures"]] == ["bar", "dot", "ring"] * 4
    splits = next((raymle.folder / "runs" / "shards").iterdir())
    open_rows = np.load(splits / "train" / "pixels.npy")
    for each in image["pictures"]:
        found = canonical(pa.array([base64.b64decode(each["image"].partition(",")[2])]), (1, 12, 12))
        assert (to_pixels(found) == open_rows).all(axis=1).any()
    page = (raymle.folder / "data.html").read_text()
    assert page.count('<img src="data:image/png') == len(image["pictures"])
