"""What a report shows of texts: the worst mistakes with their beginnings, and the words that say most."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.data import shards
from raymle.data.encoded import Encoded
from raymle.data.summary import private
from raymle.evaluate.judged import Judged
from raymle.evaluate.numbers import Row
from raymle.model import Bundle
from raymle.records import Splits

MOST_MISTAKES = 20
MOST_CLASSES = 12
MOST_WORDS = 2000
TOLD_WORDS = 8
FEWEST_ROWS = 3
"""That a word is in: of fewer it would be told who wrote it rather than what it says."""
WORD = re.compile(r"[^\W\d_]{2,}")


@final
class Quotes(NamedTuple):
    """A table of text for people."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: list[Row]


def quotes(judged: Judged, bundle: Bundle, splits: Splits) -> list[Quotes]:
    """Return what there is to show of the validation rows; columns that look private are left out."""
    found = shards.quotes(splits)
    if found is None:
        return []
    hidden = {each["column"] for each in shards.summary(splits)["columns"] if each["private"]}
    shown = found.select([name for name in found.column_names if name not in hidden])
    tables = [worst(judged, shown), *(telling(bundle, name, shown[name]) for name in shown.column_names)]
    return [each for each in tables if each.rows]


def worst(judged: Judged, texts: pa.Table) -> Quotes:
    """Show the rows that the model was most sure of and wrong about, or that are farthest from the truth."""
    rows = [row for row in judged.mistakes.tolist() if row < texts.num_rows][:MOST_MISTAKES]
    said = [(*_facts(judged, row), *(_masked(column[row].as_py()) for column in texts.columns)) for row in rows]
    note = "The most certain first." if judged.schema.classes else "The farthest first."
    header = ("true", "predicted", *(["how sure"] if judged.schema.classes else []), *texts.column_names)
    return Quotes("Worst mistakes", f"{note} Texts are cut short.", header, said if texts.num_columns else [])


def _masked(text: str | None) -> str | None:
    return None if text is None else private.masked(text)


def _facts(judged: Judged, row: int) -> Row:
    """Return the truth, what was said and, of a class, with which probability."""
    found = judged.fact(row)
    return found if judged.schema.classes else found[:2]


def telling(bundle: Bundle, column: str, texts: pa.ChunkedArray) -> Quotes:
    """Show the words for which a text of that word alone is predicted farthest up, for each class or either end."""
    words = frequent(texts.to_pylist())
    note = "Words of three rows or more: what is predicted of a text that is this word alone, all else being usual."
    empty = Quotes(f"Telling words of {column}", note, ("predicted", "words"), [])
    if not words or len(bundle.schema.classes) > MOST_CLASSES:
        return empty
    predicted = bundle.predict_encoded(alone(bundle, column, words))
    if bundle.schema.classes:
        usual = bundle.predict_encoded(alone(bundle, column, [""]))
        ranked = list(zip(bundle.schema.classes, (predicted - usual).T, strict=True))
    else:
        ranked = [("highest", predicted), ("lowest", -predicted)]
    return empty._replace(rows=[(name, ", ".join(_top(words, values))) for name, values in ranked])


def frequent(texts: Sequence[str | None]) -> list[str]:
    """Return the words of several texts, the commonest first."""
    counts = Counter(word for text in texts if text for word in sorted(set(WORD.findall(text.lower()))))
    return [word for word, count in counts.most_common(MOST_WORDS) if count >= FEWEST_ROWS]


def alone(bundle: Bundle, column: str, words: Sequence[str]) -> Encoded:
    """Return rows whose only text is one word; numbers are the mean, categories unseen, other texts empty."""
    numbers, codes, pixels = bundle.contents.inputs.widths
    rows = Encoded(
        np.zeros((len(words), numbers), np.float32),
        np.zeros((len(words), codes), np.int32),
        np.zeros((len(words), pixels), np.uint8) if pixels else None,
    )
    start = len(bundle.transform.categories)
    for text in bundle.transform.texts:
        if text.column == column:
            rows.codes[:, start : start + text.length] = text.encode(pa.array(words, pa.string()))
        start += text.length
    return rows


def _top(words: Sequence[str], values: NDArray[np.float64]) -> list[str]:
    return [words[place] for place in np.argsort(-values, kind="stable")[:TOLD_WORDS]]
