"""The images of a request: how many pixels they stand for is found out before any of them is decoded."""

from math import prod

import numpy as np
import pyarrow as pa

from raymle.data import images
from raymle.records import Column
from raymle.serve.layout import Layout
from raymle.serve.limits import Fault, Limits, RequestError, fault, faulty, too_large

CONTENT = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif")
"""Types of a body that is one image."""
ALSO = ("image/jpg", "application/octet-stream")
"""What many clients say of one; its first bytes tell what it is."""


def is_alone(expected: Layout) -> bool:
    """Whether a row is one image and nothing else, so that a body may be its file."""
    return [column.type for column in expected.features] == ["image"]


def alone(body: bytes, expected: Layout, limits: Limits) -> pa.Table:
    """Return the row of a body that is the file of its only image.

    Raises:
        RequestError: it is too large (413), or no image (422).
    """
    if len(body) > limits.body:
        raise too_large(limits)
    return decoded(pa.table({expected.features[0].name: pa.array([body], pa.binary())}), expected, limits)


def decoded(table: pa.Table, expected: Layout, limits: Limits) -> pa.Table:
    """Return a request's rows with pixels in the place of files; rows without images come back as they are.

    Raises:
        RequestError: they have too many pixels in all (413), or one is no image (422, naming its row).
    """
    columns = [column for column in expected.features if column.type == "image"]
    if not columns:
        return table
    files = {column.name: table.column(column.name).to_pylist() for column in columns}
    _refuse_many([(data, column) for column in columns for data in files[column.name]], limits)
    faults: list[Fault] = []
    for column in columns:
        place = table.schema.get_field_index(column.name)
        table = table.set_column(place, column.name, _pixels(files[column.name], column, faults))
    if faults:
        raise faulty(faults)
    return table


def _refuse_many(files: list[tuple[bytes | None, Column]], limits: Limits) -> None:
    """Count what a file stands for, or what it is brought to where that is more: a null too becomes an image."""
    total = 0
    for data, column in files:
        assert column.shape is not None
        try:
            width, height, _ = images.header(data) if data is not None else (0, 0, False)
        except images.Unreadable:
            continue  # it will be a fault of its row
        total += max(width * height, prod(column.shape[1:]))
        if total > limits.pixels:
            message = f"the images have over {limits.pixels:,} pixels; send fewer or smaller ones in one request"
            raise RequestError(message, status=413, kind="too_large")


def _pixels(files: list[bytes | None], column: Column, faults: list[Fault]) -> pa.Array:
    assert column.shape is not None
    channels, height, width = column.shape
    found = np.zeros((len(files), channels * height * width), np.uint8)
    for row, data in enumerate(files):
        try:
            if data is not None:
                found[row] = images.pixels(data, column.shape).reshape(-1)
        except images.Unreadable as error:
            faults.append(fault(row, column.name, f"the image {error}"))
    return images.of_pixels(found, np.array([data is not None for data in files]))
