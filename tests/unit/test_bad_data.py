"""Malformed data sets: each is refused before any compute, in one sentence that names what is wrong."""

import gzip
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymle import loader, pipeline
from raymle.config import DataConfig, SplitConfig
from raymle.data import prepare
from raymle.errors import DataError, RaymleError, SpecError, UsageError, WorkError
from raymle.records import Schema
from raymle.store import open_store

HEADER = "age,plan,churned\n"
ROWS = [f"{20 + i % 50},{'gold' if i % 3 else 'basic'},{'no' if i % 4 else 'yes'}\n" for i in range(60)]
GOOD = (HEADER + "".join(ROWS)).encode()


def train(source: Any, folder: Path, **sections: Any) -> None:
    """Type `raymle train`, as it were: whatever is wrong has to be found before anything is trained."""
    in_memory = not isinstance(source, str)
    sections = {"name": "bad", "storage": "runs", **sections}
    about = {"source": "<table>" if in_memory else source, "target": "churned", **sections.pop("data", {})}
    spec = loader.from_mapping({**sections, "data": about}, folder)
    pipeline.train(spec, source=source if in_memory else None)


def schema_of(source: Any, folder: Path) -> Schema:
    data = DataConfig(source="x", target="churned")
    return prepare(data, SplitConfig(), open_store(str(folder / "runs")), folder=str(folder), source=source).data_schema


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@dataclass
class Case:
    name: str
    files: dict[str, bytes | None]  # None is a folder
    says: str
    hint: str = ""
    source: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    error: type[RaymleError] = DataError


LABELS = ["yes", "no", "no", "yes"]
MOMENTS = "when,churned\n" + "".join(f"{i},2026-01-{1 + i % 28:02d}\n" for i in range(60))
CASES = [
    Case("target is a moment", {"a.csv": MOMENTS.encode()}, "target 'churned' is a moment", "predict something else"),
    Case("a group that is not named", {"a.csv": GOOD}, "split.method is group, and data.group names no column", spec={"split": {"method": "group"}}, error=SpecError),
    Case("a time that is not named", {"a.csv": GOOD}, "split.method is time, and data.time names no column", spec={"split": {"method": "time"}}, error=SpecError),
    Case("a positive class that is none", {"a.csv": GOOD}, "evaluate.positive 'ja' is not a class of 'churned'", "no, yes", spec={"evaluate": {"positive": "ja"}}),
    Case("a positive class of a number", {"a.csv": GOOD}, "evaluate.positive 'yes' is a class, but target 'age' is a number", "leave it out", data={"target": "age"}, spec={"evaluate": {"positive": "yes"}}),
    Case("a number that turns into a word far down", {"a.csv": (HEADER + "20,gold,no\n30,basic,yes\n" * 200_000 + "old,gold,no\n").encode()}, "column 'age' is number, but holds 'old'", "category"),
    Case("own metric that fails", {"a.csv": GOOD, "mine_for_bad_data.py": b"def profit(y, p):\n    raise ValueError('no price')\n"}, "the metric profit failed: ValueError: no price", source="a.csv", spec={"evaluate": {"metrics": ["mine_for_bad_data:profit"]}}, error=WorkError),
    Case("own metric with a name that is taken", {"a.csv": GOOD, "mine_for_bad_data.py": b"def roc_auc(y, p):\n    return 1.0\n"}, "roc_auc is a metric already", "another name", source="a.csv", spec={"evaluate": {"metrics": ["mine_for_bad_data:roc_auc"]}}, error=SpecError),
    Case("empty csv", {"a.csv": b""}, "a.csv is empty"),
    Case("blank lines only", {"a.csv": b"\n\n\n"}, "a.csv is empty"),
    Case("empty parquet", {"a.parquet": b""}, "a.parquet is empty"),
    Case("empty json", {"a.jsonl": b""}, "a.jsonl is empty"),
    Case("header only", {"a.csv": HEADER.encode()}, "a.csv has column names but no rows"),
    Case("parquet without rows", {"a.parquet": parquet(age=pa.array([], pa.int64()), churned=pa.array([], pa.string()))}, "a.parquet has column names but no rows"),
    Case("truncated parquet", {"a.parquet": parquet(age=[1, 2], churned=["a", "b"])[:-9]}, "a.parquet is not a whole parquet file", "cut off"),
    Case("csv named parquet", {"a.parquet": GOOD}, "a.parquet is not a whole parquet file", "name wrong"),
    Case("truncated gzip", {"a.csv.gz": gzip.compress(GOOD * 50)[:-40]}, "a.csv.gz"),
    Case("plain csv named gz", {"a.csv.gz": GOOD}, "a.csv.gz"),
    Case("not UTF-8 in a row", {"a.csv": GOOD + b"30,caf\xe9,no\n"}, "a.csv is not UTF-8 text at line 62", "iconv"),
    Case("not UTF-8 far down", {"a.csv": GOOD + b"30,gold,no\n" * 500_000 + b"30,caf\xe9,no\n"}, "a.csv is not UTF-8 text at line 500062", "iconv"),
    Case("not UTF-8 in the header", {"a.csv": b"caf\xe9,churned\n1,no\n"}, "a.csv is not UTF-8 text at line 1"),
    Case("UTF-16", {"a.csv": GOOD.decode().encode("utf-16")}, "a.csv is not UTF-8 text at line 1"),
    Case("not UTF-8 json", {"a.jsonl": b'{"age": 1, "churned": "no"}\n{"age": 2, "churned": "\xff"}\n'}, "a.jsonl is not UTF-8 text at line 2"),
    Case("row too short", {"a.csv": GOOD + b"30,no\n"}, "row 62 (the header is row 1) has 2 values, not 3"),
    Case("row too long", {"a.csv": GOOD + b"30,gold,1,no\n" + GOOD}, "row 62 (the header is row 1) has 4 values, not 3", "delimiter"),
    Case("ragged far down", {"a.csv": GOOD + b"30,gold,no\n" * 500_000 + b"30\n"}, "row 500062 (the header is row 1) has 1 value, not 3"),
    Case("open quote in a large file", {"a.csv": GOOD + b'30,"gold,no\n' + b"30,gold,no\n" * 500_000}, "a.csv has a row of several megabytes", "quote"),
    Case("one class", {"a.csv": HEADER.encode() + b"1,gold,no\n2,basic,no\n3,gold,no\n"}, "target 'churned' has only one value, 'no'"),
    Case("constant number as target", {"a.csv": GOOD.replace(b"no", b"1").replace(b"yes", b"1")}, "target 'churned' has only one value"),
    Case("one row", {"a.csv": HEADER.encode() + b"1,gold,no\n"}, "the data has 1 row, too few"),
    Case("two rows", {"a.csv": HEADER.encode() + b"1,gold,no\n2,gold,yes\n"}, "the data has 2 rows, too few"),
    Case("column without values", {"a.csv": b"empty," + HEADER.encode() + b"".join(f",{row}".encode() for row in ROWS)}, "column 'empty' has no values", "data.drop: [empty]"),
    Case("null-typed parquet column", {"a.parquet": parquet(age=[1, 2, 3, 4], empty=pa.nulls(4), churned=LABELS)}, "column 'empty' has no values"),
    Case("column of NaN", {"a.parquet": parquet(age=[1, 2, 3, 4], empty=[float("nan")] * 4, churned=LABELS)}, "column 'empty' has no values"),
    Case("target without values", {"a.parquet": parquet(age=[1, 2, 3, 4], churned=pa.nulls(4, pa.string()))}, "target 'churned' has no values"),
    Case("target missing in some rows", {"a.csv": GOOD + b"30,gold,\n31,gold,\n"}, "target 'churned' is missing in 2 of 62 rows, first in row 61", "leave those rows out"),
    Case("NaN in a number target", {"a.parquet": parquet(age=list(range(40)), churned=[float("nan")] + [i / 7 for i in range(39)])}, "target 'churned' is missing in 1 of 40 rows"),
    Case("infinite numbers", {"a.csv": GOOD + b"inf,gold,no\n-inf,gold,no\n"}, "column 'age' holds infinity in 2 of 62 rows, first in row 61", "null"),
    Case("infinite target", {"a.parquet": parquet(age=list(range(40)), churned=[float("inf")] + [i / 7 for i in range(39)])}, "column 'churned' holds infinity in 1 of 40 rows"),
    Case("too many classes", {"a.parquet": parquet(age=list(range(3000)), churned=[f"c{i // 2}" for i in range(3000)])}, "target 'churned' has more than 1,000 classes", "regression"),
    Case("several problems at once", {"a.csv": GOOD + b"inf,gold,\n"}, "column 'age' holds infinity in 1 of 61 rows, first in row 61; target 'churned' is missing in 1 of 61 rows"),
    Case("misspelt target", {"a.csv": GOOD}, "target column 'chruned' is not in the data", "did you mean 'churned'?", data={"target": "chruned"}),
    Case("target in other case", {"a.csv": GOOD}, "target column 'Churned ' is not in the data", "did you mean 'churned'?", data={"target": "Churned "}),
    Case("unknown target", {"a.csv": GOOD}, "target column 'zzz' is not in the data", "the columns are age, plan, churned", data={"target": "zzz"}),
    Case("csv without a header", {"a.csv": b"1,2,0\n3,4,1\n"}, "target column 'churned' is not in the data", "first line must hold the column names"),
    Case("misspelt key", {"a.csv": GOOD}, "key column 'plann' is not in the data", "did you mean 'plan'?", data={"key": "plann"}),
    Case("misspelt group", {"a.csv": GOOD}, "group column 'plann' is not in the data", "did you mean 'plan'?", data={"group": "plann"}),
    Case("misspelt time", {"a.csv": GOOD}, "time column 'aeg' is not in the data", "did you mean 'age'?", data={"time": "aeg"}),
    Case("misspelt drop", {"a.csv": GOOD}, "drop column 'plam' is not in the data", "did you mean 'plan'?", data={"drop": ["plam"]}),
    Case("misspelt types", {"a.csv": GOOD}, "types column 'ages' is not in the data", "did you mean 'age'?", data={"types": {"ages": "number"}}),
    Case("target is also the key", {"a.csv": GOOD}, "column 'churned' is both target and key", data={"key": "churned"}),
    Case("dropped key", {"a.csv": GOOD}, "column 'plan' is dropped, but also has a role", data={"key": "plan", "drop": "plan"}),
    Case("time is text", {"a.csv": GOOD}, "time column 'plan' is category", "2026-01-31", data={"time": "plan"}),
    Case("only the target is left", {"a.csv": GOOD}, "no column is left to predict 'churned' from", data={"drop": ["age", "plan"]}),
    Case("number that holds words", {"a.csv": GOOD}, "column 'plan' is number, but holds 'basic'", "types: {plan: category}", data={"types": {"plan": "number"}}),
    Case("timestamp that holds words", {"a.csv": GOOD}, "column 'plan' is timestamp, but holds 'basic'", data={"types": {"plan": "timestamp"}}),
    Case("timestamp that holds numbers", {"a.csv": GOOD}, "column 'age' is timestamp, but holds 20.0", data={"types": {"age": "timestamp"}}),
    Case("boolean that holds other numbers", {"a.csv": GOOD}, "column 'age' is boolean, but holds 20.0", data={"types": {"age": "boolean"}}),
    Case("word among numbers", {"a.csv": HEADER.encode() + b"".join(f"{i},gold,{'yes' if i % 2 else 'no'}\n".encode() for i in range(90)) + b"unknown,gold,no\n"}, "column 'age' is number, but holds 'unknown'"),
    Case("word among numbers far down", {"a.csv": GOOD + b"30,gold,no\n" * 400_000 + b"unknown,gold,no\n"}, "column 'age' is number, but holds 'unknown'", "category"),
    Case("regression of words", {"a.csv": GOOD}, "column 'churned' is number, but holds 'yes'", data={"task": "regression"}),
    Case("no such day", {"a.jsonl": b'{"d": "2026-02-30", "churned": "no"}\n' * 4}, "column 'd' is timestamp, but holds '2026-02-30'"),
    Case("missing file", {}, "a.csv does not exist", "spec's folder", source="a.csv"),
    Case("missing folder", {}, "data does not exist", source="data/"),
    Case("empty folder", {"data": None}, "data holds no data files", "csv", source="data"),
    Case("folder of other files", {"data/notes.md": b"hello"}, "data holds no data files", source="data"),
    Case("glob without a match", {"a.csv": GOOD}, "no file matches", source="b*.csv"),
    Case("glob over formats", {"a.csv": GOOD, "a.jsonl": b"{}"}, "a.* mixes formats: 1 csv and 1 json files", source="a.*"),
    Case("folder of formats", {"data/a.csv": GOOD, "data/b.parquet": parquet(age=[1])}, "data mixes formats: 1 csv and 1 parquet files", "glob", source="data"),
    Case("folder named csv", {"a.csv": None}, "a.csv holds no data files", source="a.csv"),
    Case("unknown extension", {"a.xlsx": GOOD}, "a.xlsx is not a kind of file that raymle reads", ".parquet"),
    Case("no extension", {"data": GOOD}, "data is not a kind of file that raymle reads"),
    Case("file lacks a column", {"data/a.csv": GOOD, "data/b.csv": b"age,churned\n1,no\n"}, "b.csv has no column 'plan', which a.csv has", source="data"),
    Case("file has one column more", {"data/a.csv": GOOD, "data/b.csv": b"age,plan,churned,more\n1,gold,no,1\n"}, "b.csv has a column 'more', which a.csv has not", source="data"),
    Case("parquet file lacks a column", {"data/a.parquet": parquet(age=[1, 2], churned=["a", "b"]), "data/b.parquet": parquet(churned=["a"])}, "b.parquet has no column 'age', which a.parquet has", source="data"),
    Case("partition folders", {"data/year=2026/a.csv": GOOD}, "split by column values (year=2026)", source="data", error=UsageError),
    Case("column name twice", {"a.csv": b"age,age,churned\n1,2,no\n"}, "a.csv has more than one column named 'age'"),
    Case("column name twice in parquet", {"a.parquet": None}, "a.parquet has more than one column named 'age'"),
    Case("JSON list", {"a.json": b'[{"age": 1, "churned": "no"}]'}, "a.json is one JSON list, not newline JSON", "jq"),
    Case("broken JSON", {"a.json": b'{"age": 1, "churned": "no"}\n{"age": }\n'}, "a.json is not a whole json file"),
    Case("JSON of two types", {"a.json": b'{"age": 1, "churned": "no"}\n{"age": "old", "churned": "no"}\n'}, "a.json has a string in column 'age', which holds a number before"),
    Case("JSON key twice", {"a.json": b'{"age": 1, "age": 2}\n'}, "a.json is not a whole json file"),
    Case("nested columns only", {"a.json": b'{"age": {"years": 1}, "churned": "no"}\n{"age": {"years": 2}, "churned": "yes"}\n' * 3}, "no column is left to predict 'churned' from", "nested"),
    Case("image type", {"a.csv": GOOD}, "column 'age' is image by data.types, but holds double", data={"types": {"age": "image"}}),
    Case("anomalies of many kinds", {"a.csv": b"age,churned\n" + b"1,no\n2,yes\n3,perhaps\n" * 9}, "data.task is anomaly, and target 'churned' has 3 values", "whether it is an anomaly", data={"task": "anomaly"}, spec={"model": {"type": "autoencoder"}}),
    Case("nothing but what is usual", {"a.csv": b"age,churned\n" + b"1,no\n2,no\n" * 9}, "target 'churned' has only one value, 'no'", data={"task": "anomaly"}, spec={"model": {"type": "autoencoder"}}),
    Case("forecast of words", {"a.csv": GOOD}, "time column 'plan' holds", "2026-01-31", data={"task": "forecast", "target": "age", "time": "plan"}),
    Case("unknown scheme", {}, "scheme ftp", "s3", source="ftp://host/a.csv", error=UsageError),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_data_is_refused_in_one_sentence(case: Case, tmp_path: Path) -> None:
    for name, content in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None and case.name == "column name twice in parquet":
            pq.write_table(pa.Table.from_arrays([pa.array([1])] * 3, ["age", "age", "churned"]), path)
        elif content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
    before, started = sorted(tmp_path.rglob("*")), time.monotonic()
    with pytest.raises(RaymleError) as caught:
        train(case.source or next(iter(case.files)), tmp_path, data=case.data, **case.spec)
    message = str(caught.value)
    assert type(caught.value) is case.error
    assert caught.value.exit_code in {2, 3} | {case.error.exit_code}
    assert case.says in message
    assert "\n" not in message
    assert len(message) < 400
    assert case.hint in caught.value.hint
    assert time.monotonic() - started < 5
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_frame_with_a_column_of_mixed_types_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [1, "old", 3], "churned": ["no", "yes", "no"]})
    with pytest.raises(DataError, match=r"column of mixed types.*age"):
        train(frame, tmp_path)


def test_a_data_frame_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame([[1, 2, "no"]], columns=["age", "age", "churned"])
    with pytest.raises(DataError, match="more than one column named 'age'"):
        train(frame, tmp_path)


def test_a_table_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the table has no columns"):
        train(pd.DataFrame(), tmp_path)


def test_something_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data is a list"):
        train([1, 2], tmp_path)


def test_unicode_names_and_values_are_ordinary(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'東京' if i % 3 else '大阪'},{'no' if i % 2 else 'はい'}\n" for i in range(60))
    (tmp_path / "日本 data.csv").write_text(f"größe,名前,churned\n{rows}", encoding="utf-8")
    schema = schema_of("日本 data.csv", tmp_path)
    assert [column.name for column in schema.features] == ["größe", "名前"]
    assert schema.classes == ("no", "はい")


def test_five_thousand_categories_are_ordinary(tmp_path: Path) -> None:
    table = pa.table({"city": [f"city {i % 5000}" for i in range(20_000)], "churned": ["no", "yes"] * 10_000})
    schema = schema_of(table, tmp_path)
    assert [(column.name, column.type) for column in schema.features] == [("city", "category")]
