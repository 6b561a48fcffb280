from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from raymle.config.data import DataConfig
from raymle.data.infer import infer, infer_roles
from raymle.data.source import resolve
from raymle.records import Column, Schema

N = 200
AN_ID = ", like an id: its words do not come again; data.types: {x: text} learns from it"
LABELS = ["no", "yes"] * (N // 2)


def inferred(table: pa.Table, **data: Any) -> Schema:
    return infer(resolve(table, folder="."), DataConfig(**{"source": "x", "target": "y"} | data))


def column(values: Any, **data: Any) -> Column:
    table = pa.table({"x": values, "other": range(N), "y": LABELS})
    return next(each for each in inferred(table, **data).columns if each.name == "x")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(N)), "number"),
        (np.linspace(0, 1, N), "number"),
        (pa.array([1, None] * 100, pa.int8()), "number"),
        (pa.array(range(N), pa.decimal128(10, 2)), "number"),
        (pa.array(range(N), pa.time32("s")), "number"),
        ([True, None] * 100, "boolean"),
        (["a", "b"] * 100, "category"),
        (pa.array(["a", "b"] * 100).dictionary_encode(), "category"),
        (pa.array(["a", "b"] * 100, pa.large_string()), "category"),
        ([f"v{i % 100}" for i in range(N)], "category"),
        (["00501", "00502"] * 100, "category"),
        (pa.array(range(N), pa.date32()), "timestamp"),
        (pa.array(range(N), pa.timestamp("ns", "Europe/Berlin")), "timestamp"),
        (["2026-01-31T10:00:00Z", "2026-02-01"] * 100, "timestamp"),
    ],
    ids=str,
)
def test_a_column_gets_the_type_of_its_values(values: Any, kind: str) -> None:
    assert (column(values).type, column(values).role) == (kind, "feature")


@pytest.mark.parametrize(
    "values",
    [
        ["a long sentence that goes on and on about something, " * 2] * N,
        [f"Order {i} arrived late and the box was broken" for i in range(N)],
        [f"第{i}号餐厅的服务很好" for i in range(N)],
    ],
    ids=["long", "short and all different", "without spaces"],
)
def test_sentences_are_learned_from(values: Any) -> None:
    assert (column(values).type, column(values).role) == ("text", "feature")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"user {i}" for i in range(N)], f"200 different values in 200 rows{AN_ID}"),
        ([sha256(bytes([i])).hexdigest() for i in range(N)], f"long text{AN_ID}"),
        ([f"https://shop.example/orders/{i:09d}?from=mail&day=monday" for i in range(N)], f"long text{AN_ID}"),
        ([[["a"]]] * N, "nested values that are no lists of numbers"),
        ([b"\x00"] * N, "bytes; text is written as strings"),
    ],
    ids=["unique", "hashes", "links", "list", "bytes"],
)  # fmt: skip
def test_what_cannot_be_learned_from_yet_is_dropped_with_the_reason(values: Any, why: str) -> None:
    assert (column(values).role, column(values).reason) == ("drop", why)


def test_a_column_without_a_name_is_dropped() -> None:
    table = pa.table({"": range(N), "x": range(N), "y": LABELS})
    assert inferred(table).named("drop") == ("",)


def test_the_spec_overrules_what_was_inferred() -> None:
    assert column(list(range(N)), types={"x": "category"}).type == "category"
    assert column([f"user {i}" for i in range(N)], types={"x": "category"}).role == "feature"
    assert column([f"user {i}" for i in range(N)], types={"x": "text"}).role == "feature"


def test_roles_come_from_the_spec_and_are_never_features() -> None:
    table = pa.table({"id": range(N), "g": ["a", "b"] * 100, "t": range(N), "s": ["train"] * N, "d": range(N), "x": range(N), "y": LABELS})  # fmt: skip
    data = DataConfig(source="x", target="y", key="id", group="g", time="t", drop="d")
    schema = infer(resolve(table, folder="."), data, by="s")
    assert {each.name: each.role for each in schema.columns} == {
        "id": "key", "g": "group", "t": "time", "s": "split", "d": "drop", "x": "feature", "y": "target",
    }  # fmt: skip
    assert {each.name: each.type for each in schema.columns}["id"] == "category"


def test_a_column_of_the_key_may_also_be_the_group_or_the_time() -> None:
    table = pa.table({"id": range(N), "month": range(N), "x": range(N), "y": LABELS})
    schema = inferred(table, key=["id", "month"], group="id", time="month")
    assert schema.named("key") == ("id", "month")
    assert (schema.named("group"), schema.named("time")) == (("id",), ("month",))
    assert [each.type for each in schema.columns] == ["category", "number", "number", "category"]


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (LABELS, "classification"),
        ([True, False] * 100, "classification"),
        ([0, 1] * 100, "classification"),
        ([0.0, 1.0] * 100, "classification"),
        ([i % 10 for i in range(N)], "classification"),
        ([1.0, 2.0, 3.0, None] * 50, "classification"),
        (list(range(N)), "regression"),
        ([i / 7 % 2 for i in range(N)], "regression"),
        ([i % 21 for i in range(N)], "regression"),
    ],
    ids=["words", "booleans", "0/1", "0.0/1.0", "ten numbers", "with null", "many", "fractions", "21 numbers"],
)
def test_the_task_follows_the_target(target: Any, task: str) -> None:
    schema = inferred(pa.table({"x": range(N), "y": target}))
    assert schema.task == task
    assert schema.columns[1].type == ("category" if task == "classification" else "number")


def test_the_spec_decides_the_task_when_it_says_so() -> None:
    table = pa.table({"x": range(N), "y": list(range(N))})
    assert inferred(table, task="classification").task == "classification"
    assert inferred(table, types={"y": "category"}).task == "classification"


def test_a_column_whose_values_start_late_gets_their_type(tmp_path: Path) -> None:
    late = 60_000
    table = pa.table({"x": [None] * late + [1.5] * 10, "y": ["a", "b"] * 30_005})
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("x,c,y\n" + f",,{'a' * 50}\n" * late + "1.5,007,b\n" * 10)
    for source in (table, str(tmp_path / "t.parquet"), str(tmp_path / "t.csv")):
        schema = infer(resolve(source, folder="."), DataConfig(source="x", target="y"))
        assert schema.columns[0].type == "number"
    assert schema.columns[1].type == "category"


def test_the_users_transforms_come_before_the_types() -> None:
    def double(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.append_column("twice", pc.multiply(batch["x"], 2)).drop_columns(["x"])

    source = resolve(pa.table({"x": range(N), "y": LABELS}), folder=".")
    schema = infer(source, DataConfig(source="x", target="y"), apply=double)
    assert [each.name for each in schema.features] == ["twice"]


def test_a_first_spec_gets_roles_with_reasons() -> None:
    table = pa.table(
        {
            "customer_id": range(N),
            "when": pa.array(range(N), pa.timestamp("s")),
            "same": ["a"] * N,
            "name": [f"user {i}" for i in range(N)],
            "x": np.arange(N) % 7,
            "y": LABELS,
        }
    )
    schema = infer_roles(resolve(table, folder="."), "y")
    roles = {each.name: each.role for each in schema.columns}
    assert roles == {"customer_id": "key", "when": "time", "same": "drop", "name": "drop", "x": "feature", "y": "target"}  # fmt: skip
    assert all(each.reason for each in schema.columns if each.name != "x")


def test_two_timestamps_stay_features_and_a_unique_number_is_no_key() -> None:
    moments = pa.array(range(N), pa.timestamp("s"))
    schema = infer_roles(resolve(pa.table({"a": moments, "b": moments, "n": range(N), "y": LABELS}), folder="."), "y")
    assert {each.name for each in schema.features} == {"a", "b", "n"}
