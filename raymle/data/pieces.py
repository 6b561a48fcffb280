"""Texts as the pieces of a Hugging Face tokenizer; the package that does it is an extra."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data.tokens import MOST_CHARACTERS
from raymle.errors import DataError, SetupError


def check(content: str, path: str) -> None:
    """Refuse what is no tokenizer.

    Raises:
        SetupError: the package is not installed.
        DataError: the file is something else.
    """
    try:
        _loaded(content)
    except SetupError:
        raise
    except Exception as error:  # noqa: BLE001  the package raises bare exceptions
        raise DataError(f"data.text.tokenizer: {path} is no tokenizer.json: {str(error)[:200]}") from None


def vocabulary(content: str) -> int:
    """Return how many codes there are, 0 included; a tokenizer may leave ids out."""
    return max(_loaded(content).get_vocab().values(), default=-1) + 2


def encode(texts: pa.Array, content: str, *, length: int) -> NDArray[np.int32]:
    """Return int32 ``[n, length]``: the tokenizer's ids and 1, then 0."""
    found = np.zeros((len(texts), length), np.int32)
    for row, ids in enumerate(_ids(texts, content)):
        kept = ids[:length]
        found[row, : len(kept)] = np.asarray(kept, np.int32) + 1
    return found


def counts(texts: pa.Array, content: str) -> NDArray[np.int64]:
    """Return how many pieces each text has."""
    return np.array([len(ids) for ids in _ids(texts, content)], np.int64)


def _ids(texts: pa.Array, content: str) -> list[list[int]]:
    """Tokenise texts as far as they are read; a null has no pieces."""
    known = [None if text is None else text[:MOST_CHARACTERS] for text in texts.to_pylist()]
    done = iter(_loaded(content).encode_batch([text for text in known if text is not None]))
    return [[] if text is None else next(done).ids for text in known]


@cache
def _loaded(content: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise SetupError(
            "data.text.tokenizer needs the package tokenizers, which is not installed",
            hint="pip install 'raymle[text]', or leave data.text.tokenizer out: words are hashed then",
        ) from None
    found = Tokenizer.from_str(content)
    found.no_padding()
    found.no_truncation()
    return found
