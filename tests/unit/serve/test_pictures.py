"""Images in requests: as base64, as a data: URL, as binary and as the body itself, under the same limits."""

import base64
import json

import numpy as np
import pyarrow as pa
import pytest
from served import ipc
from small_images import empty_png, file_of, picture

from raymle.data.images import pixels
from raymle.data.transform import Transform
from raymle.records import Column, ImageInput, Schema
from raymle.serve import arrow, layout, pictures, request, wire
from raymle.serve.base64_files import file_of as read_text
from raymle.serve.inputs import missing, outlying, seen, unseen
from raymle.serve.limits import Limits, RequestError
from raymle.serve.openapi import example, openapi

IMAGE = Column(name="photo", type="image", role="feature", shape=(1, 8, 8))
LABEL = Column(name="kind", type="category", role="target")
SCHEMA = Schema(columns=(IMAGE, LABEL), target="kind", task="classification", classes=("a", "b"))
BOTH = SCHEMA.model_copy(update={"columns": (IMAGE, Column(name="size", type="number", role="feature"), LABEL)})
TRANSFORM = Transform((), (), "kind", ("a", "b"), images=(ImageInput(column="photo", channels=1, height=8, width=8),))
FILE = file_of(picture())
TEXT = base64.b64encode(FILE).decode()
EXPECTED = pixels(FILE, (1, 8, 8)).tobytes()


def parsed(*values, limits=None):
    body = json.dumps({"rows": [{"photo": value} for value in values]}).encode()
    return wire.parse(body, SCHEMA, limits or Limits()).column("photo").to_pylist()


def refused(call) -> RequestError:
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value


def test_a_row_holds_base64_a_data_url_or_nothing():
    lines = "\n".join(TEXT[start : start + 60] for start in range(0, len(TEXT), 60))
    assert parsed(TEXT, f"data:image/png;base64,{TEXT}", lines, None) == [EXPECTED] * 3 + [None]
    assert parsed(*[TEXT] * 20) == [EXPECTED] * 20
    columns = json.dumps({"columns": {"photo": [TEXT, None]}}).encode()
    assert wire.parse(columns, SCHEMA, Limits()).column("photo").to_pylist() == [EXPECTED, None]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not base64", "the text is not base64"),
        ("ünï", "the text is not base64"),
        (7, "an image is a text in base64"),
        ([TEXT], "an image is a text in base64"),
        ("data:image/png,abc", "the data: URL is not in base64"),
        ("", "the image is empty"),
        (base64.b64encode(b"hello").decode(), "the image is no png, jpeg"),
        (base64.b64encode(FILE[:80]).decode(), "the image is cut off"),
        (base64.b64encode(empty_png(30_000, 20)).decode(), "the image is 30,000 x 20 pixels large"),
    ],
)
@pytest.mark.parametrize("before", [1, 12], ids=["few rows", "many rows"])
def test_a_bad_image_is_a_fault_of_its_row(value, reason, before):
    error = refused(lambda: parsed(*[TEXT] * before, value))
    assert error.status == 422
    assert [(each["row"], each["column"]) for each in error.rows] == [(before, "photo")]
    assert error.rows[0]["reason"].startswith(reason)


def test_all_images_of_a_request_share_one_limit():
    small = Limits(pixels=300)
    assert parsed(TEXT, TEXT, limits=small) == [EXPECTED] * 2
    error = refused(lambda: parsed(TEXT, TEXT, TEXT, limits=small))
    assert (error.status, error.kind) == (413, "too_large")
    bomb = base64.b64encode(empty_png(7000, 7000)).decode()
    assert refused(lambda: parsed(bomb, bomb)).status == 413


def test_arrow_holds_files_as_binary():
    expected = layout.of(BOTH)
    table = pa.table({"photo": [FILE, None], "size": [1.0, 2.0]})
    found = arrow.read(ipc(table), expected, Limits())
    assert found.column("photo").to_pylist() == [EXPECTED, None]
    error = refused(lambda: arrow.read(ipc(table.set_column(0, "photo", [["x", "y"]])), expected, Limits()))
    assert "string is not binary" in str(error)
    error = refused(lambda: arrow.read(ipc(table.set_column(1, "size", [[b"x", b"y"]])), expected, Limits()))
    assert error.status == 422
    error = refused(lambda: arrow.read(ipc(table.set_column(0, "photo", [[FILE, b"x"]])), expected, Limits()))
    assert [(each["row"], each["column"]) for each in error.rows] == [(1, "photo")]


def test_a_body_may_be_the_file_where_a_row_is_nothing_else():
    assert pictures.is_alone(layout.of(SCHEMA))
    assert not pictures.is_alone(layout.of(BOTH))
    assert pictures.alone(FILE, layout.of(SCHEMA), Limits()).column("photo").to_pylist() == [EXPECTED]
    assert refused(lambda: pictures.alone(FILE, layout.of(SCHEMA), Limits(body=10))).status == 413
    headers = {b"content-type": b"image/png"}
    types = (*request.TYPES, *pictures.CONTENT)
    found = request.asked(headers, Limits(), types=types)
    assert (found.sent, found.wanted) == ("image/png", request.JSON)
    both = headers | {b"accept": request.ARROW.encode()}
    assert request.asked(both, Limits(), types=types).wanted == request.ARROW
    assert refused(lambda: request.asked(headers, Limits())).status == 415


def test_the_document_says_how_an_image_is_sent_and_its_example_works():
    document = openapi(SCHEMA, TRANSFORM, name="photos", version="1", limits=Limits())
    photo = document["components"]["schemas"]["Row"]["properties"]["photo"]
    assert photo["contentEncoding"] == "base64"
    assert "8x8" in photo["description"].replace(" ", "")
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"image/png", "image/jpeg"} <= set(content)
    other = openapi(BOTH, None, name="photos", version="1", limits=Limits())
    assert "image/png" not in other["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert parsed(example(SCHEMA, TRANSFORM)["photo"])[0] is not None


def test_what_is_watched_of_images_is_that_they_are_missing():
    against = seen(SCHEMA, TRANSFORM)
    columns = {"photo": pa.chunked_array([pa.array([EXPECTED, None], pa.binary(64))])}
    assert missing(columns, against) == {"photo": 1}
    assert unseen(columns, against) == {}
    assert outlying(columns, against) == {}


def test_base64_is_read_as_it_was_written():
    for size in range(5):
        data = np.random.default_rng(size).bytes(size)
        assert read_text(base64.b64encode(data).decode()) == data
