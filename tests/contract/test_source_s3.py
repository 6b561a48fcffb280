"""Data in an object store reads like the same data in a folder; credentials come from the environment."""

import time
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from small_images import folder_of

from raymle.config.data import DataConfig
from raymle.data.infer import infer
from raymle.data.source import Source, batches, fingerprint, resolve
from raymle.errors import DataError, SetupError
from raymle.store import open_store

TABLE = pa.table({"n": range(3000), "c": ["a", "b", "c"] * 1000, "y": ["no", "yes"] * 1500})


@pytest.fixture
def filled(bucket: str) -> Any:
    """The bucket filled with the table in three formats."""
    client = boto3.client("s3")
    put = lambda key, body: client.put_object(Bucket=bucket, Key=key, Body=body)  # noqa: E731
    for part in range(3):
        put(f"parts/part-{part}.parquet", as_parquet(TABLE.slice(part * 1000, 1000)))
    put("parts/_SUCCESS", b"")
    put("t.parquet", as_parquet(TABLE))
    put("t.csv", as_csv(TABLE))
    return client, bucket, put


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def as_csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def values(source: Source) -> list[Any]:
    return [row for batch in batches(source) for row in batch.to_pylist()]


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "parts", "parts/", "parts/*.parquet", "p*/part-[012].parquet", "**/part-*.parquet"])  # fmt: skip
def test_a_file_folder_or_glob_of_a_bucket_gives_the_same_rows(filled: Any, name: str) -> None:
    found = resolve(f"s3://{filled[1]}/{name}", folder="/nowhere")
    assert values(found) == TABLE.to_pylist()
    assert infer(found, DataConfig(source="x", target="y")).task == "classification"


def test_the_same_bytes_have_the_same_fingerprint_here_and_there(filled: Any, tmp_path: Path) -> None:
    _, name, _ = filled
    (tmp_path / "other.csv").write_bytes(as_csv(TABLE))
    store = open_store(str(tmp_path / "store"))
    there = fingerprint(resolve(f"s3://{name}/t.csv", folder="."), store)
    assert there == fingerprint(resolve("other.csv", folder=str(tmp_path)), store)


def test_a_known_object_is_not_read_again_until_it_changes(filled: Any, tmp_path: Path) -> None:
    client, name, put = filled
    store = open_store(str(tmp_path))
    found = resolve(f"s3://{name}/t.csv", folder=".")
    aged = client.head_object(Bucket=name, Key="t.csv")["LastModified"].timestamp()
    while time.time() - aged <= 2:  # a fresh object is not remembered: it may change within the same second
        time.sleep(0.1)
    first = fingerprint(found, store)
    notes = list((tmp_path / "memo").iterdir())
    assert len(notes) == 1
    notes[0].write_text("remembered")
    assert fingerprint(found, store) != first
    put("t.csv", as_csv(TABLE.slice(0, 10)))
    assert fingerprint(found, store) not in {first, "remembered"}


def test_what_is_not_there_is_a_data_error(filled: Any) -> None:
    for address in (f"s3://{filled[1]}/none.csv", "s3://no-such-bucket-at-all/a.csv"):
        with pytest.raises(DataError, match="does not exist"):
            resolve(address, folder=".")
    with pytest.raises(DataError, match="no file matches"):
        resolve(f"s3://{filled[1]}/none/*.csv", folder=".")


def test_a_store_that_cannot_be_reached_is_a_setup_error(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SetupError, match=r"s3://bucket/a.csv cannot be read") as caught:
        resolve("s3://bucket/a.csv", folder=".")
    assert "AWS_ENDPOINT_URL" in caught.value.hint


def test_images_of_a_bucket_are_those_of_a_folder(filled: Any, tmp_path: Path) -> None:
    _, name, put = filled
    folder = folder_of(tmp_path / "shapes", 6)
    for path in sorted(folder.rglob("*.png")):
        put(f"shapes/{path.relative_to(folder)}", path.read_bytes())
    put("shapes.csv", b"photo,label\nshapes/bar/0000.png,a\nshapes/dot/0001.png,b\nshapes/dot/gone.png,b\n")
    here, there = resolve(str(folder), folder="/"), resolve(f"s3://{name}/shapes", folder="/")
    assert values(there) == values(here)
    store = open_store(str(tmp_path / "runs"))
    assert fingerprint(there, store) == fingerprint(here, store)
    first, _, last = values(resolve(f"s3://{name}/shapes.csv", folder="/"))
    assert first["photo"] == (folder / "bar/0000.png").read_bytes()
    assert b"is not there" in last["photo"]
