"""A folder of texts, each a file of its own in a sub-folder for its class: read as a table of text, path and label."""

import codecs
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
from pyarrow import fs as pafs

from raymle.data.places import explained, filesystem, path_of
from raymle.data.split import SPELLINGS
from raymle.errors import DataError

TEXT, PATH, LABEL, SPLIT = "text", "path", "label", "split"
"""The columns; the last where the first folders are called train, validation and test."""
AT_ONCE = 8
PART = 4096
"""Files whose texts are one chunk of the table."""


def is_text(path: str) -> bool:
    """Whether a file's name says that it is a text."""
    return path.lower().endswith(".txt")


def table(root: str, found: Sequence[str]) -> pa.Table:
    """Read the files, in their order.

    Args:
        root: The folder that classes are folders of.
        found: The files in it.

    Raises:
        DataError: one is not UTF-8, or cannot be read.
    """
    inner = [each[len(root.rstrip("/")) + 1 :] for each in found]
    folders = [each.split("/")[:-1] for each in inner]
    sides = all(each and each[0].lower() in SPELLINGS for each in folders)
    labels = [(each[1:] if sides else each)[:1] for each in folders]
    columns = {
        TEXT: _texts(found),
        PATH: inner,
        LABEL: pa.array([each[0] if each else None for each in labels], pa.string()),
    }
    if sides:
        columns[SPLIT] = [each[0] for each in folders]
    return pa.table(columns)


def root_of(uri: str) -> str:
    """Return the folder that classes are folders of: of a glob, the part without wildcards."""
    return re.split(r"[*?[]", uri, maxsplit=1)[0].rpartition("/")[0] if re.search(r"[*?[]", uri) else uri.rstrip("/")


def _texts(found: Sequence[str]) -> pa.ChunkedArray:
    system = filesystem(found[0])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = list(pool.map(partial(_text, system), found))
    return pa.chunked_array(
        [pa.array(read[start : start + PART], pa.string()) for start in range(0, len(read), PART)], pa.string()
    )


def _text(system: pafs.FileSystem, uri: str) -> str:
    with explained(uri, system), system.open_input_stream(path_of(uri), compression=None) as stream:
        content: bytes = stream.read()
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{'/'.join(uri.split('/')[-2:])} is not UTF-8 text at line {line}",
            hint="save it as UTF-8, or leave it out",
        ) from None
