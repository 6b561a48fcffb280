"""Files of any kind become pixels of one shape, or a sentence that says why not; nothing large is decoded for it."""

import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_images import empty_png, file_of, picture

from raymle.config.data import ImageConfig
from raymle.data import examples, images
from raymle.data.casts import canonical
from raymle.data.images import Unreadable, header, pixels, reason, survey
from raymle.data.transform import Transform
from raymle.errors import DataError
from raymle.model import golden
from raymle.records import Column, ImageInput, Schema

RED = Image.new("RGB", (6, 4), (250, 10, 20))
GREY = Image.new("L", (6, 4), 77)
COLUMN = Column(name="photo", type="image", role="feature", shape=(1, 8, 8))


def seen(data, shape=(3, 4, 6)):
    """Return the colour of the middle."""
    return pixels(data, shape)[:, 2, 3].tolist()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {})],
)
def test_every_format_is_read(kind, options):
    found = seen(file_of(RED, kind, **options))
    assert np.abs(np.array(found) - [250, 10, 20]).max() < 8
    assert pixels(file_of(GREY, kind, **options), (1, 4, 6)).shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (RED.convert("CMYK"), "JPEG", [250, 10, 20]),
        (RED.convert("P"), "PNG", [255, 0, 0]),
        (Image.new("RGBA", (6, 4), (0, 0, 0, 0)), "PNG", [255, 255, 255]),
        (Image.new("RGBA", (6, 4), (200, 0, 0, 255)), "PNG", [200, 0, 0]),
        (Image.new("LA", (6, 4), (9, 255)), "PNG", [9, 9, 9]),
        (Image.fromarray(np.full((4, 6), 0x8123, np.uint16)), "PNG", [0x81, 0x81, 0x81]),
        (Image.new("1", (6, 4), 1), "PNG", [255, 255, 255]),
    ],
    ids=["cmyk", "palette", "transparent", "alpha", "grey and alpha", "16 bits", "1 bit"],
)
def test_any_channels_become_what_a_viewer_shows(image, kind, expected):
    options = {"quality": 95} if kind == "JPEG" else {}
    assert np.abs(np.array(seen(file_of(image, kind, **options))) - expected).max() < 12
    assert pixels(file_of(image, kind, **options), (1, 4, 6)).shape == (1, 4, 6)


def test_an_image_is_turned_as_its_camera_says_and_the_first_frame_stands_for_all():
    turned = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 8, 1).repeat(4, 0))
    exif = Image.Exif()
    exif[0x0112] = 3
    assert pixels(file_of(turned, "PNG", exif=exif), (1, 8, 8))[0, 0, 0] == 255
    frames = [Image.new("L", (6, 4), shade) for shade in (0, 255)]
    animated = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert header(animated) == (6, 4, True)
    assert seen(animated) == [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"hello", "is no png, jpeg, webp, bmp or gif"),
        (b"<?xml version='1.0'?><svg xmlns='x'></svg>", "is an SVG"),
        (file_of(picture())[:100], "is cut off"),
        (file_of(picture(side=64), "JPEG")[:300], "is cut off"),
        (empty_png(30_000, 200), "is 30,000 x 200 pixels large, and the most are 16,384 a side and 50,000,000 in all"),
        (empty_png(16_000, 16_000), "is 16,000 x 16,000 pixels large"),
        (b"RIFF\x1e\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff" + bytes(20), "is 16,777,216 x"),
        (b"BM" + bytes(60), "is damaged"),
        (images.UNREAD + b"is not there: a.png", "is not there: a.png"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_told_in_a_sentence(data, sentence):
    assert reason(data).startswith(sentence)


def test_a_bomb_costs_nothing():
    tracemalloc.start()
    began = time.process_time()
    for _ in range(50):
        assert "large" in reason(empty_png(16_000, 16_000))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    assert time.process_time() - began < 2
    tracemalloc.stop()


FILES = [file_of(picture(side=16), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF")]


@settings(max_examples=150)
@given(st.sampled_from(FILES), st.data())
def test_any_damage_gives_pixels_or_one_kind_of_error(data, draw):
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    kept = bytes(damaged[: draw.draw(st.integers(0, len(data)))])
    try:
        found = pixels(kept, (3, 5, 7))
    except Unreadable:
        return
    assert found.shape == (3, 5, 7)
    assert found.dtype == np.uint8


def test_the_shape_follows_from_what_is_there_or_from_the_spec():
    grey = [file_of(picture(side=side)) for side in (12, 20, 30)]
    assert survey(grey, ImageConfig()) == (1, 20, 20)
    assert survey([*grey, file_of(RED)], ImageConfig())[0] == 3
    assert survey([file_of(GREY.convert("RGB"))], ImageConfig()) == (1, 4, 6)
    assert survey([file_of(Image.new("RGB", (400, 200)))], ImageConfig()) == (1, 32, 64)
    assert survey(grey, ImageConfig(size=(8, 16), channels=3)) == (3, 8, 16)
    assert survey([b"", None], ImageConfig()) == (3, 64, 64)


def test_a_column_is_brought_to_pixels_once_and_nulls_stay():
    stored = pa.array([file_of(picture(seed=1)), None, file_of(picture(seed=2))])
    once = canonical(stored, COLUMN)
    assert once.type == pa.binary(64)
    assert once.null_count == 1
    assert canonical(once, COLUMN).equals(once)
    part = images.to_pixels(once.slice(1))
    assert part.shape == (2, 64)
    assert not part[0].any()
    assert part[1].tolist() == list(once[2].as_py())
    with pytest.raises(DataError, match="column 'photo' holds an image that is empty"):
        canonical(pa.array([file_of(picture()), b""]), COLUMN)
    with pytest.raises(DataError, match="is no image"):
        canonical(pa.array(["a.txt"]), COLUMN)


def test_drawn_and_extreme_rows_are_pixels_of_the_same_shape():
    schema = Schema(columns=(COLUMN,), target="y", task="classification", classes=("a", "b"))
    image = ImageInput(column="photo", channels=1, height=8, width=8)
    transform = Transform((), (), "y", ("a", "b"), images=(image,))
    assert Transform.from_state(transform.state()) == transform
    table = golden.rows(schema, transform, 5)
    encoded = transform.apply(table)
    assert encoded.pixels.shape == (table.num_rows, 64)
    assert len(encoded) == table.num_rows
    assert {0, 255} <= {*encoded.pixels[-4:].ravel().tolist()}
    assert examples.rows(schema, transform, 3).equals(examples.rows(schema, transform, 3))
