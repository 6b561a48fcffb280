"""Sealed rows and models made by hand, so that the seal is tested without preparing or training anything."""

import hashlib
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from raymle.data.schema import conform
from raymle.data.seal import Writer
from raymle.evaluate import unseal
from raymle.records import Column, Inputs, Schema, Splits, Trained
from raymle.store import commit, draft_folder, open_store

SCHEMA = Schema(
    columns=(
        Column(name="id", type="number", role="key"),
        Column(name="x", type="number", role="feature"),
        Column(name="late", type="category", role="target"),
    ),
    target="late",
    task="classification",
    classes=("no", "yes"),
)


def hashed(values):
    digests = (hashlib.sha256(repr(value).encode()).digest()[:8] for value in values)
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)


def rows(ids, salt=""):
    """Rows whose id is their identity and whose x follows from the id."""
    ids = np.asarray(ids)
    x = ids * 0.5
    return pa.table(
        {
            "id": ids.astype(np.float64),
            "x": x,
            "late": np.where(ids % 3 == 0, "yes", "no"),
            "__identity": hashed(ids.tolist()),
            "__content": hashed([f"{salt}{value}" for value in x.tolist()]),
        }
    )


@dataclass(frozen=True)
class FakeBundle:
    """Says yes with a probability that knows the truth, blurred."""

    blur: float = 0.4
    schema: Schema = SCHEMA

    @property
    def transform(self):
        return SimpleNamespace(
            inputs=Inputs(numbers=1),
            target=lambda table: (table["late"].to_numpy(zero_copy_only=False) == "yes").astype(np.int64),
        )

    def labelled(self, raw):
        return conform(raw, self.schema)

    def predict(self, table):
        truth = self.transform.target(table)
        noise = np.random.default_rng(0).random(len(truth))
        yes = truth * (1 - self.blur) + noise * self.blur
        return np.stack([1 - yes, yes], axis=1)


class Bench:
    """A storage, a way to seal rows in it, and a way to score fake models on them."""

    rows = staticmethod(rows)
    bundle = FakeBundle
    schema = SCHEMA

    def __init__(self, store, bundles):
        self.store = store
        self.bundles = bundles

    def seal(self, name, table):
        draft = draft_folder(self.store.root)
        writer = Writer(draft)
        for batch in table.to_batches(max_chunksize=64):
            hashes = [batch.column(hashed).to_numpy() for hashed in ("__identity", "__content")]
            writer.add(batch.drop_columns(["__identity", "__content"]), *hashes)
        writer.close()
        commit(draft, self.store.root / "sealed" / name)
        return Splits(
            id=name, path="", sealed="", data_fingerprint="", data_schema=SCHEMA,
            rows={"train": 1, "validation": 1, "test": table.num_rows}, fingerprints={},
        )  # fmt: skip

    def run(self, run_id, splits_id="s1", bundle=None, **changes):
        self.bundles[run_id] = bundle or FakeBundle()
        facts = {
            "run_id": run_id, "name": "late", "status": "finished", "task": "classification", "metric": "roc_auc",
            "metrics": {}, "bundle": run_id, "splits_id": splits_id, "rows": {}, "seconds": {},
            "execution": "inline", "model": "mlp", "parameters": 1,
        }  # fmt: skip
        return Trained(**{**facts, **changes})

    def score(self, *runs, **settings):
        from raymle.config import EvaluateConfig

        config = settings.pop("config", EvaluateConfig())
        return unseal.score(self.store, runs, [run.bundle for run in runs], config=config, **settings)

    def files(self):
        return sorted(str(path.relative_to(self.store.root)) for path in self.store.root.rglob("*"))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    bundles = {}
    monkeypatch.setattr(unseal, "load", lambda path: bundles[str(path)])
    return Bench(open_store(str(tmp_path / "runs")), bundles)
