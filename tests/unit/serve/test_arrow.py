"""Arrow streams from outside: good ones are tables, all others are refused before they can do harm."""

import datetime as dt
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import GOOD, NUMBERS, SCHEMA, SMALL, ipc

from raymle.serve import arrow, layout
from raymle.serve.limits import RequestError

LAYOUT = layout.of(SCHEMA)
MOMENT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
PLAIN = {"amount": [1.5, 2.0], "plan": ["basic", "pro"], "new": [True, False], "at": [MOMENT, None]}


def table(**columns) -> pa.Table:
    return pa.table(PLAIN | columns)


def read(sent: pa.Table | bytes) -> pa.Table:
    return arrow.read(sent if isinstance(sent, bytes) else ipc(sent), LAYOUT, SMALL)


def refused(sent: pa.Table | bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(sent)
    return caught.value


def places(error: RequestError) -> set[tuple[int | None, str | None]]:
    return {(fault["row"], fault["column"]) for fault in error.rows}


STORED = {
    "integers": {"amount": pa.array([1, 2], pa.int8())},
    "decimals": {"amount": pa.array(["1.50", "2"]).cast(pa.decimal128(5, 2))},
    "text of numbers": {"amount": ["1.5", "2"]},
    "a dictionary of numbers": {"amount": pa.array([1.5, 1.5]).dictionary_encode()},
    "a dictionary of text": {"plan": pa.array(["basic", "basic"]).dictionary_encode()},
    "large text": {"plan": pa.array(["basic", "pro"], pa.large_string())},
    "views": {"plan": pa.array(["basic", "a plan with a long name"], pa.string_view())},
    "whole numbers for text": {"plan": pa.array([7.0, 7.5])},
    "0 and 1": {"new": pa.array([0, 1])},
    "days": {"at": pa.array([dt.date(2026, 1, 31), None])},
    "milliseconds": {"at": pa.array([MOMENT, None], pa.timestamp("ms", "Europe/Paris"))},
    "nothing at all": {"plan": pa.nulls(2)},
    "the key too": {"id": ["c-1", "c-2"]},
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_every_way_to_store_a_column_reads_as_its_canonical_type(name):
    assert read(table(**STORED[name])).schema == pa.schema(list(LAYOUT.row))


def test_values_are_those_that_were_sent():
    sent = table(amount=[1.0, float("nan")], plan=pa.array([7.0, 7.5]), new=[1, None])
    got = read(sent).to_pydict()
    assert got == {"amount": [1.0, None], "plan": ["7", "7.5"], "new": [True, None], "at": [MOMENT, None]}


def test_many_batches_are_one_table():
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        for _ in range(5):
            writer.write_table(table())
    assert read(bytes(sink.getvalue())).to_pydict() == {name: values * 5 for name, values in PLAIN.items()}


WRONG = {
    "text for a number": ({"amount": ["1.5", "lots"]}, {(1, "amount")}),
    "infinity": ({"amount": [1.0, float("inf")]}, {(1, "amount")}),
    "beyond float32": ({"amount": [-1e300, 1.0]}, {(0, "amount")}),
    "a moment for a number": ({"amount": PLAIN["at"]}, {(0, "amount")}),
    "2 for a boolean": ({"new": [1, 2]}, {(1, "new")}),
    "words for a time": ({"at": ["2026-01-31", "tomorrow"]}, {(1, "at")}),
    "a year that is none": ({"at": pa.array([0, 2**62]).cast(pa.timestamp("us", "UTC"))}, {(1, "at")}),
    "bytes": ({"plan": pa.array([b"a", b"b"])}, {(None, "plan")}),
    "a list": ({"plan": [["a"], ["b"]]}, {(None, "plan")}),
    "a structure": ({"plan": [{"a": 1}, {"a": 2}]}, {(None, "plan")}),
    "runs": ({"plan": pa.RunEndEncodedArray.from_arrays([2], ["a"])}, {(None, "plan")}),
    "a column that is not there": ({"amuont": [1, 2]}, {(None, "amuont")}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_column_that_does_not_fit_is_named(name):
    columns, expected = WRONG[name]
    error = refused(table(**columns))
    assert error.status == 422
    assert places(error) == expected


def test_columns_that_are_missing_or_there_twice_are_named():
    assert places(refused(table().drop(["plan", "at"]))) == {(None, "plan"), (None, "at")}
    twice = pa.Table.from_arrays([*table().columns, pa.array([1, 2])], names=[*PLAIN, "amount"])
    assert places(refused(twice)) == {(None, "amount")}


class Tensor(pa.ExtensionType):
    """As libraries register them, with code that runs when a stream is opened."""

    opened = 0

    def __init__(self) -> None:
        super().__init__(pa.float64(), "test.tensor")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        cls.opened += 1
        return cls()


def test_an_extension_type_is_refused_before_its_code_runs():
    pa.register_extension_type(Tensor())
    try:
        body = ipc(table(amount=pa.ExtensionArray.from_storage(Tensor(), pa.array([1.0, 2.0]))))
        Tensor.opened = 0
        assert refused(body).status == 415
        assert Tensor.opened == 0
    finally:
        pa.unregister_extension_type("test.tensor")


@pytest.mark.parametrize("how", ["zstd", "lz4"])
def test_compressed_buffers_are_refused_unopened(how):
    before = pa.total_allocated_bytes()
    bomb = ipc(pa.table({**{name: pa.nulls(10**7) for name in GOOD}, "amount": np.zeros(10**7)}), compression=how)
    assert len(bomb) < SMALL.body
    assert refused(bomb).kind == "content_encoding"
    encoded = pa.array(["a" * 10**6, "b"]).dictionary_encode()
    assert refused(ipc(pa.table({"plan": encoded}), compression=how)).kind == "content_encoding"
    assert pa.total_allocated_bytes() - before < 2**26


SHARED = "x" * 10**5
BOMBS = {
    "one long word in every row": pa.array([SHARED] * 900).dictionary_encode(),
    "views of one long word": pa.Array.from_buffers(
        pa.string_view(),
        900,
        [None, pa.py_buffer(struct.pack("<i4sii", len(SHARED), b"xxxx", 0, 0) * 900), pa.py_buffer(SHARED.encode())],
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_small_only_until_it_is_decoded_is_refused(name):
    rest = {"new": pa.nulls(900), "at": pa.nulls(900), "amount": np.zeros(900)}
    before = pa.total_allocated_bytes()
    body = ipc(pa.table({"plan": BOMBS[name], **rest}))
    assert len(body) < SMALL.body
    assert refused(body).status == 413
    assert pa.total_allocated_bytes() - before < 2**26


def test_rows_without_bytes_are_counted_before_they_are_made():
    honest = ipc(pa.table({name: pa.nulls(1234567) for name in GOOD}))
    for claimed in (1234567, 2**31 - 1, 2**60):
        body = honest.replace(struct.pack("<q", 1234567), struct.pack("<q", claimed))
        assert refused(body).status == 413
    assert refused(ipc(table().slice(0, 0))).status == 422


def test_a_stream_of_very_many_batches_is_refused():
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        for _ in range(1001):
            writer.write_table(table().slice(0, 1))
    assert refused(bytes(sink.getvalue())).status == 413


GOOD_STREAM = ipc(table())


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"\xff" * 64, b"\xff\xff\xff\xff\x00\x00\x00\x00", b"ARROW1\x00\x00", b"\x80\x04\x95"]
)
def test_what_is_no_stream_is_refused(body):
    assert refused(body).status in {400, 422}


@pytest.mark.parametrize("size", range(0, len(GOOD_STREAM), 97))
def test_a_stream_that_ends_early_is_refused_or_whole(size):
    body = GOOD_STREAM[:size]
    assert refused(body).status in {400, 422}


@given(st.lists(st.tuples(st.integers(0, len(GOOD_STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=2000)
def test_bytes_that_were_changed_are_a_table_or_a_refusal(changes):
    body = bytearray(GOOD_STREAM)
    for place, value in changes:
        body[place] = value
    try:
        got = read(bytes(body))
    except RequestError as error:
        assert 400 <= error.status < 500  # noqa: PT017  a table is the other good outcome
    else:
        got.validate(full=True)
        assert got.schema == pa.schema(list(LAYOUT.row))


def test_offsets_that_point_outside_are_refused():
    offsets = struct.pack("<3i", 0, 5, 8)
    assert offsets in GOOD_STREAM
    error = refused(GOOD_STREAM.replace(offsets, struct.pack("<3i", 0, 5, 2**30)))
    assert (error.status, error.kind) == (400, "not_arrow")


def test_a_view_that_points_outside_harms_nobody_even_where_it_is_null():
    whole = pa.array(["basic", "a plan with a long name", None], pa.string_view())
    validity, views, text = whole.buffers()
    wild = pa.py_buffer(views.to_pybytes()[:-16] + b"\xff" * 16)
    hidden = pa.Array.from_buffers(pa.string_view(), 3, [validity, wild, text])
    nulls = {"amount": pa.nulls(3), "new": pa.nulls(3), "at": pa.nulls(3)}
    assert read(pa.table({"plan": hidden, **nulls}))["plan"].to_pylist() == ["basic", "a plan with a long name", None]
    shown = pa.table({"plan": pa.Array.from_buffers(pa.string_view(), 3, [None, wild, text]), **nulls})
    assert refused(shown).kind == "not_arrow"


def test_predictions_come_as_the_columns_of_a_batch_prediction():
    answered = pa.ipc.open_stream(arrow.answer(np.array([[0.25, 0.75]]), SCHEMA, "7")).read_all()
    assert answered.to_pydict() == {"prediction": ["yes"], "probability_no": [0.25], "probability_yes": [0.75]}
    assert answered.schema.metadata == {b"version": b"7"}
    numbers = pa.ipc.open_stream(arrow.answer(np.array([1.5]), NUMBERS, "7")).read_all()
    assert numbers.to_pydict() == {"prediction": [1.5]}
