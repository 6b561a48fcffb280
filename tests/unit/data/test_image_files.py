"""Folders and tables of images: who is what, who goes where, and what is wrong with which file."""

import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import sealed
from PIL import Image
from small_images import SHAPES, empty_png, file_of, folder_of, picture

from raymle import data
from raymle.config import DataConfig, SplitConfig
from raymle.data import shards
from raymle.data.infer import infer
from raymle.data.source import batches, fingerprint, resolve
from raymle.errors import DataError
from raymle.store import open_store


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def made(store, folder, split=None, **given):
    config = DataConfig(**({"source": "pictures", "target": "label"} | given))
    return data.prepare(config, SplitConfig(**(split or {})), store, folder=str(folder))


def test_a_folder_is_a_table_of_images_paths_and_labels(tmp_path):
    folder_of(tmp_path / "pictures", 9)
    (tmp_path / "pictures" / "bar" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "pictures" / ".hidden.png").write_bytes(b"x")
    found = resolve("pictures", folder=str(tmp_path))
    rows = pa.Table.from_batches(batches(found, rows=4))
    assert rows.column_names == ["image", "path", "label"]
    assert rows["label"].to_pylist() == sorted(SHAPES * 3)
    assert rows["path"][0].as_py() == "bar/0000.png"
    assert rows["image"][0].as_py() == (tmp_path / "pictures/bar/0000.png").read_bytes()
    schema = infer(found, DataConfig(source="pictures", target="label"))
    assert [(each.name, each.type, each.shape) for each in schema.features] == [("image", "image", (1, 12, 12))]
    some = resolve("pictures/ring/*.png", folder=str(tmp_path))
    assert pa.Table.from_batches(batches(some)).num_rows == 3


def test_sub_folders_may_say_who_goes_where(tmp_path, store):
    for side, rows in (("train", 30), ("val", 12), ("test", 9)):
        folder_of(tmp_path / "pictures", rows, under=side)
    splits = made(store, tmp_path, {"method": "column"})
    assert splits.rows == {"train": 30, "validation": 12, "test": 9}
    assert sealed(store, splits)["label"].to_pylist().count("bar") == 3
    other = made(store, tmp_path, {"method": "hash"})
    assert any("split.method: column" in each for each in other.warnings)
    with pytest.raises(DataError, match="does not say whether to go by them"):
        made(store, tmp_path)


def test_rows_without_an_image_are_counted(tmp_path, store):
    files = [file_of(picture(seed=seed)) for seed in range(58)]
    table = pa.table({"photo": [*files, None, None], "label": ["a", "b"] * 30})
    splits = data.prepare(
        DataConfig(source="t", target="label"), SplitConfig(), store, folder=str(tmp_path), source=table
    )
    assert "2 rows without an image in column 'photo': it counts as black" in splits.warnings


def test_the_pixels_in_the_shards_are_those_of_the_files(tmp_path, store):
    folder_of(tmp_path / "pictures", 60)
    splits = made(store, tmp_path, image={"size": [6, 10], "channels": 3})
    arrays = shards.load(splits, "train")
    assert arrays.pixels.dtype == np.uint8
    assert arrays.pixels.shape == (splits.rows["train"], 3 * 6 * 10)
    assert any("60 images are resized from 12x12 to 6x10 pixels" in each for each in splits.warnings)
    assert "path" not in sealed(store, splits).column_names


def test_the_same_image_is_on_one_side_whatever_it_is_called(tmp_path, store):
    for number in range(40):
        content = file_of(picture("bar", number % 10))
        for name in "ab":
            place = tmp_path / "pictures" / name
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.png").write_bytes(content)
    splits = made(store, tmp_path, {"fractions": {"train": 0.5, "validation": 0.25, "test": 0.25}})
    train, validation = (set(map(bytes, shards.load(splits, side).pixels)) for side in ("train", "validation"))
    assert train
    assert validation
    assert not train & validation


def test_the_fingerprint_is_of_what_is_in_the_files(tmp_path, store):
    folder_of(tmp_path / "a", 6)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = fingerprint(resolve("a", folder=str(tmp_path)), store)
    assert fingerprint(resolve("b", folder=str(tmp_path)), store) == first
    (tmp_path / "b/bar/0000.png").write_bytes(file_of(picture("ring", 99)))
    assert fingerprint(resolve("b", folder=str(tmp_path)), store) != first


def table_of(folder, rows=60):
    names = [f"{SHAPES[row % 3]}/{row:04}.png" for row in range(rows)]
    return pa.table(
        {"photo": names, "size": np.arange(rows) % 7 + 0.5, "label": [SHAPES[row % 3] for row in range(rows)]}
    )


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "bytes"])
def test_a_table_names_or_holds_its_images(tmp_path, store, kind):
    folder = folder_of(tmp_path / "shop", 60)
    rows = table_of(folder)
    if kind == "bytes":
        stored = [(folder / name).read_bytes() for name in rows["photo"].to_pylist()]
        rows = rows.set_column(0, "photo", pa.array(stored))
    if kind == "csv":
        rows.to_pandas().to_csv(folder / "rows.csv", index=False)
    elif kind == "json":
        rows.to_pandas().to_json(folder / "rows.json", orient="records", lines=True)
    else:
        pq.write_table(rows, folder / "rows.parquet")
    name = {"csv": "rows.csv", "json": "rows.json"}.get(kind, "rows.parquet")
    splits = made(store, tmp_path, source=f"shop/{name}")
    types = {each.name: each.type for each in splits.data_schema.features}
    assert types == {"photo": "image", "size": "number"}
    arrays = shards.load(splits, "train")
    assert arrays.pixels.shape[1] == 144
    assert arrays.numbers.shape[1] == 1
    before = fingerprint(resolve(f"shop/{name}", folder=str(tmp_path)), store)
    (folder / "bar/0000.png").write_bytes(file_of(picture("ring", 99)))
    changed = fingerprint(resolve(f"shop/{name}", folder=str(tmp_path)), store) != before
    assert changed == (kind != "bytes")


def test_names_of_files_that_are_not_there_are_words(tmp_path):
    (tmp_path / "rows.csv").write_text("photo,label\n" + "a.png,x\nb.png,y\n" * 5)
    schema = infer(resolve("rows.csv", folder=str(tmp_path)), DataConfig(source="rows.csv", target="label"))
    assert schema.features[0].type == "category"


def test_every_bad_file_is_named_before_anything_is_trained(tmp_path, store):
    folder = folder_of(tmp_path / "pictures", 30)
    (folder / "bar/notes.txt").write_text("hello")
    (folder / "bar/empty.png").write_bytes(b"")
    (folder / "dot/cut.png").write_bytes(file_of(picture())[:100])
    (folder / "dot/drawing.svg").write_text("<svg xmlns='x'/>")
    (folder / "ring/wide.png").write_bytes(empty_png(30_000, 10))
    (folder / "ring/zbomb.png").write_bytes(empty_png(16_000, 16_000))
    with pytest.raises(DataError) as caught:
        made(store, tmp_path)
    told = str(caught.value)
    for part in (
        "bar/empty.png is empty", "bar/notes.txt is no png", "dot/cut.png is cut off", "dot/drawing.svg is an SVG",
        "ring/wide.png is 30,000 x 10 pixels large", "; and 1 more",
    ):  # fmt: skip
        assert part in told


def test_a_bad_image_of_a_table_is_named_with_its_row(tmp_path, store):
    folder = folder_of(tmp_path / "shop", 60)
    table_of(folder).to_pandas().to_csv(folder / "rows.csv", index=False)
    (folder / "bar/0003.png").write_bytes(b"x")
    (folder / "ring/0005.png").unlink()
    with pytest.raises(DataError) as caught:
        made(store, tmp_path, source="shop/rows.csv")
    assert "bar/0003.png, row 4 of rows.csv, is no png" in str(caught.value)
    assert "ring/0005.png, row 6 of rows.csv, is not there" in str(caught.value)
    stored = pa.table({"photo": [file_of(picture(seed=row)) for row in range(9)] + [b"x"], "label": ["a", "b"] * 5})
    with pytest.raises(DataError, match="the image in column 'photo', row 10 of the table, is no png"):
        data.prepare(DataConfig(source="t", target="label"), SplitConfig(), store, folder=".", source=stored)


def test_an_image_whose_class_nobody_knows_is_refused(tmp_path, store):
    folder = folder_of(tmp_path / "pictures", 9)
    (folder / "loose.png").write_bytes(file_of(picture()))
    with pytest.raises(DataError, match=r"loose\.png is in no sub-folder"):
        made(store, tmp_path)


def test_what_is_done_to_images_is_told(tmp_path, store):
    folder = folder_of(tmp_path / "pictures", 60)
    frames = [Image.new("L", (12, 12), shade) for shade in (0, 255)]
    (folder / "bar/moving.gif").write_bytes(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    (folder / "ring/large.png").write_bytes(file_of(picture(side=40)))
    (folder / "single").mkdir()
    (folder / "single/one.png").write_bytes(file_of(picture(seed=7)))
    told = " ".join(made(store, tmp_path).warnings)
    assert "1 image is animated, and only the first frame is used" in told
    assert "1 image is resized from 40x40 to 12x12 pixels" in told
    assert "too few rows to be both learned and judged: class 'single' (1)" in told


def test_a_name_that_no_file_can_have_or_that_is_no_file_is_named(tmp_path, store):
    folder_of(tmp_path / "pictures", 30)
    names = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "pictures").rglob("*.png"))]
    os.mkfifo(tmp_path / "pipe.png")
    for bad, why in (("x" * 300 + ".png", "cannot be read"), ("pipe.png", "is no file")):
        pq.write_table(pa.table({"photo": [*names, bad], "label": [*["a", "b"] * 15, "a"]}), tmp_path / "table.parquet")
        with pytest.raises(DataError, match=why):
            made(store, tmp_path, source="table.parquet")
