"""Where the first weights of a training came from, and what became of each layer."""

from typing import Literal

from raymle.record import Record


class Parent(Record):
    """Where the first weights of a training come from: found once, for an alias moves and a file is written over."""

    asked: str
    """``train.pretrained.from``, as it was written."""
    folder: str
    """Where a storage keeps the weights, with what a bundle says of them."""
    storage: str = ""
    """That storage, as it was called then."""
    version: str
    """sha256 over the bundle's manifest, or over the file: names every byte."""
    run_id: str = ""
    """The run that made it, if that is known."""


class Layer(Record):
    """One of a network's weights: where its first values are from, and when it is trained."""

    name: str
    shape: tuple[int, ...]
    origin: Literal["loaded", "partly", "fresh"]
    since: int = 1
    """First epoch that trains it; 0 when none does: it is frozen."""
    rate: float = 1.0
    """Share of the learning rate."""


class Pretrained(Record):
    """What a training began with."""

    parent: Parent
    layers: tuple[Layer, ...]
    kept: tuple[str, ...] = ()
    """Classes whose outputs are the parent's."""
    new: tuple[str, ...] = ()
    """Classes whose outputs start fresh."""
    gone: tuple[str, ...] = ()
    """Classes that only the parent knows."""
    notes: tuple[str, ...] = ()
    """Columns and words that only one of the two knows."""
    warnings: tuple[str, ...] = ()

    @property
    def table(self) -> list[tuple[str, str, str, str]]:
        """A line for each layer, below the names of the columns: name, shape, origin, when it is trained."""
        scopes: dict[str, list[Layer]] = {}
        for layer in self.layers:
            scopes.setdefault(layer.name.rpartition(".")[0] or layer.name, []).append(layer)
        return [("layer", "shape", "weights", "trained"), *(_line(name, each) for name, each in scopes.items())]

    @property
    def classes(self) -> tuple[str, ...]:
        """Say in a sentence which classes are known, new and gone; nothing when there are none."""
        each = ((self.kept, "kept"), (self.new, "new"), (self.gone, "gone"))
        told = [f"{len(names)} {word} ({_some(names)})" for names, word in each if names]
        return (f"Classes: {'; '.join(told)}.",) if told else ()


def _line(name: str, layers: list[Layer]) -> tuple[str, str, str, str]:
    """Sum up the weights of one layer; its largest one has the shape that is shown."""
    shape = max((layer.shape for layer in layers), key=lambda shape: (len(shape), shape))
    origins = {layer.origin for layer in layers}
    origin = next(iter(origins)) if len(origins) == 1 else "partly"
    since = max(layer.since for layer in layers)
    trained = "frozen" if not since else "yes" if since == 1 else f"from epoch {since}"
    rate = layers[0].rate
    return name, " x ".join(map(str, shape)), origin, trained + (f", rate x {rate:.3g}" if since and rate < 1 else "")


def _some(names: tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
