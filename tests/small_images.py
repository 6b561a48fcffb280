"""Images that are made where a test needs them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = ("bar", "dot", "ring")


def picture(shape="bar", seed=0, side=12):
    """Return a grey image of a shape that differs by its seed."""
    draw = np.random.default_rng(seed)
    grid = draw.integers(0, 60, (side, side)).astype(np.uint8)
    middle, light = side // 2 + int(draw.integers(-1, 2)), int(draw.integers(180, 256))
    if shape == "bar":
        grid[:, middle - 1 : middle + 1] = light
    else:
        grid[middle - 3 : middle + 3, middle - 3 : middle + 3] = light
        if shape == "ring":
            grid[middle - 1 : middle + 1, middle - 1 : middle + 1] = 0
    return Image.fromarray(grid)


def file_of(image, kind="PNG", **options):
    """Return an image as the bytes of a file."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def folder_of(root, rows=90, shapes=SHAPES, side=12, under=""):
    """Write a folder with a sub-folder for each shape, and return it."""
    for row in range(rows):
        shape = shapes[row % len(shapes)]
        place = Path(root, under, shape)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{row:04}.png").write_bytes(file_of(picture(shape, row, side)))
    return Path(root)


def empty_png(width, height):
    """Return a PNG whose header promises a size, and that holds a few bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(10_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
