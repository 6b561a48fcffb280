"""Columns of text as codes of their words: what is learned of a column is how long its texts are."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.config.data import TextConfig
from raymle.data import pieces, tokens
from raymle.errors import DataError
from raymle.records import Record, Schema, TextInput

LONGEST = 256
QUOTED = 200
"""Characters of a text that a report may show."""
SHARE = 0.95
"""Of the texts that are read to their end."""
LOOKED_AT = 1000
WORDS = (r"(?:^|\s)\S*\p{L}\p{L}", r"\p{Han}{2}|[\p{Hiragana}\p{Katakana}]{2}|\p{Thai}{4}")
"""What starts with a blank and has letters, and some characters of a script without blanks."""
FEWEST_WORDS = 3
COMMON = 1 / 3


class Text(Record):
    """A column of text: its first words, each as a code; 0 stands after the end."""

    column: str
    length: int
    vocabulary: int
    tokenizer: str = ""
    """Content of a Hugging Face ``tokenizer.json``; empty hashes words."""

    @property
    def input(self) -> TextInput:
        """What a network is told."""
        return TextInput(column=self.column, length=self.length, vocabulary=self.vocabulary)

    def encode(self, values: pa.Array) -> NDArray[np.int32]:
        """Return the codes ``[n, length]`` of texts; a null is an empty text."""
        if self.tokenizer:
            return pieces.encode(values, self.tokenizer, length=self.length)
        return tokens.encode(values, length=self.length, vocabulary=self.vocabulary)


def learn(schema: Schema, sample: pa.Table, config: TextConfig, *, folder: str) -> tuple[Text, ...]:
    """Decide how many words of each column's texts a model is given.

    Args:
        schema: What the columns are.
        sample: Conformed train rows.
        config: What the spec says of texts.
        folder: Where relative paths start.
    """
    names = [column.name for column in schema.features if column.type == "text"]
    content = tokenizer(config, folder) if names else ""
    vocabulary = pieces.vocabulary(content) if content else config.vocabulary
    count: Callable[[pa.Array], NDArray[np.int64]] = tokens.counts
    if content:
        count = lambda values: pieces.counts(values, content)  # noqa: E731
    return tuple(
        Text(
            column=name, vocabulary=vocabulary, tokenizer=content,
            length=config.length or usual_length(count(sample[name].combine_chunks())),
        )
        for name in names
    )  # fmt: skip


def usual_length(counts: NDArray[np.int64]) -> int:
    """Return how many words 95 of 100 texts have at most; from 1 to 256."""
    found = np.quantile(counts, SHARE, method="inverted_cdf") if len(counts) else 1
    return int(np.clip(found, 1, LONGEST))


def tokenizer(config: TextConfig, folder: str) -> str:
    """Return the content of the tokenizer that a spec names; empty when it names none.

    Raises:
        DataError: it is not there, or is none.
        SetupError: the package that reads it is not installed.
    """
    if config.tokenizer is None:
        return ""
    path = Path(folder) / Path(config.tokenizer).expanduser()
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.text.tokenizer: {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="it is the tokenizer.json of a model; relative paths start at the spec's folder",
        ) from None
    pieces.check(content, str(path))
    return content


def quoted(rows: pa.RecordBatch, schema: Schema) -> pa.Table | None:
    """Return the beginnings of texts, for people to read; None where no column is text."""
    names = [column.name for column in schema.features if column.type == "text"]
    if not names:
        return None
    starts = [pc.utf8_slice_codeunits(rows.column(name), 0, QUOTED) for name in names]
    return pa.table([pc.replace_substring_regex(each, r"\s+", " ") for each in starts], names)


def is_prose(values: pa.ChunkedArray) -> bool:
    """Whether texts are made of words that come again: a third of them in another row too, three words a row.

    Ids, hashes, names, mail addresses and links are not: what they share with other rows says little, and what they do
    not share says which row it is.
    """
    if not pa.types.is_string(values.type):
        return False
    known = values.drop_null()[:LOOKED_AT]
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    words = sum(pc.sum(pc.count_substring_regex(known, pattern)).as_py() or 0 for pattern in WORDS)
    if words < FEWEST_WORDS * max(1, len(known)):
        return False
    found = tokens.tokens(known)
    pairs = np.unique(np.stack([found.hashes, found.rows.astype(np.uint64)]), axis=1)
    _, rows = np.unique(pairs[0], return_counts=True)
    return bool(rows[rows > 1].sum() > COMMON * rows.sum())


def digest(content: str) -> str:
    """Name a tokenizer by its content."""
    return hashlib.sha256(content.encode()).hexdigest()[:16] if content else ""
