"""Batch prediction from a bucket, into a bucket, and on from where it was killed there."""

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs
from small_model import make, rows

from raymle.data.places import filesystem
from raymle.errors import SetupError, UsageError
from raymle.predict import parts, predict, resume, run
from raymle.predict.job import job

PARTS, ROWS = 5, 50


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make(tmp_path_factory.mktemp("model"))


@pytest.fixture
def filled(bucket):
    system = filesystem(f"s3://{bucket}")
    for number in range(PARTS):
        with system.open_output_stream(f"{bucket}/in/{number}.parquet") as stream:
            pq.write_table(rows(ROWS).slice(number * 10, 10), stream)
    return bucket


def keys(bucket):
    """Return what is in the bucket beside the source; empty objects mark folders."""
    found = boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return sorted(each["Key"] for each in found if not each["Key"].startswith("in/") and each["Size"])


def read(uri):
    return pq.read_table(uri.removeprefix("s3://"), filesystem=filesystem(uri))


@pytest.mark.parametrize("name", ["out/x.parquet", "out/x"])
def test_from_a_bucket_into_a_bucket(bundle, filled, tmp_path, name):
    here = predict(bundle, f"s3://{filled}/in", tmp_path / "x.parquet")
    done = predict(bundle, f"s3://{filled}/in", f"s3://{filled}/{name}")
    assert done.output == f"s3://{filled}/{name}"
    assert read(done.output).equals(pq.read_table(here.output))
    found = (
        [name]
        if name.endswith("parquet")
        else [f"{name}/_SUCCESS", *(f"{name}/{parts.name(each)}" for each in range(PARTS))]
    )
    assert keys(filled) == found
    again = predict(bundle, f"s3://{filled}/in/[12].parquet", done.output)
    assert read(again.output)["id"].to_pylist() == rows(30)["id"].to_pylist()[10:]
    assert len(keys(filled)) == (1 if name.endswith("parquet") else 3)


@pytest.mark.parametrize("name", ["x.parquet", "x"])
def test_it_goes_on_in_a_bucket(bundle, filled, capsys, name):
    made = job(bundle, f"s3://{filled}/in", f"s3://{filled}/{name}")
    progress, _ = resume.begin(made)
    for step in run._steps(made, progress, on_ray=False):
        progress = progress.after(step)
        if len(progress.receipts) == 2:
            break
    done = predict(bundle, f"s3://{filled}/in", f"s3://{filled}/{name}")
    assert (done.rows, done.resumed) == (ROWS, 20)
    assert f"{name} goes on: 2 of 5 parts are done" in capsys.readouterr().err
    assert read(done.output)["id"].to_pylist() == rows(ROWS)["id"].to_pylist()
    assert not [key for key in keys(filled) if ".raymle" in key]


def test_bad_rows_of_a_bucket_are_put_aside_there(bundle, filled):
    with filesystem(f"s3://{filled}").open_output_stream(f"{filled}/in/3.parquet") as stream:
        pq.write_table(rows(10).set_column(1, "amount", [["x", *(["1"] * 9)]]), stream)
    done = predict(bundle, f"s3://{filled}/in", f"s3://{filled}/out.parquet")
    assert (done.rows, done.quarantined, done.quarantine) == (ROWS - 1, 1, f"s3://{filled}/out.quarantine.parquet")
    assert read(done.quarantine)["quarantine_file"].to_pylist() == [f"s3://{filled}/in/3.parquet"]


def test_what_cannot_be_written_is_one_sentence(bundle, filled):
    with pytest.raises(SetupError, match=r"cannot write s3://no-such-bucket-at-all/out\.parquet"):
        predict(bundle, pa.table(rows(3)), "s3://no-such-bucket-at-all/out.parquet")
    with pytest.raises(UsageError, match="is the source itself"):
        predict(bundle, f"s3://{filled}/in/1.parquet", f"s3://{filled}/in/1.parquet")
    with pytest.raises(UsageError, match="is the source itself"):
        predict(bundle, f"s3://{filled}/in", f"s3://{filled}/in")
    system: pafs.FileSystem = filesystem(f"s3://{filled}")
    with system.open_output_stream(f"{filled}/mine/notes.txt") as stream:
        stream.write(b"mine")
    with pytest.raises(UsageError, match="holds other files"):
        predict(bundle, rows(3), f"s3://{filled}/mine")
