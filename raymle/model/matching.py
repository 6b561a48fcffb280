"""What of a loaded network means the same as what of ours, when columns, words, classes or scales are others. Pure.

The rule: a loaded layer computes of a row what it computed where it was trained. So a word keeps its embedding though
its code is another one; a number keeps its weights, which take up the difference of the scales; a class keeps its
output. What the loaded network has never seen has no say in a loaded layer: its columns of weights begin at 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from raymle.data.transform import Category, Transform
from raymle.model.grafting import NEW, Graft, Take
from raymle.model.nets import Linear, Mlp

Grafts = dict[str, Graft]
Weights = Mapping[str, Tensor]


@final
@dataclass(frozen=True)
class Anatomy:
    """Where a network has its inputs and outputs; what is not known is empty."""

    table: str = ""
    """The weight that embeds a category, with the category's place to be put in."""
    first: str = ""
    """The weight whose columns are the numbers; its bias is beside it."""
    embeds: bool = False
    """Whether its further columns are the embedded categories."""
    head: Mapping[str, int] = field(default_factory=dict)
    """Weights that have the outputs, and along which axis."""


class Sides(NamedTuple):
    """Ours and theirs of one kind of thing."""

    ours: Transform
    theirs: Transform


def anatomy(module: nn.Module, outputs: int) -> Anatomy:
    """Find inputs and outputs: of our families all, of other networks the last layer when it has the outputs."""
    if isinstance(module, Linear):
        tables = [name for name, _ in module.named_parameters() if name.startswith("categories.")]
        return Anatomy("categories.{}.weight", "weight", head={"weight": 0, "bias": 0, **dict.fromkeys(tables, 1)})
    head = _head(module, outputs)
    if isinstance(module, Mlp):
        return Anatomy("embeddings.{}.weight", "layers.0.weight", embeds=True, head=head)
    return Anatomy(head=head)


def _head(module: nn.Module, outputs: int) -> dict[str, int]:
    """Return the weights of the last layer that has a matrix, if all of them have the outputs as their rows."""
    matrices = [name for name, weight in module.named_parameters() if weight.ndim > 1]
    scope = matrices[-1].rpartition(".")[0] if matrices else ""
    weights = module.get_submodule(scope).named_parameters(prefix=scope, recurse=False)
    sizes = {name: len(weight) for name, weight in weights}
    return dict.fromkeys(sizes, 0) if set(sizes.values()) == {outputs} else {}


def renumbered(module: nn.Module, theirs: Weights) -> Weights:
    """Return their weights under our names: a perceptron's layers have other numbers when only one has dropout."""
    if not isinstance(module, Mlp):
        return theirs
    ours, others = _numbered(module.state_dict()), _numbered(theirs)
    if len(ours) != len(others):
        return theirs
    layers = dict(zip(others, ours, strict=True))
    named = ((*name.rpartition("."), values) for name, values in theirs.items())
    return {f"{layers.get(layer, layer)}{dot}{name}": values for layer, dot, name, values in named}


def inputs(where: Anatomy, sides: Sides, theirs: Weights, ours: Weights) -> Grafts:
    """Match the inputs by their names: embeddings by column and word, the first layer's columns by column.

    Args:
        where: Our network's inputs; nothing is matched where they are not known.
        sides: What the inputs are.
        theirs: Their weights.
        ours: Our weights.
    """
    first = theirs.get(where.first)
    if first is None:
        return {}
    pairs = _pairs(sides)
    grafts = {where.table.format(pair[0]): _table(where, sides, pair, theirs, ours) for pair in enumerate(pairs)}
    places = [*_numbers(sides)]
    if where.embeds:
        places += _embedded(where, sides, pairs, theirs, ours)
    ratio, shift = _scales(sides, width=first.shape[1])
    moved = first.double() @ shift
    bias = where.first.removesuffix("weight") + "bias"
    return {
        **grafts,
        where.first: Graft(where.first, (Take(1, places, zero=True),), (lambda values: values * ratio,)),
        bias: Graft(bias, (), (lambda values: values + moved,)),
    }


def outputs(where: Anatomy, sides: Sides, grafts: Grafts) -> Grafts:
    """Match the outputs: each class has the one that it had, a number takes up the difference of the scales.

    ``grafts`` are those of the inputs, of which some weights have the outputs too.
    """
    ours, theirs = sides
    if ours.classes:
        known = {name: place for place, name in enumerate(theirs.classes)}
        places = [known.get(name, NEW) for name in ours.classes]
        return {**grafts, **{name: _more(grafts, name, Take(axis, places)) for name, axis in where.head.items()}}
    share = theirs.target_std / ours.target_std
    shift = (theirs.target_mean - ours.target_mean) / ours.target_std
    return {**grafts, **{name: _scaled(grafts, name, share, shift) for name in where.head}}


def words(ours: Category, theirs: Category) -> list[int]:
    """Return for each code of ours the code that the same word, the unknown or the missing has in theirs."""
    known = {word: code for code, word in enumerate(theirs.values, 1)}
    missing = [theirs.missing or NEW] if ours.missing else []
    return [0, *(known.get(word, NEW) for word in ours.values), *missing]


def differences(sides: Sides) -> Iterator[str]:
    """Say which columns and words only one of the two has."""
    mine, other = ({name.removesuffix(" is missing") for name in each.names} for each in sides)
    if new := sorted(mine - other):
        yield f"columns that the source does not know have no say at first: {some(new)}"
    if gone := sorted(other - mine):
        yield f"columns of the source that the data does not have: {some(gone)}"
    for mine_too, place in zip(sides.ours.categories, _pairs(sides), strict=True):
        if place is None:
            continue
        here, there = set(mine_too.values), set(sides.theirs.categories[place].values)
        if here != there:
            counts = f"{len(here & there):,} words kept, {len(here - there):,} new, {len(there - here):,} gone"
            yield f"{mine_too.column}: {counts}"


def some(names: Sequence[str], most: int = 5) -> str:
    """Join the first few names and count the rest."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _numbered(names: Iterable[str]) -> list[str]:
    """Return the layers of a perceptron in their order."""
    found = {name.rpartition(".")[0] for name in names if name.startswith("layers.")}
    return sorted(found, key=lambda layer: int(layer.rpartition(".")[2]))


def _pairs(sides: Sides) -> list[int | None]:
    """Return for each category of ours the place of the same column in theirs."""
    known = {category.column: place for place, category in enumerate(sides.theirs.categories)}
    return [known.get(category.column) for category in sides.ours.categories]


def _table(where: Anatomy, sides: Sides, pair: tuple[int, int | None], theirs: Weights, ours: Weights) -> Graft:
    """Match the rows of an embedding by words; a wider one has its further columns fresh."""
    mine, other = pair
    if other is None:
        return Graft(None)
    rows = Take(0, words(sides.ours.categories[mine], sides.theirs.categories[other]))
    name = where.table.format(other)
    have, want = _width(theirs, name), _width(ours, where.table.format(mine))
    wider = (Take(1, [*range(have), *[NEW] * (want - have)]),) if where.embeds and want > have else ()
    return Graft(name, (rows, *wider))


def _numbers(sides: Sides) -> Iterator[int]:
    """Yield for each of our numbers, and then their flags, its place in theirs."""
    ours, theirs = (each.names[: each.inputs.numbers] for each in sides)
    known = {name: place for place, name in enumerate(theirs)}
    return (known.get(name, NEW) for name in ours)


def _embedded(
    where: Anatomy, sides: Sides, pairs: Sequence[int | None], theirs: Weights, ours: Weights
) -> Iterator[int]:
    """Yield for each embedded value of ours its place in theirs, after the numbers."""
    widths = [_width(theirs, where.table.format(place)) for place in range(len(sides.theirs.categories))]
    starts = [*accumulate(widths, initial=sides.theirs.inputs.numbers)]
    for mine, other in enumerate(pairs):
        have = 0 if other is None else widths[other]
        start = 0 if other is None else starts[other]
        for place in range(_width(ours, where.table.format(mine))):
            yield start + place if place < have else NEW


def _scales(sides: Sides, *, width: int) -> tuple[Tensor, Tensor]:
    """Return our scale as a share of theirs, and how far our mean is from theirs in their scale, float64 ``[width]``.

    Both by the places of their inputs.
    """
    ratio, shift = torch.ones(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for mine, place in zip(sides.ours.numbers, _numbers(sides), strict=False):
        if place != NEW and place < len(sides.theirs.numbers):
            other = sides.theirs.numbers[place]
            ratio[place], shift[place] = mine.std / other.std, (mine.mean - other.mean) / other.std
    return ratio, shift


def _more(grafts: Grafts, name: str, take: Take) -> Graft:
    """Add to a weight's graft what its outputs need."""
    graft = grafts.get(name, Graft(name))
    return replace(graft, takes=(*graft.takes, take))


def _scaled(grafts: Grafts, name: str, share: float, shift: float) -> Graft:
    """Bring outputs in their scale to ours; what is added to all of them is the bias."""
    graft, move = grafts.get(name, Graft(name)), shift if name.endswith("bias") else 0.0
    return replace(graft, alters=(*graft.alters, lambda values: values * share + move))


def _width(weights: Weights, name: str) -> int:
    return weights[name].shape[1] if name in weights else 0
