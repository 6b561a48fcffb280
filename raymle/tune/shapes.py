"""Which trials may train as one: small networks that differ in numbers alone."""

from collections.abc import Callable, Mapping
from typing import Any

from raymle import train
from raymle.config import Spec
from raymle.data import shards
from raymle.records import Splits
from raymle.tune import capacity
from raymle.tune.check import trial_spec


def shaper(spec: Spec, splits: Splits, *, group: int) -> Callable[[Mapping[str, Any]], str | None]:
    """Return what names the shape of a trial by its values: those of one shape may train as one; None trains alone.

    Args:
        spec: What the trials vary.
        splits: What they train on.
        group: Most trials that train as one; with 1 each trains alone, and so do networks over texts and the like.
    """
    known: dict[str, bool] = {}
    is_table = group > 1 and shards.load_transform(splits).inputs.is_table

    def shape(values: Mapping[str, Any]) -> str | None:
        if not is_table:
            return None
        varied = trial_spec(spec, values, splits.rows["train"])
        if train.why_not(varied.train, varied.model):
            return None
        name = train.shape_of(varied.train, varied.model)
        if name not in known:
            known[name] = _pays(varied, splits)
        return name if known[name] else None

    return shape


def _pays(spec: Spec, splits: Splits) -> bool:
    from raymle.model.build import build

    outputs = max(1, len(splits.data_schema.classes))
    module = build(spec.model, shards.load_transform(splits).inputs, outputs, folder=spec.folder)
    weights = sum(weight.numel() for weight in module.parameters())
    return capacity.pays(weights, min(spec.train.batch_size, splits.rows["train"]))
