"""The first weights of a training that goes on from another model's, or from a Hugging Face transformer."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from raymle.ancestry import Parent, Pretrained
from raymle.config.train import PretrainedConfig
from raymle.data.transform import Transform
from raymle.errors import ArtifactError, UsageError
from raymle.model import pretrained
from raymle.model.huggingface import place
from raymle.model.layers import FOREIGN
from raymle.model.matching import some
from raymle.model.nets import huggingface
from raymle.model.params import HuggingFaceParams, parameters
from raymle.store import Store, open_store
from raymle.train import checkpoint
from raymle.train.display import say
from raymle.train.task import Task

RECORD = "pretrained.json"


def begin(task: Task, parent: Parent, transform: Transform) -> tuple[Task, Pretrained]:
    """Give a training its first weights, say which, and keep that with its run.

    One that goes on from a checkpoint has them already: the parent is not read, and may be gone.

    Args:
        task: The training.
        parent: Where the weights come from.
        transform: What the inputs are.

    Raises:
        ArtifactError: the parent is gone or damaged.
        SpecError: its layers do not fit.
    """
    store = open_store(task.storage) if task.run else None
    found = recorded(store, task.run) if store else None
    tensors: Mapping[str, Tensor] = {}
    if found is None:
        refuse_additive(task)
        folder = open_store(parent.storage).fetch(parent.folder)
        source = pretrained.read(folder, parent.asked)
        start = pretrained.start(
            task.module(), source, task.train.pretrained, parent=parent, contents=task.contents, transform=transform
        )
        tensors, found = start.tensors, in_time(start.record, task.train.epochs)
        if store:
            store.write_new(name_of(task.run), found.model_dump_json(indent=1).encode())
        for line in told(found):
            say(line)
    return replace(task, start=tensors, layers=found.layers), found


def refuse_additive(task: Task) -> None:
    """Refuse a linear model of more than a table: its outputs are in all of its weights, not in a head.

    Raises:
        UsageError: it is one.
    """
    if task.contents.model.type == "linear" and not task.contents.inputs.is_table:
        raise UsageError(
            "train.pretrained.from goes with a linear model of numbers and categories alone",
            hint="use model.type=mlp, or leave train.pretrained out",
        )


def loaded(task: Task) -> Task:
    """Give a training the weights of its Hugging Face folder: this process alone reads it, workers may be elsewhere."""
    model, module = task.contents.model, task.module()
    params: HuggingFaceParams = parameters(model)
    tensors = huggingface.initial(module, place(model, task.folder), params, model.type)
    asked = task.train.pretrained
    if asked == PretrainedConfig():
        return replace(task, start=tensors)
    known = {name for name in tensors if f".{FOREIGN}." in name}
    layers = pretrained.each_layer(module, asked, loaded=known, partly=set(), excluded=set())
    return replace(task, start=tensors, layers=layers)


def in_time(found: Pretrained, epochs: int) -> Pretrained:
    """Add a warning when layers would be unfrozen after the last epoch."""
    late = {layer.name.rpartition(".")[0] for layer in found.layers if layer.since > epochs}
    if not late:
        return found
    told = f"train.epochs {epochs} is too few to unfreeze {some(sorted(late))}"
    return found.model_copy(update={"warnings": (*found.warnings, told)})


def recorded(store: Store, run: str) -> Pretrained | None:
    """Return what a training with a checkpoint began with; None when it has to begin."""
    if checkpoint.required(store, run).position is None:
        return None
    try:
        return Pretrained.model_validate_json(store.read(name_of(run)))
    except ArtifactError:  # its first checkpoint is another trial's
        return None


def name_of(run: str) -> str:
    """Name the file in a storage that says what a run began with."""
    return f"runs/{run}/{RECORD}"


def told(found: Pretrained) -> Iterator[str]:
    """Sum up what is loaded, frozen and known, in a few lines."""
    parent, origins = found.parent, [layer.origin for layer in found.layers]
    counts = {name: origins.count(name) for name in ("loaded", "partly", "fresh")}
    counts["frozen"] = sum(not layer.since for layer in found.layers)
    counts["unfrozen later"] = sum(layer.since > 1 for layer in found.layers)
    who = f"run {parent.run_id}" if parent.run_id else parent.asked
    counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    yield f"pretrained from {who}: of {len(origins)} weights {counted}"
    yield from found.classes
    yield from found.notes
