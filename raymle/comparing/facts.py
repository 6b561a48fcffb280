"""What is known of a model from its spec: how to call it, and what its training cost."""

from collections.abc import Sequence

from raymle.config import Spec
from raymle.config.differences import flat
from raymle.evaluate import tables
from raymle.measure import prices

OWN = {"auto", "inline", "local"}
"""Addresses that mean this machine."""


def names(specs: Sequence[Spec]) -> list[str]:
    """Name models by their type, and by the settings in which those of one type differ."""
    dumped = [{"model": spec.model.params, "train": spec.train.model_dump(mode="json")} for spec in specs]
    settings = [dict(flat(each)) for each in dumped]
    return tables.named(settings, [spec.model.type for spec in specs])


def dollars(seconds: float, spec: Spec) -> float | None:
    """Return what so many seconds of training cost; None when nobody knows the price of a cluster's node."""
    price = prices.per_hour(spec.cluster.node, spec.cluster.dollars_per_hour)
    if price is None and spec.cluster.address in OWN:
        return 0.0
    return None if price is None else prices.cost(seconds, price)
