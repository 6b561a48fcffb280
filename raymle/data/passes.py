"""What is done to one block of rows in each pass over a source: pure, so that Ray Data can do it anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.config import SplitConfig
from raymle.data import hashes, split, survey, texts
from raymle.data.casts import plain
from raymle.data.encoded import Encoded
from raymle.data.hashes import Hashes
from raymle.data.schema import Contract, conform
from raymle.data.split import Rule, Sides
from raymle.data.statistics import Partial
from raymle.data.transform import Transform
from raymle.records import Column, Schema

Transforms = Callable[[pa.RecordBatch], pa.RecordBatch]


class Seen(NamedTuple):
    """What the first pass learns of a block: its counts, and for every row what decides its side."""

    contract: Contract
    identity: Hashes
    content: Hashes
    drawn: Hashes
    """What is drawn from: the identity, or the group's hash."""
    aux: Any
    """Moments, given sides, or the target's words for stratified."""
    rows: pa.RecordBatch | None
    """The conformed block, when it may stay in memory."""
    images: survey.Survey


@final
@dataclass(frozen=True)
class Look:
    """First pass: conform, count, hash."""

    schema: Schema
    config: SplitConfig
    transforms: Transforms
    keep: bool = False
    aside: tuple[str, ...] = ()
    """Columns that say where a row was found, not what it is."""

    def __call__(self, raw: pa.RecordBatch) -> Seen:
        """Look at one block."""
        made = self.transforms(raw)
        batch = conform(made, self.schema)
        contract = Contract(self.schema)
        contract.add(batch)
        identity, content = self._hashes(raw, batch)
        drawn = identity
        if self.config.method == "group":
            drawn = hashes.column_hashes(batch.column(self.schema.named("group")[0]))
        rows, pictures = batch if self.keep else None, survey.of(made, self.schema)
        return Seen(contract, identity, content, drawn, self._aux(batch), rows, pictures)

    def _hashes(self, raw: pa.RecordBatch, batch: pa.RecordBatch) -> tuple[Hashes, Hashes]:
        """Hash the rows as they are in the source: a new transform or dropped column moves no row."""
        target, keys = self.schema.target, self.schema.named("key")
        raw = raw.drop_columns([name for name in self.aside if name not in keys])
        made = [name for name in keys if name not in raw.schema.names]
        identity, content = hashes.row_hashes(raw, () if made else keys, target=target)
        if made:
            identity, _ = hashes.row_hashes(batch.select(keys), keys, target=target)
        return identity, content

    def _aux(self, batch: pa.RecordBatch) -> Any:
        method = self.config.method
        if method == "time":
            return _ordered(batch.column(self.schema.named("time")[0]))
        if method == "column":
            name = str(self.config.column)
            return split.given_sides(batch.column(name), name)
        if method == "stratified":
            values = batch.column(self.schema.target)
            encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
        return None


def _ordered(times: pa.Array) -> NDArray[np.int64]:
    """Return integers in the order of the times, which are moments or numbers."""
    if not pa.types.is_floating(times.type):
        return np.asarray(pc.fill_null(times.cast(pa.int64()), 0).to_numpy())
    bits = (pc.fill_null(times, 0.0).to_numpy() + 0.0).view(np.int64)
    return np.asarray(bits ^ ((bits >> 63) & np.int64(2**63 - 1)))


def numeric_aux(aux: Any, classes: tuple[str, ...]) -> NDArray[Any] | None:
    """Turn words into class codes once all classes are known."""
    if not isinstance(aux, tuple):
        return aux  # type: ignore[no-any-return]
    words, codes = aux
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(word, 0) for word in words], np.int64)[codes]


@final
@dataclass(frozen=True)
class Placed:
    """Later passes: the same look again where the first one's is not at hand, and every row's side."""

    look: Look
    schema: Schema
    rule: Rule

    def __call__(self, raw: pa.RecordBatch, seen: Seen | None) -> tuple[pa.RecordBatch, Seen, Sides]:
        """Return the conformed block, its hashes and its sides."""
        seen = seen or self.look(raw)
        rows = seen.rows if seen.rows is not None else conform(self.look.transforms(raw), self.schema)
        return rows, seen, split.sides(self.rule, seen.drawn, numeric_aux(seen.aux, self.schema.classes))


@final
@dataclass(frozen=True)
class Fit:
    """Second pass: statistics of the train rows, and a sample of every side."""

    placed: Placed
    limits: tuple[int, int, int]
    """Hashes below belong to the sample of train, validation and test."""

    def __call__(self, raw: pa.RecordBatch, seen: Seen | None) -> tuple[Partial, dict[str, pa.RecordBatch]]:
        """Count one block."""
        rows, seen, sides = self.placed(raw, seen)
        rows = rows.drop_columns([each.name for each in self.placed.schema.columns if _is_image(each)])
        learned = learned_from(rows, self.placed.schema) & (sides == 0)
        partial = Partial(self.placed.schema).add(rows.filter(pa.array(learned)))
        chance = hashes.mix(seen.identity)  # no seed draws the sides by this
        limits = np.array(self.limits, np.uint64)[sides]
        samples = {
            name: rows.filter(pa.array((sides == place) & (chance <= limits))) for place, name in enumerate(split.SIDES)
        }
        return partial, samples


def learned_from(rows: pa.RecordBatch | pa.Table, schema: Schema) -> NDArray[np.bool_]:
    """Return which rows may be learned from, were they train's: all, but of anomalies only what is usual."""
    if not schema.anomaly:
        return np.ones(rows.num_rows, bool)
    names = plain(rows.column(schema.target)).to_numpy(zero_copy_only=False)
    return np.asarray(names == schema.classes[0], bool)


def _is_image(column: Column) -> bool:
    return column.type == "image" and column.role != "drop"


class Written(NamedTuple):
    """A block ready to be written: encoded rows of each open side, and the test rows as they are in the source."""

    open: dict[str, tuple[Encoded, NDArray[Any]]]
    test: pa.RecordBatch
    identity: Hashes
    content: Hashes
    quotes: pa.Table | None = None
    """The beginnings of the validation rows' texts."""


@final
@dataclass(frozen=True)
class Encode:
    """Third pass: inputs for train and validation, plain rows for the seal."""

    placed: Placed
    transform: Transform

    def __call__(self, raw: pa.RecordBatch, seen: Seen | None) -> Written:
        """Encode one block."""
        rows, seen, sides = self.placed(raw, seen)
        sealed = sides == 2
        open_rows, open_sides = rows.filter(pa.array(~sealed)), sides[~sealed]
        encoded, target = self.transform.apply(open_rows), self.transform.target(open_rows)
        opened = {}
        for place, name in enumerate(split.SIDES[:2]):
            mine = open_sides == place  # whole rows are gathered faster once they are encoded
            opened[name] = encoded.rows(mine), target[mine]
        test = raw.drop_columns(list(self.placed.look.aside)).filter(pa.array(sealed))
        quotes = texts.quoted(open_rows.filter(pa.array(open_sides == 1)), self.placed.schema)
        return Written(opened, test, seen.identity[sealed], seen.content[sealed], quotes)
