"""Example images of the train rows, as small PNG files within the document."""

import base64
from typing import Any

import numpy as np

from raymle.data import shards
from raymle.data.images import png
from raymle.data.shards import Arrays
from raymle.records import Splits

EXAMPLES = 12


def added(columns: list[dict[str, Any]], splits: Splits) -> list[dict[str, Any]]:
    """Return what is told of each column, with ``shape`` and ``pictures`` where it is of images.

    A picture is ``of`` a class or a number, and ``image`` is a data URI. Of columns that look private there are none.
    """
    shapes = {column.name: column.shape for column in splits.data_schema.features if column.type == "image"}
    if not shapes:
        return columns
    private = {each["column"] for each in columns if each["private"]}
    found = _pictures(splits, is_private=splits.data_schema.target in private)
    return [
        {**each, "shape": shapes[each["column"]], "pictures": [] if each["private"] else found[each["column"]]}
        if each["column"] in shapes
        else each
        for each in columns
    ]


def _pictures(splits: Splits, *, is_private: bool) -> dict[str, list[dict[str, str]]]:
    """Return examples of each column; what they are of is left out where the target looks private."""
    schema, train = splits.data_schema, shards.load(splits, "train")
    assert train.pixels is not None
    rows, start, found = chosen(train, len(schema.classes)), 0, {}
    for image in shards.load_transform(splits).inputs.images:
        pixels = np.asarray(train.pixels[rows, start : start + image.size])
        files = [png(each) for each in pixels.reshape(-1, image.channels, image.height, image.width)]
        found[image.column] = [
            {"of": "" if is_private else _label(schema.classes, train.target[row]), "image": _uri(file)}
            for row, file in zip(rows, files, strict=True)
        ]
        start += image.size
    return found


def chosen(train: Arrays, classes: int) -> list[int]:
    """Return rows of as many classes as there are, one of each in turn; of numbers, rows from all over."""
    target = np.asarray(train.target)
    if not classes:
        return [int(row) for row in np.unique(np.linspace(0, len(target) - 1, EXAMPLES).astype(int))]
    order = np.argsort(target, kind="stable")
    ordered = target[order]
    turn = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    first = np.lexsort((ordered, turn))[:EXAMPLES]
    return [int(row) for row in order[first]]


def _label(classes: tuple[str, ...], value: Any) -> str:
    return classes[int(value)] if classes else f"{value:.4g}"


def _uri(file: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(file).decode()
