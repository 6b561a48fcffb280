"""The first weights of a network from those of another one: what is loaded, what starts fresh, what is frozen. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raymle.ancestry import Layer, Parent, Pretrained
from raymle.config.train import PretrainedConfig
from raymle.data.transform import Transform
from raymle.errors import ArtifactError, SpecError
from raymle.folders import verify
from raymle.model.bundle import WEIGHTS, read_transform
from raymle.model.contents import Contents, read_contents
from raymle.model.grafting import Graft
from raymle.model.layers import layer_of, layers_of, matched, turns
from raymle.model.matching import Sides, anatomy, differences, inputs, outputs, renumbered, some

EXCLUDE, TRAINABLE = "train.pretrained.exclude", "train.pretrained.trainable"


@final
@dataclass(frozen=True)
class Source:
    """A model whose weights are loaded; of a file of weights alone nothing else is known."""

    name: str
    tensors: Mapping[str, Tensor]
    contents: Contents | None = None
    transform: Transform | None = None


@final
@dataclass(frozen=True)
class Start:
    """What a training begins with."""

    tensors: Mapping[str, Tensor]
    """All weights and buffers of the network."""
    record: Pretrained


def read(folder: Path, name: str) -> Source:
    """Read the weights in a folder, with what its bundle says of them if it is one.

    Raises:
        ArtifactError: it is damaged, or has no weights of torch.
    """
    verify(folder, deep=True)
    path = folder / WEIGHTS
    if not path.is_file():
        raise ArtifactError(
            f"{name} has no {WEIGHTS}: a model of ONNX or trees alone has no layers that torch could load",
            hint="name the run that it was made from",
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"the weights of {name} cannot be read: {error}") from None
    if not (folder / "bundle.json").is_file():
        return Source(name, tensors)
    contents = read_contents(folder)
    return Source(name, tensors, contents, read_transform(folder, contents))


def start(
    module: nn.Module, source: Source, config: PretrainedConfig, *, parent: Parent, contents: Contents,
    transform: Transform,
) -> Start:  # fmt: skip
    """Give a fresh network the weights of another one.

    Args:
        module: The network as its seed makes it; it is left alone.
        source: Where the weights come from.
        config: What is loaded, and what is trained.
        parent: What the source is recorded as.
        contents: What our bundle will say.
        transform: What our inputs are.

    Raises:
        SpecError: a glob means no layer, a layer does not fit, or none is loaded or trained.
    """
    source = replace(source, tensors=renumbered(module, source.tensors))
    fresh = module.state_dict()
    excluded = matched(config.exclude, [*fresh], EXCLUDE)
    grafts = grafts_of(module, source, contents, transform)
    wanted = {name: graft for name, graft in grafts.items() if name not in excluded and not graft.is_empty}
    found = _loaded(fresh, wanted, source)
    partly = {name for name, graft in wanted.items() if graft.is_partial}
    layers = each_layer(module, config, loaded=set(found), partly=partly, excluded=excluded)
    _require_something(layers, source)
    return Start({**fresh, **found}, _record(parent, layers, module, source, contents=contents, transform=transform))


def check(module: nn.Module, source: Source, config: PretrainedConfig) -> None:
    """Find, before there is any data, what cannot fit: of a network with the source's own inputs and outputs.

    Raises:
        SpecError: a glob means no layer, or a layer has another shape.
    """
    assert source.contents is not None
    assert source.transform is not None
    table = anatomy(module, 0).table.partition("{}")[0]
    known = {  # how many embeddings there will be, only the data tells
        key: tuple(glob for glob in getattr(config, key) if not table or not glob.startswith(table))
        for key in ("exclude", "trainable")
    }
    config = config.model_copy(update=known)
    parent = Parent(asked=source.name, folder="", version="")
    start(module, source, config, parent=parent, contents=source.contents, transform=source.transform)


def grafts_of(module: nn.Module, source: Source, contents: Contents, transform: Transform) -> dict[str, Graft]:
    """Say for each weight what it is loaded from; inputs and outputs are matched where they are known."""
    first: dict[int, str] = {}  # a weight that has several names is in a file under one of them
    tied = {name: first.setdefault(id(weight), name) for name, weight in module.state_dict(keep_vars=True).items()}
    grafts = {name: Graft(name if name in source.tensors else tied[name]) for name in tied}
    if source.transform is None or source.contents is None:
        return grafts
    sides = Sides(transform, source.transform)
    where = anatomy(module, contents.outputs)
    grafts |= inputs(where, sides, source.tensors, module.state_dict())
    if source.contents.data_schema.task == contents.data_schema.task:
        return outputs(where, sides, grafts)
    return {**grafts, **{name: Graft(f"{name} for {contents.data_schema.task}") for name in where.head}}


def _loaded(fresh: Mapping[str, Tensor], grafts: Mapping[str, Graft], source: Source) -> dict[str, Tensor]:
    """Return the weights that are loaded.

    Raises:
        SpecError: some do not fit.
    """
    found: dict[str, Tensor] = {}
    misfits: dict[str, str] = {}
    for name, graft in grafts.items():
        theirs = source.tensors.get(graft.source or "")
        if theirs is not None and graft.fits(fresh[name], theirs):
            found[name] = graft.apply(fresh[name], theirs)
        else:
            misfits[name] = _misfit(name, fresh[name], theirs)
    if misfits:
        raise _misfits(source, misfits)
    return found


def each_layer(
    module: nn.Module, config: PretrainedConfig, *, loaded: set[str], partly: set[str], excluded: set[str]
) -> tuple[Layer, ...]:
    """Say of each weight where it is from, and when it is trained.

    Raises:
        SpecError: a glob means no layer, or a layer is neither loaded nor trained.
    """
    weights = dict(module.named_parameters())
    named = matched(config.trainable, [*weights], TRAINABLE) if config.trainable else set(weights)
    trained = {name for name in named if weights[name].requires_grad}
    if lost := layers_of(name for name in weights if name in excluded and name not in trained):
        raise SpecError(
            f"layers that are neither loaded nor trained: {some(lost)}",
            hint=f"add them to {TRAINABLE}, or take them out of {EXCLUDE}",
        )
    turn = turns(module, config, trained=trained, fresh=set(weights) - loaded)
    return tuple(
        Layer(
            name=name,
            shape=tuple(weight.shape),
            origin="partly" if name in partly else "loaded" if name in loaded else "fresh",
            since=turn[name].since,
            rate=turn[name].rate,
        )
        for name, weight in weights.items()
    )


def _require_something(layers: tuple[Layer, ...], source: Source) -> None:
    if all(layer.origin == "fresh" for layer in layers):
        raise SpecError(f"no layer of {source.name} is loaded", hint=f"shorten {EXCLUDE}")
    if not any(layer.since for layer in layers):
        raise SpecError("no layer is trained", hint=f"name one in {TRAINABLE}")


def _record(
    parent: Parent, layers: tuple[Layer, ...], module: nn.Module, source: Source, *, contents: Contents,
    transform: Transform,
) -> Pretrained:  # fmt: skip
    """Put together what is told of a start."""
    here, there = contents.data_schema.classes, source.contents.data_schema.classes if source.contents else ()
    where = anatomy(module, contents.outputs)
    has_head = any(layer.name in where.head and layer.origin != "fresh" for layer in layers)
    kept = tuple(name for name in here if name in there and has_head)
    return Pretrained(
        parent=parent, layers=layers, kept=kept,
        new=tuple(name for name in here if name not in kept) if there else (),
        gone=tuple(name for name in there if name not in here) if here else (),
        notes=tuple(_notes(module, source, transform)), warnings=tuple(_warnings(layers, module, source, transform)),
    )  # fmt: skip


def _notes(module: nn.Module, source: Source, transform: Transform) -> Iterator[str]:
    """Say which columns and words differ, where that is known and has been taken care of."""
    if source.transform is not None and anatomy(module, 0).first:
        yield from differences(Sides(transform, source.transform))


def _warnings(layers: tuple[Layer, ...], module: nn.Module, source: Source, transform: Transform) -> Iterator[str]:
    """Say what the user may not have meant."""
    if source.transform is None:
        yield f"{source.name} says nothing of columns, words and classes: its weights are taken by their places"
    elif not anatomy(module, 0).first and (told := _other_inputs(transform, source.transform)):
        yield f"{told} differ from those of {source.name}, and this model takes its inputs by their places"
    ours, theirs = _tokenizers(transform), _tokenizers(source.transform)
    if ours and theirs and ours != theirs:
        yield f"another tokenizer reads the texts than those of {source.name}: its codes stand for other words"
    names, table = {*module.state_dict()}, anatomy(module, 0).table.partition("{}")[0]
    unused = layers_of(name for name in source.tensors if name not in names and not (table and name.startswith(table)))
    if unused:
        yield f"layers of {source.name} that this model does not have: {some(unused)}"
    if still := layers_of(layer.name for layer in layers if layer.origin == "partly" and not layer.since):
        yield f"what is new in frozen layers is never learned: {some(still)}"


def _tokenizers(side: Transform | None) -> set[str]:
    return {each.tokenizer for each in side.texts} if side else set()


def _other_inputs(ours: Transform, theirs: Transform) -> str:
    """Name what differs in the inputs of two models; empty when nothing does."""
    if ours.names != theirs.names:
        return "columns"
    if ours.categories != theirs.categories:
        return "words of categories"
    return "scales of numbers" if ours.numbers != theirs.numbers else ""


def _misfit(name: str, ours: Tensor, theirs: Tensor | None) -> str:
    """Say how a weight does not fit."""
    here = f"{name} is {[*ours.shape]} here"
    return f"{here} and not in the source" if theirs is None else f"{here} and {[*theirs.shape]} in the source"


def _misfits(source: Source, found: Mapping[str, str]) -> SpecError:
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    layers = [*dict.fromkeys(map(layer_of, found))]
    return SpecError(
        f"train.pretrained.from {source.name} does not fit: {'; '.join([*found.values()][:3])}{more}",
        hint=f"to start them fresh, add to {EXCLUDE}: [{', '.join(layers)}]",
    )
