"""From a source to prepared splits: look at every row, learn from the train rows, write shards and the seal."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raymle.config import DataConfig, SplitConfig
from raymle.data import checks, drift, own, seal, shards, split, survey, texts
from raymle.data.blocks import Blocks, is_small, pixels_of
from raymle.data.casts import decoded
from raymle.data.hashes import Hashes
from raymle.data.infer import words
from raymle.data.passes import Encode, Fit, Look, Placed, Seen, learned_from, numeric_aux
from raymle.data.series import infer, keep_moments, windowed
from raymle.data.source import Source, fingerprint, resolve
from raymle.data.split import SIDES, Rule, Sides
from raymle.data.statistics import Partial, numbers_of
from raymle.data.summary import summarise
from raymle.data.transform import Transform, learn
from raymle.errors import DataError
from raymle.records import Schema, Splits
from raymle.store import Store, commit, draft_folder, lock

FORMAT = 5
SAMPLE_ROWS = 20_000


def prepare(
    data: DataConfig,
    config: SplitConfig,
    store: Store,
    *,
    folder: str,
    source: Any = None,
    positive: str | None = None,
    on_ray: bool = False,
) -> Splits:
    """Return the prepared splits of a source; what was prepared before is used again.

    Args:
        data: What the columns mean.
        config: Who goes where.
        store: Where the shards and the sealed rows are kept.
        folder: Where relative paths and the user's own code start.
        source: A table or data frame that takes the place of ``data.source``.
        positive: The class that counts as positive.
        on_ray: Let Ray Data do the passes.
    """
    known = words(data, by=config.column)
    found = resolve(source if source is not None else data.source, folder=folder, words=known)
    survey.unused_sides(config, found)
    origin = fingerprint(found, store)
    splits_id = _name(data, config, origin, positive, folder)
    with lock(store, f"shards-{splits_id}", timeout_s=3600):
        ready = shards.find(store, splits_id)
        if ready is None:
            _make(data, config, store, found, origin, splits_id, positive, on_ray=on_ray, folder=folder)
            made = shards.find(store, splits_id)
            assert made is not None
            ready = made.model_copy(update={"reused": False})
    drift.refuse(ready.distribution, config.max_drift)
    return ready


def _name(data: DataConfig, config: SplitConfig, origin: str, positive: str | None, folder: str) -> str:
    """Name prepared data by all that decides its bytes."""
    code = own.digest(own.sources(data.transforms, folder)) + texts.digest(texts.tokenizer(data.text, folder))
    absent = {name for name in ("series",) if getattr(data, name) is None}  # as before there was such a key
    parts = [
        FORMAT, origin, data.model_dump(mode="json", exclude={"source", *absent}),
        config.model_dump(mode="json", exclude={"max_drift"}), positive, code,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def apply_all(batch: pa.RecordBatch, *, references: Sequence[str], folder: str) -> pa.RecordBatch:
    """Run the user's own transforms over a batch, in order; they may change columns, not rows.

    Raises:
        DataError: one fails, or returns something else than a table of as many rows.
    """
    if not references or not batch.num_rows:
        return batch
    table = pa.Table.from_batches([batch])
    for reference in references:
        table = _transformed(table, reference, folder)
    return table.combine_chunks().to_batches()[0]


def _transformed(table: pa.Table, reference: str, folder: str) -> pa.Table:
    function = own.function(reference, folder)
    try:
        found = function(table)
    except Exception as error:  # the user's own code may raise anything
        cause = f"{type(error).__name__}: {error}"
        raise DataError(f"data.transforms: {reference} fails: {cause}") from error
    if not isinstance(found, pa.Table) or found.num_rows != table.num_rows:
        rows = f"{found.num_rows:,} rows" if isinstance(found, pa.Table) else f"a {type(found).__name__}"
        raise DataError(
            f"data.transforms: {reference} makes {rows} of a table with {table.num_rows:,} rows",
            hint="it takes an Arrow table and returns one with the same rows, in the same order",
        )
    return found


def _make(  # noqa: PLR0917
    data: DataConfig, config: SplitConfig, store: Store, source: Source, origin: str, splits_id: str,
    positive: str | None, *, on_ray: bool, folder: str,
) -> None:  # fmt: skip
    """Do the three passes, then commit the seal and the shards."""
    transforms = partial(apply_all, references=data.transforms, folder=folder)
    told = survey.unused_sides(config, source)
    schema = infer(source, data, by=config.column, apply=transforms)
    if schema.series:
        source, schema, told = windowed(source, data, schema)
    blocks = Blocks(source, on_ray=on_ray, pixels=pixels_of(schema))
    if data.transforms:
        blocks.threads = 1  # the user's own code need not be safe among threads
    keep = not on_ray and is_small(source, schema)
    look = Look(schema, config, transforms, keep=keep, aside=source.aside)
    try:
        seen, identity, content = _together(list(blocks.each(lambda raw, _: look(raw))))
    except DataError:
        survey.blame(source, schema, transforms)
        raise
    schema = checks.contract(schema, [each.contract for each in seen], positive)
    schema = schema.model_copy(update={"deciding": _deciding(config, schema, source)})
    warnings = told + checks.duplicates(schema, identity, content) + checks.scattered_groups(config, schema)
    warnings += checks.lone_classes(schema, [each.contract for each in seen])
    warnings += survey.told(schema, [each.images for each in seen])
    rule, sides = _sides(config, schema, seen, identity)
    known = None if on_ray else seen
    placed = Placed(look, schema, rule)
    whole, samples = _fit(blocks, placed, sides, known)
    warnings += checks.absent_classes(schema, whole.classes)
    words = texts.learn(schema, samples["train"], data.text, folder=folder)
    transform = learn(whole, _medians(whole, samples["train"]), texts=words)
    draft = draft_folder(store.root)
    try:
        _write(blocks, Encode(placed, transform), draft, sides, identity=identity, known=known)
        if schema.series and source.table is not None:
            keep_moments(draft / "shards", source.table, schema.series, sides)
        rows = {name: int((sides == place).sum()) for place, name in enumerate(SIDES)}
        splits = Splits(
            id=splits_id, path="", sealed=f"sealed/{splits_id}", data_fingerprint=origin, data_schema=schema,
            rows=rows, distribution=drift.distribution(schema, samples), warnings=warnings,
            fingerprints={name: _digest(identity[sides == place]) for place, name in enumerate(SIDES)},
        )  # fmt: skip
        open_rows = rows["train"] + rows["validation"]
        _commit(store, draft, splits, transform, summarise(schema, samples, rows=open_rows))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _together(seen: Sequence[Seen]) -> tuple[list[Seen], Hashes, Hashes]:
    """Put the hashes of all rows together; the blocks share them, for a second copy would be 16 bytes a row."""
    identity, content = (np.concatenate([getattr(each, name) for each in seen]) for name in ("identity", "content"))
    ends = np.cumsum([len(each.identity) for each in seen])[:-1]
    shared = []
    for each, mine, whole in zip(seen, np.split(identity, ends), np.split(content, ends), strict=True):
        drawn = mine if each.drawn is each.identity else each.drawn
        shared.append(each._replace(identity=mine, content=whole, drawn=drawn))
    return shared, identity, content


def _deciding(config: SplitConfig, schema: Schema, source: Source) -> tuple[str, ...]:
    """Name the columns that decide a row's side."""
    named = schema.named("group") if config.method == "group" else schema.named("key")
    return tuple(sorted(named or {*source.columns.names} - {schema.target, *source.aside}))


def _sides(config: SplitConfig, schema: Schema, seen: Sequence[Seen], identity: Hashes) -> tuple[Rule, Sides]:
    """Find the cuts, and the side of every row."""
    checks.method(config, schema)
    drawn = np.concatenate([each.drawn for each in seen]) if config.method == "group" else identity
    parts = [numeric_aux(each.aux, schema.classes) for each in seen]
    aux: Any = None if parts[0] is None else np.concatenate(parts)  # type: ignore[arg-type]
    rule = split.rule(config, drawn, aux, schema.classes)
    sides = split.sides(rule, drawn, aux)
    checks.sides(sides, config, drawn)
    if config.method == "stratified":
        checks.classes(sides, aux, config, schema.classes)
    return rule, sides


def _fit(
    blocks: Blocks, placed: Placed, sides: Sides, known: Sequence[Seen] | None
) -> tuple[Partial, dict[str, pa.Table]]:
    """Gather the statistics of the train rows, and a sample of every side."""
    counts = np.bincount(sides, minlength=3)
    limits = tuple(min(2**64 - 1, int(SAMPLE_ROWS / max(1, count) * 2.0**64)) for count in counts)
    whole = Partial(placed.schema)
    parts: dict[str, list[pa.RecordBatch]] = {name: [] for name in SIDES}
    for learned, samples in blocks.each(Fit(placed, limits), known):  # type: ignore[arg-type]
        whole.merge(learned)
        for name, rows in samples.items():
            parts[name].append(rows)
    tables = {name: decoded(pa.Table.from_batches(each)) for name, each in parts.items()}
    return whole, tables


def _medians(whole: Partial, sample: pa.Table) -> dict[tuple[str, str], float]:
    """Return what fills a null of each number: the median of the sample, or the mean where that has none."""
    found, sample = {}, sample.filter(pa.array(learned_from(sample, whole.schema)))
    for name in {name for name, part in whole.numbers if part != "target"}:
        for part, values in numbers_of(sample[name].combine_chunks()).items():
            if np.isfinite(values).any():
                found[name, part] = float(np.nanmedian(values))
    return found


def _write(
    blocks: Blocks,
    encode: Encode,
    draft: Path,
    sides: Sides,
    *,
    identity: Hashes,
    known: Sequence[Seen] | None,
) -> None:
    counts = np.bincount(sides, minlength=3)
    writers = {
        name: shards.Writer(draft / "shards" / name, int(counts[place]), encode.transform)
        for place, name in enumerate(SIDES[:2])
    }
    sealed = seal.Writer(draft / "sealed")
    quotes: list[pa.Table] = []
    for written in blocks.each(encode, known):
        for name, (encoded, target) in written.open.items():
            writers[name].add(encoded, target)
        sealed.add(written.test, written.identity, written.content)
        if written.quotes is not None and sum(each.num_rows for each in quotes) < SAMPLE_ROWS:
            quotes.append(written.quotes)
    sealed.close()
    shards.write_quotes(draft / "shards" / "validation", quotes)
    for place, name in enumerate(SIDES[:2]):
        mine = sides == place
        writers[name].close(identity[mine])


def _digest(identity: Hashes) -> str:
    """Return a fingerprint of a set of rows, whatever their order."""
    return hashlib.sha256(np.sort(identity).astype("<u8", copy=False).data).hexdigest()


def _commit(store: Store, draft: Path, splits: Splits, transform: Transform, summary: dict[str, Any]) -> None:
    """Move the sealed rows into place first: shards without a seal would never be found whole."""
    prepared = draft / "shards"
    (prepared / "splits.json").write_text(splits.model_dump_json(indent=1))
    (prepared / "transform.json").write_text(json.dumps(transform.state()))
    (prepared / "summary.json").write_text(json.dumps(summary, allow_nan=False))
    for part, name in ((draft / "sealed", splits.sealed), (prepared, f"shards/{splits.id}")):
        store.remove(name)  # what is left of one that was damaged
        commit(part, store.root / name)
        store.publish(name)
